//! The REST interface of keys and values.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use raft_kv::{
    Command, Delete, Fields, KeyRange, KeyValue, Op, OpResult, Put, RangeRequest, RequestResult,
    Txn,
};
use serde::Serialize;

use crate::api::Api;
use crate::api::http::applied::{Done, without_result};
use crate::api::http::body;
use crate::api::http::preconditions::{Conditions, Read};
use crate::api::http::query::{Parameters, decoded};
use crate::api::problem::{Kind, Problem};
use crate::client::{Consistency, RequestError, key_successor};

const REVISION: &str = "x-raft-revision";
const CREATE_REVISION: &str = "x-raft-create-revision";
const MOD_REVISION: &str = "x-raft-mod-revision";
const VERSION: &str = "x-raft-version";
const PREFIX: &str = "/v1/kv/";

/// A key and its value in JSON, as text or in base64.
#[derive(Serialize)]
pub(crate) struct Item {
    #[serde(flatten)]
    key: Key,
    #[serde(flatten)]
    value: Value,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
}

#[derive(Serialize)]
struct List {
    /// The revision at which the keys were read. Requests of further pages send it as `revision`.
    revision: i64,
    /// True if there are more keys. The next page is requested with `after` set to the last key.
    more: bool,
    kvs: Vec<Item>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Key {
    Key(String),
    KeyBase64(String),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Value(String),
    ValueBase64(String),
}

const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

pub(crate) async fn get(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
    parameters: Result<Parameters, Problem>,
) -> Result<Response, Problem> {
    let key = key_of(&api, &uri)?;
    let conditions = Conditions::of(&headers)?;
    let mut parameters = parameters?;
    let consistency = consistency(parameters.text("consistency")?.as_deref())?;
    let at_revision = at_revision(&mut parameters)?;
    parameters.finish()?;
    let mut range = RangeRequest::new(KeyRange::key(key.clone()));
    range.revision = at_revision;
    let found = api.node.read(&range, consistency).await?;
    let revision = found.revision;
    let Some(kv) = found.kvs.into_iter().next() else {
        return Ok(with_revision(no_such_key(&key).into_response(), revision));
    };
    let mut response = match conditions.of_read(kv.mod_revision) {
        Read::Failed => return Ok(condition_failed(Some(&kv), revision)),
        Read::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Read::Proceed => {
            let mut response = kv.value.clone().into_response();
            let octets = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(header::CONTENT_TYPE, octets);
            // The response to a range request is the whole value (RFC 9110, section 14.2).
            let none = HeaderValue::from_static("none");
            response.headers_mut().insert(header::ACCEPT_RANGES, none);
            response
        }
    };
    set_kv_headers(response.headers_mut(), &kv);
    Ok(with_revision(response, revision))
}

pub(crate) async fn put(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
    parameters: Result<Parameters, Problem>,
    value: Result<body::RawBody, Problem>,
) -> Result<Response, Problem> {
    let body::RawBody(value) = value?;
    parameters?.finish()?;
    let key = key_of(&api, &uri)?;
    let conditions = Conditions::of(&headers)?;
    let put = Put::new(key.clone(), value);
    let revision = if conditions.are_none() {
        Done::try_from(api.node.execute(Command::new(put)).await?)?.revision
    } else {
        match write_if(&api, &key, &conditions, &Op::Put(put)).await? {
            Conditional::Done { revision, .. } => revision,
            Conditional::ResultNotKept { revision } => return Ok(without_result(revision)),
            Conditional::Failed { revision, present } => {
                return Ok(condition_failed(present.as_ref(), revision));
            }
        }
    };
    let mut response = with_revision(StatusCode::NO_CONTENT.into_response(), revision);
    response.headers_mut().insert(header::ETAG, entity_tag(revision));
    Ok(response)
}

pub(crate) async fn delete(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
    parameters: Result<Parameters, Problem>,
) -> Result<Response, Problem> {
    parameters?.finish()?;
    let key = key_of(&api, &uri)?;
    let conditions = Conditions::of(&headers)?;
    let delete = Delete::new(KeyRange::key(key.clone()));
    let (revision, result) = if conditions.are_none() {
        let done = Done::try_from(api.node.execute(Command::new(delete)).await?)?;
        match done.result {
            Some(RequestResult::Delete(result)) => (done.revision, Some(result)),
            Some(_) => (done.revision, None),
            None => return Ok(without_result(done.revision)),
        }
    } else {
        match write_if(&api, &key, &conditions, &Op::Delete(delete)).await? {
            Conditional::Done { revision, result: OpResult::Delete(result) } => {
                (revision, Some(result))
            }
            Conditional::Done { revision, .. } => (revision, None),
            Conditional::ResultNotKept { revision } => return Ok(without_result(revision)),
            // Without preconditions, the status would also be 404 (RFC 9110, section 13.2.1).
            Conditional::Failed { revision, present: None } => {
                return Ok(with_revision(no_such_key(&key).into_response(), revision));
            }
            Conditional::Failed { revision, present } => {
                return Ok(condition_failed(present.as_ref(), revision));
            }
        }
    };
    let response = match result {
        Some(result) if result.deleted == 0 => no_such_key(&key).into_response(),
        _ => StatusCode::NO_CONTENT.into_response(),
    };
    Ok(with_revision(response, revision))
}

/// The result of a conditional write.
enum Conditional {
    Done {
        revision: i64,
        result: OpResult,
    },
    ResultNotKept {
        revision: i64,
    },
    /// A precondition failed, and nothing was changed.
    Failed {
        revision: i64,
        /// The current key without its value, if the key exists.
        present: Option<KeyValue>,
    },
}

/// Applies `op` if the preconditions hold for its key.
///
/// All comparisons of a transaction must hold, so each attempt uses one of the revisions in
/// `If-Match`. A failed attempt returns the current revision, and the next attempt uses it if it is
/// in the list. The revisions of a key only grow, so the number of attempts is at most the length
/// of the list.
async fn write_if(
    api: &Api,
    key: &Bytes,
    conditions: &Conditions,
    op: &Op,
) -> Result<Conditional, RequestError> {
    let read = RangeRequest::new(KeyRange::key(key.clone())).projection(Fields::Keys);
    let Ok(mut expected) = conditions.first_expected() else {
        let found = api.node.read(&read, Consistency::Linearizable).await?;
        let present = found.kvs.into_iter().next();
        return Ok(Conditional::Failed { revision: found.revision, present });
    };
    loop {
        let txn = Txn {
            compare: conditions.compare(key, expected),
            success: vec![op.clone()],
            failure: vec![Op::Range(read.clone())],
        };
        let done = Done::try_from(api.node.execute(Command::new(txn)).await?)?;
        let revision = done.revision;
        let (succeeded, result) = match done.result {
            Some(RequestResult::Txn(txn)) => (txn.succeeded, txn.results.into_iter().next()),
            _ => return Ok(Conditional::ResultNotKept { revision }),
        };
        match result {
            Some(OpResult::Range(found)) if !succeeded => {
                let present = found.kvs.into_iter().next();
                let current = present.as_ref().map(|kv| kv.mod_revision);
                let may_hold = current.filter(|current| conditions.allow_write(*current));
                if expected.is_none() || may_hold.is_none() || may_hold == expected {
                    return Ok(Conditional::Failed { revision, present });
                }
                expected = may_hold;
            }
            Some(result) => return Ok(Conditional::Done { revision, result }),
            None => return Ok(Conditional::ResultNotKept { revision }),
        }
    }
}

pub(crate) async fn list(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Response, Problem> {
    let mut parameters = parameters?;
    let consistency = consistency(parameters.text("consistency")?.as_deref())?;
    let limit = parameters.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    let at_revision = at_revision(&mut parameters)?;
    let (prefix, after) = (parameters.bytes("prefix"), parameters.bytes("after"));
    parameters.finish()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("invalid limit: {limit}; give 1 to {LIMIT_MAX}")));
    }
    for key in [&prefix, &after].into_iter().flatten() {
        check_length(&api, key)?;
    }
    let _permit = api.concurrency.list.acquire().await?;
    let mut keys = KeyRange::prefix(prefix.unwrap_or_default());
    if let Some(after) = after {
        keys.start = keys.start.max(key_successor(&after));
    }
    if keys.end.len() > 1 && keys.start >= keys.end {
        // The range is empty, and only the revision is needed.
        let mut nothing = RangeRequest::new(KeyRange::key("-")).projection(Fields::Count);
        nothing.revision = at_revision;
        let revision = api.node.read(&nothing, consistency).await?.revision;
        let read_at = at_revision.unwrap_or(revision);
        let nothing = List { revision: read_at, more: false, kvs: Vec::new() };
        return Ok(with_revision(Json(nothing).into_response(), revision));
    }
    let found = api.node.list(keys, limit, at_revision, consistency).await?;
    let (revision, more) = (found.revision, found.more);
    let list = body::large_json(move || {
        let kvs = found.kvs.into_iter().map(Item::from).collect();
        List { revision: at_revision.unwrap_or(revision), more, kvs }
    });
    Ok(with_revision(list.await?, revision))
}

/// The percent-encoded key in the path.
fn key_of(api: &Api, uri: &Uri) -> Result<Bytes, Problem> {
    let encoded = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let key = decoded(encoded)?;
    if key.is_empty() {
        return Err(Problem::bad_request("invalid key: the key is empty; give at least one byte"));
    }
    check_length(api, &key)?;
    Ok(key.into())
}

/// Refuses a key in a URI that is longer than the limit.
fn check_length(api: &Api, key: &[u8]) -> Result<(), Problem> {
    let max = api.node.limits().key_bytes_max;
    if key.len() <= max {
        return Ok(());
    }
    let detail = format!("key too long: {} bytes; use at most {max}", key.len());
    Err(Problem::of(Kind::KeyTooLong, detail))
}

/// The revision at which a read sees the store.
fn at_revision(parameters: &mut Parameters) -> Result<Option<i64>, Problem> {
    let revision = parameters.number("revision")?.map(i64::try_from).transpose();
    revision.map_err(|_| Problem::bad_request("invalid revision: too large; give less than 2^63"))
}

fn no_such_key(key: &[u8]) -> Problem {
    const SHOWN_BYTES_MAX: usize = 100;
    let shown = String::from_utf8_lossy(&key[..key.len().min(SHOWN_BYTES_MAX)]);
    let rest = if key.len() > SHOWN_BYTES_MAX { "…" } else { "" };
    Problem::of(Kind::KeyNotFound, format!("key not found: {shown:?}{rest}"))
}

/// The response to a request with a failed precondition. It describes the current key.
fn condition_failed(present: Option<&KeyValue>, revision: i64) -> Response {
    let is = match present {
        Some(kv) => format!("the key was last changed at revision {}", kv.mod_revision),
        None => "the key does not exist".to_owned(),
    };
    let detail = format!("precondition failed: {is}; nothing was changed, read the key again");
    let mut response = Problem::of(Kind::ConditionFailed, detail).into_response();
    if let Some(kv) = present {
        set_kv_headers(response.headers_mut(), kv);
    }
    with_revision(response, revision)
}

fn consistency(wanted: Option<&str>) -> Result<Consistency, Problem> {
    match wanted {
        None | Some("linearizable") => Ok(Consistency::Linearizable),
        Some("stale") => Ok(Consistency::Stale),
        Some(other) => Err(Problem::bad_request(format!(
            "invalid consistency: {other:?}; use linearizable or stale"
        ))),
    }
}

fn set_kv_headers(headers: &mut HeaderMap, kv: &KeyValue) {
    let numbers = [
        (CREATE_REVISION, kv.create_revision),
        (MOD_REVISION, kv.mod_revision),
        (VERSION, kv.version),
    ];
    for (name, number) in numbers {
        headers.insert(name, number.into());
    }
    headers.insert(header::ETAG, entity_tag(kv.mod_revision));
}

fn entity_tag(mod_revision: i64) -> HeaderValue {
    let tag = HeaderValue::try_from(format!("\"{mod_revision}\""));
    // Digits, a minus and quotes are always valid in a header.
    tag.expect("a number in quotes is a valid header value")
}

pub(crate) fn with_revision(mut response: Response, revision: i64) -> Response {
    response.headers_mut().insert(REVISION, revision.into());
    response
}

impl From<KeyValue> for Item {
    fn from(kv: KeyValue) -> Self {
        let key = match String::from_utf8(kv.key.to_vec()) {
            Ok(text) => Key::Key(text),
            Err(_) => Key::KeyBase64(BASE64_STANDARD.encode(&kv.key)),
        };
        let value = match String::from_utf8(kv.value.to_vec()) {
            Ok(text) => Value::Value(text),
            Err(_) => Value::ValueBase64(BASE64_STANDARD.encode(&kv.value)),
        };
        Self {
            key,
            value,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
        }
    }
}
