//! Refusals in the form that the client understands: problem details or a gRPC status.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tonic::Status;
use tonic::metadata::MetadataValue;

use crate::api::problem::{Kind, Problem};

/// Returns true if the request is a gRPC call, which needs a gRPC response.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// Returns the function that makes a response of a problem, according to the type of the request.
pub(crate) fn refusal(request_headers: &HeaderMap) -> fn(Problem) -> Response {
    if is_grpc(request_headers) { grpc_refusal } else { Problem::into_response }
}

fn grpc_refusal(problem: Problem) -> Response {
    let detail = problem.detail();
    let status = match problem.status() {
        StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
            Status::permission_denied(detail)
        }
        StatusCode::SERVICE_UNAVAILABLE => Status::resource_exhausted(detail),
        _ => Status::invalid_argument(detail),
    };
    with_outcome(status, problem.outcome()).into_http::<Body>()
}

/// Adds the outcome to the status of a failed call: `not-done` or `unknown`.
pub(crate) fn with_outcome(mut status: Status, outcome: &'static str) -> Status {
    status.metadata_mut().insert("raft-outcome", MetadataValue::from_static(outcome));
    status
}

/// The response for an unknown path.
pub(crate) fn not_found(request: &Request) -> Response {
    let path = request.uri().path();
    if is_grpc(request.headers()) && request.method() == Method::POST {
        return unknown_grpc_method(path);
    }
    Problem::of(Kind::PathNotFound, format!("no such resource: {path}")).into_response()
}

/// The response for an unknown gRPC method.
pub(crate) fn unknown_grpc_method(path: &str) -> Response {
    let status = Status::unimplemented(format!("unknown method: {path}; see reflection"));
    with_outcome(status, "not-done").into_http::<Body>()
}
