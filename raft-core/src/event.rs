//! Why the core did what it did: one vocabulary for the page, the node's log and the tests.

use core::time::Duration;

use crate::effects::ReadId;
use crate::id::{LogId, LogIndex, NodeId, Term};
use crate::membership::Membership;

/// A decision of one server. [`Display`](core::fmt::Display) continues a sentence that begins with the
/// server's name; [`source`](Event::source) names the rule.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Event {
    /// It heard from no leader for an election timeout and asks around.
    BecamePreCandidate {
        /// The term in which it would stand.
        campaign_term: Term,
    },
    /// It stands for election.
    BecameCandidate {
        /// The term in which it stands.
        term: Term,
    },
    /// A majority voted for it.
    BecameLeader {
        /// The term in which it leads.
        term: Term,
        /// The position of the first entry of its term.
        first_index: LogIndex,
    },
    /// It stopped leading or standing.
    SteppedDown {
        /// Its term afterwards.
        term: Term,
        /// Why.
        reason: StepDownReason,
    },
    /// It moved to a later term.
    TermAdvanced {
        /// The term it left.
        from: Term,
        /// The term it entered.
        to: Term,
        /// The server that knew of the later term; none when it stands for election itself.
        learned_from: Option<NodeId>,
    },
    /// It recognized a leader.
    LeaderRecognized {
        /// The leader's term.
        term: Term,
        /// The leader.
        leader: NodeId,
    },
    /// It gives its vote; the vote leaves as soon as it is durable.
    VoteGranted {
        /// The term of the vote.
        term: Term,
        /// Who gets it.
        candidate: NodeId,
        /// Whether it is only the promise of a vote.
        pre_vote: bool,
    },
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
    },
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
    },
    /// It took a client's command into its log.
    Proposed {
        /// Where.
        entry: LogId,
    },
    /// It took a leader's entries into its log.
    EntriesAppended {
        /// Who sent them.
        leader: NodeId,
        /// The first new entry.
        first: LogIndex,
        /// The last new entry.
        last: LogId,
    },
    /// It removed entries that conflict with the leader's.
    EntriesTruncated {
        /// The leader.
        leader: NodeId,
        /// The first removed position.
        first: LogIndex,
        /// The last removed position.
        last: LogIndex,
    },
    /// It refused a leader's entries.
    AppendRefused {
        /// Who sent them.
        leader: NodeId,
        /// Why.
        reason: AppendRefusal,
    },
    /// As a leader, it moved back to find where a follower's log agrees with its own.
    Backtracked {
        /// The follower.
        follower: NodeId,
        /// The next entry it will send.
        next_index: LogIndex,
    },
    /// As a leader, it learned how far a follower's durable log agrees with its own.
    MatchAdvanced {
        /// The follower.
        follower: NodeId,
        /// The last position that agrees.
        match_index: LogIndex,
    },
    /// More of the log is committed.
    CommitAdvanced {
        /// The commit index before.
        from: LogIndex,
        /// The commit index after.
        to: LogIndex,
    },
    /// More of its own log is durable.
    LogPersisted {
        /// The last durable entry.
        through: LogId,
    },
    /// As a leader, it began a round of heartbeats that confirms reads.
    ReadRoundStarted {
        /// The number of the round.
        round: u64,
    },
    /// A majority confirmed that it still led after the read arrived.
    ReadConfirmed {
        /// The read.
        id: ReadId,
        /// What the read must see.
        read_index: LogIndex,
    },
    /// It put a new membership into its log, as leader.
    MembershipProposed {
        /// The entry.
        entry: LogId,
    },
    /// Another membership is in force for it.
    MembershipChanged {
        /// From now on.
        membership: Membership,
    },
    /// A learner has caught up with this leader's log, and becomes a voter.
    LearnerCaughtUp {
        /// The learner.
        learner: NodeId,
    },
    /// It is handing leadership over.
    TransferBegun {
        /// To this server.
        to: NodeId,
    },
    /// The server that it wanted to hand over to did not take over in time.
    TransferAbandoned {
        /// That server.
        to: NodeId,
    },
    /// The leader asked it to stand for election at once.
    ToldToStand {
        /// The leader.
        by: NodeId,
    },
    /// A snapshot of its state machine is durable, and its log became shorter.
    SnapshotTaken {
        /// The last entry that the snapshot includes.
        last: LogId,
    },
    /// It sends its snapshot, because the entries that the follower needs are gone.
    SnapshotSent {
        /// The follower.
        to: NodeId,
        /// The last entry that the snapshot includes.
        last: LogId,
    },
    /// A snapshot begins to arrive.
    SnapshotBegun {
        /// From this leader.
        leader: NodeId,
        /// The last entry that it includes.
        last: LogId,
    },
    /// A snapshot took the place of its state machine.
    SnapshotInstalled {
        /// The last entry that it includes.
        last: LogId,
    },
    /// A snapshot that arrived is damaged.
    SnapshotDamaged {
        /// The last entry that it should include.
        last: LogId,
    },
    /// Its disk has no room for more, or has room again.
    DiskFull {
        /// Whether it is full.
        full: bool,
    },
    /// It ignored a message that no correct server sends, or that came too late to matter.
    MessageIgnored {
        /// The sender.
        from: NodeId,
        /// Why.
        reason: IgnoreReason,
    },
    /// It stopped for good.
    Stopped {
        /// Why.
        reason: StopReason,
    },
}

/// Why a leader or candidate stepped down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StepDownReason {
    /// Another server has a later term.
    LaterTerm {
        /// That server.
        from: NodeId,
    },
    /// Another server leads in this term.
    LeaderExists {
        /// The leader.
        leader: NodeId,
    },
    /// A majority has not been heard for an election timeout.
    QuorumLost,
    /// So many refused that the election cannot be won.
    ElectionLost,
    /// A write to its own disk takes too long.
    DiskStalled,
    /// A membership without it is committed.
    Removed,
}

/// Why a vote was denied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum VoteRefusal {
    /// The candidate's term is over.
    StaleTerm {
        /// The voter's term.
        ours: Term,
    },
    /// The vote of this term is given.
    AlreadyVoted {
        /// Who has it.
        candidate: NodeId,
    },
    /// The candidate's log misses entries that the voter has.
    LogBehind {
        /// The last entry of the candidate.
        theirs: LogId,
        /// The last entry of the voter.
        ours: LogId,
    },
    /// The voter hears a leader.
    LeaderAlive {
        /// That leader.
        leader: NodeId,
        /// How long ago it was heard.
        heard_ago: Duration,
    },
    /// The voter has only just started, and may have forgotten a leader with a lease.
    JustStarted,
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
    },
    /// The entry that the message builds on is not in the log.
    PreviousEntryMissing {
        /// That entry.
        prev_log: LogId,
        /// The term of the log's own entry in that place, if it is that long.
        ours: Option<Term>,
    },
}

/// Why a message was ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum IgnoreReason {
    /// It came from the server itself.
    FromItself,
    /// It answers a question that is no longer asked.
    LateAnswer,
    /// It asks this server to lead, which has no vote.
    NotAVoter,
    /// It asks this server to lead, whose disk has no room for its vote, or does not come to write it.
    DiskFull,
    /// Its entries have gaps, or terms that fall or exceed the sender's.
    MalformedEntries,
    /// It speaks of entries that this server does not have.
    BeyondLog,
    /// It is no piece of the snapshot that it names, or that snapshot is impossible.
    MalformedSnapshot,
}

/// Why a server stopped for good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StopReason {
    /// Its storage failed: what it wrote may or may not be there, so it can promise nothing.
    StorageFailed,
    /// A leader, or a snapshot, wants to replace an entry that is committed here or that this leader
    /// was elected with. One of the two servers lost data.
    CommittedEntryConflict {
        /// That position.
        index: LogIndex,
    },
    /// Two servers lead in the same term.
    TwoLeaders {
        /// The term.
        term: Term,
        /// The leader known so far.
        known: NodeId,
        /// The other one.
        other: NodeId,
    },
    /// The leader knows of entries that this server acknowledged and does not have: its disk lost
    /// them, and may have lost its vote. It must not go on under this identity.
    LogLost {
        /// The last entry that it acknowledged.
        acknowledged: LogIndex,
        /// The last entry that it has.
        last: LogIndex,
    },
    /// The caller took a snapshot of something that was not handed out to be applied, or named another membership than
    /// the one [at its end](crate::Raft::membership_at).
    SnapshotNotOfThisLog {
        /// The last entry that it is said to include.
        last: LogId,
    },
    /// The caller gave a piece of a snapshot that is empty or longer than it was to be.
    WrongSnapshotPiece,
    /// The durable log gave back entries other than those that were written.
    FetchedWrongEntries {
        /// The first wrong position.
        index: LogIndex,
    },
}

impl Event {
    /// Where the rule behind the decision is written: a section of the Raft paper ("§…") or of
    /// Ongaro's dissertation.
    #[must_use]
    pub fn source(&self) -> &'static str {
        match self {
            Self::BecamePreCandidate { .. } => "dissertation 9.6",
            Self::BecameCandidate { .. } | Self::BecameLeader { .. } => "§5.2",
            Self::SteppedDown { reason, .. } => match reason {
                StepDownReason::LaterTerm { .. } => "§5.1",
                StepDownReason::LeaderExists { .. } | StepDownReason::ElectionLost => "§5.2",
                StepDownReason::QuorumLost => "dissertation 6.2",
                StepDownReason::DiskStalled => "dissertation 11.1",
                StepDownReason::Removed => "dissertation 4.2.2",
            },
            Self::TermAdvanced { .. } => "§5.1",
            Self::LeaderRecognized { .. } => "§5.2",
            Self::VoteGranted { pre_vote, .. } | Self::VoteCounted { pre_vote, .. } => {
                if *pre_vote { "dissertation 9.6" } else { "§5.2" }
            }
            Self::VoteRefused { reason, .. } => match reason {
                VoteRefusal::StaleTerm { .. } => "§5.1",
                VoteRefusal::AlreadyVoted { .. } => "§5.2",
                VoteRefusal::LogBehind { .. } => "§5.4.1",
                VoteRefusal::LeaderAlive { .. } => "dissertation 4.2.3",
                VoteRefusal::JustStarted => "dissertation 6.4.1",
            },
            Self::Proposed { .. }
            | Self::EntriesAppended { .. }
            | Self::EntriesTruncated { .. }
            | Self::Backtracked { .. }
            | Self::MatchAdvanced { .. } => "§5.3",
            Self::AppendRefused { reason, .. } => match reason {
                AppendRefusal::StaleTerm { .. } => "§5.1",
                AppendRefusal::PreviousEntryMissing { .. } => "§5.3",
            },
            Self::CommitAdvanced { .. } => "§5.4.2",
            Self::LogPersisted { .. } => "dissertation 10.2.1",
            Self::ReadRoundStarted { .. } | Self::ReadConfirmed { .. } => "dissertation 6.4",
            Self::MembershipProposed { .. } | Self::MembershipChanged { .. } => "§6",
            Self::LearnerCaughtUp { .. } => "dissertation 4.2.1",
            Self::TransferBegun { .. }
            | Self::TransferAbandoned { .. }
            | Self::ToldToStand { .. } => "dissertation 3.10",
            Self::SnapshotTaken { .. }
            | Self::SnapshotSent { .. }
            | Self::SnapshotBegun { .. }
            | Self::SnapshotInstalled { .. }
            | Self::SnapshotDamaged { .. } => "§7",
            Self::DiskFull { .. } => "dissertation 11.1",
            Self::MessageIgnored { .. } => "§5.1",
            Self::Stopped { .. } => "§5.4.3",
        }
    }
}
