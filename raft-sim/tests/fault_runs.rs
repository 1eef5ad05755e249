//! Short runs with one fault each, and the expected reaction of the cluster.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use raft_core::Role;
use raft_sim::{
    Action, ClusterConfig, DurationRange, Operation, OperationState, ProcessView, Request, World,
    WorldConfig,
};

const SECOND: u64 = 1_000_000;

fn world(nodes: u64, change: impl FnOnce(&mut WorldConfig)) -> World {
    let mut config = WorldConfig {
        cluster: ClusterConfig { nodes, ..ClusterConfig::default() },
        seed: 11,
        ..WorldConfig::default()
    };
    change(&mut config);
    World::new(config).unwrap()
}

fn pass(world: &mut World, micros: u64) {
    world.run_until(world.now() + micros);
    assert_eq!(world.violation(), None);
}

fn act(world: &mut World, action: Action) {
    world.act(&action).unwrap();
}

/// The running nodes in the role of leader, in the order of their terms.
fn leaders(world: &World) -> Vec<u64> {
    let nodes = 1..=world.config().cluster.nodes;
    let leads = |id: &u64| world.raft(*id).is_some_and(|raft| raft.role() == Role::Leader);
    let mut leaders: Vec<_> = nodes.filter(leads).collect();
    leaders.sort_by_key(|id| world.raft(*id).map(raft_core::Raft::term));
    leaders
}

fn leader(world: &World) -> u64 {
    *leaders(world).last().unwrap()
}

fn term(world: &World, node: u64) -> u64 {
    world.raft(node).unwrap().term().0
}

fn request(world: &mut World, via: u64, request: Request) -> u64 {
    act(world, Action::Request { via: Some(via), request });
    world.askings().next_back().unwrap().id
}

fn put(world: &mut World, via: u64, value: &str) -> u64 {
    request(world, via, Request::Put { key: "x".into(), value: value.into() })
}

fn operation(world: &World, id: u64) -> &Operation {
    world.asking(id).unwrap()
}

fn is_done(world: &World, id: u64) -> bool {
    matches!(operation(world, id).state, OperationState::Done { .. })
}

fn value(world: &World, node: u64) -> Option<String> {
    world.keys(node).into_iter().find(|kv| kv.key == "x").map(|kv| kv.value)
}

fn others(world: &World, node: u64) -> Vec<u64> {
    (1..=world.config().cluster.nodes).filter(|other| *other != node).collect()
}

#[test]
fn five_nodes_elect_within_two_timeouts() {
    for seed in 0..50 {
        let mut world = world(5, |config| config.seed = seed);
        pass(&mut world, 600_000);
        assert_eq!(leaders(&world).len(), 1, "seed {seed}");
    }
}

/// An entry on a minority is replaced. The client repeats its request, which takes effect once.
#[test]
fn leader_crash_with_uncommitted_entry() {
    let mut world = world(5, |_| {});
    pass(&mut world, SECOND);
    let first = leader(&world);
    let kept = put(&mut world, first, "kept");
    pass(&mut world, SECOND / 2);
    assert!(is_done(&world, kept));
    act(&mut world, Action::Isolate { node: first });
    let lost = put(&mut world, first, "lost");
    pass(&mut world, SECOND / 20);
    let length = world.raft(first).unwrap().last_log().index;
    act(&mut world, Action::Crash { node: first });
    pass(&mut world, 2 * SECOND);
    let second = leader(&world);
    assert_ne!(second, first);
    act(&mut world, Action::Reconnect { node: first });
    act(&mut world, Action::Restart { node: first });
    pass(&mut world, 2 * SECOND);
    let entry_of = |node| world.raft(node).unwrap().term_at(length);
    assert_eq!(entry_of(first), entry_of(second), "the log equals that of the new leader");
    // The client has repeated the request at another server.
    assert!(is_done(&world, lost));
    for node in 1..=5 {
        assert_eq!(value(&world, node).as_deref(), Some("lost"));
    }
}

#[test]
fn minority_serves_nothing_and_log_is_repaired() {
    let mut world = world(5, |_| {});
    pass(&mut world, SECOND);
    let old = leader(&world);
    let rest = others(&world, old);
    let groups = vec![vec![old, rest[0]], rest[1..].to_vec()];
    act(&mut world, Action::Partition { groups });
    let stuck = put(&mut world, old, "stuck");
    pass(&mut world, 300_000);
    assert!(!is_done(&world, stuck));
    pass(&mut world, 2 * SECOND);
    assert_eq!(leaders(&world).len(), 1, "the old leader has stepped down");
    assert!(rest[1..].contains(&leader(&world)));
    act(&mut world, Action::HealNetwork);
    pass(&mut world, 2 * SECOND);
    let hash = |node| world.raft(node).unwrap().last_log();
    assert!((1..=5).all(|node| hash(node) == hash(1)));
}

/// A node that can send but not receive has no leader. In plain Raft it disrupts the others
/// forever.
#[test]
fn deaf_node_disrupts_only_plain_raft() {
    let terms = |is_protected: bool| {
        let mut world = world(5, |config| {
            config.cluster.pre_vote = is_protected;
            config.cluster.check_quorum = is_protected;
        });
        pass(&mut world, SECOND);
        let before = term(&world, leader(&world));
        let deaf = others(&world, leader(&world))[0];
        for from in others(&world, deaf) {
            act(&mut world, Action::CutLink { from, to: deaf });
        }
        pass(&mut world, 10 * SECOND);
        let highest = others(&world, deaf).into_iter().map(|node| term(&world, node)).max();
        highest.unwrap() - before
    };
    assert_eq!(terms(true), 0);
    assert!(terms(false) > 10);
}

/// Dissertation 9.6: a node that was isolated must not depose the leader when it returns.
#[test]
fn returning_node_disrupts_only_without_pre_vote() {
    let is_disrupted = |pre_vote: bool| {
        let mut world = world(3, |config| {
            config.cluster.pre_vote = pre_vote;
            config.cluster.check_quorum = false;
        });
        pass(&mut world, SECOND);
        let first = leader(&world);
        let before = term(&world, first);
        let away = others(&world, first)[0];
        act(&mut world, Action::Isolate { node: away });
        pass(&mut world, 30 * SECOND);
        act(&mut world, Action::Reconnect { node: away });
        pass(&mut world, 2 * SECOND);
        let now = leader(&world);
        (now, term(&world, now)) != (first, before)
    };
    assert!(!is_disrupted(true));
    assert!(is_disrupted(false));
}

/// A leader that can receive but not send is replaced, and steps down.
#[test]
fn mute_leader_is_replaced() {
    let mut world = world(5, |_| {});
    pass(&mut world, SECOND);
    let mute = leader(&world);
    for to in others(&world, mute) {
        act(&mut world, Action::CutLink { from: mute, to });
    }
    pass(&mut world, 2 * SECOND);
    assert_eq!(leaders(&world).len(), 1);
    assert_ne!(leader(&world), mute);
}

#[test]
fn power_cut_loses_no_acknowledged_write() {
    for seed in 0..30 {
        let mut world = world(5, |config| {
            config.seed = seed;
            config.workload.clients = 4;
            config.workload.think_time = DurationRange::new(1_000, 10_000);
        });
        for _ in 0..5 {
            pass(&mut world, 700_000);
            act(&mut world, Action::PowerCut);
            pass(&mut world, 50_000);
            for node in 1..=5 {
                act(&mut world, Action::Restart { node });
            }
        }
        act(&mut world, Action::StopClients);
        pass(&mut world, 10 * SECOND);
        let done = world.askings().filter(|operation| operation.returned.is_some()).count();
        assert!(done > 100, "seed {seed}: only {done} requests were answered");
        assert_eq!(world.judge_history(1_000_000), None, "seed {seed}");
    }
}

#[test]
fn failed_sync_stops_node_but_not_cluster() {
    let mut world = world(3, |_| {});
    pass(&mut world, SECOND);
    let failing = leader(&world);
    act(&mut world, Action::FailDisk { node: failing });
    let write = put(&mut world, failing, "1");
    pass(&mut world, 3 * SECOND);
    let Some(ProcessView::Down { reason: Some(reason) }) = world.process(failing) else {
        panic!("the node has not stopped: {:?}", world.process(failing));
    };
    assert!(reason.contains("storage failed"), "{reason}");
    assert_ne!(leader(&world), failing);
    assert!(is_done(&world, write), "the client did not use another node");
}

/// An isolated leader must not serve reads from its own state.
#[test]
fn stale_leader_serves_no_read() {
    let mut world = world(3, |config| config.cluster.check_quorum = false);
    pass(&mut world, SECOND);
    let old = leader(&world);
    let before = put(&mut world, old, "before");
    pass(&mut world, SECOND / 2);
    assert!(is_done(&world, before));
    act(&mut world, Action::Isolate { node: old });
    pass(&mut world, SECOND);
    let new = leader(&world);
    assert_eq!(leaders(&world), [old, new], "without check-quorum, both are leaders");
    let after = put(&mut world, new, "after");
    pass(&mut world, SECOND / 2);
    assert!(is_done(&world, after));
    let read = request(&mut world, old, Request::Get { key: "x".into() });
    pass(&mut world, 2 * SECOND);
    let OperationState::Done { found, .. } = &operation(&world, read).state else {
        panic!("the client did not find the new leader");
    };
    assert_eq!(found.as_deref(), Some("after"));
    assert_ne!(operation(&world, read).node, old);
}

/// The leader's process is paused for longer than an election timeout.
#[test]
fn resumed_leader_commits_nothing() {
    let mut world = world(3, |_| {});
    pass(&mut world, SECOND);
    let paused = leader(&world);
    act(&mut world, Action::Pause { node: paused });
    let write = put(&mut world, paused, "1");
    pass(&mut world, 2 * SECOND);
    let new = leader(&world);
    assert_ne!(new, paused);
    act(&mut world, Action::Resume { node: paused });
    pass(&mut world, SECOND);
    assert_eq!(leaders(&world), [new]);
    assert!(is_done(&world, write));
    assert_eq!(world.judge_history(1_000_000), None);
}

/// Moderate clock drift changes only the timing.
#[test]
fn clock_drift_keeps_invariants() {
    let mut world = world(5, |config| config.workload.clients = 3);
    for (node, drift) in [(1, 200_000), (2, -200_000), (3, 50_000)] {
        act(&mut world, Action::SetClock { node, drift });
    }
    pass(&mut world, 20 * SECOND);
    act(&mut world, Action::StopClients);
    pass(&mut world, 5 * SECOND);
    assert_eq!(world.judge_history(1_000_000), None);
    assert_eq!(leaders(&world).len(), 1);
}
