//! A disk that forgets what was not synced.

use std::collections::VecDeque;

use bytes::Bytes;
use raft_core::{Durable, Entry, HardState, LogId, LogIndex, Payload, Snapshot, Term, Write};
use raft_kv::{Command, Put};

use crate::random::Random;

/// What a node has on its disk, and what is on the way there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    /// The entries behind `log_start`.
    pub(crate) log: Vec<Entry>,
    pub(crate) log_start: LogId,
    /// The latest snapshot of the state machine.
    pub(crate) snapshot: Option<(Snapshot, Bytes)>,
    /// The writes that are not durable, or behind one that is not.
    unsynced: VecDeque<Unsynced>,
    /// Whether the next sync fails.
    pub(crate) failing: bool,
}

#[derive(Clone, Debug)]
struct Unsynced {
    number: u64,
    hard_state: Option<HardState>,
    log_start: Option<LogId>,
    entries: Vec<Entry>,
    /// To be given back when the write is done; none, if that has happened already.
    token: Option<Durable>,
}

impl Disk {
    /// A disk with a log whose entries have these terms, and with the latest term that its server knows of. Entries
    /// of the same place and term are the same on all disks.
    pub(crate) fn with_log(terms: &[u64], term: u64) -> Self {
        let entry = |(index, term): (u64, &u64)| {
            let put = Put::new(format!("entry {index}"), format!("term {term}"));
            Entry {
                id: LogId::new(Term(*term), LogIndex(index)),
                payload: Payload::Command(Command::new(put).encode()),
            }
        };
        Self {
            hard_state: HardState {
                term: Term(term),
                vote: None,
            },
            log: (1..).zip(terms).map(entry).collect(),
            ..Self::default()
        }
    }

    /// Takes a write; it survives a crash for certain once it is synced.
    pub(crate) fn write(&mut self, number: u64, write: Write) {
        let (hard_state, entries) = (write.hard_state(), write.entries().to_vec());
        self.unsynced.push_back(Unsynced {
            number,
            hard_state,
            log_start: write.log_start(),
            entries,
            token: Some(write.synced()),
        });
    }

    /// A write is done: returns the token that says so. It is durable when all writes before it are.
    pub(crate) fn sync(&mut self, number: u64) -> Option<Durable> {
        let done = self
            .unsynced
            .iter_mut()
            .find(|write| write.number == number)
            .and_then(|write| write.token.take());
        while let Some(write) = self.unsynced.pop_front_if(|write| write.token.is_none()) {
            self.keep(write.hard_state, write.log_start, write.entries);
        }
        done
    }

    /// Power is lost: of what was not synced, some beginning survives, possibly torn in the midst
    /// of a write.
    pub(crate) fn lose_unsynced(&mut self, random: &mut Random) {
        for write in std::mem::take(&mut self.unsynced) {
            match random.below(3) {
                0 => return,
                1 => {
                    let survivors = random.below(write.entries.len() as u64 + 1) as usize;
                    let entries = write.entries[..survivors].to_vec();
                    return self.keep(write.hard_state, write.log_start, entries);
                }
                _ => self.keep(write.hard_state, write.log_start, write.entries),
            }
        }
    }

    /// Whether the entry is durable, in the log or in the snapshot.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let in_snapshot = |(snapshot, _): &(Snapshot, Bytes)| id.index <= snapshot.last.index;
        self.entries(id.index, id.index)
            .first()
            .is_some_and(|entry| entry.id == id)
            || self.snapshot.as_ref().is_some_and(in_snapshot)
    }

    /// The entries between two positions, both included, as far as the log has them.
    pub(crate) fn entries(&self, from: LogIndex, through: LogIndex) -> &[Entry] {
        let place = |index: LogIndex| (index - self.log_start.index) as usize;
        let through = place(through).min(self.log.len());
        match place(from).checked_sub(1) {
            Some(from) if from < through => &self.log[from..through],
            _ => &[],
        }
    }

    fn keep(
        &mut self,
        hard_state: Option<HardState>,
        log_start: Option<LogId>,
        entries: Vec<Entry>,
    ) {
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        if let Some(start) = log_start {
            let holds_it = self.log.iter().any(|entry| entry.id == start);
            self.log
                .retain(|entry| holds_it && entry.id.index > start.index);
            self.log_start = start;
        }
        if let Some(first) = entries.first() {
            self.log.retain(|entry| entry.id.index < first.id.index);
        }
        self.log.extend(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        Entry {
            id: LogId::new(Term(term), LogIndex(index)),
            payload: Payload::Noop,
        }
    }

    #[test]
    fn entries_replace_what_stands_in_their_place() {
        let mut disk = Disk::default();
        disk.keep(None, None, vec![entry(1, 1), entry(1, 2), entry(1, 3)]);
        disk.keep(None, None, vec![entry(2, 2)]);
        assert_eq!(disk.log, [entry(1, 1), entry(2, 2)]);
        assert!(disk.holds(entry(2, 2).id) && !disk.holds(entry(1, 2).id));
    }

    #[test]
    fn what_is_behind_an_incomplete_write_is_not_durable() {
        let write = |number, index| Unsynced {
            number,
            hard_state: None,
            log_start: None,
            entries: vec![entry(1, index)],
            token: None,
        };
        let mut disk = Disk::default();
        let mut first = write(1, 1);
        first.token = some_token();
        disk.unsynced = [first, write(2, 2)].into();
        assert!(disk.sync(2).is_none(), "it is done already");
        assert!(!disk.holds(entry(1, 2).id));
        assert!(disk.sync(1).is_some());
        assert!(disk.holds(entry(1, 1).id) && disk.holds(entry(1, 2).id));
    }

    /// Only a server makes tokens.
    fn some_token() -> Option<Durable> {
        let mut config = raft_core::Config::new(raft_core::NodeId(1));
        config.pre_vote = false;
        let membership = raft_core::Membership::new([raft_core::NodeId(1)]);
        let nothing = HardState::default();
        let restored = raft_core::Restored::new(1, membership, nothing, LogIndex(0), 0);
        let mut raft = raft_core::Raft::new(config, restored, 1, raft_core::Instant(0)).ok()?;
        raft.elapse(raft.deadline()?);
        let mut effects = raft_core::Effects::default();
        raft.drain(&mut effects);
        effects.write.map(Write::synced)
    }

    #[test]
    fn a_log_that_was_compacted_still_answers() {
        let mut disk = Disk::default();
        disk.keep(None, None, vec![entry(1, 1), entry(1, 2), entry(1, 3)]);
        disk.keep(None, Some(entry(1, 2).id), vec![entry(1, 4)]);
        let all = disk.entries(LogIndex(1), LogIndex(9));
        assert!(all.is_empty(), "the first of them is gone");
        assert_eq!(
            disk.entries(LogIndex(3), LogIndex(9)),
            [entry(1, 3), entry(1, 4)]
        );
        assert_eq!(disk.entries(LogIndex(4), LogIndex(4)), [entry(1, 4)]);
        disk.keep(None, Some(entry(2, 3).id), vec![]);
        assert!(disk.log.is_empty(), "it does not lead to the snapshot");
    }
}
