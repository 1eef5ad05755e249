//! Links, and the messages on them.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::Message;
use serde::{Deserialize, Serialize};

use crate::config::WorldConfig;
use crate::random::{Random, Span};

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
pub struct Lost {
    /// The message. It was lost at the time at which it would have arrived or, if the link was cut,
    /// at which it left.
    pub message: InFlight,
    /// When it was lost.
    pub at: u64,
}

/// How latencies are spread over their range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Evenly. A range from a number to the same number is constant.
    #[default]
    Uniform,
    /// Exponentially above the shortest, with the middle of the range as mean: most messages are quick, and
    /// some take several times as long as the range says.
    Exponential,
    /// As those of a network with bursts: one message in a hundred takes about twenty times as long as most.
    LongTailed,
}

#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) latency: Span,
    shape: Shape,
    /// Bytes a second on each way; zero is as many as there are.
    bandwidth: u64,
    /// Until when each way is busy with what was sent before.
    busy_until: BTreeMap<(u64, u64), u64>,
    pub(crate) loss_per_mille: u32,
    pub(crate) duplicate_per_mille: u32,
    reorder: bool,
    cut: BTreeSet<(u64, u64)>,
    isolated: BTreeSet<u64>,
    pub(crate) in_flight: BTreeMap<u64, InFlight>,
    /// When the latest message arrives, of each way and lane.
    latest: BTreeMap<(u64, u64, bool), u64>,
    next_id: u64,
    /// The latest losses, for whoever watches.
    pub(crate) lost: Vec<Lost>,
    pub(crate) sent: u64,
}

/// About how many bytes a message has besides its entries.
const HEADER_BYTES: usize = 60;
/// A link keeps what waits to be sent for this long, in microseconds, and loses what comes then.
const QUEUE_MAX: u64 = 100_000;
/// How many losses are remembered.
const LOST_MAX: usize = 64;

impl Network {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        Self {
            latency: config.latency,
            shape: config.latency_shape,
            bandwidth: config.bandwidth,
            busy_until: BTreeMap::new(),
            loss_per_mille: config.loss_per_mille,
            duplicate_per_mille: config.duplicate_per_mille,
            reorder: config.reorder,
            cut: BTreeSet::new(),
            isolated: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            latest: BTreeMap::new(),
            next_id: 1,
            lost: Vec::new(),
            sent: 0,
        }
    }

    /// Sends a message, and returns what will arrive: nothing, the message, or two of it.
    pub(crate) fn send(
        &mut self,
        now: u64,
        from: u64,
        to: u64,
        message: Message,
        random: &mut Random,
    ) -> Vec<(u64, u64)> {
        self.sent += 1;
        let copies = if random.chance(self.duplicate_per_mille) {
            2
        } else {
            1
        };
        let lost = random.chance(self.loss_per_mille) || !self.connects(from, to);
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let left_at = self.leaves(now, from, to, &message);
            let lost = lost || left_at.is_none();
            let mut arrives_at = left_at.unwrap_or(now) + random.delay(self.latency, self.shape);
            if !self.reorder {
                let bulk = matches!(
                    message,
                    Message::AppendEntries(_) | Message::InstallSnapshot(_)
                );
                let latest = self.latest.entry((from, to, bulk)).or_default();
                arrives_at = arrives_at.max(*latest);
                *latest = arrives_at;
            }
            let id = self.next_id;
            self.next_id += 1;
            let flight = InFlight {
                id,
                from,
                to,
                message: message.clone(),
                sent_at: now,
                arrives_at,
            };
            if lost {
                self.note_loss(flight, now);
            } else {
                self.in_flight.insert(id, flight);
                arrivals.push((arrives_at, id));
            }
        }
        arrivals
    }

    /// When the last byte of a message has left, behind what was sent before it. None if so much waits
    /// already that there is no room for it.
    fn leaves(&mut self, now: u64, from: u64, to: u64, message: &Message) -> Option<u64> {
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
        let busy_until = self.busy_until.entry((from, to)).or_default();
        if *busy_until > now + QUEUE_MAX {
            return None;
        }
        *busy_until = now.max(*busy_until) + takes;
        Some(*busy_until)
    }

    /// Takes a message that arrives. None if it was dropped on the way, or its link was cut.
    pub(crate) fn arrive(&mut self, id: u64) -> Option<InFlight> {
        let flight = self.in_flight.remove(&id)?;
        if self.connects(flight.from, flight.to) {
            return Some(flight);
        }
        let at = flight.arrives_at;
        self.note_loss(flight, at);
        None
    }

    pub(crate) fn drop_message(&mut self, id: u64, now: u64) -> Option<InFlight> {
        let flight = self.in_flight.remove(&id)?;
        self.note_loss(flight.clone(), now);
        Some(flight)
    }

    /// Lets a message on its way arrive twice; returns when the second one does.
    pub(crate) fn duplicate_message(
        &mut self,
        id: u64,
        now: u64,
        random: &mut Random,
    ) -> Option<(u64, u64)> {
        let mut copy = self.in_flight.get(&id)?.clone();
        copy.id = self.next_id;
        copy.arrives_at = now + random.span(self.latency);
        self.next_id += 1;
        let arrival = (copy.arrives_at, copy.id);
        self.in_flight.insert(copy.id, copy);
        Some(arrival)
    }

    pub(crate) fn connects(&self, from: u64, to: u64) -> bool {
        !self.cut.contains(&(from, to))
            && !self.isolated.contains(&from)
            && !self.isolated.contains(&to)
    }

    pub(crate) fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(crate) fn is_isolated(&self, node: u64) -> bool {
        self.isolated.contains(&node)
    }

    pub(crate) fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self, from: u64, to: u64) {
        self.cut.remove(&(from, to));
    }

    pub(crate) fn isolate(&mut self, node: u64) {
        self.isolated.insert(node);
    }

    pub(crate) fn reconnect(&mut self, node: u64) {
        self.isolated.remove(&node);
    }

    pub(crate) fn partition(&mut self, nodes: u64, groups: &[Vec<u64>]) {
        self.cut.clear();
        for from in 1..=nodes {
            for to in 1..=nodes {
                let together = groups
                    .iter()
                    .any(|group| group.contains(&from) && group.contains(&to));
                if from != to && !together {
                    self.cut.insert((from, to));
                }
            }
        }
    }

    pub(crate) fn heal_all(&mut self) {
        self.cut.clear();
        self.isolated.clear();
    }

    fn note_loss(&mut self, message: InFlight, at: u64) {
        if self.lost.len() == LOST_MAX {
            self.lost.remove(0);
        }
        self.lost.push(Lost { message, at });
    }
}
