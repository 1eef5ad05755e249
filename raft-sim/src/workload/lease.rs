//! Clients that hold leases, as programs hold locks.
//!
//! A client is granted a lease, attaches keys to it, keeps it alive, and revokes it or stops
//! keeping it alive. Some clients request leases with fixed numbers. Some keep the leases of other
//! clients alive or revoke them. Clients delete and detach each other's keys.

use std::collections::BTreeMap;
use std::fmt;

use raft_kv::{
    Command, Compare, Delete, Grant, KeyRange, Op, Operand, Outcome, Put, Rejection, Relation,
    RequestResult, Revoke, Txn,
};

use crate::cluster::queue::Event;
use crate::node::Node;
use crate::node::client_api::{ClientKind, ClientRequest, ClientResponse};
use crate::util::rng::SimRng;
use crate::workload::config::WorkloadConfig;
use crate::workload::driver::{Driver, Pending, Workload};
use crate::workload::{Context, session};

/// Clients that hold leases.
#[derive(Clone, Debug)]
pub(crate) struct LeaseWorkload {
    /// The lease that each client believes to hold.
    leases: Vec<Option<i64>>,
    /// The copies of revocations that arrive late, by number.
    delayed_revokes: BTreeMap<u64, Revoke>,
    /// The number of the latest delayed revocation.
    latest_delayed: u64,
}

/// An operation on leases or on keys that are attached to leases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeaseOp {
    /// Grants a lease. The state machine chooses the number if `id` is 0.
    Grant { id: i64, ttl: i64 },
    /// Attaches a key to a lease.
    Attach { lease: i64, key: u64 },
    /// Detaches a key from its lease.
    Detach { key: u64 },
    /// Deletes a key.
    Delete { key: u64 },
    /// Moves a lease from one key to another, if the first key is attached to the lease. Otherwise
    /// attaches the first key.
    Move { lease: i64, from: u64, to: u64 },
    /// Keeps a lease alive.
    KeepAlive { lease: i64 },
    /// Ends a lease.
    Revoke { lease: i64 },
}

/// The number of keys that belong to a client.
const KEYS: u64 = 3;
/// The number of leases that clients request by number.
const FIXED_LEASES: u64 = 2;
/// The share of revocations that arrive a second time.
const DELAYED_PER_MILLE: u32 = 300;

impl LeaseWorkload {
    pub(crate) fn new(clients: u64) -> Self {
        Self {
            leases: vec![None; clients as usize],
            delayed_revokes: BTreeMap::new(),
            latest_delayed: 0,
        }
    }

    /// The lease that a client believes to hold.
    fn lease_mut(&mut self, client: u64) -> &mut Option<i64> {
        &mut self.leases[client as usize - 1]
    }

    /// Records that a lease of a client does not exist any more.
    fn forget(&mut self, client: u64, lease: i64) {
        let held = self.lease_mut(client);
        *held = held.filter(|held| *held != lease);
    }
}

impl Workload for LeaseWorkload {
    type Operation = LeaseOp;
    const KIND: ClientKind = ClientKind::Lease;

    fn next_operation(
        &mut self,
        client: u64,
        random: &mut SimRng,
        config: &WorkloadConfig,
        _nodes: u64,
        _latest_revision: i64,
    ) -> Option<(LeaseOp, Option<u64>)> {
        let (count, position) = (self.leases.len() as u64, client - 1);
        let Some(lease) = *self.lease_mut(client) else {
            let ttl = random.within(1..=config.lease_ttl.max(1));
            let ttl = i64::try_from(ttl).unwrap_or(i64::MAX);
            let id = if random.chance_per_mille(300) {
                random.below(FIXED_LEASES).cast_signed() + 1
            } else {
                0
            };
            return Some((LeaseOp::Grant { id, ttl }, None));
        };
        // Every second client mostly keeps its lease alive, so a lease also lives without writes.
        let writes = if position.is_multiple_of(2) { 50 } else { 12 };
        let drawn = random.below(100);
        if drawn < writes {
            let own = position * KEYS + random.below(KEYS) + 1;
            let any = random.below(count * KEYS) + 1;
            let op = match random.below(10) {
                0 => LeaseOp::Detach { key: any },
                1 => LeaseOp::Delete { key: any },
                2 if own != any => LeaseOp::Move { lease, from: any, to: own },
                _ => LeaseOp::Attach { lease, key: own },
            };
            return Some((op, None));
        }
        let other = random.below(count) as usize;
        let other_lease = self.leases[other].unwrap_or(lease);
        let op = match drawn {
            0..88 => LeaseOp::KeepAlive { lease },
            88..91 => LeaseOp::KeepAlive { lease: other_lease },
            91..94 => LeaseOp::Revoke { lease },
            94 => LeaseOp::Revoke { lease: other_lease },
            _ => {
                // The client stops keeping its lease alive.
                *self.lease_mut(client) = None;
                return None;
            }
        };
        Some((op, None))
    }

    fn request(
        &self,
        _operation: u64,
        pending: Option<&Pending<LeaseOp>>,
    ) -> Option<ClientRequest> {
        let pending = pending?;
        Some(match pending.operation {
            LeaseOp::KeepAlive { lease } => ClientRequest::KeepAlive { lease },
            op => {
                let session = session(Self::KIND, pending.number, pending.since);
                ClientRequest::Propose(op.command()?.with_session(session))
            }
        })
    }

    fn on_start(&mut self, pending: &Pending<LeaseOp>, context: &mut Context<'_>) {
        record(pending, None, context, format_args!("wants to {}", pending.operation));
    }

    fn on_response(
        &mut self,
        pending: Pending<LeaseOp>,
        node: u64,
        response: ClientResponse,
        context: &mut Context<'_>,
    ) {
        let client = pending.client;
        match (response, pending.operation) {
            (ClientResponse::Applied(Outcome::Done(response)), _) => match response.result {
                RequestResult::Grant(grant) => *self.lease_mut(client) = Some(grant.lease.id),
                RequestResult::Revoke(revoke) => self.forget(client, revoke.lease.id),
                _ => {}
            },
            // The lease belongs to another client, which shares it.
            (ClientResponse::Applied(Outcome::Rejected(Rejection::LeaseExists { id })), _) => {
                *self.lease_mut(client) = Some(id);
            }
            (ClientResponse::Applied(Outcome::Rejected(Rejection::LeaseNotFound { id })), _) => {
                self.forget(client, id);
            }
            (ClientResponse::KeptAlive(false), LeaseOp::KeepAlive { lease }) => {
                self.forget(client, lease);
            }
            _ => {}
        }
        let lease = *self.lease_mut(client);
        let (pending, node) = (&pending, Some(node));
        match lease {
            Some(lease) => {
                record(
                    pending,
                    node,
                    context,
                    format_args!("is answered, and holds lease {lease}"),
                );
            }
            None => record(pending, node, context, format_args!("is answered, and holds no lease")),
        }
    }

    fn on_give_up(&mut self, pending: Pending<LeaseOp>, context: &mut Context<'_>) {
        record(&pending, None, context, format_args!("gives up: it may have been done, or not"));
    }
}

impl Driver<LeaseWorkload> {
    /// Delays a copy of some revocations, as a forwarded revocation can be delayed. The copy
    /// arrives when the lease has ended, or when it must not be ended any more.
    pub(crate) fn delay_revoke(&mut self, revoke: Revoke, context: &mut Context<'_>) {
        let (workload, random) = self.parts_mut(&mut context.cluster.random);
        if !random.chance_per_mille(DELAYED_PER_MILLE) {
            return;
        }
        let ttl = context.config.lease_ttl.saturating_mul(1_000_000);
        let longest = ttl.max(4 * context.servers.election_timeout.max);
        let at = context.cluster.now + random.within(0..=longest);
        workload.latest_delayed += 1;
        let number = workload.latest_delayed;
        workload.delayed_revokes.insert(number, revoke);
        context.cluster.schedule(at, Event::DelayedRevokeArrives(number));
    }

    /// Returns a delayed revocation, and a random server that leads or believes to lead. None if
    /// there is no such server.
    pub(crate) fn take_delayed_revoke(
        &mut self,
        number: u64,
        context: &mut Context<'_>,
    ) -> Option<(u64, Revoke)> {
        let (workload, random) = self.parts_mut(&mut context.cluster.random);
        let revoke = workload.delayed_revokes.remove(&number)?;
        let leads = |node: &&Node| node.awake().is_some() && node.is_leader();
        let leaders = context.cluster.nodes.iter().filter(leads);
        let leaders: Vec<u64> = leaders.map(|node| node.id).collect();
        (!leaders.is_empty()).then(|| (random.pick(&leaders), revoke))
    }
}

fn record(
    pending: &Pending<LeaseOp>,
    node: Option<u64>,
    context: &mut Context<'_>,
    text: fmt::Arguments<'_>,
) {
    context.note(node, format_args!("Lease client {} {text}", pending.client));
}

impl LeaseOp {
    /// The command of the operation. None for a keep-alive, which is not replicated.
    fn command(self) -> Option<Command> {
        let name = |key: u64| format!("l{key}");
        let attach = |key, lease: i64| Put::new(name(key), lease.to_string()).with_lease(lease);
        Some(match self {
            Self::Grant { id, ttl } => Command::new(Grant { id, ttl }),
            Self::Attach { lease, key } => Command::new(attach(key, lease)),
            Self::Detach { key } => Command::new(Put::new(name(key), "free")),
            Self::Delete { key } => Command::new(Delete::new(KeyRange::key(name(key)))),
            Self::Move { lease, from, to } => {
                let is_attached = Compare::key(name(from), Relation::Equal, Operand::Lease(lease));
                Command::new(Txn {
                    compare: vec![is_attached],
                    success: vec![
                        Op::Delete(Delete::new(KeyRange::key(name(from)))),
                        Op::Put(attach(to, lease)),
                    ],
                    failure: vec![Op::Put(attach(from, lease))],
                })
            }
            Self::KeepAlive { .. } => return None,
            Self::Revoke { lease } => Command::new(Revoke::new(lease)),
        })
    }
}

/// The operation in words, after "wants to".
impl fmt::Display for LeaseOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant { id: 0, ttl } => write!(f, "be granted a lease of {ttl} s"),
            Self::Grant { id, ttl } => write!(f, "be granted lease {id}, of {ttl} s"),
            Self::Attach { lease, key } => write!(f, "attach l{key} to lease {lease}"),
            Self::Detach { key } => write!(f, "detach l{key} from its lease"),
            Self::Delete { key } => write!(f, "delete l{key}"),
            Self::Move { lease, from, to } => write!(f, "move lease {lease} from l{from} to l{to}"),
            Self::KeepAlive { lease } => write!(f, "keep lease {lease} alive"),
            Self::Revoke { lease } => write!(f, "revoke lease {lease}"),
        }
    }
}
