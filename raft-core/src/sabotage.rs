//! The rules that tests can disable.
//!
//! Each step of the protocol that safety depends on has a name, and is executed only if
//! [`Config::enforces`] returns true for it. The feature `sabotage` can disable each rule, to show
//! the invariant that the rule protects. Without the feature, [`Config::enforces`] is the constant
//! `true`, and the compiled code contains no trace of it.

use crate::api::config::Config;

macro_rules! rules {
    ($($(#[doc = $doc:literal])* $rule:ident: $source:literal,)*) => {
        /// A rule of the protocol.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[cfg_attr(not(feature = "sabotage"), allow(dead_code, unreachable_pub))]
        pub enum Rule {
            $($(#[doc = $doc])* $rule,)*
        }

        #[cfg(feature = "sabotage")]
        impl Rule {
            /// All rules that can be disabled.
            pub const ALL: &[Self] = &[$(Self::$rule),*];

            /// The name of the rule, as in the code.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => stringify!($rule),)*
                }
            }

            /// The rule in a sentence.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self {
                    $(Self::$rule => concat!($($doc),*).trim_ascii(),)*
                }
            }

            /// The source of the rule: a section ("§…") or figure of the Raft paper, or a section
            /// of the dissertation; "our own" if neither contains it.
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
    /// A granted vote is sent after it is durable.
    VoteIsDurable: "Figure 2",
    /// A candidate requests votes after its own vote is durable.
    CandidacyIsDurable: "our own",
    /// A server grants at most one vote per term.
    OneVotePerTerm: "§5.2",
    /// A server votes only for a candidate whose log is at least as complete as its own.
    VoteForCompleteLog: "§5.4.1",
    /// A campaign starts a new term.
    CandidacyIsNewTerm: "§5.2",
    /// A vote counts only in the term for which it was granted.
    VoteCountsInItsTerm: "§5.2",
    /// A voter counts once.
    VoterCountsOnce: "§5.2",
    /// A candidate needs more than half of the votes.
    MajorityElects: "§5.2",
    /// Entries of a leader of an earlier term are rejected.
    StaleLeaderIsRefused: "§5.1",
    /// Entries are appended only if the log contains the leader's previous entry.
    PreviousEntryMatches: "§5.3",
    /// Entries that conflict with the leader's entries are removed.
    ConflictIsRemoved: "§5.3",
    /// Entries that do not conflict with the leader's entries are kept.
    OnlyConflictIsRemoved: "§5.3",
    /// An entry is committed when more than half of the voters have it.
    MajorityCommits: "§5.3",
    /// A leader commits by counting only entries of its own term.
    CommitOwnTerm: "§5.4.2",
    /// A leader counts its own entries only when they are durable.
    LeaderCountsDurable: "dissertation 10.2.1",
    /// A follower acknowledges only durable entries.
    AcknowledgeDurable: "Figure 2",
    /// The commit index of a follower does not exceed the part of its log that matches.
    CommitWhatMatches: "Figure 2",
    /// The commit index of a heartbeat does not exceed the index that the follower acknowledged.
    HeartbeatWithinMatch: "our own",
    /// An acknowledgement counts only in the term in which it was given.
    AcknowledgementCountsInItsTerm: "§5.1",
    /// The completed write of a replaced entry does not make its replacement durable.
    ReplacedWriteIsVoid: "our own",
    /// A write is durable only after all earlier writes.
    WritesCompleteInOrder: "our own",
    /// A server whose storage failed stops.
    StorageFaultIsFinal: "dissertation 3.8",
    /// A read is completed after a quorum has confirmed the leader.
    ReadIsConfirmed: "dissertation 6.4",
    /// A response to a heartbeat round of an earlier leadership confirms nothing.
    EarlierRoundIsVoid: "our own",
    /// A read is confirmed by a heartbeat round that started after the read arrived.
    ReadRoundIsLater: "dissertation 6.4",
    /// A leader completes reads after it has committed an entry of its own term.
    ReadAfterOwnTerm: "dissertation 6.4",
    /// A lease ends before a voter with a fast clock votes again.
    LeaseWithinDrift: "dissertation 6.4.1",
    /// A leader that has sent TimeoutNow has no lease.
    LeaseEndsWithTransfer: "dissertation 6.4.1",
    /// A server with recent contact to a leader rejects candidates.
    HeardLeaderStays: "dissertation 4.2.3",
    /// A restarted server grants no vote while an earlier leader may hold a lease.
    RestartRespectsLease: "our own",
    /// A membership takes effect when it is appended to the log.
    MembershipOnAppend: "§6",
    /// A membership that is removed from the log is reverted.
    MembershipRevertsOnTruncation: "dissertation 4.1",
    /// A joint membership needs both majorities for a decision.
    JointNeedsBoth: "§6",
    /// A change of voters starts with a joint membership.
    ChangeIsJoint: "§6",
    /// A change starts after the previous one is committed.
    OneChangeAtATime: "dissertation 4.1",
    /// A joint membership ends after it is committed.
    JointIsCommitted: "§6",
    /// A leader that is not a voter does not count itself.
    RemovedLeaderDoesNotCount: "dissertation 4.2.2",
    /// TimeoutNow is sent to a server that has the leader's whole log.
    TransferTargetHasLog: "dissertation 3.10",
    /// A snapshot is acknowledged after it is durable.
    SnapshotIsDurable: "§7",
    /// A snapshot behind the commit index is not installed.
    SnapshotIsAhead: "§7",
    /// The entries after a snapshot are kept if the log contains the last entry of the snapshot.
    SnapshotKeepsSuffix: "§7",
    /// A snapshot contains the membership at its last entry.
    SnapshotHasMembership: "§7",
    /// A running snapshot transfer continues when there is a later snapshot.
    RunningTransferFinishes: "our own",
    /// Chunks of different snapshots are not combined.
    ChunksOfOneSnapshot: "§7",
    /// A log that lacks the last entry of an installed snapshot is replaced.
    SnapshotReplacesConflict: "§7",
}

/// The rules that a server does not enforce.
#[cfg(feature = "sabotage")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct DisabledRules(u64);

#[cfg(feature = "sabotage")]
impl DisabledRules {
    /// Disables one more rule.
    #[must_use]
    pub fn and(self, rule: Rule) -> Self {
        Self(self.0 | 1 << rule as u64)
    }
}

impl Config {
    /// Returns true unless the rule is disabled.
    #[cfg(feature = "sabotage")]
    pub(crate) fn enforces(&self, rule: Rule) -> bool {
        self.disabled_rules.0 >> rule as u64 & 1 == 0
    }

    /// Returns true unless the rule is disabled.
    #[cfg(not(feature = "sabotage"))]
    #[inline(always)]
    pub(crate) const fn enforces(&self, _: Rule) -> bool {
        true
    }
}
