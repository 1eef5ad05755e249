//! The invariants that are checked after every event.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use raft_core::{Entry, LogId, LogIndex, Membership, NodeId, Payload, Raft, Role, Term};

use crate::check::Checked;
use crate::util::cow::{CowMap, CowVec};
use crate::util::trace_hash::TraceHash;
use crate::util::units::moment;

/// A property that must hold. Properties of Figure 3 of the paper have their names from there.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// At most one leader exists per term (§5.2).
    ElectionSafety,
    /// A leader never overwrites or deletes entries of its log (§5.3).
    LeaderAppendOnly,
    /// Two logs with an entry of the same index and term are equal up to it (§5.3).
    LogMatching,
    /// The log of a leader contains every entry that was committed in earlier terms (§5.4).
    LeaderCompleteness,
    /// No two servers apply different entries at the same index (§5.4.3).
    StateMachineSafety,
    /// A committed entry is on the disks of a quorum.
    DurableCommit,
    /// The term and commit index of a server never decrease while it runs.
    #[serde(alias = "monotonic")]
    TermAndCommitMonotonic,
    /// An acknowledged write is committed exactly once.
    AcknowledgedOnce,
    /// The responses to clients have a linearization.
    Linearizability,
    /// After all faults are healed, a write succeeds within a bounded number of election timeouts.
    Availability,
    /// While an electable server is connected to a quorum, an entry is committed within a bounded
    /// number of election timeouts. This holds if the servers use pre-vote and check-quorum. A
    /// follower that is connected to its leader receives committed entries within a bounded time.
    Progress,
    /// A server needs a bounded number of steps for each event.
    Quiescence,
    /// A watcher receives every change once, in the order of revisions, from any servers.
    WatchOrder,
    /// A lease does not expire before its time to live has passed since it was granted or kept
    /// alive.
    #[serde(alias = "lease-life")]
    LeaseNotExpiredEarly,
    /// All keys of a lease are deleted in one revision when the lease ends. No key is attached to a
    /// lease that does not exist, and no lease exceeds the limit of keys.
    #[serde(alias = "lease-keys")]
    LeaseKeysDeletedWithLease,
}

/// A violated invariant.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// The contradiction.
    pub text: String,
    /// When the violation was found, in microseconds.
    pub at: u64,
}

/// The facts that later events must not contradict.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invariants {
    /// The leader of each term.
    leaders: BTreeMap<Term, NodeId>,
    /// The hash of the payload and the term of the predecessor, of each entry of any log.
    entries: CowMap<LogId, (u64, Term)>,
    /// The committed entries by index, and the term in which each was found to be committed.
    committed: CowVec<(LogId, Term)>,
    /// The latest state of each server.
    seen: Vec<Option<Seen>>,
    /// The fingerprint of the state machine after each recent index.
    fingerprints: CowMap<u64, u64>,
    /// The revision after the command of each session.
    effects: CowMap<(u128, u64), i64>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    boot: u64,
    term: Term,
    commit_index: LogIndex,
    leads: Option<LogId>,
}

/// The number of fingerprints that are kept.
const FINGERPRINTS_MAX: usize = 1024;

impl Invariants {
    /// The number of entries that are known to be committed.
    pub(crate) fn committed(&self) -> usize {
        self.committed.len()
    }

    /// Checks a server after an event that may have changed it. `holds` returns whether a server
    /// has an entry on its disk.
    pub(crate) fn observe(
        &mut self,
        raft: &Raft,
        boot: u64,
        holds: impl Fn(NodeId, LogId) -> bool,
    ) -> Checked {
        let id = raft.id();
        let (term, commit_index) = (raft.term(), raft.commit_index());
        let slot = id.0 as usize;
        let before = self.seen.get(slot).copied().flatten();
        let before = before.filter(|seen| seen.boot == boot);
        if let Some(before) = &before {
            if term < before.term {
                let text = format!("the term of {id} decreased from {} to {term}", before.term);
                return Err((Invariant::TermAndCommitMonotonic, text));
            }
            if commit_index < before.commit_index {
                let text = format!(
                    "the commit index of {id} decreased from {} to {commit_index}",
                    before.commit_index
                );
                return Err((Invariant::TermAndCommitMonotonic, text));
            }
        }
        let leads =
            (raft.role() == Role::Leader && raft.stopped().is_none()).then(|| raft.last_log());
        if leads.is_some() {
            let before = before.as_ref().filter(|before| before.term == term);
            self.observe_leader(raft, before.and_then(|before| before.leads))?;
        }
        let checked = before.map_or(LogIndex(0), |before| before.commit_index);
        self.observe_commits(raft, checked, holds)?;
        if self.seen.len() <= slot {
            self.seen.resize(slot + 1, None);
        }
        self.seen[slot] = Some(Seen { boot, term, commit_index, leads });
        Ok(())
    }

    fn observe_leader(&mut self, raft: &Raft, before: Option<LogId>) -> Checked {
        let (id, term) = (raft.id(), raft.term());
        // The server already led in this term before this event.
        if let Some(before) = before {
            if !has(raft, before) {
                let text = format!("leader {id} removed entry {} from its log", before.index);
                return Err((Invariant::LeaderAppendOnly, text));
            }
            return Ok(());
        }
        let leader = *self.leaders.entry(term).or_insert(id);
        if leader != id {
            let text = format!("{leader} and {id} both lead in term {term}");
            return Err((Invariant::ElectionSafety, text));
        }
        // The snapshot of the server contains the entries before its log.
        let start = raft.log_start().index.0.saturating_sub(1) as usize;
        for (entry, committed_in) in self.committed.iter_from(start) {
            if *committed_in < term && !has(raft, *entry) {
                let text = format!(
                    "leader {id} of term {term} lacks entry {} of term {}, which was committed in term {committed_in}",
                    entry.index, entry.term
                );
                return Err((Invariant::LeaderCompleteness, text));
            }
        }
        Ok(())
    }

    fn observe_commits(
        &mut self,
        raft: &Raft,
        checked: LogIndex,
        holds: impl Fn(NodeId, LogId) -> bool,
    ) -> Checked {
        let id = raft.id();
        // The entries before the start of the log are in a snapshot, and their terms are unknown.
        let mut index = checked.max(raft.log_start().index.previous());
        while index < raft.commit_index() {
            index = index.next();
            let Some(term) = raft.term_at(index) else {
                let text = format!("{id} commits entry {index}, which it does not have");
                return Err((Invariant::StateMachineSafety, text));
            };
            let entry = LogId::new(term, index);
            match self.committed.get(index.0 as usize - 1) {
                Some((known, _)) if *known == entry => {}
                Some((known, _)) => {
                    let text = format!(
                        "{id} commits entry {index} with term {term}; it was committed with term {}",
                        known.term
                    );
                    return Err((Invariant::StateMachineSafety, text));
                }
                None => {
                    // A later membership may have been effective when the entry was committed.
                    let on_quorum = |membership: &Membership| {
                        membership.quorum_value(|node| holds(node, entry)) == Some(true)
                    };
                    let mut later = index.0..=raft.membership_index().max(index).0;
                    if !later.any(|index| on_quorum(raft.membership_at(LogIndex(index)))) {
                        let members = raft.membership().members();
                        let holders = members.into_iter().filter(|node| holds(*node, entry));
                        let holders: Vec<_> = holders.map(|node| node.to_string()).collect();
                        let text = format!(
                            "{id} commits entry {index}, which is only on the disks of [{}]; the membership is {}",
                            holders.join(", "),
                            raft.membership_at(index)
                        );
                        return Err((Invariant::DurableCommit, text));
                    }
                    self.committed.push((entry, raft.term()));
                }
            }
        }
        Ok(())
    }

    /// The number of terms with a leader.
    pub(crate) fn terms_led(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// The latest term with a leader.
    pub(crate) fn latest_term_led(&self) -> Term {
        let latest = self.leaders.last_key_value();
        latest.map_or(Term(0), |(term, _)| *term)
    }

    /// Checks entries that a server appends to its log.
    pub(crate) fn observe_entries(
        &mut self,
        node: NodeId,
        mut previous: Term,
        entries: &[Entry],
    ) -> Checked {
        for entry in entries {
            // A witness has no payloads to compare.
            if entry.payload == Payload::Stripped {
                previous = entry.id.term;
                continue;
            }
            let mut hasher = TraceHash::new();
            entry.payload.hash(&mut hasher);
            let seen = (hasher.finish(), previous);
            if self.entries.get_or_insert(entry.id, seen) != seen {
                let LogId { term, index } = entry.id;
                let text = format!(
                    "entry {index} of term {term} on {node}, or its predecessor, differs from another server"
                );
                return Err((Invariant::LogMatching, text));
            }
            previous = entry.id.term;
        }
        Ok(())
    }

    /// Checks a state machine that has applied all entries up to `index`.
    pub(crate) fn observe_state(&mut self, node: NodeId, index: u64, fingerprint: u64) -> Checked {
        if self.fingerprints.get_or_insert(index, fingerprint) != fingerprint {
            let text =
                format!("the state of {node} after entry {index} differs from another server");
            return Err((Invariant::StateMachineSafety, text));
        }
        if self.fingerprints.len() > FINGERPRINTS_MAX
            && let Some(oldest) = self.fingerprints.first_key().copied()
        {
            self.fingerprints.remove(&oldest);
        }
        Ok(())
    }

    /// Checks the revision after the command of a session, which may be applied repeatedly.
    pub(crate) fn observe_effect(&mut self, session: (u128, u64), revision: i64) -> Checked {
        let first = self.effects.get_or_insert(session, revision);
        if first != revision {
            let text =
                format!("the same command led to revision {first} and to revision {revision}");
            return Err((Invariant::AcknowledgedOnce, text));
        }
        Ok(())
    }

    /// Returns true if any server has applied the command of a session.
    pub(crate) fn has_seen_effect(&self, session: (u128, u64)) -> bool {
        self.effects.get(&session).is_some()
    }

    /// Checks an entry whose commit a server acknowledges to a client.
    pub(crate) fn observe_acknowledgement(&self, entry: LogId) -> Checked {
        let known = self.committed.get((entry.index.0 as usize).wrapping_sub(1));
        if known.is_none_or(|(known, _)| *known != entry) {
            let text = format!("entry {} is acknowledged, but not committed", entry.index);
            return Err((Invariant::AcknowledgedOnce, text));
        }
        Ok(())
    }
}

/// Returns true if an entry is in the log or in the snapshot of a server.
fn has(raft: &Raft, entry: LogId) -> bool {
    entry.index < raft.log_start().index || raft.term_at(entry.index) == Some(entry.term)
}

impl Invariant {
    /// All invariants.
    pub const ALL: [Self; 15] = [
        Self::ElectionSafety,
        Self::LeaderAppendOnly,
        Self::LogMatching,
        Self::LeaderCompleteness,
        Self::StateMachineSafety,
        Self::DurableCommit,
        Self::TermAndCommitMonotonic,
        Self::AcknowledgedOnce,
        Self::Linearizability,
        Self::Availability,
        Self::Progress,
        Self::Quiescence,
        Self::WatchOrder,
        Self::LeaseNotExpiredEarly,
        Self::LeaseKeysDeletedWithLease,
    ];
}

/// The display name of the invariant. Files and addresses contain its serialized key.
impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ElectionSafety => "Election Safety",
            Self::LeaderAppendOnly => "Leader Append-Only",
            Self::LogMatching => "Log Matching",
            Self::LeaderCompleteness => "Leader Completeness",
            Self::StateMachineSafety => "State Machine Safety",
            Self::DurableCommit => "Durable Commit",
            Self::TermAndCommitMonotonic => "Monotonic",
            Self::AcknowledgedOnce => "Acknowledged Writes",
            Self::Linearizability => "Linearizability",
            Self::Availability => "Availability",
            Self::Progress => "Liveness",
            Self::Quiescence => "Quiescent",
            Self::WatchOrder => "Watch Order",
            Self::LeaseNotExpiredEarly => "Lease Lifetime",
            Self::LeaseKeysDeletedWithLease => "Lease Keys",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is violated at {}: {}", self.invariant, moment(self.at), self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{Config, HardState, Instant, RestoredState};

    fn entry(term: u64, index: u64, command: &'static str) -> Entry {
        let id = LogId::new(Term(term), LogIndex(index));
        Entry { id, payload: Payload::Command(command.into()) }
    }

    /// The only server of a cluster, with this log and commit index.
    fn server(id: u64, term: u64, log: &[Entry], commit_index: u64, leads: bool) -> Raft {
        let mut config = Config::new(NodeId(id));
        config.pre_vote = false;
        let membership = Membership::new([NodeId(id)]);
        let hard_state = HardState { term: Term(term - u64::from(leads)), vote: None };
        let applied = LogIndex(commit_index);
        let mut restored = RestoredState::new(1, membership, hard_state, applied, 1 << 20);
        for entry in log {
            restored.push(entry.clone()).unwrap();
        }
        let mut raft = Raft::new(config, restored, 1, Instant(0)).unwrap();
        if leads {
            raft.tick(raft.deadline().unwrap());
            let mut effects = raft_core::Effects::default();
            raft.drain(&mut effects);
            raft.persisted(effects.write.take().unwrap().synced(), Instant(0));
            assert_eq!((raft.role(), raft.term()), (Role::Leader, Term(term)));
        }
        raft
    }

    fn violated(checked: Checked) -> Invariant {
        checked.unwrap_err().0
    }

    #[test]
    fn two_leaders_of_one_term_are_detected() {
        let mut invariants = Invariants::default();
        invariants.observe(&server(1, 2, &[], 0, true), 1, |_, _| true).unwrap();
        let checked = invariants.observe(&server(2, 2, &[], 0, true), 1, |_, _| true);
        assert_eq!(violated(checked), Invariant::ElectionSafety);
    }

    #[test]
    fn leader_without_committed_entry_is_detected() {
        let mut invariants = Invariants::default();
        let log = [entry(1, 1, "a")];
        invariants.observe(&server(1, 1, &log, 1, false), 1, |_, _| true).unwrap();
        let checked = invariants.observe(&server(2, 2, &[], 0, true), 1, |_, _| true);
        assert_eq!(violated(checked), Invariant::LeaderCompleteness);
    }

    #[test]
    fn leader_that_loses_entries_is_detected() {
        let mut invariants = Invariants::default();
        let log = [entry(1, 1, "a"), entry(1, 2, "b")];
        invariants.observe(&server(1, 2, &log, 0, true), 1, |_, _| true).unwrap();
        let checked = invariants.observe(&server(1, 2, &log[..1], 0, true), 1, |_, _| true);
        assert_eq!(violated(checked), Invariant::LeaderAppendOnly);
    }

    #[test]
    fn conflicting_commits_are_detected() {
        let mut invariants = Invariants::default();
        invariants.observe(&server(1, 2, &[entry(1, 1, "a")], 1, false), 1, |_, _| true).unwrap();
        let checked =
            invariants.observe(&server(2, 2, &[entry(2, 1, "b")], 1, false), 1, |_, _| true);
        assert_eq!(violated(checked), Invariant::StateMachineSafety);
    }

    #[test]
    fn commit_without_durable_quorum_is_detected() {
        let mut invariants = Invariants::default();
        let checked =
            invariants.observe(&server(1, 2, &[entry(1, 1, "a")], 1, false), 1, |_, _| false);
        assert_eq!(violated(checked), Invariant::DurableCommit);
    }

    #[test]
    fn decreasing_term_or_commit_index_is_detected() {
        let log = [entry(1, 1, "a")];
        for (term, commit_index) in [(2, 1), (3, 0)] {
            let mut invariants = Invariants::default();
            invariants.observe(&server(1, 3, &log, 1, false), 1, |_, _| true).unwrap();
            let later = server(1, term, &log, commit_index, false);
            assert_eq!(
                violated(invariants.observe(&later, 1, |_, _| true)),
                Invariant::TermAndCommitMonotonic
            );
            invariants.observe(&later, 2, |_, _| true).unwrap();
        }
    }

    #[test]
    fn conflicting_logs_are_detected() {
        let mut invariants = Invariants::default();
        let one = [entry(1, 1, "a"), entry(2, 2, "b")];
        invariants.observe_entries(NodeId(1), Term(0), &one).unwrap();
        invariants.observe_entries(NodeId(2), Term(0), &one).unwrap();
        let other_payload = invariants.observe_entries(NodeId(2), Term(0), &[entry(1, 1, "x")]);
        assert_eq!(violated(other_payload), Invariant::LogMatching);
        let other_past = invariants.observe_entries(NodeId(2), Term(2), &[entry(2, 2, "b")]);
        assert_eq!(violated(other_past), Invariant::LogMatching);
    }

    #[test]
    fn diverging_states_are_detected() {
        let mut invariants = Invariants::default();
        invariants.observe_state(NodeId(1), 7, 42).unwrap();
        invariants.observe_state(NodeId(2), 7, 42).unwrap();
        let checked = invariants.observe_state(NodeId(3), 7, 43);
        assert_eq!(violated(checked), Invariant::StateMachineSafety);
    }

    #[test]
    fn lost_or_repeated_write_is_detected() {
        let mut invariants = Invariants::default();
        let lost = invariants.observe_acknowledgement(LogId::new(Term(1), LogIndex(1)));
        assert_eq!(violated(lost), Invariant::AcknowledgedOnce);
        invariants.observe_effect((1, 1), 5).unwrap();
        invariants.observe_effect((1, 1), 5).unwrap();
        assert_eq!(violated(invariants.observe_effect((1, 1), 6)), Invariant::AcknowledgedOnce);
    }
}
