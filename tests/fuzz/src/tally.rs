//! What was tried, so that one can see that it reaches everything.

use std::collections::BTreeMap;
use std::fmt;

use raft_core::{Message, Role, StopReason};

macro_rules! counts {
    ($($name:ident: $text:literal,)*) => {
        /// A kind of call.
        #[derive(Clone, Copy, Debug)]
        pub enum Count {
            $($name,)*
        }

        const COUNTS: &[&str] = &[$($text),*];
    };
}

counts! {
    True: "`receive`, unchanged",
    Mutated: "`receive`, one field changed",
    NearlyValid: "`receive`, plausible",
    Garbage: "`receive`, garbage",
    Elapse: "`elapse`",
    Propose: "`propose`",
    Read: "`read`",
    Change: "`change_membership`",
    Transfer: "`transfer_leadership`",
    Unreachable: "`unreachable`",
    Compact: "`snapshot_taken`",
    AnswerRead: "`snapshot_piece`",
    Install: "`snapshot_installed`, `snapshot_damaged`",
    AnswerFetch: "`fetched`",
    DiskFull: "`disk_full`",
    Hang: "disk stops responding",
    StorageFailed: "`storage_failed`",
    Sync: "`persisted`",
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

/// How often what was tried.
#[derive(Default)]
pub struct Tally {
    counts: [u64; COUNTS.len()],
    messages: [u64; MESSAGES.len()],
    roles: [u64; ROLES.len()],
    stops: BTreeMap<String, u64>,
    held_most: usize,
}

impl Tally {
    pub fn count(&mut self, count: Count) {
        self.add(count, 1);
    }

    pub fn add(&mut self, count: Count, more: u64) {
        self.counts[count as usize] += more;
    }

    pub fn role(&mut self, role: Role) {
        self.roles[role as usize] += 1;
    }

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

    pub fn stop(&mut self, reason: StopReason) {
        let text = format!("{reason:?}");
        let name = text.split([' ', '{']).next().unwrap_or_default();
        *self.stops.entry(name.to_owned()).or_default() += 1;
    }

    pub fn held_most(&mut self, bytes: usize) {
        self.held_most = self.held_most.max(bytes);
    }

    /// The same without what other threads have a part in.
    #[cfg(test)]
    pub fn without_memory(self) -> Self {
        Self { held_most: 0, ..self }
    }

    /// What was never tried.
    pub fn missing(&self) -> Vec<&str> {
        let counts = COUNTS.iter().zip(&self.counts);
        let messages = MESSAGES.iter().zip(&self.messages);
        let roles = ROLES.iter().zip(&self.roles);
        let all = counts.chain(messages).chain(roles);
        all.filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Tally {
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
        writeln!(f, "| largest memory of an episode, in bytes | {} |", self.held_most)
    }
}
