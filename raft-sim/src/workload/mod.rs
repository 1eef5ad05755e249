//! Simulated clients: their operations, and how requests are retried.
//!
//! Clients act on the cluster through messages. They do not see checkers or the world.

pub(crate) mod config;
pub(crate) mod driver;
pub(crate) mod kv;
pub(crate) mod lease;
pub(crate) mod request;
pub(crate) mod steady;
pub(crate) mod txn;
pub(crate) mod watch;

use std::fmt;

use raft_kv::Session;

use crate::cluster::Cluster;
use crate::linearizability::HistoryOperation;
use crate::node::client_api::{ClientKind, ClientRequest, ClientResponse, RequestId};
use crate::node::config::ClusterConfig;
use crate::workload::config::WorkloadConfig;
use crate::workload::driver::{AnyDriver, Driver};
use crate::workload::kv::{KvWorkload, Operation};
use crate::workload::lease::LeaseWorkload;
use crate::workload::request::Request;
use crate::workload::txn::TxnWorkload;
use crate::workload::watch::WatchWorkload;

/// All clients of a world.
#[derive(Clone, Debug)]
pub(crate) struct Workloads {
    pub(crate) kv: Driver<KvWorkload>,
    pub(crate) lease: Driver<LeaseWorkload>,
    pub(crate) txn: Driver<TxnWorkload>,
    pub(crate) watch: WatchWorkload,
    /// The clients start no more operations.
    stopped: bool,
}

/// The parts of the world that a client uses.
pub(crate) struct Context<'a> {
    pub(crate) cluster: &'a mut Cluster,
    /// The settings of the servers.
    pub(crate) servers: &'a ClusterConfig,
    /// The settings of the clients.
    pub(crate) config: &'a WorkloadConfig,
    pub(crate) log: &'a mut dyn ClientLog,
    /// The latest revision of the reference model.
    pub(crate) latest_revision: i64,
    /// The latest revision in any response to a client.
    pub(crate) latest_response: i64,
}

impl Workloads {
    pub(crate) fn new(seed: u64, config: &WorkloadConfig) -> Self {
        Self {
            kv: Driver::new(KvWorkload::default(), config.clients, None),
            lease: Driver::new(
                LeaseWorkload::new(config.lease_clients),
                config.lease_clients,
                Some(seed ^ 0x1ea5_e5ed),
            ),
            txn: Driver::new(
                TxnWorkload::new(config.txn_clients),
                config.txn_clients,
                Some(seed ^ 0x07ad_e125),
            ),
            watch: WatchWorkload::new(seed, config),
            stopped: false,
        }
    }

    /// Schedules the first operation of each client.
    pub(crate) fn start(&mut self, context: &mut Context<'_>) {
        self.kv.schedule_all(context);
        self.watch.schedule_all(context);
        self.lease.schedule_all(context);
        self.txn.schedule_all(context);
    }

    /// Stops all clients after their current operations.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Starts the next operation of a client.
    pub(crate) fn on_timer(&mut self, kind: ClientKind, client: u64, context: &mut Context<'_>) {
        if !self.stopped {
            self.driver_mut(kind).on_timer(client, context);
        }
    }

    pub(crate) fn on_timeout(&mut self, id: RequestId, context: &mut Context<'_>) {
        self.driver_mut(id.kind).on_timeout(id, context);
    }

    pub(crate) fn retry(&mut self, id: RequestId, context: &mut Context<'_>) {
        self.driver_mut(id.kind).retry(id, context);
    }

    /// Handles the response of a server.
    pub(crate) fn on_response(
        &mut self,
        id: RequestId,
        node: u64,
        response: ClientResponse,
        context: &mut Context<'_>,
    ) {
        self.driver_mut(id.kind).on_response(id, node, response, context);
    }

    /// The content of a request. None if the client no longer waits for the response.
    pub(crate) fn request(&self, id: RequestId) -> Option<ClientRequest> {
        self.driver(id.kind).request(id.operation)
    }

    /// The latest revision in any response when an operation started. None if the operation has
    /// ended.
    pub(crate) fn revision_at_start(&self, id: RequestId) -> Option<i64> {
        self.driver(id.kind).revision_at_start(id.operation)
    }

    /// The operations on single keys that are kept, in no order.
    pub(crate) fn history(&self) -> impl Iterator<Item = HistoryOperation> {
        self.kv.workload().history().chain(self.txn.history())
    }

    /// The number of operations of [`history`](Self::history), without those of pending
    /// transactions.
    pub(crate) fn history_len(&self) -> usize {
        self.kv.workload().history_len() + self.txn.workload().history_len()
    }

    /// When the oldest pending operation of the history started.
    pub(crate) fn oldest_pending(&self) -> Option<u64> {
        let kv = self.kv.pending().map(|pending| pending.invoked);
        kv.chain(self.txn.pending_history().map(|operation| operation.invoked)).min()
    }

    /// Removes and returns the operations that were invoked before `until`. All of them must have
    /// ended.
    pub(crate) fn take_history_before(&mut self, until: u64) -> Vec<HistoryOperation> {
        let mut taken = self.kv.workload_mut().take_history_before(until);
        taken.extend(self.txn.workload_mut().take_history_before(until));
        taken
    }

    fn driver(&self, kind: ClientKind) -> &dyn AnyDriver {
        match kind {
            ClientKind::Kv => &self.kv,
            ClientKind::Lease => &self.lease,
            ClientKind::Txn => &self.txn,
        }
    }

    fn driver_mut(&mut self, kind: ClientKind) -> &mut dyn AnyDriver {
        match kind {
            ClientKind::Kv => &mut self.kv,
            ClientKind::Lease => &mut self.lease,
            ClientKind::Txn => &mut self.txn,
        }
    }
}

/// A log of what clients do.
pub(crate) trait ClientLog {
    /// Records the start of an operation on one key.
    fn asked(&mut self, at: u64, operation: u64, request: &Request);
    /// Records the end of an operation on one key.
    fn answered(&mut self, at: u64, operation: &Operation);
    /// Records something else in words.
    fn note(&mut self, at: u64, node: Option<u64>, text: fmt::Arguments<'_>);
}

impl Context<'_> {
    /// Records an event of a client.
    fn note(&mut self, node: Option<u64>, text: fmt::Arguments<'_>) {
        self.log.note(self.cluster.now, node, text);
    }
}

/// The session of an operation. Each operation has a session of its own, so that a retry is applied
/// once.
fn session(kind: ClientKind, operation: u64, since: u64) -> Session {
    // These numbers are part of golden traces.
    let client = match kind {
        ClientKind::Kv => u128::from(operation),
        ClientKind::Lease => u128::from((1 << 40) + operation - 1) << 64,
        ClientKind::Txn => u128::from((1 << 50) + operation - 1) << 64,
    };
    Session { client, sequence: 1, since }
}
