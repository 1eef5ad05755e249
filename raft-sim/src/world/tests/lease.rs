//! Leases with leader changes and inaccurate clocks.

use raft_core::{Raft, Role, Term};

use crate::check::invariants::Invariant;
use crate::network::latency::DurationRange;
use crate::node::client_api::{ClientKind, ClientResponse, PendingRead, RequestId};
use crate::node::injected_bug::InjectedBug;
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::{ClusterConfig, WorkloadConfig, WorldConfig};

fn new(seed: u64, bug: Option<InjectedBug>) -> World {
    let config = WorldConfig {
        cluster: ClusterConfig {
            nodes: 3,
            // An isolated leader continues to believe that it leads.
            check_quorum: false,
            snapshot_every: 20,
            ..ClusterConfig::default()
        },
        workload: WorkloadConfig {
            lease_clients: 3,
            lease_ttl: 1,
            think_time: DurationRange::new(10_000, 100_000),
            ..WorkloadConfig::default()
        },
        seed,
        record_events: false,
        ..WorldConfig::default()
    };
    let mut world = World::new(config).unwrap();
    bug.into_iter().for_each(|bug| world.inject(bug));
    world
}

fn leader(world: &World) -> Option<u64> {
    let leads = |node: &u64| world.raft(*node).is_some_and(|it| it.role() == Role::Leader);
    (1..=3).filter(leads).max_by_key(|node| world.raft(*node).map(Raft::term))
}

/// Leaders are isolated or crash, return and lead again. Clocks are inaccurate.
fn troubled(seed: u64, bug: Option<InjectedBug>) -> World {
    let mut world = new(seed, bug);
    for node in 1..=3 {
        let drift = [-200_000, 0, 200_000][node as usize - 1];
        world.act(&Action::SetClock { node, drift }).unwrap();
    }
    for round in 1..=12 {
        world.run_until(round * 4_000_000);
        let Some(node) = leader(&world) else { continue };
        if round % 5 == 0 {
            let _ = world.act(&Action::Crash { node });
            world.run_until(world.now() + 300_000);
            let _ = world.act(&Action::Restart { node });
        } else {
            let _ = world.act(&Action::Isolate { node });
            world.run_until(world.now() + 1_800_000);
            let _ = world.act(&Action::Reconnect { node });
            let _ = world.act(&Action::Transfer { to: node });
        }
    }
    world
}

#[test]
fn leases_survive_leader_changes() {
    let mut world = troubled(1, None);
    assert_eq!(world.violation(), None);
    let (expired, ended) = world.observers.leases.ended_by_expiry();
    assert!(expired > 5 && ended > 5, "{expired}, {ended}");
    world.act(&Action::StopClients).unwrap();
    world.run_until(world.now() + 6_000_000);
    assert_eq!(world.violation(), None);
    assert!(!world.observers.auditor.has_leases(), "leases without keep-alives end");
}

#[test]
fn stale_deadlines_are_detected() {
    let found = troubled(1, Some(InjectedBug::KeepsLeaseDeadlines));
    let found = found.violation().map(|violation| violation.invariant);
    assert_eq!(found, Some(Invariant::LeaseNotExpiredEarly));
}

/// A leader that was replaced keeps leases alive that the next leader ends.
#[test]
fn keep_alive_by_non_leader_is_detected() {
    let found = (1..40).find_map(|seed| {
        let world = troubled(seed, Some(InjectedBug::RenewsUnconfirmed));
        world.violation().map(|violation| violation.invariant)
    });
    assert_eq!(found, Some(Invariant::LeaseNotExpiredEarly));
}

#[test]
fn unattended_lease_stays() {
    let mut world = new(1, Some(InjectedBug::NeverExpiresLeases));
    world.run_until(10_000_000);
    world.act(&Action::StopClients).unwrap();
    world.run_until(60_000_000);
    assert!(world.observers.auditor.has_leases() && world.violation().is_none());
}

/// A read that was confirmed in an earlier term does not confirm the leadership of the same server
/// in a later term.
#[test]
fn keep_alive_is_valid_only_in_its_read_term() {
    let mut world = new(1, None);
    world.run_until(2_000_000);
    let node = leader(&world).unwrap();
    let term = world.raft(node).unwrap().term();
    let request = RequestId { kind: ClientKind::Lease, operation: 1_000, attempt: 1 };
    let mut answer = |term| {
        let keep_alive = world.keep_alive(1_000_000);
        let running = world.cluster.node_mut(node).unwrap().running_mut().unwrap();
        let ready = running.raft.commit_index();
        running.confirmed = vec![(ready, request, PendingRead::KeepAlive { keep_alive, term })];
        running.confirmed[0].0 = raft_core::LogIndex(running.kv.applied_index());
        world.answer_ready_reads(node);
        let message = world.cluster.client_messages.iter().next_back();
        message.and_then(|(_, message)| message.response.clone())
    };
    assert!(matches!(answer(term), Some(ClientResponse::KeptAlive(false))));
    let earlier = Term(term.0 - 1);
    assert!(matches!(answer(earlier), Some(ClientResponse::Redirect(None))));
}
