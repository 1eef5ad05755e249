//! Campaigns: worlds with faults, generated from a seed, and the invariants that hold in each of
//! them.
//!
//! A campaign run has two phases. In the fault phase, faults occur at any time, and safety must
//! hold. The liveness phase has two forms. Either all faults are healed: a write must succeed
//! within a bounded number of election timeouts, and the followers must catch up. Or a random
//! quorum is healed and the other servers stay faulty forever: a write must succeed. At the end,
//! the whole history must be linearizable.
//!
//! A fault schedule is data. One part is generated before the run. An adversary that observes
//! the servers decides the other part. A run ends with the [`Script`] of all actions. This script
//! gives the same run again, without the adversary, and [`shrink`] reduces it.

mod adversary;
pub(crate) mod disk_faults;
mod extra_workloads;
mod faults;
mod generate;
pub(crate) mod golden;
mod liveness_core;
mod recovery;
mod run;
mod shrink;
mod shutdown_removed;
mod time_scale;

use std::collections::BTreeMap;

use adversary::AdversaryKind;
pub use shrink::{Shrunk, shrink};

use crate::campaign::run::CampaignRun;
use crate::check::invariants::Violation;
use crate::timeline::Script;
use crate::util::rng::SimRng;
use crate::world::World;

/// The world and the faults of one seed.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The configuration, and the faults that were generated before the run.
    script: Script,
    adversary: Option<AdversaryKind>,
    /// True if servers lose their disks permanently, and an operator replaces these servers.
    replaces_servers: bool,
    /// The end of the fault phase.
    healed_at: u64,
    seed: u64,
}

/// The result of a campaign run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed of the run.
    pub seed: u64,
    /// The violated invariant; none if all invariants held.
    pub violation: Option<Violation>,
    /// The number of events.
    pub events: u64,
    /// The simulated time, in microseconds.
    pub simulated: u64,
    /// See [`World::trace_hash`].
    pub trace_hash: u64,
    /// The number of faults of each kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each branch of the protocol was taken. Empty if that was not counted; see
    /// [`WorldConfig::count_coverage`](crate::WorldConfig::count_coverage).
    pub coverage: BTreeMap<&'static str, u64>,
    /// The number of client requests that were answered.
    pub answered: u64,
    /// The number of terms with a leader.
    pub elections: u64,
    /// The simulated time, in longest election timeouts.
    pub timeouts: u64,
    /// All actions: the same run again, without the adversary.
    pub script: Script,
}

/// The duration of the fault phase, in microseconds.
const FAULT_PHASE: u64 = 8_000_000;
/// How often an operator looks for servers with ruined disks during the fault phase.
const OPERATOR_CHECKS: u64 = 26;
/// The maximum number of steps of the linearizability checker for one key.
const STEPS_MAX: u64 = 500_000;

impl Campaign {
    /// Generates the world and the faults of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        generate::generate(seed)
    }

    /// The configuration, and the faults that were generated before the run.
    #[must_use]
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// Returns this campaign with an event log.
    #[must_use]
    pub fn with_event_log(mut self) -> Self {
        self.script.config.record_events = true;
        self
    }

    /// Returns this campaign with servers that have rules disabled.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn with_disabled_rules(mut self, rules: raft_core::DisabledRules) -> Self {
        self.script.config.cluster.disabled_rules = rules;
        self
    }

    /// Returns this campaign with a count of the branches of the protocol.
    #[must_use]
    pub fn with_coverage(mut self) -> Self {
        self.script.config.count_coverage = true;
        self
    }

    /// Runs the campaign.
    #[must_use]
    pub fn run(&self) -> Report {
        self.run_to_the_end().1
    }

    /// Runs the campaign, and also returns the final world.
    ///
    /// # Panics
    ///
    /// Never: generated configurations are valid.
    #[must_use]
    pub fn run_to_the_end(&self) -> (World, Report) {
        let world = match World::new(self.script.config.clone()) {
            Ok(world) => world,
            Err(error) => {
                unreachable!("the generated configuration of seed {} is valid: {error}", self.seed)
            }
        };
        self.run_in(world)
    }

    /// Runs the campaign in a world with the configuration of its script.
    fn run_in(&self, world: World) -> (World, Report) {
        let mut run = CampaignRun::new(world);
        self.inject_faults(&mut run);
        run.advance(self.healed_at);
        let violation = match run.world.violation() {
            Some(violation) => Some(violation.clone()),
            None => { self.check_liveness(&mut run) }
                .or_else(|| run.world.check_stores())
                .or_else(|| run.world.judge_history(STEPS_MAX)),
        };
        let CampaignRun { world, done, faults, .. } = run;
        let answered = world.askings().filter(|operation| operation.returned.is_some());
        let report = Report {
            seed: self.seed,
            violation,
            events: world.events(),
            simulated: world.now(),
            trace_hash: world.trace_hash(),
            faults,
            coverage: world.branches().clone(),
            answered: answered.count() as u64,
            elections: world.elections(),
            timeouts: world.now() / self.script.config.cluster.election_timeout.max.max(1),
            script: Script { config: self.script.config.clone(), actions: done },
        };
        (world, report)
    }

    /// The fault phase: applies the generated faults and those of the adversary, and replaces
    /// servers with ruined disks.
    fn inject_faults(&self, run: &mut CampaignRun) {
        let mut adversary = self.adversary.map(AdversaryKind::create);
        let mut random = SimRng::new(self.seed ^ 0xbad_5eed);
        let mut generated = self.script.actions.iter().peekable();
        let check_interval = self.healed_at / OPERATOR_CHECKS;
        let mut check_at = if self.replaces_servers { check_interval } else { u64::MAX };
        while run.world.violation().is_none() {
            let next = generated.peek().map_or(self.healed_at, |timed| timed.at);
            let stop = next.min(check_at);
            if let Some(adversary) = &mut adversary {
                while run.world.next_at().is_some_and(|at| at < stop) {
                    run.world.step();
                    if run.acted_at < Some(run.world.now()) {
                        for action in adversary.next_actions(&run.world, &mut random) {
                            run.act(action);
                        }
                    }
                }
            }
            run.advance(stop);
            while let Some(timed) = generated.next_if(|timed| timed.at <= stop) {
                run.act(timed.action.clone());
            }
            if check_at <= stop {
                check_at += check_interval;
                if let Some(action) = disk_faults::replace_ruined(&run.world) {
                    run.act(action);
                }
            }
            if stop >= self.healed_at {
                let actions = adversary.map(|adversary| adversary.leave(&run.world));
                actions.into_iter().flatten().for_each(|action| run.act(action));
                return;
            }
        }
    }

    /// The liveness phase: heals a core or everything, and checks that the healed servers make
    /// progress.
    fn check_liveness(&self, run: &mut CampaignRun) -> Option<Violation> {
        let mut random = SimRng::new(self.seed ^ 0x90_0b0e);
        if !self.replaces_servers
            && random.chance_per_mille(500)
            && let Some(checked) = liveness_core::check_liveness_core(run, &mut random)
        {
            return run.world.violation().cloned().or(checked.err());
        }
        recovery::check_recovery(run, self.replaces_servers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{Run, TimedAction};
    use crate::world::action::{Action, Request};

    /// The page plays the recorded actions of a campaign, which include those of adversaries.
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

    /// In some runs servers lose their disks, and new servers replace them as voters.
    #[test]
    fn servers_with_lost_disks_are_replaced() {
        let (mut ruined, mut replaced) = (0, 0);
        for seed in 0..120 {
            let campaign = Campaign::new(seed);
            if !campaign.replaces_servers {
                continue;
            }
            let (world, report) = campaign.run_to_the_end();
            assert_eq!(report.violation, None, "seed {seed}");
            let founders = world.config().cluster.founders.unwrap();
            let (leader, _) = adversary::leader(&world).unwrap();
            let voters = world.raft(leader).unwrap().membership().voters();
            assert_eq!(voters.len() as u64, founders, "seed {seed}");
            replaced += voters.iter().filter(|voter| voter.0 > founders).count();
            let is_down = |node: &&crate::node::Node| {
                node.running().is_none() && node.disk.is_unrecoverable()
            };
            ruined += world.nodes().iter().filter(is_down).count();
        }
        assert!(replaced > 10 && ruined == replaced, "{ruined}, {replaced}");
    }

    /// In some runs only a quorum is healed, and the other servers stay faulty.
    #[test]
    fn liveness_core_makes_progress() {
        let (mut cores, mut outsiders) = (0, 0);
        for seed in 0..80 {
            let (world, report) = Campaign::new(seed).run_to_the_end();
            assert_eq!(report.violation, None, "seed {seed}");
            let is_probe = |timed: &&TimedAction| {
                let Action::Request { request: Request::Put { value, .. }, .. } = &timed.action
                else {
                    return false;
                };
                value == liveness_core::VALUE
            };
            if report.script.actions.iter().rfind(is_probe).is_none() {
                continue;
            }
            cores += 1;
            let nodes = 1..=world.config().cluster.nodes;
            let is_out = |node: &u64| world.raft(*node).is_none() || world.is_isolated(*node);
            outsiders += nodes.filter(is_out).count();
        }
        assert!(cores > 20 && outsiders > 20, "{cores}, {outsiders}");
    }

    /// The event log and the coverage only observe a run.
    #[test]
    fn recording_events_does_not_change_trace() {
        // In seed 12, a server whose disk has space again only emits an event.
        for seed in [1, 7, 12, 25] {
            let plain = Campaign::new(seed).run();
            let counted = Campaign::new(seed).with_coverage().run();
            let logged = Campaign::new(seed).with_event_log().run();
            assert!(plain.coverage.is_empty() && !counted.coverage.is_empty());
            assert_eq!([counted.trace_hash, logged.trace_hash], [plain.trace_hash; 2]);
        }
    }

    #[test]
    fn campaign_covers_all_points() {
        let mut coverage = BTreeMap::new();
        for seed in 0..120 {
            coverage.extend(Campaign::new(seed).with_coverage().run().coverage);
        }
        let missing: Vec<_> = crate::check::coverage::COVERAGE_POINTS
            .into_iter()
            .filter(|name| !coverage.contains_key(name))
            .collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
