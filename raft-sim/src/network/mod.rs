//! Links, and the messages on them.

use std::collections::{BTreeMap, VecDeque};

use raft_core::Message;
use serde::{Deserialize, Serialize};

use crate::util::rng::{DurationRange, SimRng};
use crate::world::config::WorldConfig;

/// A message on its way.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// Names the message; numbers grow.
    pub id: u64,
    /// The sender.
    pub from: u64,
    /// The receiver.
    pub to: u64,
    /// What it says.
    pub message: Message,
    /// When it left.
    pub sent_at: u64,
    /// When it arrives.
    pub arrives_at: u64,
}

/// A message that did not arrive.
#[derive(Clone, Debug)]
pub struct LostMessage {
    /// The message.
    pub message: InFlight,
    /// When it was lost, between the moment at which it left and the one at which it would have
    /// arrived. What is certain to be lost is noted when it leaves, so this may lie in the future.
    pub at: u64,
}

/// How latencies are spread over their range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LatencyDistribution {
    /// Evenly. A range from a number to the same number is constant.
    #[default]
    Uniform,
    /// Exponentially above the shortest, with the middle of the range as mean: most messages are
    /// quick, and some take several times as long as the range says.
    Exponential,
    /// As those of a network with bursts: one message in a hundred takes about twenty times as long
    /// as most.
    LongTailed,
}

/// What is special about a link in one direction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Link {
    latency: Option<DurationRange>,
    /// Further losses, of a thousand.
    loss_per_mille: u32,
    /// Until when the link is busy with earlier messages.
    busy_until: u64,
    /// When the link last dropped a message because its queue was full.
    overflowed_at: Option<u64>,
    is_cut: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) latency: DurationRange,
    shape: LatencyDistribution,
    /// The links that are not like the others, by sender and receiver.
    links: BTreeMap<(u64, u64), Link>,
    /// Whether messages are held back.
    holds: bool,
    /// Bytes a second on each way; zero is as many as there are.
    bandwidth: u64,
    pub(crate) loss_per_mille: u32,
    pub(crate) duplicate_per_mille: u32,
    reorder: bool,
    /// A bit for each node that is cut off from all others.
    isolated: u128,
    pub(crate) in_flight: InFlightMessages,
    nodes: u64,
    /// When the latest message arrives, of each way and lane.
    latest: Vec<u64>,
    next_id: u64,
    /// The latest losses, for whoever watches.
    pub(crate) lost: Vec<LostMessage>,
    pub(crate) sent: u64,
}

/// The messages on their way, by number. Most arrive about in the order in which they left.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlightMessages {
    /// The number of the first place.
    first: u64,
    places: VecDeque<Option<InFlight>>,
}

impl InFlightMessages {
    /// Numbers must grow.
    fn insert(&mut self, flight: InFlight) {
        if self.places.is_empty() {
            self.first = flight.id;
        }
        let place = (flight.id - self.first) as usize;
        self.places.resize(place, None);
        self.places.push_back(Some(flight));
    }

    fn remove(&mut self, id: u64) -> Option<InFlight> {
        let place = usize::try_from(id.checked_sub(self.first)?).ok()?;
        let flight = self.places.get_mut(place)?.take();
        while let Some(None) = self.places.front() {
            self.places.pop_front();
            self.first += 1;
        }
        flight
    }

    pub(crate) fn get(&self, id: u64) -> Option<&InFlight> {
        let place = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.places.get(place)?.as_ref()
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut InFlight> {
        let place = usize::try_from(id.checked_sub(self.first)?).ok()?;
        self.places.get_mut(place)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.places.iter().flatten()
    }
}

/// About how many bytes a message has besides its entries.
const HEADER_BYTES: usize = 60;
/// A link keeps what waits to be sent for this long, in microseconds, and loses what comes then.
const QUEUE_MAX: u64 = 100_000;
/// The arrival of a message that is held back: later than any run.
pub(crate) const HELD: u64 = 8_000_000_000_000_000;
/// How many losses are remembered.
const LOST_MAX: usize = 64;

impl Network {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        Self {
            latency: config.latency,
            shape: config.latency_shape,
            links: BTreeMap::new(),
            holds: false,
            bandwidth: config.bandwidth,
            loss_per_mille: config.loss_per_mille,
            duplicate_per_mille: config.duplicate_per_mille,
            reorder: config.reorder,
            isolated: 0,
            in_flight: InFlightMessages::default(),
            nodes: config.nodes,
            latest: vec![
                0;
                if config.reorder { 0 } else { (config.nodes * config.nodes * 2) as usize }
            ],
            next_id: 1,
            lost: Vec::new(),
            sent: 0,
        }
    }

    /// The number of the next message.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Sends a message, and returns what will arrive: nothing, the message, or two of it.
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
            left_at.unwrap_or(now) + random.delay(self.latency_of(from, to), self.shape);
        if !self.reorder {
            let bulk = matches!(message, Message::AppendEntries(_) | Message::InstallSnapshot(_));
            let way = ((from - 1) * self.nodes + to - 1) * 2 + u64::from(bulk);
            let latest = &mut self.latest[way as usize];
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
            self.note_loss(flight, at);
            return None;
        }
        self.in_flight.insert(flight);
        Some((arrives_at, id))
    }

    /// When a message that leaves now gets to what keeps it from its receiver: at once if its
    /// sender is cut off, at the end of its way if its receiver is, and halfway if the link is cut.
    fn blocking_point(&self, flight: &InFlight) -> Option<u64> {
        if self.is_isolated(flight.from) {
            Some(flight.sent_at)
        } else if self.is_cut(flight.from, flight.to) {
            Some(position_at(flight, 500))
        } else if self.is_isolated(flight.to) {
            Some(flight.arrives_at)
        } else {
            None
        }
    }

    /// When the last byte of a message has left, behind what was sent before it. None if so much
    /// waits already that there is no room for it.
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
        // Most networks have no special links.
        if self.links.is_empty() {
            return None;
        }
        self.links.get(&(from, to))
    }

    fn link_mut(&mut self, from: u64, to: u64) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    /// The further losses of a link, if it has some.
    fn loss_of(&self, from: u64, to: u64) -> Option<u32> {
        self.link(from, to).map(|link| link.loss_per_mille).filter(|loss| *loss > 0)
    }

    /// Takes a message that arrives. None if it was dropped on the way, or its link was cut.
    pub(crate) fn arrive(&mut self, id: u64) -> Option<InFlight> {
        let flight = self.in_flight.remove(id)?;
        if self.connects(flight.from, flight.to) {
            return Some(flight);
        }
        let at = flight.arrives_at;
        self.note_loss(flight, at);
        None
    }

    /// Whether a message arrives at this moment, and was not moved to another.
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

    /// Holds all messages back, those in flight included. Returns their numbers.
    pub(crate) fn hold(&mut self) -> Vec<u64> {
        self.holds = true;
        let held: Vec<_> = self.in_flight.iter().map(|flight| flight.id).collect();
        for id in &held {
            self.reschedule(*id, HELD);
        }
        held
    }

    /// Holds messages back no more. Returns those that leave, with their new arrivals.
    pub(crate) fn release(&mut self, now: u64, random: &mut SimRng) -> Vec<(u64, u64)> {
        self.holds = false;
        let held = self.in_flight.iter().filter(|flight| flight.arrives_at == HELD);
        let held: Vec<_> = held.map(|flight| (flight.id, flight.from, flight.to)).collect();
        let mut released: Vec<(u64, u64)> = Vec::new();
        let mut latest: Vec<((u64, u64), u64)> = Vec::new();
        for (id, from, to) in held {
            let arrives_at = now + random.sample(self.latency_of(from, to));
            // Held messages of one way do not overtake each other.
            let before = latest.iter().rfind(|(way, _)| *way == (from, to));
            let arrives_at = before.map_or(arrives_at, |(_, before)| arrives_at.max(*before));
            latest.push(((from, to), arrives_at));
            self.reschedule(id, arrives_at);
            released.push((id, arrives_at));
        }
        released
    }

    /// Whether messages are held back.
    pub(crate) fn holds(&self) -> bool {
        self.holds
    }

    /// Sets the further losses of a link.
    pub(crate) fn set_loss(&mut self, from: u64, to: u64, loss_per_mille: u32) {
        self.link_mut(from, to).loss_per_mille = loss_per_mille;
    }

    /// The largest share of messages that a link loses, about, of a thousand.
    pub(crate) fn loss_max(&self) -> u32 {
        let further = self.links.values().map(|link| link.loss_per_mille).max();
        self.loss_per_mille + further.unwrap_or(0)
    }

    pub(crate) fn drop_message(&mut self, id: u64, now: u64) -> Option<InFlight> {
        let flight = self.in_flight.remove(id)?;
        self.note_loss(flight.clone(), now);
        Some(flight)
    }

    /// Lets a message on its way arrive twice; returns when the second one does.
    pub(crate) fn duplicate_message(
        &mut self,
        id: u64,
        now: u64,
        random: &mut SimRng,
    ) -> Option<(u64, u64)> {
        let mut copy = self.in_flight.get(id)?.clone();
        copy.id = self.next_id;
        copy.arrives_at = now + random.sample(self.latency_of(copy.from, copy.to));
        self.next_id += 1;
        let arrival = (copy.arrives_at, copy.id);
        self.in_flight.insert(copy);
        Some(arrival)
    }

    pub(crate) fn set_latency(&mut self, from: u64, to: u64, latency: DurationRange) {
        self.link_mut(from, to).latency = Some(latency);
    }

    pub(crate) fn latency_of(&self, from: u64, to: u64) -> DurationRange {
        self.link(from, to).and_then(|link| link.latency).unwrap_or(self.latency)
    }

    /// How long a message may take, but for one in a thousand. Where messages don't overtake each
    /// other, all that follow such a one wait for it; where they do, a rare one may be late.
    pub(crate) fn longest(&self, from: u64, to: u64) -> u64 {
        let most = self.latency_of(from, to).max;
        match self.shape {
            _ if self.reorder => most,
            LatencyDistribution::Uniform => most,
            LatencyDistribution::Exponential => 4 * most,
            LatencyDistribution::LongTailed => 25 * most,
        }
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

    pub(crate) fn partition(&mut self, nodes: u64, groups: &[Vec<u64>]) {
        self.heal_links();
        for from in 1..=nodes {
            for to in 1..=nodes {
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

    fn note_loss(&mut self, message: InFlight, at: u64) {
        if self.lost.len() == LOST_MAX {
            self.lost.remove(0);
        }
        self.lost.push(LostMessage { message, at });
    }
}

/// When a message has come so many thousandths of its way.
fn position_at(flight: &InFlight, thousandths: u64) -> u64 {
    flight.sent_at + (flight.arrives_at - flight.sent_at) * thousandths / 1000
}

/// When a message that chance takes is lost: somewhere in the middle half of its way. It matters to
/// those who watch alone, so nothing is drawn for it: watching must not change a run.
fn random_position(flight: &InFlight) -> u64 {
    position_at(flight, 250 + flight.id.wrapping_mul(7919) % 500)
}

#[cfg(test)]
mod tests {
    use raft_core::{Term, TimeoutNow};

    use super::*;

    /// What part of its way a message from node 1 to node 2 comes, in thousandths.
    fn comes(network: &mut Network) -> u64 {
        let message = Message::TimeoutNow(TimeoutNow { term: Term(1) });
        let arrivals = network.send(1000, 1, 2, message, &mut SimRng::new(1));
        assert_eq!(arrivals, [None, None], "it is lost");
        let lost = network.lost.pop().expect("its loss is noted");
        let whole = lost.message.arrives_at - lost.message.sent_at;
        (lost.at - lost.message.sent_at) * 1000 / whole
    }

    fn network(loss_per_mille: u32) -> Network {
        Network::new(&WorldConfig {
            latency: DurationRange::new(10_000, 10_000),
            loss_per_mille,
            ..WorldConfig::default()
        })
    }

    #[test]
    fn dropped_message_position_is_at_barrier() {
        let mut cut = network(0);
        cut.cut(1, 2);
        assert_eq!(comes(&mut cut), 500);
        let mut sender_alone = network(0);
        sender_alone.isolate(1);
        assert_eq!(comes(&mut sender_alone), 0);
        let mut receiver_alone = network(0);
        receiver_alone.isolate(2);
        assert_eq!(comes(&mut receiver_alone), 1000);
    }

    #[test]
    fn random_drops_have_random_positions() {
        let mut lossy = network(1000);
        let places: std::collections::BTreeSet<u64> = (0..20).map(|_| comes(&mut lossy)).collect();
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
    fn full_queue_overflows() {
        // A message without entries takes 60 ms.
        let config = WorldConfig { bandwidth: 1_000, ..WorldConfig::default() };
        let mut network = Network::new(&config);
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

    #[test]
    fn dropped_message_position_is_current() {
        let mut network = network(0);
        let message = Message::TimeoutNow(TimeoutNow { term: Term(1) });
        let arrivals = network.send(0, 1, 2, message, &mut SimRng::new(1));
        network.drop_message(arrivals[0].unwrap().1, 3_000);
        assert_eq!(network.lost[0].at, 3_000);
    }
}
