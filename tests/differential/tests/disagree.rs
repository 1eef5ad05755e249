//! A comparison is no good if nothing can make it fail: ours breaks a rule, and the two disagree.
#![cfg(feature = "sabotage")]

use differential::{Rules, Schedule, arithmetic, compare};
use raft_core::{DisabledRules, Rule};

/// More schedules than it takes for any of these.
const SCHEDULES: u64 = 2_000;

fn broken(rule: Rule) -> Rules {
    Rules { broken: DisabledRules::default().and(rule) }
}

fn disagree(rule: Rule) {
    let differ = |number: &u64| compare(&Schedule::draw(0, *number), broken(rule)).is_err();
    let first = (0..SCHEDULES).find(differ);
    assert!(first.is_some(), "{} is broken, and nobody notices", rule.name());
}

#[test]
fn disabled_vote_for_complete_log_differs() {
    disagree(Rule::VoteForCompleteLog);
}

#[test]
fn disabled_candidacy_is_new_term_differs() {
    disagree(Rule::CandidacyIsNewTerm);
}

#[test]
fn disabled_majority_elects_differs() {
    disagree(Rule::MajorityElects);
}

#[test]
fn disabled_majority_commits_differs() {
    disagree(Rule::MajorityCommits);
}

#[test]
fn disabled_previous_entry_matches_differs() {
    disagree(Rule::PreviousEntryMatches);
}

#[test]
fn disabled_conflict_is_removed_differs() {
    disagree(Rule::ConflictIsRemoved);
}

#[test]
fn disabled_joint_consensus_differs() {
    let change = |number| arithmetic::compare_change(0, number, broken(Rule::ChangeIsJoint));
    assert!((0..100).any(|number| change(number).is_err()));
}

#[test]
fn no_disabled_rule_agrees() {
    for number in 0..100 {
        let outcome = compare(&Schedule::draw(0, number), Rules::default());
        assert!(outcome.is_ok(), "{outcome:?}");
        let change = arithmetic::compare_change(0, number, Rules::default());
        assert!(change.is_ok(), "{change:?}");
    }
}
