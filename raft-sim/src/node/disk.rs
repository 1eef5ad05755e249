//! A disk that forgets what was not synced, and now and then what was.
//!
//! It has what a real node's disk has to notice that: a checksum with each entry, which covers its
//! place, too, and a mark beside the log that says how far the log had come.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use raft_core::{Durable, Entry, HardState, LogId, LogIndex, Payload, Snapshot, Term, Write};
use raft_kv::{Command, Put};

use crate::util::rng::SimRng;

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
    /// Whether there is no room left.
    pub(crate) full: bool,
    /// The writes that wait for room, which are the last ones.
    held: Vec<u64>,
    /// How far the log had come, kept apart from the log: at least this much must be there.
    mark: LogIndex,
    /// Entries whose checksums do not fit.
    damaged: BTreeSet<LogIndex>,
    /// Whether a torn entry stands behind the end of the log.
    torn: bool,
    /// How many places too early the next entry will land.
    misdirected: Option<u64>,
    /// Whether it is gone. What was on it is remembered for those who check what was confirmed.
    lost: bool,
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
    /// A disk with a log whose entries have these terms, and with the latest term that its server
    /// knows of. Entries of the same place and term are the same on all disks.
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

    /// Takes a write; it survives a crash for certain once it is synced. Returns false if it has to
    /// wait for room.
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

    /// There is room again: returns the writes that waited for it.
    pub(crate) fn free(&mut self) -> Vec<u64> {
        self.full = false;
        std::mem::take(&mut self.held)
    }

    /// A write is done: returns the token that says so. It is durable when all writes before it
    /// are.
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

    /// Power is lost: of what was not synced, some beginning survives, possibly torn in the midst
    /// of a write. What waited for room was never there.
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

    /// The entry before the last `back` ones decays. None if there is no such entry.
    pub(crate) fn corrupt_entry(&mut self, back: u64) -> Option<LogIndex> {
        let place = (self.log.len() as u64).checked_sub(back)?;
        let entry = self.log.get(usize::try_from(place).ok()?.checked_sub(1)?)?;
        self.damaged.insert(entry.id.index);
        Some(entry.id.index)
    }

    /// The next entry that is written lands `back` places too early.
    pub(crate) fn misdirect_next_write(&mut self, back: u64) {
        self.misdirected = Some(back);
    }

    /// The disk is gone for good.
    pub(crate) fn destroy(&mut self) {
        self.lost = true;
    }

    pub(crate) fn is_corrupt(&self, index: LogIndex) -> bool {
        self.damaged.contains(&index)
    }

    /// Whether a node must not start from it any more.
    pub(crate) fn is_unrecoverable(&self) -> bool {
        let acknowledged = |index: &LogIndex| *index <= self.mark;
        self.lost || self.damaged.first().is_some_and(acknowledged)
    }

    /// Looks at everything, as a node does that starts. Damage before the mark may hit what was
    /// acknowledged: the node must not start. Behind the mark nothing was, and the log is cut off
    /// there. Returns the first entry that was cut.
    pub(crate) fn recover(&mut self) -> Result<Option<LogIndex>, String> {
        if self.lost {
            return Err("its disk is gone, and with it what it had promised".into());
        }
        if self.full {
            return Err("there is no room on its disk".into());
        }
        let was_torn = std::mem::take(&mut self.torn);
        let end = self.end();
        let is_ruined = self.is_unrecoverable();
        match self.damaged.first().copied() {
            Some(first) if is_ruined => {
                Err(format!("entry {first} of its log is damaged: its checksum does not fit"))
            }
            Some(first) => {
                self.log.retain(|entry| entry.id.index < first);
                self.damaged.clear();
                Ok(Some(first))
            }
            None => Ok(was_torn.then(|| end.next())),
        }
    }

    /// The last position of the log.
    pub(crate) fn end(&self) -> LogIndex {
        let last = self.log.last();
        last.map_or(self.log_start.index, |entry| entry.id.index)
    }

    /// Whether the entry is durable, in the log or in the snapshot.
    pub(crate) fn holds(&self, id: LogId) -> bool {
        let in_snapshot = |(snapshot, _): &(Snapshot, Bytes)| id.index <= snapshot.last.index;
        self.entries(id.index, id.index).first().is_some_and(|entry| entry.id == id)
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
            self.log.retain(|entry| holds_it && entry.id.index > start.index);
            self.log_start = start;
            self.damaged.retain(|index| holds_it && *index > start.index);
        }
        if let Some(first) = entries.first().map(|entry| entry.id.index) {
            self.log.retain(|entry| entry.id.index < first);
            self.damaged.retain(|index| *index < first);
            if let Some(back) = self.misdirected.take() {
                // Nothing new stands where it belongs, and something wrong elsewhere.
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
        // A snapshot has replaced the one, and the leader the other.
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
        assert_eq!(disk.recover(), Ok(None), "it is gone");
    }

    /// A write that replaces the end of the log lowers the mark, whether or not the crash spares
    /// it.
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
            assert!(crashed.recover().is_err(), "there is still no room");
        }
        assert_eq!(disk.free(), [7]);
        assert!(disk.sync(7).is_some() && disk.holds(entry(1, 1).id));
    }

    #[test]
    fn a_log_that_was_compacted_still_answers() {
        let mut disk = Disk::default();
        disk.keep(None, None, vec![entry(1, 1), entry(1, 2), entry(1, 3)]);
        disk.keep(None, Some(entry(1, 2).id), vec![entry(1, 4)]);
        let all = disk.entries(LogIndex(1), LogIndex(9));
        assert!(all.is_empty(), "the first of them is gone");
        assert_eq!(disk.entries(LogIndex(3), LogIndex(9)), [entry(1, 3), entry(1, 4)]);
        assert_eq!(disk.entries(LogIndex(4), LogIndex(4)), [entry(1, 4)]);
        disk.keep(None, Some(entry(2, 3).id), vec![]);
        assert!(disk.log.is_empty(), "it does not lead to the snapshot");
    }
}
