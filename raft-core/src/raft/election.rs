//! Leader election (§5.2, §5.4.1), with pre-vote (dissertation 9.6) and with servers that stay
//! with a leader they hear (dissertation 4.2.3).

use alloc::boxed::Box;

use crate::api::entry::{Entry, HardState, Payload};
use crate::api::event::{Event, IgnoreReason, StepDownReason, VoteRefusal};
use crate::api::message::{Message, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse};
use crate::api::types::{Instant, LogId, NodeId, Term};
use crate::raft::read::{Lease, PendingReads};
use crate::raft::{Follower, Leader, Raft, RoleState, Votes};
use crate::sabotage::Rule;
use crate::state::membership::VoteResult;
use crate::state::progress::Progress;

impl Raft {
    /// When the election timer fires. Leaders and servers that cannot lead have none.
    pub(crate) fn election_deadline(&self) -> Option<Instant> {
        let stands = !matches!(self.role, RoleState::Leader(_))
            && self.is_promotable()
            && self.stopped.is_none();
        stands.then_some(self.timer.deadline)
    }

    /// Whether this server may lead at all. One that is being removed may, until that is committed:
    /// it can be the only one that has the change, and can lead (dissertation 4.2.2).
    pub(crate) fn is_promotable(&self) -> bool {
        let me = self.id();
        let (since, latest) = self.memberships.latest();
        let may_be_reverted = since > self.commit_index;
        let had_vote = || self.memberships.at(since.previous()).is_voter(me);
        !self.config.witness && (latest.is_voter(me) || (may_be_reverted && had_vote()))
    }

    /// Why this server would not stand for election if it were asked to.
    pub(crate) fn campaign_blocker(&self) -> Option<IgnoreReason> {
        if !self.is_promotable() {
            Some(IgnoreReason::NotAVoter)
        } else if self.term() == Term(u64::MAX) {
            // Only a broken peer can have brought it here.
            Some(IgnoreReason::LastTerm)
        } else if self.disk_is_full || self.disk_is_stalled() {
            // It could not even vote for itself.
            Some(IgnoreReason::DiskFull)
        } else {
            None
        }
    }

    /// When a server that does not lead stands for election or, if it may not, gives up its leader.
    pub(crate) fn timer_deadline(&self) -> Option<Instant> {
        let follows =
            matches!(&self.role, RoleState::Follower(follower) if follower.leader.is_some());
        let due = (follows && self.stopped.is_none()).then_some(self.timer.deadline);
        due.or_else(|| self.election_deadline())
    }

    /// The leader has not been heard for so long that others stand. This server cannot, but clients
    /// must not wait for that leader, nor be sent there.
    fn forget_leader(&mut self) {
        self.abort_reads();
        if let RoleState::Follower(follower) = &mut self.role {
            follower.leader = None;
        }
    }

    /// The election timer fired.
    pub(crate) fn on_election_timeout(&mut self) {
        self.arm_timer();
        if self.campaign_blocker().is_some() {
            return self.forget_leader();
        }
        self.abort_reads();
        if !self.config.pre_vote {
            return self.become_candidate(false);
        }
        let campaign_term = self.term().next();
        let answers = [(self.id(), true)].into();
        self.role = RoleState::PreCandidate(Votes { answers, requested: true, ..Votes::default() });
        self.emit(|| Event::BecamePreCandidate { campaign_term });
        let last_log = self.log.last();
        self.broadcast_to_voters(&Message::PreVote(PreVote { campaign_term, last_log }));
        self.check_election();
    }

    /// Enters a new term as a candidate. The votes are asked for when the own vote is durable:
    /// otherwise the server could forget it in a crash and vote for another one.
    pub(crate) fn become_candidate(&mut self, transfer: bool) {
        let from = self.term();
        let is_new = self.config.enforces(Rule::CandidacyIsNewTerm) || from == Term(0);
        let term = if is_new { from.next() } else { from };
        self.abort_reads();
        self.emit(|| Event::TermAdvanced { from, to: term, learned_from: None });
        self.hard_state = HardState { term, vote: Some(self.id()) };
        self.pending_vote_grant = None;
        self.role = RoleState::Candidate(Votes { transfer, ..Votes::default() });
        self.emit(|| Event::BecameCandidate { term });
    }

    /// Asks for votes, if the own vote has become durable.
    #[inline]
    pub(crate) fn request_votes(&mut self) {
        if matches!(&self.role, RoleState::Candidate(ballot) if !ballot.requested) {
            self.send_vote_requests();
        }
    }

    fn send_vote_requests(&mut self) {
        if !self.hard_state_is_durable() && self.config.enforces(Rule::CandidacyIsDurable) {
            return;
        }
        let (me, term, last_log) = (self.id(), self.term(), self.log.last());
        let RoleState::Candidate(ballot) = &mut self.role else { return };
        ballot.requested = true;
        ballot.answers.push((me, true));
        let transfer = ballot.transfer;
        self.broadcast_to_voters(&Message::RequestVote(RequestVote { term, last_log, transfer }));
        self.check_election();
    }

    fn broadcast_to_voters(&mut self, request: &Message) {
        for voter in self.membership().members() {
            if voter != self.id() && self.membership().is_voter(voter) {
                self.send_checked(voter, request.clone());
            }
        }
    }

    pub(crate) fn on_pre_vote(&mut self, from: NodeId, request: PreVote) {
        let (term, campaign_term) = (self.term(), request.campaign_term);
        let refusal = if campaign_term <= term {
            Some(VoteRefusal::StaleTerm { ours: term })
        } else {
            self.check_leader_alive().or_else(|| self.check_log_up_to_date(request.last_log))
        };
        self.emit_vote(from, campaign_term, true, refusal);
        let response = PreVoteResponse { term, campaign_term, granted: refusal.is_none() };
        self.send_checked(from, Message::PreVoteResponse(response));
    }

    pub(crate) fn on_pre_vote_response(&mut self, from: NodeId, response: PreVoteResponse) {
        // A refusal's later term must be adopted: the sender may hold a vote in a term that the
        // rest has not reached, and nobody could ever win against it otherwise (etcd #8501).
        if response.term > self.term() {
            return self.adopt_term(response.term, from);
        }
        let current = response.campaign_term == self.term().next();
        match &mut self.role {
            RoleState::PreCandidate(ballot) if current => {
                if ballot.record_vote(from, response.granted) {
                    self.on_vote_recorded(from, response.granted);
                }
            }
            _ => self.ignore(from, IgnoreReason::StaleResponse),
        }
    }

    pub(crate) fn on_request_vote(&mut self, from: NodeId, request: RequestVote) {
        // A server that hears its leader doesn't even adopt the candidate's term: whoever cannot
        // hear the leader must not depose it. Nor does it vote in that term if it has learned of it
        // otherwise: what it answered the leader keeps the leader's lease.
        let is_deposing = self.config.check_quorum && !request.transfer;
        let bound = self.check_leader_alive().filter(|_| is_deposing);
        let refusal = if request.term < self.term() {
            Some(VoteRefusal::StaleTerm { ours: self.term() })
        } else if bound.is_some() {
            bound
        } else {
            if request.term > self.term() {
                self.adopt_term(request.term, from);
            }
            let once = self.config.enforces(Rule::OneVotePerTerm);
            match self.hard_state.vote {
                Some(candidate) if candidate != from && once => {
                    Some(VoteRefusal::AlreadyVoted { candidate })
                }
                _ => self.check_log_up_to_date(request.last_log),
            }
        };
        self.emit_vote(from, request.term, false, refusal);
        if refusal.is_some() {
            let response = RequestVoteResponse { term: self.term(), granted: false };
            return self.send_checked(from, Message::RequestVoteResponse(response));
        }
        self.hard_state.vote = Some(from);
        self.pending_vote_grant = Some(from);
        if let RoleState::PreCandidate(_) = self.role {
            // It waits for whom it voted.
            self.role = RoleState::Follower(Follower::default());
        }
        self.arm_timer();
    }

    pub(crate) fn on_request_vote_response(&mut self, from: NodeId, response: RequestVoteResponse) {
        if response.term > self.term() {
            return self.adopt_term(response.term, from);
        }
        let current =
            response.term == self.term() || !self.config.enforces(Rule::VoteCountsInItsTerm);
        let once = self.config.enforces(Rule::VoterCountsOnce);
        match &mut self.role {
            RoleState::Candidate(ballot) if ballot.requested && current => {
                if ballot.record_vote(from, response.granted) || !once {
                    ballot.repeated += usize::from(!once && response.granted);
                    self.on_vote_recorded(from, response.granted);
                }
            }
            _ => self.ignore(from, IgnoreReason::StaleResponse),
        }
    }

    fn check_election(&mut self) {
        let Some((ballot, pre_vote)) = self.role.ballot() else { return };
        let mut tally = self.effective_membership().vote_result(|voter| ballot.vote_of(voter));
        let half = self.membership().majority() - 1;
        if (!self.config.enforces(Rule::MajorityElects) && ballot.granted() >= half.max(1))
            || ballot.repeated > half
        {
            tally = VoteResult::Won;
        }
        match (tally, pre_vote) {
            (VoteResult::Open, _) => {}
            (VoteResult::Won, true) => {
                self.arm_timer();
                self.become_candidate(false);
            }
            (VoteResult::Won, false) => self.become_leader(),
            (VoteResult::Lost, _) => self.become_follower(StepDownReason::ElectionLost),
        }
    }

    fn become_leader(&mut self) {
        let (term, me) = (self.term(), self.id());
        let first_index = self.log.last().index.next();
        let settled = self.commit_index.min(self.log.durable());
        let uncommitted = self.log.cache.iter_from(settled.next()).map(Entry::bytes).sum();
        let others = self.membership().members().into_iter().filter(|member| *member != me);
        self.role = RoleState::Leader(Box::new(Leader {
            followers: others.map(|id| (id, Progress::new(first_index, self.now))).collect(),
            heartbeat_deadline: self.now + self.config.heartbeat_interval,
            round: 0,
            first_index,
            uncommitted_bytes: uncommitted,
            released_through: settled,
            reads: PendingReads::default(),
            lease: Lease::default(),
            transfer: None,
        }));
        self.emit(|| Event::BecameLeader { term, first_index });
        self.append(Payload::Noop);
    }

    /// Why this server must not help to depose a leader: it leads itself, it heard one within the
    /// shortest election timeout, in whatever term, or it may have heard one before it started.
    fn check_leader_alive(&self) -> Option<VoteRefusal> {
        let alive = |leader, heard_at| {
            let heard_ago = self.now.saturating_since(heard_at);
            let is_alive = heard_ago < self.config.election_timeout_min;
            is_alive.then_some(VoteRefusal::LeaderAlive { leader, heard_ago })
        };
        if let RoleState::Leader(_) = &self.role {
            return alive(self.id(), self.now);
        }
        if self.now < self.votes_blocked_until && self.config.enforces(Rule::RestartRespectsLease) {
            return Some(VoteRefusal::RecentlyRestarted);
        }
        let (leader, heard_at) = self.last_leader_contact?;
        alive(leader, heard_at).filter(|_| self.config.enforces(Rule::HeardLeaderStays))
    }

    fn check_log_up_to_date(&self, theirs: LogId) -> Option<VoteRefusal> {
        let ours = self.log.last();
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

    /// An answer came that is news, and is in the ballot.
    fn on_vote_recorded(&mut self, voter: NodeId, granted: bool) {
        let needed = self.membership().majority();
        let Some((ballot, pre_vote)) = self.role.ballot() else { return };
        let votes = ballot.granted();
        self.emit(|| Event::VoteCounted { voter, granted, pre_vote, votes, needed });
        self.check_election();
    }
}

impl Votes {
    /// Notes an answer; the first one of a voter counts, unless it refused: that may have been the
    /// answer to an earlier candidacy, and a vote that is given stays. Whether it was news.
    fn record_vote(&mut self, voter: NodeId, granted: bool) -> bool {
        let Some((_, known)) = self.answers.iter_mut().find(|(id, _)| *id == voter) else {
            self.answers.push((voter, granted));
            return true;
        };
        let news = granted && !*known;
        *known |= granted;
        news
    }

    fn vote_of(&self, voter: NodeId) -> Option<bool> {
        self.answers.iter().find(|(id, _)| *id == voter).map(|(_, granted)| *granted)
    }

    fn granted(&self) -> usize {
        self.answers.iter().filter(|(_, granted)| *granted).count()
    }
}
