//! The threads of a node.

use std::io;
use std::thread::{self, JoinHandle};

use crate::consensus::failure::Failures;

/// The threads that a node has started. A panic in one of them stops the node.
pub(crate) struct Threads {
    failures: Failures,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn new(failures: Failures) -> Self {
        Self { failures, handles: Vec::new() }
    }

    /// Starts a thread with a name of at most 15 bytes, which is the limit of Linux.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        run: impl FnOnce(Failures) + Send + 'static,
    ) -> io::Result<()> {
        let failures = self.failures.clone();
        let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _sentinel = failures.sentinel(name);
            run(failures);
        })?;
        self.handles.push(handle);
        Ok(())
    }

    /// Waits until all threads have ended.
    pub(crate) fn join(self) {
        for handle in self.handles {
            // The sentinel of the thread has reported a panic already.
            let _ = handle.join();
        }
    }
}
