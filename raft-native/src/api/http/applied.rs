//! What became of a command that the cluster carried out.

use axum::Json;
use axum::response::{IntoResponse, Response};
use raft_kv::{Outcome, RequestResult};
use serde_json::json;

use crate::api::http::kv::with_revision;
use crate::client::RequestError;

/// A command was carried out.
#[derive(Debug, PartialEq)]
pub(crate) struct Done {
    /// The revision of the store after it.
    pub(crate) revision: i64,
    /// What it returned. `None` if this is the answer to a retry and the result was too large for
    /// the session to keep.
    pub(crate) result: Option<RequestResult>,
}

impl TryFrom<Outcome> for Done {
    type Error = RequestError;

    fn try_from(outcome: Outcome) -> Result<Self, RequestError> {
        match outcome {
            Outcome::Done(applied) => {
                Ok(Self { revision: applied.revision, result: Some(applied.result) })
            }
            Outcome::AlreadyDone { revision } => Ok(Self { revision, result: None }),
            Outcome::Rejected(rejection) => Err(rejection.into()),
            Outcome::Noop | Outcome::SessionStale { .. } | Outcome::SessionUnknown { .. } => {
                Err(RequestError::Unknown)
            }
        }
    }
}

/// The answer to a request that was carried out, and whose result was not kept.
pub(crate) fn without_result(revision: i64) -> Response {
    let answer = json!({ "revision": revision, "result_kept": false });
    with_revision(Json(answer).into_response(), revision)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use raft_kv::Rejection;

    use super::*;

    #[test]
    fn already_done_is_reported_as_done() {
        let done = Done::try_from(Outcome::AlreadyDone { revision: 7 });
        assert_eq!(done.unwrap(), Done { revision: 7, result: None });
        let response = without_result(7);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-raft-revision"], "7");
    }

    #[test]
    fn answer_too_large_is_definite() {
        let rejected = Outcome::Rejected(Rejection::AnswerTooLarge { max: 4_194_304 });
        let error = Done::try_from(rejected).unwrap_err();
        assert!(error.is_definite() && error.to_string().contains("4194304"), "{error}");
    }
}
