//! Runs that do not recover, made small.
//!
//! What is missing has no moment at which a run could be cut off. So only what was done until all
//! was mended is made less, and then everything is mended, and awaited, as in the campaign.

use crate::campaign::shrink::{Search, Shrunk};
use crate::campaign::{Campaign, Report, shrink};
use crate::check::invariants::{Invariant, Violation};
use crate::timeline::Script;
use crate::world::World;

/// How many runs may be tried, each of which takes as long as those who do not recover.
const RUNS_MAX: u32 = 1_500;

impl Campaign {
    /// Makes a run of this campaign that broke a rule as small as it can. None if it did not, or if
    /// servers had to be replaced and did not recover: the operator who replaces them is no part of
    /// what could be left out.
    #[must_use]
    pub fn shrink(&self, report: &Report) -> Option<Shrunk> {
        let violation = report.violation.as_ref()?;
        let mut script = report.script.clone();
        script.config.count_coverage = false;
        if violation.invariant != Invariant::Availability {
            return shrink(&script, violation);
        }
        if self.replaces {
            return None;
        }
        script.actions.retain(|timed| timed.at < self.healed_at);
        let judge = |faults: &Script, healed_at: u64| {
            let report = self.with(faults, healed_at)?;
            let violation = report.violation.filter(is_missing)?;
            self.is_kept_otherwise(faults, healed_at)
                .then_some(Violation { at: healed_at, ..violation })
        };
        let mut search = Search::new(&judge, Invariant::Availability, RUNS_MAX).with_step_limit(0);
        let (faults, ended) = search.run(&script, self.healed_at)?;
        let small = self.with(&faults, ended.at)?;
        Some(Shrunk { script: small.script, violation: small.violation?, runs: search.runs() })
    }

    /// The run with these faults and no others, after which all is mended. None if there is no such
    /// world.
    fn with(&self, faults: &Script, healed_at: u64) -> Option<Report> {
        let world = World::new(faults.config.clone()).ok()?;
        let campaign = Self { script: faults.clone(), adversary: None, healed_at, ..self.clone() };
        Some(campaign.run_in(world).1)
    }

    /// Whether such a world recovers as long as nothing is done to it or, if the servers break
    /// rules, as long as they do not. In a world with timeouts shorter than its messages travel
    /// nothing would be learnt.
    fn is_kept_otherwise(&self, faults: &Script, healed_at: u64) -> bool {
        let mut otherwise = faults.clone();
        if !mend(&mut otherwise) {
            otherwise.actions.clear();
        }
        let report = self.with(&otherwise, healed_at);
        report.is_some_and(|report| report.violation.is_none())
    }
}

fn is_missing(violation: &Violation) -> bool {
    violation.invariant == Invariant::Availability
}

/// Lets servers keep all rules. False if they did.
#[cfg(feature = "sabotage")]
fn mend(script: &mut Script) -> bool {
    let usual = raft_core::DisabledRules::default();
    std::mem::replace(&mut script.config.disabled_rules, usual) != usual
}

#[cfg(not(feature = "sabotage"))]
fn mend(_: &mut Script) -> bool {
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
        assert!(campaign.shrink(&report).is_none(), "nothing is missing");
    }
}
