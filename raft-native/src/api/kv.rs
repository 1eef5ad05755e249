//! Keys and values over REST.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use raft_kv::{
    Command, Delete, KeyRange, KeyValue, Outcome, Put, RangeRequest, RequestResult,
    Response as Applied, Txn,
};
use serde::Serialize;

use super::parameters::{Parameters, decoded};
use super::problem::Problem;
use super::{Api, body};
use crate::handle::{Consistency, RequestError};

const REVISION: &str = "x-raft-revision";
const CREATE_REVISION: &str = "x-raft-create-revision";
const MOD_REVISION: &str = "x-raft-mod-revision";
const VERSION: &str = "x-raft-version";
const PREFIX: &str = "/v1/kv/";

/// A key and its value in JSON: as text if it is text, in base64 otherwise.
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
    revision: i64,
    /// Whether there are more keys; ask on with `after` set to the last one.
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
    parameters: Result<Parameters, Problem>,
) -> Result<Response, Problem> {
    let key = key_of(&uri)?;
    let mut parameters = parameters?;
    let consistency = consistency(parameters.text("consistency")?.as_deref())?;
    parameters.finish()?;
    let found = api.node.read(&RangeRequest::new(KeyRange::key(key)), consistency).await?;
    let revision = found.revision;
    match found.kvs.into_iter().next() {
        None => {
            let problem = Problem::new(StatusCode::NOT_FOUND, "there is no such key");
            Ok(with_revision(problem.into_response(), revision))
        }
        Some(kv) => {
            let mut response = kv.value.clone().into_response();
            let octets = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(header::CONTENT_TYPE, octets);
            describe(response.headers_mut(), &kv);
            Ok(with_revision(response, revision))
        }
    }
}

pub(crate) async fn put(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
    parameters: Result<Parameters, Problem>,
    value: Result<body::Value, Problem>,
) -> Result<Response, Problem> {
    let body::Value(value) = value?;
    parameters?.finish()?;
    let put = Put::new(key_of(&uri)?, value);
    let command = match condition(&headers)? {
        None => Command::new(put),
        Some(mod_revision) => Command::new(Txn::put_if_unchanged(put, mod_revision)),
    };
    let applied = done(api.node.execute(command).await?)?;
    if matches!(&applied.result, RequestResult::Txn(txn) if !txn.succeeded) {
        let detail = "the key is not as the condition wants it; nothing was changed";
        let problem = Problem::new(StatusCode::PRECONDITION_FAILED, detail);
        return Ok(with_revision(problem.into_response(), applied.revision));
    }
    let mut response = with_revision(StatusCode::NO_CONTENT.into_response(), applied.revision);
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", applied.revision)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

pub(crate) async fn delete(
    State(api): State<Api>,
    uri: Uri,
    headers: HeaderMap,
    parameters: Result<Parameters, Problem>,
) -> Result<Response, Problem> {
    parameters?.finish()?;
    if headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH) {
        return Err(Problem::bad_request("conditions are possible with PUT only"));
    }
    let command = Command::new(Delete::new(KeyRange::key(key_of(&uri)?)));
    let applied = done(api.node.execute(command).await?)?;
    let response = match &applied.result {
        RequestResult::Delete(result) if result.deleted == 0 => {
            Problem::new(StatusCode::NOT_FOUND, "there is no such key").into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    };
    Ok(with_revision(response, applied.revision))
}

pub(crate) async fn list(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
) -> Result<Response, Problem> {
    let mut parameters = parameters?;
    let consistency = consistency(parameters.text("consistency")?.as_deref())?;
    let limit = parameters.number("limit")?.unwrap_or(LIMIT_DEFAULT);
    let (prefix, after) = (parameters.bytes("prefix"), parameters.bytes("after"));
    parameters.finish()?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::bad_request(format!("limit must be 1 to {LIMIT_MAX}")));
    }
    let mut keys = KeyRange::prefix(prefix.unwrap_or_default());
    if let Some(after) = after {
        keys.start = keys.start.max(crate::handle::after(&after));
    }
    if keys.end.len() > 1 && keys.start >= keys.end {
        let revision =
            api.node.read(&RangeRequest::new(KeyRange::key("-")), consistency).await?.revision;
        return Ok(Json(List { revision, more: false, kvs: Vec::new() }).into_response());
    }
    let found = api.node.list(keys, limit, consistency).await?;
    let (revision, more) = (found.revision, found.more);
    let kvs = found.kvs.into_iter().map(Item::from).collect();
    Ok(with_revision(Json(List { revision, more, kvs }).into_response(), revision))
}

/// The key in the path: any bytes, percent-encoded.
fn key_of(uri: &Uri) -> Result<Vec<u8>, Problem> {
    let encoded = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let key = decoded(encoded)?;
    if key.is_empty() { Err(Problem::bad_request("the key is empty")) } else { Ok(key) }
}

fn consistency(wanted: Option<&str>) -> Result<Consistency, Problem> {
    match wanted {
        None | Some("linearizable") => Ok(Consistency::Linearizable),
        Some("stale") => Ok(Consistency::Stale),
        Some(other) => Err(Problem::bad_request(format!(
            "consistency can be linearizable or stale, not {other:?}"
        ))),
    }
}

/// The revision that the key must have, 0 meaning that it must not be there.
fn condition(headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let if_match = headers.get(header::IF_MATCH);
    let if_none_match = headers.get(header::IF_NONE_MATCH);
    match (if_match, if_none_match) {
        (None, None) => Ok(None),
        (Some(value), None) => {
            let revision =
                value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse().ok());
            let revision = revision.filter(|revision| *revision >= 0);
            let wrong =
                || Problem::bad_request("If-Match must be a revision, as in the ETag of an answer");
            revision.map(Some).ok_or_else(wrong)
        }
        (None, Some(value)) if value.as_bytes() == b"*" => Ok(Some(0)),
        (None, Some(_)) => {
            Err(Problem::bad_request("If-None-Match can be * only: the key must not be there"))
        }
        (Some(_), Some(_)) => {
            Err(Problem::bad_request("If-Match and If-None-Match exclude each other"))
        }
    }
}

/// What a command without a session brings if it was carried out.
pub(crate) fn done(outcome: Outcome) -> Result<Applied, RequestError> {
    match outcome {
        Outcome::Done(applied) => Ok(applied),
        Outcome::Rejected(rejection) => Err(RequestError::Invalid(rejection.to_string())),
        _ => Err(RequestError::Unknown),
    }
}

fn describe(headers: &mut HeaderMap, kv: &KeyValue) {
    let numbers = [
        (CREATE_REVISION, kv.create_revision),
        (MOD_REVISION, kv.mod_revision),
        (VERSION, kv.version),
    ];
    for (name, number) in numbers {
        headers.insert(name, number.into());
    }
    if let Ok(tag) = HeaderValue::try_from(format!("\"{}\"", kv.mod_revision)) {
        headers.insert(header::ETAG, tag);
    }
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
