//! How far the log has reached, and for whom was voted last, kept apart from both.
//!
//! A journal that is damaged looks, on recovery, like one whose end was never written: the engine
//! drops what comes after the damage. What was acknowledged must not vanish like that without a
//! word, so a file of its own says how far the log had come. It costs one small write a group
//! commit and no sync: it is written when the log is durable, so it never says too much, and after
//! a loss of power at worst too little.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use raft_core::{HardState, LogIndex, NodeId, Term};

/// The least that must be there when the node starts again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HighWaterMark {
    pub(crate) last: LogIndex,
    hard_state: HardState,
}

impl HighWaterMark {
    /// What the stored hard state has forgotten, if anything.
    pub(crate) fn describe_regression(&self, stored: HardState) -> Option<String> {
        let HardState { term, vote } = self.hard_state;
        if stored.term < term {
            Some(format!("it is of term {}, and had been in term {term}", stored.term))
        } else if stored.term == term && vote.is_some() && stored.vote != vote {
            Some(format!("it lacks the vote that was given in term {term}"))
        } else {
            None
        }
    }
}

pub(crate) struct HighWaterMarkFile {
    file: File,
    reached: HighWaterMark,
}

const BYTES: usize = 29;

impl HighWaterMarkFile {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        let path = directory.join("mark");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        let mut bytes = [0; BYTES];
        let reached = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => decode(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => HighWaterMark::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { file, reached })
    }

    pub(crate) fn reached(&self) -> HighWaterMark {
        self.reached
    }

    /// The log is about to end at `last`. If that is earlier than before, it must be known first.
    pub(crate) fn lower_to(&mut self, last: LogIndex) -> io::Result<()> {
        if last >= self.reached.last {
            return Ok(());
        }
        self.reached.last = last;
        self.write()?;
        self.file.sync_data()
    }

    /// The log is durable up to `last`, and so is the hard state, if there was a new one.
    pub(crate) fn raise_to(
        &mut self,
        last: LogIndex,
        hard_state: Option<HardState>,
    ) -> io::Result<()> {
        let known = self.reached.hard_state;
        let reached = HighWaterMark {
            last: self.reached.last.max(last),
            hard_state: hard_state.filter(|new| new.term >= known.term).unwrap_or(known),
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

fn encode(reached: HighWaterMark) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&reached.last.0.to_le_bytes());
    let HardState { term, vote } = reached.hard_state;
    bytes[8..16].copy_from_slice(&term.0.to_le_bytes());
    bytes[16] = u8::from(vote.is_some());
    bytes[17..25].copy_from_slice(&vote.map_or(0, |candidate| candidate.0).to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..25]);
    bytes[25..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES]) -> Option<HighWaterMark> {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).ok();
    let reached = HighWaterMark {
        last: LogIndex(number(&bytes[..8])?),
        hard_state: HardState {
            term: Term(number(&bytes[8..16])?),
            vote: (bytes[16] == 1).then_some(NodeId(number(&bytes[17..25])?)),
        },
    };
    (encode(reached) == *bytes).then_some(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(directory: &Path) -> (u64, u64) {
        let reached = HighWaterMarkFile::open(directory).unwrap().reached();
        (reached.last.0, reached.hard_state.term.0)
    }

    fn voted(term: u64, vote: u64) -> HardState {
        HardState { term: Term(term), vote: Some(NodeId(vote)) }
    }

    fn in_term(term: u64) -> HardState {
        HardState { term: Term(term), vote: None }
    }

    #[test]
    fn lost_vote_is_detected() {
        let directory = tempfile::tempdir().unwrap();
        let mut mark = HighWaterMarkFile::open(directory.path()).unwrap();
        mark.raise_to(LogIndex(7), Some(in_term(3))).unwrap();
        assert_eq!(mark.reached().describe_regression(in_term(3)), None);
        mark.raise_to(LogIndex(7), Some(voted(3, 0))).unwrap();
        mark.raise_to(LogIndex(8), None).unwrap();
        let reached = HighWaterMarkFile::open(directory.path()).unwrap().reached();
        assert_eq!(reached.describe_regression(voted(3, 0)), None);
        for later in [in_term(4), voted(4, 2)] {
            assert_eq!(reached.describe_regression(later), None);
        }
        for lost in [in_term(3), voted(3, 1)] {
            assert!(reached.describe_regression(lost).unwrap().contains("vote"));
        }
        assert!(reached.describe_regression(voted(2, 0)).unwrap().contains("term 2"));
    }

    #[test]
    fn mark_persists_and_is_lowered_only_explicitly() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(reached(path), (0, 0));
        let mut mark = HighWaterMarkFile::open(path).unwrap();
        mark.raise_to(LogIndex(7), Some(in_term(2))).unwrap();
        assert_eq!(reached(path), (7, 2));
        mark.raise_to(LogIndex(5), Some(in_term(1))).unwrap();
        assert_eq!(reached(path), (7, 2));
        mark.lower_to(LogIndex(9)).unwrap();
        assert_eq!(reached(path), (7, 2));
        mark.lower_to(LogIndex(4)).unwrap();
        assert_eq!(reached(path), (4, 2));
    }

    #[test]
    fn torn_mark_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let mut mark = HighWaterMarkFile::open(directory.path()).unwrap();
        mark.raise_to(LogIndex(7), Some(in_term(2))).unwrap();
        mark.file.write_all_at(&[0xff; 3], 4).unwrap();
        assert_eq!(reached(directory.path()), (0, 0));
    }
}
