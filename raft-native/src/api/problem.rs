//! Errors of the API as problem details (RFC 9457).

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::client::RequestError;

/// An error for programs and for people.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    detail: String,
    /// `not-done` if the request certainly changed nothing, or `unknown` if it may have been
    /// carried out.
    outcome: &'static str,
}

/// The kinds of problems with a type of their own. The type of all other problems is `about:blank`,
/// and their status says the kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    InvalidRequest,
    KeyNotFound,
    PathNotFound,
    MethodNotAllowed,
    ConditionFailed,
    KeyTooLong,
    TooLarge,
    Overloaded,
    NoSpace,
    NoLeader,
    Behind,
    Stopping,
    StorageFailed,
    OutcomeUnknown,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::InvalidRequest,
        Self::KeyNotFound,
        Self::PathNotFound,
        Self::MethodNotAllowed,
        Self::ConditionFailed,
        Self::KeyTooLong,
        Self::TooLarge,
        Self::Overloaded,
        Self::NoSpace,
        Self::NoLeader,
        Self::Behind,
        Self::Stopping,
        Self::StorageFailed,
        Self::OutcomeUnknown,
    ];

    /// The last part of the URI of the type, the status, and the title.
    fn parts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Self::InvalidRequest => {
                ("invalid-request", StatusCode::BAD_REQUEST, "The request is invalid")
            }
            Self::KeyNotFound => ("key-not-found", StatusCode::NOT_FOUND, "The key does not exist"),
            Self::PathNotFound => ("path-not-found", StatusCode::NOT_FOUND, "Unknown path"),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "The path does not allow the method",
            ),
            Self::ConditionFailed => (
                "condition-failed",
                StatusCode::PRECONDITION_FAILED,
                "A precondition of the request failed",
            ),
            Self::KeyTooLong => ("key-too-long", StatusCode::URI_TOO_LONG, "The key is too long"),
            Self::TooLarge => (
                "too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request or its answer is too large",
            ),
            Self::Overloaded => {
                ("overloaded", StatusCode::TOO_MANY_REQUESTS, "The node is overloaded")
            }
            Self::NoSpace => {
                ("no-space", StatusCode::INSUFFICIENT_STORAGE, "The disk is nearly full")
            }
            Self::NoLeader => {
                ("no-leader", StatusCode::SERVICE_UNAVAILABLE, "The node knows no leader")
            }
            Self::Behind => ("behind", StatusCode::SERVICE_UNAVAILABLE, "The node is behind"),
            Self::Stopping => ("stopping", StatusCode::SERVICE_UNAVAILABLE, "The node is stopping"),
            Self::StorageFailed => (
                "storage-failed",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The node cannot read its store",
            ),
            Self::OutcomeUnknown => (
                "outcome-unknown",
                StatusCode::GATEWAY_TIMEOUT,
                "The request may have been carried out",
            ),
        }
    }

    /// The URI of the type, relative to the node.
    fn uri(self) -> String {
        format!("/problems/{}", self.parts().0)
    }
}

impl Problem {
    /// A problem without a type of its own.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self {
            kind: "about:blank".into(),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            outcome: "not-done",
        }
    }

    pub(crate) fn of(kind: Kind, detail: impl Into<String>) -> Self {
        let (_, status, title) = kind.parts();
        Self { kind: kind.uri(), title, ..Self::new(status, detail) }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::of(Kind::InvalidRequest, detail)
    }

    /// Marks a problem whose request may have been carried out.
    pub(crate) fn with_unknown_outcome(self) -> Self {
        Self { outcome: "unknown", ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn outcome(&self) -> &'static str {
        self.outcome
    }

    /// The problem as a whole HTTP/1.1 response, after which the server closes the connection.
    pub(crate) fn to_http1(&self) -> Bytes {
        let body = serde_json::to_vec(self).unwrap_or_default();
        let status = self.status();
        let retry_after = match status {
            StatusCode::SERVICE_UNAVAILABLE => "retry-after: 1\r\n",
            _ => "",
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
             {retry_after}connection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), &body].concat().into()
    }
}

/// Returns the description of a kind of problem at its URI.
pub(crate) async fn describe(Path(name): Path<String>) -> Result<Response, Problem> {
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.parts().0 == name) else {
        return Err(Problem::of(
            Kind::PathNotFound,
            format!("unknown problem type: {name:?}; see the type of a problem"),
        ));
    };
    let (_, status, title) = kind.parts();
    let described = json!({ "type": kind.uri(), "title": title, "status": status.as_u16() });
    Ok(Json(described).into_response())
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(&self)).into_response();
        let content_type = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let kind = match error {
            _ if error.is_too_large() => Kind::TooLarge,
            RequestError::InvalidCommand(_)
            | RequestError::Rejected(_)
            | RequestError::InvalidRead(_) => Kind::InvalidRequest,
            RequestError::Overloaded => Kind::Overloaded,
            RequestError::NoSpace => Kind::NoSpace,
            RequestError::NoLeader => Kind::NoLeader,
            RequestError::Behind { .. } => Kind::Behind,
            RequestError::Stopping => Kind::Stopping,
            RequestError::Storage(_) => Kind::StorageFailed,
            RequestError::Unknown => Kind::OutcomeUnknown,
        };
        let problem = Self::of(kind, error.to_string());
        if error.is_definite() { problem } else { problem.with_unknown_outcome() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_its_own_uri() {
        let uris: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.uri()).collect();
        assert_eq!(uris.len(), Kind::ALL.len());
    }

    #[test]
    fn only_unknown_error_has_unknown_outcome() {
        let outcome = |error: RequestError| Problem::from(error).outcome;
        assert_eq!(outcome(RequestError::Unknown), "unknown");
        assert_eq!(outcome(RequestError::NoLeader), "not-done");
        assert_eq!(Problem::new(StatusCode::FORBIDDEN, "no").outcome, "not-done");
    }
}
