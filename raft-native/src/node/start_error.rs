//! The errors of a start.

use std::io;
use std::path::Path;

use crate::config::ConfigError;
use crate::config::secret::SecretError;
use crate::peer::PeersError;
use crate::storage::OpenError;

/// The reason for which a node did not start. The text is one line with advice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    DataDir(#[from] OpenError),
    #[error(
        "port {port} is in use ({protocol}); stop the process that uses it, or choose another --port"
    )]
    PortInUse { port: u16, protocol: &'static str },
    #[error("cannot listen on port {port}: {error}; check --listen and --port")]
    Listen { port: u16, error: io::Error },
    #[error("cannot communicate with the other nodes: {0}")]
    Peers(#[from] PeersError),
    #[error("cannot start a thread: {0}; check the limit of processes and threads (ulimit -u)")]
    Thread(io::Error),
    #[error("a task failed during the start: {0}; report this as a bug")]
    Task(tokio::task::JoinError),
    #[error("invalid timing: {0}; check the election timeouts and --heartbeat-ms")]
    Timing(raft_core::ConfigError),
}

impl StartError {
    pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        OpenError::damaged(path, reason).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_errors_name_the_part_that_failed() {
        let error = || io::Error::from_raw_os_error(11);
        let thread = StartError::Thread(error()).to_string();
        assert!(thread.contains("thread") && thread.contains("ulimit -u"), "{thread}");
        let endpoint = StartError::from(PeersError::from(error())).to_string();
        assert!(endpoint.contains("UDP socket"), "{endpoint}");
        for text in [thread, endpoint] {
            assert!(!text.contains("identity") && !text.contains("credentials"), "{text}");
        }
    }
}
