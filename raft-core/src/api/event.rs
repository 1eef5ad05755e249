//! Events: the decisions of a server with their reasons, for the page, logs and tests.

use core::time::Duration;

use crate::api::membership::Membership;
use crate::api::read::ReadId;
use crate::api::types::{LogId, LogIndex, NodeId, Term};
use crate::macros::described_enum;

described_enum! {
    /// A decision of one server.
    ///
    /// [`Display`](core::fmt::Display) continues a sentence that starts with the name of the
    /// server. [`reference`](Event::reference) returns the source of the rule behind the decision.
    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Event {
        /// The election timer fired, and the server starts a pre-vote.
        BecamePreCandidate {
            /// The term of the planned campaign.
            campaign_term: Term,
        } ["dissertation 9.6"] =>
            "hears no leader and requests pre-votes for term {campaign_term}";
        /// The server starts a campaign.
        BecameCandidate {
            /// The term of the campaign.
            term: Term,
        } ["§5.2"] => "becomes candidate in term {term} and votes for itself";
        /// A quorum voted for the server.
        BecameLeader {
            /// The term of the leadership.
            term: Term,
            /// The index of the first entry of this term.
            first_index: LogIndex,
        } ["§5.2"] =>
            "leads in term {term}: a majority voted for it; its first entry will be {first_index}";
        /// A leader, candidate or pre-candidate becomes a follower.
        SteppedDown {
            /// The term afterwards.
            term: Term,
            /// The reason.
            reason: StepDownReason,
        } [reason.describe(|source, _| source)] => "steps down and follows in term {term}: {reason}";
        /// The server enters a later term.
        TermAdvanced {
            /// The term before.
            from: Term,
            /// The term afterwards.
            to: Term,
            /// The server that has the later term; none if the server starts a campaign.
            learned_from: Option<NodeId>,
        } [if learned_from.is_some() { "§5.1" } else { "§5.2" }] =>
            if (let Some(node) = learned_from) "moves from term {from} to term {to}, learned from {node}";
            else "moves from term {from} to term {to} for its campaign";
        /// The server received the first message of a leader of its term.
        LeaderRecognized {
            /// The term of the leader.
            term: Term,
            /// The leader.
            leader: NodeId,
        } ["§5.2"] => "follows {leader}, the leader of term {term}";
        /// The server grants its vote. The response is sent when the vote is durable.
        VoteGranted {
            /// The term of the vote.
            term: Term,
            /// The candidate that receives the vote.
            candidate: NodeId,
            /// The request was for a pre-vote.
            pre_vote: bool,
        } [if *pre_vote { "dissertation 9.6" } else { "§5.2" }] =>
            "{} for {candidate} in term {term}", if *pre_vote { "would vote" } else { "votes" };
        /// The server rejects a vote request.
        VoteRefused {
            /// The term of the request.
            term: Term,
            /// The candidate.
            candidate: NodeId,
            /// The request was for a pre-vote.
            pre_vote: bool,
            /// The reason.
            reason: VoteRefusal,
        } [reason.describe(|source, _| source)] =>
            "{} its vote in term {term} to {candidate}: {reason}",
                if *pre_vote { "would refuse" } else { "refuses" };
        /// A candidate or pre-candidate counts a response.
        VoteCounted {
            /// The voter.
            voter: NodeId,
            /// The voter granted its vote.
            granted: bool,
            /// The response is a pre-vote.
            pre_vote: bool,
            /// The number of granted votes.
            votes: usize,
            /// The number of granted votes that wins.
            needed: usize,
        } [if *pre_vote { "dissertation 9.6" } else { "§5.2" }] =>
            "{} the {} of {voter}: has {votes}, needs {needed}",
                if *granted { "receives" } else { "is refused" },
                if *pre_vote { "pre-vote" } else { "vote" };
        /// A leader appended a command of a client.
        Proposed {
            /// The entry.
            entry: LogId,
        } ["§5.3"] => "appends a command as entry {} of term {}", entry.index, entry.term;
        /// A follower appended entries of its leader.
        EntriesAppended {
            /// The leader.
            leader: NodeId,
            /// The index of the first new entry.
            first: LogIndex,
            /// The last new entry.
            last: LogId,
        } ["§5.3"] =>
            if (*first == last.index) "appends entry {first} from {leader}";
            else "appends entries {first} to {} from {leader}", last.index;
        /// A follower removed entries that conflict with its leader's entries.
        EntriesTruncated {
            /// The leader.
            leader: NodeId,
            /// The first removed index.
            first: LogIndex,
            /// The last removed index.
            last: LogIndex,
        } ["§5.3"] =>
            if (first == last) "removes entry {first}, which conflicts with {leader}'s log";
            else "removes entries {first} to {last}, which conflict with {leader}'s log";
        /// The server rejected entries.
        AppendRefused {
            /// The sender.
            leader: NodeId,
            /// The reason.
            reason: AppendRefusal,
        } [reason.describe(|source, _| source)] => "refuses entries from {leader}: {reason}";
        /// A leader moved back in its log, to find where a follower's log matches.
        Backtracked {
            /// The follower.
            follower: NodeId,
            /// The index of the next entry to send.
            next_index: LogIndex,
        } ["§5.3"] => "tries {follower} again from entry {next_index}";
        /// A leader learned that more of a follower's durable log matches its own.
        MatchAdvanced {
            /// The follower.
            follower: NodeId,
            /// The last index that matches.
            match_index: LogIndex,
        } ["§5.3"] => "knows that {follower} stores its log up to entry {match_index}";
        /// The commit index advanced.
        CommitAdvanced {
            /// The commit index before.
            from: LogIndex,
            /// The commit index afterwards.
            to: LogIndex,
            /// The leader that sent the commit index to this follower; none on a leader, which
            /// counts the servers that store the entries.
            learned_from: Option<NodeId>,
        } [if learned_from.is_some() { "§5.3" } else { "§5.4.2" }] =>
            if (from.next() == *to) "commits entry {to}";
            else "commits entries {} to {to}", from.next();
        /// More of the server's own log is durable.
        LogPersisted {
            /// The last durable entry.
            through: LogId,
        } ["Figure 2"] => "has its log on disk up to entry {}", through.index;
        /// A leader started a heartbeat round that confirms reads.
        ReadRoundStarted {
            /// The number of the round.
            round: u64,
        } ["dissertation 6.4"] => "starts heartbeat round {round} to confirm reads";
        /// A read is confirmed: there was no later leader when it arrived.
        ReadConfirmed {
            /// The read.
            id: ReadId,
            /// The index that the read must include.
            read_index: LogIndex,
            /// The proof that there was no later leader.
            reason: ReadConfirmation,
        } [reason.describe(|source, _| source)] =>
            "may answer read {} once entry {read_index} is applied: {reason}", id.0;
        /// A leader appended a membership.
        MembershipProposed {
            /// The entry.
            entry: LogId,
        } ["§6"] => "changes the membership with entry {}", entry.index;
        /// Another membership took effect on the server.
        MembershipChanged {
            /// The membership from now on.
            membership: Membership,
        } ["§6"] => "now has the membership {membership}";
        /// A leader found that a learner has caught up, and makes it a voter.
        LearnerCaughtUp {
            /// The learner.
            learner: NodeId,
        } ["dissertation 4.2.1"] => "finds that {learner} has caught up, and makes it a voter";
        /// A leader starts a leadership transfer.
        TransferStarted {
            /// The target of the transfer.
            to: NodeId,
        } ["dissertation 3.10"] => "transfers its leadership to {to}, and rejects commands until then";
        /// A leader gave up a leadership transfer whose target did not lead in time.
        TransferTimedOut {
            /// The target of the transfer.
            to: NodeId,
        } ["dissertation 3.10"] => "continues to lead: the transfer to {to} timed out";
        /// The server received the leader's request to start a campaign at once.
        TimeoutNowReceived {
            /// The leader.
            by: NodeId,
        } ["dissertation 3.10"] => "starts a campaign at once: {by} transfers its leadership";
        /// A snapshot of the server's state machine is durable, and its log is compacted.
        SnapshotTaken {
            /// The last entry that the snapshot includes.
            last: LogId,
        } ["§7"] => "has a snapshot up to entry {}, and compacts its log", last.index;
        /// A leader starts to send its snapshot, because the follower's next entry is compacted.
        SnapshotSent {
            /// The follower.
            to: NodeId,
            /// The last entry that the snapshot includes.
            last: LogId,
        } ["§7"] =>
            "sends {to} its snapshot up to entry {}: the entries that {to} needs are compacted",
                last.index;
        /// The first chunk of a snapshot arrived.
        SnapshotReceiveStarted {
            /// The leader.
            leader: NodeId,
            /// The last entry that the snapshot includes.
            last: LogId,
        } ["§7"] => "receives {leader}'s snapshot up to entry {}", last.index;
        /// A snapshot replaced the server's state machine.
        SnapshotInstalled {
            /// The last entry that the snapshot includes.
            last: LogId,
        } ["§7"] => "replaces its state by the snapshot up to entry {}", last.index;
        /// The caller reported a received snapshot as damaged.
        SnapshotDamaged {
            /// The last entry of the snapshot.
            last: LogId,
        } ["our own"] => "discards a damaged snapshot up to entry {}", last.index;
        /// The server's disk is full, or has space again.
        DiskFull {
            /// The disk is full.
            full: bool,
        } ["our own"] =>
            if (*full) "has a full disk";
            else "has space on its disk again";
        /// The server ignored a message that is stale, or that no correct server sends.
        MessageIgnored {
            /// The sender.
            from: NodeId,
            /// The reason.
            reason: IgnoreReason,
        } [reason.describe(|source, _| source)] => "ignores a message from {from}: {reason}";
        /// The server stopped permanently.
        Stopped {
            /// The reason.
            reason: StopReason,
        } [reason.describe(|source, _| source)] => "stops permanently: {reason}";
    }

    /// The reason why a leader, candidate or pre-candidate stepped down.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum StepDownReason {
        /// Another server has a later term.
        LaterTerm {
            /// The other server.
            from: NodeId,
        } ["§5.1"] => "{from} has a later term";
        /// Another server leads in this term.
        LeaderExists {
            /// The leader.
            leader: NodeId,
        } ["§5.2"] => "{leader} leads";
        /// The leader heard no quorum for the maximum election timeout.
        QuorumLost ["dissertation 6.2"] => "a majority was not heard for an election timeout";
        /// So many voters rejected that the campaign cannot win.
        ElectionLost ["our own"] => "too many voters rejected for a majority";
        /// A write to the leader's disk takes too long.
        DiskStalled ["our own"] => "its disk takes too long to write";
        /// A membership without the leader is committed.
        Removed ["dissertation 4.2.2"] => "it was removed from the voters";
    }

    /// The proof that there was no later leader when a read arrived.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum ReadConfirmation {
        /// A quorum answered a heartbeat round that started after the read arrived.
        Quorum ["dissertation 6.4"] => "a majority still follows it";
        /// The leader has a lease.
        Lease ["dissertation 6.4.1"] => "it has a lease";
        /// The leader of this follower confirmed the read.
        Leader {
            /// The leader.
            leader: NodeId,
        } ["dissertation 6.4"] => "{leader} confirmed the read";
    }

    /// The reason why a vote request was rejected.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum VoteRefusal {
        /// The voter's term is later than the term of the request. For a pre-vote, it is not
        /// earlier.
        StaleTerm {
            /// The voter's term.
            ours: Term,
        } ["§5.1"] => "the voter is in term {ours} already";
        /// The voter has voted in this term.
        AlreadyVoted {
            /// The candidate that received the vote.
            candidate: NodeId,
        } ["§5.2"] => "{candidate} has it";
        /// The candidate's log lacks entries that the voter has.
        LogBehind {
            /// The last entry of the candidate.
            theirs: LogId,
            /// The last entry of the voter.
            ours: LogId,
        } ["§5.4.1"] =>
            if (theirs.term == ours.term)
                "its log ends at entry {}, the voter's at entry {}", theirs.index, ours.index;
            else "its log ends in term {}, the voter's in term {}", theirs.term, ours.term;
        /// The voter had recent contact to a leader.
        LeaderAlive {
            /// The leader.
            leader: NodeId,
            /// The time since the last contact.
            heard_ago: Duration,
        } ["dissertation 4.2.3"] => "{leader} leads and was heard {} ms ago", heard_ago.as_millis();
        /// The voter restarted recently, and a leader may hold a lease that counts on the voter.
        RecentlyRestarted ["our own"] =>
            "the voter restarted recently, and a leader may hold a lease";
    }

    /// The reason why entries were rejected.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum AppendRefusal {
        /// The sender's term is earlier than the server's term.
        StaleTerm {
            /// The term of the message.
            theirs: Term,
            /// The server's term.
            ours: Term,
        } ["§5.1"] => "they are of term {theirs}, the server is in term {ours}";
        /// The server's log does not contain the previous entry.
        PreviousEntryMissing {
            /// The previous entry.
            prev_log: LogId,
            /// The term of the server's own entry at that index, if there is one.
            ours: Option<Term>,
        } ["§5.3"] =>
            if (let Some(ours) = ours) "they follow entry {} of term {}, its own entry is of term {ours}",
                prev_log.index, prev_log.term;
            else "they follow entry {}, which it does not have", prev_log.index;
    }

    /// The reason why a message was ignored.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum IgnoreReason {
        /// The message has the server itself as the sender.
        FromItself ["our own"] => "it has this server as its sender";
        /// The message is a response to a request that is no longer current.
        StaleResponse ["our own"] => "it is a stale response";
        /// The message requests a read index, and the server does not lead.
        NotLeader ["dissertation 6.4"] => "it requests a read index, and this server does not lead";
        /// The message requests a read index, and too many reads wait.
        Overloaded ["our own"] => "it requests a read index, and too many reads wait";
        /// The message requests a campaign, and the server is not a voter.
        NotAVoter ["dissertation 4.2.1"] => "it requests a campaign, and this server is not a voter";
        /// The message requests a campaign, and is of another term.
        WrongTerm ["§5.1"] => "it requests a campaign, and is of another term";
        /// The message requests a campaign, and there is no later term.
        LastTerm ["our own"] => "it requests a campaign, and there is no later term";
        /// The message requests a campaign, and the server's disk is full or stalled, so its vote
        /// would not become durable.
        DiskFull ["Figure 2"] => "it requests a campaign, and the disk is full or stalled";
        /// The entries have gaps, or terms that decrease or exceed the sender's term.
        MalformedEntries ["our own"] => "its entries are malformed";
        /// The message acknowledges entries that the server does not have.
        BeyondLog ["our own"] => "it acknowledges entries after the end of the log";
        /// The message is not a chunk of the snapshot that it names, or the snapshot is invalid.
        MalformedSnapshot ["our own"] => "its snapshot is malformed";
    }

    /// The reason why a server stopped permanently.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum StopReason {
        /// The storage failed. The content of the disk is unknown.
        StorageFailed ["dissertation 3.8"] => "its storage failed, so the content of its disk is unknown";
        /// A leader, or a snapshot, would replace an entry that is committed, or with which this
        /// leader was elected. One of the two servers has lost data.
        CommittedEntryConflict {
            /// The index of the entry.
            index: LogIndex,
        } ["§5.4.3"] =>
            "a leader would replace entry {index}, which is committed: one of the two lost data";
        /// Two servers lead in the same term.
        TwoLeaders {
            /// The term.
            term: Term,
            /// The leader that was known.
            known: NodeId,
            /// The other leader.
            other: NodeId,
        } ["§5.2"] => "{known} and {other} both lead in term {term}";
        /// The server acknowledged entries that it no longer has. Its disk has lost them, and
        /// perhaps a vote. It must not continue under its id.
        LogLost {
            /// The last index that the server acknowledged.
            acknowledged: LogIndex,
            /// The last index of its log.
            last: LogIndex,
        } ["dissertation 3.8"] =>
            "it acknowledged entry {acknowledged}, and its log ends at entry {last}: the disk lost data; join again under a new id";
        /// The caller reported a snapshot of entries that were not delivered.
        SnapshotNotOfThisLog {
            /// The last entry of the snapshot.
            last: LogId,
        } ["§7"] =>
            "a snapshot includes entry {} of term {}, which was not delivered to the state machine",
                last.index, last.term;
        /// The caller reported a snapshot with another membership than the one
        /// [at its end](crate::Raft::membership_at).
        SnapshotMembershipMismatch {
            /// The last entry of the snapshot.
            last: LogId,
        } ["§7"] =>
            "a snapshot has a membership other than that at its last entry {}", last.index;
        /// The caller provided a snapshot chunk that is empty, or larger than requested.
        WrongSnapshotChunk ["our own"] => "a chunk of the stored snapshot has the wrong size";
        /// The caller provided entries of the durable log that are not those that were written.
        FetchedWrongEntries {
            /// The first wrong index.
            index: LogIndex,
        } ["our own"] => "the stored log contains a wrong entry at index {index}";
    }
}

impl Event {
    /// The source of the rule behind the decision: a section ("§…") or figure of the Raft paper, or
    /// a section of Ongaro's dissertation. "our own" means that neither contains the rule.
    /// `docs/guide/protocol.md` in the repository explains such rules.
    #[must_use]
    pub fn reference(&self) -> &'static str {
        self.describe(|source, _| source)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn event_reference_is_that_of_its_reason() {
        let (candidate, term) = (NodeId(2), Term(7));
        let refused = |reason| Event::VoteRefused { term, candidate, pre_vote: true, reason };
        let sources = [VoteRefusal::StaleTerm { ours: term }, VoteRefusal::RecentlyRestarted]
            .map(|reason| refused(reason).reference());
        assert_eq!(sources, ["§5.1", "our own"]);
        let granted = |pre_vote| Event::VoteGranted { term, candidate, pre_vote }.reference();
        assert_eq!([granted(true), granted(false)], ["dissertation 9.6", "§5.2"]);
        let stopped = [StopReason::StorageFailed, StopReason::WrongSnapshotChunk];
        let sources = stopped.map(|reason| Event::Stopped { reason }.reference());
        assert_eq!(sources, ["dissertation 3.8", "our own"]);
    }

    /// The rule of §5.4.2 applies only to leaders.
    #[test]
    fn follower_commit_cites_another_rule_than_leader_commit() {
        let committed = |learned_from| {
            let (from, to) = (LogIndex(0), LogIndex(1));
            Event::CommitAdvanced { from, to, learned_from }.reference()
        };
        assert_eq!([committed(None), committed(Some(NodeId(1)))], ["§5.4.2", "§5.3"]);
        let (term, reason) = (Term(2), StepDownReason::ElectionLost);
        assert_eq!(Event::SteppedDown { term, reason }.reference(), "our own");
    }

    /// The text was "that term is over, mine is 1", about a pre-vote for term 1.
    #[test]
    fn refusal_of_pre_vote_for_current_term_names_voter_term() {
        let (candidate, term) = (NodeId(6), Term(1));
        let reason = VoteRefusal::StaleTerm { ours: term };
        let refused = Event::VoteRefused { term, candidate, pre_vote: true, reason };
        let text = "would refuse its vote in term 1 to n6: the voter is in term 1 already";
        assert_eq!(format!("{refused}"), text);
    }

    #[test]
    fn event_text_depends_on_fields() {
        let [two, three] = [LogIndex(2), LogIndex(3)];
        let committed = |from| {
            format!("{}", Event::CommitAdvanced { from, to: LogIndex(4), learned_from: None })
        };
        assert_eq!(
            [committed(two), committed(three)],
            ["commits entries 3 to 4", "commits entry 4"]
        );
        let moved = |learned_from| {
            format!("{}", Event::TermAdvanced { from: Term(1), to: Term(2), learned_from })
        };
        assert_eq!(moved(None), "moves from term 1 to term 2 for its campaign");
        assert_eq!(moved(Some(NodeId(3))), "moves from term 1 to term 2, learned from n3");
    }
}
