//! The network between the servers: links, latencies, losses and messages in flight.

pub(crate) mod config;
pub(crate) mod in_flight;
pub(crate) mod latency;

use std::collections::BTreeMap;

use raft_core::Message;

use crate::network::config::NetworkConfig;
use crate::network::in_flight::{InFlight, InFlightMessages};
use crate::network::latency::{DurationRange, LatencyDistribution};
use crate::util::rng::SimRng;

/// A message that did not arrive.
#[derive(Clone, Debug)]
pub struct LostMessage {
    /// The message.
    pub message: InFlight,
    /// When the message was lost: after it was sent and before it would have arrived. A loss that
    /// is certain is recorded at the time of sending, so this time can be in the future.
    pub at: u64,
}

/// The state of a link in one direction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Link {
    /// The latencies of this link. None if they are those of the network.
    latency: Option<DurationRange>,
    /// The share of messages that the link loses in addition to the losses of the network.
    loss_per_mille: u32,
    /// When the link has sent the messages that wait for bandwidth.
    busy_until: u64,
    /// When the link last dropped a message because its queue was full.
    overflowed_at: Option<u64>,
    /// The link loses all messages.
    is_cut: bool,
}

/// The links between the servers and the messages on them.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// The latencies of links without an override.
    latency: DurationRange,
    /// The distribution of all latencies over their ranges.
    distribution: LatencyDistribution,
    /// The links that differ from the others, by sender and receiver.
    links: BTreeMap<(u64, u64), Link>,
    /// All messages are held.
    holds: bool,
    /// The bytes that each link carries per second in each direction; zero means no limit.
    bandwidth: u64,
    /// The share of messages that are lost.
    loss_per_mille: u32,
    /// The share of messages that arrive twice.
    duplicate_per_mille: u32,
    /// Allows a message to overtake an earlier message of the same lane.
    reorder: bool,
    /// The servers that lose all messages in both directions: one bit for each server.
    isolated: u128,
    in_flight: InFlightMessages,
    /// The number of servers.
    nodes: u64,
    /// When the latest message of each lane arrives. Each pair of sender and receiver has two
    /// lanes. Empty if messages may overtake each other.
    latest_arrivals: Vec<u64>,
    /// The number of the next message.
    next_id: u64,
    /// The most recent losses, for display.
    lost: Vec<LostMessage>,
    /// The number of messages that servers have sent.
    sent: u64,
}

/// The approximate size of a message without its entries, in bytes.
const HEADER_BYTES: usize = 60;
/// The longest time that a message waits for bandwidth, in microseconds. Later messages are lost.
const QUEUE_MAX: u64 = 100_000;
/// The arrival time of a held message. It is later than any run.
pub(crate) const HELD: u64 = 8_000_000_000_000_000;
/// The number of losses that are kept for display.
const LOST_MAX: usize = 64;
/// The lanes of each pair of sender and receiver: control messages, and entries with snapshots.
const LANES: u64 = 2;

impl Network {
    pub(crate) fn new(nodes: u64, config: &NetworkConfig) -> Self {
        let lanes = if config.reorder { 0 } else { nodes * nodes * LANES };
        Self {
            latency: config.latency,
            distribution: config.latency_shape,
            links: BTreeMap::new(),
            holds: false,
            bandwidth: config.bandwidth,
            loss_per_mille: config.loss_per_mille,
            duplicate_per_mille: config.duplicate_per_mille,
            reorder: config.reorder,
            isolated: 0,
            in_flight: InFlightMessages::default(),
            nodes,
            latest_arrivals: vec![0; lanes as usize],
            next_id: 1,
            lost: Vec::new(),
            sent: 0,
        }
    }

    /// Sends a message. Returns the time and number of each copy that will arrive: none, one or
    /// two.
    pub(crate) fn send(
        &mut self,
        now: u64,
        from: u64,
        to: u64,
        message: Message,
        random: &mut SimRng,
    ) -> [Option<(u64, u64)>; 2] {
        self.sent += 1;
        let twice = random.chance_per_mille(self.duplicate_per_mille);
        let by_chance = random.chance_per_mille(self.loss_per_mille)
            || self.loss_of(from, to).is_some_and(|loss| random.chance_per_mille(loss));
        let copy = twice.then(|| message.clone());
        [Some(message), copy]
            .map(|message| self.send_one(now, from, to, message?, by_chance, random))
    }

    fn send_one(
        &mut self,
        now: u64,
        from: u64,
        to: u64,
        message: Message,
        by_chance: bool,
        random: &mut SimRng,
    ) -> Option<(u64, u64)> {
        let left_at = self.departure_time(now, from, to, &message);
        let mut arrives_at =
            left_at.unwrap_or(now) + self.distribution.sample(self.latency_of(from, to), random);
        if !self.reorder {
            let bulk = matches!(message, Message::AppendEntries(_) | Message::InstallSnapshot(_));
            let lane = ((from - 1) * self.nodes + to - 1) * LANES + u64::from(bulk);
            let latest = &mut self.latest_arrivals[lane as usize];
            arrives_at = arrives_at.max(*latest);
            *latest = arrives_at;
        }
        if self.holds {
            arrives_at = HELD;
        }
        let id = self.next_id;
        self.next_id += 1;
        let flight = InFlight { id, from, to, message, sent_at: now, arrives_at };
        let lost_at = match left_at {
            None => Some(now),
            Some(_) => self.blocking_point(&flight).or(by_chance.then(|| random_position(&flight))),
        };
        if let Some(at) = lost_at {
            self.record_loss(flight, at);
            return None;
        }
        self.in_flight.insert(flight);
        Some((arrives_at, id))
    }

    /// When a message that is sent now is lost to a partition. An isolated sender loses it at once,
    /// a cut link loses it halfway, and an isolated receiver loses it on arrival.
    fn blocking_point(&self, flight: &InFlight) -> Option<u64> {
        if self.is_isolated(flight.from) {
            Some(flight.sent_at)
        } else if self.is_cut(flight.from, flight.to) {
            Some(flight.position_at(500))
        } else if self.is_isolated(flight.to) {
            Some(flight.arrives_at)
        } else {
            None
        }
    }

    /// When the last byte of a message is sent, after the messages that wait for bandwidth. None if
    /// the queue of the link is full.
    fn departure_time(&mut self, now: u64, from: u64, to: u64, message: &Message) -> Option<u64> {
        if self.bandwidth == 0 {
            return Some(now);
        }
        let bytes = HEADER_BYTES
            + match message {
                Message::AppendEntries(request) => {
                    request.entries.iter().map(raft_core::Entry::bytes).sum()
                }
                _ => 0,
            };
        let takes = bytes as u64 * 1_000_000 / self.bandwidth;
        let link = self.link_mut(from, to);
        if link.busy_until > now + QUEUE_MAX {
            link.overflowed_at = Some(now);
            return None;
        }
        link.busy_until = now.max(link.busy_until) + takes;
        Some(link.busy_until)
    }

    fn link(&self, from: u64, to: u64) -> Option<&Link> {
        // In most networks, all links are the same.
        if self.links.is_empty() {
            return None;
        }
        self.links.get(&(from, to))
    }

    fn link_mut(&mut self, from: u64, to: u64) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    /// The additional losses of a link. None if there are none.
    fn loss_of(&self, from: u64, to: u64) -> Option<u32> {
        self.link(from, to).map(|link| link.loss_per_mille).filter(|loss| *loss > 0)
    }

    /// Removes a message that arrives now. None if it was dropped or its link is cut.
    pub(crate) fn arrive(&mut self, id: u64) -> Option<InFlight> {
        let flight = self.in_flight.remove(id)?;
        if self.connects(flight.from, flight.to) {
            return Some(flight);
        }
        let at = flight.arrives_at;
        self.record_loss(flight, at);
        None
    }

    /// Returns true if a message arrives now. Its arrival may have been moved after its event was
    /// scheduled.
    pub(crate) fn is_due(&self, id: u64, now: u64) -> bool {
        self.in_flight.get(id).is_some_and(|flight| flight.arrives_at <= now)
    }

    /// Moves the arrival of a message. Returns false if it is not in flight.
    pub(crate) fn reschedule(&mut self, id: u64, arrives_at: u64) -> bool {
        let flight = self.in_flight.get_mut(id);
        flight.is_some_and(|flight| {
            flight.arrives_at = arrives_at;
            true
        })
    }

    /// Holds all messages, including those in flight. Returns the numbers of those in flight.
    pub(crate) fn hold(&mut self) -> Vec<u64> {
        self.holds = true;
        let held: Vec<_> = self.in_flight.iter().map(|flight| flight.id).collect();
        for id in &held {
            self.reschedule(*id, HELD);
        }
        held
    }

    /// Stops holding messages. Returns the numbers and the new arrival times of the held messages.
    pub(crate) fn release(&mut self, now: u64, random: &mut SimRng) -> Vec<(u64, u64)> {
        self.holds = false;
        let held = self.in_flight.iter().filter(|flight| flight.arrives_at == HELD);
        let held: Vec<_> = held.map(|flight| (flight.id, flight.from, flight.to)).collect();
        let mut released: Vec<(u64, u64)> = Vec::new();
        let mut latest: Vec<((u64, u64), u64)> = Vec::new();
        for (id, from, to) in held {
            let arrives_at = now + self.latency_of(from, to).sample(random);
            // Held messages of one link do not overtake each other.
            let before = latest.iter().rfind(|(link, _)| *link == (from, to));
            let arrives_at = before.map_or(arrives_at, |(_, before)| arrives_at.max(*before));
            latest.push(((from, to), arrives_at));
            self.reschedule(id, arrives_at);
            released.push((id, arrives_at));
        }
        released
    }

    /// Returns true if messages are held.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }

    pub(crate) fn drop_message(&mut self, id: u64, now: u64) -> Option<InFlight> {
        let flight = self.in_flight.remove(id)?;
        self.record_loss(flight.clone(), now);
        Some(flight)
    }

    /// Duplicates a message in flight. Returns the time and number of the copy.
    pub(crate) fn duplicate_message(
        &mut self,
        id: u64,
        now: u64,
        random: &mut SimRng,
    ) -> Option<(u64, u64)> {
        let mut copy = self.in_flight.get(id)?.clone();
        copy.id = self.next_id;
        copy.arrives_at = now + self.latency_of(copy.from, copy.to).sample(random);
        self.next_id += 1;
        let arrival = (copy.arrives_at, copy.id);
        self.in_flight.insert(copy);
        Some(arrival)
    }

    pub(crate) fn set_latency(&mut self, from: u64, to: u64, latency: DurationRange) {
        self.link_mut(from, to).latency = Some(latency);
    }

    /// Sets the additional losses of a link.
    pub(crate) fn set_loss(&mut self, from: u64, to: u64, loss_per_mille: u32) {
        self.link_mut(from, to).loss_per_mille = loss_per_mille;
    }

    pub(crate) fn latency_of(&self, from: u64, to: u64) -> DurationRange {
        self.link(from, to).and_then(|link| link.latency).unwrap_or(self.latency)
    }

    /// The latency that at most one message in a thousand exceeds.
    ///
    /// Without reordering, all later messages wait for a slow message, so the tail of the
    /// distribution counts. With reordering, only the slow message itself is late.
    pub(crate) fn latency_max(&self, from: u64, to: u64) -> u64 {
        let most = self.latency_of(from, to).max;
        if self.reorder { most } else { self.distribution.tail_factor() * most }
    }

    /// Sets the latencies and losses of all links without an override.
    pub(crate) fn set_conditions(
        &mut self,
        latency: DurationRange,
        loss_per_mille: u32,
        duplicate_per_mille: u32,
    ) {
        self.latency = latency;
        self.loss_per_mille = loss_per_mille;
        self.duplicate_per_mille = duplicate_per_mille;
    }

    /// The latencies of links without an override.
    pub(crate) fn latency(&self) -> DurationRange {
        self.latency
    }

    pub(crate) fn loss_per_mille(&self) -> u32 {
        self.loss_per_mille
    }

    /// An upper bound of the share of messages that a link loses at random.
    pub(crate) fn loss_max(&self) -> u32 {
        let additional = self.links.values().map(|link| link.loss_per_mille).max();
        self.loss_per_mille + additional.unwrap_or(0)
    }

    /// The messages in flight.
    pub(crate) fn in_flight(&self) -> &InFlightMessages {
        &self.in_flight
    }

    /// The most recent losses.
    pub(crate) fn lost(&self) -> &[LostMessage] {
        &self.lost
    }

    /// The number of messages that servers have sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// The number of the next message.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The time that a message waits for the messages before it on a link with limited bandwidth.
    pub(crate) fn queueing_time(&self, from: u64, to: u64, now: u64) -> u64 {
        self.link(from, to).map_or(0, |link| link.busy_until.saturating_sub(now))
    }

    /// Returns true if a link dropped a message since `since` because its queue was full.
    pub(crate) fn has_overflowed(&self, from: u64, to: u64, since: u64) -> bool {
        let overflowed_at = self.link(from, to).and_then(|link| link.overflowed_at);
        overflowed_at.is_some_and(|at| at >= since)
    }

    /// Returns true if messages in this direction arrive, apart from random losses.
    pub(crate) fn connects(&self, from: u64, to: u64) -> bool {
        !self.is_cut(from, to) && !self.is_isolated(from) && !self.is_isolated(to)
    }

    pub(crate) fn is_cut(&self, from: u64, to: u64) -> bool {
        self.link(from, to).is_some_and(|link| link.is_cut)
    }

    pub(crate) fn is_isolated(&self, node: u64) -> bool {
        self.isolated >> node & 1 == 1
    }

    pub(crate) fn cut(&mut self, from: u64, to: u64) {
        self.link_mut(from, to).is_cut = true;
    }

    pub(crate) fn heal(&mut self, from: u64, to: u64) {
        self.link_mut(from, to).is_cut = false;
    }

    pub(crate) fn isolate(&mut self, node: u64) {
        self.isolated |= 1 << node;
    }

    pub(crate) fn reconnect(&mut self, node: u64) {
        self.isolated &= !(1 << node);
    }

    /// Cuts all links between servers that share no group. A server without a group is alone.
    pub(crate) fn partition(&mut self, groups: &[Vec<u64>]) {
        self.heal_links();
        for from in 1..=self.nodes {
            for to in 1..=self.nodes {
                let together =
                    groups.iter().any(|group| group.contains(&from) && group.contains(&to));
                if from != to && !together {
                    self.cut(from, to);
                }
            }
        }
    }

    pub(crate) fn heal_all(&mut self) {
        self.heal_links();
        self.isolated = 0;
    }

    fn heal_links(&mut self) {
        self.links.values_mut().for_each(|link| link.is_cut = false);
        self.links.retain(|_, link| *link != Link::default());
    }

    fn record_loss(&mut self, message: InFlight, at: u64) {
        if self.lost.len() == LOST_MAX {
            self.lost.remove(0);
        }
        self.lost.push(LostMessage { message, at });
    }
}

/// When a message that is lost at random disappears: in the middle half of its way.
///
/// Only the display uses this time. It is not drawn from the random numbers, because a display must
/// not change the run.
fn random_position(flight: &InFlight) -> u64 {
    flight.position_at(250 + flight.id.wrapping_mul(7919) % 500)
}

#[cfg(test)]
mod tests {
    use raft_core::{Term, TimeoutNow};

    use super::*;
    use crate::world::config::NetworkConfig;

    /// Returns the share of its way that a lost message from node 1 to node 2 completed, in
    /// thousandths.
    fn lost_position(network: &mut Network) -> u64 {
        let message = Message::TimeoutNow(TimeoutNow { term: Term(1) });
        let arrivals = network.send(1000, 1, 2, message, &mut SimRng::new(1));
        assert_eq!(arrivals, [None, None], "the message is lost");
        let lost = network.lost.pop().expect("the loss is recorded");
        let whole = lost.message.arrives_at - lost.message.sent_at;
        (lost.at - lost.message.sent_at) * 1000 / whole
    }

    fn network(loss_per_mille: u32) -> Network {
        let latency = DurationRange::new(10_000, 10_000);
        Network::new(5, &NetworkConfig { latency, loss_per_mille, ..NetworkConfig::default() })
    }

    #[test]
    fn dropped_message_position_is_at_barrier() {
        let mut cut = network(0);
        cut.cut(1, 2);
        assert_eq!(lost_position(&mut cut), 500);
        let mut sender_alone = network(0);
        sender_alone.isolate(1);
        assert_eq!(lost_position(&mut sender_alone), 0);
        let mut receiver_alone = network(0);
        receiver_alone.isolate(2);
        assert_eq!(lost_position(&mut receiver_alone), 1000);
    }

    #[test]
    fn random_drops_have_random_positions() {
        let mut lossy = network(1000);
        let places: std::collections::BTreeSet<u64> =
            (0..20).map(|_| lost_position(&mut lossy)).collect();
        assert!(places.len() > 10, "{places:?}");
        assert!(places.iter().all(|place| (250..750).contains(place)), "{places:?}");
    }

    #[test]
    fn link_latency_override_applies() {
        let mut network = network(0);
        network.set_latency(1, 2, DurationRange::new(70_000, 70_000));
        let message = Message::TimeoutNow(TimeoutNow { term: Term(1) });
        let mut arrives = |from, to| {
            let sent = network.send(0, from, to, message.clone(), &mut SimRng::new(1));
            sent[0].unwrap().0
        };
        assert_eq!([arrives(1, 2), arrives(2, 1), arrives(1, 3)], [70_000, 10_000, 10_000]);
    }

    #[test]
    fn dropped_message_position_is_current() {
        let mut network = network(0);
        let message = Message::TimeoutNow(TimeoutNow { term: Term(1) });
        let arrivals = network.send(0, 1, 2, message, &mut SimRng::new(1));
        network.drop_message(arrivals[0].unwrap().1, 3_000);
        assert_eq!(network.lost[0].at, 3_000);
    }

    #[test]
    fn full_queue_overflows() {
        // A message without entries takes 60 ms.
        let config = NetworkConfig { bandwidth: 1_000, ..NetworkConfig::default() };
        let mut network = Network::new(5, &config);
        let message = Message::TimeoutNow(TimeoutNow { term: Term(1) });
        let send = |network: &mut Network| {
            network.send(1_000, 1, 2, message.clone(), &mut SimRng::new(1))[0].is_some()
        };
        assert!(send(&mut network) && send(&mut network));
        assert_eq!(network.queueing_time(1, 2, 21_000), 100_000);
        assert!(!network.has_overflowed(1, 2, 0));
        assert!(!send(&mut network));
        assert!(network.has_overflowed(1, 2, 1_000) && !network.has_overflowed(1, 2, 1_001));
        assert!(!network.has_overflowed(2, 1, 0));
        assert_eq!(network.queueing_time(2, 1, 1_000), 0);
    }
}
