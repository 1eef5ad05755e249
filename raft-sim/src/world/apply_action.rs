//! What is done to a world.

use std::fmt;

use raft_core::{NodeId, Role};

use crate::network::HELD;
use crate::node::Node;
use crate::story::{EventKind, Trigger};
use crate::util::units::{duration, parts_per_million, per_mille, range};
use crate::world::action::Action;
use crate::world::config::{PER_MILLE, TIME_MAX};
use crate::world::{Event, World};

/// Why an [`Action`] was refused. The world is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ActionError {
    /// There is no such node.
    NoSuchNode(u64),
    /// There is no such message on its way.
    NoSuchMessage(u64),
    /// A link joins two different nodes.
    NoSuchLink(u64, u64),
    /// There is no such entry on the disk of this node.
    NoSuchEntry(u64),
    /// The range ends before it begins.
    EmptyRange,
    /// A time is longer than a world can last.
    TooLong,
    /// There are no more than 1000 of a thousand.
    MoreThanAll,
    /// The node does not run.
    NotRunning(u64),
    /// The node runs already.
    Running(u64),
    /// There is nothing new to take a snapshot of, or no room for it on the node's disk.
    NothingToSnapshot(u64),
    /// An invariant is violated, and the world has ended.
    Ended,
    /// No invariant is violated, so the world has not ended.
    NotEnded,
}

impl World {
    /// Does something to the world, now.
    ///
    /// # Errors
    ///
    /// [`ActionError`], if that makes no sense in this world.
    pub fn act(&mut self, action: &Action) -> Result<(), ActionError> {
        match (action, self.has_ended()) {
            (Action::GoOn, true) => return self.go_on(),
            (Action::GoOn, false) => return Err(ActionError::NotEnded),
            (_, true) => return Err(ActionError::Ended),
            (_, false) => {}
        }
        action.check(&self.config)?;
        // Who leads may have ended when it is done.
        let disturbed = self.is_disturbed_by(action);
        self.story.begin(self.now, None, Trigger::Action, 0);
        self.apply_action(action)?;
        self.reset(disturbed);
        self.note_lanes();
        Ok(())
    }

    /// Continues after a violation. Later violations do not stop the world, because most invariants
    /// rely on each other.
    fn go_on(&mut self) -> Result<(), ActionError> {
        self.goes_on = true;
        self.log_cluster("The run goes on; later violations do not stop it".into());
        Ok(())
    }

    /// Records that an action of a script had no effect.
    pub(crate) fn tell_refused(&mut self, number: usize, error: ActionError) {
        self.log_cluster(format!("Action {number} of this run has no effect: {error}"));
    }

    fn apply_action(&mut self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::Crash { node } => self.crash(*node),
            Action::PowerCut => {
                for node in 1..=self.config.nodes {
                    if self.node(node).and_then(Node::running).is_some() {
                        self.crash(node)?;
                    }
                }
                Ok(())
            }
            Action::Restart { node } => self.restart(*node),
            Action::Pause { node } => self.pause(*node),
            Action::Resume { node } => self.resume(*node),
            Action::FireTimer { node } => self.fire_timer(*node),
            Action::SetClock { node, drift } => {
                let now = self.now;
                self.require_node(*node)?.clock.set_drift(now, *drift);
                self.promises.clock_set(*drift);
                self.set_timer(*node);
                self.log_node(*node, &clock_speed(*drift));
                Ok(())
            }
            Action::JumpClock { node, by } => {
                let now = self.now;
                let clock = &mut self.require_node(*node)?.clock;
                let then = raft_core::Instant(clock.read(now).0.saturating_add(*by));
                clock.jump_to(now, then);
                self.promises.clock_jumped(*by);
                self.set_timer(*node);
                self.log_node(
                    *node,
                    &format!("has a clock that jumps forward by {}", duration(*by)),
                );
                Ok(())
            }
            Action::ChangeMembership { .. } => {
                if let Some(target) = action.membership(&self.config) {
                    self.log_cluster(format!("A membership change is requested: {target}"));
                    self.request_from_leaders(|raft, now| {
                        raft.change_membership(target.clone(), now)
                            .err()
                            .map(|error| error.to_string())
                    });
                }
                Ok(())
            }
            Action::AlignTimers | Action::SpreadTimers => {
                self.arrange_timers(*action == Action::SpreadTimers);
                Ok(())
            }
            Action::TakeSnapshot { node } => self.take_snapshot(*node),
            Action::Transfer { to } => {
                self.log_cluster(format!("A leadership transfer to n{to} is requested"));
                self.request_from_leaders(|raft, now| {
                    raft.transfer_leadership(Some(NodeId(*to)), now)
                        .err()
                        .map(|error| error.to_string())
                });
                Ok(())
            }
            Action::Request { via, request } => {
                self.ask(None, *via, request.clone());
                Ok(())
            }
            Action::StopClients => {
                self.clients.stopped = true;
                Ok(())
            }
            Action::FailDisk { .. }
            | Action::SetSyncLatency { .. }
            | Action::WipeDisk { .. }
            | Action::DestroyDisk { .. }
            | Action::CorruptEntry { .. }
            | Action::MisdirectWrite { .. }
            | Action::FillDisk { .. }
            | Action::FreeDisk { .. } => self.apply_disk_action(action),
            _ => self.apply_network_action(action),
        }
    }

    fn apply_network_action(&mut self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::CutLink { from, to } => {
                self.network.cut(*from, *to);
                self.log_cluster(format!("The link from n{from} to n{to} is cut"));
            }
            Action::HealLink { from, to } => {
                self.network.heal(*from, *to);
                self.log_cluster(format!("The link from n{from} to n{to} is healed"));
            }
            Action::Isolate { node } => {
                self.network.isolate(*node);
                self.log_node(*node, "is cut off from all others");
            }
            Action::Reconnect { node } => {
                self.network.reconnect(*node);
                self.log_node(*node, "is reconnected");
            }
            Action::Partition { groups } => {
                self.network.partition(self.config.nodes, groups);
                let side = |group: &Vec<u64>| {
                    let names: Vec<_> = group.iter().map(|node| format!("n{node}")).collect();
                    names.join(", ")
                };
                let sides: Vec<_> = groups.iter().map(side).collect();
                self.log_cluster(format!("The network is partitioned: {}", sides.join(" | ")));
            }
            Action::HealNetwork => {
                self.network.heal_all();
                self.log_cluster("All links are healed".into());
            }
            Action::SetNetwork { latency, loss_per_mille, duplicate_per_mille } => {
                self.network.latency = *latency;
                self.network.loss_per_mille = *loss_per_mille;
                self.network.duplicate_per_mille = *duplicate_per_mille;
                self.log_cluster(format!(
                    "Messages take {}; {} are lost",
                    range(*latency),
                    per_mille(*loss_per_mille)
                ));
            }
            Action::SetLatency { from, to, latency } => {
                self.network.set_latency(*from, *to, *latency);
                self.log_cluster(format!(
                    "Messages from n{from} to n{to} take {}",
                    range(*latency)
                ));
            }
            Action::DropMessage { message } => {
                let dropped = self.network.drop_message(*message, self.now);
                let flight = dropped.ok_or(ActionError::NoSuchMessage(*message))?;
                self.story.lost(*message, self.now);
                self.log_cluster(format!(
                    "A message from n{} to n{} is dropped",
                    flight.from, flight.to
                ));
            }
            Action::DeliverMessage { message } => self.deliver(*message, self.now)?,
            Action::DelayMessage { message, by } => {
                let flight = self.network.in_flight.get(*message);
                let flight = flight.filter(|flight| flight.arrives_at != HELD);
                let flight = flight.ok_or(ActionError::NoSuchMessage(*message))?;
                self.deliver(*message, flight.arrives_at + by)?;
            }
            Action::HoldMessages => {
                for message in self.network.hold() {
                    self.story.moved(message, HELD);
                }
                self.log_cluster("All messages between servers are held back".into());
            }
            Action::ReleaseMessages => {
                for (message, at) in self.network.release(self.now, &mut self.random) {
                    self.story.moved(message, at);
                    self.schedule(at, Event::MessageArrives(message));
                }
                self.log_cluster("Messages are held back no more".into());
            }
            Action::SetLoss { from, to, loss_per_mille } => {
                self.network.set_loss(*from, *to, *loss_per_mille);
                let share = per_mille(*loss_per_mille);
                self.log_cluster(format!("{share} of the messages from n{from} to n{to} are lost"));
            }
            Action::DuplicateMessage { message } => {
                let copy = self.network.duplicate_message(*message, self.now, &mut self.random);
                let (at, copy) = copy.ok_or(ActionError::NoSuchMessage(*message))?;
                self.schedule(at, Event::MessageArrives(copy));
                self.record_flights(copy);
                self.log_cluster("A message is duplicated".into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Moves the arrival of a message.
    fn deliver(&mut self, message: u64, at: u64) -> Result<(), ActionError> {
        let flight = self.network.in_flight.get(message);
        let (from, to) = flight
            .map(|flight| (flight.from, flight.to))
            .ok_or(ActionError::NoSuchMessage(message))?;
        self.network.reschedule(message, at);
        self.story.moved(message, at);
        self.schedule(at, Event::MessageArrives(message));
        self.log_cluster(match at == self.now {
            true => format!("A message from n{from} to n{to} is delivered by hand"),
            false => format!("A message from n{from} to n{to} is delayed"),
        });
        Ok(())
    }

    /// Lets the election timers fire together, at the moment of the earliest, or at equal distances
    /// after it. Clocks jump forward only, so no timer fires later than it would have.
    fn arrange_timers(&mut self, apart: bool) {
        let mut timers: Vec<_> = (1..=self.config.nodes)
            .filter(|node| {
                self.node(*node).and_then(Node::running).is_some_and(|it| it.paused.is_none())
            })
            .filter_map(|node| Some((self.election_timer(node)?.1, node)))
            .collect();
        timers.sort_unstable();
        let Some((first, _)) = timers.first().copied() else {
            return;
        };
        let distances =
            (1..).zip(timers.iter().skip(1)).map(|(place, (at, _))| (at - first) / place);
        let distance = if apart { distances.min().unwrap_or(0) } else { 0 };
        for (place, (at, node)) in (0..).zip(timers) {
            let by = at.saturating_sub(first + place * distance);
            let now = self.now;
            if let Some(it) = self.node_mut(node).filter(|_| by > 0) {
                let then = raft_core::Instant(it.clock.read(now).0.saturating_add(by));
                it.clock.jump_to(now, then);
                self.promises.clock_jumped(by);
                self.set_timer(node);
            }
        }
        self.log_cluster(match apart {
            true => "The election timers are spread".into(),
            false => "The election timers are aligned".into(),
        });
    }

    /// Asks every server that leads, or believes so, and tells why it refuses.
    fn request_from_leaders(
        &mut self,
        ask: impl Fn(&mut raft_core::Raft, raft_core::Instant) -> Option<String>,
    ) {
        for id in 1..=self.config.nodes {
            let mut refusal = None;
            self.with_running(id, |running, now| {
                if running.raft.role() == Role::Leader {
                    refusal = ask(&mut running.raft, now);
                }
            });
            if let Some(refusal) = refusal {
                self.log_node(id, &format!("refuses: {refusal}"));
            }
            self.settle(id);
        }
    }

    pub(crate) fn require_node(&mut self, node: u64) -> Result<&mut Node, ActionError> {
        self.node_mut(node).ok_or(ActionError::NoSuchNode(node))
    }

    pub(crate) fn crash(&mut self, id: u64) -> Result<(), ActionError> {
        self.require_node(id)?;
        let Some(node) = self.nodes.get_mut(id as usize - 1) else {
            return Ok(());
        };
        if node.running().is_none() {
            return Err(ActionError::NotRunning(id));
        }
        node.crash(None, &mut self.random);
        self.set_timer(id);
        self.log_node(id, "crashes; what was not on its disk is lost");
        Ok(())
    }

    fn pause(&mut self, id: u64) -> Result<(), ActionError> {
        let running = self.require_node(id)?.running_mut().ok_or(ActionError::NotRunning(id))?;
        running.paused.get_or_insert_default();
        self.set_timer(id);
        self.log_node(id, "is paused; its memory stays");
        Ok(())
    }

    fn resume(&mut self, id: u64) -> Result<(), ActionError> {
        let running = self.require_node(id)?.running_mut().ok_or(ActionError::NotRunning(id))?;
        let waiting = running.paused.take().unwrap_or_default();
        self.log_node(id, "is resumed");
        self.report_disk_space(id);
        for arrival in waiting {
            self.arrive(id, arrival);
        }
        self.settle(id);
        Ok(())
    }

    fn fire_timer(&mut self, id: u64) -> Result<(), ActionError> {
        let now = self.now;
        let node = self.require_node(id)?;
        let running = node.awake_mut().ok_or(ActionError::NotRunning(id))?;
        let leads = running.raft.role() == Role::Leader;
        if let Some(deadline) = running.raft.deadline() {
            let by = deadline.0.saturating_sub(node.clock.read(now).0);
            node.clock.jump_to(now, deadline);
            self.promises.clock_jumped(by);
        }
        let timer = if leads { "heartbeat" } else { "election" };
        self.story.record(now, Some(id), EventKind::Fault, || {
            format!("n{id}'s {timer} timer is fired by hand")
        });
        self.with_running(id, |running, now| running.raft.tick(now));
        self.settle(id);
        Ok(())
    }

    pub(crate) fn log_node(&mut self, node: u64, text: &str) {
        self.story.record(self.now, Some(node), EventKind::Fault, || format!("n{node} {text}"));
    }

    fn log_cluster(&mut self, text: String) {
        self.story.record(self.now, None, EventKind::Fault, || text);
    }
}

/// How a clock runs that gains or loses so many parts per million.
fn clock_speed(drift: i32) -> String {
    let share = parts_per_million(drift.unsigned_abs());
    match drift {
        0 => "has a clock that runs at the right speed".into(),
        1.. => format!("has a clock that runs {share} fast"),
        _ => format!("has a clock that runs {share} slow"),
    }
}

impl fmt::Display for ActionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode(node) => write!(f, "there is no node {node}"),
            Self::NoSuchMessage(id) => write!(f, "message {id} is not in flight"),
            Self::NoSuchLink(from, to) => write!(f, "there is no link from {from} to {to}"),
            Self::NoSuchEntry(node) => write!(f, "the disk of node {node} has no such entry"),
            Self::EmptyRange => f.write_str("the range ends before it begins"),
            Self::TooLong => write!(f, "no time is longer than {}", duration(TIME_MAX)),
            Self::MoreThanAll => write!(f, "there are {PER_MILLE} of a thousand at most"),
            Self::NotRunning(node) => write!(f, "n{node} is not running"),
            Self::Running(node) => write!(f, "n{node} is running already"),
            Self::NothingToSnapshot(node) => {
                write!(f, "n{node} has applied nothing since its snapshot, or its disk is full")
            }
            Self::Ended => f.write_str(
                "an invariant is violated and time has stopped; go back in time, or go on",
            ),
            Self::NotEnded => {
                f.write_str("no invariant is violated; there is nothing to go on from")
            }
        }
    }
}

impl std::error::Error for ActionError {}
