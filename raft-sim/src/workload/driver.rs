//! The retry machine that all clients share: one operation at a time, sent again until a server
//! responds or the client gives up.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::cluster::queue::Event;
use crate::node::client_api::{ClientKind, ClientRequest, ClientResponse, RequestId};
use crate::util::rng::SimRng;
use crate::workload::Context;
use crate::workload::config::WorkloadConfig;

/// The operations of one kind of clients.
pub(crate) trait Workload: Clone + Debug {
    /// An operation of a client.
    type Operation: Clone + Debug;
    /// The kind of these clients.
    const KIND: ClientKind;
    /// The factor on the think time of the configuration.
    const THINK_TIME_FACTOR: u64 = 1;
    /// All clients share their belief about the leader.
    const SHARES_LEADER: bool = false;

    /// Chooses the next operation of a client of a cluster with this many servers, and optionally
    /// the server of the first attempt. None if the client does nothing until its next timer.
    fn next_operation(
        &mut self,
        client: u64,
        random: &mut SimRng,
        config: &WorkloadConfig,
        nodes: u64,
        latest_revision: i64,
    ) -> Option<(Self::Operation, Option<u64>)>;

    /// The request that servers receive. None if the operation has ended and its late requests are
    /// not delivered.
    fn request(
        &self,
        operation: u64,
        pending: Option<&Pending<Self::Operation>>,
    ) -> Option<ClientRequest>;

    /// Returns true if the operation should be sent to the leader.
    fn wants_leader(_operation: &Self::Operation) -> bool {
        true
    }

    /// Returns true if a response proves that its sender leads.
    fn is_from_leader(_response: &ClientResponse) -> bool {
        true
    }

    /// Records the start of an operation.
    fn on_start(&mut self, pending: &Pending<Self::Operation>, context: &mut Context<'_>);

    /// Records that an attempt is sent.
    fn on_send(&mut self, _pending: &Pending<Self::Operation>) {}

    /// Ends an operation with the response of a server.
    fn on_response(
        &mut self,
        pending: Pending<Self::Operation>,
        node: u64,
        response: ClientResponse,
        context: &mut Context<'_>,
    );

    /// Ends an operation without a response.
    fn on_give_up(&mut self, pending: Pending<Self::Operation>, context: &mut Context<'_>);
}

/// An operation without a final response.
#[derive(Clone, Debug)]
pub(crate) struct Pending<O> {
    /// The number of the operation.
    pub(crate) number: u64,
    /// The client, from 1.
    pub(crate) client: u64,
    pub(crate) operation: O,
    /// The number of attempts that were sent.
    pub(crate) attempts: u64,
    /// The server of the latest attempt.
    pub(crate) node: u64,
    /// The largest index that any server had applied when the operation started.
    pub(crate) since: u64,
    /// When the operation started.
    pub(crate) invoked: u64,
    /// The latest revision in any response when the operation started.
    pub(crate) latest_response: i64,
}

/// The clients of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Driver<W: Workload> {
    workload: W,
    /// The number of clients that start operations by themselves.
    clients: u64,
    /// The operations without a final response, by number.
    pending: BTreeMap<u64, Pending<W::Operation>>,
    /// The number of the latest operation.
    latest: u64,
    /// The server that each client believes to lead, or one entry for all clients.
    leaders: Vec<Option<u64>>,
    /// The random numbers of these clients. Without them the clients use those of the cluster.
    random: Option<SimRng>,
}

/// A client gives up after this many attempts.
const ATTEMPTS_MAX: u64 = 12;
/// The time until a client retries if the server knows no leader, in microseconds.
const NO_LEADER_RETRY_DELAY: u64 = 50_000;

impl<W: Workload> Driver<W> {
    /// Clients of a workload, with random numbers of their own if a seed is given.
    pub(crate) fn new(workload: W, clients: u64, seed: Option<u64>) -> Self {
        let leaders = if W::SHARES_LEADER { 1 } else { clients as usize };
        Self {
            workload,
            clients,
            pending: BTreeMap::new(),
            latest: 0,
            leaders: vec![None; leaders],
            random: seed.map(SimRng::new),
        }
    }

    pub(crate) fn workload(&self) -> &W {
        &self.workload
    }

    pub(crate) fn workload_mut(&mut self) -> &mut W {
        &mut self.workload
    }

    /// Returns true if there are no clients.
    pub(crate) fn is_empty(&self) -> bool {
        self.clients == 0
    }

    /// The operations without a final response.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Pending<W::Operation>> {
        self.pending.values()
    }

    /// The workload, and the random numbers of its clients.
    pub(super) fn parts_mut<'a>(
        &'a mut self,
        shared: &'a mut SimRng,
    ) -> (&'a mut W, &'a mut SimRng) {
        (&mut self.workload, self.random.as_mut().unwrap_or(shared))
    }

    /// Schedules the first operation of each client.
    pub(super) fn schedule_all(&mut self, context: &mut Context<'_>) {
        for client in 1..=self.clients {
            self.schedule_next(client, context);
        }
    }

    /// Starts an operation. Returns its number. The first attempt is sent to `via`, if given.
    pub(crate) fn start(
        &mut self,
        client: impl FnOnce(u64) -> u64,
        operation: W::Operation,
        via: Option<u64>,
        context: &mut Context<'_>,
    ) -> u64 {
        self.latest += 1;
        let pending = Pending {
            number: self.latest,
            client: client(self.latest),
            operation,
            attempts: 0,
            node: 0,
            since: context.cluster.applied_index_max(),
            invoked: context.cluster.now,
            latest_response: context.latest_response,
        };
        self.workload.on_start(&pending, context);
        self.pending.insert(self.latest, pending);
        self.send(self.latest, via, context);
        self.latest
    }

    /// Sends a pending operation, or gives up after too many attempts.
    fn send(&mut self, number: u64, via: Option<u64>, context: &mut Context<'_>) {
        let nodes = 1..=context.servers.nodes;
        // A generator of its own is used for every attempt, whether or not a leader is known.
        let drawn = self.random.as_mut().map(|random| random.within(nodes.clone()));
        let Some(pending) = self.pending.get_mut(&number) else {
            return;
        };
        if pending.attempts >= ATTEMPTS_MAX {
            return self.give_up(number, context);
        }
        let slot = leader_slot::<W>(pending.client);
        let leader = self.leaders.get(slot).copied().flatten();
        let leader = leader.filter(|_| W::wants_leader(&pending.operation));
        let random = &mut context.cluster.random;
        let node = via.or(leader).or(drawn).unwrap_or_else(|| random.within(nodes));
        pending.attempts += 1;
        pending.node = node;
        self.workload.on_send(pending);
        let id = RequestId { kind: W::KIND, operation: number, attempt: pending.attempts };
        let latency = context.cluster.network.latency();
        let latency = latency.sample(self.random.as_mut().unwrap_or(&mut context.cluster.random));
        context.cluster.send_client_message(id, node, None, latency);
        let timeout = context.cluster.now + context.config.request_timeout;
        context.cluster.schedule(timeout, Event::AttemptTimesOut(id));
    }

    fn give_up(&mut self, number: u64, context: &mut Context<'_>) {
        if let Some(pending) = self.pending.remove(&number) {
            let client = pending.client;
            self.workload.on_give_up(pending, context);
            self.schedule_next(client, context);
        }
    }

    /// Schedules the next operation of a client after its think time.
    fn schedule_next(&mut self, client: u64, context: &mut Context<'_>) {
        if client > self.clients {
            return;
        }
        let random = self.random.as_mut().unwrap_or(&mut context.cluster.random);
        let think_time = W::THINK_TIME_FACTOR * context.config.think_time.sample(random);
        let at = context.cluster.now + think_time;
        context.cluster.schedule(at, Event::ClientTimer(W::KIND, client));
    }

    /// Returns true if this is the latest attempt of a pending operation.
    fn is_latest(&self, id: RequestId) -> bool {
        self.pending.get(&id.operation).is_some_and(|pending| pending.attempts == id.attempt)
    }

    /// Changes the server that the client of a pending operation believes to lead.
    fn set_leader(&mut self, operation: u64, leader: Option<u64>) {
        if let Some(pending) = self.pending.get(&operation)
            && let Some(slot) = self.leaders.get_mut(leader_slot::<W>(pending.client))
        {
            *slot = leader;
        }
    }
}

/// The position of a client's belief about the leader.
fn leader_slot<W: Workload>(client: u64) -> usize {
    if W::SHARES_LEADER { 0 } else { client as usize - 1 }
}

/// A [`Driver`] of any workload.
pub(super) trait AnyDriver {
    /// Starts the next operation of a client.
    fn on_timer(&mut self, client: u64, context: &mut Context<'_>);
    /// Retries an attempt without a response, at another server if necessary.
    fn on_timeout(&mut self, id: RequestId, context: &mut Context<'_>);
    /// Sends an operation again, unless a later attempt was sent.
    fn retry(&mut self, id: RequestId, context: &mut Context<'_>);
    /// Ends or retries an operation.
    fn on_response(
        &mut self,
        id: RequestId,
        node: u64,
        response: ClientResponse,
        context: &mut Context<'_>,
    );
    /// See [`Workload::request`].
    fn request(&self, operation: u64) -> Option<ClientRequest>;
    /// The latest revision in any response when a pending operation started.
    fn revision_at_start(&self, operation: u64) -> Option<i64>;
}

impl<W: Workload> AnyDriver for Driver<W> {
    fn on_timer(&mut self, client: u64, context: &mut Context<'_>) {
        let random = self.random.as_mut().unwrap_or(&mut context.cluster.random);
        let (config, nodes) = (context.config, context.servers.nodes);
        let revision = context.latest_revision;
        match self.workload.next_operation(client, random, config, nodes, revision) {
            Some((operation, via)) => {
                self.start(|_| client, operation, via, context);
            }
            None => self.schedule_next(client, context),
        }
    }

    fn on_timeout(&mut self, id: RequestId, context: &mut Context<'_>) {
        if self.is_latest(id) {
            self.set_leader(id.operation, None);
            self.send(id.operation, None, context);
        }
    }

    fn retry(&mut self, id: RequestId, context: &mut Context<'_>) {
        if self.is_latest(id) {
            self.send(id.operation, None, context);
        }
    }

    fn on_response(
        &mut self,
        id: RequestId,
        node: u64,
        response: ClientResponse,
        context: &mut Context<'_>,
    ) {
        let now = context.cluster.now;
        match response {
            ClientResponse::Replaced if self.is_latest(id) => {
                context.cluster.schedule(now, Event::RetryTimer(id));
            }
            ClientResponse::Redirect(leader) if self.is_latest(id) => {
                self.set_leader(id.operation, leader);
                match leader {
                    Some(_) => self.retry(id, context),
                    None => {
                        let at = now + NO_LEADER_RETRY_DELAY;
                        context.cluster.schedule(at, Event::RetryTimer(id));
                    }
                }
            }
            ClientResponse::Replaced | ClientResponse::Redirect(_) => {}
            response => {
                let Some(pending) = self.pending.get(&id.operation) else {
                    return;
                };
                let client = pending.client;
                if W::wants_leader(&pending.operation) && W::is_from_leader(&response) {
                    self.set_leader(id.operation, Some(node));
                }
                if let Some(pending) = self.pending.remove(&id.operation) {
                    self.workload.on_response(pending, node, response, context);
                }
                self.schedule_next(client, context);
            }
        }
    }

    fn request(&self, operation: u64) -> Option<ClientRequest> {
        self.workload.request(operation, self.pending.get(&operation))
    }

    fn revision_at_start(&self, operation: u64) -> Option<i64> {
        Some(self.pending.get(&operation)?.latest_response)
    }
}
