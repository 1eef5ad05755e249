//! Reduction of runs that do not recover.
//!
//! The violation has no time at which the run could be cut. Only the actions of the fault phase are
//! reduced. Then everything is healed, and the recovery is checked as in the campaign.

use crate::campaign::shrink::{Search, Shrunk};
use crate::campaign::{Campaign, Report, shrink};
use crate::check::invariants::{Invariant, Violation};
use crate::timeline::Script;
use crate::world::World;

/// The maximum number of runs. Each of them takes as long as a run that does not recover.
const RUNS_MAX: u32 = 1_500;

impl Campaign {
    /// Reduces a run of this campaign that violates an invariant. Returns none if the run violates
    /// none. Returns none for a run that does not recover and in which servers had to be replaced:
    /// the actions of the operator who replaces them cannot be omitted.
    #[must_use]
    pub fn shrink(&self, report: &Report) -> Option<Shrunk> {
        let violation = report.violation.as_ref()?;
        let mut script = report.script.clone();
        script.config.count_coverage = false;
        if violation.invariant != Invariant::Availability {
            return shrink(&script, violation);
        }
        if self.replaces_servers {
            return None;
        }
        script.actions.retain(|timed| timed.at < self.healed_at);
        let oracle = |faults: &Script, healed_at: u64| {
            let report = self.run_with(faults, healed_at)?;
            let violation = report.violation.filter(is_unavailable)?;
            self.recovers_otherwise(faults, healed_at)
                .then_some(Violation { at: healed_at, ..violation })
        };
        let search = Search::new(&oracle, Invariant::Availability, RUNS_MAX);
        let mut search = search.with_extra_time(0);
        let (faults, ended) = search.run(&script, self.healed_at)?;
        let small = self.run_with(&faults, ended.at)?;
        Some(Shrunk { script: small.script, violation: small.violation?, runs: search.runs() })
    }

    /// Runs the campaign with these faults alone, and heals them at `healed_at`. Returns none if
    /// the configuration is invalid.
    fn run_with(&self, faults: &Script, healed_at: u64) -> Option<Report> {
        let world = World::new(faults.config.clone()).ok()?;
        let campaign = Self { script: faults.clone(), adversary: None, healed_at, ..self.clone() };
        Some(campaign.run_in(world).1)
    }

    /// Returns true if the configuration recovers with all rules enabled or, if none was disabled,
    /// without faults. Otherwise the shrinker could select a configuration that never works, such
    /// as one whose timeouts are shorter than its latencies.
    fn recovers_otherwise(&self, faults: &Script, healed_at: u64) -> bool {
        let mut otherwise = faults.clone();
        if !enable_rules(&mut otherwise) {
            otherwise.actions.clear();
        }
        let report = self.run_with(&otherwise, healed_at);
        report.is_some_and(|report| report.violation.is_none())
    }
}

fn is_unavailable(violation: &Violation) -> bool {
    violation.invariant == Invariant::Availability
}

/// Enables all rules. Returns false if all were enabled.
#[cfg(feature = "sabotage")]
fn enable_rules(script: &mut Script) -> bool {
    let none = raft_core::DisabledRules::default();
    std::mem::replace(&mut script.config.cluster.disabled_rules, none) != none
}

#[cfg(not(feature = "sabotage"))]
fn enable_rules(_: &mut Script) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovering_run_is_not_shrunk() {
        let campaign = Campaign::new(3);
        let mut report = campaign.run();
        assert!(campaign.shrink(&report).is_none());
        report.violation = Some(Violation {
            invariant: Invariant::Availability,
            text: String::new(),
            at: report.simulated,
        });
        assert!(campaign.shrink(&report).is_none(), "the run recovers");
    }
}
