//! Worlds full of faults, drawn from a seed, and what must hold in each of them.
//!
//! A campaign run has two phases. In the first, everything may break at any moment, and safety must
//! hold. Then all is mended, and a client's write must succeed within a bounded number of
//! election timeouts. At the end the whole history must be linearizable.

use std::collections::BTreeMap;

use crate::action::{Action, Request};
use crate::client::AskingState;
use crate::config::WorldConfig;
use crate::invariants::{Invariant, Violation};
use crate::random::{Random, Span};
use crate::run::{Script, Timed};
use crate::view::ProcessView;
use crate::world::World;

/// One seed's world and its faults.
#[derive(Clone, Debug)]
pub struct Campaign {
    script: Script,
    /// When the faults end.
    healed_at: u64,
    seed: u64,
}

/// How a campaign run ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed that decides everything.
    pub seed: u64,
    /// The rule that was broken, if one was.
    pub violation: Option<Violation>,
    /// How many events there were.
    pub events: u64,
    /// How much time passed in the world, in microseconds.
    pub simulated: u64,
    /// See [`World::trace_hash`].
    pub trace_hash: u64,
    /// How often each kind of fault occurred.
    pub faults: BTreeMap<&'static str, u64>,
    /// Client requests that were answered.
    pub answered: u64,
}

/// How long the faults last.
const FAULTS_LAST: u64 = 8_000_000;
/// How many of the longest election timeouts the mended cluster has to serve a write. Two
/// elections may fail, and a follower may have to be repaired first.
const TIMEOUTS_TO_RECOVER: u64 = 20;
/// The linearizability checker gives up after this many steps for a key.
const STEPS_MAX: u64 = 500_000;

/// The kinds of faults. A run has only some of them: faults that hide each other meet alone, too.
const FAULTS: [&str; 10] = [
    "crash",
    "power cut",
    "pause",
    "isolate",
    "one-way cut",
    "partition",
    "clock drift",
    "slow disk",
    "failing disk",
    "timer fires",
];

impl Campaign {
    /// Draws a world and its faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_0ffa);
        let nodes = random.pick(&[1, 2, 3, 3, 3, 4, 5, 5, 5, 7]);
        let election_min = random.within(100_000..=300_000);
        let election_max = election_min + random.within(50_000..=300_000);
        let latency_min = random.within(100..=5_000);
        let config = WorldConfig {
            nodes,
            seed,
            election_timeout: Span::new(election_min, election_max),
            heartbeat_interval: election_min / random.within(3..=8),
            pre_vote: random.chance(700),
            check_quorum: random.chance(700),
            window_bytes_max: random.pick(&[0, 1000, 1 << 20]),
            append_bytes_max: random.pick(&[1, 300, 4096]),
            latency: Span::new(latency_min, latency_min + random.within(0..=20_000)),
            loss_per_mille: random.pick(&[0, 0, 10, 100, 300]),
            duplicate_per_mille: random.pick(&[0, 0, 20, 200]),
            reorder: random.chance(500),
            sync: Span::new(100, 100 + random.within(0..=20_000)),
            clients: random.within(1..=5),
            think: Span::new(1_000, 1_000 + random.within(1_000..=100_000)),
            keys: random.within(1..=5),
            request_timeout: election_max,
            story: false,
        };
        let kinds: Vec<_> = FAULTS.into_iter().filter(|_| random.chance(400)).collect();
        let mut actions = Vec::new();
        if !kinds.is_empty() {
            let mut at = random.below(1_000_000);
            while at < FAULTS_LAST {
                let lasts = random.within(10_000..=3 * election_max);
                schedule(
                    random.pick(&kinds),
                    at,
                    lasts,
                    nodes,
                    &mut random,
                    &mut actions,
                );
                at += random.within(10_000..=1_500_000);
            }
        }
        let healed_at = FAULTS_LAST;
        actions.retain(|timed: &Timed| timed.at < healed_at);
        actions.sort_by_key(|timed| timed.at);
        Self {
            script: Script { config, actions },
            healed_at,
            seed,
        }
    }

    /// The world and what is done to it until it is mended.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The same, with a story to tell.
    #[must_use]
    pub fn explained(mut self) -> Self {
        self.script.config.story = true;
        self
    }

    /// Runs it.
    #[must_use]
    pub fn run(&self) -> Report {
        self.run_to_the_end().1
    }

    /// Runs it, and returns the world as it ended, too.
    ///
    /// # Panics
    ///
    /// Never: the configurations that are drawn are valid.
    #[must_use]
    pub fn run_to_the_end(&self) -> (World, Report) {
        let mut faults: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut world = match World::new(self.script.config.clone()) {
            Ok(world) => world,
            Err(error) => unreachable!(
                "the configuration of seed {} is drawn valid: {error}",
                self.seed
            ),
        };
        for timed in &self.script.actions {
            world.run_until(timed.at);
            // A node that is down already cannot crash: the action is refused, and that is fine.
            if world.violation().is_none() && world.act(&timed.action).is_ok() {
                *faults.entry(name(&timed.action)).or_default() += 1;
            }
        }
        world.run_until(self.healed_at);
        mend(&mut world);
        let violation = world
            .violation()
            .cloned()
            .or_else(|| self.recovers(&mut world))
            .or_else(|| world.judge_history(STEPS_MAX));
        let answered = world
            .askings()
            .filter(|asking| asking.returned.is_some())
            .count() as u64;
        let report = Report {
            seed: self.seed,
            violation,
            events: world.events(),
            simulated: world.now(),
            trace_hash: world.trace_hash(),
            faults,
            answered,
        };
        (world, report)
    }

    /// Whether the mended cluster serves a write in time.
    fn recovers(&self, world: &mut World) -> Option<Violation> {
        let ask = |world: &mut World| {
            let request = Request::Put {
                key: "mended".into(),
                value: "yes".into(),
            };
            world.ask(None, None, request)
        };
        let timeout = self.script.config.election_timeout.max;
        let deadline = self.healed_at + TIMEOUTS_TO_RECOVER * timeout;
        let mut asking = ask(world);
        let mut answered = false;
        while !answered && world.next_at().is_some_and(|at| at <= deadline) {
            world.step();
            match world.asking(asking).map(|asked| &asked.state) {
                Some(AskingState::Done { .. }) => answered = true,
                // A client that gave up before a leader was there; another one tries.
                Some(AskingState::Unknown) => asking = ask(world),
                Some(AskingState::Waiting) | None => {}
            }
        }
        if world.violation().is_some() {
            return world.violation().cloned();
        }
        if answered {
            // What clients still wait for shall have its time, too.
            world.run_until(world.now() + 2 * self.script.config.request_timeout);
            return world.violation().cloned();
        }
        let text = format!(
            "all is mended, but no write succeeds within {TIMEOUTS_TO_RECOVER} election timeouts"
        );
        Some(Violation {
            invariant: Invariant::Availability,
            text,
            at: world.now(),
        })
    }
}

/// Adds a fault and its end.
fn schedule(
    kind: &str,
    at: u64,
    lasts: u64,
    nodes: u64,
    random: &mut Random,
    actions: &mut Vec<Timed>,
) {
    let mut add = |at, action| actions.push(Timed { at, action });
    let node = random.within(1..=nodes);
    match kind {
        "crash" => {
            add(at, Action::Crash { node });
            add(at + lasts, Action::Restart { node });
        }
        "power cut" => {
            add(at, Action::PowerCut);
            for node in 1..=nodes {
                add(at + random.below(lasts), Action::Restart { node });
            }
        }
        "pause" => {
            add(at, Action::Pause { node });
            add(at + lasts, Action::Resume { node });
        }
        "isolate" => {
            add(at, Action::Isolate { node });
            add(at + lasts, Action::Reconnect { node });
        }
        "one-way cut" if nodes > 1 => {
            let to = (node + random.below(nodes - 1)) % nodes + 1;
            add(at, Action::CutLink { from: node, to });
            add(at + lasts, Action::HealLink { from: node, to });
        }
        "partition" => {
            let mut groups = vec![Vec::new(), Vec::new()];
            for node in 1..=nodes {
                // Now and then a node sees both sides.
                let side = random.below(5);
                if side != 1 {
                    groups[0].push(node);
                }
                if side > 3 || side == 1 {
                    groups[1].push(node);
                }
            }
            add(at, Action::Partition { groups });
            add(at + lasts, Action::HealNetwork);
        }
        "clock drift" => {
            let drift = random.within(0..=600_000) as i32 - 300_000;
            add(at, Action::SetClock { node, drift });
        }
        "slow disk" => {
            add(
                at,
                Action::SetDisk {
                    node,
                    sync: Span::new(100_000, 800_000),
                },
            );
            add(
                at + lasts,
                Action::SetDisk {
                    node,
                    sync: Span::new(100, 10_000),
                },
            );
        }
        "failing disk" => {
            add(at, Action::FailDisk { node });
            add(at + lasts, Action::Restart { node });
        }
        "timer fires" => add(at, Action::Timeout { node }),
        _ => {}
    }
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Crash { .. } => "crash",
        Action::PowerCut => "power cut",
        Action::Restart { .. } => "restart",
        Action::Pause { .. } => "pause",
        Action::Resume { .. } => "resume",
        Action::Timeout { .. } => "timer fires",
        Action::FailDisk { .. } => "failing disk",
        Action::SetDisk { .. } => "slow disk",
        Action::SetClock { .. } => "clock drift",
        Action::CutLink { .. } => "one-way cut",
        Action::Isolate { .. } => "isolate",
        Action::Partition { .. } => "partition",
        Action::HealLink { .. } | Action::Reconnect { .. } | Action::HealNetwork => "heal",
        Action::SetNetwork { .. } => "network",
        Action::DropMessage { .. } | Action::DuplicateMessage { .. } => "message",
        Action::Request { .. } | Action::StopClients => "client",
    }
}

/// Mends everything.
fn mend(world: &mut World) {
    if world.violation().is_some() {
        return;
    }
    let latency = world.config().latency;
    let mut repairs = vec![
        Action::HealNetwork,
        Action::SetNetwork {
            latency,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
        },
        Action::StopClients,
    ];
    for node in 1..=world.config().nodes {
        repairs.push(Action::SetDisk {
            node,
            sync: Span::new(100, 5_000),
        });
        repairs.push(Action::SetClock { node, drift: 0 });
        match world.process(node) {
            Some(ProcessView::Down { .. }) => repairs.push(Action::Restart { node }),
            Some(ProcessView::Paused) => repairs.push(Action::Resume { node }),
            _ => {}
        }
    }
    for repair in repairs {
        // Resuming a node can break a rule, after which everything is refused.
        let _ = world.act(&repair);
    }
}
