//! The failures that stop a running node.

use std::sync::Arc;

use raft_storage::StorageError;
use tokio::sync::watch;
use tracing::error;

/// The reason for which a node stopped without a request. The node answers no more requests.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct NodeFailure(Arc<Failure>);

/// The failures of the parts of a node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "the disk failed: {0}; check the disk and restart the node. The node does not retry, \
         because the operating system may have dropped the failed write"
    )]
    Disk(StorageError),
    #[error("the stored log is damaged: {0}; replace the disk and the node")]
    Log(StorageError),
    #[error("the state machine failed: {0}; check the disk and restart the node")]
    StateMachine(raft_kv::ApplyError<StorageError>),
    #[error("{0}")]
    Consensus(String),
    #[error("{0} panicked; report this as a bug")]
    Panic(&'static str),
}

/// Reports failures to the owner of the node. Failures after the first one are ignored.
#[derive(Clone)]
pub(crate) struct Failures(watch::Sender<Option<NodeFailure>>);

/// Reports a panic of the thread or task that owns it.
pub(crate) struct Sentinel {
    part: &'static str,
    failures: Failures,
}

impl Failures {
    pub(crate) fn new() -> (Self, watch::Receiver<Option<NodeFailure>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }

    pub(crate) fn report(&self, failure: Failure) {
        self.0.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                error!("this node stops: {failure}");
                *first = Some(NodeFailure(Arc::new(failure)));
            }
            is_first
        });
    }

    pub(crate) fn sentinel(&self, part: &'static str) -> Sentinel {
        Sentinel { part, failures: self.clone() }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failures.report(Failure::Panic(self.part));
        }
    }
}
