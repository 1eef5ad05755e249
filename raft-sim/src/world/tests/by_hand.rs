//! Tests of messages that are delivered by hand, and of timers that are arranged.

use crate::story::Flight;
use crate::world::World;
use crate::world::action::Action;
use crate::world::apply_action::ActionError;
use crate::world::config::{ClusterConfig, WorldConfig};

fn world() -> World {
    let cluster = ClusterConfig { nodes: 3, pre_vote: false, ..ClusterConfig::default() };
    let config = WorldConfig { cluster, seed: 7, ..WorldConfig::default() };
    World::new(config).unwrap()
}

fn act(world: &mut World, action: Action) {
    world.act(&action).unwrap();
}

#[test]
fn held_messages_arrive_by_hand_only() {
    let mut world = world();
    act(&mut world, Action::HoldMessages);
    act(&mut world, Action::FireTimer { node: 1 });
    world.run_until(100_000);
    let held: Vec<_> = world.messages().map(|it| (it.id, it.to)).collect();
    assert_eq!(held.iter().map(|(_, to)| *to).collect::<Vec<_>>(), [2, 3]);
    act(&mut world, Action::DeliverMessage { message: held[0].0 });
    world.run_until(120_000);
    assert_eq!(world.raft(2).unwrap().term().0, 1, "n2 got its request");
    assert_eq!(world.raft(3).unwrap().term().0, 0);
    let arrived = world.flights().find(|flight| flight.id == held[0].0).unwrap();
    assert_eq!((arrived.arrives_at, arrived.lost_at), (100_000, None));
    act(&mut world, Action::ReleaseMessages);
    world.run_until(300_000);
    assert_eq!(world.elections(), 1);
    assert_eq!(world.violation(), None);
}

#[test]
fn delayed_message_arrives_once_and_later() {
    let mut world = world();
    act(&mut world, Action::FireTimer { node: 1 });
    world.step();
    let (id, at) = world.messages().map(|it| (it.id, it.arrives_at)).next().unwrap();
    act(&mut world, Action::DelayMessage { message: id, by: 50_000 });
    world.run_until(at + 49_999);
    assert!(world.message(id).is_some());
    world.run_until(at + 50_000);
    assert!(world.message(id).is_none());
    let again = Action::DeliverMessage { message: id };
    assert_eq!(world.act(&again), Err(ActionError::NoSuchMessage(id)));
}

#[test]
fn link_with_full_loss_delivers_nothing() {
    let mut world = world();
    act(&mut world, Action::SetLoss { from: 1, to: 2, loss_per_mille: 1000 });
    act(&mut world, Action::FireTimer { node: 1 });
    world.run_until(1_000_000);
    let delivered = |it: &&Flight| (it.from, it.to) == (1, 2) && it.lost_at.is_none();
    assert_eq!(world.flights().find(delivered), None);
    let wrong = Action::SetLoss { from: 1, to: 2, loss_per_mille: 1001 };
    assert_eq!(world.act(&wrong), Err(ActionError::MoreThanAll));
}

#[test]
fn aligned_timers_fire_together_and_spread_ones_apart() {
    let deadlines = |world: &World| {
        let mut all: Vec<_> =
            (1..=3).filter_map(|node| world.election_timer(node)).map(|it| it.1).collect();
        all.sort_unstable();
        all
    };
    let mut world = world();
    let before = deadlines(&world);
    let mut spread = world.clone();
    act(&mut world, Action::AlignTimers);
    assert_eq!(deadlines(&world), [before[0]; 3]);
    act(&mut spread, Action::SpreadTimers);
    let after = deadlines(&spread);
    assert_eq!(after[0], before[0]);
    assert!((after[1] - after[0]).abs_diff(after[2] - after[1]) <= 1, "{after:?}");
}

#[test]
fn snapshot_is_taken_by_hand_once() {
    let mut world = world();
    let snapshot = Action::TakeSnapshot { node: 1 };
    assert_eq!(world.act(&snapshot), Err(ActionError::NothingToSnapshot(1)));
    world.run_until(1_000_000);
    act(&mut world, snapshot.clone());
    assert_eq!(world.log_bounds(1).unwrap().0, 1, "the log begins after the snapshot");
    assert_eq!(world.act(&snapshot), Err(ActionError::NothingToSnapshot(1)));
}
