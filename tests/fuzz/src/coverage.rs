//! The coverage of a run: the numbers of calls, messages and roles.

use std::collections::BTreeMap;
use std::fmt;

use raft_core::{Message, Role, StopReason};

macro_rules! counts {
    ($($name:ident: $text:literal,)*) => {
        /// A kind of call, or another countable event.
        #[derive(Clone, Copy, Debug)]
        pub enum Count {
            $($name,)*
        }

        const COUNTS: &[&str] = &[$($text),*];
    };
}

counts! {
    Unchanged: "`receive`, unchanged",
    Mutated: "`receive`, one field changed",
    Plausible: "`receive`, plausible",
    Garbage: "`receive`, garbage",
    Tick: "`tick`",
    Propose: "`propose`",
    Read: "`read`",
    Change: "`change_membership`",
    Transfer: "`transfer_leadership`",
    Unreachable: "`report_unreachable`",
    Compact: "`report_snapshot`",
    ProvideChunk: "`provide_snapshot_chunk`",
    Install: "`snapshot_installed`, `snapshot_damaged`",
    Fetched: "`fetched`",
    DiskFull: "`set_disk_full`",
    Stall: "disk stops responding",
    StorageFailed: "`storage_failed`",
    Persisted: "`persisted`",
    Restart: "`Raft::new` from a disk",
    Stopped: "calls to a stopped server",
    Applied: "entries applied",
    Installed: "snapshots installed",
}

const MESSAGES: [&str; 13] = [
    "PreVote",
    "PreVoteResponse",
    "RequestVote",
    "RequestVoteResponse",
    "AppendEntries",
    "AppendEntriesResponse",
    "Heartbeat",
    "HeartbeatResponse",
    "InstallSnapshot",
    "InstallSnapshotResponse",
    "TimeoutNow",
    "ReadIndex",
    "ReadIndexResponse",
];

const ROLES: [&str; 4] = ["follower", "pre-candidate", "candidate", "leader"];

/// The counters of a run.
#[derive(Default)]
pub struct Coverage {
    counts: [u64; COUNTS.len()],
    messages: [u64; MESSAGES.len()],
    roles: [u64; ROLES.len()],
    stops: BTreeMap<String, u64>,
    memory_bytes_max: usize,
}

impl Coverage {
    /// Adds one to a counter.
    pub fn count(&mut self, count: Count) {
        self.add(count, 1);
    }

    /// Adds a number to a counter.
    pub fn add(&mut self, count: Count, more: u64) {
        self.counts[count as usize] += more;
    }

    /// Counts the role of a server.
    pub fn role(&mut self, role: Role) {
        self.roles[role as usize] += 1;
    }

    /// Counts a message by its type.
    pub fn message(&mut self, message: &Message) {
        let kind = match message {
            Message::PreVote(_) => 0,
            Message::PreVoteResponse(_) => 1,
            Message::RequestVote(_) => 2,
            Message::RequestVoteResponse(_) => 3,
            Message::AppendEntries(_) => 4,
            Message::AppendEntriesResponse(_) => 5,
            Message::Heartbeat(_) => 6,
            Message::HeartbeatResponse(_) => 7,
            Message::InstallSnapshot(_) => 8,
            Message::InstallSnapshotResponse(_) => 9,
            Message::TimeoutNow(_) => 10,
            Message::ReadIndex(_) => 11,
            Message::ReadIndexResponse(_) => 12,
        };
        self.messages[kind] += 1;
    }

    /// Counts the reason why a server stopped.
    pub fn stop(&mut self, reason: StopReason) {
        let text = format!("{reason:?}");
        let name = text.split([' ', '{']).next().unwrap_or_default();
        *self.stops.entry(name.to_owned()).or_default() += 1;
    }

    /// Records the memory of an episode in bytes.
    pub fn memory(&mut self, bytes: usize) {
        self.memory_bytes_max = self.memory_bytes_max.max(bytes);
    }

    /// The counters without the memory, which other threads influence.
    #[cfg(test)]
    pub fn without_memory(self) -> Self {
        Self { memory_bytes_max: 0, ..self }
    }

    /// The names of the counters that are zero.
    pub fn missing(&self) -> Vec<&str> {
        let counts = COUNTS.iter().zip(&self.counts);
        let messages = MESSAGES.iter().zip(&self.messages);
        let roles = ROLES.iter().zip(&self.roles);
        let all = counts.chain(messages).chain(roles);
        all.filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = COUNTS.iter().zip(&self.counts);
        let messages = MESSAGES.iter().zip(&self.messages);
        let roles = ROLES.iter().zip(&self.roles);
        for (name, count) in counts.chain(messages).chain(roles) {
            writeln!(f, "| {name} | {count} |")?;
        }
        for (reason, count) in &self.stops {
            writeln!(f, "| stopped: {reason} | {count} |")?;
        }
        writeln!(f, "| largest memory of an episode, in bytes | {} |", self.memory_bytes_max)
    }
}
