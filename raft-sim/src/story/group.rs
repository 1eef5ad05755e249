//! The story in paragraphs: records that belong together, under one sentence each.

use raft_core::Event;
use serde::Serialize;

use crate::story::{EventKind, Happening, LogRecord, Step, Trigger};
use crate::workload::kv::OperationState;
use crate::world::action::Request;

/// Records that belong together, such as those of one election.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Group {
    /// The number of the first record.
    pub id: u64,
    /// The moment of the first record, in microseconds.
    pub at: u64,
    /// The moment of the record that decided how it ended, in microseconds.
    pub decided_at: u64,
    /// The node that it is about.
    pub node: Option<u64>,
    /// The kind.
    pub kind: GroupKind,
    /// A sentence.
    pub text: String,
    /// The term that gives it its colour.
    pub term: Option<u64>,
    /// The numbers of its records, in order.
    pub records: Vec<u64>,
}

/// The kind of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupKind {
    /// A term: its candidates and its leader.
    Election,
    /// An entry: proposed, replicated, committed, and the client that waits for it.
    Entry,
    /// A follower's log that is repaired.
    Repair,
    /// A read.
    Read,
    /// A request of a client that has led to no entry yet.
    Request,
    /// A snapshot.
    Snapshot,
    /// A change of the membership.
    Membership,
    /// A leadership transfer.
    Transfer,
    /// An action on the world.
    Action,
    /// A violated invariant.
    Violation,
    /// Something else.
    Other,
}

/// The properties that all records of a group share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Election(u64),
    Entry(u64),
    Operation(u64),
    Repair(u64),
    Read(u64),
    Snapshot(u64),
    SnapshotTaken(u64),
    Membership,
    Transfer,
}

/// A repair, a change of the membership and the like end when nothing happened for so long, in
/// microseconds.
const PAUSE: u64 = 1_000_000;

/// Groups records, which are in order. `steps` are those in which the records happened, in order,
/// and `voters` is the number of voters.
#[must_use]
pub fn group(records: &[LogRecord], steps: &[Step], voters: usize) -> Vec<Group> {
    let mut grouping = Grouping {
        steps,
        voters,
        groups: Vec::new(),
        open: Lookup::default(),
        campaigns: Lookup::default(),
        no_ops: Vec::new(),
    };
    for record in records {
        grouping.add(record);
    }
    let Grouping { groups, no_ops, .. } = grouping;
    let filled = groups.into_iter().filter(|draft| !draft.records.is_empty());
    let mut groups: Vec<_> = filled.map(|draft| draft.finish(voters, &no_ops)).collect();
    groups.sort_by_key(|group| group.id);
    groups
}

struct Grouping<'a> {
    steps: &'a [Step],
    voters: usize,
    groups: Vec<Draft>,
    /// The latest group of a key.
    open: Lookup<Key, usize>,
    /// The term in which a node stands.
    campaigns: Lookup<u64, u64>,
    /// The first entry of each leader, which is a no-op.
    no_ops: Vec<u64>,
}

/// A map from few keys, as a sorted list: an ordered map of the standard library takes 10 kB of the
/// page's module for each pair of types.
struct Lookup<K, V> {
    pairs: Vec<(K, V)>,
}

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self { pairs: Vec::new() }
    }
}

impl<K: Ord + Copy, V: Copy> Lookup<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        let place = self.pairs.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        Some(&self.pairs[place].1)
    }

    /// Returns the value before.
    fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.pairs.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(place) => Some(std::mem::replace(&mut self.pairs[place].1, value)),
            Err(place) => {
                self.pairs.insert(place, (key, value));
                None
            }
        }
    }
}

/// A group as it grows.
struct Draft {
    key: Option<Key>,
    id: u64,
    at: u64,
    decided_at: u64,
    last_at: u64,
    node: Option<u64>,
    kind: GroupKind,
    text: String,
    records: Vec<u64>,
    candidates: Vec<u64>,
    /// Votes in favour of the latest candidate, and whether they are only promised.
    votes: Option<(u64, u64, bool)>,
    leader: Option<u64>,
    committed_by: Option<u64>,
    /// The request of a client, and how it ended.
    request: Option<(Request, Option<OperationState>)>,
    /// The step in which the request was sent first.
    asked_step: Option<u64>,
    term: Option<u64>,
}

impl Grouping<'_> {
    fn add(&mut self, record: &LogRecord) {
        let key = self.key(record);
        let position = key.and_then(|key| self.present(key, record.at));
        let position = position.unwrap_or_else(|| {
            let kind = self.kind(record, key);
            self.groups.push(Draft::new(record, key, kind));
            if let Some(key) = key {
                self.open.insert(key, self.groups.len() - 1);
            }
            self.groups.len() - 1
        });
        if let (Some(Key::Entry(_)), Happening::Decision(Event::Proposed { .. })) =
            (key, &record.body)
        {
            self.join_request(record, position);
        }
        self.groups[position].add(record, self.voters);
    }

    /// The group of a key that a record continues.
    fn present(&self, key: Key, at: u64) -> Option<usize> {
        let position = *self.open.get(&key)?;
        let pauses = matches!(
            key,
            Key::Repair(_) | Key::Membership | Key::Transfer | Key::Read(_) | Key::Snapshot(_)
        );
        let is_over = pauses && at > self.groups[position].last_at + PAUSE;
        (!is_over).then_some(position)
    }

    /// An entry takes over the records of the request that led to it.
    fn join_request(&mut self, record: &LogRecord, position: usize) {
        let Some(operation) = self.operation_of(record.step) else {
            return;
        };
        let Some(request) = self.open.insert(Key::Operation(operation), position) else {
            return;
        };
        if request != position && self.groups[request].kind == GroupKind::Request {
            let taken = std::mem::take(&mut self.groups[request].records);
            let asked = self.groups[request].request.take();
            let (asked_step, at) = (self.groups[request].asked_step, self.groups[request].at);
            let entry = &mut self.groups[position];
            (entry.request, entry.asked_step, entry.at) = (asked, asked_step, at);
            entry.records.splice(0..0, taken);
        }
    }

    /// The operation whose message a step takes.
    fn operation_of(&self, step: u64) -> Option<u64> {
        let step = find(self.steps, step)?;
        matches!(step.trigger, Trigger::ClientMessage { .. }).then_some(())?;
        // The client sent it in the step in which it was recorded to ask, at the first attempt.
        self.open.pairs.iter().find_map(|(key, position)| match key {
            Key::Operation(operation) => {
                self.groups[*position].asked_in(step.parent).then_some(*operation)
            }
            _ => None,
        })
    }

    fn key(&mut self, record: &LogRecord) -> Option<Key> {
        let event = match &record.body {
            Happening::Decision(event) => event,
            Happening::Asked { operation, .. } | Happening::Answered { operation, .. } => {
                return Some(Key::Operation(*operation));
            }
            Happening::Violated(_) | Happening::Note(_) => return None,
        };
        let node = record.node.unwrap_or_default();
        Some(match event {
            Event::BecamePreCandidate { campaign_term: term } | Event::BecameCandidate { term } => {
                self.campaigns.insert(node, term.0);
                Key::Election(term.0)
            }
            Event::BecameLeader { term, first_index } => {
                self.no_ops.push(first_index.0);
                Key::Election(term.0)
            }
            Event::SteppedDown { term, .. }
            | Event::LeaderRecognized { term, .. }
            | Event::VoteGranted { term, .. }
            | Event::VoteRefused { term, .. }
            | Event::TermAdvanced { to: term, .. } => Key::Election(term.0),
            Event::VoteCounted { .. } => Key::Election(*self.campaigns.get(&node)?),
            Event::Proposed { entry } => Key::Entry(entry.index.0),
            Event::EntriesAppended { last, .. } | Event::LogPersisted { through: last } => {
                Key::Entry(last.index.0)
            }
            Event::MatchAdvanced { match_index: index, .. }
            | Event::CommitAdvanced { to: index, .. } => Key::Entry(index.0),
            Event::EntriesTruncated { .. } | Event::AppendRefused { .. } => Key::Repair(node),
            Event::Backtracked { follower, .. } => Key::Repair(follower.0),
            Event::ReadRoundStarted { .. } | Event::ReadConfirmed { .. } => Key::Read(node),
            Event::MembershipProposed { .. }
            | Event::MembershipChanged { .. }
            | Event::LearnerCaughtUp { .. } => Key::Membership,
            Event::TransferStarted { .. }
            | Event::TransferTimedOut { .. }
            | Event::TimeoutNowReceived { .. } => Key::Transfer,
            Event::SnapshotTaken { last } => Key::SnapshotTaken(last.index.0),
            Event::SnapshotSent { to, .. } => Key::Snapshot(to.0),
            Event::SnapshotReceiveStarted { .. }
            | Event::SnapshotInstalled { .. }
            | Event::SnapshotDamaged { .. } => Key::Snapshot(node),
            // It belongs to what has just happened.
            Event::MessageIgnored { .. } => self.groups.last()?.key?,
            _ => return None,
        })
    }

    fn kind(&self, record: &LogRecord, key: Option<Key>) -> GroupKind {
        match key {
            Some(Key::Election(_)) => GroupKind::Election,
            Some(Key::Entry(_)) => GroupKind::Entry,
            Some(Key::Operation(_)) => GroupKind::Request,
            Some(Key::Repair(_)) => GroupKind::Repair,
            Some(Key::Read(_)) => GroupKind::Read,
            Some(Key::Snapshot(_) | Key::SnapshotTaken(_)) => GroupKind::Snapshot,
            Some(Key::Membership) => GroupKind::Membership,
            Some(Key::Transfer) => GroupKind::Transfer,
            None => match (&record.body, record.kind) {
                (Happening::Violated(_), _) => GroupKind::Violation,
                (Happening::Note(_), EventKind::Fault) => GroupKind::Action,
                _ => GroupKind::Other,
            },
        }
    }
}

impl Draft {
    fn new(record: &LogRecord, key: Option<Key>, kind: GroupKind) -> Self {
        Self {
            key,
            id: record.id,
            at: record.at,
            decided_at: record.at,
            last_at: record.at,
            node: record.node,
            kind,
            text: record.text(),
            records: Vec::new(),
            candidates: Vec::new(),
            votes: None,
            leader: None,
            committed_by: None,
            request: None,
            asked_step: None,
            term: match key {
                Some(Key::Election(term)) => Some(term),
                _ => None,
            },
        }
    }

    /// Whether its request was sent first in this step.
    fn asked_in(&self, step: u64) -> bool {
        self.request.is_some() && self.asked_step == Some(step)
    }

    fn add(&mut self, record: &LogRecord, voters: usize) {
        self.records.push(record.id);
        self.last_at = record.at;
        let node = record.node.unwrap_or_default();
        match &record.body {
            Happening::Asked { request, .. } => {
                self.request = Some((request.clone(), None));
                self.asked_step = Some(record.step);
            }
            Happening::Answered { state, .. } => {
                if let Some((_, answer)) = &mut self.request {
                    *answer = Some(state.clone());
                }
            }
            Happening::Decision(event) => self.add_decision(node, event, record, voters),
            Happening::Violated(_) | Happening::Note(_) => {}
        }
    }

    fn add_decision(&mut self, node: u64, event: &Event, record: &LogRecord, voters: usize) {
        match event {
            Event::BecamePreCandidate { .. } | Event::BecameCandidate { .. } => {
                if !self.candidates.contains(&node) {
                    self.candidates.push(node);
                }
                if self.leader.is_none() {
                    // A candidate has its own vote.
                    let majority = (voters / 2 + 1) as u64;
                    let is_promise = matches!(event, Event::BecamePreCandidate { .. });
                    self.votes = Some((1, majority, is_promise));
                }
            }
            Event::VoteCounted { votes, needed, pre_vote, .. } if self.leader.is_none() => {
                self.votes = Some((*votes as u64, *needed as u64, *pre_vote));
            }
            Event::BecameLeader { .. } => {
                self.leader = Some(node);
                self.decided_at = record.at;
            }
            Event::Proposed { entry } => {
                self.term = Some(entry.term.0);
                self.node = Some(node);
            }
            Event::EntriesAppended { last, .. } | Event::LogPersisted { through: last } => {
                self.term = self.term.or(Some(last.term.0));
            }
            Event::CommitAdvanced { learned_from: None, .. } => {
                self.committed_by = Some(node);
                self.decided_at = record.at;
            }
            Event::MembershipChanged { .. }
            | Event::EntriesTruncated { .. }
            | Event::SnapshotInstalled { .. }
            | Event::TransferTimedOut { .. } => {
                self.text = record.text();
                self.decided_at = record.at;
            }
            _ => {}
        }
    }

    fn finish(self, voters: usize, no_ops: &[u64]) -> Group {
        let text = match self.key {
            Some(Key::Election(term)) => self.election_text(term, voters),
            Some(Key::Entry(index)) => self.entry_text(index, no_ops.contains(&index)),
            Some(Key::Operation(_)) => self.request_text(),
            _ => None,
        };
        let node = self.leader.or(self.committed_by).or(self.node);
        Group {
            id: self.records.first().copied().unwrap_or(self.id),
            at: self.at,
            decided_at: self.decided_at,
            node,
            kind: self.kind,
            text: text.unwrap_or(self.text),
            term: self.term,
            records: self.records,
        }
    }

    fn election_text(&self, term: u64, voters: usize) -> Option<String> {
        let names: Vec<_> = self.candidates.iter().map(|node| format!("n{node}")).collect();
        let names = names.join(", ");
        let (votes, needed, is_promise) = self.votes.unwrap_or_default();
        match (self.leader, self.candidates.as_slice()) {
            (Some(leader), _) => {
                Some(format!("n{leader} wins term {term} with {votes} of {voters} votes"))
            }
            (None, []) => None,
            (None, [one]) if is_promise => Some(format!(
                "n{one} sends PreVote requests for term {term}: {votes} of {needed} needed promises"
            )),
            (None, [one]) => Some(format!(
                "n{one} stands for election in term {term}: {votes} of {needed} needed votes"
            )),
            (None, _) => {
                Some(format!("{names} stand for election in term {term}, and none has won"))
            }
        }
    }

    fn entry_text(&self, index: u64, is_no_op: bool) -> Option<String> {
        let command = match &self.request {
            Some((request, _)) => format!("entry {index}, {request}"),
            None if is_no_op => format!("entry {index}, its no-op"),
            None => format!("entry {index}"),
        };
        match (self.committed_by, self.node) {
            (Some(leader), _) => Some(format!("n{leader} commits {command}")),
            (None, Some(node)) => Some(format!("n{node} has {command}, not committed")),
            (None, None) => None,
        }
    }

    fn request_text(&self) -> Option<String> {
        let (request, answer) = self.request.as_ref()?;
        Some(match answer {
            None => format!("A client waits: {request}"),
            Some(OperationState::Done { found: Some(found), .. }) => {
                format!("A client is answered: {request} is {found}")
            }
            Some(OperationState::Done { succeeded: false, .. }) => {
                format!("A client is answered: {request} fails")
            }
            Some(OperationState::Done { .. }) => {
                format!("A client is answered: {request} is done")
            }
            Some(_) => format!("A client gives up: {request}"),
        })
    }
}

fn find(steps: &[Step], id: u64) -> Option<&Step> {
    let position = steps.binary_search_by_key(&id, |step| step.id).ok()?;
    steps.get(position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use crate::world::action::Action;
    use crate::world::config::WorldConfig;

    fn groups(world: &World) -> Vec<Group> {
        let records: Vec<_> = world.story_since(0).cloned().collect();
        let steps: Vec<_> = world.steps().copied().collect();
        let groups = group(&records, &steps, 5);
        let mut grouped: Vec<_> =
            groups.iter().flat_map(|group| group.records.iter().copied()).collect();
        grouped.sort_unstable();
        assert!(grouped.into_iter().eq(0..records.len() as u64), "each record has one group");
        groups
    }

    fn texts(groups: &[Group]) -> Vec<&str> {
        groups.iter().map(|group| group.text.as_str()).collect()
    }

    #[test]
    fn election_and_request_are_one_group_each() {
        let config = WorldConfig { seed: 42, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.run_until(1_000_000);
        let put = Request::Put { key: "x".into(), value: "1".into() };
        world.act(&Action::Request { via: None, request: put }).unwrap();
        world.run_until(2_000_000);
        let groups = groups(&world);
        let leader = groups[0].node.unwrap();
        let wins = format!("n{leader} wins term 1 with 3 of 5 votes");
        assert_eq!(groups[0].text, wins, "{:?}", texts(&groups));
        assert_eq!(groups[0].term, Some(1));
        let commits = format!("n{leader} commits entry 2, put x = 1");
        let put = groups.iter().find(|group| group.text == commits);
        let put = put.unwrap_or_else(|| unreachable!("{:?}", texts(&groups)));
        let facts = |id: &u64| world.story_since(*id).next().unwrap().facts().event;
        let events: Vec<_> = put.records.iter().map(facts).collect();
        assert_eq!(events.first(), Some(&"asked"));
        assert!(events.contains(&"proposed") && events.contains(&"answered"), "{events:?}");
        assert_eq!(groups[1].text, format!("n{leader} commits entry 1, its no-op"));
        assert_eq!(groups.len(), 3, "{:?}", texts(&groups));
    }

    #[test]
    fn lost_election_says_that_none_has_won() {
        let mut config = WorldConfig { seed: 1, ..WorldConfig::default() };
        config.cluster.pre_vote = false;
        config.cluster.check_quorum = false;
        let mut world = World::new(config).unwrap();
        let groups_of = [vec![1, 2], vec![3, 4], vec![5]];
        world.act(&Action::Partition { groups: groups_of.to_vec() }).unwrap();
        world.act(&Action::FireTimer { node: 1 }).unwrap();
        world.act(&Action::FireTimer { node: 3 }).unwrap();
        world.run_until(60_000);
        let groups = groups(&world);
        let text = "n1, n3 stand for election in term 1, and none has won";
        assert!(texts(&groups).contains(&text), "{:?}", texts(&groups));
        assert_eq!(groups[0].kind, GroupKind::Action);
    }
}
