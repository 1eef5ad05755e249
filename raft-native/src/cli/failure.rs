//! The errors of client commands, as text, as JSON, and as an exit status.

use std::process::ExitCode;

use serde_json::json;

use super::Output;

/// The exit statuses of the client commands, for their help.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0  success
  1  other error
  2  invalid arguments
  3  key not found
  4  precondition failed; nothing was changed
  5  no reachable node or no leader; nothing was changed
  6  unknown outcome: the write may or may not have been applied, or may still be";

/// The error of a client command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The node or the terminal refused. A retry does not help.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Usage(String),
    #[error("key not found: {0:?}")]
    KeyNotFound(String),
    #[error("{0}")]
    ConditionFailed(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    OutcomeUnknown(String),
}

impl ClientError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Usage(_) => "usage",
            Self::KeyNotFound(_) => "key-not-found",
            Self::ConditionFailed(_) => "condition-failed",
            Self::Unavailable(_) => "unavailable",
            Self::OutcomeUnknown(_) => "outcome-unknown",
        }
    }

    fn exit_status(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::KeyNotFound(_) => 3,
            Self::ConditionFailed(_) => 4,
            Self::Unavailable(_) => 5,
            Self::OutcomeUnknown(_) => 6,
        }
    }

    fn outcome(&self) -> &'static str {
        if matches!(self, Self::OutcomeUnknown(_)) { "unknown" } else { "not-done" }
    }

    /// Prints the error as one line on standard error, and returns the exit status.
    pub(crate) fn report(&self, output: Output) -> ExitCode {
        let status = self.exit_status();
        match output {
            Output::Text => eprintln!("raft: {self}"),
            Output::Json => {
                let error = json!({
                    "kind": self.kind(),
                    "message": self.to_string(),
                    "outcome": self.outcome(),
                    "exit_status": status,
                });
                eprintln!("{}", json!({ "error": error }));
            }
        }
        ExitCode::from(status)
    }
}
