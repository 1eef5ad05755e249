//! Leader election (§5.2, §5.4.1), with pre-vote (dissertation 9.6). A server with recent contact
//! to a leader rejects candidates (dissertation 4.2.3).

use alloc::boxed::Box;

use crate::api::entry::{Entry, HardState, Payload};
use crate::api::event::{Event, IgnoreReason, StepDownReason, VoteRefusal};
use crate::api::membership::VoteResult;
use crate::api::message::{Message, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse};
use crate::api::types::{Instant, LogId, NodeId, Term};
use crate::raft::Raft;
use crate::raft::role::{Follower, Leader, RoleState};
use crate::sabotage::Rule;
use crate::state::lease::Lease;
use crate::state::progress::Progress;
use crate::state::read_queue::PendingReads;
use crate::state::votes::Votes;

impl Raft {
    /// The time at which this server starts a campaign. `None` for a leader, and for a server that
    /// must not lead.
    pub(super) fn election_deadline(&self) -> Option<Instant> {
        let campaigns = !matches!(self.role, RoleState::Leader(_))
            && self.is_promotable()
            && self.volatile.stopped.is_none();
        campaigns.then_some(self.volatile.timer.deadline())
    }

    /// Returns true if the membership allows this server to lead.
    ///
    /// A server that is being removed may lead until its removal is committed. It can be the only
    /// electable server that has the change (dissertation 4.2.2).
    fn is_promotable(&self) -> bool {
        let (me, memberships) = (self.id(), &self.persistent.memberships);
        let (since, latest) = memberships.latest();
        let may_be_reverted = since > self.volatile.commit_index;
        let had_vote = || memberships.at(since.previous()).is_voter(me);
        !self.config.witness && (latest.is_voter(me) || (may_be_reverted && had_vote()))
    }

    /// The reason why this server cannot start a campaign, if there is one.
    pub(super) fn campaign_blocker(&self) -> Option<IgnoreReason> {
        if !self.is_promotable() {
            Some(IgnoreReason::NotAVoter)
        } else if self.term() == Term(u64::MAX) {
            // Only an incorrect peer can send such a term.
            Some(IgnoreReason::LastTerm)
        } else if self.volatile.disk_is_full || self.disk_is_stalled() {
            // The vote of this server for itself would not become durable.
            Some(IgnoreReason::DiskFull)
        } else {
            None
        }
    }

    /// The time at which the election timer of a server that does not lead fires. The server then
    /// starts a campaign or, if it must not lead, forgets its leader.
    pub(super) fn timer_deadline(&self) -> Option<Instant> {
        let follows =
            matches!(&self.role, RoleState::Follower(follower) if follower.leader.is_some());
        let is_due = follows && self.volatile.stopped.is_none();
        let due = is_due.then_some(self.volatile.timer.deadline());
        due.or_else(|| self.election_deadline())
    }

    /// Forgets a leader that was not heard for an election timeout. Without this, a server that
    /// cannot campaign would send clients to a dead leader.
    fn forget_leader(&mut self) {
        self.abort_reads();
        if let RoleState::Follower(follower) = &mut self.role {
            follower.leader = None;
        }
    }

    /// Starts a pre-vote, or a campaign without one, when the election timer fires.
    pub(super) fn on_election_timeout(&mut self) {
        self.arm_timer();
        if self.campaign_blocker().is_some() {
            return self.forget_leader();
        }
        self.abort_reads();
        if !self.config.pre_vote {
            return self.become_candidate(false);
        }
        let campaign_term = self.term().next();
        let mut votes = Votes::unrequested(false);
        votes.request(self.id());
        self.role = RoleState::PreCandidate(votes);
        self.emit(|| Event::BecamePreCandidate { campaign_term });
        let last_log = self.persistent.log.last();
        self.broadcast_to_voters(&Message::PreVote(PreVote { campaign_term, last_log }));
        self.check_election();
    }

    /// Enters a new term as a candidate. `is_transfer` is true after a TimeoutNow.
    ///
    /// The candidate requests votes when its own vote is durable. Without this order, it could
    /// forget its vote in a crash and vote for another candidate of the same term.
    pub(super) fn become_candidate(&mut self, is_transfer: bool) {
        let from = self.term();
        let is_new = self.config.enforces(Rule::CandidacyIsNewTerm) || from == Term(0);
        let term = if is_new { from.next() } else { from };
        self.abort_reads();
        self.emit(|| Event::TermAdvanced { from, to: term, learned_from: None });
        self.persistent.hard_state = HardState { term, vote: Some(self.id()) };
        self.volatile.pending_vote_grant = None;
        self.role = RoleState::Candidate(Votes::unrequested(is_transfer));
        self.emit(|| Event::BecameCandidate { term });
    }

    /// Sends the vote requests of a candidate once its own vote is durable.
    #[inline]
    pub(super) fn request_votes(&mut self) {
        if matches!(&self.role, RoleState::Candidate(votes) if !votes.is_requested()) {
            self.send_vote_requests();
        }
    }

    fn send_vote_requests(&mut self) {
        if !self.hard_state_is_durable() && self.config.enforces(Rule::CandidacyIsDurable) {
            return;
        }
        let (me, term, last_log) = (self.id(), self.term(), self.persistent.log.last());
        let RoleState::Candidate(votes) = &mut self.role else { return };
        votes.request(me);
        let transfer = votes.is_transfer();
        self.broadcast_to_voters(&Message::RequestVote(RequestVote { term, last_log, transfer }));
        self.check_election();
    }

    fn broadcast_to_voters(&mut self, request: &Message) {
        for voter in self.membership().members() {
            if voter != self.id() && self.membership().is_voter(voter) {
                self.outbox.send_checked(voter, request.clone());
            }
        }
    }

    pub(super) fn on_pre_vote(&mut self, from: NodeId, request: PreVote) {
        let (term, campaign_term) = (self.term(), request.campaign_term);
        let refusal = if campaign_term <= term {
            Some(VoteRefusal::StaleTerm { ours: term })
        } else {
            self.check_leader_alive().or_else(|| self.check_log_up_to_date(request.last_log))
        };
        self.emit_vote(from, campaign_term, true, refusal);
        let response = PreVoteResponse { term, campaign_term, granted: refusal.is_none() };
        self.outbox.send_checked(from, Message::PreVoteResponse(response));
    }

    pub(super) fn on_pre_vote_response(&mut self, from: NodeId, response: PreVoteResponse) {
        // The later term of a rejection must be adopted. The sender may have voted in a term that
        // no other server has reached, and no candidate could win its vote otherwise (etcd #8501).
        if response.term > self.term() {
            return self.adopt_term(response.term, from);
        }
        let is_current = response.campaign_term == self.term().next();
        match &mut self.role {
            RoleState::PreCandidate(votes) if is_current => {
                if votes.record(from, response.granted) {
                    self.on_vote_recorded(from, response.granted);
                }
            }
            _ => self.ignore(from, IgnoreReason::StaleResponse),
        }
    }

    pub(super) fn on_request_vote(&mut self, from: NodeId, request: RequestVote) {
        // A server with recent contact to its leader does not adopt the candidate's term, because
        // a candidate that cannot hear the leader must not depose it. Such a server does not vote
        // in a term that it adopted otherwise either: its responses keep the leader's lease.
        let is_deposing = self.config.check_quorum && !request.transfer;
        let leader_alive = self.check_leader_alive().filter(|_| is_deposing);
        let refusal = if request.term < self.term() {
            Some(VoteRefusal::StaleTerm { ours: self.term() })
        } else if leader_alive.is_some() {
            leader_alive
        } else {
            if request.term > self.term() {
                self.adopt_term(request.term, from);
            }
            let once = self.config.enforces(Rule::OneVotePerTerm);
            match self.persistent.hard_state.vote {
                Some(candidate) if candidate != from && once => {
                    Some(VoteRefusal::AlreadyVoted { candidate })
                }
                _ => self.check_log_up_to_date(request.last_log),
            }
        };
        self.emit_vote(from, request.term, false, refusal);
        if refusal.is_some() {
            let response = RequestVoteResponse { term: self.term(), granted: false };
            return self.outbox.send_checked(from, Message::RequestVoteResponse(response));
        }
        self.persistent.hard_state.vote = Some(from);
        self.volatile.pending_vote_grant = Some(from);
        if let RoleState::PreCandidate(_) = self.role {
            // The server gives the candidate time to win.
            self.role = RoleState::Follower(Follower::default());
        }
        self.arm_timer();
    }

    pub(super) fn on_request_vote_response(&mut self, from: NodeId, response: RequestVoteResponse) {
        if response.term > self.term() {
            return self.adopt_term(response.term, from);
        }
        let is_current =
            response.term == self.term() || !self.config.enforces(Rule::VoteCountsInItsTerm);
        match &mut self.role {
            RoleState::Candidate(votes) if votes.is_requested() && is_current => {
                let is_news = votes.record(from, response.granted);
                #[cfg(feature = "sabotage")]
                let is_news = self.count_vote_again(response.granted) || is_news;
                if is_news {
                    self.on_vote_recorded(from, response.granted);
                }
            }
            _ => self.ignore(from, IgnoreReason::StaleResponse),
        }
    }

    /// Ends the campaign if the votes decide it.
    fn check_election(&mut self) {
        let Some((votes, is_pre_vote)) = self.role.votes() else { return };
        let result = self.vote_result(votes);
        match (result, is_pre_vote) {
            (VoteResult::Open, _) => {}
            (VoteResult::Won, true) => {
                self.arm_timer();
                self.become_candidate(false);
            }
            (VoteResult::Won, false) => self.become_leader(),
            (VoteResult::Lost, _) => self.become_follower(StepDownReason::ElectionLost),
        }
    }

    fn vote_result(&self, votes: &Votes) -> VoteResult {
        #[cfg(feature = "sabotage")]
        if self.sabotaged_victory(votes) {
            return VoteResult::Won;
        } else if !self.config.enforces(Rule::JointNeedsBoth) {
            let alone = self.membership().without_outgoing();
            return alone.vote_result(|voter| votes.vote_of(voter));
        }
        self.membership().vote_result(|voter| votes.vote_of(voter))
    }

    /// Becomes leader, and appends the first entry of its term (§8).
    fn become_leader(&mut self) {
        let (term, me, now) = (self.term(), self.id(), self.volatile.now);
        let log = &self.persistent.log;
        let first_index = log.last().index.next();
        let released = self.volatile.commit_index.min(log.durable());
        let uncommitted = log.cache.iter_from(released.next()).map(Entry::bytes).sum();
        let others = self.membership().members().into_iter().filter(|member| *member != me);
        self.role = RoleState::Leader(Box::new(Leader {
            followers: others.map(|id| (id, Progress::new(first_index, now))).collect(),
            heartbeat_deadline: now + self.config.heartbeat_interval,
            round: 0,
            first_index,
            uncommitted_bytes: uncommitted,
            released_through: released,
            reads: PendingReads::default(),
            lease: Lease::default(),
            transfer: None,
        }));
        self.emit(|| Event::BecameLeader { term, first_index });
        self.append(Payload::Noop);
    }

    /// The reason why this server must not help to depose a leader, if there is one: it leads, it
    /// heard a leader of any term within the minimum election timeout, or it may have heard one
    /// before its restart.
    fn check_leader_alive(&self) -> Option<VoteRefusal> {
        let now = self.volatile.now;
        let alive = |leader, heard_at| {
            let heard_ago = now.saturating_since(heard_at);
            let is_alive = heard_ago < self.config.election_timeout_min;
            is_alive.then_some(VoteRefusal::LeaderAlive { leader, heard_ago })
        };
        if let RoleState::Leader(_) = &self.role {
            return alive(self.id(), now);
        }
        if now < self.volatile.votes_blocked_until
            && self.config.enforces(Rule::RestartRespectsLease)
        {
            return Some(VoteRefusal::RecentlyRestarted);
        }
        let (leader, heard_at) = self.volatile.last_leader_contact?;
        alive(leader, heard_at).filter(|_| self.config.enforces(Rule::HeardLeaderStays))
    }

    /// The reason to reject a candidate whose log ends at `theirs`, if there is one (§5.4.1).
    fn check_log_up_to_date(&self, theirs: LogId) -> Option<VoteRefusal> {
        let ours = self.persistent.log.last();
        let is_behind = theirs < ours && self.config.enforces(Rule::VoteForCompleteLog);
        is_behind.then_some(VoteRefusal::LogBehind { theirs, ours })
    }

    fn emit_vote(
        &mut self,
        candidate: NodeId,
        term: Term,
        pre_vote: bool,
        refusal: Option<VoteRefusal>,
    ) {
        self.emit(|| match refusal {
            None => Event::VoteGranted { term, candidate, pre_vote },
            Some(reason) => Event::VoteRefused { term, candidate, pre_vote, reason },
        });
    }

    /// Checks the election after a response that changed the votes.
    fn on_vote_recorded(&mut self, voter: NodeId, granted: bool) {
        let needed = self.membership().majority();
        let Some((votes, pre_vote)) = self.role.votes() else { return };
        let votes = votes.granted();
        self.emit(|| Event::VoteCounted { voter, granted, pre_vote, votes, needed });
        self.check_election();
    }
}
