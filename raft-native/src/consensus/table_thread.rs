//! The thread that writes tables of the state machine.

use std::io;
use std::thread;
use std::time::Duration;

use raft_storage::Flusher;
use tokio::sync::mpsc;

use crate::consensus::Input;
use crate::consensus::failure::Failure;
use crate::consensus::threads::Threads;

/// The pause before the thread tries to write to a full disk again.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Starts the thread, which ends with [`Flusher::stop`]. If the disk fails, the thread reports the
/// failure and stops the consensus loop.
pub(crate) fn spawn(
    flusher: Flusher,
    inputs: mpsc::Sender<Input>,
    threads: &mut Threads,
) -> io::Result<()> {
    threads.spawn("raft-tables", move |failures| {
        if let Err(error) = flusher.run(|| thread::sleep(RETRY_INTERVAL)) {
            failures.report(Failure::Disk(error));
            let _ = inputs.blocking_send(Input::StorageFailed);
        }
    })
}
