//! The comparison of quorums, votes and membership changes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfState};
use raft::{Changer, ProgressTracker};
use raft_core::{
    AppendEntriesResponse, AppendResult, ChangeError, Config, Effects, HardState, Instant,
    LogIndex, Membership, Message, NodeId, Raft, RequestVoteResponse, RestoredState, Role,
    VoteResult,
};

use crate::Rules;
use crate::schedule::Rng;

type Nodes = BTreeSet<u64>;

/// Voters and learners. The two sets are disjoint.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Members {
    voters: Nodes,
    learners: Nodes,
}

impl Members {
    fn draw(rng: &mut Rng, most: u64) -> Self {
        let (mut voters, mut learners) = (Nodes::new(), Nodes::new());
        for node in 1..=most {
            match rng.below(4) {
                0 | 1 => drop(voters.insert(node)),
                2 => drop(learners.insert(node)),
                _ => {}
            }
        }
        if voters.is_empty() {
            learners.remove(&1);
            voters.insert(1);
        }
        Self { voters, learners }
    }

    fn ours(&self) -> Membership {
        Membership::new(self.voters.iter().copied().map(NodeId))
            .with_learners(self.learners.iter().copied().map(NodeId))
    }

    /// The changes that lead to `target`, for raft 0.7.0.
    fn changes(&self, target: &Self) -> Vec<ConfChangeSingle> {
        let all = [&self.voters, &self.learners, &target.voters, &target.learners];
        let all: Nodes = all.into_iter().flatten().copied().collect();
        let kind = |node: &u64| {
            if target.voters.contains(node) {
                (!self.voters.contains(node)).then_some(ConfChangeType::AddNode)
            } else if target.learners.contains(node) {
                (!self.learners.contains(node)).then_some(ConfChangeType::AddLearnerNode)
            } else {
                Some(ConfChangeType::RemoveNode)
            }
        };
        let changes = all.iter().filter_map(|node| Some((*node, kind(node)?)));
        changes.map(|(node, kind)| change(node, kind)).collect()
    }

    /// A tracker of raft 0.7.0 with these members.
    fn theirs(&self) -> Result<ProgressTracker> {
        let mut tracker = ProgressTracker::new(1);
        let voters = self.voters.iter().map(|node| (node, ConfChangeType::AddNode));
        let learners = self.learners.iter();
        let learners = learners.map(|node| (node, ConfChangeType::AddLearnerNode));
        for (node, kind) in voters.chain(learners) {
            let (next, changes) = Changer::new(&tracker).simple(&[change(*node, kind)])?;
            tracker.apply_conf(next, changes, 1);
        }
        Ok(tracker)
    }
}

fn change(node: u64, kind: ConfChangeType) -> ConfChangeSingle {
    ConfChangeSingle { node_id: node, change_type: kind, ..ConfChangeSingle::default() }
}

fn set(nodes: &[u64]) -> Nodes {
    nodes.iter().copied().collect()
}

fn ids(nodes: &[NodeId]) -> Nodes {
    nodes.iter().map(|node| node.0).collect()
}

/// Compares the commit index and the vote result of the configuration with a number. Half of all
/// configurations are joint.
///
/// # Errors
///
/// Returns the difference.
pub fn compare_majorities(seed: u64, number: u64) -> Result<()> {
    let mut rng = Rng::new(seed, number);
    let size = 1 + rng.below(12) as u64;
    let old = Members::draw(&mut rng, size);
    let mut tracker = old.theirs()?;
    let mut ours = old.ours();
    if rng.below(2) == 0 {
        let new = Members::draw(&mut rng, size);
        let (joint, changes) = Changer::new(&tracker).enter_joint(false, &old.changes(&new))?;
        tracker.apply_conf(joint, changes, 1);
        ours = new.ours().with_outgoing(old.voters.iter().copied().map(NodeId));
    }
    let matched: Vec<u64> = (0..=size).map(|_| rng.below(6) as u64).collect();
    let votes: Vec<_> = (0..=size).map(|_| [None, Some(true), Some(false)][rng.below(3)]).collect();
    for node in 1..=size {
        if let Some(progress) = tracker.get_mut(node) {
            progress.matched = matched[node as usize];
        }
        if let Some(vote) = votes[node as usize] {
            tracker.record_vote(node, vote);
        }
    }
    let our_commit = ours.quorum_value(|node| matched[node.0 as usize]);
    let their_commit = tracker.maximal_committed_index().0;
    ensure!(
        our_commit == Some(their_commit),
        "{ours}, matched {matched:?}: ours commit {our_commit:?}, theirs {their_commit}"
    );
    let our_vote = match ours.vote_result(|node| votes[node.0 as usize]) {
        VoteResult::Won => "Won",
        VoteResult::Lost => "Lost",
        VoteResult::Open => "Pending",
    };
    let their_vote = format!("{:?}", tracker.tally_votes().2);
    ensure!(
        our_vote == their_vote,
        "{ours}, votes {votes:?}: ours {our_vote}, theirs {their_vote}"
    );
    Ok(())
}

/// Compares a membership change. raft 0.7.0 computes the memberships; those of raft-core are read
/// from a leader that performs the change.
///
/// # Errors
///
/// Returns the difference.
pub fn compare_change(seed: u64, number: u64, rules: Rules) -> Result<()> {
    let mut rng = Rng::new(seed, number);
    let size = 1 + rng.below(7) as u64;
    let from = Members::draw(&mut rng, size);
    let target = Members::draw(&mut rng, size);
    let mut leader = Leader::new(&from, rules)?;
    let result = leader.raft.change_membership(target.ours(), Instant(0));
    if from == target {
        let is_rejected = result == Err(ChangeError::NoChange);
        ensure!(is_rejected, "{from:?} is not a change; ours returns {result:?}");
        return Ok(());
    }
    result.with_context(|| format!("ours, {from:?} to {target:?}"))?;
    let entered = leader.raft.membership().clone();
    leader.settle();
    let left = leader.raft.membership().clone();

    let mut tracker = from.theirs()?;
    let (joint, changes) = Changer::new(&tracker).enter_joint(false, &from.changes(&target))?;
    tracker.apply_conf(joint, changes, 1);
    let their_entered = tracker.conf().to_conf_state();
    let (next, changes) = Changer::new(&tracker).leave_joint()?;
    tracker.apply_conf(next, changes, 1);
    let their_left = tracker.conf().to_conf_state();

    // raft-core changes only learners without a joint membership.
    let same_voters = from.voters == target.voters;
    ensure!(
        same_voters || agree(&entered, &their_entered),
        "{from:?} to {target:?}: ours enters {entered:?}, theirs {their_entered:?}"
    );
    ensure!(same_voters != entered.is_joint(), "{from:?} to {target:?}: ours enters {entered:?}");
    ensure!(
        agree(&left, &their_left) && !left.is_joint(),
        "{from:?} to {target:?}: ours leaves {left:?}, theirs {their_left:?}"
    );
    Ok(())
}

/// Returns true if two memberships are equal. A demoted voter is a learner of raft-core at once. In
/// raft 0.7.0, the voter is in `learners_next` until the joint membership is left.
fn agree(ours: &Membership, theirs: &ConfState) -> bool {
    let learners = &set(&theirs.learners) | &set(&theirs.learners_next);
    ids(ours.voters()) == set(&theirs.voters)
        && ids(ours.outgoing()) == set(&theirs.voters_outgoing)
        && ids(ours.learners()) == learners
}

/// A leader of raft-core whose followers accept all requests.
struct Leader {
    raft: Raft,
    effects: Effects,
}

impl Leader {
    fn new(members: &Members, rules: Rules) -> Result<Self> {
        let id = members.voters.first().context("the membership has no voter")?;
        let mut config = Config::new(NodeId(*id));
        config.pre_vote = false;
        rules.apply(&mut config);
        let fresh = RestoredState::new(1, members.ours(), HardState::default(), LogIndex(0), 0);
        let mut raft = Raft::new(config, fresh, 1, Instant(0))?;
        let deadline = raft.deadline().context("the server has no timer")?;
        raft.tick(deadline);
        let effects = Effects::default();
        let mut leader = Self { raft, effects };
        leader.settle();
        ensure!(leader.raft.role() == Role::Leader, "the server was not elected");
        leader.raft.propose(Bytes::from_static(b"x"), Instant(0))?;
        leader.settle();
        Ok(leader)
    }

    /// Accepts all requests of the leader until it sends no more.
    fn settle(&mut self) {
        let term = |raft: &Raft| raft.term();
        loop {
            self.raft.drain(&mut self.effects);
            let write = self.effects.write.take();
            let messages = std::mem::take(&mut self.effects.messages);
            self.effects.committed.clear();
            if write.is_none() && messages.is_empty() {
                return;
            }
            if let Some(write) = write {
                self.raft.persisted(write.synced(), Instant(0));
            }
            for sent in messages {
                let term = term(&self.raft);
                let response = match sent.message {
                    Message::RequestVote(_) => {
                        let granted = true;
                        Message::RequestVoteResponse(RequestVoteResponse { term, granted })
                    }
                    Message::AppendEntries(request) => {
                        let last = request.entries.last().map(|entry| entry.id);
                        let match_index = last.unwrap_or(request.prev_log).index;
                        let result = AppendResult::Accepted { match_index };
                        Message::AppendEntriesResponse(AppendEntriesResponse { term, result })
                    }
                    _ => continue,
                };
                self.raft.receive(sent.to, response, Instant(0));
            }
        }
    }
}
