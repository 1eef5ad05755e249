//! Why the core did what it did: one vocabulary for the page, the node's log and the tests.

use core::time::Duration;

use crate::api::membership::Membership;
use crate::api::read::ReadId;
use crate::api::types::{LogId, LogIndex, NodeId, Term};
use crate::macros::described_enum;

described_enum! {
    /// A decision of one server. [`Display`](core::fmt::Display) continues a sentence that begins
    /// with the server's name; [`source`](Event::reference) says where the rule is written.
    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum Event {
        /// It heard from no leader for an election timeout and asks around.
        BecamePreCandidate {
            /// The term in which it would stand.
            campaign_term: Term,
        } ["dissertation 9.6"] =>
            "hears no leader and asks whether it could win an election in term {campaign_term}";
        /// It stands for election.
        BecameCandidate {
            /// The term in which it stands.
            term: Term,
        } ["§5.2"] => "stands for election in term {term} and votes for itself";
        /// A majority voted for it.
        BecameLeader {
            /// The term in which it leads.
            term: Term,
            /// The position of the first entry of its term.
            first_index: LogIndex,
        } ["§5.2"] =>
            "leads in term {term}: a majority voted for it; its first entry will be {first_index}";
        /// It stopped leading or standing.
        SteppedDown {
            /// Its term afterwards.
            term: Term,
            /// Why.
            reason: StepDownReason,
        } [reason.describe(|source, _| source)] => "steps down and follows in term {term}: {reason}";
        /// It moved to a later term.
        TermAdvanced {
            /// The term it left.
            from: Term,
            /// The term it entered.
            to: Term,
            /// The server that knew of the later term; none when it stands for election itself.
            learned_from: Option<NodeId>,
        } [if learned_from.is_some() { "§5.1" } else { "§5.2" }] =>
            if (let Some(node) = learned_from) "moves from term {from} to term {to}, learned from {node}";
            else "moves from term {from} to term {to} to stand for election";
        /// It recognized a leader.
        LeaderRecognized {
            /// The leader's term.
            term: Term,
            /// The leader.
            leader: NodeId,
        } ["§5.2"] => "follows {leader}, the leader of term {term}";
        /// It gives its vote; the vote leaves as soon as it is durable.
        VoteGranted {
            /// The term of the vote.
            term: Term,
            /// Who gets it.
            candidate: NodeId,
            /// Whether it is only the promise of a vote.
            pre_vote: bool,
        } [if *pre_vote { "dissertation 9.6" } else { "§5.2" }] =>
            "{} for {candidate} in term {term}", if *pre_vote { "would vote" } else { "votes" };
        /// It denies its vote.
        VoteRefused {
            /// The term that was asked for.
            term: Term,
            /// Who asked.
            candidate: NodeId,
            /// Whether only a promise was asked for.
            pre_vote: bool,
            /// Why.
            reason: VoteRefusal,
        } [reason.describe(|source, _| source)] =>
            "{} its vote in term {term} to {candidate}: {reason}",
                if *pre_vote { "would refuse" } else { "refuses" };
        /// A vote, or the promise of one, arrived and counts.
        VoteCounted {
            /// The voter.
            voter: NodeId,
            /// What it said.
            granted: bool,
            /// Whether it was only a promise.
            pre_vote: bool,
            /// Votes in favour so far.
            votes: usize,
            /// Votes in favour that win.
            needed: usize,
        } [if *pre_vote { "dissertation 9.6" } else { "§5.2" }] =>
            "{} the {} of {voter}: has {votes}, needs {needed}",
                if *granted { "receives" } else { "is refused" },
                if *pre_vote { "promise of a vote" } else { "vote" };
        /// It took a client's command into its log.
        Proposed {
            /// Where.
            entry: LogId,
        } ["§5.3"] => "takes a command as entry {} of term {}", entry.index, entry.term;
        /// It took a leader's entries into its log.
        EntriesAppended {
            /// Who sent them.
            leader: NodeId,
            /// The first new entry.
            first: LogIndex,
            /// The last new entry.
            last: LogId,
        } ["§5.3"] =>
            if (*first == last.index) "appends entry {first} from {leader}";
            else "appends entries {first} to {} from {leader}", last.index;
        /// It removed entries that conflict with the leader's.
        EntriesTruncated {
            /// The leader.
            leader: NodeId,
            /// The first removed position.
            first: LogIndex,
            /// The last removed position.
            last: LogIndex,
        } ["§5.3"] =>
            if (first == last) "removes entry {first}, which conflicts with {leader}'s log";
            else "removes entries {first} to {last}, which conflict with {leader}'s log";
        /// It refused a leader's entries.
        AppendRefused {
            /// Who sent them.
            leader: NodeId,
            /// Why.
            reason: AppendRefusal,
        } [reason.describe(|source, _| source)] => "refuses entries from {leader}: {reason}";
        /// As a leader, it moved back to find where a follower's log agrees with its own.
        Backtracked {
            /// The follower.
            follower: NodeId,
            /// The next entry it will send.
            next_index: LogIndex,
        } ["§5.3"] => "tries {follower} again from entry {next_index}";
        /// As a leader, it learned how far a follower's durable log agrees with its own.
        MatchAdvanced {
            /// The follower.
            follower: NodeId,
            /// The last position that agrees.
            match_index: LogIndex,
        } ["§5.3"] => "knows that {follower} stores its log up to entry {match_index}";
        /// More of the log is committed.
        CommitAdvanced {
            /// The commit index before.
            from: LogIndex,
            /// The commit index after.
            to: LogIndex,
            /// The leader from which a follower learned that; none at the leader itself, which
            /// counts the servers that store the entries.
            learned_from: Option<NodeId>,
        } [if learned_from.is_some() { "§5.3" } else { "§5.4.2" }] =>
            if (from.next() == *to) "commits entry {to}";
            else "commits entries {} to {to}", from.next();
        /// More of its own log is durable.
        LogPersisted {
            /// The last durable entry.
            through: LogId,
        } ["Figure 2"] => "has its log on disk up to entry {}", through.index;
        /// As a leader, it began a round of heartbeats that confirms reads.
        ReadRoundStarted {
            /// The number of the round.
            round: u64,
        } ["dissertation 6.4"] => "asks its followers, in round {round}, whether it still leads";
        /// A read may be answered, because there was no later leader when the read arrived.
        ReadConfirmed {
            /// The read.
            id: ReadId,
            /// What the read must see.
            read_index: LogIndex,
            /// Why there was no later leader.
            reason: ReadConfirmation,
        } [reason.describe(|source, _| source)] =>
            "may answer read {} once entry {read_index} is applied: {reason}", id.0;
        /// It put a new membership into its log, as leader.
        MembershipProposed {
            /// The entry.
            entry: LogId,
        } ["§6"] => "changes the membership with entry {}", entry.index;
        /// Another membership is in force for it.
        MembershipChanged {
            /// From now on.
            membership: Membership,
        } ["§6"] => "now counts {membership}";
        /// A learner has caught up with this leader's log, and becomes a voter.
        LearnerCaughtUp {
            /// The learner.
            learner: NodeId,
        } ["dissertation 4.2.1"] => "finds that {learner} has caught up, and gives it a vote";
        /// It is handing leadership over.
        TransferStarted {
            /// To this server.
            to: NodeId,
        } ["dissertation 3.10"] => "hands leadership over to {to}, and takes no commands meanwhile";
        /// The server that it wanted to hand over to did not take over in time.
        TransferTimedOut {
            /// That server.
            to: NodeId,
        } ["dissertation 3.10"] => "goes on leading: {to} did not take over in time";
        /// The leader asked it to stand for election at once.
        TimeoutNowReceived {
            /// The leader.
            by: NodeId,
        } ["dissertation 3.10"] => "stands at once, because {by} hands over";
        /// A snapshot of its state machine is durable, and its log became shorter.
        SnapshotTaken {
            /// The last entry that the snapshot includes.
            last: LogId,
        } ["§7"] => "has a snapshot up to entry {}, and shortens its log", last.index;
        /// It sends its snapshot, because the entries that the follower needs are gone.
        SnapshotSent {
            /// The follower.
            to: NodeId,
            /// The last entry that the snapshot includes.
            last: LogId,
        } ["§7"] =>
            "sends {to} its snapshot up to entry {}: its log no longer has the entries that {to} needs",
                last.index;
        /// A snapshot begins to arrive.
        SnapshotReceiveStarted {
            /// From this leader.
            leader: NodeId,
            /// The last entry that it includes.
            last: LogId,
        } ["§7"] => "receives {leader}'s snapshot up to entry {}", last.index;
        /// A snapshot took the place of its state machine.
        SnapshotInstalled {
            /// The last entry that it includes.
            last: LogId,
        } ["§7"] => "replaces its state by the snapshot up to entry {}", last.index;
        /// A snapshot that arrived is damaged.
        SnapshotDamaged {
            /// The last entry that it should include.
            last: LogId,
        } ["our own"] => "discards a damaged snapshot up to entry {}", last.index;
        /// Its disk has no room for more, or has room again.
        DiskFull {
            /// Whether it is full.
            full: bool,
        } ["our own"] =>
            if (*full) "has no room left on its disk";
            else "has room on its disk again";
        /// It ignored a message that no correct server sends, or that came too late to matter.
        MessageIgnored {
            /// The sender.
            from: NodeId,
            /// Why.
            reason: IgnoreReason,
        } [reason.describe(|source, _| source)] => "ignores a message from {from}: {reason}";
        /// It stopped for good.
        Stopped {
            /// Why.
            reason: StopReason,
        } [reason.describe(|source, _| source)] => "stops for good: {reason}";
    }

    /// Why a leader or candidate stepped down.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum StepDownReason {
        /// Another server has a later term.
        LaterTerm {
            /// That server.
            from: NodeId,
        } ["§5.1"] => "{from} has a later term";
        /// Another server leads in this term.
        LeaderExists {
            /// The leader.
            leader: NodeId,
        } ["§5.2"] => "{leader} leads";
        /// A majority has not been heard for an election timeout.
        QuorumLost ["dissertation 6.2"] => "a majority was not heard for an election timeout";
        /// So many refused that the election cannot be won.
        ElectionLost ["our own"] => "so many voters refused that no majority is left";
        /// A write to its own disk takes too long.
        DiskStalled ["our own"] => "its disk takes too long to write";
        /// A membership without it is committed.
        Removed ["dissertation 4.2.2"] => "it is no voter any more";
    }

    /// Why a server is sure that there was no later leader when a read arrived.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum ReadConfirmation {
        /// A majority answered a round of heartbeats that began after the read arrived.
        Quorum ["dissertation 6.4"] => "a majority still follows it";
        /// The leader has a lease.
        Lease ["dissertation 6.4.1"] => "it has a lease";
        /// This server follows, and its leader confirmed the read.
        Leader {
            /// The leader.
            leader: NodeId,
        } ["dissertation 6.4"] => "{leader} confirmed the read";
    }

    /// Why a vote was denied.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum VoteRefusal {
        /// The voter's term is later than the term of the request or, if a pre-vote is requested,
        /// not earlier.
        StaleTerm {
            /// The voter's term.
            ours: Term,
        } ["§5.1"] => "the voter is in term {ours} already";
        /// The vote of this term is given.
        AlreadyVoted {
            /// Who has it.
            candidate: NodeId,
        } ["§5.2"] => "{candidate} has it";
        /// The candidate's log misses entries that the voter has.
        LogBehind {
            /// The last entry of the candidate.
            theirs: LogId,
            /// The last entry of the voter.
            ours: LogId,
        } ["§5.4.1"] =>
            if (theirs.term == ours.term)
                "its log ends at entry {}, mine at entry {}", theirs.index, ours.index;
            else "its log ends in term {}, mine in term {}", theirs.term, ours.term;
        /// The voter hears a leader.
        LeaderAlive {
            /// That leader.
            leader: NodeId,
            /// How long ago it was heard.
            heard_ago: Duration,
        } ["dissertation 4.2.3"] => "{leader} leads and was heard {} ms ago", heard_ago.as_millis();
        /// The voter has only just started, and may have forgotten a leader with a lease.
        RecentlyRestarted ["our own"] =>
            "I have just started, and may have forgotten a leader";
    }

    /// Why entries were refused.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum AppendRefusal {
        /// The sender's term is over.
        StaleTerm {
            /// The term of the message.
            theirs: Term,
            /// The server's term.
            ours: Term,
        } ["§5.1"] => "they are of term {theirs}, mine is {ours}";
        /// The entry that the message builds on is not in the log.
        PreviousEntryMissing {
            /// That entry.
            prev_log: LogId,
            /// The term of the log's own entry in that place, if it is that long.
            ours: Option<Term>,
        } ["§5.3"] =>
            if (let Some(ours) = ours) "they build on entry {} of term {}, mine is of term {ours}",
                prev_log.index, prev_log.term;
            else "they build on entry {}, which I do not have", prev_log.index;
    }

    /// Why a message was ignored.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum IgnoreReason {
        /// It came from the server itself.
        FromItself ["our own"] => "it carries my own name";
        /// It answers a question that is no longer asked.
        StaleResponse ["our own"] => "it answers a question that is no longer asked";
        /// It asks this server what a leader knows, and it does not lead, or not any more.
        NotLeader ["dissertation 6.4"] => "it asks what a leader knows, and I do not lead";
        /// It asks what a read must see, and too many reads wait already.
        Overloaded ["our own"] => "it asks for a read, and too many wait already";
        /// It asks this server to lead, which has no vote.
        NotAVoter ["dissertation 4.2.1"] => "it asks me to lead, and I have no vote";
        /// It hands over the lead of another term than this server's.
        WrongTerm ["§5.1"] => "it asks me to lead after a term that is not mine";
        /// It asks this server to lead, and there is no later term to lead in.
        LastTerm ["our own"] => "it asks me to lead, and there is no later term";
        /// It asks this server to lead, whose disk has no room for its vote, or does not come to
        /// write it.
        DiskFull ["Figure 2"] => "it asks me to lead, and I cannot write down my vote";
        /// Its entries have gaps, or terms that fall or exceed the sender's.
        MalformedEntries ["our own"] => "its entries are not a piece of any log";
        /// It speaks of entries that this server does not have.
        BeyondLog ["our own"] => "it speaks of entries that I do not have";
        /// It is no piece of the snapshot that it names, or that snapshot is impossible.
        MalformedSnapshot ["our own"] => "it is no piece of any snapshot";
    }

    /// Why a server stopped for good.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    #[non_exhaustive]
    pub enum StopReason {
        /// Its storage failed: what it wrote may or may not be there, so it can promise nothing.
        StorageFailed ["dissertation 3.8"] => "its storage failed, so it can promise nothing";
        /// A leader, or a snapshot, wants to replace an entry that is committed here or that this
        /// leader was elected with. One of the two servers lost data.
        CommittedEntryConflict {
            /// That position.
            index: LogIndex,
        } ["§5.4.3"] =>
            "a leader wants to replace entry {index}, which is committed: one of the two lost data";
        /// Two servers lead in the same term.
        TwoLeaders {
            /// The term.
            term: Term,
            /// The leader known so far.
            known: NodeId,
            /// The other one.
            other: NodeId,
        } ["§5.2"] => "{known} and {other} both lead in term {term}";
        /// The leader knows of entries that this server acknowledged and does not have: its disk
        /// lost them, and may have lost its vote. It must not go on under this identity.
        LogLost {
            /// The last entry that it acknowledged.
            acknowledged: LogIndex,
            /// The last entry that it has.
            last: LogIndex,
        } ["dissertation 3.8"] =>
            "it acknowledged entry {acknowledged}, and its log ends at entry {last}: the disk lost data; join again under a new identity";
        /// The caller took a snapshot of something that was not handed out to be applied.
        SnapshotNotOfThisLog {
            /// The last entry that the snapshot is said to include.
            last: LogId,
        } ["§7"] =>
            "a snapshot was taken up to entry {} of term {}, which was not applied here",
                last.index, last.term;
        /// The caller took a snapshot with another membership than the one
        /// [at its end](crate::Raft::membership_at).
        SnapshotMembershipMismatch {
            /// The last entry that the snapshot includes.
            last: LogId,
        } ["§7"] =>
            "a snapshot was taken with a wrong membership: the membership at entry {} is another",
                last.index;
        /// The caller gave a piece of a snapshot that is empty or longer than it was to be.
        WrongSnapshotChunk ["our own"] => "the stored snapshot gave back a piece of the wrong size";
        /// The durable log gave back entries other than those that were written.
        FetchedWrongEntries {
            /// The first wrong position.
            index: LogIndex,
        } ["our own"] => "the stored log gave back something else at entry {index}";
    }
}

impl Event {
    /// Where the rule behind the decision is written: a section ("§…") or figure of the Raft paper,
    /// or a section of Ongaro's dissertation. "our own" means that neither has the rule;
    /// `docs/guide/protocol.md` of the repository explains it.
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

    /// The rule of §5.4.2 binds leaders alone.
    #[test]
    fn follower_commits_by_another_rule_than_its_leader() {
        let committed = |learned_from| {
            let (from, to) = (LogIndex(0), LogIndex(1));
            Event::CommitAdvanced { from, to, learned_from }.reference()
        };
        assert_eq!([committed(None), committed(Some(NodeId(1)))], ["§5.4.2", "§5.3"]);
        let (term, reason) = (Term(2), StepDownReason::ElectionLost);
        assert_eq!(Event::SteppedDown { term, reason }.reference(), "our own");
    }

    /// The words were "that term is over, mine is 1", about a pre-vote for term 1.
    #[test]
    fn pre_vote_for_the_current_term_is_refused_in_true_words() {
        let (candidate, term) = (NodeId(6), Term(1));
        let reason = VoteRefusal::StaleTerm { ours: term };
        let refused = Event::VoteRefused { term, candidate, pre_vote: true, reason };
        let words = "would refuse its vote in term 1 to n6: the voter is in term 1 already";
        assert_eq!(format!("{refused}"), words);
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
        assert_eq!(moved(None), "moves from term 1 to term 2 to stand for election");
        assert_eq!(moved(Some(NodeId(3))), "moves from term 1 to term 2, learned from n3");
    }
}
