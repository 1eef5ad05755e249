//! What servers apply, and the reads that they answer from it.

use raft_core::{Entries, Entry, LogId, LogIndex, NodeId, Payload, ReadOutcome};
use raft_kv::{Command, Outcome};

use crate::check::auditor::{Applied, LeaseChange};
use crate::check::invariants::Invariant;
use crate::node::{Node, Reading, RequestId};
use crate::workload::kv::ClientResponse;
use crate::world::{World, note};

impl World {
    pub(crate) fn on_committed(&mut self, id: u64, committed: &mut Vec<Entries>) {
        let is_news = !committed.is_empty();
        for entries in committed.drain(..) {
            for entry in &entries {
                self.trace.add(&entry.id);
                self.apply_entry(id, entry.clone());
            }
        }
        if is_news {
            self.tell_watchers(id);
        }
        if let Some(node) = self.node_mut(id) {
            node.checkpoint();
        }
        self.serve_ready_reads(id);
    }

    fn apply_entry(&mut self, id: u64, entry: Entry) {
        let (now, index, term) = (self.now, entry.id.index, entry.id.term);
        let Some(running) = self.nodes.get_mut(id as usize - 1).and_then(Node::running_mut) else {
            return;
        };
        // A witness does not know what it applies.
        let is_news = entry.payload != Payload::Stripped && self.ledger.wants(index.0);
        let (entry, command) = match entry.payload {
            Payload::Noop | Payload::Membership(_) | Payload::Stripped => {
                (raft_kv::Entry::noop(index.0, term.0), None)
            }
            Payload::Command(bytes) => {
                let command = Command::decode(bytes.clone()).ok();
                (raft_kv::Entry::command(index.0, term.0, bytes), command)
            }
        };
        let session = command.as_ref().and_then(|command| command.session);
        let outcome = match running.kv.apply(entry) {
            Ok(outcome) => outcome,
            Err(error) => {
                let text = format!("n{id} cannot apply entry {index}: {error}");
                return note(&mut self.violation, now, Err((Invariant::StateMachineSafety, text)));
            }
        };
        let fingerprint = running.kv.fingerprint();
        let asked = running.proposals.remove(&index);
        if is_news {
            let kv = &running.kv;
            let is_done = |session: raft_kv::Session| {
                let session = (session.client, session.sequence);
                self.invariants.has_seen_effect(session)
            };
            let applied = Applied {
                index: index.0,
                term: term.0,
                command: command.as_ref(),
                outcome: &outcome,
                revision: kv.revision(),
                is_repeated: session.is_some_and(is_done),
            };
            let entered = self.ledger.apply(applied, |request| kv.changes(request).ok());
            match entered {
                Ok(LeaseChange::Nothing) => {}
                Ok(turn) => self.record_lease_change(id, turn),
                Err(broken) => note(&mut self.violation, now, Err(broken)),
            }
        }
        if !self.holders.is_empty() {
            self.observe_for_lessor(id, index, &outcome);
        }
        let state = self.invariants.observe_state(NodeId(id), index.0, fingerprint);
        note(&mut self.violation, now, state);
        let revision = match &outcome {
            Outcome::Done(response) => Some(response.revision),
            Outcome::AlreadyDone { revision } => Some(*revision),
            _ => None,
        };
        if let (Some(revision), Some(session)) = (revision, session) {
            let effect =
                self.invariants.observe_effect((session.client, session.sequence), revision);
            note(&mut self.violation, now, effect);
        }
        let Some((proposed_in, asked)) = asked else {
            return;
        };
        let answer = if proposed_in == term {
            let acknowledged = self.invariants.observe_acknowledgement(LogId::new(term, index));
            note(&mut self.violation, now, acknowledged);
            ClientResponse::Applied(outcome)
        } else {
            ClientResponse::Replaced
        };
        self.send_answer(id, asked, answer);
    }

    pub(crate) fn on_read_outcomes(&mut self, id: u64, outcomes: &mut Vec<ReadOutcome>) {
        for outcome in outcomes.drain(..) {
            let Some(running) = self.node_mut(id).and_then(Node::running_mut) else {
                return;
            };
            match outcome {
                ReadOutcome::Ready { id: read, read_index } => {
                    if let Some((asked, request)) = running.reads.remove(&read) {
                        running.confirmed.push((read_index, asked, request));
                    }
                }
                ReadOutcome::Aborted { id: read } => {
                    if let Some((asked, _)) = running.reads.remove(&read) {
                        self.send_answer(id, asked, ClientResponse::Redirect(None));
                    }
                }
            }
        }
        self.serve_ready_reads(id);
    }

    pub(crate) fn serve_ready_reads(&mut self, id: u64) {
        let Some(running) = self.node_mut(id).and_then(Node::running_mut) else {
            return;
        };
        if running.confirmed.is_empty() {
            return;
        }
        let applied = LogIndex(running.kv.applied_index());
        let confirmed = std::mem::take(&mut running.confirmed);
        let (due, waiting) = confirmed.into_iter().partition(|(index, ..)| *index <= applied);
        running.confirmed = waiting;
        let due: Vec<(LogIndex, RequestId, Reading)> = due;
        for (_, asked, reading) in due {
            let request = match reading {
                Reading::Get(request) => request,
                Reading::Keep { keeping, term } => {
                    self.confirm_keep_alive(id, asked, term, keeping);
                    continue;
                }
            };
            let Some(running) = self.node(id).and_then(Node::running) else {
                return;
            };
            let found = running.kv.get(request.key().as_bytes(), None).ok().flatten();
            let found = found.map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
            self.send_answer(id, asked, ClientResponse::Found(found));
        }
    }
}
