//! The model: all servers, the in-flight messages, and the possible steps.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use raft_core::{Entry, Message, NodeId};
use stateright::{Model, Property};

use crate::bounds::{Bounds, Disk, Network, SERVERS};
use crate::interner::Interner;
use crate::observation::{Fault, History, Observation, ends_change, is_command};
use crate::server::{Input, Outcome, Server, founded};

/// A model of servers within [`Bounds`]. It stores all distinct values, so each check needs its
/// own.
pub struct Servers {
    pub(crate) bounds: Bounds,
    servers: Interner<KnownServer>,
    messages: Interner<Envelope>,
    entries: Interner<Entry>,
    histories: Interner<History>,
    transitions: Interner<Transition>,
}

/// A distinct server, with its observation and its known transitions.
struct KnownServer {
    server: Server,
    observed: Observation,
    /// The transition of each step. `None` if the step is rejected or leads beyond the bounds.
    transitions: RwLock<HashMap<Step, Option<u32>>>,
}

/// A message with the indexes of its sender and receiver.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Envelope {
    from: u8,
    to: u8,
    message: Message,
}

/// The result of a step.
#[derive(PartialEq, Eq, Hash)]
struct Transition {
    server: u32,
    sent: Box<[u32]>,
    applied: Box<[u32]>,
}

/// A state of the cluster. Numbers refer to the interners of [`Servers`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    servers: [u32; SERVERS],
    /// In ascending order.
    in_flight: Vec<u32>,
    history: u32,
    remaining: Remaining,
    symmetry: Symmetry,
}

/// The remaining numbers of bounded events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Remaining {
    timeouts: u8,
    heartbeats: u8,
    commands: u8,
    crashes: u8,
    changes: u8,
    transfers: u8,
}

/// The servers that differ only in their names. Of these, only the first one needs to act.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Symmetry {
    All,
    LastTwo,
    None,
}

/// A step of one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    at: u8,
    step: Step,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Step {
    kind: Kind,
    /// True if the server is drained at once.
    drain: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Kind {
    Timeout,
    Heartbeat,
    Isolated,
    LeaderSilent,
    Receive(u32),
    Propose(u8),
    Change(u8),
    Transfer(u8),
    Sync(u8),
    Crash(u8),
    Drain,
}

impl Servers {
    /// A model without any explored state.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            servers: Interner::new(),
            messages: Interner::new(),
            entries: Interner::new(),
            histories: Interner::new(),
            transitions: Interner::new(),
        }
    }

    /// The numbers of distinct servers and messages.
    pub fn distinct(&self) -> (usize, usize) {
        (self.servers.len(), self.messages.len())
    }

    /// Interns a server.
    fn know(&self, server: Server) -> u32 {
        self.servers.intern(KnownServer {
            observed: Observation::of(&server, &self.entries),
            server,
            transitions: RwLock::default(),
        })
    }

    fn observed(&self, state: &State) -> [&Observation; SERVERS] {
        state.servers.map(|server| &self.servers[server].observed)
    }

    fn input(&self, kind: Kind) -> Input {
        match kind {
            Kind::Timeout => Input::Timeout,
            Kind::Heartbeat => Input::Heartbeat,
            Kind::Isolated => Input::Isolated,
            Kind::LeaderSilent => Input::LeaderSilent,
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

    /// The transition of a step. Returns `None` if the step is rejected or leads beyond the bounds.
    fn transition(&self, server: u32, step: Step) -> Option<&Transition> {
        let known = &self.servers[server];
        let transitions = known.transitions.read().unwrap_or_else(PoisonError::into_inner);
        let found = transitions.get(&step).copied();
        drop(transitions);
        let transition = found.unwrap_or_else(|| {
            let computed = self.compute(&known.server, step);
            let number = computed.map(|transition| self.transitions.intern(transition));
            let mut transitions = known.transitions.write().unwrap_or_else(PoisonError::into_inner);
            transitions.insert(step, number);
            number
        });
        transition.map(|number| &self.transitions[number])
    }

    fn compute(&self, before: &Server, step: Step) -> Option<Transition> {
        let from = before.raft.id().0 as u8 - 1;
        let outcome = before.step(&self.bounds, self.input(step.kind), step.drain)?;
        let Outcome { server, sent, applied } = outcome;
        if server.raft.term().0 > self.bounds.last_term {
            return None;
        }
        let envelope = |(to, message): (NodeId, Message)| {
            let to = to.0 as u8 - 1;
            self.messages.intern(Envelope { from, to, message })
        };
        let number = |entry| self.entries.intern(entry);
        Some(Transition {
            server: self.know(server),
            sent: sent.into_iter().map(envelope).collect(),
            applied: applied.into_iter().map(number).collect(),
        })
    }

    /// Returns true if a message can have no effect: it responds to a term that its receiver has
    /// durably left.
    fn is_void(&self, number: u32, observed: &[&Observation; SERVERS]) -> bool {
        let Envelope { to, message, .. } = &self.messages[number];
        let durable_term = observed[*to as usize].durable_term;
        let term = match message {
            Message::PreVoteResponse(response) => response.campaign_term.max(response.term),
            Message::RequestVoteResponse(response) => response.term,
            Message::AppendEntriesResponse(response) => response.term,
            // In its own term, this response only shows that the follower is alive. The model
            // decides that nondeterministically.
            Message::HeartbeatResponse(response) => return response.term.0 <= durable_term,
            Message::TimeoutNow(request) => request.term,
            _ => return false,
        };
        term.0 < durable_term
    }

    fn history(&self, state: &State) -> &History {
        &self.histories[state.history]
    }

    /// The history after a step. `observed` are the servers after the step.
    fn next_history(
        &self,
        last: &State,
        action: Action,
        taken: &Transition,
        observed: &[&Observation; SERVERS],
    ) -> History {
        let at = action.at as usize;
        let before = &self.servers[last.servers[at]].observed;
        let after = observed[at];
        let mut history = self.history(last).clone();
        let is_crash = matches!(action.step.kind, Kind::Crash(_));
        let is_durable = |node: u64, index: usize| {
            let log = &observed[node as usize - 1].durable_log;
            log.get(index) == after.log.get(index)
        };
        history.record(at, before, after, !is_crash, is_durable);
        let is_committed = |number: &u32| {
            let index = self.entries[*number].id.index.previous().0;
            let committed = history.committed.get(index as usize);
            committed.is_some_and(|(entry, _)| entry == number)
        };
        if history.fault.is_none() && !taken.applied.iter().all(is_committed) {
            history.fault = Some(Fault::StateMachineSafety);
        }
        history
    }

    fn no_fault(&self, state: &State, fault: Fault) -> bool {
        self.history(state).fault != Some(fault)
    }

    /// Log matching: two logs with the same entry agree up to this entry (§5.3). Entries with the
    /// same term and index must be equal.
    fn logs_match(&self, state: &State) -> bool {
        let observed = self.observed(state);
        let id = |number: u32| self.entries[number].id;
        let pairs = [(0, 1), (0, 2), (1, 2)];
        pairs.into_iter().all(|(one, two)| {
            let (one, two) = (&observed[one].log, &observed[two].log);
            let pairs = one.iter().zip(two.iter());
            let differs = |(a, b): (&u32, &u32)| a != b;
            let agree = pairs.clone().position(differs);
            let agree = agree.unwrap_or(one.len().min(two.len()));
            pairs.skip(agree).all(|(a, b)| id(*a) != id(*b))
        })
    }

    /// Leader completeness: entries committed in an earlier term are in the log of every leader
    /// (§5.4).
    fn leaders_are_complete(&self, state: &State) -> bool {
        let history = self.history(state);
        self.observed(state).iter().filter(|observed| observed.leads).all(|leader| {
            let mut committed = history.committed.iter().enumerate();
            committed.all(|(index, (entry, term))| {
                *term >= leader.term || leader.log.get(index) == Some(entry)
            })
        })
    }

    fn committed(&self, state: &State, wanted: fn(&Entry, u64) -> bool) -> bool {
        let history = self.history(state);
        let mut committed = history.committed.iter();
        committed.any(|(entry, term)| wanted(&self.entries[*entry], *term))
    }

    /// Returns true if a server may act, or if an equal server acts in its place.
    fn may_act(&self, at: u8, symmetry: Symmetry) -> bool {
        match symmetry {
            Symmetry::All => at == 0,
            Symmetry::LastTwo => at < 2,
            Symmetry::None => true,
        }
    }

    /// The description of a step.
    fn describe(&self, action: Action) -> String {
        let at = node(action.at);
        let what = match action.step.kind {
            Kind::Timeout => "'s election timer fires".to_owned(),
            Kind::Heartbeat => "'s heartbeat is due".to_owned(),
            Kind::Isolated => " has no contact to its followers".to_owned(),
            Kind::LeaderSilent => "'s leader is silent".to_owned(),
            Kind::Receive(number) => {
                let envelope = &self.messages[number];
                format!(" receives from {}: {:?}", node(envelope.from), envelope.message)
            }
            Kind::Propose(command) => format!(" receives command {command}"),
            Kind::Change(target) => {
                let target = Bounds::membership(&self.bounds.targets[target as usize]);
                format!(" is requested to change to {target}")
            }
            Kind::Transfer(target) => {
                format!(" is requested to transfer its leadership to {}", node(target))
            }
            Kind::Sync(which) => format!("'s write {which} is durable"),
            Kind::Crash(survive) => format!(" crashes; {survive} pending writes survive"),
            Kind::Drain => " is drained".to_owned(),
        };
        let later = if action.step.drain { "" } else { ", and is drained later" };
        format!("{at}{what}{later}")
    }
}

impl Remaining {
    /// Subtracts a bounded event.
    fn consume(&mut self, kind: Kind, bounds: &Bounds) {
        match kind {
            Kind::Timeout if bounds.timeouts < u8::MAX => self.timeouts -= 1,
            Kind::Heartbeat => self.heartbeats -= 1,
            Kind::Propose(_) => self.commands -= 1,
            Kind::Crash(_) => self.crashes -= 1,
            Kind::Change(_) => self.changes -= 1,
            Kind::Transfer(_) => self.transfers -= 1,
            _ => {}
        }
    }
}

impl PartialEq for KnownServer {
    fn eq(&self, other: &Self) -> bool {
        self.server == other.server
    }
}

impl Eq for KnownServer {}

impl Hash for KnownServer {
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
        let remaining = Remaining { timeouts, heartbeats, commands, crashes, changes, transfers };
        let symmetry = if self.bounds.are_symmetric() { Symmetry::All } else { Symmetry::None };
        vec![State {
            servers,
            in_flight: Vec::new(),
            history: self.histories.intern(History::default()),
            remaining,
            symmetry,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let bounds = &self.bounds;
        let remaining = state.remaining;
        let observed = self.observed(state);
        let mut add = |at: u8, kind| {
            let undrained = observed[at as usize].undrained;
            let step = |drain| Step { kind, drain };
            actions.push(Action { at, step: step(true) });
            if bounds.late_drains && !undrained && !matches!(kind, Kind::Crash(_) | Kind::Drain) {
                actions.push(Action { at, step: step(false) });
            }
        };
        for at in (0..SERVERS as u8).filter(|at| self.may_act(*at, state.symmetry)) {
            let observed = &observed[at as usize];
            if observed.undrained {
                add(at, Kind::Drain);
            }
            if observed.may_campaign && observed.term < bounds.last_term && remaining.timeouts > 0 {
                add(at, Kind::Timeout);
            }
            if bounds.check_quorum || bounds.pre_vote {
                add(at, Kind::LeaderSilent);
            }
            if observed.leads {
                if remaining.heartbeats > 0 {
                    add(at, Kind::Heartbeat);
                }
                if bounds.check_quorum || bounds.transfers > 0 {
                    add(at, Kind::Isolated);
                }
                if remaining.commands > 0 {
                    add(at, Kind::Propose(remaining.commands));
                }
                if remaining.changes > 0 {
                    (0..bounds.targets.len())
                        .for_each(|target| add(at, Kind::Change(target as u8)));
                }
                if remaining.transfers > 0 {
                    (0..SERVERS as u8).for_each(|target| add(at, Kind::Transfer(target)));
                }
            }
            let syncs = match bounds.disk {
                Disk::Instant => 0,
                Disk::InOrder => observed.writes.min(1),
                Disk::AnyOrder => observed.writes,
            };
            (0..syncs).for_each(|which| add(at, Kind::Sync(which)));
            if remaining.crashes > 0 {
                (0..=observed.writes).for_each(|survive| add(at, Kind::Crash(survive)));
            }
        }
        for number in &state.in_flight {
            let to = self.messages[*number].to;
            if self.may_act(to, state.symmetry) {
                add(to, Kind::Receive(*number));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let at = action.at as usize;
        let server = last.servers[at];
        let taken = self.transition(server, action.step)?;
        let is_in_flight = |sent: &&u32| last.in_flight.binary_search(sent).is_ok();
        let sends_new = taken.sent.iter().any(|sent| !is_in_flight(&sent));
        let arrived = match action.step.kind {
            Kind::Receive(number) if self.bounds.network == Network::Once => Some(number),
            _ => None,
        };
        if taken.server == server && !sends_new && arrived.is_none() {
            return None;
        }
        let mut next = last.clone();
        next.servers[at] = taken.server;
        next.symmetry = match (last.symmetry, at) {
            (Symmetry::All | Symmetry::LastTwo, 0) => Symmetry::LastTwo,
            _ => Symmetry::None,
        };
        next.remaining.consume(action.step.kind, &self.bounds);
        next.in_flight.retain(|number| Some(*number) != arrived);
        next.in_flight.extend(&taken.sent);
        next.in_flight.sort_unstable();
        next.in_flight.dedup();
        let observed = self.observed(&next);
        if self.bounds.enforces_all_rules() {
            next.in_flight.retain(|number| !self.is_void(*number, &observed));
        }
        if taken.server == server && taken.applied.is_empty() {
            return Some(next);
        }
        let history = self.next_history(last, action, taken, &observed);
        if history != *self.history(last) {
            next.history = self.histories.intern(history);
        }
        Some(next)
    }

    fn format_action(&self, action: &Action) -> String {
        self.describe(*action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = safety_properties();
        properties.extend(required_states(&self.bounds));
        properties
    }
}

/// The properties that hold in every state.
fn safety_properties() -> Vec<Property<Servers>> {
    vec![
        Property::always("election safety", |model: &Servers, state| {
            model.no_fault(state, Fault::ElectionSafety)
        }),
        Property::always("leader append-only", |model: &Servers, state| {
            model.no_fault(state, Fault::LeaderAppendOnly)
        }),
        Property::always("log matching", |model: &Servers, state| model.logs_match(state)),
        Property::always("leader completeness", |model: &Servers, state| {
            model.leaders_are_complete(state)
        }),
        Property::always("state machine safety", |model: &Servers, state| {
            model.no_fault(state, Fault::StateMachineSafety)
        }),
        Property::always("durable commit", |model: &Servers, state| {
            model.no_fault(state, Fault::DurableCommit)
        }),
        Property::always("terms and commit indexes do not decrease", |model: &Servers, state| {
            model.no_fault(state, Fault::Monotonicity)
        }),
        Property::always("no server stops because of a contradiction", |model: &Servers, state| {
            model.no_fault(state, Fault::Contradiction)
        }),
    ]
}

/// The states that a model must reach, so that its result is not vacuous.
fn required_states(bounds: &Bounds) -> Vec<Property<Servers>> {
    let mut properties = vec![
        Property::sometimes("a leader is elected", |model: &Servers, state| {
            model.observed(state).iter().any(|observed| observed.leads)
        }),
        Property::sometimes("an entry is committed", |model: &Servers, state| {
            model.committed(state, |_, _| true)
        }),
    ];
    if bounds.commands > 0 {
        properties.push(Property::sometimes("a command is committed", |model: &Servers, state| {
            model.committed(state, |entry, _| is_command(entry))
        }));
    }
    if bounds.last_term > 1 {
        properties.push(Property::sometimes(
            "an entry is committed in a later term than its own",
            |model: &Servers, state| model.committed(state, |entry, term| entry.id.term.0 < term),
        ));
    }
    if bounds.terms() > 1 {
        properties.push(Property::sometimes(
            "two servers lead at once in different terms",
            |model: &Servers, state| {
                let observed = model.observed(state);
                observed.iter().filter(|observed| observed.leads).count() > 1
            },
        ));
    }
    if bounds.changes > 0 {
        properties.push(Property::sometimes(
            "a membership change is completed",
            |model: &Servers, state| model.committed(state, |entry, _| ends_change(entry)),
        ));
    }
    properties
}
