//! Applying committed entries, and reads from the state machine.

use raft_core::{Entry, LogId, LogIndex, Payload, ReadId, Term};
use raft_kv::{Command, Outcome};

use crate::node::client_api::{PendingRead, RequestId};
use crate::node::leases::local;
use crate::node::{Node, Running};

/// An entry that a server has applied.
#[derive(Debug)]
pub(crate) struct AppliedEntry {
    pub(crate) id: LogId,
    /// The command of the entry, if there is one.
    pub(crate) command: Option<Command>,
    pub(crate) outcome: Outcome,
    /// The fingerprint of the state machine after the entry.
    pub(crate) fingerprint: u64,
    /// The revision of the state machine after the entry.
    pub(crate) revision: i64,
    /// The entry is stored by a witness, which does not know its content.
    pub(crate) is_stripped: bool,
    /// The client request that this server proposed at the index of the entry, and the term of the
    /// proposal.
    pub(crate) proposal: Option<(Term, RequestId)>,
}

impl Node {
    /// Applies a committed entry. None if the process does not run.
    pub(crate) fn apply(&mut self, entry: Entry) -> Option<Result<AppliedEntry, String>> {
        let running = self.running_mut()?;
        let LogId { index, term } = entry.id;
        let is_stripped = entry.payload == Payload::Stripped;
        let (kv_entry, command) = match entry.payload {
            Payload::Noop | Payload::Membership(_) | Payload::Stripped => {
                (raft_kv::Entry::noop(index.0, term.0), None)
            }
            Payload::Command(bytes) => {
                let command = Command::decode(bytes.clone()).ok();
                (raft_kv::Entry::command(index.0, term.0, bytes), command)
            }
        };
        let outcome = match running.kv.apply(kv_entry) {
            Ok(outcome) => outcome,
            Err(error) => return Some(Err(format!("cannot apply entry {index}: {error}"))),
        };
        Some(Ok(AppliedEntry {
            id: entry.id,
            command,
            outcome,
            fingerprint: running.kv.fingerprint(),
            revision: running.kv.revision(),
            is_stripped,
            proposal: running.proposals.remove(&index),
        }))
    }

    /// Reports an applied entry to the lessor, if the server has one.
    pub(crate) fn observe_for_lessor(&mut self, now: u64, index: LogIndex, outcome: &Outcome) {
        if let Some((running, now)) = self.awake_mut(now)
            && let Some(lessor) = &mut running.lessor
        {
            lessor.observe(index.0, outcome, local(now));
        }
    }
}

impl Running {
    /// Records that a read may be answered when `read_index` is applied.
    pub(crate) fn confirm_read(&mut self, read: ReadId, read_index: LogIndex) {
        if let Some((request, pending)) = self.reads.remove(&read) {
            self.confirmed.push((read_index, request, pending));
        }
    }

    /// Removes and returns the confirmed reads whose index is applied.
    pub(crate) fn take_ready_reads(&mut self) -> Vec<(RequestId, PendingRead)> {
        let applied = LogIndex(self.kv.applied_index());
        let ready = self.confirmed.extract_if(.., |(index, ..)| *index <= applied);
        ready.map(|(_, request, pending)| (request, pending)).collect()
    }

    /// The value of a key in the state machine.
    pub(crate) fn value_of(&self, key: &str) -> Option<String> {
        let found = self.kv.get(key.as_bytes(), None).ok().flatten();
        found.map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
    }
}
