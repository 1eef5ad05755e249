//! A simulated disk: it loses writes that are not synced, and can corrupt or lose others.
//!
//! A simulated disk detects damage as the disk of a real node does. Each entry has a checksum that
//! covers its index. A high-water mark outside of the log contains the last durable index.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use raft_core::{Durable, Entry, HardState, LogId, LogIndex, Payload, Snapshot, Term, Write};
use raft_kv::{Command, Put};

use crate::util::rng::SimRng;

/// The contents of a disk, and its pending writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    /// The entries after `log_start`.
    pub(crate) log: Vec<Entry>,
    pub(crate) log_start: LogId,
    /// The latest snapshot of the state machine.
    pub(crate) snapshot: Option<(Snapshot, Bytes)>,
    /// The writes that are not durable, or that follow such a write.
    unsynced: VecDeque<Unsynced>,
    /// The next sync fails.
    pub(crate) failing: bool,
    /// The disk has no free space.
    pub(crate) full: bool,
    /// The writes that wait for space. They follow all other writes.
    held: Vec<u64>,
    /// The last durable index, stored outside of the log. The log must contain at least this index.
    mark: LogIndex,
    /// The entries with a wrong checksum.
    damaged: BTreeSet<LogIndex>,
    /// A torn entry follows the end of the log.
    torn: bool,
    /// The distance by which the next entry is written too early.
    misdirected: Option<u64>,
    /// The disk is destroyed. Its contents remain for the check of committed entries.
    lost: bool,
}

#[derive(Clone, Debug)]
struct Unsynced {
    number: u64,
    hard_state: Option<HardState>,
    log_start: Option<LogId>,
    entries: Vec<Entry>,
    /// The token of the write. None if the write is complete.
    token: Option<Durable>,
}

impl Disk {
    /// A disk with a log whose entries have these terms, and with the current term of its server.
    /// Entries with the same index and term are the same on all disks.
    pub(crate) fn with_log(terms: &[u64], term: u64) -> Self {
        let entry = |(index, term): (u64, &u64)| {
            let put = Put::new(format!("entry {index}"), format!("term {term}"));
            Entry {
                id: LogId::new(Term(*term), LogIndex(index)),
                payload: Payload::Command(Command::new(put).encode()),
            }
        };
        Self {
            hard_state: HardState { term: Term(term), vote: None },
            log: (1..).zip(terms).map(entry).collect(),
            mark: LogIndex(terms.len() as u64),
            ..Self::default()
        }
    }

    /// Starts a write, which is durable when it is synced. Returns false if the write waits for
    /// space.
    pub(crate) fn write(&mut self, number: u64, write: Write) -> bool {
        let (hard_state, entries) = (write.hard_state(), write.entries().to_vec());
        self.unsynced.push_back(Unsynced {
            number,
            hard_state,
            log_start: write.log_start(),
            entries,
            token: Some(write.synced()),
        });
        if self.full {
            self.held.push(number);
        }
        !self.full
    }

    /// Frees space. Returns the writes that waited for it.
    pub(crate) fn free(&mut self) -> Vec<u64> {
        self.full = false;
        std::mem::take(&mut self.held)
    }

    /// Completes a write. Returns its token. The write is durable when all earlier writes are.
    pub(crate) fn sync(&mut self, number: u64) -> Option<Durable> {
        let done = self
            .unsynced
            .iter_mut()
            .find(|write| write.number == number)
            .and_then(|write| write.token.take());
        while let Some(write) = self.unsynced.pop_front_if(|write| write.token.is_none()) {
            self.keep(write.hard_state, write.log_start, write.entries);
        }
        self.mark = self.end();
        done
    }

    /// Loses power. A random prefix of the writes that are not synced survives, possibly with a
    /// torn write at its end. Writes that waited for space are lost.
    pub(crate) fn lose_unsynced(&mut self, random: &mut SimRng) {
        for write in std::mem::take(&mut self.unsynced) {
            if self.held.contains(&write.number) {
                break;
            }
            match random.below(3) {
                0 => break,
                1 => {
                    let survivors = random.below(write.entries.len() as u64 + 1) as usize;
                    self.torn = survivors < write.entries.len();
                    let entries = write.entries[..survivors].to_vec();
                    self.keep(write.hard_state, write.log_start, entries);
                    break;
                }
                _ => self.keep(write.hard_state, write.log_start, write.entries),
            }
        }
        self.held.clear();
        self.mark = self.mark.min(self.end());
    }

    /// Corrupts the entry before the last `back` entries. None if the entry does not exist.
    pub(crate) fn corrupt_entry(&mut self, back: u64) -> Option<LogIndex> {
        let place = (self.log.len() as u64).checked_sub(back)?;
        let entry = self.log.get(usize::try_from(place).ok()?.checked_sub(1)?)?;
        self.damaged.insert(entry.id.index);
        Some(entry.id.index)
    }

    /// Lets the next entry be written `back` positions too early.
    pub(crate) fn misdirect_next_write(&mut self, back: u64) {
        self.misdirected = Some(back);
    }

    /// Destroys the disk.
    pub(crate) fn destroy(&mut self) {
        self.lost = true;
    }

    pub(crate) fn is_corrupt(&self, index: LogIndex) -> bool {
        self.damaged.contains(&index)
    }

    /// Returns true if a server must never start from this disk.
    pub(crate) fn is_unrecoverable(&self) -> bool {
        let acknowledged = |index: &LogIndex| *index <= self.mark;
        self.lost || self.damaged.first().is_some_and(acknowledged)
    }

    /// Checks the disk when a server starts. Damage up to the high-water mark may affect
    /// acknowledged entries, so the server must not start. After the mark, the log is truncated.
    /// Returns the first truncated entry.
    pub(crate) fn recover(&mut self) -> Result<Option<LogIndex>, String> {
        if self.lost {
            return Err("the disk is destroyed".into());
        }
        if self.full {
            return Err("the disk is full".into());
        }
        let was_torn = std::mem::take(&mut self.torn);
        let end = self.end();
        let is_ruined = self.is_unrecoverable();
        match self.damaged.first().copied() {
            Some(first) if is_ruined => {
                Err(format!("entry {first} of the log is damaged: the checksum is wrong"))
            }
            Some(first) => {
                self.log.retain(|entry| entry.id.index < first);
                self.damaged.clear();
                Ok(Some(first))
            }
            None => Ok(was_torn.then(|| end.next())),
        }
    }

    /// The last index of the log.
    pub(crate) fn end(&self) -> LogIndex {
        let last = self.log.last();
        last.map_or(self.log_start.index, |entry| entry.id.index)
    }

    /// Returns true if an entry is durable, in the log or in the snapshot.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let in_snapshot = |(snapshot, _): &(Snapshot, Bytes)| id.index <= snapshot.last.index;
        self.entries(id.index, id.index).first().is_some_and(|entry| entry.id == id)
            || self.snapshot.as_ref().is_some_and(in_snapshot)
    }

    /// The entries between two indexes, including both, that the log contains.
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
            self.log.retain(|entry| holds_it && entry.id.index > start.index);
            self.log_start = start;
            self.damaged.retain(|index| holds_it && *index > start.index);
        }
        if let Some(first) = entries.first().map(|entry| entry.id.index) {
            self.log.retain(|entry| entry.id.index < first);
            self.damaged.retain(|index| *index < first);
            if let Some(back) = self.misdirected.take() {
                // The entry is missing at its own index and overwrites an earlier one.
                let victim = LogIndex(first.0.saturating_sub(back));
                let victim = Some(victim).filter(|victim| *victim > self.log_start.index);
                self.damaged.extend([first].into_iter().chain(victim));
            }
        }
        self.log.extend(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        Entry { id: LogId::new(Term(term), LogIndex(index)), payload: Payload::Noop }
    }

    #[test]
    fn writes_replace_conflicting_entries() {
        let mut disk = Disk::default();
        disk.keep(None, None, vec![entry(1, 1), entry(1, 2), entry(1, 3)]);
        disk.keep(None, None, vec![entry(2, 2)]);
        assert_eq!(disk.log, [entry(1, 1), entry(2, 2)]);
        assert!(disk.holds(entry(2, 2).id) && !disk.holds(entry(1, 2).id));
    }

    #[test]
    fn writes_after_incomplete_write_are_not_durable() {
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
        assert!(disk.sync(2).is_none(), "the first write is pending");
        assert!(!disk.holds(entry(1, 2).id));
        assert!(disk.sync(1).is_some());
        assert!(disk.holds(entry(1, 1).id) && disk.holds(entry(1, 2).id));
    }

    /// A token, which only a server can create.
    fn some_token() -> Option<Durable> {
        let mut config = raft_core::Config::new(raft_core::NodeId(1));
        config.pre_vote = false;
        let membership = raft_core::Membership::new([raft_core::NodeId(1)]);
        let nothing = HardState::default();
        let restored = raft_core::RestoredState::new(1, membership, nothing, LogIndex(0), 0);
        let mut raft = raft_core::Raft::new(config, restored, 1, raft_core::Instant(0)).ok()?;
        raft.tick(raft.deadline()?);
        let mut effects = raft_core::Effects::default();
        raft.drain(&mut effects);
        effects.write.map(Write::synced)
    }

    fn disk_with(entries: u64) -> Disk {
        Disk::with_log(&vec![1; entries as usize], 1)
    }

    #[test]
    fn acknowledged_damage_is_never_truncated() {
        let mut disk = disk_with(5);
        assert_eq!(disk.corrupt_entry(5), None, "there is no such entry");
        assert_eq!(disk.corrupt_entry(0), Some(LogIndex(5)));
        assert_eq!(disk.corrupt_entry(3), Some(LogIndex(2)));
        let reason = disk.recover().unwrap_err();
        assert!(reason.contains("entry 2"), "{reason}");
        assert_eq!(disk.log.len(), 5);
        // A snapshot replaces the first entry, and the leader the second one.
        disk.keep(None, Some(entry(1, 2).id), vec![]);
        assert!(disk.recover().unwrap_err().contains("entry 5"));
        disk.keep(None, None, vec![entry(2, 5)]);
        assert_eq!(disk.recover(), Ok(None));
    }

    #[test]
    fn unacknowledged_damage_is_truncated() {
        let mut disk = disk_with(2);
        disk.keep(None, None, vec![entry(1, 3), entry(1, 4)]);
        disk.corrupt_entry(1);
        disk.torn = true;
        assert_eq!(disk.recover(), Ok(Some(LogIndex(3))));
        assert_eq!((disk.end(), disk.recover()), (LogIndex(2), Ok(None)));
        disk.torn = true;
        assert_eq!(disk.recover(), Ok(Some(LogIndex(3))));
        assert_eq!(disk.recover(), Ok(None), "the torn entry is removed");
    }

    /// A write that replaces the end of the log lowers the mark, whether or not the write survives.
    #[test]
    fn high_water_mark_never_exceeds_durable() {
        let mut disk = disk_with(5);
        disk.keep(None, None, vec![entry(2, 3)]);
        disk.lose_unsynced(&mut SimRng::new(1));
        disk.keep(None, None, vec![entry(2, 4)]);
        disk.corrupt_entry(0);
        assert_eq!(disk.recover(), Ok(Some(LogIndex(4))));
    }

    #[test]
    fn misdirected_write_damages_two_entries() {
        let mut disk = disk_with(5);
        disk.misdirect_next_write(4);
        disk.keep(None, None, vec![entry(1, 6), entry(1, 7)]);
        let damaged: Vec<_> = (1..=7).filter(|i| disk.is_corrupt(LogIndex(*i))).collect();
        assert_eq!(damaged, [2, 6]);
        disk.keep(None, None, vec![entry(1, 8)]);
        assert!(!disk.is_corrupt(LogIndex(8)), "only the first one");
    }

    #[test]
    fn writes_waiting_for_space_are_lost_on_crash() {
        let mut disk = Disk { full: true, ..Disk::default() };
        disk.unsynced = [Unsynced {
            number: 7,
            hard_state: None,
            log_start: None,
            entries: vec![entry(1, 1)],
            token: some_token(),
        }]
        .into();
        disk.held = vec![7];
        for seed in 0..20 {
            let mut crashed = disk.clone();
            crashed.lose_unsynced(&mut SimRng::new(seed));
            assert_eq!(crashed.end(), LogIndex(0));
            assert!(crashed.recover().is_err(), "the disk is still full");
        }
        assert_eq!(disk.free(), [7]);
        assert!(disk.sync(7).is_some() && disk.holds(entry(1, 1).id));
    }

    #[test]
    fn compacted_log_returns_its_entries() {
        let mut disk = Disk::default();
        disk.keep(None, None, vec![entry(1, 1), entry(1, 2), entry(1, 3)]);
        disk.keep(None, Some(entry(1, 2).id), vec![entry(1, 4)]);
        let all = disk.entries(LogIndex(1), LogIndex(9));
        assert!(all.is_empty(), "the first of them is gone");
        assert_eq!(disk.entries(LogIndex(3), LogIndex(9)), [entry(1, 3), entry(1, 4)]);
        assert_eq!(disk.entries(LogIndex(4), LogIndex(4)), [entry(1, 4)]);
        disk.keep(None, Some(entry(2, 3).id), vec![]);
        assert!(disk.log.is_empty(), "the log does not continue the snapshot");
    }
}
