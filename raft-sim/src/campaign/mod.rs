//! Worlds full of faults, drawn from a seed, and what must hold in each of them.
//!
//! A campaign run has two phases. In the first, everything may break at any moment, and safety must
//! hold. Then all is mended, a client's write must succeed within a bounded number of election
//! timeouts, and the followers must catch up; or a random quorum is mended, the others stay broken
//! for ever, and something must be committed. At the end the whole history must be linearizable.
//!
//! A fault schedule is data: some of it is drawn before the run, some is decided by an adversary
//! that watches the servers. Either way a run ends with the [`Script`] of all that was done, which
//! gives the same run again, without the adversary, and which [`shrink`] makes as small as it can.

mod adversary;
pub(crate) mod disk_faults;
pub(crate) mod extra_workloads;
pub(crate) mod generate;
pub(crate) mod liveness_core;
mod shrink;
pub(crate) mod shutdown_removed;
pub(crate) mod time_scale;

use std::collections::BTreeMap;

use adversary::Adversary;
pub(crate) use disk_faults::is_complete;
pub use shrink::{Shrunk, shrink};

use crate::check::invariants::{Invariant, Violation};
use crate::timeline::{Script, TimedAction};
use crate::util::rng::{DurationRange, SimRng};
use crate::workload::kv::OperationState;
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::view::ProcessView;

/// One seed's world and its faults.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The world, and the faults that were drawn beforehand.
    script: Script,
    adversary: Option<Adversary>,
    /// Whether servers lose their disks for good, and an operator replaces them.
    replaces: bool,
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
    /// How often each branch of the protocol was taken, if that was counted; see
    /// [`WorldConfig::count_coverage`](crate::WorldConfig::count_coverage).
    pub branches: BTreeMap<&'static str, u64>,
    /// Client requests that were answered.
    pub answered: u64,
    /// How often a server became leader.
    pub elections: u64,
    /// How many of the longest election timeouts the run lasted.
    pub timeouts: u64,
    /// All that was done: the same run again, from data alone.
    pub script: Script,
}

/// How long the faults last.
const FAULT_PHASE: u64 = 8_000_000;
/// How many of the longest election timeouts the mended cluster has to serve a write. Two
/// elections may fail, and a follower may have to be repaired first.
const TIMEOUTS_TO_RECOVER: u64 = 20;
/// How many of the longest election timeouts it has to replace servers whose disks are ruined:
/// others receive all they had, over links that may be slow.
const TIMEOUTS_TO_REPLACE: u64 = 100;
/// How many of the longest election timeouts watchers have to hear of all that was written. They
/// may be at servers that were removed, and have to find another.
const WATCH_DRAIN_TIMEOUTS: u64 = 40;
/// How often the operator looks for such servers while there are faults.
const ADVERSARY_CHECKS: u64 = 26;
/// The linearizability checker gives up after this many steps for a key.
const STEPS_MAX: u64 = 500_000;

impl Campaign {
    /// Draws a world and its faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        generate::generate(seed)
    }

    /// The world and what is done to it until it is mended, as far as it is known beforehand.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The same, with a story to tell.
    #[must_use]
    pub fn explained(mut self) -> Self {
        self.script.config.record_events = true;
        self
    }

    /// The same, with servers that break rules.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn breaking(mut self, rules: raft_core::DisabledRules) -> Self {
        self.script.config.disabled_rules = rules;
        self
    }

    /// The same, and the branches of the protocol are counted.
    #[must_use]
    pub fn counted(mut self) -> Self {
        self.script.config.count_coverage = true;
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
        let world = match World::new(self.script.config.clone()) {
            Ok(world) => world,
            Err(error) => {
                unreachable!("the configuration of seed {} is drawn valid: {error}", self.seed)
            }
        };
        self.run_in(world)
    }

    fn run_in(&self, world: World) -> (World, Report) {
        let mut stage =
            CampaignRun { world, acted_at: None, done: Vec::new(), faults: BTreeMap::new() };
        self.break_things(&mut stage);
        stage.advance(self.healed_at);
        let violation = match stage.world.violation() {
            Some(violation) => Some(violation.clone()),
            None => { self.goes_on(&mut stage) }
                .or_else(|| stage.world.check_stores())
                .or_else(|| stage.world.judge_history(STEPS_MAX)),
        };
        let CampaignRun { world, done, faults, .. } = stage;
        let answered = world.askings().filter(|asking| asking.returned.is_some()).count() as u64;
        let report = Report {
            seed: self.seed,
            violation,
            events: world.events(),
            simulated: world.now(),
            trace_hash: world.trace_hash(),
            faults,
            branches: world.branches().clone(),
            answered,
            elections: world.elections(),
            timeouts: world.now() / self.script.config.election_timeout.max.max(1),
            script: Script { config: self.script.config.clone(), actions: done },
        };
        (world, report)
    }

    fn break_things(&self, stage: &mut CampaignRun) {
        let mut adversary = self.adversary.clone();
        let mut random = SimRng::new(self.seed ^ 0xbad_5eed);
        let mut drawn = self.script.actions.iter().peekable();
        let looks_every = self.healed_at / ADVERSARY_CHECKS;
        let mut looks_at = match self.replaces {
            true => looks_every,
            false => u64::MAX,
        };
        while stage.world.violation().is_none() {
            let next = drawn.peek().map_or(self.healed_at, |timed| timed.at);
            let stop = next.min(looks_at);
            if let Some(adversary) = &mut adversary {
                while stage.world.next_at().is_some_and(|at| at < stop) {
                    stage.world.step();
                    if stage.acted_at < Some(stage.world.now()) {
                        for action in adversary.next_actions(&stage.world, &mut random) {
                            stage.act(action);
                        }
                    }
                }
            }
            stage.advance(stop);
            while let Some(timed) = drawn.next_if(|timed| timed.at <= stop) {
                stage.act(timed.action.clone());
            }
            if looks_at <= stop {
                looks_at += looks_every;
                disk_faults::replace(&stage.world).into_iter().for_each(|action| stage.act(action));
            }
            if stop >= self.healed_at {
                let left = adversary.map(|adversary| adversary.leave(&stage.world));
                for action in left.into_iter().flatten() {
                    stage.act(action);
                }
                return;
            }
        }
    }

    /// Whether those who are mended do their work again.
    fn goes_on(&self, stage: &mut CampaignRun) -> Option<Violation> {
        let mut random = SimRng::new(self.seed ^ 0x90_0b0e);
        if !self.replaces
            && random.chance_per_mille(500)
            && let Some(held) = liveness_core::check_liveness_core(stage, &mut random)
        {
            return stage.world.violation().cloned().or(held.err());
        }
        for repair in heal_actions(&stage.world) {
            stage.act(repair);
        }
        self.recovers(stage)
    }

    /// Whether the mended cluster serves a write in time, and is as large as before.
    fn recovers(&self, stage: &mut CampaignRun) -> Option<Violation> {
        let timeout = self.script.config.election_timeout.max;
        let missed = |stage: &CampaignRun, text| {
            let (invariant, at) = (Invariant::Availability, stage.world.now());
            Some(Violation { invariant, text, at })
        };
        if self.replaces {
            // Whatever damage nobody has read yet is found now.
            stage.act(Action::PowerCut);
            for node in 1..=stage.world.config().nodes {
                stage.act(Action::Restart { node });
            }
        }
        if !self.is_serving(stage) {
            let text = timeout_text("all is mended");
            return stage.world.violation().cloned().or(missed(stage, text));
        }
        if self.replaces {
            let deadline = stage.world.now() + TIMEOUTS_TO_REPLACE * timeout;
            while !is_complete(&stage.world) && stage.world.now() < deadline {
                disk_faults::replace(&stage.world).into_iter().for_each(|action| stage.act(action));
                stage.advance(stage.world.now() + timeout);
                if stage.world.violation().is_some() {
                    break;
                }
            }
            let is_complete = is_complete(&stage.world);
            if stage.world.violation().is_none() && !(is_complete && self.is_serving(stage)) {
                let text = format!(
                    "servers with ruined disks are not replaced within {TIMEOUTS_TO_REPLACE} election timeouts"
                );
                return stage.world.violation().cloned().or(missed(stage, text));
            }
        }
        if !extra_workloads::leases_end(stage) {
            let text = "all is mended, but a lease that nobody keeps alive is still there";
            let found = stage.world.violation().cloned();
            return found.or(missed(stage, text.into()));
        }
        let revision = stage.world.ledger.revision();
        let is_told = |world: &World| world.watchers_have_seen(revision);
        if !stage.wait_for(WATCH_DRAIN_TIMEOUTS * timeout, is_told) {
            let text = format!(
                "all is mended, but a watcher is not told all within {WATCH_DRAIN_TIMEOUTS} election timeouts"
            );
            return stage.world.violation().cloned().or(missed(stage, text));
        }
        // The world itself says which follower does not catch up in time.
        stage.wait_for(stage.world.catch_up_time(), World::all_have_caught_up);
        stage.world.violation().cloned()
    }

    /// Whether a write succeeds in time.
    fn is_serving(&self, stage: &mut CampaignRun) -> bool {
        let deadline = stage.world.now() + recovery_timeout(&stage.world);
        stage.probe_write();
        let mut answered = false;
        while !answered && stage.world.next_at().is_some_and(|at| at <= deadline) {
            stage.world.step();
            let latest = stage.world.askings().next_back();
            match latest.map(|asked| asked.state.clone()) {
                Some(OperationState::Done { .. }) => answered = true,
                // A client that gave up before a leader was there; another one tries.
                Some(OperationState::Unknown) => {
                    stage.turn_off_the_removed();
                    stage.probe_write();
                }
                Some(OperationState::Waiting) | None => {}
            }
        }
        if answered {
            // What clients still wait for shall have its time, too.
            let patience = 2 * self.script.config.request_timeout;
            stage.advance(stage.world.now() + patience);
        }
        answered
    }
}

/// A world under attack, and the record of what was done to it.
struct CampaignRun {
    world: World,
    /// When something was done last. What is done at one moment is done at once, with nothing in
    /// between, as a [`Run`](crate::Run) does it.
    acted_at: Option<u64>,
    done: Vec<TimedAction>,
    faults: BTreeMap<&'static str, u64>,
}

impl CampaignRun {
    /// Lets time pass, unless something was done at this moment already.
    fn advance(&mut self, time: u64) {
        if self.acted_at < Some(time) {
            self.world.run_until(time);
        }
    }

    /// A node that is down already cannot crash: such an action is refused, and not recorded.
    fn act(&mut self, action: Action) {
        if self.world.act(&action).is_ok() {
            *self.faults.entry(name(&action)).or_default() += 1;
            let at = self.world.now();
            self.acted_at = Some(at);
            self.done.push(TimedAction { at, action });
        }
    }

    fn turn_off_the_removed(&mut self) {
        for action in shutdown_removed::turn_off(&self.world) {
            self.act(action);
        }
    }

    /// Whether something comes about in time.
    fn wait_for(&mut self, patience: u64, comes: impl Fn(&World) -> bool) -> bool {
        let deadline = self.world.now() + patience;
        while !comes(&self.world) {
            if self.world.next_at().is_none_or(|at| at > deadline) {
                return false;
            }
            self.world.step();
        }
        true
    }

    fn probe_write(&mut self) {
        let request = Request::Put { key: "mended".into(), value: "yes".into() };
        let via = adversary::leader(&self.world).map(|(leader, _)| leader);
        self.act(Action::Request { via, request });
    }
}

/// How long a cluster may take that goes on again.
fn recovery_timeout(world: &World) -> u64 {
    TIMEOUTS_TO_RECOVER * world.config().election_timeout.max + world.snapshot_transfer_time()
}

/// What is said of those who took longer.
fn timeout_text(who: &str) -> String {
    format!(
        "{who}, but no write succeeds within {TIMEOUTS_TO_RECOVER} election timeouts and the time that a snapshot travels"
    )
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Crash { .. } => "crash",
        Action::PowerCut => "power cut",
        Action::Restart { .. } => "restart",
        Action::Pause { .. } => "pause",
        Action::Resume { .. } => "resume",
        Action::FireTimer { .. } => "timer fires",
        Action::FailDisk { .. } => "failing disk",
        Action::WipeDisk { .. } | Action::DestroyDisk { .. } => "lost disk",
        Action::CorruptEntry { .. } => "bit rot",
        Action::MisdirectWrite { .. } => "misdirected write",
        Action::FillDisk { .. } => "full disk",
        Action::FreeDisk { .. } => "room again",
        Action::SetSyncLatency { .. } => "disk speed",
        Action::SetClock { .. } | Action::JumpClock { .. } => "clock drift",
        Action::CutLink { .. } => "one-way cut",
        Action::Isolate { .. } => "isolate",
        Action::Partition { .. } => "partition",
        Action::HealLink { .. } | Action::Reconnect { .. } | Action::HealNetwork => "heal",
        Action::SetNetwork { .. } | Action::SetLatency { .. } => "network",
        Action::DropMessage { .. } | Action::DuplicateMessage { .. } => "message",
        Action::ChangeMembership { .. } => "membership",
        Action::Transfer { .. } => "transfer",
        Action::Request { .. } | Action::StopClients => "client",
        Action::GoOn => "go on",
    }
}

/// What mends everything.
fn heal_actions(world: &World) -> Vec<Action> {
    let latency = world.config().latency;
    let mut repairs = vec![
        Action::HealNetwork,
        Action::SetNetwork { latency, loss_per_mille: 0, duplicate_per_mille: 0 },
        Action::StopClients,
    ];
    for node in 1..=world.config().nodes {
        repairs.push(Action::SetSyncLatency { node, sync_latency: DurationRange::new(100, 5_000) });
        if world.is_disk_full(node) {
            repairs.push(Action::FreeDisk { node });
        }
        repairs.push(Action::SetClock { node, drift: 0 });
        match world.process(node) {
            Some(ProcessView::Down { .. }) => repairs.push(Action::Restart { node }),
            Some(ProcessView::Paused) => repairs.push(Action::Resume { node }),
            _ => {}
        }
    }
    repairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Run;

    /// The page plays what a campaign did, adversary or not.
    #[test]
    fn run_replays_from_script() {
        for seed in 0..40 {
            let report = Campaign::new(seed).run();
            assert_eq!(report.violation, None, "seed {seed}");
            let mut again = Run::new(report.script).unwrap();
            again.seek(report.simulated);
            assert_eq!(again.world().trace_hash(), report.trace_hash, "seed {seed}");
        }
    }

    /// Servers lose their disks in some runs, and others are voters in their places in the end.
    #[test]
    fn servers_with_lost_disks_are_replaced() {
        let (mut ruined, mut replaced) = (0, 0);
        for seed in 0..120 {
            let campaign = Campaign::new(seed);
            if !campaign.replaces {
                continue;
            }
            let (world, report) = campaign.run_to_the_end();
            assert_eq!(report.violation, None, "seed {seed}");
            let founders = world.config().founders.unwrap();
            let (leader, _) = adversary::leader(&world).unwrap();
            let voters = world.raft(leader).unwrap().membership().voters();
            assert_eq!(voters.len() as u64, founders, "seed {seed}");
            replaced += voters.iter().filter(|voter| voter.0 > founders).count();
            let is_down = |node: &&crate::node::Node| {
                node.running().is_none() && node.disk.is_unrecoverable()
            };
            ruined += world.nodes.iter().filter(is_down).count();
        }
        assert!(replaced > 10 && ruined == replaced, "{ruined}, {replaced}");
    }

    /// In some runs only a quorum is mended, and the others stay as they are.
    #[test]
    fn liveness_core_makes_progress() {
        let (mut held_out, mut broken) = (0, 0);
        for seed in 0..80 {
            let (world, report) = Campaign::new(seed).run_to_the_end();
            assert_eq!(report.violation, None, "seed {seed}");
            let is_in_part = |timed: &&TimedAction| matches!(&timed.action, Action::Request { request: Request::Put { value, .. }, .. } if value == "in part");
            if report.script.actions.iter().rfind(is_in_part).is_none() {
                continue;
            }
            held_out += 1;
            let nodes = 1..=world.config().nodes;
            let is_out = |node: &u64| world.raft(*node).is_none() || world.is_isolated(*node);
            broken += nodes.filter(is_out).count();
        }
        assert!(held_out > 20 && broken > 20, "{held_out}, {broken}");
    }

    /// Counting and telling watch a run, and do not change it.
    #[test]
    fn recording_events_does_not_change_trace() {
        // In 12, a server whose disk has room again has nothing to do but to say so.
        for seed in [1, 7, 12, 25] {
            let plain = Campaign::new(seed).run();
            let counted = Campaign::new(seed).counted().run();
            let explained = Campaign::new(seed).explained().run();
            assert!(plain.branches.is_empty() && !counted.branches.is_empty());
            assert_eq!([counted.trace_hash, explained.trace_hash], [plain.trace_hash; 2]);
        }
    }

    #[test]
    fn campaign_covers_all_points() {
        let mut branches = BTreeMap::new();
        for seed in 0..120 {
            branches.extend(Campaign::new(seed).counted().run().branches);
        }
        let missing: Vec<_> = crate::check::coverage::COVERAGE_POINTS
            .into_iter()
            .filter(|name| !branches.contains_key(name))
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
