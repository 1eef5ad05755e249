//! Why a running node stops by itself.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::error;

use crate::storage::{DamagedEntry, StorageError};

/// Why a node stopped by itself. A node that has stopped answers no requests any more.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct NodeFailure(Arc<Failure>);

/// The parts of a node that can fail, and how.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the disk failed: {0}; the node does not try again, because a failed write is lost")]
    Disk(StorageError),
    #[error("the stored log is damaged: {0}")]
    Log(DamagedEntry),
    #[error("the state machine failed: {0}")]
    StateMachine(raft_kv::ApplyError<StorageError>),
    #[error("{0}")]
    Consensus(String),
    #[error("{0} failed; this is a defect of the program")]
    Panic(&'static str),
}

/// Reports failures to the owner of the node. The first one counts.
#[derive(Clone)]
pub(crate) struct Failures(watch::Sender<Option<NodeFailure>>);

/// Reports a panic of the part that owns it.
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
