//! A disk that forgets what was not synced.

use std::collections::VecDeque;

use raft_core::{Durable, Entry, HardState, LogId, Write};

use crate::random::Random;

/// What a node has on its disk, and what is on the way there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) log: Vec<Entry>,
    unsynced: VecDeque<Unsynced>,
    /// Whether the next sync fails.
    pub(crate) failing: bool,
}

#[derive(Clone, Debug)]
struct Unsynced {
    number: u64,
    hard_state: Option<HardState>,
    entries: Vec<Entry>,
    token: Durable,
}

impl Disk {
    /// Takes a write; it survives a crash for certain once it is synced.
    pub(crate) fn write(&mut self, number: u64, write: Write) {
        let (hard_state, entries) = (write.hard_state(), write.entries().to_vec());
        self.unsynced.push_back(Unsynced {
            number,
            hard_state,
            entries,
            token: write.synced(),
        });
    }

    /// Makes everything up to the given write durable, and returns the tokens that say so.
    pub(crate) fn sync(&mut self, number: u64) -> Vec<Durable> {
        let mut tokens = Vec::new();
        while self
            .unsynced
            .front()
            .is_some_and(|write| write.number <= number)
        {
            if let Some(write) = self.unsynced.pop_front() {
                self.keep(write.hard_state, write.entries);
                tokens.push(write.token);
            }
        }
        tokens
    }

    /// Power is lost: of what was not synced, some beginning survives, possibly torn in the midst
    /// of a write.
    pub(crate) fn lose_unsynced(&mut self, random: &mut Random) {
        for write in std::mem::take(&mut self.unsynced) {
            match random.below(3) {
                0 => return,
                1 => {
                    let survivors = random.below(write.entries.len() as u64 + 1) as usize;
                    return self.keep(write.hard_state, write.entries[..survivors].to_vec());
                }
                _ => self.keep(write.hard_state, write.entries),
            }
        }
    }

    /// Whether the entry is durable.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let position = id
            .index
            .0
            .checked_sub(1)
            .and_then(|position| usize::try_from(position).ok());
        position
            .and_then(|position| self.log.get(position))
            .is_some_and(|entry| entry.id == id)
    }

    fn keep(&mut self, hard_state: Option<HardState>, entries: Vec<Entry>) {
        self.hard_state = hard_state.unwrap_or(self.hard_state);
        if let Some(first) = entries.first() {
            self.log.truncate(first.id.index.previous().0 as usize);
        }
        self.log.extend(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{LogIndex, Payload, Term};

    fn entry(term: u64, index: u64) -> Entry {
        Entry {
            id: LogId::new(Term(term), LogIndex(index)),
            payload: Payload::Noop,
        }
    }

    #[test]
    fn entries_replace_what_stands_in_their_place() {
        let mut disk = Disk::default();
        disk.keep(None, vec![entry(1, 1), entry(1, 2), entry(1, 3)]);
        disk.keep(None, vec![entry(2, 2)]);
        assert_eq!(disk.log, [entry(1, 1), entry(2, 2)]);
        assert!(disk.holds(entry(2, 2).id) && !disk.holds(entry(1, 2).id));
    }
}
