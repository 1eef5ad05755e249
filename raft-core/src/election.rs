//! Leader election (§5.2, §5.4.1), with pre-vote (dissertation 9.6) and with servers that stay
//! with a leader they hear (dissertation 4.2.3).

use alloc::boxed::Box;

use crate::entry::{Entry, HardState, Payload};
use crate::event::{Event, IgnoreReason, StepDownReason, VoteRefusal};
use crate::id::{Instant, LogId, NodeId, Term};
use crate::membership::Tally;
use crate::message::{Message, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse};
use crate::progress::Progress;
use crate::raft::{Ballot, Follower, Leader, Raft, RoleState};
use crate::read::{Lease, Reads};
use crate::sabotage::Rule;

impl Raft {
    /// When the election timer fires. Leaders and servers that cannot lead have none.
    pub(crate) fn election_is_due(&self) -> Option<Instant> {
        let stands = !matches!(self.role, RoleState::Leader(_))
            && self.may_stand()
            && self.stopped.is_none();
        stands.then_some(self.timer.deadline)
    }

    /// Whether this server may lead at all. One that is being removed may, until that is committed:
    /// it can be the only one that has the change, and can lead (dissertation 4.2.2).
    pub(crate) fn may_stand(&self) -> bool {
        let me = self.id();
        let (since, latest) = self.memberships.latest();
        let may_be_reverted = since > self.commit_index;
        let had_vote = || self.memberships.at(since.previous()).is_voter(me);
        !self.config.witness && (latest.is_voter(me) || (may_be_reverted && had_vote()))
    }

    /// Why this server would not stand for election if it were asked to.
    pub(crate) fn cannot_stand(&self) -> Option<IgnoreReason> {
        if !self.may_stand() {
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
    pub(crate) fn timer_is_due(&self) -> Option<Instant> {
        let follows =
            matches!(&self.role, RoleState::Follower(follower) if follower.leader.is_some());
        let due = (follows && self.stopped.is_none()).then_some(self.timer.deadline);
        due.or_else(|| self.election_is_due())
    }

    /// The leader has not been heard for so long that others stand. This server cannot, but clients
    /// must not wait for that leader, nor be sent there.
    fn give_up_leader(&mut self) {
        self.abort_reads();
        if let RoleState::Follower(follower) = &mut self.role {
            follower.leader = None;
        }
    }

    /// The election timer fired.
    pub(crate) fn stand(&mut self) {
        self.arm_timer();
        if self.cannot_stand().is_some() {
            return self.give_up_leader();
        }
        self.abort_reads();
        if !self.config.pre_vote {
            return self.campaign(false);
        }
        let campaign_term = self.term().next();
        let answers = [(self.id(), true)].into();
        self.role =
            RoleState::PreCandidate(Ballot { answers, requested: true, ..Ballot::default() });
        self.explain(|| Event::BecamePreCandidate { campaign_term });
        let last_log = self.log.last();
        self.ask_voters(&Message::PreVote(PreVote { campaign_term, last_log }));
        self.count_ballot();
    }

    /// Enters a new term as a candidate. The votes are asked for when the own vote is durable:
    /// otherwise the server could forget it in a crash and vote for another one.
    pub(crate) fn campaign(&mut self, transfer: bool) {
        let from = self.term();
        let is_new = self.config.keeps(Rule::CandidacyIsNewTerm) || from == Term(0);
        let term = if is_new { from.next() } else { from };
        self.abort_reads();
        self.explain(|| Event::TermAdvanced { from, to: term, learned_from: None });
        self.hard_state = HardState { term, vote: Some(self.id()) };
        self.grant = None;
        self.role = RoleState::Candidate(Ballot { transfer, ..Ballot::default() });
        self.explain(|| Event::BecameCandidate { term });
    }

    /// Asks for votes, if the own vote has become durable.
    #[inline]
    pub(crate) fn request_votes(&mut self) {
        if matches!(&self.role, RoleState::Candidate(ballot) if !ballot.requested) {
            self.begin_ballot();
        }
    }

    fn begin_ballot(&mut self) {
        if !self.hard_state_is_durable() && self.config.keeps(Rule::CandidacyIsDurable) {
            return;
        }
        let (me, term, last_log) = (self.id(), self.term(), self.log.last());
        let RoleState::Candidate(ballot) = &mut self.role else { return };
        ballot.requested = true;
        ballot.answers.push((me, true));
        let transfer = ballot.transfer;
        self.ask_voters(&Message::RequestVote(RequestVote { term, last_log, transfer }));
        self.count_ballot();
    }

    fn ask_voters(&mut self, request: &Message) {
        for voter in self.membership().members() {
            if voter != self.id() && self.membership().is_voter(voter) {
                self.send(voter, request.clone());
            }
        }
    }

    pub(crate) fn on_pre_vote(&mut self, from: NodeId, request: PreVote) {
        let (term, campaign_term) = (self.term(), request.campaign_term);
        let refusal = if campaign_term <= term {
            Some(VoteRefusal::StaleTerm { ours: term })
        } else {
            self.bound_to_leader().or_else(|| self.log_behind(request.last_log))
        };
        self.explain_vote(from, campaign_term, true, refusal);
        let response = PreVoteResponse { term, campaign_term, granted: refusal.is_none() };
        self.send(from, Message::PreVoteResponse(response));
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
                if ballot.record(from, response.granted) {
                    self.count_answer(from, response.granted);
                }
            }
            _ => self.ignore(from, IgnoreReason::LateAnswer),
        }
    }

    pub(crate) fn on_request_vote(&mut self, from: NodeId, request: RequestVote) {
        // A server that hears its leader doesn't even adopt the candidate's term: whoever cannot
        // hear the leader must not depose it. Nor does it vote in that term if it has learned of it
        // otherwise: what it answered the leader keeps the leader's lease.
        let is_deposing = self.config.check_quorum && !request.transfer;
        let bound = self.bound_to_leader().filter(|_| is_deposing);
        let refusal = if request.term < self.term() {
            Some(VoteRefusal::StaleTerm { ours: self.term() })
        } else if bound.is_some() {
            bound
        } else {
            if request.term > self.term() {
                self.adopt_term(request.term, from);
            }
            let once = self.config.keeps(Rule::OneVotePerTerm);
            match self.hard_state.vote {
                Some(candidate) if candidate != from && once => {
                    Some(VoteRefusal::AlreadyVoted { candidate })
                }
                _ => self.log_behind(request.last_log),
            }
        };
        self.explain_vote(from, request.term, false, refusal);
        if refusal.is_some() {
            let response = RequestVoteResponse { term: self.term(), granted: false };
            return self.send(from, Message::RequestVoteResponse(response));
        }
        self.hard_state.vote = Some(from);
        self.grant = Some(from);
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
        let current = response.term == self.term() || !self.config.keeps(Rule::VoteCountsInItsTerm);
        let once = self.config.keeps(Rule::VoterCountsOnce);
        match &mut self.role {
            RoleState::Candidate(ballot) if ballot.requested && current => {
                if ballot.record(from, response.granted) || !once {
                    ballot.repeated += usize::from(!once && response.granted);
                    self.count_answer(from, response.granted);
                }
            }
            _ => self.ignore(from, IgnoreReason::LateAnswer),
        }
    }

    fn count_ballot(&mut self) {
        let Some((ballot, pre_vote)) = self.role.ballot() else { return };
        let mut tally = self.deciding().tally(|voter| ballot.answer(voter));
        let half = self.membership().majority() - 1;
        if (!self.config.keeps(Rule::MajorityElects) && ballot.granted() >= half.max(1))
            || ballot.repeated > half
        {
            tally = Tally::Won;
        }
        match (tally, pre_vote) {
            (Tally::Open, _) => {}
            (Tally::Won, true) => {
                self.arm_timer();
                self.campaign(false);
            }
            (Tally::Won, false) => self.lead(),
            (Tally::Lost, _) => self.follow(StepDownReason::ElectionLost),
        }
    }

    fn lead(&mut self) {
        let (term, me) = (self.term(), self.id());
        let first_index = self.log.last().index.next();
        let settled = self.commit_index.min(self.log.durable());
        let uncommitted = self.log.window.iter_from(settled.next()).map(Entry::bytes).sum();
        let others = self.membership().members().into_iter().filter(|member| *member != me);
        self.role = RoleState::Leader(Box::new(Leader {
            followers: others.map(|id| (id, Progress::new(first_index, self.now))).collect(),
            heartbeat_deadline: self.now + self.config.heartbeat_interval,
            round: 0,
            first_index,
            uncommitted_bytes: uncommitted,
            settled,
            reads: Reads::default(),
            lease: Lease::default(),
            transfer: None,
        }));
        self.explain(|| Event::BecameLeader { term, first_index });
        self.append(Payload::Noop);
    }

    /// Why this server must not help to depose a leader: it leads itself, it heard one within the
    /// shortest election timeout, in whatever term, or it may have heard one before it started.
    fn bound_to_leader(&self) -> Option<VoteRefusal> {
        let alive = |leader, heard_at| {
            let heard_ago = self.now.saturating_since(heard_at);
            let is_alive = heard_ago < self.config.election_timeout_min;
            is_alive.then_some(VoteRefusal::LeaderAlive { leader, heard_ago })
        };
        if let RoleState::Leader(_) = &self.role {
            return alive(self.id(), self.now);
        }
        if self.now < self.silent_until && self.config.keeps(Rule::RestartRespectsLease) {
            return Some(VoteRefusal::JustStarted);
        }
        let (leader, heard_at) = self.heard?;
        alive(leader, heard_at).filter(|_| self.config.keeps(Rule::HeardLeaderStays))
    }

    fn log_behind(&self, theirs: LogId) -> Option<VoteRefusal> {
        let ours = self.log.last();
        let is_behind = theirs < ours && self.config.keeps(Rule::VoteForCompleteLog);
        is_behind.then_some(VoteRefusal::LogBehind { theirs, ours })
    }

    fn explain_vote(
        &mut self,
        candidate: NodeId,
        term: Term,
        pre_vote: bool,
        refusal: Option<VoteRefusal>,
    ) {
        self.explain(|| match refusal {
            None => Event::VoteGranted { term, candidate, pre_vote },
            Some(reason) => Event::VoteRefused { term, candidate, pre_vote, reason },
        });
    }

    /// An answer came that is news, and is in the ballot.
    fn count_answer(&mut self, voter: NodeId, granted: bool) {
        let needed = self.membership().majority();
        let Some((ballot, pre_vote)) = self.role.ballot() else { return };
        let votes = ballot.granted();
        self.explain(|| Event::VoteCounted { voter, granted, pre_vote, votes, needed });
        self.count_ballot();
    }
}

impl Ballot {
    /// Notes an answer; the first one of a voter counts, unless it refused: that may have been the answer to an
    /// earlier candidacy, and a vote that is given stays. Whether it was news.
    fn record(&mut self, voter: NodeId, granted: bool) -> bool {
        let Some((_, known)) = self.answers.iter_mut().find(|(id, _)| *id == voter) else {
            self.answers.push((voter, granted));
            return true;
        };
        let news = granted && !*known;
        *known |= granted;
        news
    }

    fn answer(&self, voter: NodeId) -> Option<bool> {
        self.answers.iter().find(|(id, _)| *id == voter).map(|(_, granted)| *granted)
    }

    fn granted(&self) -> usize {
        self.answers.iter().filter(|(_, granted)| *granted).count()
    }
}
