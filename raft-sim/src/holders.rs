//! Clients that hold leases, as programs hold locks: they are granted one, hang keys on it, keep it alive, and end it, or stop
//! caring for it and leave that to the servers.
//!
//! Each does one thing at a time and asks again when it is not answered. What they ask for travels like the questions of
//! other clients. Whether their leases live as long as promised is judged by `promises`.

use raft_core::{ReadMode, Role};
use raft_kv::{Command, Grant, Outcome, Put, Rejection, RequestResult, Revoke, Session};

use crate::client::{Answer, Letter};
use crate::config::WorldConfig;
use crate::node::{Asked, Node, Reading};
use crate::random::Random;
use crate::story::Kind;
use crate::world::{Happening, World};

#[derive(Clone, Debug)]
pub(crate) struct Holders {
    all: Vec<Holder>,
    next_task: u64,
    random: Random,
}

#[derive(Clone, Debug, Default)]
struct Holder {
    /// The lease that it believes to hold.
    lease: Option<i64>,
    /// The server that it believes to lead.
    leader: Option<u64>,
    task: Option<Task>,
}

#[derive(Clone, Copy, Debug)]
struct Task {
    /// Which request it is, of all that holders ever make.
    number: u64,
    wish: Wish,
    attempts: u64,
    /// See [`Session::since`].
    since: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wish {
    Grant { ttl: i64 },
    Hang { lease: i64, key: u64 },
    Keep { lease: i64 },
    Revoke { lease: i64 },
}

/// Requests with numbers from here on are those of holders.
const FIRST: u64 = 1 << 40;
/// A holder gives up after this many attempts.
const ATTEMPTS_MAX: u64 = 12;
/// How long it waits before it asks again, if nobody knows a leader.
const PATIENCE: u64 = 50_000;
/// On how many keys a holder may hang.
const KEYS: u64 = 3;

/// Whether a request is that of a holder.
pub(crate) fn is_holders(asked: Asked) -> bool {
    asked.operation >= FIRST
}

impl Holders {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        Self {
            all: vec![Holder::default(); config.holders as usize],
            next_task: FIRST,
            random: Random::new(config.seed ^ 0x1ea5_e5ed),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The holder that waits for an answer to this request, if one does.
    fn waiting(&mut self, asked: Asked) -> Option<(usize, &mut Holder, Task)> {
        let mut all = self.all.iter_mut().enumerate();
        all.find_map(|(number, holder)| {
            let task = holder.task.filter(|it| it.number == asked.operation)?;
            Some((number, holder, task))
        })
    }

    /// What a holder does next.
    fn wish(&mut self, holder: usize, ttl: u64) -> Option<Wish> {
        let random = &mut self.random;
        let it = &mut self.all[holder];
        let Some(lease) = it.lease else {
            let ttl = i64::try_from(random.within(1..=ttl.max(1))).unwrap_or(i64::MAX);
            return Some(Wish::Grant { ttl });
        };
        // Some write much; others do little but keep their leases alive, and so don't notice that nothing is written.
        let hangs = if holder.is_multiple_of(2) { 45 } else { 10 };
        match random.below(100) {
            drawn if drawn < hangs => Some(Wish::Hang {
                lease,
                key: holder as u64 * KEYS + random.below(KEYS) + 1,
            }),
            0..92 => Some(Wish::Keep { lease }),
            92..95 => Some(Wish::Revoke { lease }),
            _ => {
                // Nobody keeps the lease alive any more.
                it.lease = None;
                None
            }
        }
    }
}

impl World {
    pub(crate) fn wake_holders(&mut self) {
        for holder in 0..self.holders.all.len() {
            let at = self.now + self.holders.random.span(self.config.think);
            self.schedule(at, Happening::HolderWakes(holder));
        }
    }

    /// A holder asks for something, or stops caring for its lease; when the clients stop, all do.
    pub(crate) fn holder_wakes(&mut self, holder: usize) {
        if self.clients.stopped {
            return;
        }
        let Some(wish) = self.holders.wish(holder, self.config.lease_ttl) else {
            return self.holder_rests(holder);
        };
        let applied = self.nodes.iter().filter_map(Node::running);
        let applied = applied.map(|running| running.kv.applied_index());
        let since = applied.max().unwrap_or(0);
        let number = self.holders.next_task;
        self.holders.next_task += 1;
        self.holders.all[holder].task = Some(Task {
            number,
            wish,
            attempts: 0,
            since,
        });
        self.tell_of_holder(holder, None, || format!("wants to {wish}"));
        self.try_task(number);
    }

    fn holder_rests(&mut self, holder: usize) {
        let at = self.now + self.holders.random.span(self.config.think);
        self.schedule(at, Happening::HolderWakes(holder));
    }

    /// Sends a holder's request, for the first time or again.
    fn try_task(&mut self, operation: u64) {
        let any = self.holders.random.within(1..=self.config.nodes);
        let asked = |attempt| Asked { operation, attempt };
        let Some((number, holder, task)) = self.holders.waiting(asked(0)) else {
            return;
        };
        if task.attempts >= ATTEMPTS_MAX {
            holder.task = None;
            self.tell_of_holder(number, None, || {
                "gives up: it may have been done, or not".into()
            });
            return self.holder_rests(number);
        }
        let node = holder.leader.unwrap_or(any);
        let attempts = task.attempts + 1;
        holder.task = Some(Task { attempts, ..task });
        let arrives_at = self.now + self.holders.random.span(self.network.latency);
        self.post(Letter {
            asked: asked(attempts),
            node,
            answer: None,
            sent_at: self.now,
            arrives_at,
        });
        let timeout = self.now + self.config.request_timeout;
        self.schedule(timeout, Happening::AttemptTimesOut(asked(attempts)));
    }

    pub(crate) fn holder_tries_again(&mut self, asked: Asked) {
        let waiting = self.holders.waiting(asked);
        if waiting.is_some_and(|(_, _, task)| task.attempts == asked.attempt) {
            self.try_task(asked.operation);
        }
    }

    pub(crate) fn holder_waited_in_vain(&mut self, asked: Asked) {
        if let Some((_, holder, task)) = self.holders.waiting(asked)
            && task.attempts == asked.attempt
        {
            holder.leader = None;
            self.try_task(asked.operation);
        }
    }

    /// A node takes a holder's request.
    pub(crate) fn serve_holder(&mut self, node: u64, asked: Asked) {
        let Some((_, _, task)) = self.holders.waiting(asked) else {
            return;
        };
        if let Wish::Keep { lease } = task.wish {
            return self.serve_keeping(node, asked, lease);
        }
        let session = Session {
            client: u128::from(task.number) << 64,
            sequence: 1,
            since: task.since,
        };
        let command = task.wish.command().map(|it| it.with_session(session));
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

    /// A lease is kept alive by the leader alone, and only after a read that begins now has confirmed that it leads.
    fn serve_keeping(&mut self, node: u64, asked: Asked, lease: i64) {
        let keeping = self.keeping(lease);
        let mode = match self.config.lease_drift_ppm {
            Some(_) => ReadMode::Lease,
            None => ReadMode::Quorum,
        };
        if self.promises.renews_unconfirmed() {
            return self.keep(node, asked, keeping);
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

    fn redirect(&mut self, node: u64, asked: Asked, leader: Option<Option<raft_core::NodeId>>) {
        if let Some(leader) = leader {
            let leader = leader.map(|leader| leader.0).filter(|it| *it != node);
            self.send_answer(node, asked, Answer::Redirect(leader));
        }
    }

    pub(crate) fn holder_is_answered(&mut self, node: u64, asked: Asked, answer: &Answer) {
        let again = |at| (at, Happening::AttemptAgain(asked));
        let now = self.now;
        let Some((number, holder, task)) = self.holders.waiting(asked) else {
            return;
        };
        let is_latest = task.attempts == asked.attempt;
        match answer {
            Answer::Replaced if is_latest => {
                let (at, happening) = again(now);
                return self.schedule(at, happening);
            }
            Answer::Redirect(leader) if is_latest => {
                holder.leader = *leader;
                let wait = if leader.is_some() { 0 } else { PATIENCE };
                let (at, happening) = again(now + wait);
                return self.schedule(at, happening);
            }
            Answer::Replaced | Answer::Redirect(_) | Answer::Found(_) => return,
            Answer::Applied(outcome) => match outcome {
                Outcome::Done(response) => match response.result {
                    RequestResult::Grant(grant) => holder.lease = Some(grant.lease.id),
                    RequestResult::Revoke(_) => holder.lease = None,
                    _ => {}
                },
                Outcome::Rejected(Rejection::LeaseNotFound { .. }) => holder.lease = None,
                _ => {}
            },
            Answer::Kept(true) => {}
            Answer::Kept(false) => holder.lease = None,
        }
        holder.leader = Some(node);
        holder.task = None;
        let lease = holder.lease;
        self.tell_of_holder(number, Some(node), || match lease {
            Some(lease) => format!("is answered, and holds lease {lease}"),
            None => "is answered, and holds no lease".into(),
        });
        self.holder_rests(number);
    }

    fn tell_of_holder(&mut self, holder: usize, node: Option<u64>, text: impl FnOnce() -> String) {
        self.story.tell(self.now, node, Kind::Client, None, || {
            format!("Lease holder {} {}", holder + 1, text())
        });
    }
}

impl Wish {
    fn command(self) -> Option<Command> {
        Some(match self {
            Self::Grant { ttl } => Command::new(Grant { id: 0, ttl }),
            Self::Hang { lease, key } => {
                Command::new(Put::new(format!("l{key}"), lease.to_string()).with_lease(lease))
            }
            Self::Keep { .. } => return None,
            Self::Revoke { lease } => Command::new(Revoke::new(lease)),
        })
    }
}

impl std::fmt::Display for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Grant { ttl } => write!(f, "be granted a lease of {ttl} s"),
            Self::Hang { lease, key } => write!(f, "hang l{key} on lease {lease}"),
            Self::Keep { lease } => write!(f, "keep lease {lease} alive"),
            Self::Revoke { lease } => write!(f, "end lease {lease}"),
        }
    }
}
