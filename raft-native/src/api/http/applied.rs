//! The result of a command that the cluster applied.

use axum::Json;
use axum::response::{IntoResponse, Response};
use raft_kv::{Outcome, RequestResult};
use serde_json::json;

use crate::api::http::kv::with_revision;
use crate::client::RequestError;

/// The result of an applied command.
#[derive(Debug, PartialEq)]
pub(crate) struct Done {
    /// The revision of the store after the command.
    pub(crate) revision: i64,
    /// The result. `None` if this is the response to a retry and the result was too large for the
    /// session.
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

/// The response to a request that was applied and whose result was not stored.
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
