//! Committed entries and confirmed reads: what servers apply and answer, and what is checked.

use raft_core::{Entries, Entry, LogId, NodeId, ReadOutcome};
use raft_kv::Outcome;

use crate::check::auditor::{FirstApplied, LeaseChange};
use crate::check::invariants::Invariant;
use crate::node::apply::AppliedEntry;
use crate::node::client_api::{ClientKind, ClientResponse, PendingRead, RequestId};
use crate::node::injected_bug::InjectedBug;
use crate::node::leases::KeepAlive;
use crate::world::World;

impl World {
    pub(super) fn on_committed(&mut self, id: u64, committed: &mut Vec<Entries>) {
        let has_entries = !committed.is_empty();
        for entries in committed.drain(..) {
            for entry in &entries {
                self.cluster.trace.add(&entry.id);
                self.apply_entry(id, entry.clone());
            }
        }
        if has_entries {
            self.with_workloads(|workloads, context| workloads.watch.send(id, context));
        }
        if let Some(node) = self.cluster.node_mut(id) {
            node.checkpoint();
        }
        self.answer_ready_reads(id);
    }

    fn apply_entry(&mut self, id: u64, entry: Entry) {
        let now = self.cluster.now;
        let applied = match self.cluster.node_mut(id).and_then(|node| node.apply(entry)) {
            None => return,
            Some(Ok(applied)) => applied,
            Some(Err(error)) => {
                let checked = Err((Invariant::StateMachineSafety, format!("n{id} {error}")));
                return self.observers.violations.note(now, checked);
            }
        };
        self.audit(id, &applied);
        if !self.workloads.lease.is_empty()
            && let Some(node) = self.cluster.node_mut(id)
        {
            node.observe_for_lessor(now, applied.id.index, &applied.outcome);
        }
        self.check_applied(id, &applied);
        if let Some((term, request)) = applied.proposal {
            self.answer_proposal(id, request, term == applied.id.term, applied);
        }
    }

    /// Audits an entry if this server is the first to apply it.
    fn audit(&mut self, id: u64, applied: &AppliedEntry) {
        // A witness does not know the content of entries.
        if applied.is_stripped || !self.observers.auditor.wants(applied.id.index.0) {
            return;
        }
        let session = applied.command.as_ref().and_then(|command| command.session);
        let invariants = &self.observers.invariants;
        let is_repeated = session
            .is_some_and(|session| invariants.has_seen_effect((session.client, session.sequence)));
        let first = FirstApplied {
            index: applied.id.index.0,
            term: applied.id.term.0,
            command: applied.command.as_ref(),
            outcome: &applied.outcome,
            revision: applied.revision,
            is_repeated,
        };
        let running = self.cluster.node(id).and_then(|node| node.running());
        let changes_of = |request: &_| running?.kv.changes(request).ok();
        let audited = self.observers.auditor.apply(first, changes_of);
        let change = match audited {
            Ok(change) => change,
            Err(violation) => {
                return self.observers.violations.note(self.cluster.now, Err(violation));
            }
        };
        if let (Some(session), Outcome::Done(response), false) =
            (session, &applied.outcome, is_repeated)
        {
            let txn = &self.workloads.txn;
            if txn.awaits_session(session.client) {
                let is_pending = |session| txn.awaits_session(session);
                let responses = &mut self.observers.responses;
                responses.expect(session.client, response.clone(), is_pending);
            }
        }
        if let Some(change) = change {
            self.on_lease_change(id, change);
        }
    }

    fn on_lease_change(&mut self, node: u64, change: LeaseChange) {
        let now = self.cluster.now;
        let checked = self.observers.leases.on_lease_change(change, now);
        self.observers.violations.note(now, checked);
        self.log_client(node, || match change {
            LeaseChange::Granted(lease) => {
                format!("Lease {} begins, for {} s", lease.id, lease.ttl)
            }
            LeaseChange::Ended { lease, has_expired: true } => {
                format!("Lease {} has expired; its keys are deleted", lease.id)
            }
            LeaseChange::Ended { lease, has_expired: false } => {
                format!("Lease {} is revoked; its keys are deleted", lease.id)
            }
        });
    }

    /// Compares the state and the revision after an entry with those of other servers.
    fn check_applied(&mut self, id: u64, applied: &AppliedEntry) {
        let (now, index) = (self.cluster.now, applied.id.index.0);
        let invariants = &mut self.observers.invariants;
        let checked = invariants.observe_state(NodeId(id), index, applied.fingerprint);
        self.observers.violations.note(now, checked);
        let revision = match &applied.outcome {
            Outcome::Done(response) => Some(response.revision),
            Outcome::AlreadyDone { revision } => Some(*revision),
            _ => None,
        };
        let session = applied.command.as_ref().and_then(|command| command.session);
        if let (Some(revision), Some(session)) = (revision, session) {
            let session = (session.client, session.sequence);
            let checked = self.observers.invariants.observe_effect(session, revision);
            self.observers.violations.note(now, checked);
        }
    }

    /// Sends the response to a proposal whose index is applied. Another entry may be there.
    fn answer_proposal(
        &mut self,
        node: u64,
        request: RequestId,
        is_own: bool,
        applied: AppliedEntry,
    ) {
        if !is_own {
            return self.cluster.send_response(node, request, ClientResponse::Replaced);
        }
        let LogId { term, index } = applied.id;
        let invariants = &self.observers.invariants;
        let checked = invariants.observe_acknowledgement(LogId::new(term, index));
        self.observers.violations.note(self.cluster.now, checked);
        let mut outcome = applied.outcome;
        if self.cluster.has_bug(InjectedBug::EarlierTxnRevision)
            && request.kind == ClientKind::Txn
            && let Outcome::Done(response) = &mut outcome
        {
            response.revision -= 1;
        }
        self.cluster.send_response(node, request, ClientResponse::Applied(outcome));
    }

    pub(super) fn on_read_outcomes(&mut self, id: u64, outcomes: &mut Vec<ReadOutcome>) {
        for outcome in outcomes.drain(..) {
            let Some(running) = self.cluster.node_mut(id).and_then(|node| node.running_mut())
            else {
                return;
            };
            match outcome {
                ReadOutcome::Ready { id: read, read_index } => {
                    running.confirm_read(read, read_index);
                }
                ReadOutcome::Aborted { id: read } => {
                    if let Some((request, _)) = running.reads.remove(&read) {
                        let response = ClientResponse::Redirect(None);
                        self.cluster.send_response(id, request, response);
                    }
                }
            }
        }
        self.answer_ready_reads(id);
    }

    /// Answers the confirmed reads whose index is applied.
    pub(super) fn answer_ready_reads(&mut self, id: u64) {
        let Some(running) = self.cluster.node_mut(id).and_then(|node| node.running_mut()) else {
            return;
        };
        if running.confirmed.is_empty() {
            return;
        }
        for (request, pending) in running.take_ready_reads() {
            let Some(running) = self.cluster.node(id).and_then(|node| node.running()) else {
                return;
            };
            match pending {
                PendingRead::Get { key } => {
                    let found = ClientResponse::Found(running.value_of(&key));
                    self.cluster.send_response(id, request, found);
                }
                PendingRead::KeepAlive { keep_alive, term } => {
                    if running.may_keep_alive(term) {
                        self.answer_keep_alive(id, request, keep_alive);
                    } else {
                        let response = ClientResponse::Redirect(None);
                        self.cluster.send_response(id, request, response);
                    }
                }
            }
        }
    }

    /// Keeps a lease alive at a server that leads or believes to lead.
    pub(super) fn answer_keep_alive(
        &mut self,
        node: u64,
        request: RequestId,
        keep_alive: KeepAlive,
    ) {
        let kept = self.cluster.awake_mut(node).and_then(|(running, now)| {
            Some((running.keep_alive(keep_alive.lease, now)?, running.raft.term()))
        });
        let response = match kept {
            Some((Some(lease), term)) => {
                let leases = &mut self.observers.leases;
                let checked = leases.on_keep_alive(node, &lease, term, keep_alive);
                self.observers.violations.note(self.cluster.now, checked);
                ClientResponse::KeptAlive(true)
            }
            Some((None, _)) => ClientResponse::KeptAlive(false),
            None => ClientResponse::Redirect(None),
        };
        self.cluster.send_response(node, request, response);
    }
}
