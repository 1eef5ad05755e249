//! Random faults of a campaign run, and their ends.

use crate::campaign::FAULT_PHASE;
use crate::network::latency::DurationRange;
use crate::timeline::TimedAction;
use crate::util::rng::SimRng;
use crate::world::action::Action;
use crate::world::config::WorldConfig;

/// The largest error of a clock, in parts per million.
pub(super) const DRIFT_PPM_MAX: u32 = 300_000;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Crash,
    PowerCut,
    Pause,
    Isolate,
    OneWayCut,
    /// Groups of nodes, sometimes with a node that reaches both groups.
    Partition,
    /// Some pairs of nodes cannot reach each other.
    PartialPartition,
    /// A link fails and heals in turn.
    Flapping,
    /// Nodes are isolated one by one, and return in another order (FoundationDB).
    SwizzleClog,
    ClockDrift,
    SlowDisk,
    FailingDisk,
    TimerFires,
    /// Latency and loss change for a while.
    NetworkWeather,
    /// An operator requests another membership.
    Membership,
    /// An operator requests a leadership transfer.
    Transfer,
}

impl Fault {
    /// All kinds. A run has only some of them, so that faults that hide each other also occur
    /// alone.
    pub(super) const ALL: [Self; 16] = [
        Self::Crash,
        Self::PowerCut,
        Self::Pause,
        Self::Isolate,
        Self::OneWayCut,
        Self::Partition,
        Self::PartialPartition,
        Self::Flapping,
        Self::SwizzleClog,
        Self::ClockDrift,
        Self::SlowDisk,
        Self::FailingDisk,
        Self::TimerFires,
        Self::NetworkWeather,
        Self::Membership,
        Self::Transfer,
    ];
}

/// Adds faults of these kinds until the end of the fault phase.
pub(super) fn schedule(
    kinds: &[Fault],
    config: &WorldConfig,
    random: &mut SimRng,
    actions: &mut Vec<TimedAction>,
) {
    if kinds.is_empty() {
        return;
    }
    let mut at = 1 + random.below(1_000_000);
    while at < FAULT_PHASE {
        let lasts = random.within(10_000..=3 * config.cluster.election_timeout.max);
        let kind = random.pick(kinds);
        let node = random.within(1..=config.cluster.nodes);
        let other =
            (node + random.below(config.cluster.nodes.max(2) - 1)) % config.cluster.nodes + 1;
        Injection { config, random, actions, at, lasts, node, other }.inject(kind);
        at += random.within(10_000..=1_500_000);
    }
}

/// A fault at one time.
struct Injection<'a> {
    config: &'a WorldConfig,
    random: &'a mut SimRng,
    actions: &'a mut Vec<TimedAction>,
    at: u64,
    /// The duration, in microseconds.
    lasts: u64,
    /// A random node, and another one if there is more than one.
    node: u64,
    other: u64,
}

impl Injection<'_> {
    fn inject(&mut self, kind: Fault) {
        let (node, other, has_links) = (self.node, self.other, self.config.cluster.nodes > 1);
        match kind {
            Fault::Crash => self.begin_and_end(Action::Crash { node }, Action::Restart { node }),
            Fault::PowerCut => self.power_cut(),
            Fault::Pause => self.begin_and_end(Action::Pause { node }, Action::Resume { node }),
            Fault::Isolate => {
                self.begin_and_end(Action::Isolate { node }, Action::Reconnect { node });
            }
            Fault::OneWayCut if has_links => {
                let (from, to) = (node, other);
                self.begin_and_end(Action::CutLink { from, to }, Action::HealLink { from, to });
            }
            Fault::Flapping if has_links => self.flapping(),
            Fault::OneWayCut | Fault::Flapping => {}
            Fault::Partition => self.partition(),
            Fault::PartialPartition => self.partial_partition(),
            Fault::SwizzleClog => self.swizzle_clog(),
            Fault::ClockDrift => {
                let most = DRIFT_PPM_MAX as i32;
                let drift = self.random.within(0..=2 * u64::from(DRIFT_PPM_MAX)) as i32 - most;
                self.add(self.at, Action::SetClock { node, drift });
            }
            Fault::SlowDisk => {
                let set = |min, max| {
                    let sync_latency = DurationRange::new(min, max);
                    Action::SetSyncLatency { node, sync_latency }
                };
                self.begin_and_end(set(100_000, 800_000), set(100, 10_000));
            }
            Fault::FailingDisk => {
                self.begin_and_end(Action::FailDisk { node }, Action::Restart { node });
            }
            Fault::TimerFires => self.add(self.at, Action::FireTimer { node }),
            Fault::NetworkWeather => self.network_weather(),
            Fault::Transfer => {
                // The transfer target is sometimes down.
                if self.random.chance_per_mille(300) {
                    self.begin_and_end(Action::Crash { node }, Action::Restart { node });
                }
                self.add(self.at, Action::Transfer { to: node });
            }
            Fault::Membership => self.membership(),
        }
    }

    fn add(&mut self, at: u64, action: Action) {
        self.actions.push(TimedAction { at, action });
    }

    fn begin_and_end(&mut self, begin: Action, end: Action) {
        self.add(self.at, begin);
        self.add(self.at + self.lasts, end);
    }

    fn power_cut(&mut self) {
        self.add(self.at, Action::PowerCut);
        for node in 1..=self.config.cluster.nodes {
            let at = self.at + self.random.below(self.lasts);
            self.add(at, Action::Restart { node });
        }
    }

    fn partition(&mut self) {
        let mut groups = vec![Vec::new(), Vec::new()];
        for node in 1..=self.config.cluster.nodes {
            let side = self.random.below(5);
            if side != 1 {
                groups[0].push(node);
            }
            if side > 3 || side == 1 {
                groups[1].push(node);
            }
        }
        self.begin_and_end(Action::Partition { groups }, Action::HealNetwork);
    }

    fn partial_partition(&mut self) {
        for from in 1..=self.config.cluster.nodes {
            for to in from + 1..=self.config.cluster.nodes {
                if self.random.chance_per_mille(350) {
                    self.add(self.at, Action::CutLink { from, to });
                    self.add(self.at, Action::CutLink { from: to, to: from });
                }
            }
        }
        self.add(self.at + self.lasts, Action::HealNetwork);
    }

    fn flapping(&mut self) {
        let ways = [(self.node, self.other), (self.other, self.node)];
        let flapping = 1 + usize::from(self.random.chance_per_mille(500));
        let period = self.random.within(5_000..=self.config.cluster.election_timeout.max + 100_000);
        let (mut at, mut cut) = (self.at, true);
        while at < self.at + 4 * self.lasts {
            for (from, to) in ways.into_iter().take(flapping) {
                let heal = Action::HealLink { from, to };
                self.add(at, if cut { Action::CutLink { from, to } } else { heal });
            }
            cut = !cut;
            at += period;
        }
        for (from, to) in ways {
            self.add(at, Action::HealLink { from, to });
        }
    }

    fn swizzle_clog(&mut self) {
        let step = self.lasts / (2 * self.config.cluster.nodes) + 1;
        let mut clogged: Vec<_> =
            (1..=self.config.cluster.nodes).filter(|_| self.random.chance_per_mille(500)).collect();
        for (position, node) in (0..).zip(&clogged) {
            self.add(self.at + position * step, Action::Isolate { node: *node });
        }
        let mut at = self.at + self.lasts;
        while !clogged.is_empty() {
            let node = clogged.swap_remove(self.random.below(clogged.len() as u64) as usize);
            self.add(at, Action::Reconnect { node });
            at += step;
        }
    }

    fn network_weather(&mut self) {
        let min = self.random.within(100..=30_000);
        let worse = Action::SetNetwork {
            latency: DurationRange::new(min, min + self.random.within(0..=100_000)),
            loss_per_mille: self.random.pick(&[0, 50, 300, 600]),
            duplicate_per_mille: self.random.pick(&[0, 100]),
        };
        let usual = Action::SetNetwork {
            latency: self.config.network.latency,
            loss_per_mille: self.config.network.loss_per_mille,
            duplicate_per_mille: self.config.network.duplicate_per_mille,
        };
        self.begin_and_end(worse, usual);
    }

    fn membership(&mut self) {
        let (mut voters, mut learners, mut joining) = (vec![self.node], Vec::new(), Vec::new());
        for other in (1..=self.config.cluster.nodes).filter(|other| *other != self.node) {
            match self.random.below(10) {
                0 => {}
                1 => learners.push(other),
                2 | 3 => joining.push(other),
                _ => voters.push(other),
            }
        }
        self.add(self.at, Action::ChangeMembership { voters, learners, joining });
    }
}
