//! A comparison is no good if nothing can make it fail: ours breaks a rule, and the two disagree.
#![cfg(feature = "sabotage")]

use differential::{Rules, Schedule, arithmetic, compare};
use raft_core::{BrokenRules, Rule};

/// More schedules than it takes for any of these.
const SCHEDULES: u64 = 2_000;

fn broken(rule: Rule) -> Rules {
    Rules { broken: BrokenRules::default().and(rule) }
}

fn disagree(rule: Rule) {
    let differ = |number: &u64| compare(&Schedule::draw(0, *number), broken(rule)).is_err();
    let first = (0..SCHEDULES).find(differ);
    assert!(first.is_some(), "{} is broken, and nobody notices", rule.name());
}

#[test]
fn a_candidate_whose_log_is_behind_wins() {
    disagree(Rule::VoteForCompleteLog);
}

#[test]
fn a_candidacy_is_no_new_term() {
    disagree(Rule::CandidacyIsNewTerm);
}

#[test]
fn half_of_the_voters_elect() {
    disagree(Rule::MajorityElects);
}

#[test]
fn a_leader_commits_alone() {
    disagree(Rule::MajorityCommits);
}

#[test]
fn entries_are_appended_to_a_log_that_differs() {
    disagree(Rule::PreviousEntryMatches);
}

#[test]
fn conflicting_entries_stay() {
    disagree(Rule::ConflictIsRemoved);
}

#[test]
fn a_change_goes_through_no_joint_membership() {
    let change = |number| arithmetic::compare_change(0, number, broken(Rule::ChangeIsJoint));
    assert!((0..100).any(|number| change(number).is_err()));
}

#[test]
fn nothing_is_broken() {
    for number in 0..100 {
        let outcome = compare(&Schedule::draw(0, number), Rules::default());
        assert!(outcome.is_ok(), "{outcome:?}");
        let change = arithmetic::compare_change(0, number, Rules::default());
        assert!(change.is_ok(), "{change:?}");
    }
}
