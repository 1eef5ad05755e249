//! A disk in memory, shared by the protocol tests and the transcripts.

use bytes::Bytes;
use raft_core::{
    Durable, Entry, HardState, LogId, LogIndex, Membership, RestoreError, RestoredState, Snapshot,
    Write,
};

/// The data of a server that survives a crash.
#[derive(Clone, Default)]
pub struct Disk {
    pub hard_state: HardState,
    pub log_start: LogId,
    pub log: Vec<Entry>,
    /// The latest snapshot: the applied commands, one per line.
    pub snapshot: Option<(Snapshot, Bytes)>,
    starts: u64,
}

/// A pending write. Its token is taken immediately, because the tests check that the core does not
/// treat the write as durable before it receives the token.
pub struct Pending {
    pub hard_state: Option<HardState>,
    pub log_start: Option<LogId>,
    pub entries: Vec<Entry>,
    pub token: Durable,
}

impl Disk {
    /// The durable state for a start.
    pub fn start(
        &mut self,
        founders: &Membership,
        window: usize,
    ) -> Result<RestoredState, RestoreError> {
        self.starts += 1;
        let snapshot = self.snapshot.as_ref().map(|(snapshot, _)| snapshot);
        let applied = snapshot.map_or(LogIndex(0), |snapshot| snapshot.last.index);
        let (starts, founders) = (self.starts, founders.clone());
        let mut restored = RestoredState::new(starts, founders, self.hard_state, applied, window);
        if let Some(snapshot) = snapshot {
            restored = restored.with_snapshot(snapshot.clone(), self.log_start);
        }
        for entry in &self.log {
            restored.push(entry.clone())?;
        }
        Ok(restored)
    }

    /// The commands in the snapshot.
    pub fn commands(&self) -> Vec<String> {
        let data = self.snapshot.as_ref().map(|(_, data)| data);
        let text = data.map(|data| String::from_utf8_lossy(data));
        text.iter().flat_map(|text| text.lines()).map(String::from).collect()
    }

    pub fn take(&mut self, pending: Pending) {
        self.hard_state = pending.hard_state.unwrap_or(self.hard_state);
        if let Some(start) = pending.log_start {
            if self.log.iter().all(|entry| entry.id != start) {
                self.log.clear();
            }
            self.log.retain(|entry| entry.id.index > start.index);
            self.log_start = start;
        }
        if let Some(first) = pending.entries.first() {
            let first = first.id.index;
            self.log.retain(|entry| entry.id.index < first);
        }
        self.log.extend(pending.entries);
    }
}

impl From<Write> for Pending {
    fn from(write: Write) -> Self {
        Self {
            hard_state: write.hard_state(),
            log_start: write.log_start(),
            entries: write.entries().to_vec(),
            token: write.synced(),
        }
    }
}
