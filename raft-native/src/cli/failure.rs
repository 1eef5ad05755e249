//! Why a client command failed: in words, as JSON, and as an exit status.

use std::process::ExitCode;

use serde_json::json;

use super::Output;

/// The exit statuses of the client commands, for their help.
pub(crate) const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  another error
  2  invalid arguments
  3  there is no such key
  4  the condition does not hold; nothing was changed
  5  no node could be reached, or no leader is known; nothing was changed
  6  unknown: the write may have been done, or be done later, or not";

/// Why a client command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The node, the disk or the terminal refused; trying again does not help.
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Usage(String),
    #[error("there is no key {0:?}")]
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

    /// Prints the error in one line of the standard error, and returns the exit status.
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
