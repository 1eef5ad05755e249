//! How far the log has reached, kept apart from the log.
//!
//! A journal that is damaged looks, on recovery, like one whose end was never written: the engine drops what comes
//! after the damage. What was acknowledged must not vanish like that without a word, so a file of its own says how far
//! the log had come. It costs one small write a group commit and no sync: it is written when the log is durable, so it
//! never says too much, and after a loss of power at worst too little.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use raft_core::{LogIndex, Term};

/// The least that must be there when the node starts again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Reached {
    pub(crate) last: LogIndex,
    pub(crate) term: Term,
}

pub(crate) struct Mark {
    file: File,
    reached: Reached,
}

const BYTES: usize = 20;

impl Mark {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("mark");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut bytes = [0; BYTES];
        let reached = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Reached::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, reached })
    }

    pub(crate) fn reached(&self) -> Reached {
        self.reached
    }

    /// The log is about to end at `last`. If that is earlier than before, it must be known first.
    pub(crate) fn will_end(&mut self, last: LogIndex) -> io::Result<()> {
        if last >= self.reached.last {
            return Ok(());
        }
        self.reached.last = last;
        self.write()?;
        self.file.sync_data()
    }

    /// The log is durable up to `last`, and the term is.
    pub(crate) fn has_reached(&mut self, last: LogIndex, term: Term) -> io::Result<()> {
        let reached = Reached {
            last: self.reached.last.max(last),
            term: self.reached.term.max(term),
        };
        if reached == self.reached {
            return Ok(());
        }
        self.reached = reached;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        self.file.write_all_at(&encode(self.reached), 0)
    }
}

fn encode(reached: Reached) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&reached.last.0.to_le_bytes());
    bytes[8..16].copy_from_slice(&reached.term.0.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES]) -> Option<Reached> {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
    let reached = Reached {
        last: LogIndex(number(&bytes[..8])?),
        term: Term(number(&bytes[8..16])?),
    };
    (encode(reached) == *bytes).then_some(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(directory: &Path) -> (u64, u64) {
        let reached = Mark::open(directory).unwrap().reached();
        (reached.last.0, reached.term.0)
    }

    #[test]
    fn a_mark_is_found_again_and_falls_only_on_purpose() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(reached(path), (0, 0));
        let mut mark = Mark::open(path).unwrap();
        mark.has_reached(LogIndex(7), Term(2)).unwrap();
        assert_eq!(reached(path), (7, 2));
        mark.has_reached(LogIndex(5), Term(1)).unwrap();
        assert_eq!(reached(path), (7, 2));
        mark.will_end(LogIndex(9)).unwrap();
        assert_eq!(reached(path), (7, 2));
        mark.will_end(LogIndex(4)).unwrap();
        assert_eq!(reached(path), (4, 2));
    }

    #[test]
    fn a_torn_mark_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut mark = Mark::open(directory.path()).unwrap();
        mark.has_reached(LogIndex(7), Term(2)).unwrap();
        mark.file.write_all_at(&[0xff; 3], 4).unwrap();
        assert_eq!(reached(directory.path()), (0, 0));
    }
}
