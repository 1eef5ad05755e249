//! The comparison detects each of these disabled rules of raft-core.
#![cfg(feature = "sabotage")]

use differential::{Rules, Schedule, compare, quorum_math};
use raft_core::{DisabledRules, Rule};

/// More schedules than any of these rules needs.
const SCHEDULES: u64 = 2_000;

fn disabled(rule: Rule) -> Rules {
    Rules { disabled: DisabledRules::default().and(rule) }
}

fn assert_differs(rule: Rule) {
    let differ = |number: &u64| compare(&Schedule::generate(0, *number), disabled(rule)).is_err();
    let first = (0..SCHEDULES).find(differ);
    assert!(first.is_some(), "{} is not detected", rule.name());
}

#[test]
fn disabled_vote_for_complete_log_differs() {
    assert_differs(Rule::VoteForCompleteLog);
}

#[test]
fn disabled_candidacy_is_new_term_differs() {
    assert_differs(Rule::CandidacyIsNewTerm);
}

#[test]
fn disabled_majority_elects_differs() {
    assert_differs(Rule::MajorityElects);
}

#[test]
fn disabled_majority_commits_differs() {
    assert_differs(Rule::MajorityCommits);
}

#[test]
fn disabled_previous_entry_matches_differs() {
    assert_differs(Rule::PreviousEntryMatches);
}

#[test]
fn disabled_conflict_is_removed_differs() {
    assert_differs(Rule::ConflictIsRemoved);
}

#[test]
fn disabled_joint_consensus_differs() {
    let change = |number| quorum_math::compare_change(0, number, disabled(Rule::ChangeIsJoint));
    assert!((0..100).any(|number| change(number).is_err()));
}

#[test]
fn no_disabled_rule_agrees() {
    for number in 0..100 {
        let outcome = compare(&Schedule::generate(0, number), Rules::default());
        assert!(outcome.is_ok(), "{outcome:?}");
        let change = quorum_math::compare_change(0, number, Rules::default());
        assert!(change.is_ok(), "{change:?}");
    }
}
