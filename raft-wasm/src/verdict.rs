//! The invariants that are checked, and the verdict on the history of the clients.

use raft_sim::linearizability::{self, Limits};
use raft_sim::{Invariant, Violation, World};
use serde::Serialize;

/// Limits for about a tenth of a second on a slow phone.
const LIMITS: Limits = Limits { steps_max: 200_000, bytes_max: 16 << 20 };

/// An invariant: its key in a [`Violation`], its name, and whether a run of the page can violate
/// it.
#[derive(Serialize)]
pub(crate) struct Rule {
    rule: Invariant,
    text: String,
    checked: bool,
}

/// The verdict on a history.
#[derive(Serialize)]
pub(crate) struct Verdict {
    at: u64,
    /// The number of operations in the history.
    operations: usize,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(PartialEq, Debug, Serialize)]
#[serde(tag = "finding", rename_all = "kebab-case")]
enum Finding {
    Holds,
    Broken { violation: Violation },
    Unknown { reason: String },
}

/// All invariants. Those that need the end of a run, and those of watches and leases, are not
/// `checked`: no run that starts on the page can violate them, but a scenario can.
pub(crate) fn rules() -> Vec<Rule> {
    let others = [
        Invariant::Availability,
        Invariant::WatchOrder,
        Invariant::LeaseNotExpiredEarly,
        Invariant::LeaseKeysDeletedWithLease,
    ];
    let checked = |rule| !others.contains(&rule);
    let rule = |rule: Invariant| Rule { rule, text: rule.to_string(), checked: checked(rule) };
    Invariant::ALL.into_iter().map(rule).collect()
}

/// Checks the history of the clients up to the present moment.
pub(crate) fn judge(world: &World) -> Verdict {
    let at = world.now();
    let finding = finding(&world.judge_within(LIMITS), at);
    Verdict { at, operations: world.operations_judged(), finding }
}

fn finding(verdict: &linearizability::Verdict, at: u64) -> Finding {
    let text = verdict.in_seconds();
    match verdict {
        linearizability::Verdict::Linearizable => Finding::Holds,
        linearizability::Verdict::GaveUp { .. } => Finding::Unknown { reason: text },
        linearizability::Verdict::Violation(_) => Finding::Broken {
            violation: Violation { invariant: Invariant::Linearizability, text, at },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_sim::linearizability::{Call, HistoryOperation, check_within};

    fn operation(client: u64, call: Call, invoked: u64) -> HistoryOperation {
        HistoryOperation { client, key: "x".into(), call, invoked, returned: Some(invoked + 5) }
    }

    fn put(value: &str, invoked: u64) -> HistoryOperation {
        let value = value.into();
        operation(1, Call::Put { value }, invoked)
    }

    fn get(found: &str, invoked: u64) -> HistoryOperation {
        let found = Some(found.into());
        operation(2, Call::Get { found }, invoked)
    }

    #[test]
    fn stale_read_turns_indicator_red() {
        let history = [put("1", 0), put("2", 10), get("2", 20)];
        assert_eq!(finding(&check_within(&history, LIMITS), 30), Finding::Holds);
        let history = [put("1", 0), put("2", 10), get("1", 20)];
        let Finding::Broken { violation } = finding(&check_within(&history, LIMITS), 30) else {
            unreachable!("a stale read is a violation");
        };
        assert_eq!(violation.invariant, Invariant::Linearizability);
        assert_eq!(violation.at, 30);
    }

    #[test]
    fn exhausted_search_is_unknown() {
        let stale = [put("1", 0), put("2", 10), get("1", 20)];
        let limits = Limits { steps_max: 0, ..LIMITS };
        let finding = finding(&check_within(&stale, limits), 30);
        assert!(matches!(finding, Finding::Unknown { .. }), "{finding:?}");
    }
}
