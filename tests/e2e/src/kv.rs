//! The operations of a client over REST or gRPC, and their three outcomes.

use std::collections::BTreeMap;

use anyhow::anyhow;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::grpc::Grpc;
use crate::http::{HttpClient, RequestError, Response, escaped, request};

/// The number of keys of one page of a list.
const PAGE: usize = 1_000;

/// The outcome of an operation.
#[derive(Debug)]
pub enum Outcome<T> {
    /// The operation took effect; this is the response.
    Done(T),
    /// The operation certainly did not take effect, and never will.
    NotDone(anyhow::Error),
    /// The operation may have taken effect, or may do so later.
    Unknown(anyhow::Error),
}

/// A value and the revision at which its key was last changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versioned {
    /// The value.
    pub value: String,
    /// The revision.
    pub revision: u64,
}

/// A client of one node.
pub enum Client {
    /// Over HTTP.
    Http(HttpClient),
    /// Over gRPC.
    Grpc(Grpc),
}

impl Client {
    /// Reads a key, linearizably.
    pub async fn get(&mut self, key: &str) -> Outcome<Option<Versioned>> {
        match self {
            Self::Http(http) => {
                let answer = rest_send(http, Method::GET, key, b"", None).await;
                answer.then(|answer| match answer.status {
                    StatusCode::OK => read(&answer).map(Some),
                    StatusCode::NOT_FOUND => Ok(None),
                    _ => Err(unexpected(&answer)),
                })
            }
            Self::Grpc(grpc) => {
                let answer = grpc_call(grpc, "Get", json!({ "key": key })).await;
                answer.then(|answer| found(&answer))
            }
        }
    }

    /// Sets a key.
    pub async fn put(&mut self, key: &str, value: &str) -> Outcome<()> {
        match self {
            Self::Http(http) => {
                let answer = rest_send(http, Method::PUT, key, value.as_bytes(), None).await;
                answer.then(|answer| success(&answer))
            }
            Self::Grpc(grpc) => {
                let request = json!({ "key": key, "value": value });
                grpc_call(grpc, "Put", request).await.then(|_| Ok(()))
            }
        }
    }

    /// Deletes a key. A missing key is also a success.
    pub async fn delete(&mut self, key: &str) -> Outcome<()> {
        match self {
            Self::Http(http) => {
                let answer = rest_send(http, Method::DELETE, key, b"", None).await;
                answer.then(|answer| match answer.status {
                    StatusCode::NOT_FOUND => Ok(()),
                    _ => success(&answer),
                })
            }
            Self::Grpc(grpc) => {
                let answer = grpc_call(grpc, "Delete", json!({ "key": key })).await;
                answer.then(|_| Ok(()))
            }
        }
    }

    /// Sets a key if it was last changed at this revision. Returns true if the key was set.
    pub async fn put_if_unchanged(
        &mut self,
        key: &str,
        value: &str,
        revision: u64,
    ) -> Outcome<bool> {
        match self {
            Self::Http(http) => {
                let answer =
                    rest_send(http, Method::PUT, key, value.as_bytes(), Some(revision)).await;
                answer.then(|answer| match answer.status {
                    StatusCode::PRECONDITION_FAILED => Ok(false),
                    _ => success(&answer).map(|()| true),
                })
            }
            Self::Grpc(grpc) => {
                let request = json!({ "key": key, "value": value, "ifModRevision": revision });
                match grpc_call(grpc, "Put", request).await {
                    Outcome::Done(_) => Outcome::Done(true),
                    Outcome::NotDone(error) if is_unmet_condition(&error) => Outcome::Done(false),
                    Outcome::NotDone(error) => Outcome::NotDone(error),
                    Outcome::Unknown(error) => Outcome::Unknown(error),
                }
            }
        }
    }
}

impl<T> Outcome<T> {
    /// Parses the response. With an invalid response, the outcome is unknown.
    fn then<U>(self, read: impl FnOnce(T) -> anyhow::Result<U>) -> Outcome<U> {
        match self {
            Self::Done(answer) => match read(answer) {
                Ok(answer) => Outcome::Done(answer),
                Err(error) => Outcome::Unknown(error),
            },
            Self::NotDone(error) => Outcome::NotDone(error),
            Self::Unknown(error) => Outcome::Unknown(error),
        }
    }

    /// The response.
    ///
    /// # Errors
    ///
    /// Returns an error for the other outcomes.
    pub fn done(self) -> anyhow::Result<T> {
        match self {
            Self::Done(answer) => Ok(answer),
            Self::NotDone(error) => Err(error.context("the operation was not executed")),
            Self::Unknown(error) => Err(error.context("the outcome of the operation is unknown")),
        }
    }
}

/// All keys that begin with `prefix`, with their values.
///
/// # Errors
///
/// Returns an error if the response to a page is missing or invalid.
pub async fn entries(
    http: &mut HttpClient,
    prefix: &str,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut entries = BTreeMap::new();
    let prefix = escaped(prefix.as_bytes());
    let mut after = String::new();
    loop {
        let path = format!("/v1/kv?prefix={prefix}&limit={PAGE}{after}");
        let page = http.json(&path).await?;
        let items = page["kvs"].as_array();
        let items = items.ok_or_else(|| anyhow!("missing keys in {page}"))?;
        for item in items {
            let (Some(key), Some(value)) = (item["key"].as_str(), item["value"].as_str()) else {
                anyhow::bail!("missing key or value in {item}");
            };
            after = format!("&after={}", escaped(key.as_bytes()));
            entries.insert(key.to_owned(), value.to_owned());
        }
        if page["more"] != Value::Bool(true) {
            return Ok(entries);
        }
    }
}

async fn rest_send(
    http: &mut HttpClient,
    method: Method,
    key: &str,
    body: &[u8],
    revision: Option<u64>,
) -> Outcome<Response> {
    let path = format!("/v1/kv/{}", escaped(key.as_bytes()));
    let mut request: Request<Full<Bytes>> = match request(method, &path, body) {
        Ok(request) => request,
        Err(error) => return Outcome::NotDone(error),
    };
    if let Some(revision) = revision {
        match format!("\"{revision}\"").parse() {
            Ok(value) => drop(request.headers_mut().insert("if-match", value)),
            Err(error) => return Outcome::NotDone(anyhow!("invalid revision: {error}")),
        }
    }
    match http.send(request).await {
        Ok(answer) if was_not_done(&answer) => Outcome::NotDone(unexpected(&answer)),
        Ok(answer) if answer.status.is_server_error() => Outcome::Unknown(unexpected(&answer)),
        Ok(answer) => Outcome::Done(answer),
        Err(RequestError::NotSent(error)) => Outcome::NotDone(error),
        Err(RequestError::Lost(error)) => Outcome::Unknown(error),
    }
}

/// Returns true if the node reports that it did not execute the request. A missing key and a failed
/// condition are results.
fn was_not_done(answer: &Response) -> bool {
    let is_result = answer.status == StatusCode::PRECONDITION_FAILED
        || answer.problem_type() == Some("/problems/key-not-found".to_owned());
    !answer.status.is_success()
        && !is_result
        && answer.json().is_ok_and(|problem| problem["outcome"] == "not-done")
}

fn read(answer: &Response) -> anyhow::Result<Versioned> {
    let revision = answer.header("x-raft-mod-revision").and_then(|revision| revision.parse().ok());
    Ok(Versioned {
        value: answer.text(),
        revision: revision.ok_or_else(|| anyhow!("missing revision in {:?}", answer.headers))?,
    })
}

fn success(answer: &Response) -> anyhow::Result<()> {
    if answer.status.is_success() { Ok(()) } else { Err(unexpected(answer)) }
}

fn unexpected(answer: &Response) -> anyhow::Error {
    anyhow!("{}: {}", answer.status, answer.text())
}

async fn grpc_call(grpc: &mut Grpc, method: &str, request: Value) -> Outcome<Value> {
    match grpc.call(&format!("raft.KeyValueService/{method}"), request).await {
        Ok(Ok(answer)) => Outcome::Done(answer),
        Ok(Err(status)) if is_definite(&status) => Outcome::NotDone(status.into()),
        Ok(Err(status)) => Outcome::Unknown(status.into()),
        Err(error) => Outcome::NotDone(error),
    }
}

/// Returns true if a status code shows that the request was not executed. Other codes do not show
/// this: tonic also uses UNAVAILABLE for a lost connection.
fn is_definite(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::ResourceExhausted
            | Code::Unimplemented
    )
}

fn is_unmet_condition(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Status>().is_some_and(|status| status.code() == Code::FailedPrecondition)
}

fn found(answer: &Value) -> anyhow::Result<Option<Versioned>> {
    if answer["found"] != Value::Bool(true) {
        return Ok(None);
    }
    // In JSON, protobuf represents 64-bit integers as strings.
    let revision = answer["modRevision"].as_str().and_then(|revision| revision.parse().ok());
    Ok(Some(Versioned {
        value: answer["value"].as_str().unwrap_or_default().to_owned(),
        revision: revision.ok_or_else(|| anyhow!("missing revision in {answer}"))?,
    }))
}
