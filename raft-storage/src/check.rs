//! Offline verification of a directory.

use crate::error::StorageError;
use crate::files::Files;
use crate::identity::Identity;
use crate::log::{self, Scan};
use crate::state;

/// The result of a verification.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// Everything that is wrong.
    pub errors: Vec<StorageError>,
    /// Segments of the log.
    pub segments: usize,
    /// Batches in them.
    pub batches: u64,
    /// The last entry that is not in the log any more.
    pub log_start: u64,
    /// The last entry of the log.
    pub last_index: u64,
    /// The stored term.
    pub term: u64,
    /// Tables of the state machine.
    pub tables: usize,
    /// Pairs in the tables, including replaced ones.
    pub pairs: u64,
}

/// Reads all files of a directory whose node has stopped. Changes nothing.
#[must_use]
pub fn check(files: &dyn Files, identity: Identity) -> CheckReport {
    let mut report = CheckReport::default();
    match Scan::new(files, identity) {
        Ok(scan) => {
            report.segments = scan.segments();
            report.batches = scan.batches;
            report.log_start = scan.start().index.0;
            report.last_index = scan.last().0;
            report.term = scan.hard_state.term.0;
            report.errors.extend(log::check_mark(files, identity, &scan).err());
        }
        Err(error) => report.errors.push(error),
    }
    (report.tables, report.pairs) = state::check(files, identity, &mut report.errors);
    report
}
