//! Why the core did what it did: one vocabulary for the page, the node's log and the tests.

use core::fmt;
use core::time::Duration;

use crate::effects::ReadId;
use crate::id::{LogId, LogIndex, NodeId, Term};

/// A decision of one server. [`Display`](fmt::Display) continues a sentence that begins with the
/// server's name; [`source`](Event::source) names the rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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
    /// The sender is no voter.
    NotAVoter,
    /// Its entries have gaps, or terms that fall or exceed the sender's.
    MalformedEntries,
    /// It speaks of entries that this server does not have.
    BeyondLog,
}

/// Why a server stopped for good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StopReason {
    /// Its storage failed: what it wrote may or may not be there, so it can promise nothing.
    StorageFailed,
    /// A leader wants to replace an entry that is committed here. One of the two servers lost data.
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
            },
            Self::TermAdvanced { .. } => "§5.1",
            Self::LeaderRecognized { .. } => "§5.2",
            Self::VoteGranted { pre_vote, .. } | Self::VoteCounted { pre_vote, .. } => {
                if *pre_vote {
                    "dissertation 9.6"
                } else {
                    "§5.2"
                }
            }
            Self::VoteRefused { reason, .. } => match reason {
                VoteRefusal::StaleTerm { .. } => "§5.1",
                VoteRefusal::AlreadyVoted { .. } => "§5.2",
                VoteRefusal::LogBehind { .. } => "§5.4.1",
                VoteRefusal::LeaderAlive { .. } => "dissertation 4.2.3",
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
            Self::MessageIgnored { .. } => "§5.1",
            Self::Stopped { .. } => "§5.4.3",
        }
    }
}

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
            Self::TermAdvanced {
                from,
                to,
                learned_from,
            } => match learned_from {
                Some(node) => write!(
                    f,
                    "moves from term {from} to term {to}, learned from {node}"
                ),
                None => write!(
                    f,
                    "moves from term {from} to term {to} to stand for election"
                ),
            },
            Self::LeaderRecognized { term, leader } => {
                write!(f, "follows {leader}, the leader of term {term}")
            }
            Self::VoteGranted {
                term,
                candidate,
                pre_vote: true,
            } => {
                write!(f, "would vote for {candidate} in term {term}")
            }
            Self::VoteGranted {
                term,
                candidate,
                pre_vote: false,
            } => {
                write!(f, "votes for {candidate} in term {term}")
            }
            Self::VoteRefused {
                term,
                candidate,
                pre_vote,
                reason,
            } => {
                let verb = if *pre_vote { "would refuse" } else { "refuses" };
                write!(f, "{verb} its vote in term {term} to {candidate}: {reason}")
            }
            Self::VoteCounted {
                voter,
                granted,
                pre_vote,
                votes,
                needed,
            } => {
                let what = if *pre_vote {
                    "promise of a vote"
                } else {
                    "vote"
                };
                let verb = if *granted { "receives" } else { "is refused" };
                write!(
                    f,
                    "{verb} the {what} of {voter}: has {votes}, needs {needed}"
                )
            }
            Self::Proposed { entry } => {
                write!(
                    f,
                    "takes a command as entry {} of term {}",
                    entry.index, entry.term
                )
            }
            Self::EntriesAppended {
                leader,
                first,
                last,
            } if *first == last.index => {
                write!(f, "appends entry {first} from {leader}")
            }
            Self::EntriesAppended {
                leader,
                first,
                last,
            } => {
                write!(f, "appends entries {first} to {} from {leader}", last.index)
            }
            Self::EntriesTruncated {
                leader,
                first,
                last,
            } if first == last => {
                write!(
                    f,
                    "removes entry {first}, which conflicts with {leader}'s log"
                )
            }
            Self::EntriesTruncated {
                leader,
                first,
                last,
            } => {
                write!(
                    f,
                    "removes entries {first} to {last}, which conflict with {leader}'s log"
                )
            }
            Self::AppendRefused { leader, reason } => {
                write!(f, "refuses entries from {leader}: {reason}")
            }
            Self::Backtracked {
                follower,
                next_index,
            } => {
                write!(f, "tries {follower} again from entry {next_index}")
            }
            Self::MatchAdvanced {
                follower,
                match_index,
            } => {
                write!(
                    f,
                    "knows that {follower} stores its log up to entry {match_index}"
                )
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
                write!(
                    f,
                    "asks its followers, in round {round}, whether it still leads"
                )
            }
            Self::ReadConfirmed { id, read_index } => write!(
                f,
                "may answer read {} once entry {read_index} is applied: a majority still follows it",
                id.0
            ),
            Self::MessageIgnored { from, reason } => {
                write!(f, "ignores a message from {from}: {reason}")
            }
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
        }
    }
}

impl fmt::Display for VoteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleTerm { ours } => write!(f, "that term is over, mine is {ours}"),
            Self::AlreadyVoted { candidate } => write!(f, "{candidate} has it"),
            Self::LogBehind { theirs, ours } if theirs.term == ours.term => write!(
                f,
                "its log ends at entry {}, mine at entry {}",
                theirs.index, ours.index
            ),
            Self::LogBehind { theirs, ours } => {
                write!(
                    f,
                    "its log ends in term {}, mine in term {}",
                    theirs.term, ours.term
                )
            }
            Self::LeaderAlive { leader, heard_ago } => {
                write!(
                    f,
                    "{leader} leads and was heard {} ms ago",
                    heard_ago.as_millis()
                )
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
            Self::PreviousEntryMissing {
                prev_log,
                ours: Some(term),
            } => write!(
                f,
                "they build on entry {} of term {}, mine is of term {term}",
                prev_log.index, prev_log.term
            ),
            Self::PreviousEntryMissing {
                prev_log,
                ours: None,
            } => {
                write!(
                    f,
                    "they build on entry {}, which I do not have",
                    prev_log.index
                )
            }
        }
    }
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FromItself => "it carries my own name",
            Self::LateAnswer => "it answers a question that is no longer asked",
            Self::NotAVoter => "the sender has no vote",
            Self::MalformedEntries => "its entries are not a piece of any log",
            Self::BeyondLog => "it speaks of entries that I do not have",
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
            Self::FetchedWrongEntries { index } => {
                write!(
                    f,
                    "the stored log gave back something else at entry {index}"
                )
            }
        }
    }
}
