//! Messages between clients and servers, and the checks of responses.

use raft_core::ReadMode;
use raft_kv::{Command, Outcome, RangeRequest};

use crate::check::history::History;
use crate::node::Delivery;
use crate::node::client_api::{ClientKind, ClientRequest, ClientResponse, PendingRead, RequestId};
use crate::node::injected_bug::InjectedBug;
use crate::node::leases::KeepAlive;
use crate::workload::kv::script_client;
use crate::workload::request::Request;
use crate::workload::txn::session_client;
use crate::world::World;

impl World {
    /// Starts an operation that a script requests. Its first attempt is sent to `via`.
    pub(super) fn start_request(&mut self, via: Option<u64>, request: Request) {
        self.with_workloads(|workloads, context| {
            workloads.kv.start(script_client, request, via, context);
        });
        self.summarize_history();
    }

    pub(super) fn on_client_timer(&mut self, kind: ClientKind, client: u64) {
        self.with_workloads(|workloads, context| workloads.on_timer(kind, client, context));
        self.summarize_history();
    }

    /// Delivers a message between a client and a server, unless it is lost.
    pub(super) fn deliver_client_message(&mut self, id: u64) {
        let Some(message) = self.cluster.client_messages.remove(id) else {
            return;
        };
        let loss_per_mille = self.cluster.network.loss_per_mille();
        if self.cluster.random.chance_per_mille(loss_per_mille) {
            return;
        }
        match message.response {
            None => self.deliver(message.node, Delivery::Request(message.request)),
            Some(response) => {
                self.check_response(message.request, &response);
                self.with_workloads(|workloads, context| {
                    workloads.on_response(message.request, message.node, response, context);
                });
            }
        }
    }

    /// Checks the response to a pending operation.
    fn check_response(&mut self, id: RequestId, response: &ClientResponse) {
        let ClientResponse::Applied(Outcome::Done(response)) = response else {
            return;
        };
        let Some(revision_at_start) = self.workloads.revision_at_start(id) else {
            return;
        };
        let (now, responses) = (self.cluster.now, &mut self.observers.responses);
        if id.kind == ClientKind::Lease {
            return;
        }
        if id.kind == ClientKind::Txn {
            let checked = responses.check_txn(session_client(id.operation), response);
            self.observers.violations.note(now, checked);
        }
        let checked = responses.check_revision(revision_at_start, response);
        self.observers.violations.note(now, checked);
    }

    /// Lets a server handle a client's request.
    pub(super) fn handle_client_request(&mut self, node: u64, id: RequestId) {
        let Some(request) = self.workloads.request(id) else {
            return;
        };
        let mode = if self.config.cluster.lease_drift_ppm.is_some() {
            ReadMode::Lease
        } else {
            ReadMode::Quorum
        };
        let response = match request {
            ClientRequest::Propose(command) => {
                let awake = self.cluster.awake_mut(node);
                awake.and_then(|(running, now)| running.propose(id, &command, now))
            }
            ClientRequest::Get { key } => {
                let awake = self.cluster.awake_mut(node);
                awake.and_then(|(running, now)| {
                    running.read(id, PendingRead::Get { key }, mode, now)
                })
            }
            ClientRequest::KeepAlive { lease } => {
                let keep_alive = self.keep_alive(lease);
                if self.cluster.has_bug(InjectedBug::RenewsUnconfirmed) {
                    return self.answer_keep_alive(node, id, keep_alive);
                }
                let awake = self.cluster.awake_mut(node);
                awake.and_then(|(running, now)| running.start_keep_alive(id, keep_alive, mode, now))
            }
            ClientRequest::StaleRead(request) => Some(self.answer_stale_read(node, &request)),
        };
        if let Some(response) = response {
            self.cluster.send_response(node, id, response);
        }
    }

    /// A keep-alive request that arrives now.
    pub(super) fn keep_alive(&self, lease: i64) -> KeepAlive {
        KeepAlive {
            lease,
            arrived: self.observers.leases.clock_bound(self.cluster.now),
            latest_term_led: self.observers.invariants.latest_term_led(),
        }
    }

    /// Answers a stale read from the state of one server, if it has a state machine and the
    /// revision.
    fn answer_stale_read(&mut self, id: u64, request: &RangeRequest) -> ClientResponse {
        let unavailable = ClientResponse::Redirect(None);
        let Some(node) = self.cluster.node(id).filter(|_| !self.config.cluster.is_witness(id))
        else {
            return unavailable;
        };
        let Some(running) = node.running() else {
            return unavailable;
        };
        let goes_back = self.cluster.has_bug(InjectedBug::StaleReadGoesBack)
            && self.cluster.now.is_multiple_of(2);
        let kv = if goes_back { &node.kv_on_disk } else { &running.kv };
        let Ok(mut found) = kv.range(request) else {
            return unavailable;
        };
        if self.cluster.has_bug(InjectedBug::StaleReadLacksKey) {
            found.kvs.pop();
        }
        let (responses, auditor) = (&mut self.observers.responses, &self.observers.auditor);
        let checked = responses.check_stale_read(id, node.boot, request, &found, auditor);
        self.observers.violations.note(self.cluster.now, checked);
        ClientResponse::StaleRead(found)
    }

    /// Puts a delayed revocation into the log of a server that leads or believes to lead.
    pub(super) fn deliver_delayed_revoke(&mut self, number: u64) {
        let taken = self.with_workloads(|workloads, context| {
            workloads.lease.take_delayed_revoke(number, context)
        });
        let Some((node, revoke)) = taken else {
            return;
        };
        self.log_node(node, &format!("receives a delayed revocation of lease {}", revoke.id));
        if let Some((running, now)) = self.cluster.awake_mut(node) {
            // A server that cannot accept the revocation drops it.
            let _ = running.raft.propose(Command::new(revoke).encode(), now);
        }
        self.settle(node);
    }

    /// Delivers a batch of changes to a watcher, and checks it.
    pub(super) fn deliver_watch_batch(&mut self, id: u64) {
        let Some(batch) = self.workloads.watch.receive(id) else {
            return;
        };
        let auditor = &self.observers.auditor;
        let checked = auditor.check_watch(&batch.keys, batch.prev_kv, batch.from, &batch.changes);
        let checked = checked
            .map_err(|(invariant, text)| (invariant, format!("watcher {}: {text}", batch.watcher)));
        self.observers.violations.note(self.cluster.now, checked);
    }

    /// Replaces the earlier half of the history by a summary, if the history is long. A run without
    /// an event log keeps all operations.
    fn summarize_history(&mut self) {
        let kept = self.workloads.history_len();
        if !self.config.record_events || !self.observers.history.is_summary_due(kept) {
            return;
        }
        let invoked = self.workloads.history().map(|operation| operation.invoked).collect();
        let until = History::summary_end(invoked, self.workloads.oldest_pending());
        let early = self.workloads.take_history_before(until);
        self.observers.history.summarize(early, until, self.workloads.history_len());
    }
}
