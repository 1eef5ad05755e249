//! Applying actions to a world.

use std::fmt;

use raft_core::{Instant, NodeId, Raft, Role};

use crate::check::liveness::Disturbance;
use crate::cluster::Cluster;
use crate::cluster::queue::Event;
use crate::network::HELD;
use crate::node::Node;
use crate::story::{EventKind, Trigger};
use crate::util::units::{duration, parts_per_million, per_mille};
use crate::world::World;
use crate::world::action::{Action, ActionCategory};
use crate::world::config::{PER_MILLE, TIME_MAX};

/// Why an [`Action`] was refused. The world is unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ActionError {
    /// The server does not exist.
    NoSuchNode(u64),
    /// The message is not in flight.
    NoSuchMessage(u64),
    /// A link connects two different servers.
    NoSuchLink(u64, u64),
    /// The disk of this server does not have the entry.
    NoSuchEntry(u64),
    /// The minimum of a range is larger than its maximum.
    EmptyRange,
    /// A time exceeds the limit.
    TooLong,
    /// A share exceeds 1000 per mille.
    MoreThanAll,
    /// The process does not run or is paused.
    NotRunning(u64),
    /// The process runs already.
    Running(u64),
    /// The server has applied nothing since its latest snapshot, or its disk is full.
    NothingToSnapshot(u64),
    /// An invariant is violated, and the run has ended.
    Ended,
    /// No invariant is violated, so the run has not ended.
    NotEnded,
}

impl World {
    /// Applies an action now.
    ///
    /// # Errors
    ///
    /// [`ActionError`] if the action is not possible in this world.
    pub fn act(&mut self, action: &Action) -> Result<(), ActionError> {
        match (action, self.has_ended()) {
            (Action::GoOn, true) => return self.go_on(),
            (Action::GoOn, false) => return Err(ActionError::NotEnded),
            (_, true) => return Err(ActionError::Ended),
            (_, false) => {}
        }
        action.check(&self.config)?;
        // The action may end the process of the leader.
        let disturbance = self.disturbance_by(action);
        self.begin(None, Trigger::Action, 0);
        self.apply_action(action)?;
        self.disturb(disturbance);
        self.record_lanes();
        Ok(())
    }

    /// Continues after a violation.
    fn go_on(&mut self) -> Result<(), ActionError> {
        self.observers.violations.ignore();
        self.log_cluster("The run continues; later violations do not stop it".into());
        Ok(())
    }

    /// Records in the event log that an action of a script had no effect.
    pub(crate) fn tell_refused(&mut self, number: usize, error: ActionError) {
        self.log_cluster(format!("Action {number} of this run has no effect: {error}"));
    }

    fn apply_action(&mut self, action: &Action) -> Result<(), ActionError> {
        match action.category() {
            ActionCategory::Process => self.apply_process_action(action),
            ActionCategory::Clock => self.apply_clock_action(action),
            ActionCategory::Disk => self.apply_disk_action(action),
            ActionCategory::Network => self.apply_network_action(action),
            ActionCategory::Membership => {
                self.apply_membership_action(action);
                Ok(())
            }
            ActionCategory::Client => {
                match action {
                    Action::Request { via, request } => self.start_request(*via, request.clone()),
                    _ => self.workloads.stop(),
                }
                Ok(())
            }
            ActionCategory::Run => self.go_on(),
        }
    }

    fn apply_process_action(&mut self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::Crash { node } => self.crash(*node),
            Action::PowerCut => {
                for node in 1..=self.config.cluster.nodes {
                    if self.cluster.node(node).and_then(Node::running).is_some() {
                        self.crash(node)?;
                    }
                }
                Ok(())
            }
            Action::Restart { node } => self.restart(*node),
            Action::Pause { node } => self.pause(*node),
            Action::Resume { node } => self.resume(*node),
            _ => Ok(()),
        }
    }

    fn apply_clock_action(&mut self, action: &Action) -> Result<(), ActionError> {
        let now = self.cluster.now;
        match action {
            Action::FireTimer { node } => self.fire_timer(*node)?,
            Action::SetClock { node, drift } => {
                self.require_node(*node)?.clock.set_drift(now, *drift);
                self.observers.leases.on_clock_drift(*drift);
                self.cluster.set_timer(*node);
                self.log_node(*node, &clock_speed(*drift));
            }
            Action::JumpClock { node, by } => {
                let clock = &mut self.require_node(*node)?.clock;
                let then = Instant(clock.read(now).0.saturating_add(*by));
                clock.jump_to(now, then);
                self.observers.leases.on_clock_jump(*by);
                self.cluster.set_timer(*node);
                let text = format!("has a clock that jumps forward by {}", duration(*by));
                self.log_node(*node, &text);
            }
            Action::AlignTimers => self.arrange_timers(false),
            Action::SpreadTimers => self.arrange_timers(true),
            _ => {}
        }
        Ok(())
    }

    /// Moves clocks forward, so that the election timers fire together with the earliest one, or at
    /// equal distances after it. No timer fires later than before.
    fn arrange_timers(&mut self, apart: bool) {
        let now = self.cluster.now;
        let timer_of =
            |node: &Node| Some((self.election_timer(node.awake().map(|_| node.id)?)?.1, node.id));
        let mut timers: Vec<_> = self.cluster.nodes.iter().filter_map(timer_of).collect();
        timers.sort_unstable();
        let Some((first, _)) = timers.first().copied() else {
            return;
        };
        let distances =
            (1..).zip(timers.iter().skip(1)).map(|(place, (at, _))| (at - first) / place);
        let distance = if apart { distances.min().unwrap_or(0) } else { 0 };
        for (place, (at, node)) in (0..).zip(timers) {
            let by = at.saturating_sub(first + place * distance);
            if let Some(it) = self.cluster.node_mut(node).filter(|_| by > 0) {
                let then = Instant(it.clock.read(now).0.saturating_add(by));
                it.clock.jump_to(now, then);
                self.observers.leases.on_clock_jump(by);
                self.cluster.set_timer(node);
            }
        }
        self.log_cluster(match apart {
            true => "The election timers are spread".into(),
            false => "The election timers are aligned".into(),
        });
    }

    fn apply_membership_action(&mut self, action: &Action) {
        if let Some(target) = action.membership(&self.config) {
            self.log_cluster(format!("A membership change is requested: {target}"));
            self.request_from_leaders(|raft, now| {
                let result = raft.change_membership(target.clone(), now);
                result.err().map(|error| error.to_string())
            });
        } else if let Action::Transfer { to } = action {
            self.log_cluster(format!("A leadership transfer to n{to} is requested"));
            self.request_from_leaders(|raft, now| {
                let result = raft.transfer_leadership(Some(NodeId(*to)), now);
                result.err().map(|error| error.to_string())
            });
        }
    }

    fn apply_network_action(&mut self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::CutLink { from, to } => {
                self.cluster.network.cut(*from, *to);
                self.log_cluster(format!("The link from n{from} to n{to} is cut"));
            }
            Action::HealLink { from, to } => {
                self.cluster.network.heal(*from, *to);
                self.log_cluster(format!("The link from n{from} to n{to} is healed"));
            }
            Action::Isolate { node } => {
                self.cluster.network.isolate(*node);
                self.log_node(*node, "is cut off from all others");
            }
            Action::Reconnect { node } => {
                self.cluster.network.reconnect(*node);
                self.log_node(*node, "is reconnected");
            }
            Action::Partition { groups } => {
                self.cluster.network.partition(groups);
                let side = |group: &Vec<u64>| {
                    let names: Vec<_> = group.iter().map(|node| format!("n{node}")).collect();
                    names.join(", ")
                };
                let sides: Vec<_> = groups.iter().map(side).collect();
                self.log_cluster(format!("The network is partitioned: {}", sides.join(" | ")));
            }
            Action::HealNetwork => {
                self.cluster.network.heal_all();
                self.log_cluster("All links are healed".into());
            }
            Action::SetNetwork { latency, loss_per_mille, duplicate_per_mille } => {
                let network = &mut self.cluster.network;
                network.set_conditions(*latency, *loss_per_mille, *duplicate_per_mille);
                let loss = per_mille(*loss_per_mille);
                self.log_cluster(format!("Messages take {latency}; {loss} are lost"));
            }
            Action::SetLatency { from, to, latency } => {
                self.cluster.network.set_latency(*from, *to, *latency);
                self.log_cluster(format!("Messages from n{from} to n{to} take {latency}"));
            }
            Action::DropMessage { message } => {
                let dropped = self.cluster.network.drop_message(*message, self.cluster.now);
                let flight = dropped.ok_or(ActionError::NoSuchMessage(*message))?;
                self.story.lost(*message, self.cluster.now);
                self.log_cluster(format!(
                    "A message from n{} to n{} is dropped",
                    flight.from, flight.to
                ));
            }
            Action::DuplicateMessage { .. }
            | Action::DeliverMessage { .. }
            | Action::DelayMessage { .. }
            | Action::HoldMessages
            | Action::ReleaseMessages => self.apply_message_action(action)?,
            Action::SetLoss { from, to, loss_per_mille } => {
                self.cluster.network.set_loss(*from, *to, *loss_per_mille);
                let share = per_mille(*loss_per_mille);
                self.log_cluster(format!("{share} of the messages from n{from} to n{to} are lost"));
            }
            _ => {}
        }
        Ok(())
    }

    fn apply_message_action(&mut self, action: &Action) -> Result<(), ActionError> {
        match action {
            Action::DuplicateMessage { message } => {
                let Cluster { network, random, now, .. } = &mut self.cluster;
                let copy = network.duplicate_message(*message, *now, random);
                let (at, copy) = copy.ok_or(ActionError::NoSuchMessage(*message))?;
                self.cluster.schedule(at, Event::MessageArrives(copy));
                self.record_flights(copy);
                self.log_cluster("A message is duplicated".into());
            }
            Action::DeliverMessage { message } => {
                self.move_arrival(*message, self.cluster.now)?;
            }
            Action::DelayMessage { message, by } => {
                let flight = self.cluster.network.in_flight().get(*message);
                let flight = flight.filter(|flight| flight.arrives_at != HELD);
                let flight = flight.ok_or(ActionError::NoSuchMessage(*message))?;
                self.move_arrival(*message, flight.arrives_at + by)?;
            }
            Action::HoldMessages => {
                for message in self.cluster.network.hold() {
                    self.story.moved(message, HELD);
                }
                self.log_cluster("All messages between servers are held back".into());
            }
            Action::ReleaseMessages => {
                let Cluster { network, random, now, .. } = &mut self.cluster;
                for (message, at) in network.release(*now, random) {
                    self.story.moved(message, at);
                    self.cluster.schedule(at, Event::MessageArrives(message));
                }
                self.log_cluster("Messages are held back no more".into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Moves the arrival of a message.
    fn move_arrival(&mut self, message: u64, at: u64) -> Result<(), ActionError> {
        let flight = self.cluster.network.in_flight().get(message);
        let flight = flight.ok_or(ActionError::NoSuchMessage(message))?;
        let (from, to) = (flight.from, flight.to);
        self.cluster.network.reschedule(message, at);
        self.story.moved(message, at);
        self.cluster.schedule(at, Event::MessageArrives(message));
        self.log_cluster(match at == self.cluster.now {
            true => format!("A message from n{from} to n{to} is delivered by hand"),
            false => format!("A message from n{from} to n{to} is delayed"),
        });
        Ok(())
    }

    /// Sends a request to every server that leads or believes to lead, and records refusals.
    /// `request` returns the reason of a refusal.
    fn request_from_leaders(&mut self, request: impl Fn(&mut Raft, Instant) -> Option<String>) {
        for id in 1..=self.config.cluster.nodes {
            let refusal = match self.cluster.awake_mut(id) {
                Some((running, now)) if running.raft.role() == Role::Leader => {
                    request(&mut running.raft, now)
                }
                _ => None,
            };
            if let Some(refusal) = refusal {
                self.log_node(id, &format!("refuses: {refusal}"));
            }
            self.settle(id);
        }
    }

    pub(super) fn require_node(&mut self, node: u64) -> Result<&mut Node, ActionError> {
        self.cluster.node_mut(node).ok_or(ActionError::NoSuchNode(node))
    }

    pub(super) fn crash(&mut self, id: u64) -> Result<(), ActionError> {
        if self.require_node(id)?.running().is_none() {
            return Err(ActionError::NotRunning(id));
        }
        if let Some(node) = self.cluster.nodes.get_mut(id as usize - 1) {
            node.crash(None, &mut self.cluster.random);
        }
        self.cluster.set_timer(id);
        self.log_node(id, "crashes and loses what was not on its disk");
        Ok(())
    }

    fn pause(&mut self, id: u64) -> Result<(), ActionError> {
        let running = self.require_node(id)?.running_mut().ok_or(ActionError::NotRunning(id))?;
        running.paused.get_or_insert_default();
        self.cluster.set_timer(id);
        self.log_node(id, "is paused and keeps its memory");
        Ok(())
    }

    fn resume(&mut self, id: u64) -> Result<(), ActionError> {
        let running = self.require_node(id)?.running_mut().ok_or(ActionError::NotRunning(id))?;
        let waiting = running.paused.take().unwrap_or_default();
        self.log_node(id, "is resumed");
        self.report_disk_space(id);
        for delivery in waiting {
            self.deliver(id, delivery);
        }
        self.settle(id);
        Ok(())
    }

    fn fire_timer(&mut self, id: u64) -> Result<(), ActionError> {
        let now = self.cluster.now;
        let node = self.require_node(id)?;
        let running = node.awake().ok_or(ActionError::NotRunning(id))?;
        let leads = running.raft.role() == Role::Leader;
        if let Some(deadline) = running.raft.deadline() {
            let by = deadline.0.saturating_sub(node.clock.read(now).0);
            node.clock.jump_to(now, deadline);
            self.observers.leases.on_clock_jump(by);
        }
        let timer = if leads { "heartbeat" } else { "election" };
        self.story.record(now, Some(id), EventKind::Fault, || {
            format!("n{id}'s {timer} timer is fired by an action")
        });
        if let Some((running, now)) = self.cluster.awake_mut(id) {
            running.raft.tick(now);
        }
        self.settle(id);
        Ok(())
    }

    /// Records a fault of a server. The text continues a sentence that begins with its name.
    pub(super) fn log_node(&mut self, node: u64, text: &str) {
        let (now, text) = (self.cluster.now, || format!("n{node} {text}"));
        self.story.record(now, Some(node), EventKind::Fault, text);
    }

    fn log_cluster(&mut self, text: String) {
        self.story.record(self.cluster.now, None, EventKind::Fault, || text);
    }

    /// The servers whose progress an action delays. Actions on links are not included, because the
    /// checkers see the links.
    fn disturbance_by(&self, action: &Action) -> Disturbance {
        match action {
            // A leader may live on the heartbeat responses of servers with many pending writes.
            Action::SetSyncLatency { .. }
            | Action::FailDisk { .. }
            | Action::FillDisk { .. }
            | Action::FreeDisk { .. }
            | Action::PowerCut
            | Action::DropMessage { .. }
            | Action::DeliverMessage { .. }
            | Action::DelayMessage { .. }
            | Action::HoldMessages
            | Action::ReleaseMessages => return Disturbance::All,
            _ => {}
        }
        match action.category() {
            ActionCategory::Process | ActionCategory::Clock | ActionCategory::Disk => {
                let node = action.nodes().first().copied();
                node.map_or(Disturbance::All, |node| self.disturbance_of(node))
            }
            // Only a leader acts on such a request.
            ActionCategory::Membership if self.cluster.nodes.iter().any(Node::is_leader) => {
                Disturbance::All
            }
            ActionCategory::Membership
            | ActionCategory::Network
            | ActionCategory::Client
            | ActionCategory::Run => Disturbance::None,
        }
    }

    /// The servers whose progress a fault of one server delays.
    pub(super) fn disturbance_of(&self, node: u64) -> Disturbance {
        if self.cluster.node(node).is_some_and(Node::is_leader) {
            Disturbance::All
        } else {
            Disturbance::One(node)
        }
    }

    /// Passes a disturbance on to the checkers of progress.
    pub(super) fn disturb(&mut self, disturbance: Disturbance) {
        let check_at = self.cluster.now + self.config.cluster.election_timeout.max;
        self.observers.disturb(disturbance, check_at);
    }
}

/// Describes the speed of a clock with this drift in parts per million.
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
            Self::NoSuchNode(node) => write!(f, "unknown node: {node}"),
            Self::NoSuchMessage(id) => write!(f, "unknown message: {id} is not in flight"),
            Self::NoSuchLink(from, to) => {
                write!(f, "invalid link: from {from} to {to}; a link connects two nodes")
            }
            Self::NoSuchEntry(node) => {
                write!(f, "unknown entry: the log of node {node} is shorter")
            }
            Self::EmptyRange => f.write_str("invalid range: min is larger than max"),
            Self::TooLong => write!(f, "invalid time: the limit is {}", duration(TIME_MAX)),
            Self::MoreThanAll => write!(f, "invalid share: the limit is {PER_MILLE} per mille"),
            Self::NotRunning(node) => write!(f, "n{node} is not running"),
            Self::Running(node) => write!(f, "n{node} is already running"),
            Self::NothingToSnapshot(node) => write!(
                f,
                "nothing to snapshot: n{node} has applied no entry since its snapshot, or its disk is full"
            ),
            Self::Ended => f.write_str(
                "an invariant is violated and the run has stopped; go back in time, or continue",
            ),
            Self::NotEnded => f.write_str("no invariant is violated; the run has not stopped"),
        }
    }
}

impl std::error::Error for ActionError {}
