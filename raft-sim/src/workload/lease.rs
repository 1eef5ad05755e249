//! Clients that hold leases, as programs hold locks: they are granted one, hang keys on it, keep it
//! alive, and end it, or stop caring for it and leave that to the servers. Some want a lease of a
//! certain number; some keep another's lease alive, or end it; they delete each other's keys, or
//! take them off their leases.
//!
//! Each does one thing at a time and asks again when it is not answered. What they ask for travels
//! like the questions of other clients. Whether their leases live as long as promised is judged by
//! `promises`.

use std::collections::BTreeMap;

use raft_core::{ReadMode, Role};
use raft_kv::{
    Command, Compare, Delete, Grant, KeyRange, Op, Operand, Outcome, Put, Rejection, Relation,
    RequestResult, Revoke, Session, Txn,
};

use crate::node::{Node, Reading, RequestId};
use crate::story::EventKind;
use crate::util::rng::SimRng;
use crate::workload::kv::{ClientMessage, ClientResponse};
use crate::world::config::WorldConfig;
use crate::world::{Event, World};

#[derive(Clone, Debug)]
pub(crate) struct LeaseWorkload {
    all: Vec<LeaseClient>,
    next_task: u64,
    /// Revocations of leaders that are still on their way to somebody's log.
    late: BTreeMap<u64, Revoke>,
    next_late: u64,
    random: SimRng,
}

#[derive(Clone, Debug, Default)]
struct LeaseClient {
    /// The lease that it believes to hold.
    lease: Option<i64>,
    /// The server that it believes to lead.
    leader: Option<u64>,
    task: Option<PendingOp>,
}

#[derive(Clone, Copy, Debug)]
struct PendingOp {
    /// Which request it is, of all that holders ever make.
    number: u64,
    op: LeaseOp,
    attempts: u64,
    /// See [`Session::since`].
    since: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LeaseOp {
    /// The number is 0, if it is to be chosen.
    Grant {
        id: i64,
        ttl: i64,
    },
    Attach {
        lease: i64,
        key: u64,
    },
    /// Set a key that hangs on no lease then.
    Free {
        key: u64,
    },
    Delete {
        key: u64,
    },
    /// Delete a key, if it hangs on a lease, and hang another one on it; hang it there otherwise.
    Move {
        lease: i64,
        from: u64,
        to: u64,
    },
    Keep {
        lease: i64,
    },
    Revoke {
        lease: i64,
    },
}

/// Requests with numbers from here on are those of holders.
const FIRST: u64 = 1 << 40;
/// A holder gives up after this many attempts.
const ATTEMPTS_MAX: u64 = 12;
/// How long it waits before it asks again, if nobody knows a leader.
const NO_LEADER_RETRY_DELAY: u64 = 50_000;
/// On how many keys a holder may hang.
const KEYS: u64 = 3;
/// The numbers that some want for their leases.
const WANTED: i64 = 2;
/// How many of a thousand revocations arrive a second time, and late.
const LATE_PER_MILLE: u32 = 300;

/// Whether a request is that of a holder.
pub(crate) fn is_holders(asked: RequestId) -> bool {
    (FIRST..crate::workload::txn_ops::FIRST).contains(&asked.operation)
}

impl LeaseWorkload {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        Self {
            all: vec![LeaseClient::default(); config.lease_clients as usize],
            next_task: FIRST,
            late: BTreeMap::new(),
            next_late: 1,
            random: SimRng::new(config.seed ^ 0x1ea5_e5ed),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The holder that waits for an answer to this request, if one does.
    fn waiting(&mut self, asked: RequestId) -> Option<(usize, &mut LeaseClient, PendingOp)> {
        let mut all = self.all.iter_mut().enumerate();
        all.find_map(|(number, holder)| {
            let task = holder.task.filter(|it| it.number == asked.operation)?;
            Some((number, holder, task))
        })
    }

    /// What a holder does next.
    fn wish(&mut self, holder: usize, ttl: u64) -> Option<LeaseOp> {
        let count = self.all.len() as u64;
        let random = &mut self.random;
        let Some(lease) = self.all[holder].lease else {
            let ttl = i64::try_from(random.within(1..=ttl.max(1))).unwrap_or(i64::MAX);
            let id = match random.chance_per_mille(300) {
                true => random.below(WANTED.cast_unsigned()).cast_signed() + 1,
                false => 0,
            };
            return Some(LeaseOp::Grant { id, ttl });
        };
        // Some write much; others do little but keep their leases alive, and so don't notice that
        // nothing is written.
        let writes = if holder.is_multiple_of(2) { 50 } else { 12 };
        let drawn = random.below(100);
        if drawn < writes {
            let own = holder as u64 * KEYS + random.below(KEYS) + 1;
            let any = random.below(count * KEYS) + 1;
            return Some(match random.below(10) {
                0 => LeaseOp::Free { key: any },
                1 => LeaseOp::Delete { key: any },
                2 if own != any => LeaseOp::Move { lease, from: any, to: own },
                _ => LeaseOp::Attach { lease, key: own },
            });
        }
        let whose = random.below(count) as usize;
        let anothers = self.all[whose].lease.unwrap_or(lease);
        match drawn {
            0..88 => Some(LeaseOp::Keep { lease }),
            88..91 => Some(LeaseOp::Keep { lease: anothers }),
            91..94 => Some(LeaseOp::Revoke { lease }),
            94 => Some(LeaseOp::Revoke { lease: anothers }),
            _ => {
                // Nobody keeps the lease alive any more.
                self.all[holder].lease = None;
                None
            }
        }
    }
}

impl World {
    pub(crate) fn wake_holders(&mut self) {
        for holder in 0..self.holders.all.len() {
            let at = self.now + self.holders.random.sample(self.config.think_time);
            self.schedule(at, Event::HolderWakes(holder));
        }
    }

    /// A holder asks for something, or stops caring for its lease; when the clients stop, all do.
    pub(crate) fn on_lease_client_timer(&mut self, holder: usize) {
        if self.clients.stopped {
            return;
        }
        let Some(wish) = self.holders.wish(holder, self.config.lease_ttl) else {
            return self.schedule_next_lease_op(holder);
        };
        let applied = self.nodes.iter().filter_map(Node::running);
        let applied = applied.map(|running| running.kv.applied_index());
        let since = applied.max().unwrap_or(0);
        let number = self.holders.next_task;
        self.holders.next_task += 1;
        self.holders.all[holder].task = Some(PendingOp { number, op: wish, attempts: 0, since });
        self.record_lease_client(holder, None, || format!("wants to {wish}"));
        self.send_lease_op(number);
    }

    fn schedule_next_lease_op(&mut self, holder: usize) {
        let at = self.now + self.holders.random.sample(self.config.think_time);
        self.schedule(at, Event::HolderWakes(holder));
    }

    /// Sends a holder's request, for the first time or again.
    fn send_lease_op(&mut self, operation: u64) {
        let any = self.holders.random.within(1..=self.config.nodes);
        let asked = |attempt| RequestId { operation, attempt };
        let Some((number, holder, task)) = self.holders.waiting(asked(0)) else {
            return;
        };
        if task.attempts >= ATTEMPTS_MAX {
            holder.task = None;
            self.record_lease_client(number, None, || {
                "gives up: it may have been done, or not".into()
            });
            return self.schedule_next_lease_op(number);
        }
        let node = holder.leader.unwrap_or(any);
        let attempts = task.attempts + 1;
        holder.task = Some(PendingOp { attempts, ..task });
        let arrives_at = self.now + self.holders.random.sample(self.network.latency);
        self.post(ClientMessage {
            asked: asked(attempts),
            node,
            answer: None,
            sent_at: self.now,
            arrives_at,
        });
        let timeout = self.now + self.config.request_timeout;
        self.schedule(timeout, Event::AttemptTimesOut(asked(attempts)));
    }

    pub(crate) fn retry_lease_op(&mut self, asked: RequestId) {
        let waiting = self.holders.waiting(asked);
        if waiting.is_some_and(|(_, _, task)| task.attempts == asked.attempt) {
            self.send_lease_op(asked.operation);
        }
    }

    pub(crate) fn on_lease_op_timeout(&mut self, asked: RequestId) {
        if let Some((_, holder, task)) = self.holders.waiting(asked)
            && task.attempts == asked.attempt
        {
            holder.leader = None;
            self.send_lease_op(asked.operation);
        }
    }

    /// A node takes a holder's request.
    pub(crate) fn handle_lease_request(&mut self, node: u64, asked: RequestId) {
        let Some((_, _, task)) = self.holders.waiting(asked) else {
            return;
        };
        if let LeaseOp::Keep { lease } = task.op {
            return self.handle_keep_alive(node, asked, lease);
        }
        let session =
            Session { client: u128::from(task.number) << 64, sequence: 1, since: task.since };
        let command = task.op.command().map(|it| it.with_session(session));
        let mut leader = None;
        self.with_running(node, |running, now| {
            let Some(command) = command else { return };
            match running.raft.propose(command.encode(), now) {
                Ok(entry) => {
                    running.proposals.insert(entry.index, (entry.term, asked));
                }
                Err(_) => leader = Some(running.raft.leader()),
            }
        });
        self.redirect(node, asked, leader);
    }

    /// A lease is kept alive by the leader alone, and only after a read that begins now has
    /// confirmed that it leads.
    fn handle_keep_alive(&mut self, node: u64, asked: RequestId, lease: i64) {
        let keeping = self.keeping(lease);
        let mode = match self.config.lease_drift_ppm {
            Some(_) => ReadMode::Lease,
            None => ReadMode::Quorum,
        };
        if self.promises.renews_unconfirmed() {
            return self.answer_keep_alive(node, asked, keeping);
        }
        let mut leader = None;
        self.with_running(node, |running, now| {
            let read = match running.raft.role() {
                Role::Leader => running.raft.read(mode, now).ok(),
                _ => None,
            };
            match read {
                Some(read) => {
                    let term = running.raft.term();
                    let reading = Reading::Keep { keeping, term };
                    running.reads.insert(read, (asked, reading));
                }
                None => leader = Some(running.raft.leader()),
            }
        });
        self.redirect(node, asked, leader);
    }

    fn redirect(&mut self, node: u64, asked: RequestId, leader: Option<Option<raft_core::NodeId>>) {
        if let Some(leader) = leader {
            let leader = leader.map(|leader| leader.0).filter(|it| *it != node);
            self.send_answer(node, asked, ClientResponse::Redirect(leader));
        }
    }

    pub(crate) fn on_lease_response(
        &mut self,
        node: u64,
        asked: RequestId,
        answer: &ClientResponse,
    ) {
        let again = |at| (at, Event::AttemptAgain(asked));
        let now = self.now;
        let Some((number, holder, task)) = self.holders.waiting(asked) else {
            return;
        };
        let is_latest = task.attempts == asked.attempt;
        match answer {
            ClientResponse::Replaced if is_latest => {
                let (at, happening) = again(now);
                return self.schedule(at, happening);
            }
            ClientResponse::Redirect(leader) if is_latest => {
                holder.leader = *leader;
                let wait = if leader.is_some() { 0 } else { NO_LEADER_RETRY_DELAY };
                let (at, happening) = again(now + wait);
                return self.schedule(at, happening);
            }
            ClientResponse::Replaced
            | ClientResponse::Redirect(_)
            | ClientResponse::Found(_)
            | ClientResponse::Seen(_) => return,
            ClientResponse::Applied(outcome) => match outcome {
                Outcome::Done(response) => match response.result {
                    RequestResult::Grant(grant) => holder.lease = Some(grant.lease.id),
                    RequestResult::Revoke(revoke) => holder.forget(revoke.lease.id),
                    _ => {}
                },
                // It is somebody's, who shares it.
                Outcome::Rejected(Rejection::LeaseExists { id }) => holder.lease = Some(*id),
                Outcome::Rejected(Rejection::LeaseNotFound { id }) => holder.forget(*id),
                _ => {}
            },
            ClientResponse::Kept(is_kept) => {
                if let (false, LeaseOp::Keep { lease }) = (*is_kept, task.op) {
                    holder.forget(lease);
                }
            }
        }
        holder.leader = Some(node);
        holder.task = None;
        let lease = holder.lease;
        self.record_lease_client(number, Some(node), || match lease {
            Some(lease) => format!("is answered, and holds lease {lease}"),
            None => "is answered, and holds no lease".into(),
        });
        self.schedule_next_lease_op(number);
    }

    /// Now and then a leader's wish to end a lease is on its way for longer, as one that is handed
    /// on may be: it arrives when it has been fulfilled, or when it must not be any more.
    pub(crate) fn delay_revoke(&mut self, revoke: Revoke) {
        let holders = &mut self.holders;
        if !holders.random.chance_per_mille(LATE_PER_MILLE) {
            return;
        }
        let ttl = self.config.lease_ttl.saturating_mul(1_000_000);
        let timeout = self.config.election_timeout.max;
        let within = ttl.max(4 * timeout);
        let (at, number) = (self.now + holders.random.within(0..=within), holders.next_late);
        holders.next_late += 1;
        holders.late.insert(number, revoke);
        self.schedule(at, Event::RevocationArrives(number));
    }

    /// It is put into the log of whoever leads, or believes so.
    pub(crate) fn deliver_delayed_revoke(&mut self, number: u64) {
        let Some(revoke) = self.holders.late.remove(&number) else {
            return;
        };
        let leads = |node: &&Node| {
            let running = node.running().filter(|running| running.paused.is_none());
            running.is_some_and(|running| running.raft.role() == Role::Leader)
        };
        let leaders: Vec<u64> = { self.nodes.iter() }.filter(leads).map(|node| node.id).collect();
        if leaders.is_empty() {
            return;
        }
        let node = self.holders.random.pick(&leaders);
        self.log_node(node, &format!("hears late that lease {} is over", revoke.id));
        self.with_running(node, |running, now| {
            // One that does not take it loses it.
            let _ = running.raft.propose(Command::new(revoke).encode(), now);
        });
        self.settle(node);
    }

    fn record_lease_client(
        &mut self,
        holder: usize,
        node: Option<u64>,
        text: impl FnOnce() -> String,
    ) {
        self.story.record(self.now, node, EventKind::Client, || {
            format!("Lease holder {} {}", holder + 1, text())
        });
    }
}

impl LeaseClient {
    /// A lease is gone.
    fn forget(&mut self, lease: i64) {
        self.lease = self.lease.filter(|it| *it != lease);
    }
}

impl LeaseOp {
    fn command(self) -> Option<Command> {
        let name = |key: u64| format!("l{key}");
        let hang = |key, lease: i64| Put::new(name(key), lease.to_string()).with_lease(lease);
        Some(match self {
            Self::Grant { id, ttl } => Command::new(Grant { id, ttl }),
            Self::Attach { lease, key } => Command::new(hang(key, lease)),
            Self::Free { key } => Command::new(Put::new(name(key), "free")),
            Self::Delete { key } => Command::new(Delete::new(KeyRange::key(name(key)))),
            Self::Move { lease, from, to } => {
                let is_there = Compare::key(name(from), Relation::Equal, Operand::Lease(lease));
                Command::new(Txn {
                    compare: vec![is_there],
                    success: vec![
                        Op::Delete(Delete::new(KeyRange::key(name(from)))),
                        Op::Put(hang(to, lease)),
                    ],
                    failure: vec![Op::Put(hang(from, lease))],
                })
            }
            Self::Keep { .. } => return None,
            Self::Revoke { lease } => Command::new(Revoke::new(lease)),
        })
    }
}

impl std::fmt::Display for LeaseOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Grant { id: 0, ttl } => write!(f, "be granted a lease of {ttl} s"),
            Self::Grant { id, ttl } => write!(f, "be granted lease {id}, of {ttl} s"),
            Self::Attach { lease, key } => write!(f, "hang l{key} on lease {lease}"),
            Self::Free { key } => write!(f, "take l{key} off its lease"),
            Self::Delete { key } => write!(f, "delete l{key}"),
            Self::Move { lease, from, to } => {
                write!(f, "hang l{to} on lease {lease} for l{from}")
            }
            Self::Keep { lease } => write!(f, "keep lease {lease} alive"),
            Self::Revoke { lease } => write!(f, "end lease {lease}"),
        }
    }
}
