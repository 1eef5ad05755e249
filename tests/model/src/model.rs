//! All servers, what is on the way between them, and what can happen next.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use raft_core::{Entry, Message, NodeId};
use stateright::{Model, Property};

use crate::bounds::{Bounds, Disk, Network, SERVERS};
use crate::facts::{Facts, Fault, History, ends_change, is_command};
use crate::server::{Input, Outcome, Server, founded};
use crate::table::Table;

/// Real servers within [`Bounds`]. It keeps everything that occurred, so one is used for one check.
pub struct Servers {
    pub(crate) bounds: Bounds,
    servers: Table<Known>,
    messages: Table<Envelope>,
    entries: Table<Entry>,
    histories: Table<History>,
    taken: Table<Taken>,
}

/// A server that occurred, with what was found out about it.
struct Known {
    server: Server,
    facts: Facts,
    /// What became of it in each step; nothing if it was refused, or leads beyond the bounds.
    steps: RwLock<HashMap<Step, Option<u32>>>,
}

/// A message with its sender and its receiver, both from 0 on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Envelope {
    from: u8,
    to: u8,
    message: Message,
}

/// A step that was computed.
#[derive(PartialEq, Eq, Hash)]
struct Taken {
    server: u32,
    sent: Box<[u32]>,
    applied: Box<[u32]>,
}

/// Where the cluster is. Numbers stand for what [`Servers`] keeps; equal numbers mean equal values.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    servers: [u32; SERVERS],
    /// In ascending order.
    mail: Vec<u32>,
    history: u32,
    left: Left,
    alike: Alike,
}

/// What may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Left {
    timeouts: u8,
    heartbeats: u8,
    commands: u8,
    crashes: u8,
    changes: u8,
    transfers: u8,
}

/// Which servers differ in nothing but their names: of those only the first needs to act.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Alike {
    All,
    LastTwo,
    None,
}

/// One thing that can happen, at one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    at: u8,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Step {
    kind: Kind,
    drain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Timeout,
    Beat,
    Isolated,
    Forget,
    Receive(u32),
    Propose(u8),
    Change(u8),
    Transfer(u8),
    Sync(u8),
    Crash(u8),
    Drain,
}

impl Servers {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            servers: Table::new(),
            messages: Table::new(),
            entries: Table::new(),
            histories: Table::new(),
            taken: Table::new(),
        }
    }

    /// How many different servers and messages occurred.
    pub fn occurred(&self) -> (usize, usize) {
        (self.servers.len(), self.messages.len())
    }

    fn know(&self, server: Server) -> u32 {
        self.servers.number(Known {
            facts: Facts::of(&server, &self.entries),
            server,
            steps: RwLock::default(),
        })
    }

    fn facts(&self, state: &State) -> [&Facts; SERVERS] {
        state.servers.map(|server| &self.servers[server].facts)
    }

    fn input(&self, kind: Kind) -> Input {
        match kind {
            Kind::Timeout => Input::Timeout,
            Kind::Beat => Input::Beat,
            Kind::Isolated => Input::Isolated,
            Kind::Forget => Input::Forget,
            Kind::Receive(number) => {
                let envelope = &self.messages[number];
                Input::Receive(node(envelope.from), envelope.message.clone())
            }
            Kind::Propose(number) => Input::Propose(Bytes::copy_from_slice(&[number])),
            Kind::Change(target) => {
                Input::Change(Bounds::membership(&self.bounds.targets[target as usize]))
            }
            Kind::Transfer(target) => Input::Transfer(node(target)),
            Kind::Sync(which) => Input::Sync(which as usize),
            Kind::Crash(survive) => Input::Crash(survive as usize),
            Kind::Drain => Input::Drain,
        }
    }

    /// What a server makes of something; nothing if it is refused, or leads beyond the bounds.
    fn take(&self, server: u32, step: Step) -> Option<&Taken> {
        let known = &self.servers[server];
        let steps = known.steps.read().unwrap_or_else(PoisonError::into_inner);
        let found = steps.get(&step).copied();
        drop(steps);
        let taken = found.unwrap_or_else(|| {
            let taken = self.compute(&known.server, step);
            let taken = taken.map(|taken| self.taken.number(taken));
            let mut steps = known.steps.write().unwrap_or_else(PoisonError::into_inner);
            steps.insert(step, taken);
            taken
        });
        taken.map(|taken| &self.taken[taken])
    }

    fn compute(&self, before: &Server, step: Step) -> Option<Taken> {
        let from = before.raft.id().0 as u8 - 1;
        let outcome = before.step(&self.bounds, self.input(step.kind), step.drain)?;
        let Outcome { server, sent, applied } = outcome;
        if server.raft.term().0 > self.bounds.last_term {
            return None;
        }
        let envelope = |(to, message): (NodeId, Message)| {
            let to = to.0 as u8 - 1;
            self.messages.number(Envelope { from, to, message })
        };
        let number = |entry| self.entries.number(entry);
        Some(Taken {
            server: self.know(server),
            sent: sent.into_iter().map(envelope).collect(),
            applied: applied.into_iter().map(number).collect(),
        })
    }

    /// Whether a message can never have any effect: it answers a term that its receiver has left
    /// for good.
    fn is_void(&self, number: u32, facts: &[&Facts; SERVERS]) -> bool {
        let Envelope { to, message, .. } = &self.messages[number];
        let durable_term = facts[*to as usize].durable_term;
        let term = match message {
            Message::PreVoteResponse(response) => response.campaign_term.max(response.term),
            Message::RequestVoteResponse(response) => response.term,
            Message::AppendEntriesResponse(response) => response.term,
            // Within its term it only says that the follower is there, which time decides here.
            Message::HeartbeatResponse(response) => return response.term.0 <= durable_term,
            Message::TimeoutNow(request) => request.term,
            _ => return false,
        };
        term.0 < durable_term
    }

    fn history(&self, state: &State) -> &History {
        &self.histories[state.history]
    }

    fn no_fault(&self, state: &State, fault: Fault) -> bool {
        self.history(state).fault != Some(fault)
    }

    /// If two logs hold the same entry, they agree up to there (§5.3). Entries with the same term
    /// and position must be equal, too.
    fn logs_match(&self, state: &State) -> bool {
        let facts = self.facts(state);
        let id = |number: u32| self.entries[number].id;
        let pairs = [(0, 1), (0, 2), (1, 2)];
        pairs.into_iter().all(|(one, two)| {
            let (one, two) = (&facts[one].log, &facts[two].log);
            let places = one.iter().zip(two.iter());
            let differs = |(a, b): (&u32, &u32)| a != b;
            let agree = places.clone().position(differs);
            let agree = agree.unwrap_or(one.len().min(two.len()));
            places.skip(agree).all(|(a, b)| id(*a) != id(*b))
        })
    }

    /// What was committed in an earlier term is in the log of every leader (§5.4).
    fn leaders_are_complete(&self, state: &State) -> bool {
        let history = self.history(state);
        self.facts(state).iter().filter(|facts| facts.leads).all(|leader| {
            let mut committed = history.committed.iter().enumerate();
            committed.all(|(place, (entry, term))| {
                *term >= leader.term || leader.log.get(place) == Some(entry)
            })
        })
    }

    fn committed(&self, state: &State, wanted: fn(&Entry, u64) -> bool) -> bool {
        let history = self.history(state);
        let mut committed = history.committed.iter();
        committed.any(|(entry, term)| wanted(&self.entries[*entry], *term))
    }

    fn may_act(&self, at: u8, alike: Alike) -> bool {
        match alike {
            Alike::All => at == 0,
            Alike::LastTwo => at < 2,
            Alike::None => true,
        }
    }

    /// What an action is, for people.
    fn describe(&self, action: Action) -> String {
        let at = node(action.at);
        let what = match action.step.kind {
            Kind::Timeout => "'s election timer fires".to_owned(),
            Kind::Beat => "'s heartbeat is due".to_owned(),
            Kind::Isolated => " has not heard anybody for long".to_owned(),
            Kind::Forget => " has not heard its leader for long".to_owned(),
            Kind::Receive(number) => {
                let envelope = &self.messages[number];
                format!(" gets from {}: {:?}", node(envelope.from), envelope.message)
            }
            Kind::Propose(command) => format!(" takes command {command}"),
            Kind::Change(target) => {
                let target = Bounds::membership(&self.bounds.targets[target as usize]);
                format!(" is asked for {target}")
            }
            Kind::Transfer(target) => format!(" is to hand over to {}", node(target)),
            Kind::Sync(which) => format!("'s write {which} is durable"),
            Kind::Crash(survive) => format!(" crashes, and {survive} writes survive"),
            Kind::Drain => " is drained".to_owned(),
        };
        let later = if action.step.drain { "" } else { ", and is drained later" };
        format!("{at}{what}{later}")
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.server == other.server
    }
}

impl Eq for Known {}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.server.hash(state);
    }
}

fn node(at: u8) -> NodeId {
    NodeId(u64::from(at) + 1)
}

impl Model for Servers {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let servers = founded(&self.bounds).map(|server| self.know(server));
        let Bounds { timeouts, heartbeats, commands, crashes, changes, transfers, .. } =
            self.bounds;
        let left = Left { timeouts, heartbeats, commands, crashes, changes, transfers };
        let alike = if self.bounds.are_alike() { Alike::All } else { Alike::None };
        vec![State {
            servers,
            mail: Vec::new(),
            history: self.histories.number(History::default()),
            left,
            alike,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let bounds = &self.bounds;
        let left = state.left;
        let facts = self.facts(state);
        let mut add = |at: u8, kind| {
            let undrained = facts[at as usize].undrained;
            let step = |drain| Step { kind, drain };
            actions.push(Action { at, step: step(true) });
            if bounds.late_drains && !undrained && !matches!(kind, Kind::Crash(_) | Kind::Drain) {
                actions.push(Action { at, step: step(false) });
            }
        };
        for at in (0..SERVERS as u8).filter(|at| self.may_act(*at, state.alike)) {
            let facts = &facts[at as usize];
            if facts.undrained {
                add(at, Kind::Drain);
            }
            if facts.may_stand && facts.term < bounds.last_term && left.timeouts > 0 {
                add(at, Kind::Timeout);
            }
            if bounds.check_quorum || bounds.pre_vote {
                add(at, Kind::Forget);
            }
            if facts.leads {
                if left.heartbeats > 0 {
                    add(at, Kind::Beat);
                }
                if bounds.check_quorum || bounds.transfers > 0 {
                    add(at, Kind::Isolated);
                }
                if left.commands > 0 {
                    add(at, Kind::Propose(left.commands));
                }
                if left.changes > 0 {
                    (0..bounds.targets.len())
                        .for_each(|target| add(at, Kind::Change(target as u8)));
                }
                if left.transfers > 0 {
                    (0..SERVERS as u8).for_each(|target| add(at, Kind::Transfer(target)));
                }
            }
            let syncs = match bounds.disk {
                Disk::Instant => 0,
                Disk::InOrder => facts.writes.min(1),
                Disk::AnyOrder => facts.writes,
            };
            (0..syncs).for_each(|which| add(at, Kind::Sync(which)));
            if left.crashes > 0 {
                (0..=facts.writes).for_each(|survive| add(at, Kind::Crash(survive)));
            }
        }
        for number in &state.mail {
            let to = self.messages[*number].to;
            if self.may_act(to, state.alike) {
                add(to, Kind::Receive(*number));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let at = action.at as usize;
        let server = last.servers[at];
        let taken = self.take(server, action.step)?;
        let is_known = |sent: &&u32| last.mail.binary_search(sent).is_ok();
        let says_news = taken.sent.iter().any(|sent| !is_known(&sent));
        let arrived = match action.step.kind {
            Kind::Receive(number) if self.bounds.network == Network::Once => Some(number),
            _ => None,
        };
        if taken.server == server && !says_news && arrived.is_none() {
            return None;
        }
        let mut next = last.clone();
        next.servers[at] = taken.server;
        next.alike = match (last.alike, at) {
            (Alike::All | Alike::LastTwo, 0) => Alike::LastTwo,
            _ => Alike::None,
        };
        match action.step.kind {
            Kind::Timeout if self.bounds.timeouts < u8::MAX => next.left.timeouts -= 1,
            Kind::Beat => next.left.heartbeats -= 1,
            Kind::Propose(_) => next.left.commands -= 1,
            Kind::Crash(_) => next.left.crashes -= 1,
            Kind::Change(_) => next.left.changes -= 1,
            Kind::Transfer(_) => next.left.transfers -= 1,
            _ => {}
        }
        next.mail.retain(|number| Some(*number) != arrived);
        next.mail.extend(&taken.sent);
        next.mail.sort_unstable();
        next.mail.dedup();
        let facts = self.facts(&next);
        if self.bounds.keeps_rules() {
            next.mail.retain(|number| !self.is_void(*number, &facts));
        }
        if taken.server == server && taken.applied.is_empty() {
            return Some(next);
        }
        let before = &self.servers[server].facts;
        let after = facts[at];
        let known = self.history(last);
        let mut history = known.clone();
        let is_crash = matches!(action.step.kind, Kind::Crash(_));
        let is_durable = |node: u64, place: usize| {
            let log = &facts[node as usize - 1].durable_log;
            log.get(place) == after.log.get(place)
        };
        history.note(at, before, after, !is_crash, is_durable);
        let is_committed = |number: &u32| {
            let place = self.entries[*number].id.index.previous().0;
            let committed = history.committed.get(place as usize);
            committed.is_some_and(|(entry, _)| entry == number)
        };
        if history.fault.is_none() && !taken.applied.iter().all(is_committed) {
            history.fault = Some(Fault::StateMachineSafety);
        }
        if history != *known {
            next.history = self.histories.number(history);
        }
        Some(next)
    }

    fn format_action(&self, action: &Action) -> String {
        self.describe(*action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("election safety", |model: &Self, state| {
                model.no_fault(state, Fault::ElectionSafety)
            }),
            Property::always("leader append-only", |model: &Self, state| {
                model.no_fault(state, Fault::LeaderAppendOnly)
            }),
            Property::always("log matching", |model: &Self, state| model.logs_match(state)),
            Property::always("leader completeness", |model: &Self, state| {
                model.leaders_are_complete(state)
            }),
            Property::always("state machine safety", |model: &Self, state| {
                model.no_fault(state, Fault::StateMachineSafety)
            }),
            Property::always("durable commit", |model: &Self, state| {
                model.no_fault(state, Fault::DurableCommit)
            }),
            Property::always("terms and commit indexes grow", |model: &Self, state| {
                model.no_fault(state, Fault::Monotony)
            }),
            Property::always("no server meets a contradiction", |model: &Self, state| {
                model.no_fault(state, Fault::Contradiction)
            }),
            Property::sometimes("a leader is elected", |model: &Self, state| {
                model.facts(state).iter().any(|facts| facts.leads)
            }),
            Property::sometimes("an entry is committed", |model: &Self, state| {
                model.committed(state, |_, _| true)
            }),
        ];
        if self.bounds.commands > 0 {
            properties
                .push(Property::sometimes("a command is committed", |model: &Self, state| {
                    model.committed(state, |entry, _| is_command(entry))
                }));
        }
        if self.bounds.last_term > 1 {
            properties.push(Property::sometimes(
                "an entry is committed in a later term than its own",
                |model: &Self, state| model.committed(state, |entry, term| entry.id.term.0 < term),
            ));
        }
        if self.bounds.terms() > 1 {
            properties.push(Property::sometimes(
                "two servers lead at once",
                |model: &Self, state| {
                    let facts = model.facts(state);
                    facts.iter().filter(|facts| facts.leads).count() > 1
                },
            ));
        }
        if self.bounds.changes > 0 {
            properties.push(Property::sometimes("a change is completed", |model: &Self, state| {
                model.committed(state, |entry, _| ends_change(entry))
            }));
        }
        properties
    }
}
