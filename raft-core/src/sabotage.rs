//! Rules that can be broken on purpose.
//!
//! The steps of the protocol that safety rests on are asked for by name where they are applied.
//! Under the feature `sabotage` any of them can be switched off, to see what it protects; without
//! the feature every answer is the constant `true`, and nothing of this is left in the program.

use crate::api::config::Config;

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident: $source:literal,)*) => {
        /// A rule of the protocol.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[cfg_attr(not(feature = "sabotage"), allow(dead_code, unreachable_pub))]
        pub enum Rule {
            $($(#[$doc])* $rule,)*
        }

        #[cfg(feature = "sabotage")]
        impl Rule {
            /// All rules that can be broken.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// Its name, as in the code.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => stringify!($rule),)*
                }
            }

            /// Where the rule is written: a section ("§…") or figure of the Raft paper, or a
            /// section of the dissertation; "our own" if neither has it.
            #[must_use]
            pub fn reference(self) -> &'static str {
                match self {
                    $(Self::$rule => $source,)*
                }
            }
        }
    };
}

rules! {
    /// A vote is sent when it is durable.
    VoteIsDurable: "Figure 2",
    /// A candidate asks for votes when its own is durable.
    CandidacyIsDurable: "our own",
    /// A server has one vote in a term.
    OneVotePerTerm: "§5.2",
    /// A vote goes only to a candidate whose log is not behind the voter's.
    VoteForCompleteLog: "§5.4.1",
    /// A candidacy is a new term.
    CandidacyIsNewTerm: "§5.2",
    /// A vote counts in the term for which it was given.
    VoteCountsInItsTerm: "§5.2",
    /// A voter counts once.
    VoterCountsOnce: "§5.2",
    /// More than half of the voters elect.
    MajorityElects: "§5.2",
    /// Entries of a leader whose term is over are refused.
    StaleLeaderIsRefused: "§5.1",
    /// Entries are appended only behind the entry on which the leader builds.
    PreviousEntryMatches: "§5.3",
    /// Entries that conflict with the leader's are removed.
    ConflictIsRemoved: "§5.3",
    /// Entries that do not conflict with the leader's stay.
    OnlyConflictIsRemoved: "§5.3",
    /// More than half of the voters commit.
    MajorityCommits: "§5.3",
    /// A leader counts copies only of entries of its own term.
    CommitOwnTerm: "§5.4.2",
    /// A leader counts itself only for what is durable.
    LeaderCountsDurable: "dissertation 10.2.1",
    /// A follower acknowledges what is durable.
    AcknowledgeDurable: "Figure 2",
    /// A follower believes what is committed only as far as its log is known to agree.
    CommitWhatMatches: "Figure 2",
    /// A heartbeat names as committed only what the follower has acknowledged.
    HeartbeatWithinMatch: "our own",
    /// An acknowledgement counts in the term in which it was given.
    AcknowledgementCountsInItsTerm: "§5.1",
    /// A completed write of entries that were replaced since says nothing about their replacements.
    ReplacedWriteIsVoid: "our own",
    /// A write is durable when all writes before it are.
    WritesCompleteInOrder: "our own",
    /// A server whose storage failed says nothing any more.
    StorageFaultIsFinal: "dissertation 3.8",
    /// A read is answered after a majority has confirmed the leader.
    ReadIsConfirmed: "dissertation 6.4",
    /// An answer to a round of an earlier leadership confirms nothing, also if the same server
    /// leads again.
    EarlierRoundIsVoid: "our own",
    /// A read is confirmed by a round that began after it arrived.
    ReadRoundIsLater: "dissertation 6.4",
    /// A leader answers reads after it has committed an entry of its own term.
    ReadAfterOwnTerm: "dissertation 6.4",
    /// A lease ends before a voter with a fast clock forgets the leader.
    LeaseWithinDrift: "dissertation 6.4.1",
    /// A leader that hands over has no lease.
    LeaseEndsWithTransfer: "dissertation 6.4.1",
    /// A server that hears a leader does not help to depose it.
    HeardLeaderStays: "dissertation 4.2.3",
    /// A server that has just started votes only after a leader that it forgot has lost its lease.
    RestartRespectsLease: "our own",
    /// A membership is in force as soon as it is in the log.
    MembershipOnAppend: "§6",
    /// A membership that is removed from the log is not in force any more.
    MembershipRevertsOnTruncation: "dissertation 4.1",
    /// In a joint membership both majorities decide.
    JointNeedsBoth: "§6",
    /// A change of voters goes through a joint membership.
    ChangeIsJoint: "§6",
    /// A change begins when the one before it is committed.
    OneChangeAtATime: "dissertation 4.1",
    /// The joint membership is left when it is committed.
    JointIsCommitted: "§6",
    /// A leader that is no voter does not count itself.
    RemovedLeaderDoesNotCount: "dissertation 4.2.2",
    /// Leadership is transferred to a server that has the leader's whole log.
    TransferTargetHasLog: "dissertation 3.10",
    /// A snapshot is acknowledged when it is durable.
    SnapshotIsDurable: "§7",
    /// A snapshot that is behind the state machine is not installed.
    SnapshotIsAhead: "§7",
    /// Entries behind the snapshot stay if the log holds the snapshot's last entry.
    SnapshotKeepsSuffix: "§7",
    /// A snapshot brings its membership along.
    SnapshotHasMembership: "§7",
    /// A snapshot that a follower is being sent is sent to its end, also if there is a later one.
    RunningTransferFinishes: "our own",
    /// Pieces of one snapshot do not complete another.
    PiecesOfOneSnapshot: "§7",
    /// A log continues after a snapshot only if it holds the snapshot's last entry.
    SnapshotReplacesConflict: "§7",
}

/// The rules that a server breaks.
#[cfg(feature = "sabotage")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DisabledRules(u64);

#[cfg(feature = "sabotage")]
impl DisabledRules {
    /// Breaks one more rule.
    #[must_use]
    pub fn and(self, rule: Rule) -> Self {
        Self(self.0 | 1 << rule as u64)
    }
}

impl Config {
    /// Whether a rule is in force.
    #[cfg(feature = "sabotage")]
    pub(crate) fn enforces(&self, rule: Rule) -> bool {
        self.disabled_rules.0 >> rule as u64 & 1 == 0
    }

    /// Whether a rule is in force.
    #[cfg(not(feature = "sabotage"))]
    #[inline(always)]
    pub(crate) const fn enforces(&self, _: Rule) -> bool {
        true
    }
}
