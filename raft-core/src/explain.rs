//! The decisions in words.

use core::fmt;

use crate::event::{AppendRefusal, Event, IgnoreReason, StepDownReason, StopReason, VoteRefusal};

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecamePreCandidate { campaign_term } => write!(
                f,
                "hears no leader and asks whether it could win an election in term {campaign_term}"
            ),
            Self::BecameCandidate { term } => {
                write!(f, "stands for election in term {term} and votes for itself")
            }
            Self::BecameLeader { term, first_index } => write!(
                f,
                "leads in term {term}: a majority voted for it; its first entry will be {first_index}"
            ),
            Self::SteppedDown { term, reason } => {
                write!(f, "steps down and follows in term {term}: {reason}")
            }
            Self::TermAdvanced { from, to, learned_from } => match learned_from {
                Some(node) => write!(f, "moves from term {from} to term {to}, learned from {node}"),
                None => write!(f, "moves from term {from} to term {to} to stand for election"),
            },
            Self::LeaderRecognized { term, leader } => {
                write!(f, "follows {leader}, the leader of term {term}")
            }
            Self::VoteGranted { term, candidate, pre_vote: true } => {
                write!(f, "would vote for {candidate} in term {term}")
            }
            Self::VoteGranted { term, candidate, pre_vote: false } => {
                write!(f, "votes for {candidate} in term {term}")
            }
            Self::VoteRefused { term, candidate, pre_vote, reason } => {
                let verb = if *pre_vote { "would refuse" } else { "refuses" };
                write!(f, "{verb} its vote in term {term} to {candidate}: {reason}")
            }
            Self::VoteCounted { voter, granted, pre_vote, votes, needed } => {
                let what = if *pre_vote { "promise of a vote" } else { "vote" };
                let verb = if *granted { "receives" } else { "is refused" };
                write!(f, "{verb} the {what} of {voter}: has {votes}, needs {needed}")
            }
            Self::Proposed { entry } => {
                write!(f, "takes a command as entry {} of term {}", entry.index, entry.term)
            }
            Self::EntriesAppended { leader, first, last } if *first == last.index => {
                write!(f, "appends entry {first} from {leader}")
            }
            Self::EntriesAppended { leader, first, last } => {
                write!(f, "appends entries {first} to {} from {leader}", last.index)
            }
            Self::EntriesTruncated { leader, first, last } if first == last => {
                write!(f, "removes entry {first}, which conflicts with {leader}'s log")
            }
            Self::EntriesTruncated { leader, first, last } => {
                write!(f, "removes entries {first} to {last}, which conflict with {leader}'s log")
            }
            Self::AppendRefused { leader, reason } => {
                write!(f, "refuses entries from {leader}: {reason}")
            }
            Self::Backtracked { follower, next_index } => {
                write!(f, "tries {follower} again from entry {next_index}")
            }
            Self::MatchAdvanced { follower, match_index } => {
                write!(f, "knows that {follower} stores its log up to entry {match_index}")
            }
            Self::CommitAdvanced { from, to } if from.next() == *to => {
                write!(f, "commits entry {to}")
            }
            Self::CommitAdvanced { from, to } => {
                write!(f, "commits entries {} to {to}", from.next())
            }
            Self::LogPersisted { through } => {
                write!(f, "has its log on disk up to entry {}", through.index)
            }
            Self::ReadRoundStarted { round } => {
                write!(f, "asks its followers, in round {round}, whether it still leads")
            }
            Self::ReadConfirmed { id, read_index } => write!(
                f,
                "may answer read {} once entry {read_index} is applied: a majority still follows it",
                id.0
            ),
            Self::MembershipProposed { entry } => {
                write!(f, "changes the membership with entry {}", entry.index)
            }
            Self::MembershipChanged { membership } => write!(f, "now counts {membership}"),
            Self::LearnerCaughtUp { learner } => {
                write!(f, "finds that {learner} has caught up, and gives it a vote")
            }
            Self::TransferBegun { to } => {
                write!(f, "hands leadership over to {to}, and takes no commands meanwhile")
            }
            Self::TransferAbandoned { to } => {
                write!(f, "goes on leading: {to} did not take over in time")
            }
            Self::ToldToStand { by } => write!(f, "stands at once, because {by} hands over"),
            Self::SnapshotTaken { last } => {
                write!(f, "has a snapshot up to entry {}, and shortens its log", last.index)
            }
            Self::SnapshotSent { to, last } => write!(
                f,
                "sends {to} its snapshot up to entry {}: what {to} lacks is in no log any more",
                last.index
            ),
            Self::SnapshotBegun { leader, last } => {
                write!(f, "receives {leader}'s snapshot up to entry {}", last.index)
            }
            Self::SnapshotInstalled { last } => {
                write!(f, "replaces its state by the snapshot up to entry {}", last.index)
            }
            Self::SnapshotDamaged { last } => {
                write!(f, "throws a damaged snapshot up to entry {} away", last.index)
            }
            Self::MessageIgnored { from, reason } => {
                write!(f, "ignores a message from {from}: {reason}")
            }
            Self::DiskFull { full: true } => f.write_str("has no room left on its disk"),
            Self::DiskFull { full: false } => f.write_str("has room on its disk again"),
            Self::Stopped { reason } => write!(f, "stops for good: {reason}"),
        }
    }
}

impl fmt::Display for StepDownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LaterTerm { from } => write!(f, "{from} has a later term"),
            Self::LeaderExists { leader } => write!(f, "{leader} leads"),
            Self::QuorumLost => f.write_str("a majority was not heard for an election timeout"),
            Self::ElectionLost => f.write_str("a majority can no longer come together"),
            Self::DiskStalled => f.write_str("its disk takes too long to write"),
            Self::Removed => f.write_str("it is no voter any more"),
        }
    }
}

impl fmt::Display for VoteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleTerm { ours } => write!(f, "that term is over, mine is {ours}"),
            Self::AlreadyVoted { candidate } => write!(f, "{candidate} has it"),
            Self::LogBehind { theirs, ours } if theirs.term == ours.term => {
                write!(f, "its log ends at entry {}, mine at entry {}", theirs.index, ours.index)
            }
            Self::LogBehind { theirs, ours } => {
                write!(f, "its log ends in term {}, mine in term {}", theirs.term, ours.term)
            }
            Self::LeaderAlive { leader, heard_ago } => {
                write!(f, "{leader} leads and was heard {} ms ago", heard_ago.as_millis())
            }
            Self::JustStarted => {
                f.write_str("I have just started, and may have forgotten a leader")
            }
        }
    }
}

impl fmt::Display for AppendRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleTerm { theirs, ours } => {
                write!(f, "they are of term {theirs}, mine is {ours}")
            }
            Self::PreviousEntryMissing { prev_log, ours: Some(term) } => write!(
                f,
                "they build on entry {} of term {}, mine is of term {term}",
                prev_log.index, prev_log.term
            ),
            Self::PreviousEntryMissing { prev_log, ours: None } => {
                write!(f, "they build on entry {}, which I do not have", prev_log.index)
            }
        }
    }
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromItself => "it carries my own name",
            Self::LateAnswer => "it answers a question that is no longer asked",
            Self::NotAVoter => "it asks me to lead, and I have no vote",
            Self::DiskFull => "it asks me to lead, and I have no room to write down my vote",
            Self::MalformedEntries => "its entries are not a piece of any log",
            Self::BeyondLog => "it speaks of entries that I do not have",
            Self::MalformedSnapshot => "it is no piece of any snapshot",
        })
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StorageFailed => f.write_str("its storage failed, so it can promise nothing"),
            Self::CommittedEntryConflict { index } => write!(
                f,
                "a leader wants to replace entry {index}, which is committed: one of the two lost data"
            ),
            Self::TwoLeaders { term, known, other } => {
                write!(f, "{known} and {other} both lead in term {term}")
            }
            Self::LogLost { acknowledged, last } => write!(
                f,
                "it acknowledged entry {acknowledged}, and its log ends at entry {last}: the disk lost data; join again under a new identity"
            ),
            Self::SnapshotNotOfThisLog { last } => write!(
                f,
                "a snapshot was taken up to entry {} of term {}, which was not applied here",
                last.index, last.term
            ),
            Self::WrongSnapshotPiece => {
                f.write_str("the stored snapshot gave back a piece of the wrong size")
            }
            Self::FetchedWrongEntries { index } => {
                write!(f, "the stored log gave back something else at entry {index}")
            }
        }
    }
}
