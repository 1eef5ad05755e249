//! Clients that watch keys: what they are told must be every change once, in order, wherever they
//! ask.
//!
//! A watcher follows one server. When it loses the connection, because the server is gone or by
//! chance, it goes on at another one, from the revision after the last that it was told of; that
//! server may be behind, or ahead, or may have installed a snapshot in between. Watchers have a
//! source of chance of their own, so that nobody else notices them.

use std::collections::BTreeMap;

use raft_core::NodeId;
use raft_kv::{Changes, ChangesRequest, KeyRange};

use crate::node::Node;
use crate::story::EventKind;
use crate::util::rng::{DurationRange, SimRng};
use crate::world::config::WorldConfig;
use crate::world::{Event, World, note};

#[derive(Clone, Debug)]
pub(crate) struct WatchWorkload {
    all: Vec<Watcher>,
    /// What is on its way to them.
    letters: BTreeMap<u64, Letter>,
    next_letter: u64,
    random: SimRng,
    #[cfg(test)]
    pub(crate) flaw: Option<InjectedBug>,
}

/// What a server could do wrong when a watcher goes on at it.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InjectedBug {
    Repeats,
    Skips,
}

#[derive(Clone, Debug)]
struct Watcher {
    keys: KeyRange,
    changes_max: usize,
    bytes_max: usize,
    /// Whether it wants to know what keys held before.
    prev_kv: bool,
    /// The first revision that it was not told of.
    next: i64,
    following: Option<Following>,
    /// Which connection it is: what comes from an earlier one is lost.
    connection: u64,
    /// When the last letter of this connection arrives; they don't overtake each other.
    arrives_at: u64,
}

/// What the server knows of it.
#[derive(Clone, Copy, Debug)]
struct Following {
    node: u64,
    boot: u64,
    /// The first revision that it has not sent.
    next: i64,
}

#[derive(Clone, Debug)]
struct Letter {
    watcher: usize,
    connection: u64,
    changes: Changes,
}

/// How many changes one letter looks at, at least, and how many bytes it holds: few, so that much
/// is told in pieces.
const PIECES: [usize; 4] = [1, 3, 3, 1000];
const BYTES: [usize; 4] = [1, 40, 1 << 20, 1 << 20];

impl WatchWorkload {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        let mut random = SimRng::new(config.seed ^ 0x0b5e_12e5);
        let all = (0..config.watch_clients).map(|_| {
            let key = format!("k{}", random.below(config.key_count.max(1)) + 1);
            let ranges =
                [KeyRange::all(), KeyRange::prefix("k"), KeyRange::prefix("l"), KeyRange::key(key)];
            Watcher {
                keys: ranges[random.below(ranges.len() as u64) as usize].clone(),
                changes_max: random.pick(&PIECES),
                bytes_max: random.pick(&BYTES),
                prev_kv: random.chance_per_mille(700),
                next: 1,
                following: None,
                connection: 0,
                arrives_at: 0,
            }
        });
        let all = all.collect();
        Self {
            all,
            letters: BTreeMap::new(),
            next_letter: 0,
            random,
            #[cfg(test)]
            flaw: None,
        }
    }

    /// Where a watcher that waits for a revision goes on.
    fn resume(&self, next: i64) -> i64 {
        #[cfg(test)]
        match self.flaw {
            Some(InjectedBug::Repeats) => return (next - 1).max(1),
            Some(InjectedBug::Skips) => return next + 1,
            None => {}
        }
        next
    }
}

impl World {
    /// Whether every watcher was told of all that happened up to a revision.
    pub(crate) fn watchers_have_seen(&self, revision: i64) -> bool {
        self.watchers.all.iter().all(|it| it.next > revision)
    }

    pub(crate) fn wake_watchers(&mut self) {
        for watcher in 0..self.watchers.all.len() {
            let at = self.now + self.watchers.random.sample(self.between_moves());
            self.schedule(at, Event::WatcherWakes(watcher));
        }
    }

    /// How long a watcher stays where it is, before it looks whether it can.
    fn between_moves(&self) -> DurationRange {
        let timeout = self.config.election_timeout.max;
        DurationRange::new(timeout / 4, 2 * timeout)
    }

    /// A watcher looks whether its server is there, and goes elsewhere if not, or now and then
    /// because it lost the connection.
    pub(crate) fn watcher_wakes(&mut self, watcher: usize) {
        let rest = self.between_moves();
        let at = self.now + self.watchers.random.sample(rest);
        self.schedule(at, Event::WatcherWakes(watcher));
        let Some(following) = self.watchers.all.get(watcher).map(|it| it.following) else {
            return;
        };
        let is_there = following.is_some_and(|it| {
            let node = self.node(it.node).filter(|node| node.boot == it.boot);
            node.is_some_and(knows_leader)
        });
        if is_there && !self.watchers.random.chance_per_mille(400) {
            return;
        }
        // A server that knows no leader may have been removed long ago.
        let wants_leader = self.watchers.random.chance_per_mille(500);
        let serving = { self.nodes.iter() }.filter(|node| self.serves_watchers(node));
        let (leading, others): (Vec<&Node>, _) = serving.partition(|node| knows_leader(node));
        let mut serving: Vec<u64> = leading.iter().map(|node| node.id).collect();
        if serving.is_empty() || !wants_leader {
            serving.extend(others.iter().map(|node| node.id));
        }
        let node = match serving.is_empty() {
            true => None,
            false => Some(self.watchers.random.pick(&serving)),
        };
        let boot = node.and_then(|node| self.node(node)).map_or(0, |node| node.boot);
        let next = self.watchers.all[watcher].next;
        let from = self.watchers.resume(next);
        let it = &mut self.watchers.all[watcher];
        it.connection += 1;
        it.arrives_at = self.now;
        it.following = node.map(|node| Following { node, boot, next: from });
        if let Some(node) = node {
            self.story.record(self.now, Some(node), EventKind::Client, || {
                format!("Watcher {} follows n{node}, from revision {from} on", watcher + 1)
            });
            self.tell_watchers(node);
        }
    }

    /// Whether a node is a member, as far as it knows, and has a state machine.
    fn serves_watchers(&self, node: &Node) -> bool {
        let is_member = |id| {
            let running = node.running();
            running.is_some_and(|it| it.raft.membership().members().contains(&id))
        };
        is_member(NodeId(node.id)) && !self.config.witnesses.contains(&node.id)
    }

    /// A server sends those who follow it what they have not been sent yet.
    pub(crate) fn tell_watchers(&mut self, node: u64) {
        for watcher in 0..self.watchers.all.len() {
            while let Some(changes) = self.next_changes(node, watcher) {
                let latency = self.watchers.random.sample(self.network.latency);
                let it = &mut self.watchers.all[watcher];
                if let Some(following) = &mut it.following {
                    following.next = changes.next_revision;
                }
                it.arrives_at = it.arrives_at.max(self.now + latency);
                let letter = Letter { watcher, connection: it.connection, changes };
                let (at, id) = (it.arrives_at, self.watchers.next_letter);
                self.watchers.next_letter += 1;
                self.watchers.letters.insert(id, letter);
                self.schedule(at, Event::ChangesArrive(id));
            }
        }
    }

    /// What a server has to tell a watcher next, if that follows it and there is something.
    fn next_changes(&self, node: u64, watcher: usize) -> Option<Changes> {
        let it = self.watchers.all.get(watcher)?;
        let following = it.following.filter(|it| it.node == node)?;
        let node = self.node(node).filter(|node| node.boot == following.boot)?;
        let running = node.running().filter(|it| it.paused.is_none())?;
        let request = ChangesRequest {
            keys: it.keys.clone(),
            from_revision: following.next,
            prev_kv: it.prev_kv,
            changes_max: it.changes_max,
            bytes_max: it.bytes_max,
        };
        // A server that is behind answers when it is not any more.
        let changes = running.kv.changes(&request).ok()?;
        (changes.next_revision > following.next).then_some(changes)
    }

    pub(crate) fn changes_arrive(&mut self, id: u64) {
        let Some(letter) = self.watchers.letters.remove(&id) else {
            return;
        };
        let watcher = &mut self.watchers.all[letter.watcher];
        if watcher.connection != letter.connection {
            return;
        }
        let judged =
            self.ledger.check_watch(&watcher.keys, watcher.prev_kv, watcher.next, &letter.changes);
        watcher.next = letter.changes.next_revision;
        let number = letter.watcher + 1;
        let judged = judged.map_err(|(rule, text)| (rule, format!("watcher {number}: {text}")));
        note(&mut self.violation, self.now, judged);
    }
}

/// Whether a node runs and follows a leader, or leads.
fn knows_leader(node: &Node) -> bool {
    let running = node.running();
    running.is_some_and(|it| it.raft.leader().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::invariants::Invariant;
    use crate::world::action::Action;

    /// A busy cluster whose servers come and go, with watchers.
    fn world(seed: u64, flaw: Option<InjectedBug>) -> World {
        let config = WorldConfig {
            seed,
            nodes: 3,
            clients: 3,
            think_time: DurationRange::new(1_000, 50_000),
            watch_clients: 4,
            snapshot_every: 10,
            record_events: false,
            ..WorldConfig::default()
        };
        let mut world = World::new(config).unwrap();
        world.watchers.flaw = flaw;
        for round in 0..20 {
            let node = round % 3 + 1;
            world.run_until(round * 1_000_000 + 900_000);
            let _ = world.act(&Action::Crash { node });
            world.run_until((round + 1) * 1_000_000);
            let _ = world.act(&Action::Restart { node });
        }
        world
    }

    #[test]
    fn watchers_see_changes_once_across_servers() {
        let mut world = world(1, None);
        assert_eq!(world.violation(), None);
        let revision = world.ledger.revision();
        assert!(revision > 100, "{revision}");
        world.act(&Action::StopClients).unwrap();
        world.run_until(world.now() + 3_000_000);
        assert!(world.watchers_have_seen(world.ledger.revision()));
        assert!(!world.watchers_have_seen(world.ledger.revision() + 1));
        let moves = world.watchers.all.iter().map(|it| it.connection);
        assert!(moves.min() > Some(5));
    }

    #[test]
    fn repeated_or_skipped_revision_is_detected() {
        for flaw in [InjectedBug::Repeats, InjectedBug::Skips] {
            let found = world(1, Some(flaw)).violation().map(|it| it.invariant);
            assert_eq!(found, Some(Invariant::WatchOrder), "{flaw:?}");
        }
    }

    /// Whether somebody watches makes no difference to anybody else.
    #[test]
    fn watchers_do_not_change_trace() {
        let hash = |watchers| {
            let config =
                WorldConfig { watch_clients: watchers, clients: 2, ..WorldConfig::default() };
            let mut world = World::new(config).unwrap();
            world.run_until(3_000_000);
            world.trace_hash()
        };
        assert_eq!(hash(0), hash(5));
    }
}
