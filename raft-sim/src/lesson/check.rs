//! Conditions that the tasks of lessons bring about.

use raft_core::Role;
use serde::{Deserialize, Serialize};

use crate::lesson::play::Play;
use crate::timeline::Run;
use crate::workload::kv::{Operation, OperationState};
use crate::world::action::{Action, Request};

/// The condition that a task requires. Times are in microseconds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Check {
    /// Another server leads a later term, and all servers follow it. Only timers, transfers and
    /// requests were used.
    AnotherLeader,
    /// A term had two candidates and no leader, and a later term has a leader.
    LostElection,
    /// Messages take at least `latency`, and one leader was followed by all for `lasts`.
    SlowAndStable {
        /// The shortest latency that counts.
        latency: u64,
        /// How long the leader must be followed.
        lasts: u64,
    },
    /// Exactly three crashes stopped all writes for a second, and exactly one restart let a write
    /// from that time succeed.
    StoppedAndBack,
    /// An entry was in all logs and not committed for `lasts`.
    StoredNotCommitted {
        /// How long.
        lasts: u64,
    },
    /// At least three servers know an entry with this text to be committed.
    EntryCommitted {
        /// The index of the entry.
        index: u64,
        /// The text of the entry.
        text: String,
    },
    /// At least three servers know this index to be committed, and no running server has an entry
    /// with this text.
    EntryGone {
        /// The index.
        index: u64,
        /// The text that no log has.
        text: String,
    },
    /// This node leads and knows an entry to be committed.
    Leads {
        /// The node.
        node: u64,
        /// The index of the entry.
        commit: u64,
        /// The entry at this index is of an earlier term than the leader's.
        #[serde(default)]
        older: bool,
    },
    /// Two servers led different terms at once. Later entries were removed, and all servers follow
    /// one leader.
    TwoLeadersThenOne,
    /// All servers are up, store entries of this term at these indexes, and know more to be
    /// committed.
    TermEverywhere {
        /// The term.
        term: u64,
        /// The first index.
        first: u64,
        /// The last index.
        last: u64,
    },
    /// A client sent one request at least twice, the log has it twice, and its key was written
    /// once.
    TwiceInLog,
    /// A replaced leader was asked for a key after later writes, and did not answer an old value
    /// for `lasts`.
    NoStaleRead {
        /// How long.
        lasts: u64,
    },
    /// After a power cut and exactly three restarts, a read of this key finds this value.
    BackFromPowerCut {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// The leader and its term at `until` are those at t0.
    SameLeader {
        /// The moment.
        until: u64,
    },
    /// A write after t0 was answered before `until`.
    AnsweredBefore {
        /// The moment.
        until: u64,
    },
    /// A write succeeded that was sent while the nodes 1 to `nodes` were down and others were all
    /// the voters.
    Replaced {
        /// The number of nodes that were replaced.
        nodes: u64,
    },
    /// This node installed a snapshot, and holds what the leader holds.
    CaughtUpBySnapshot {
        /// The node.
        node: u64,
    },
    /// No server became leader after t0 and until `until`.
    NoLeader {
        /// The moment.
        until: u64,
    },
}

/// A judgement of the clients' history may take so many steps for each key.
const STEPS_MAX: u64 = 200_000;

impl Run {
    /// Whether a task is done at this moment of the shown branch: its condition came about since
    /// `t0`, no invariant is violated, and the answers of clients are linearizable.
    #[must_use]
    pub fn check(&self, check: &Check, t0: u64) -> bool {
        let world = self.world();
        world.now() >= t0
            && world.violation().is_none()
            && check.holds(&mut Play::new(self, t0))
            && world.judge_history(STEPS_MAX).is_none()
    }
}

impl Check {
    fn holds(&self, play: &mut Play<'_>) -> bool {
        match self {
            Self::AnotherLeader => another_leader(play),
            Self::LostElection => lost_election(play),
            Self::SlowAndStable { latency, lasts } => slow_and_stable(play, *latency, *lasts),
            Self::StoppedAndBack => stopped_and_back(play),
            Self::StoredNotCommitted { lasts } => stored_not_committed(play, *lasts),
            Self::EntryCommitted { index, text } => entry_committed(play, *index, text),
            Self::EntryGone { index, text } => entry_gone(play, *index, text),
            Self::Leads { node, commit, older } => leads(play, *node, *commit, *older),
            Self::TwoLeadersThenOne => two_leaders_then_one(play),
            Self::TermEverywhere { term, first, last } => {
                term_everywhere(play, *term, *first, *last)
            }
            Self::TwiceInLog => twice_in_log(play),
            Self::NoStaleRead { lasts } => no_stale_read(play, *lasts),
            Self::BackFromPowerCut { key, value } => back_from_power_cut(play, key, value),
            Self::SameLeader { until } => same_leader(play, *until),
            Self::AnsweredBefore { until } => answered_before(play, *until),
            Self::Replaced { nodes } => replaced(play, *nodes),
            Self::CaughtUpBySnapshot { node } => caught_up_by_snapshot(play, *node),
            Self::NoLeader { until } => no_leader(play, *until),
        }
    }
}

fn another_leader(play: &mut Play<'_>) -> bool {
    let Some((leader, term)) = play.leader() else {
        return false;
    };
    let mut found = false;
    while !found && play.step() {
        found = play.leader().is_some_and(|(node, later)| {
            node != leader
                && later > term
                && play.up().count() as u64 == play.world().config().cluster.nodes
                && play.all_follow(node)
        });
    }
    play.finish();
    let is_gentle = |action: &Action| {
        matches!(
            action,
            Action::FireTimer { .. } | Action::Transfer { .. } | Action::Request { .. }
        )
    };
    found && play.actions().all(|timed| is_gentle(&timed.action))
}

fn lost_election(play: &mut Play<'_>) -> bool {
    let before = play.up().map(|(_, raft)| raft.term().0).max().unwrap_or(0);
    play.finish();
    let of = |event: &'static str| {
        let found = play.records().filter(move |(_, facts)| facts.event == event);
        found.map(|(record, facts)| (facts.term.unwrap_or(0), record.node))
    };
    let won: Vec<_> = of("became-leader").map(|(term, _)| term).collect();
    let stood: Vec<_> = of("became-candidate").filter(|(term, _)| *term > before).collect();
    stood.iter().any(|(term, _)| {
        let mut nodes: Vec<_> = stood.iter().filter(|(it, _)| it == term).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len() >= 2 && !won.contains(term) && won.iter().any(|later| later > term)
    })
}

fn slow_and_stable(play: &mut Play<'_>, latency: u64, lasts: u64) -> bool {
    // The leader that is followed by all, and since when.
    let mut since: Option<(u64, u64)> = None;
    let mut set = None;
    let mut best = 0;
    loop {
        let latest = play.actions().filter_map(|timed| match &timed.action {
            Action::SetNetwork { latency, .. } => Some((timed.at, latency.min)),
            _ => None,
        });
        let latest = latest.last();
        if latest != set {
            (set, since, best) = (latest, None, 0);
        }
        let leader = play.leader().map(|(node, _)| node).filter(|node| play.all_follow(*node));
        since = match (since, leader) {
            (Some((node, at)), Some(leader)) if node == leader => Some((node, at)),
            (_, leader) => leader.map(|leader| (leader, play.now())),
        };
        let is_going_on = play.step();
        best = best.max(since.map_or(0, |(_, at)| play.now() - at));
        if !is_going_on {
            return set.is_some_and(|(_, min)| min >= latency) && best >= lasts;
        }
    }
}

fn operations<'a>(play: &'a Play<'_>) -> impl Iterator<Item = &'a Operation> {
    let t0 = play.actions().next().map_or(u64::MAX, |timed| timed.at);
    play.world().askings().filter(move |asking| asking.invoked >= t0)
}

fn is_done(operation: &Operation) -> bool {
    matches!(operation.state, OperationState::Done { .. })
}

fn is_write(operation: &Operation) -> bool {
    !matches!(operation.request, Request::Get { .. })
}

fn stopped_and_back(play: &mut Play<'_>) -> bool {
    // Requests that were sent while exactly three nodes were down.
    let mut sent = Vec::new();
    loop {
        let down = play.world().config().cluster.nodes - play.up().count() as u64;
        let now = play.now();
        if down == 3 {
            let waiting = operations(play).filter(|it| is_write(it) && it.invoked == now);
            sent.extend(waiting.map(|it| it.id));
        }
        if !play.step() {
            break;
        }
    }
    let crashes = play.count(|action| matches!(action, Action::Crash { .. }));
    let restarts = play.count(|action| matches!(action, Action::Restart { .. }));
    let is_late = |it: &Operation| it.returned.is_some_and(|at| at >= it.invoked + 1_000_000);
    let mut late = operations(play).filter(|it| sent.contains(&it.id) && is_late(it));
    crashes == 3 && restarts == 1 && play.up().count() == 3 && late.any(is_done)
}

fn stored_not_committed(play: &mut Play<'_>, lasts: u64) -> bool {
    // The last index that all logs share and none has committed, and since when.
    let mut since: Option<(u64, u64)> = None;
    loop {
        let is_going_on = play.step();
        if since.is_some_and(|(_, at)| play.now() >= at + lasts) {
            return true;
        }
        let all_up = play.up().count() as u64 == play.world().config().cluster.nodes;
        let last = play.up().map(|(_, raft)| raft.last_log()).min();
        let committed = play.nodes().map(|node| play.commit(node)).max().unwrap_or(0);
        let held = last.filter(|last| {
            let entry = play.entry(1, last.index.0);
            all_up
                && last.index.0 > committed
                && play.nodes().all(|node| play.entry(node, last.index.0) == entry)
        });
        since = match (since, held) {
            (Some((index, at)), Some(last)) if index == last.index.0 => Some((index, at)),
            (_, held) => held.map(|last| (last.index.0, play.now())),
        };
        if !is_going_on {
            return false;
        }
    }
}

fn entry_committed(play: &mut Play<'_>, index: u64, text: &str) -> bool {
    play.finish();
    let has = |node: u64| play.entry(node, index).is_some_and(|entry| entry.text == text);
    play.up().filter(|(node, _)| play.commit(*node) >= index && has(*node)).count() >= 3
}

fn entry_gone(play: &mut Play<'_>, index: u64, text: &str) -> bool {
    play.finish();
    let committed = play.up().filter(|(node, _)| play.commit(*node) >= index).count();
    let has = |node: u64| {
        let mut log = play.world().log(node, 1, u64::MAX / 2).into_iter();
        log.any(|entry| entry.text == text)
    };
    committed >= 3 && !play.up().any(|(node, _)| has(node))
}

fn leads(play: &mut Play<'_>, node: u64, commit: u64, older: bool) -> bool {
    loop {
        let term = play.leaders().find(|(leader, _)| *leader == node).map(|(_, it)| it.term().0);
        let is_older = |term| play.entry(node, commit).is_some_and(|entry| entry.term < term);
        if term.is_some_and(|term| !older || is_older(term)) && play.commit(node) >= commit {
            return true;
        }
        if !play.step() {
            return false;
        }
    }
}

fn two_leaders_then_one(play: &mut Play<'_>) -> bool {
    let mut two_at = None;
    while play.step() {
        let terms: Vec<_> = play.leaders().map(|(_, raft)| raft.term()).collect();
        if terms.len() >= 2 && terms.iter().any(|term| *term != terms[0]) {
            two_at = two_at.or(Some(play.now()));
        }
    }
    let mut removed = play.records().filter(|(record, facts)| {
        facts.event == "entries-truncated" && two_at.is_some_and(|at| record.at > at)
    });
    let is_removed = removed.next().is_some();
    is_removed && play.leader().is_some_and(|(leader, _)| play.all_follow(leader))
}

fn term_everywhere(play: &mut Play<'_>, term: u64, first: u64, last: u64) -> bool {
    play.finish();
    let has_all = |node| {
        (first..=last).all(|index| play.entry(node, index).is_some_and(|it| it.term == term))
    };
    play.nodes().all(|node| has_all(node) && play.commit(node) > last)
}

fn twice_in_log(play: &mut Play<'_>) -> bool {
    play.finish();
    let mut repeated =
        operations(play).filter(|it| it.attempts >= 2 && is_done(it) && is_write(it));
    repeated.any(|operation| {
        let Request::Put { key, value } = &operation.request else {
            return false;
        };
        let text = format!("{key} = {value}");
        play.up().all(|(node, _)| {
            let committed = play.world().log(node, 1, play.commit(node));
            let times = committed.iter().filter(|entry| entry.text == text).count();
            let keys = play.world().keys(node);
            times >= 2 && keys.iter().any(|it| it.key == *key && it.version == 1)
        })
    })
}

fn no_stale_read(play: &mut Play<'_>, lasts: u64) -> bool {
    // Reads at a replaced leader: the operation, the moment, and the latest value.
    let mut asked: Vec<(u64, u64, String)> = Vec::new();
    loop {
        let now = play.now();
        for operation in operations(play).filter(|it| it.invoked == now && !is_write(it)) {
            let node = operation.node;
            let old = play.leaders().find(|(leader, _)| *leader == node);
            let newest = play.leaders().map(|(_, raft)| raft.term()).max();
            let is_replaced = old.is_some_and(|(_, raft)| Some(raft.term()) < newest);
            let key = operation.request.key();
            let mut answered: Vec<_> = play
                .world()
                .askings()
                .filter(|it| it.request.key() == key && is_write(it) && is_done(it))
                .collect();
            answered.sort_by_key(|it| it.returned);
            let value = answered.last().and_then(|it| match &it.request {
                Request::Put { value, .. } => Some(value.clone()),
                _ => None,
            });
            if let (true, true, Some(value)) = (is_replaced, answered.len() >= 2, value) {
                asked.push((operation.id, now, value));
            }
        }
        if !play.step() {
            break;
        }
    }
    asked.iter().any(|(id, at, value)| match play.world().asking(*id).map(|it| &it.state) {
        Some(OperationState::Done { found, .. }) => found.as_ref() == Some(value),
        _ => play.now() >= at + lasts,
    })
}

fn back_from_power_cut(play: &mut Play<'_>, key: &str, value: &str) -> bool {
    play.finish();
    let cut = play.actions().find(|timed| timed.action == Action::PowerCut).map(|it| it.at);
    let restarts = play.count(|action| matches!(action, Action::Restart { .. }));
    let found = Some(value.to_owned());
    let mut reads = operations(play).filter(|it| {
        it.request.key() == key && !is_write(it) && cut.is_some_and(|cut| it.invoked > cut)
    });
    let is_found = |it: &Operation| matches!(&it.state, OperationState::Done { found: it, .. } if *it == found);
    restarts == 3 && reads.any(is_found)
}

fn same_leader(play: &mut Play<'_>, until: u64) -> bool {
    let before = play.leader();
    while play.now() < until && play.step() {}
    before.is_some() && play.now() >= until && play.leader() == before
}

fn answered_before(play: &mut Play<'_>, until: u64) -> bool {
    play.finish();
    let in_time = |it: &Operation| it.returned.is_some_and(|at| at < until);
    operations(play).any(|it| is_write(it) && is_done(it) && in_time(it))
}

fn replaced(play: &mut Play<'_>, nodes: u64) -> bool {
    let mut sent = Vec::new();
    loop {
        let now = play.now();
        let are_down = (1..=nodes).all(|node| play.world().raft(node).is_none());
        let is_replaced = play.leader().and_then(|(leader, _)| play.membership(leader));
        let is_replaced = is_replaced.is_some_and(|membership| {
            !membership.is_joint() && membership.voters().iter().all(|voter| voter.0 > nodes)
        });
        if are_down && is_replaced {
            let waiting = operations(play).filter(|it| is_write(it) && it.invoked == now);
            sent.extend(waiting.map(|it| it.id));
        }
        if !play.step() {
            break;
        }
    }
    play.world().askings().any(|it| sent.contains(&it.id) && is_done(it))
}

fn caught_up_by_snapshot(play: &mut Play<'_>, node: u64) -> bool {
    play.finish();
    let mut installed = play
        .records()
        .filter(|(record, facts)| facts.event == "snapshot-installed" && record.node == Some(node));
    let is_installed = installed.next().is_some();
    let all_up = play.up().count() as u64 == play.world().config().cluster.nodes;
    is_installed
        && all_up
        && play.leader().is_some_and(|(leader, _)| {
            play.commit(leader) == play.commit(node)
                && play.world().keys(leader) == play.world().keys(node)
        })
}

fn no_leader(play: &mut Play<'_>, until: u64) -> bool {
    while play.now() < until && play.step() {
        if play.up().any(|(_, raft)| raft.role() == Role::Leader) {
            return false;
        }
    }
    play.now() >= until
}
