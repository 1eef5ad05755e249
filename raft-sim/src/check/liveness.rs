//! Whether something is committed while somebody could lead.
//!
//! What pre-vote and check-quorum promise together: if one server and a majority reach each other
//! in both directions, and no log of that majority is more complete than the server's own, then
//! sooner or later something is committed. Either the one who leads is heard by a majority, and
//! then it can commit; or it steps down, nobody is bound to it any more, and that server (or one
//! that is as good) is elected. Without pre-vote a server at the edge may depose every leader;
//! without check-quorum a leader that hears nobody may bind its followers for ever. A server that
//! is connected but lacks entries promises nothing: it may not be elected, and those who may are
//! not connected (`constrained-election`).
//!
//! The same links must have held all the time: a majority that is another one at every moment
//! elects nobody.

use raft_core::Role;

use crate::check::invariants::Invariant;
use crate::node::Node;
use crate::world::action::Action;
use crate::world::{World, note};

#[derive(Clone, Debug, Default)]
pub(crate) struct Liveness {
    /// When it is worth looking: nothing was seen to be committed for a while then.
    look_at: u64,
    /// How much was committed at the last look.
    committed: usize,
    /// Since when the links below have held.
    since: u64,
    /// How long a round of messages and a write have taken at most since then.
    round: u64,
    /// For each node, those whom it has reached all the time in both directions, and whose logs
    /// were no more complete than its own: one bit each. Empty, if nobody has looked since
    /// something was committed.
    reached: Vec<u128>,
}

/// Whom an action keeps busy with other things for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disturbance {
    Nobody,
    /// This server: nothing is promised with its help. The others can do without it, unless it
    /// leads.
    One(u64),
    Everybody,
}

/// How many of the longest election timeouts may pass without a commit: one until the leader is
/// missed, and some in which votes are split.
const TIMEOUTS: u64 = 4;
/// How many rounds of messages may pass beyond that. Three elections take about as many, and where
/// messages are as slow as can be, that is what takes the time.
const ROUNDS: u64 = 8;
/// More loss than this, of a thousand, may keep anybody from being elected in time.
pub(crate) const LOSS_PER_MILLE_MAX: u32 = 100;
/// A clock that is further off than this, in parts per million, measures no timeouts.
const DRIFT_PPM_MAX: u32 = 300_000;

impl World {
    /// Looks whether something should have been committed by now. Nothing is computed as long as
    /// there are commits.
    pub(crate) fn check_liveness(&mut self) {
        if self.now < self.progress.look_at || !self.config.pre_vote || !self.config.check_quorum {
            return;
        }
        let committed = self.invariants.committed();
        if committed != self.progress.committed || self.nodes.iter().any(is_idle_leader) {
            self.progress.committed = committed;
            return self.reset_all();
        }
        let now = self.now;
        let (reached, round) = self.reached();
        let progress = &mut self.progress;
        if progress.reached.is_empty() {
            (progress.since, progress.round) = (now, round);
            progress.reached = reached;
        } else {
            progress.round = progress.round.max(round);
            for (so_far, reached) in progress.reached.iter_mut().zip(&reached) {
                *so_far &= reached;
            }
            let may_lead = |node: &&Node| has_majority(node, &progress.reached);
            if !self.nodes.iter().any(|node| may_lead(&node)) {
                (progress.since, progress.round) = (now, round);
                progress.reached = reached;
            }
        }
        let may_lead = self.nodes.iter().find(|node| has_majority(node, &self.progress.reached));
        let patience = TIMEOUTS * self.config.election_timeout.max + ROUNDS * self.progress.round;
        if let Some(node) = may_lead
            && now - self.progress.since >= patience
        {
            let text = format!(
                "for {TIMEOUTS} election timeouts and {ROUNDS} rounds of messages n{} could have led: a majority is connected to it and lacks nothing that it has not, and nothing was committed",
                node.id
            );
            note(&mut self.violation, now, Err((Invariant::Progress, text)));
        }
    }

    /// Whether these servers can go on without the others, if all their links work: one of them can
    /// be elected, they are a majority of whatever anybody takes for the membership (which may be
    /// on its way to them), and they do not lack what the others may have committed together with
    /// witnesses, who could not hand it on.
    pub(crate) fn is_self_sufficient(&self, nodes: &[u64]) -> bool {
        let is_among = |node: raft_core::NodeId| nodes.contains(&node.0);
        let mut memberships = self.known_memberships();
        memberships.all(|membership| membership.quorum_value(is_among) == Some(true))
            && self.could_elect(nodes)
            && !self.is_committed_elsewhere(nodes)
    }

    fn known_memberships(&self) -> impl Iterator<Item = &raft_core::Membership> {
        let running = self.nodes.iter().filter_map(Node::running);
        let memberships = running.map(|running| running.raft.membership());
        memberships.filter(|membership| !membership.voters().is_empty())
    }

    fn could_elect(&self, nodes: &[u64]) -> bool {
        let logs = |node: u64| Some(self.raft(node)?.last_log());
        let start = self.log_start();
        let mut reached = vec![0; self.nodes.len()];
        for one in nodes {
            let behind = |other: &&u64| {
                let log = logs(**other);
                log.is_some_and(|log| log.index >= start) && log <= logs(*one)
            };
            for other in nodes.iter().filter(behind) {
                reached[*one as usize - 1] |= 1 << (other - 1);
            }
        }
        self.nodes.iter().any(|node| has_majority(node, &reached))
    }

    /// Whether those of the others whose logs are more complete are a majority with all witnesses.
    fn is_committed_elsewhere(&self, nodes: &[u64]) -> bool {
        let log = |node: u64| self.raft(node).map(raft_core::Raft::last_log);
        let is_witness = |node: u64| self.config.witnesses.contains(&node);
        let own = nodes.iter().filter(|node| !is_witness(**node));
        let best = own.map(|node| log(*node)).max().flatten();
        self.is_majority_with_witnesses(|node| !nodes.contains(&node) && log(node) > best)
    }

    /// Whether these servers and all witnesses are a majority of what anybody takes for the
    /// membership.
    pub(crate) fn is_majority_with_witnesses(&self, is_among: impl Fn(u64) -> bool) -> bool {
        let is_witness = |node: u64| self.config.witnesses.contains(&node);
        let is_one = |node: raft_core::NodeId| is_witness(node.0) || is_among(node.0);
        let mut memberships = self.known_memberships();
        memberships.any(|membership| membership.quorum_value(is_one) == Some(true))
    }

    /// Whom an action keeps from their work, if it succeeds. What happens to links does not count:
    /// it is seen.
    pub(crate) fn is_disturbed_by(&self, action: &Action) -> Disturbance {
        match action {
            Action::CutLink { .. }
            | Action::HealLink { .. }
            | Action::Isolate { .. }
            | Action::Reconnect { .. }
            | Action::Partition { .. }
            | Action::HealNetwork
            | Action::SetNetwork { .. }
            | Action::SetLatency { .. }
            | Action::SetLoss { .. }
            | Action::DuplicateMessage { .. }
            | Action::Request { .. }
            | Action::StopClients
            | Action::GoOn => Disturbance::Nobody,
            Action::Crash { node }
            | Action::Restart { node }
            | Action::Pause { node }
            | Action::Resume { node }
            | Action::FireTimer { node }
            | Action::SetClock { node, .. }
            | Action::JumpClock { node, .. }
            | Action::WipeDisk { node }
            | Action::DestroyDisk { node }
            | Action::CorruptEntry { node, .. }
            | Action::MisdirectWrite { node, .. }
            | Action::TakeSnapshot { node } => self.disturbance_of(*node),
            // Only a leader does anything then.
            Action::ChangeMembership { .. } | Action::Transfer { .. } => {
                match self.nodes.iter().any(leads) {
                    true => Disturbance::Everybody,
                    false => Disturbance::Nobody,
                }
            }
            // A leader may live on the heartbeats of servers that still have much to write.
            Action::SetSyncLatency { .. }
            | Action::FailDisk { .. }
            | Action::FillDisk { .. }
            | Action::FreeDisk { .. }
            | Action::PowerCut
            | Action::DropMessage { .. }
            | Action::DeliverMessage { .. }
            | Action::DelayMessage { .. }
            | Action::HoldMessages
            | Action::ReleaseMessages
            | Action::AlignTimers
            | Action::SpreadTimers => Disturbance::Everybody,
        }
    }

    /// Whom it disturbs that something happens to a server.
    pub(crate) fn disturbance_of(&self, node: u64) -> Disturbance {
        match self.node(node).is_some_and(leads) {
            true => Disturbance::Everybody,
            false => Disturbance::One(node),
        }
    }

    pub(crate) fn reset(&mut self, disturbed: Disturbance) {
        self.catch_up.disturb(disturbed);
        match disturbed {
            Disturbance::Nobody => {}
            Disturbance::One(node) => {
                for (id, reached) in (1..).zip(&mut self.progress.reached) {
                    *reached &= if id == node { 0 } else { !(1 << (node - 1)) };
                }
            }
            Disturbance::Everybody => self.reset_all(),
        }
    }

    /// The next look is worth it when nothing is committed for an election timeout.
    fn reset_all(&mut self) {
        self.progress.look_at = self.now + self.config.election_timeout.max;
        self.progress.reached.clear();
    }

    /// Where the latest log of a server that runs begins. Whoever is behind that may need a
    /// snapshot first, which takes as long as it is large.
    fn log_start(&self) -> raft_core::LogIndex {
        let running = self.nodes.iter().filter_map(Node::running);
        let starts = running.map(|running| running.raft.log_start().index);
        starts.max().unwrap_or_default()
    }

    /// For each node, whom it reaches in both directions, itself included, if their logs are no
    /// more complete. Nobody reaches anybody in a world in which nothing is promised: where
    /// messages are too slow or too often lost, or where a server runs that answers heartbeats and
    /// cannot write in time, so that a leader could live on such answers.
    ///
    /// And how long a round of messages and a write take between those who reach each other.
    fn reached(&self) -> (Vec<u128>, u64) {
        let awake: Vec<_> = self
            .nodes
            .iter()
            .map(|node| Some(&node.running().filter(|it| it.paused.is_none())?.raft))
            .collect();
        let promised = self.network.loss_max() <= LOSS_PER_MILLE_MAX
            && !self.network.holds()
            && self.nodes.iter().all(|node| node.running().is_none() || self.is_fit(node));
        let syncs = self.nodes.iter().map(|node| node.sync.max);
        let sync = syncs.max().unwrap_or_default();
        let mut slowest = 0;
        let start = self.log_start();
        let mut reached = vec![0; self.nodes.len()];
        for (one, bits) in (1..).zip(&mut reached) {
            let Some(raft) = awake[one as usize - 1].filter(|_| promised) else {
                continue;
            };
            for (other, its) in (1..).zip(&awake) {
                let its = its.map(raft_core::Raft::last_log);
                let is_behind = its.is_some_and(|its| its <= raft.last_log() && its.index >= start);
                if !is_behind {
                    continue;
                }
                if one == other {
                    *bits |= 1 << (other - 1);
                } else if let Some(round) = self.round_trip(one, other) {
                    *bits |= 1 << (other - 1);
                    slowest = slowest.max(round);
                }
            }
        }
        (reached, slowest + sync)
    }

    /// Whether a server can write and measure time well enough for something to be promised of it.
    pub(crate) fn is_fit(&self, node: &Node) -> bool {
        !node.disk.full
            && !node.disk.failing
            && node.sync.max <= self.config.election_timeout.min / 2
            && node.clock.drift().unsigned_abs() <= DRIFT_PPM_MAX
    }

    /// How long a message and its answer take between two servers. None if they do not reach each
    /// other in both directions, or not quickly enough.
    pub(crate) fn round_trip(&self, one: u64, other: u64) -> Option<u64> {
        let timeout = self.config.election_timeout.min;
        // Whoever stands must be heard before the next one does, or every vote may be split.
        let spread = self.config.election_timeout.max - timeout;
        let ways = [(one, other), (other, one)];
        let round = ways.map(|(from, to)| self.network.longest(from, to));
        let is_quick = round.iter().all(|way| *way <= timeout / 4);
        let is_connected = is_quick
            && round.iter().sum::<u64>() <= spread
            && ways.iter().all(|(from, to)| self.network.connects(*from, *to));
        is_connected.then(|| round.iter().sum::<u64>())
    }
}

fn leads(node: &Node) -> bool {
    let running = node.running();
    running.is_some_and(|running| running.raft.role() == Role::Leader)
}

/// A leader that has committed all it has: nobody waits for anything.
fn is_idle_leader(node: &Node) -> bool {
    let running = node.running().filter(|running| running.paused.is_none());
    running.is_some_and(|running| {
        let raft = &running.raft;
        raft.role() == Role::Leader
            && raft.commit_index() == raft.last_log().index
            && raft.last_log().term == raft.term()
    })
}

/// Whether a node is one that may lead, and those whom it reaches are a majority of the members
/// that it knows.
fn has_majority(node: &Node, reached: &[u128]) -> bool {
    let Some(running) = node.running() else {
        return false;
    };
    let (id, membership) = (running.raft.id(), running.raft.membership());
    let bits = reached[node.id as usize - 1];
    let reaches = |other: raft_core::NodeId| bits >> (other.0 - 1) & 1 == 1;
    membership.is_voter(id)
        && !membership.is_witness(id)
        && membership.quorum_value(reaches) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::InFlight;
    use crate::story::EventKind;
    use crate::util::rng::DurationRange;
    use crate::world::action::Request;
    use crate::world::config::WorldConfig;
    use raft_core::Message;

    /// Server 3 leads, and from then on the links are these.
    fn world(check_quorum: bool, groups: &[&[u64]]) -> World {
        let config = WorldConfig { check_quorum, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.act(&Action::FireTimer { node: 3 }).unwrap();
        world.run_until(1_000_000);
        let groups = groups.iter().map(|group| group.to_vec()).collect();
        world.act(&Action::Partition { groups }).unwrap();
        write(&mut world);
        // Whatever the servers do, this is what they are measured by.
        world.config.check_quorum = true;
        world
    }

    fn write(world: &mut World) {
        let (key, value) = ("x".into(), "1".into());
        let request = Request::Put { key, value };
        world.act(&Action::Request { via: Some(3), request }).unwrap();
    }

    /// Whoever has changed the membership, though nobody has heard of it yet, is part of the
    /// quorum.
    #[test]
    fn core_must_be_quorum_of_every_known_membership() {
        let mut world = world(true, &[]);
        assert!(world.is_self_sufficient(&[1, 2, 4]));
        assert!(!world.is_self_sufficient(&[1, 2]));
        let change =
            Action::ChangeMembership { voters: vec![3], learners: Vec::new(), joining: Vec::new() };
        world.act(&change).unwrap();
        assert!(!world.is_self_sufficient(&[1, 2, 4]));
        assert!(world.is_self_sufficient(&[1, 2, 3]));
    }

    #[test]
    fn core_has_all_entries_committed_with_witnesses() {
        let config = WorldConfig { nodes: 3, witnesses: vec![2], ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.act(&Action::FireTimer { node: 3 }).unwrap();
        world.run_until(1_000_000);
        assert!(world.is_self_sufficient(&[1, 2]));
        world.act(&Action::Isolate { node: 1 }).unwrap();
        write(&mut world);
        world.run_until(1_100_000);
        assert!(!world.is_self_sufficient(&[1, 2]));
        assert!(world.is_self_sufficient(&[2, 3]));
    }

    const STAR: &[&[u64]] = &[&[1, 2], &[1, 3], &[1, 4], &[1, 5]];

    /// Only server 1 has links to the others, and is bound to a leader that reaches nobody else
    /// (OmniPaxos).
    #[test]
    fn unnecessary_unavailability_is_detected() {
        let mut stuck = world(false, STAR);
        stuck.run_until(2_000_000);
        assert_eq!(stuck.violation(), None, "there is patience");
        stuck.run_until(10_000_000);
        let found = stuck.violation().map(|violation| violation.invariant);
        assert_eq!(found, Some(Invariant::Progress));
        let kinds: Vec<_> = stuck.story_since(0).map(|record| record.kind).collect();
        let told = kinds.iter().filter(|kind| **kind == EventKind::Violation);
        assert_eq!((told.count(), kinds.last()), (1, Some(&EventKind::Violation)));
        let mut careful = world(true, STAR);
        careful.run_until(10_000_000);
        assert_eq!(careful.violation(), None);
    }

    /// From now on no answer to a vote arrives, and something is done again and again. The rule
    /// that falls until then.
    fn without_votes(mut world: World, mut act: impl FnMut(&mut World)) -> Option<Invariant> {
        let (begin, mut next) = (world.now(), 0);
        while world.now() < begin + 6_000_000 && world.step() {
            let answers = |flight: &&InFlight| {
                use Message::{PreVoteResponse, RequestVoteResponse};
                matches!(flight.message, PreVoteResponse(_) | RequestVoteResponse(_))
            };
            let lost: Vec<_> = world.messages().filter(answers).map(|it| it.id).collect();
            for id in lost {
                world.network.drop_message(id, world.now);
            }
            if world.now() >= next {
                act(&mut world);
                next = world.now() + 100_000;
            }
        }
        world.violation().map(|violation| violation.invariant)
    }

    /// Server 3 leads, and is idle.
    fn idle() -> World {
        let mut world = World::new(WorldConfig::default()).unwrap();
        world.act(&Action::FireTimer { node: 3 }).unwrap();
        world.run_until(1_000_000);
        world
    }

    #[test]
    fn unrelated_faults_do_not_reset_timer() {
        let crashed = || {
            let mut world = idle();
            world.act(&Action::Crash { node: 3 }).unwrap();
            world
        };
        let progress = Some(Invariant::Progress);
        assert_eq!(without_votes(crashed(), |_| {}), progress);
        let refused = |world: &mut World| {
            world.act(&Action::Restart { node: 1 }).unwrap_err();
        };
        assert_eq!(without_votes(crashed(), refused), progress);
        let to_another = |world: &mut World| {
            let node = 5;
            for action in [Action::Pause { node }, Action::Resume { node }] {
                world.act(&action).unwrap();
            }
        };
        assert_eq!(without_votes(crashed(), to_another), progress);
        let to_nobody = |world: &mut World| world.act(&Action::Transfer { to: 1 }).unwrap();
        assert_eq!(without_votes(crashed(), to_nobody), progress);
        let to_all = |world: &mut World| {
            for node in [1, 2, 4, 5] {
                let drift = 1_000;
                world.act(&Action::SetClock { node, drift }).unwrap();
            }
        };
        assert_eq!(without_votes(crashed(), to_all), None);
    }

    #[test]
    fn paused_leader_is_not_idle() {
        let mut world = idle();
        world.act(&Action::Pause { node: 3 }).unwrap();
        assert_eq!(without_votes(world, |_| {}), Some(Invariant::Progress));
        assert_eq!(without_votes(idle(), |_| {}), None, "it leads, and is idle");
    }

    /// One timeout until the leader is missed, and one in which votes are split.
    #[test]
    fn commits_go_on_within_two_election_timeouts_of_leader_crash() {
        for seed in 0..200 {
            let mut world = World::new(WorldConfig { seed, ..WorldConfig::default() }).unwrap();
            world.run_until(2_000_000);
            let leader = world.nodes.iter().find(|node| leads(node)).map(|node| node.id);
            world.act(&Action::Crash { node: leader.unwrap() }).unwrap();
            let (committed, crashed_at) = (world.invariants.committed(), world.now());
            while world.invariants.committed() == committed {
                assert!(world.step(), "seed {seed}");
            }
            let took = world.now() - crashed_at;
            assert!(took <= 2 * world.config.election_timeout.max, "seed {seed}: {took} µs");
        }
    }

    /// Where timeouts differ by less than messages take, every vote may be split.
    #[test]
    fn split_votes_are_not_a_violation() {
        for seed in 0..20 {
            let config = WorldConfig {
                seed,
                election_timeout: DurationRange::new(290_000, 300_000),
                latency: DurationRange::new(60_000, 70_000),
                record_events: false,
                ..WorldConfig::default()
            };
            let mut world = World::new(config).unwrap();
            world.run_until(20_000_000);
            assert_eq!(world.violation(), None, "seed {seed}");
        }
    }

    #[test]
    fn unpromised_liveness_is_not_a_violation() {
        // No majority is connected to anybody.
        let mut apart = world(false, &[&[1, 2], &[3, 4]]);
        apart.run_until(30_000_000);
        assert_eq!(apart.violation(), None);
        // The only one who is connected lacks an entry that the others have.
        let mut behind = world(true, &[&[2, 3, 4, 5]]);
        behind.run_until(1_500_000);
        let groups = STAR.iter().map(|group| group.to_vec()).collect();
        behind.act(&Action::Partition { groups }).unwrap();
        write(&mut behind);
        behind.run_until(30_000_000);
        assert_eq!(behind.violation(), None);
        // It is another majority at every moment.
        let mut unsteady = world(false, STAR);
        while unsteady.now() < 30_000_000 {
            let hub = unsteady.now() / 100_000 % 5 + 1;
            let groups = (1..=5).map(|other| vec![hub, other]).collect();
            unsteady.act(&Action::Partition { groups }).unwrap();
            unsteady.run_until(unsteady.now() + 100_000);
        }
        assert_eq!(unsteady.violation(), None);
    }
}
