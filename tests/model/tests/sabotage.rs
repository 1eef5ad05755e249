//! The checker is no good if it finds nothing where there is something: each of these rules is
//! broken, and something must fall, in the fewest steps that it takes.
#![cfg(feature = "sabotage")]

use raft_core::Rule;
use raft_model::{Bounds, Disk, Order, check};

/// More than any of these takes; a rule that nobody misses is not searched for ever.
const STEPS_MAX: usize = 10_000_000;

fn falls(rule: Rule, bounds: Bounds, property: &str) {
    let bounds = Bounds { broken: Some(rule), ..bounds };
    let report = check(bounds, Order::BreadthFirst, 1, Some(STEPS_MAX));
    let fell = report.fell.iter().any(|(name, _)| *name == property);
    assert!(fell, "{} is broken: {report:#?}", rule.name());
}

fn crash() -> Bounds {
    Bounds { crashes: 1, disk: Disk::InOrder, ..Bounds::new("a crash") }
}

fn two_terms() -> Bounds {
    Bounds { last_term: 2, ..Bounds::new("two terms") }
}

/// The situation of Figure 8, as far as (b).
fn conflict() -> Bounds {
    Bounds { last_term: 3, logs: [&[1], &[2], &[]], ..Bounds::new("a conflict") }
}

#[test]
fn non_durable_votes_are_granted_twice() {
    falls(Rule::VoteIsDurable, crash(), "election safety");
    falls(Rule::CandidacyIsDurable, crash(), "election safety");
}

#[test]
fn vote_counting_rules_are_needed() {
    falls(Rule::OneVotePerTerm, two_terms(), "election safety");
    falls(Rule::CandidacyIsNewTerm, two_terms(), "election safety");
    falls(Rule::VoteCountsInItsTerm, two_terms(), "election safety");
    falls(Rule::MajorityElects, two_terms(), "election safety");
    falls(Rule::VoteForCompleteLog, two_terms(), "leader completeness");
}

#[test]
fn append_rules_are_needed() {
    falls(Rule::StaleLeaderIsRefused, two_terms(), "leader append-only");
    falls(Rule::PreviousEntryMatches, conflict(), "log matching");
    falls(Rule::ConflictIsRemoved, two_terms(), "durable commit");
    let commands = Bounds { commands: 1, ..conflict() };
    falls(Rule::OnlyConflictIsRemoved, commands, "durable commit");
}

#[test]
fn durable_commit_rules_are_needed() {
    falls(Rule::MajorityCommits, two_terms(), "durable commit");
    falls(Rule::LeaderCountsDurable, crash(), "durable commit");
    falls(Rule::AcknowledgeDurable, crash(), "durable commit");
    let any_order = Bounds { commands: 1, disk: Disk::AnyOrder, ..crash() };
    falls(Rule::WritesCompleteInOrder, any_order, "durable commit");
}

#[test]
fn follower_commit_rules_are_needed() {
    let beat = Bounds { heartbeats: 1, ..conflict() };
    falls(Rule::HeartbeatWithinMatch, beat, "state machine safety");
    let probe = Bounds { heartbeats: 2, logs: [&[1], &[1, 2], &[]], ..conflict() };
    falls(Rule::CommitWhatMatches, probe, "state machine safety");
}

/// Figure 8 of the paper, found from (b) on.
#[test]
fn commit_own_term_rule_is_needed() {
    let figure = Bounds { last_term: 4, batches: false, ..conflict() };
    falls(Rule::CommitOwnTerm, figure, "leader completeness");
}

fn change(targets: &[&[u64]]) -> Bounds {
    let voters = |target: &&[u64]| target.iter().copied().collect();
    Bounds { timeouts: 2, changes: 1, targets: targets.iter().map(voters).collect(), ..two_terms() }
}

#[test]
fn membership_rules_are_needed() {
    falls(Rule::MembershipOnAppend, change(&[&[1]]), "durable commit");
    falls(Rule::ChangeIsJoint, change(&[&[1]]), "leader completeness");
    falls(Rule::JointNeedsBoth, change(&[&[1]]), "leader completeness");
    falls(Rule::JointIsCommitted, change(&[&[1]]), "leader completeness");
    let two_at_once = Bounds { changes: 2, ..change(&[&[1, 2], &[1]]) };
    falls(Rule::OneChangeAtATime, two_at_once, "leader completeness");
    let one_term = Bounds { last_term: 1, timeouts: 1, ..change(&[&[2, 3]]) };
    falls(Rule::RemovedLeaderDoesNotCount, one_term, "durable commit");
}
