//! Each of these rules is disabled, and a property must be violated.
#![cfg(feature = "sabotage")]

use raft_core::Rule;
use raft_model::{Bounds, Disk, Order, check};

/// A limit above the steps of each of these searches. A rule that is not detected ends the search
/// here.
const STEPS_MAX: usize = 10_000_000;

fn assert_violates(rule: Rule, bounds: Bounds, property: &str) {
    let bounds = Bounds { disabled: Some(rule), ..bounds };
    let report = check(bounds, Order::BreadthFirst, 1, Some(STEPS_MAX));
    let is_violated = report.violated.iter().any(|(name, _)| *name == property);
    assert!(is_violated, "{} is not detected: {report:#?}", rule.name());
}

fn crash() -> Bounds {
    Bounds { crashes: 1, disk: Disk::InOrder, ..Bounds::new("a crash") }
}

fn two_terms() -> Bounds {
    Bounds { last_term: 2, ..Bounds::new("two terms") }
}

/// Figure 8 up to situation (b).
fn conflict() -> Bounds {
    Bounds { last_term: 3, logs: [&[1], &[2], &[]], ..Bounds::new("a conflict") }
}

#[test]
fn non_durable_votes_are_granted_twice() {
    assert_violates(Rule::VoteIsDurable, crash(), "election safety");
    assert_violates(Rule::CandidacyIsDurable, crash(), "election safety");
}

#[test]
fn vote_counting_rules_are_needed() {
    assert_violates(Rule::OneVotePerTerm, two_terms(), "election safety");
    assert_violates(Rule::CandidacyIsNewTerm, two_terms(), "election safety");
    assert_violates(Rule::VoteCountsInItsTerm, two_terms(), "election safety");
    assert_violates(Rule::MajorityElects, two_terms(), "election safety");
    assert_violates(Rule::VoteForCompleteLog, two_terms(), "leader completeness");
}

#[test]
fn append_rules_are_needed() {
    assert_violates(Rule::StaleLeaderIsRefused, two_terms(), "leader append-only");
    assert_violates(Rule::PreviousEntryMatches, conflict(), "log matching");
    assert_violates(Rule::ConflictIsRemoved, two_terms(), "durable commit");
    let commands = Bounds { commands: 1, ..conflict() };
    assert_violates(Rule::OnlyConflictIsRemoved, commands, "durable commit");
}

#[test]
fn durable_commit_rules_are_needed() {
    assert_violates(Rule::MajorityCommits, two_terms(), "durable commit");
    assert_violates(Rule::LeaderCountsDurable, crash(), "durable commit");
    assert_violates(Rule::AcknowledgeDurable, crash(), "durable commit");
    let any_order = Bounds { commands: 1, disk: Disk::AnyOrder, ..crash() };
    assert_violates(Rule::WritesCompleteInOrder, any_order, "durable commit");
}

#[test]
fn follower_commit_rules_are_needed() {
    let beat = Bounds { heartbeats: 1, ..conflict() };
    assert_violates(Rule::HeartbeatWithinMatch, beat, "state machine safety");
    let probe = Bounds { heartbeats: 2, logs: [&[1], &[1, 2], &[]], ..conflict() };
    assert_violates(Rule::CommitWhatMatches, probe, "state machine safety");
}

/// Figure 8 of the paper, from situation (b) on.
#[test]
fn commit_own_term_rule_is_needed() {
    let figure = Bounds { last_term: 4, batches: false, ..conflict() };
    assert_violates(Rule::CommitOwnTerm, figure, "leader completeness");
}

fn change(targets: &[&[u64]]) -> Bounds {
    let voters = |target: &&[u64]| target.iter().copied().collect();
    Bounds { timeouts: 2, changes: 1, targets: targets.iter().map(voters).collect(), ..two_terms() }
}

#[test]
fn membership_rules_are_needed() {
    assert_violates(Rule::MembershipOnAppend, change(&[&[1]]), "durable commit");
    assert_violates(Rule::ChangeIsJoint, change(&[&[1]]), "leader completeness");
    assert_violates(Rule::JointNeedsBoth, change(&[&[1]]), "leader completeness");
    assert_violates(Rule::JointIsCommitted, change(&[&[1]]), "leader completeness");
    let two_at_once = Bounds { changes: 2, ..change(&[&[1, 2], &[1]]) };
    assert_violates(Rule::OneChangeAtATime, two_at_once, "leader completeness");
    let one_term = Bounds { last_term: 1, timeouts: 1, ..change(&[&[2, 3]]) };
    assert_violates(Rule::RemovedLeaderDoesNotCount, one_term, "durable commit");
}
