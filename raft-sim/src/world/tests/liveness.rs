//! Progress while an electable server is connected to a quorum.

use raft_core::Message;

use crate::check::invariants::Invariant;
use crate::network::in_flight::InFlight;
use crate::network::latency::DurationRange;
use crate::node::Node;
use crate::story::EventKind;
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::config::{ClusterConfig, NetworkConfig, WorldConfig};

/// Server 3 leads. Afterwards only these links work.
fn world(check_quorum: bool, groups: &[&[u64]]) -> World {
    let config = WorldConfig {
        cluster: ClusterConfig { check_quorum, ..ClusterConfig::default() },
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    world.act(&Action::FireTimer { node: 3 }).unwrap();
    world.run_until(1_000_000);
    let groups = groups.iter().map(|group| group.to_vec()).collect();
    world.act(&Action::Partition { groups }).unwrap();
    write(&mut world);
    // The checker expects progress, whatever the servers do.
    world.config.cluster.check_quorum = true;
    world
}

fn write(world: &mut World) {
    let (key, value) = ("x".into(), "1".into());
    let request = Request::Put { key, value };
    world.act(&Action::Request { via: Some(3), request }).unwrap();
}

/// The leader knows a new membership that no other server has received.
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
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 3, witnesses: vec![2], ..ClusterConfig::default() },
        ..WorldConfig::default()
    };
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

/// Only server 1 has links to the others, and it follows a leader that reaches no other server
/// (the scenario of OmniPaxos).
#[test]
fn unnecessary_unavailability_is_detected() {
    let mut stuck = world(false, STAR);
    stuck.run_until(2_000_000);
    assert_eq!(stuck.violation(), None, "the time limit has not passed");
    stuck.run_until(10_000_000);
    let found = stuck.violation().map(|violation| violation.invariant);
    assert_eq!(found, Some(Invariant::Progress));
    let kinds: Vec<_> = stuck.story_since(0).map(|record| record.kind).collect();
    let violations = kinds.iter().filter(|kind| **kind == EventKind::Violation);
    assert_eq!((violations.count(), kinds.last()), (1, Some(&EventKind::Violation)));
    let mut careful = world(true, STAR);
    careful.run_until(10_000_000);
    assert_eq!(careful.violation(), None);
}

/// Runs without responses to vote requests, and acts repeatedly. Returns the violated invariant.
fn without_votes(mut world: World, mut act: impl FnMut(&mut World)) -> Option<Invariant> {
    let (begin, mut next) = (world.now(), 0);
    while world.now() < begin + 6_000_000 && world.step() {
        let answers = |flight: &&InFlight| {
            use Message::{PreVoteResponse, RequestVoteResponse};
            matches!(flight.message, PreVoteResponse(_) | RequestVoteResponse(_))
        };
        let lost: Vec<_> = world.messages().filter(answers).map(|flight| flight.id).collect();
        for id in lost {
            world.cluster.network.drop_message(id, world.cluster.now);
        }
        if world.now() >= next {
            act(&mut world);
            next = world.now() + 100_000;
        }
    }
    world.violation().map(|violation| violation.invariant)
}

/// Server 3 leads and is idle.
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
    let other_server = |world: &mut World| {
        let node = 5;
        for action in [Action::Pause { node }, Action::Resume { node }] {
            world.act(&action).unwrap();
        }
    };
    assert_eq!(without_votes(crashed(), other_server), progress);
    let transfer = |world: &mut World| world.act(&Action::Transfer { to: 1 }).unwrap();
    assert_eq!(without_votes(crashed(), transfer), progress);
    let all_servers = |world: &mut World| {
        for node in [1, 2, 4, 5] {
            let drift = 1_000;
            world.act(&Action::SetClock { node, drift }).unwrap();
        }
    };
    assert_eq!(without_votes(crashed(), all_servers), None);
}

#[test]
fn paused_leader_is_not_idle() {
    let mut world = idle();
    world.act(&Action::Pause { node: 3 }).unwrap();
    assert_eq!(without_votes(world, |_| {}), Some(Invariant::Progress));
    assert_eq!(without_votes(idle(), |_| {}), None, "the leader is idle");
}

/// One timeout until the followers campaign, and one timeout with a split vote.
#[test]
fn commits_go_on_within_two_election_timeouts_of_leader_crash() {
    for seed in 0..200 {
        let mut world = World::new(WorldConfig { seed, ..WorldConfig::default() }).unwrap();
        world.run_until(2_000_000);
        let leader =
            world.cluster.nodes.iter().find(|node| Node::is_leader(node)).map(|node| node.id);
        world.act(&Action::Crash { node: leader.unwrap() }).unwrap();
        let (committed, crashed_at) = (world.observers.invariants.committed(), world.now());
        while world.observers.invariants.committed() == committed {
            assert!(world.step(), "seed {seed}");
        }
        let took = world.now() - crashed_at;
        assert!(took <= 2 * world.config.cluster.election_timeout.max, "seed {seed}: {took} µs");
    }
}

/// Every vote may be split if the timeouts differ by less than the latency.
#[test]
fn split_votes_are_not_a_violation() {
    for seed in 0..20 {
        let config = WorldConfig {
            cluster: ClusterConfig {
                election_timeout: DurationRange::new(290_000, 300_000),
                ..ClusterConfig::default()
            },
            network: NetworkConfig {
                latency: DurationRange::new(60_000, 70_000),
                ..NetworkConfig::default()
            },
            seed,
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
    // No server is connected to a quorum.
    let mut apart = world(false, &[&[1, 2], &[3, 4]]);
    apart.run_until(30_000_000);
    assert_eq!(apart.violation(), None);
    // The only connected server lacks an entry that the others have.
    let mut behind = world(true, &[&[2, 3, 4, 5]]);
    behind.run_until(1_500_000);
    let groups = STAR.iter().map(|group| group.to_vec()).collect();
    behind.act(&Action::Partition { groups }).unwrap();
    write(&mut behind);
    behind.run_until(30_000_000);
    assert_eq!(behind.violation(), None);
    // The connected quorum changes all the time.
    let mut unsteady = world(false, STAR);
    while unsteady.now() < 30_000_000 {
        let hub = unsteady.now() / 100_000 % 5 + 1;
        let groups = (1..=5).map(|other| vec![hub, other]).collect();
        unsteady.act(&Action::Partition { groups }).unwrap();
        unsteady.run_until(unsteady.now() + 100_000);
    }
    assert_eq!(unsteady.violation(), None);
}
