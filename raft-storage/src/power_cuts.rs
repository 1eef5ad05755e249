//! Random loads on a simulated disk, with power cuts and damage at random moments.
//!
//! A world has a log and a store of the state machine on one disk. The model beside it knows which
//! writes were acknowledged. After each power cut the world opens the disk again and compares.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{Entry, HardState, LogId, LogIndex, NodeId, Payload, Term};
use raft_kv::{Batch, Order, ReadStore, Store};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::check::check;
use crate::error::StorageError;
use crate::files::{SECTOR_BYTES, SimulatedFiles};
use crate::identity::Identity;
use crate::log::Log;
use crate::state::{Flusher, StateOptions, StateStore};

/// The fault of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Only power cuts and lack of space. Every start must succeed.
    PowerCuts,
    /// After each power cut, synced bytes are damaged. The damage must be located.
    Damage,
}

/// The numbers of what has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Power cuts, of which each was followed by a start.
    pub cuts: u64,
    /// Starts after the end of the process alone.
    pub kills: u64,
    /// Entries that were acknowledged.
    pub entries: u64,
    /// Power cuts that a pending batch survived.
    pub survived: u64,
    /// Writes that found no space.
    pub full: u64,
    /// Tables that were written.
    pub tables: u64,
    /// Damaged bytes and lost writes, all of them detected.
    pub damages: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.entries += other.entries;
        self.survived += other.survived;
        self.full += other.full;
        self.tables += other.tables;
        self.damages += other.damages;
    }
}

/// A broken promise, and the seed that repeats it.
#[derive(Debug)]
pub struct BrokenPromise {
    /// The seed of the world.
    pub seed: u64,
    /// The violated expectation.
    pub what: String,
}

impl fmt::Display for BrokenPromise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

/// Power cuts of one world. Then another world begins with an empty disk.
const CUTS_PER_WORLD: u64 = 20;
const IDENTITY: Identity = Identity { cluster: 0xc1, member: 3 };
const SEGMENT_BYTES: u64 = 8 << 10;
const KEYS: u64 = 40;
const APPLIED: &[u8] = b"applied";

/// Runs worlds until the number of power cuts is reached.
///
/// # Errors
/// The first broken promise.
pub fn run(mode: Mode, seed: u64, cuts: u64) -> Result<Totals, BrokenPromise> {
    let mut totals = Totals::default();
    let mut world_seed = seed;
    while totals.cuts < cuts {
        let mut world = World::new(mode, world_seed, totals);
        let count = CUTS_PER_WORLD.min(cuts - totals.cuts);
        world.run(count).map_err(|what| BrokenPromise { seed: world_seed, what })?;
        totals = world.totals;
        world_seed += 1;
    }
    Ok(totals)
}

/// The expected contents of the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct LogModel {
    hard_state: HardState,
    start: LogId,
    /// The entries after the start.
    entries: Vec<Entry>,
}

impl LogModel {
    fn last(&self) -> LogId {
        self.entries.last().map_or(self.start, |entry| entry.id)
    }

    fn apply(&mut self, write: &LogWrite) {
        self.hard_state = write.hard_state.unwrap_or(self.hard_state);
        if let Some(start) = write.start {
            self.entries.retain(|entry| entry.id.index > start.index);
            self.start = start;
        }
        if let Some(first) = write.entries.first() {
            self.entries.retain(|entry| entry.id.index < first.id.index);
        }
        self.entries.extend(write.entries.iter().cloned());
    }
}

#[derive(Clone, Debug, Default)]
struct LogWrite {
    hard_state: Option<HardState>,
    start: Option<LogId>,
    entries: Vec<Entry>,
}

struct World {
    mode: Mode,
    files: SimulatedFiles,
    random: Xoshiro256PlusPlus,
    totals: Totals,
    acknowledged: LogModel,
    /// The write that was interrupted.
    pending: Option<LogWrite>,
    /// The committed entries from index 1 on.
    committed: Vec<Entry>,
    /// The last applied entry, and the last one in a durable table.
    applied: usize,
    flushed: usize,
}

/// The storage while the process runs.
struct Running {
    log: Log,
    state: StateStore,
    flusher: Flusher,
    /// The last applied entry in the frozen writes.
    frozen: Option<usize>,
}

impl World {
    fn new(mode: Mode, seed: u64, totals: Totals) -> Self {
        Self {
            mode,
            files: SimulatedFiles::new(seed),
            random: Xoshiro256PlusPlus::seed_from_u64(!seed),
            totals,
            acknowledged: LogModel::default(),
            pending: None,
            committed: Vec::new(),
            applied: 0,
            flushed: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.next_u64() % bound.max(1)
    }

    fn run(&mut self, cuts: u64) -> Result<(), String> {
        for _ in 0..cuts {
            // The power can fail while the storage repairs what the power cut before has left.
            if self.below(4) == 0 {
                let operations = self.below(8);
                self.files.fail_power_after(operations);
                let _ = self.open();
                self.files.cut_power();
            }
            let mut running = self.start()?;
            if self.below(3) == 0 {
                self.load(&mut running, 12)?;
                drop(running);
                self.totals.kills += 1;
                self.pending = None;
                self.damage(false)?;
                running = self.start()?;
            }
            let quiet = self.below(10);
            self.load(&mut running, quiet)?;
            let operations = self.below(30);
            self.files.fail_power_after(operations);
            // An operation fails sooner or later.
            while self.step(&mut running)? {}
            drop(running);
            self.files.cut_power();
            self.totals.cuts += 1;
            self.damage(true)?;
        }
        self.start().map(drop)
    }

    fn open(&self) -> Result<(Log, StateStore), StorageError> {
        let log = Log::open(Arc::new(self.files.clone()), IDENTITY, SEGMENT_BYTES)?;
        // Tables become larger only by `freeze`.
        let options = StateOptions { memory_bytes: usize::MAX, block_bytes: 256 };
        let state = StateStore::open(Arc::new(self.files.clone()), IDENTITY, options)?;
        Ok((log, state))
    }

    /// Opens the disk and compares it with the model.
    fn start(&mut self) -> Result<Running, String> {
        self.files.set_capacity(u64::MAX);
        let (log, state) = self.open().map_err(|error| format!("it does not start: {error}"))?;
        let reader = log.reader();
        let start = reader.start();
        let entries = reader
            .read(start.index.next(), LogIndex(u64::MAX), usize::MAX)
            .map_err(|error| format!("the log cannot be read: {error}"))?;
        let found = LogModel { hard_state: log.hard_state(), start, entries };
        if found != self.acknowledged {
            let survived = self.pending.take().is_some_and(|pending| {
                let mut with_pending = self.acknowledged.clone();
                with_pending.apply(&pending);
                found == with_pending
            });
            if !survived {
                return Err(format!("the log is {found:?}, expected {:?}", self.acknowledged));
            }
            self.totals.survived += 1;
            self.acknowledged = found;
        }
        self.pending = None;
        self.compare_state(&state)?;
        let flusher = state.flusher();
        Ok(Running { log, state, flusher, frozen: None })
    }

    fn compare_state(&mut self, state: &StateStore) -> Result<(), String> {
        let failed = |error: StorageError| format!("the state cannot be read: {error}");
        let applied = match state.get(APPLIED).map_err(failed)? {
            Some(bytes) => bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)),
            None => 0,
        } as usize;
        if applied < self.flushed || applied > self.applied {
            let (flushed, last) = (self.flushed, self.applied);
            return Err(format!("the state is at {applied}, not between {flushed} and {last}"));
        }
        let mut expected = BTreeMap::new();
        for entry in &self.committed[..applied] {
            let (key, value) = effect(entry);
            match value {
                Some(value) => expected.insert(key, value),
                None => expected.remove(&key),
            };
        }
        if applied > 0 {
            let applied = Bytes::copy_from_slice(&(applied as u64).to_le_bytes());
            expected.insert(Bytes::from_static(APPLIED), applied);
        }
        let found: Result<BTreeMap<_, _>, _> =
            state.scan(&[], &[u8::MAX], Order::Ascending).collect();
        if found.map_err(failed)? != expected {
            return Err(format!("the state at {applied} is wrong"));
        }
        for (key, value) in &expected {
            if state.get(key).map_err(failed)?.as_ref() != Some(value) {
                return Err(format!("the state at {applied} lacks {key:?}"));
            }
        }
        (self.applied, self.flushed) = (applied, applied);
        Ok(())
    }

    fn load(&mut self, running: &mut Running, steps: u64) -> Result<(), String> {
        for _ in 0..steps {
            self.step(running)?;
        }
        Ok(())
    }

    /// Does something. Returns false if the power has failed.
    fn step(&mut self, running: &mut Running) -> Result<bool, String> {
        let result = match self.below(16) {
            0..=4 => self.append(running, false),
            5 | 6 => self.append(running, true),
            7 => {
                let HardState { term, .. } = self.acknowledged.hard_state;
                let vote = Some(NodeId(self.below(5)));
                let hard_state = Some(HardState { term: Term(term.0 + 1), vote });
                self.write(running, LogWrite { hard_state, ..LogWrite::default() })
            }
            8..=10 => self.apply(running),
            11 => {
                if running.state.freeze() && running.frozen.is_none() {
                    running.frozen = Some(self.applied);
                }
                Ok(())
            }
            12 | 13 => self.flush(running),
            14 => self.compact(running),
            _ => {
                // The space is scarce from time to time.
                let free = if self.below(2) == 0 { u64::MAX } else { self.below(40 << 10) };
                self.files.set_capacity(free);
                Ok(())
            }
        };
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.is_full() => {
                self.totals.full += 1;
                self.files.set_capacity(u64::MAX);
                Ok(true)
            }
            Err(StorageError::Io { .. } | StorageError::Stopped) => Ok(false),
            Err(error) => Err(format!("the storage failed: {error}")),
        }
    }

    fn append(&mut self, running: &mut Running, conflicts: bool) -> Result<(), StorageError> {
        let last = self.acknowledged.last();
        let committed = self.committed.len() as u64;
        let mut term = self.acknowledged.hard_state.term.0.max(1);
        let mut previous = last.index.0;
        let mut hard_state = None;
        if conflicts && previous > committed {
            previous = committed + self.below(previous - committed);
            term += 1;
            hard_state = Some(HardState { term: Term(term), vote: None });
        }
        let count = 1 + self.below(6);
        let entries = (1..=count)
            .map(|offset| {
                let bytes = match self.below(8) {
                    0 => self.below(3000),
                    1 => 0,
                    _ => self.below(200),
                };
                let fill = self.below(3) as u8;
                let payload = Payload::Command(vec![fill; bytes as usize].into());
                Entry { id: LogId::new(Term(term), LogIndex(previous + offset)), payload }
            })
            .collect();
        self.write(running, LogWrite { hard_state, start: None, entries })?;
        // Some of the acknowledged entries become committed.
        let known = self.acknowledged.last().index.0 - committed;
        let more = self.below(known + 1) as usize;
        let first = committed as usize - self.acknowledged.start.index.0 as usize;
        self.committed.extend_from_slice(&self.acknowledged.entries[first..first + more]);
        Ok(())
    }

    fn compact(&mut self, running: &mut Running) -> Result<(), StorageError> {
        let from = self.acknowledged.start.index.0;
        let index = from + self.below(self.flushed as u64 + 1 - from);
        if index == from {
            return Ok(());
        }
        let start = Some(self.committed[index as usize - 1].id);
        self.write(running, LogWrite { start, ..LogWrite::default() })
    }

    fn write(&mut self, running: &mut Running, write: LogWrite) -> Result<(), StorageError> {
        self.pending = Some(write.clone());
        let result = running.log.append_parts(write.hard_state, write.start, &write.entries);
        match &result {
            Ok(()) => {
                self.totals.entries += write.entries.len() as u64;
                self.acknowledged.apply(&write);
                self.pending = None;
            }
            Err(error) if error.is_full() => self.pending = None,
            Err(_) => {}
        }
        result
    }

    fn apply(&mut self, running: &mut Running) -> Result<(), StorageError> {
        let count = self.below(12) as usize;
        let through = (self.applied + count).min(self.committed.len());
        if through == self.applied {
            return Ok(());
        }
        let mut batch = Batch::default();
        for entry in &self.committed[self.applied..through] {
            match effect(entry) {
                (key, Some(value)) => batch.put(key, value),
                (key, None) => batch.delete(key),
            }
        }
        let applied = (through as u64).to_le_bytes();
        batch.put(Bytes::from_static(APPLIED), Bytes::copy_from_slice(&applied));
        running.state.commit(batch)?;
        self.applied = through;
        Ok(())
    }

    fn flush(&mut self, running: &mut Running) -> Result<(), StorageError> {
        if running.flusher.run_once()? {
            self.totals.tables += 1;
        }
        self.flushed = running.frozen.take().unwrap_or(self.flushed);
        Ok(())
    }

    /// Damages something, expects that this is found, and repairs it.
    fn damage(&mut self, power_was_cut: bool) -> Result<(), String> {
        if self.mode != Mode::Damage {
            return Ok(());
        }
        // Files that are not part of the store are removed.
        drop(self.start()?);
        if !power_was_cut {
            self.lose_last_write()?;
        }
        for _ in 0..3 {
            let names = crate::files::Files::list(&self.files).unwrap_or_default();
            let Some(name) = names.get(self.below(names.len() as u64) as usize) else { continue };
            let length = self.files.length_of(name).unwrap_or(0);
            let position = self.below(length);
            let mask = 1 << self.below(8);
            if !self.files.damage(name, position, mask) {
                continue;
            }
            self.expect_damage(name, position)?;
            self.totals.damages += 1;
            let _ = self.files.damage(name, position, mask);
        }
        let errors = check(&self.files, IDENTITY).errors;
        match errors.first() {
            Some(error) => Err(format!("an intact disk has an error: {error}")),
            None => Ok(()),
        }
    }

    fn expect_damage(&mut self, name: &str, position: u64) -> Result<(), String> {
        let errors = check(&self.files, IDENTITY).errors;
        let located = errors.iter().any(|error| match error {
            // A block is at most this long, and a batch is located by its sector.
            StorageError::Damaged(damage) => {
                damage.file == name
                    && damage.position <= position + 2 * SECTOR_BYTES as u64
                    && position < damage.position + (16 << 10)
            }
            _ => false,
        });
        if !located {
            return Err(format!("damage of {name} at byte {position} was reported as {errors:?}"));
        }
        // A node with this disk must not start, unless the damage is in a block of a table.
        if !name.starts_with("table") && self.open().is_ok() {
            return Err(format!("a log with damage of {name} at byte {position} was opened"));
        }
        Ok(())
    }

    /// The disk returns to the contents before the last acknowledged write, as if it was never
    /// written. The power was on, so the mark is up to date.
    fn lose_last_write(&mut self) -> Result<(), String> {
        let mut running = self.start()?;
        let names = crate::files::Files::list(&self.files).unwrap_or_default();
        let Some(last) = names.into_iter().filter(|name| name.starts_with("log-0")).max() else {
            return Ok(());
        };
        let before = self.files.contents(&last).unwrap_or_default();
        let entries_before = self.totals.entries;
        if self.append(&mut running, false).is_err() {
            return Err("an append failed".into());
        }
        drop(running);
        let after = self.files.contents(&last).unwrap_or_default();
        // The batch may be in another segment.
        if self.totals.entries == entries_before || before == after {
            return Ok(());
        }
        let restore = |contents: &[u8]| {
            let file = crate::files::Files::open(&self.files, &last);
            file.and_then(|file| {
                file.write_at(contents, 0)?;
                file.sync()
            })
            .map_err(|error| error.to_string())
        };
        restore(&before)?;
        match self.open() {
            Err(StorageError::Damaged(_)) => {}
            Err(error) => return Err(format!("a lost write was reported as {error}")),
            Ok(_) => return Err("a lost write was not detected".into()),
        }
        self.totals.damages += 1;
        restore(&after)
    }
}

/// The effect of an entry on the state: a key, and its value unless it is deleted.
fn effect(entry: &Entry) -> (Bytes, Option<Bytes>) {
    let LogId { index, term } = entry.id;
    let mixed = index.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ term.0;
    let key = format!("key {:02}", mixed % KEYS).into();
    let deletes = mixed % 5 == 0;
    let value = vec![mixed as u8; (mixed >> 8) as usize % 100];
    (key, (!deletes).then(|| Bytes::from(value)))
}
