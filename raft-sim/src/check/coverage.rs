//! The branches of the protocol that a run has covered.

use std::collections::BTreeMap;

use raft_core::{AppendRefusal, Event, IgnoreReason, StepDownReason, StopReason, VoteRefusal};

/// The branches that faults can reach. A campaign that never covers one of them does not test it.
pub const COVERAGE_POINTS: [&str; 43] = [
    "pre-candidate",
    "candidate",
    "leader",
    "step down: later term",
    "step down: leader exists",
    "step down: quorum lost",
    "step down: election lost",
    "term advanced",
    "leader recognized",
    "vote granted",
    "vote refused: stale term",
    "vote refused: already voted",
    "vote refused: log behind",
    "vote refused: leader alive",
    "vote counted",
    "proposed",
    "entries appended",
    "entries truncated",
    "append refused: stale term",
    "append refused: previous entry missing",
    "backtracked",
    "match advanced",
    "commit advanced",
    "log persisted",
    "storage failed",
    "read round started",
    "read confirmed",
    "ignored: late",
    "step down: disk stalled",
    "step down: removed",
    "vote refused: just started",
    "membership proposed",
    "membership changed",
    "learner caught up",
    "transfer begun",
    "transfer abandoned",
    "told to stand",
    "snapshot taken",
    "snapshot sent",
    "snapshot begun",
    "snapshot installed",
    "disk full",
    "room again",
];

/// The branches that only a bug or a corrupt disk can reach.
#[cfg(feature = "scenarios")]
const UNREACHABLE_POINTS: [&str; 4] = [
    "snapshot damaged",
    "ignored: beyond log",
    "ignored: another reason",
    "stopped: contradiction",
];

/// Returns true if there is a branch of this name.
#[cfg(feature = "scenarios")]
pub(crate) fn is_coverage_point(name: &str) -> bool {
    COVERAGE_POINTS.contains(&name) || UNREACHABLE_POINTS.contains(&name)
}

/// The number of times that each branch was covered.
#[derive(Clone, Debug)]
pub(crate) struct Coverage {
    enabled: bool,
    points: BTreeMap<&'static str, u64>,
}

impl Coverage {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, points: BTreeMap::new() }
    }

    pub(crate) fn observe(&mut self, event: &Event) {
        if self.enabled {
            *self.points.entry(coverage_point(event)).or_default() += 1;
        }
    }

    pub(crate) fn points(&self) -> &BTreeMap<&'static str, u64> {
        &self.points
    }
}

/// The branch that an event belongs to.
fn coverage_point(event: &Event) -> &'static str {
    match event {
        Event::BecamePreCandidate { .. } => "pre-candidate",
        Event::BecameCandidate { .. } => "candidate",
        Event::BecameLeader { .. } => "leader",
        Event::SteppedDown { reason, .. } => match reason {
            StepDownReason::LaterTerm { .. } => "step down: later term",
            StepDownReason::LeaderExists { .. } => "step down: leader exists",
            StepDownReason::QuorumLost => "step down: quorum lost",
            StepDownReason::ElectionLost => "step down: election lost",
            StepDownReason::DiskStalled => "step down: disk stalled",
            StepDownReason::Removed => "step down: removed",
            #[allow(unreachable_patterns, reason = "the core may learn more reasons")]
            _ => "step down: another reason",
        },
        Event::TermAdvanced { .. } => "term advanced",
        Event::LeaderRecognized { .. } => "leader recognized",
        Event::VoteGranted { .. } => "vote granted",
        Event::VoteRefused { reason, .. } => match reason {
            VoteRefusal::StaleTerm { .. } => "vote refused: stale term",
            VoteRefusal::AlreadyVoted { .. } => "vote refused: already voted",
            VoteRefusal::LogBehind { .. } => "vote refused: log behind",
            VoteRefusal::LeaderAlive { .. } => "vote refused: leader alive",
            VoteRefusal::RecentlyRestarted => "vote refused: just started",
            #[allow(unreachable_patterns, reason = "the core may learn more reasons")]
            _ => "vote refused: another reason",
        },
        Event::VoteCounted { .. } => "vote counted",
        Event::Proposed { .. } => "proposed",
        Event::EntriesAppended { .. } => "entries appended",
        Event::EntriesTruncated { .. } => "entries truncated",
        Event::AppendRefused { reason, .. } => match reason {
            AppendRefusal::StaleTerm { .. } => "append refused: stale term",
            AppendRefusal::PreviousEntryMissing { .. } => "append refused: previous entry missing",
            #[allow(unreachable_patterns, reason = "the core may learn more reasons")]
            _ => "append refused: another reason",
        },
        Event::Backtracked { .. } => "backtracked",
        Event::MatchAdvanced { .. } => "match advanced",
        Event::CommitAdvanced { .. } => "commit advanced",
        Event::LogPersisted { .. } => "log persisted",
        Event::ReadRoundStarted { .. } => "read round started",
        Event::ReadConfirmed { .. } => "read confirmed",
        Event::MembershipProposed { .. } => "membership proposed",
        Event::MembershipChanged { .. } => "membership changed",
        Event::LearnerCaughtUp { .. } => "learner caught up",
        Event::TransferStarted { .. } => "transfer begun",
        Event::TransferTimedOut { .. } => "transfer abandoned",
        Event::TimeoutNowReceived { .. } => "told to stand",
        Event::SnapshotTaken { .. } => "snapshot taken",
        Event::SnapshotSent { .. } => "snapshot sent",
        Event::SnapshotReceiveStarted { .. } => "snapshot begun",
        Event::SnapshotInstalled { .. } => "snapshot installed",
        Event::SnapshotDamaged { .. } => "snapshot damaged",
        Event::MessageIgnored { reason, .. } => match reason {
            IgnoreReason::StaleResponse | IgnoreReason::NotLeader | IgnoreReason::WrongTerm => {
                "ignored: late"
            }
            IgnoreReason::BeyondLog => "ignored: beyond log",
            _ => "ignored: another reason",
        },
        Event::DiskFull { full: true } => "disk full",
        Event::DiskFull { full: false } => "room again",
        Event::Stopped { reason: StopReason::StorageFailed } => "storage failed",
        Event::Stopped { .. } => "stopped: contradiction",
        _ => "another event",
    }
}
