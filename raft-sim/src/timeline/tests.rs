//! Tests of runs and their branches.

use super::*;
use crate::story::LogRecord;
use crate::util::rng::SimRng;
use crate::world::action::Request;
use crate::world::config::{ClusterConfig, DiskConfig, NetworkConfig, WorkloadConfig, WorldConfig};

fn run(seed: u64, actions: Vec<TimedAction>) -> Run {
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 3, ..ClusterConfig::default() },
        seed,
        ..WorldConfig::default()
    };
    Run::new(Script { config, actions }).unwrap()
}

fn crash(at: u64, node: u64) -> TimedAction {
    TimedAction { at, action: Action::Crash { node } }
}

fn random_action(random: &mut SimRng) -> Action {
    let node = random.within(1..=3);
    let put = |value: u64| Request::Put { key: "x".into(), value: value.to_string() };
    match random.below(8) {
        0 => Action::Crash { node },
        1 | 2 => Action::Restart { node },
        3 => Action::Isolate { node },
        4 => Action::HealNetwork,
        5 => Action::FireTimer { node },
        _ => Action::Request { via: None, request: put(random.below(100)) },
    }
}

/// The script, the moment and the number of actions done decide everything else.
fn assert_replays(run: &Run) {
    let mut again = Run::new(run.script().clone()).unwrap();
    again.seek(run.world().now());
    assert_eq!(again.world().now(), run.world().now());
    assert_eq!(again.done(), run.done());
    assert_eq!(again.world().trace_hash(), run.world().trace_hash());
}

#[test]
fn undo_before_first_action_changes_nothing() {
    let mut run = run(42, vec![crash(400_000, 1), crash(900_000, 2)]);
    run.seek(120_000);
    assert!(!run.undo());
    assert_eq!(run.script().actions.len(), 2);
    assert_eq!(run.world().now(), 120_000);
    run.seek(1_000_000);
    assert_eq!(run.done(), 2);
    assert_replays(&run);
}

/// The scripts of all branches.
fn scripts(run: &Run) -> Vec<Vec<TimedAction>> {
    let branches = run.branches().into_iter();
    branches.map(|branch| run.branch_script(branch.id).unwrap().actions).collect()
}

#[test]
fn action_in_the_past_forks_and_keeps_both_branches() {
    let mut run = run(42, vec![crash(400_000, 1), crash(900_000, 2)]);
    run.seek(600_000);
    run.act(Action::HealNetwork).unwrap();
    let forked = vec![crash(400_000, 1), TimedAction { at: 600_000, action: Action::HealNetwork }];
    assert_eq!(run.script().actions, forked);
    assert_eq!(scripts(&run), [vec![crash(400_000, 1), crash(900_000, 2)], forked]);
    let branches = run.branches();
    assert_eq!((branches[1].parent, branches[1].forked_at), (Some(branches[0].id), 600_000));
    assert_eq!((branches[1].shared, branches[1].actions, branches[1].shown), (1, 2, true));
    assert_replays(&run);
}

#[test]
fn action_before_visited_moment_forks() {
    let mut run = run(42, Vec::new());
    run.seek(2_000_000);
    run.seek(1_000_000);
    run.act(Action::Crash { node: 1 }).unwrap();
    assert_eq!(scripts(&run), [vec![], vec![crash(1_000_000, 1)]]);
    run.act(Action::Crash { node: 2 }).unwrap();
    run.seek(3_000_000);
    run.act(Action::Restart { node: 2 }).unwrap();
    assert_eq!(run.branches().len(), 2, "the end of a branch grows");
}

#[test]
fn undo_and_redo_move_between_branches() {
    let mut run = run(42, vec![crash(400_000, 1), crash(900_000, 2)]);
    run.seek(1_500_000);
    let hash = run.world().trace_hash();
    assert!(run.undo() && run.undo());
    assert_eq!((run.world().now(), run.done()), (400_000, 0));
    assert!(run.script().actions.is_empty());
    assert!(run.redo());
    assert_eq!((run.world().now(), run.script().actions.len()), (900_000, 1));
    assert!(run.redo() && !run.redo());
    assert_eq!((run.world().now(), run.world().trace_hash()), (1_500_000, hash));
    assert_eq!(scripts(&run).len(), 1, "branches on which nothing happened are gone");
}

#[test]
fn undo_of_first_action_of_fork_returns_to_parent() {
    let mut run = run(42, vec![crash(400_000, 1), crash(900_000, 2)]);
    run.seek(600_000);
    run.act(Action::HealNetwork).unwrap();
    assert!(run.undo());
    assert_eq!(run.script().actions.len(), 2);
    assert_eq!((run.world().now(), run.done()), (600_000, 1));
    assert_eq!(run.branches().len(), 2);
}

#[test]
fn repeated_action_returns_to_its_branch() {
    let mut run = run(42, vec![crash(400_000, 1)]);
    run.seek(700_000);
    assert!(run.undo());
    run.seek(600_000);
    run.seek(400_000);
    run.act(Action::Crash { node: 1 }).unwrap();
    assert_eq!(run.script().actions, [crash(400_000, 1)]);
    assert_eq!(scripts(&run), [vec![crash(400_000, 1)], vec![]]);
}

#[test]
fn deleted_branch_leaves_its_children() {
    let mut run = run(42, vec![crash(400_000, 1), crash(900_000, 2)]);
    let first = run.shown_branch();
    assert_eq!(run.delete_branch(first), Err(BranchError::Only));
    run.seek(600_000);
    run.act(Action::HealNetwork).unwrap();
    let second = run.shown_branch();
    run.seek(800_000);
    run.seek(700_000);
    run.act(Action::PowerCut).unwrap();
    let third = run.shown_branch();
    run.delete_branch(second).unwrap();
    assert_eq!(run.shown_branch(), third);
    let branches = run.branches();
    assert_eq!(branches.iter().map(|it| it.parent).collect::<Vec<_>>(), [None, Some(first)]);
    assert_eq!((branches[1].forked_at, branches[1].shared), (600_000, 1));
    run.delete_branch(third).unwrap();
    assert_eq!((run.shown_branch(), run.world().now()), (first, 700_000));
    assert_replays(&run);
    assert_eq!(run.rename_branch(third, None), Err(BranchError::Unknown(third)));
}

#[test]
fn random_acts_moves_and_seeks_keep_script_and_trace_equal() {
    for seed in 0..40 {
        let mut random = SimRng::new(seed);
        let mut run = run(seed, Vec::new());
        // The actions that are done, and all that were ever done in a row.
        let mut expected: Vec<TimedAction> = Vec::new();
        let mut ever: Vec<Vec<TimedAction>> = Vec::new();
        let mut left = Vec::new();
        for _ in 0..40 {
            match random.below(9) {
                0 | 1 => {
                    let (at, action) = (run.world().now(), random_action(&mut random));
                    if run.act(action.clone()).is_ok() {
                        expected.push(TimedAction { at, action });
                        ever.push(expected.clone());
                        left.clear();
                    }
                }
                2 => {
                    let before = (run.world().now(), run.script().clone(), run.done());
                    assert_eq!(run.undo(), !expected.is_empty());
                    if expected.pop().is_some() {
                        left.push(before);
                    }
                }
                3 => {
                    let back = left.pop();
                    assert_eq!(run.redo(), back.is_some());
                    if let Some(back) = back {
                        assert_eq!((run.world().now(), run.script().clone(), run.done()), back);
                        expected = back.1.actions[..back.2].to_vec();
                    }
                }
                4 => {
                    run.step();
                }
                5 => {
                    let previous = run.previous_moment();
                    assert!(previous < run.world().now() || run.world().now() == 0);
                    run.seek(previous);
                }
                6 => {
                    let branches = run.branches();
                    let branch = &branches[random.below(branches.len() as u64) as usize];
                    run.show_branch(branch.id, random.below(2_000_000)).unwrap();
                    left.clear();
                }
                _ => run.seek(random.below(2_000_000)),
            }
            let done = &run.script().actions[..run.done()];
            assert!(done.iter().all(|timed| timed.at <= run.world().now()), "seed {seed}");
            expected = match expected.as_slice() == done {
                true => expected,
                // A seek does and undoes actions of the same script.
                false => done.to_vec(),
            };
        }
        assert_replays(&run);
        let scripts = scripts(&run);
        for actions in ever {
            let is_kept = |script: &Vec<TimedAction>| script.starts_with(&actions);
            assert!(scripts.iter().any(is_kept), "seed {seed}: a branch is lost");
        }
    }
}

#[test]
fn step_passes_events_that_an_action_leads_to_at_once() {
    let at_once = crate::DurationRange::new(0, 0);
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 3, ..ClusterConfig::default() },
        disk: DiskConfig { sync_latency: at_once, ..DiskConfig::default() },
        network: NetworkConfig { latency: at_once, ..NetworkConfig::default() },
        ..WorldConfig::default()
    };
    let mut run = Run::new(Script { config, actions: Vec::new() }).unwrap();
    run.seek(1_000);
    run.act(Action::FireTimer { node: 1 }).unwrap();
    let mut moments = vec![run.world().now()];
    for _ in 0..5 {
        assert!(run.step());
        moments.push(run.world().now());
    }
    assert!(moments.is_sorted_by(|one, other| one < other), "{moments:?}");
    assert_replays(&run);
}

/// The number of checkpoints is bounded, and so is the number of events that a jump replays.
#[test]
fn long_run_has_bounded_checkpoints_and_short_jumps() {
    let (most, spacing) = (32, 100);
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 1, ..ClusterConfig::default() },
        workload: WorkloadConfig { clients: 1, ..WorkloadConfig::default() },
        seed: 7,
        ..WorldConfig::default()
    };
    let script = Script { config, actions: Vec::new() };
    let mut run = Run::with_checkpoints(script, most, spacing).unwrap();
    let end = 300_000_000;
    run.seek(end);
    run.seek(end / 3);
    run.act(Action::Pause { node: 1 }).unwrap();
    run.act(Action::Resume { node: 1 }).unwrap();
    run.seek(end);
    let first = run.branches()[0].id;
    run.show_branch(first, end).unwrap();
    assert!(run.checkpoints() <= most && run.checkpoints() > most / 4);
    let replayed_max = 8 * run.world().events() / most as u64;
    for at in (0..end).step_by(7_777_777) {
        let (checkpoint, _) = run.checkpoint_before(at);
        let start = checkpoint.world.events();
        run.seek(at);
        let replayed = run.world().events() - start;
        assert!(replayed <= replayed_max, "{replayed} events to {at}, more than {replayed_max}");
    }
}

#[test]
fn forgotten_records_are_played_again() {
    let config = WorldConfig {
        cluster: ClusterConfig { nodes: 3, ..ClusterConfig::default() },
        workload: WorkloadConfig { clients: 1, ..WorkloadConfig::default() },
        seed: 5,
        ..WorldConfig::default()
    };
    let mut run = Run::new(Script { config, actions: vec![crash(4_000_000, 1)] }).unwrap();
    run.seek(30_000_000);
    let all: Vec<_> = run.world().story_since(0).cloned().collect();
    run.seek(20_000_000);
    let kept = run.world().story_since(0).next().unwrap().id;
    assert!(kept > 100, "a jump forgets");
    let end = run.world().story_length();
    assert_eq!(run.records(0..u64::MAX), all[..end]);
    assert_eq!(run.records(7..90), all[7..90]);
    assert_eq!(run.records(end as u64..u64::MAX), []);
    let past = run.world_with_story(3_000_000, 5_000_000);
    let in_window = |record: &&LogRecord| (3_000_000..=5_000_000).contains(&record.at);
    assert!(past.story_since(0).filter(in_window).eq(all.iter().filter(in_window)));
    assert!(past.flights().any(|flight| flight.sent_at < 3_100_000));
}

#[test]
fn seek_in_parts_ends_at_the_same_world() {
    let mut run = run(3, vec![crash(400_000, 1)]);
    run.seek(3_000_000);
    let hash = run.world().trace_hash();
    run.seek(0);
    let mut parts = 0;
    while !run.seek_part(3_000_000, 20) {
        parts += 1;
    }
    assert!(parts > 5);
    assert_eq!((run.world().now(), run.world().trace_hash()), (3_000_000, hash));
}

#[test]
fn run_to_stops_at_each_kind_of_target() {
    let mut run = run(7, Vec::new());
    let to = |run: &mut Run, target: Target| run.run_to(&target, 10_000_000, u64::MAX);
    assert_eq!(to(&mut run, Target::Election), Progress::Reached);
    assert_eq!(run.world().elections(), 1);
    let leader = (1..=3).find(|node| Condition::Leader.holds(run.world(), *node)).unwrap();
    assert_eq!(to(&mut run, Target::Commit), Progress::Reached);
    assert_eq!(run.world().committed_entries(), 1);
    assert_eq!(to(&mut run, Target::Message { node: Some(leader) }), Progress::Reached);
    let before = run.world().step_count();
    assert_eq!(to(&mut run, Target::Event { node: leader }), Progress::Reached);
    assert!(run.world().step_count() > before);
    run.act(Action::Crash { node: leader }).unwrap();
    let condition = Condition::Term { least: 2 };
    let other = leader % 3 + 1;
    assert_eq!(to(&mut run, Target::Condition { node: other, condition }), Progress::Reached);
    assert_eq!(run.world().raft(other).unwrap().term().0, 2);
    let at = run.world().now();
    assert_eq!(run.run_to(&Target::Violation, at + 1_000, u64::MAX), Progress::Bound);
    assert_eq!(run.world().now(), at + 1_000);
    assert_eq!(run.run_to(&Target::Violation, u64::MAX, 10), Progress::Working);
    assert_replays(&run);
    let mut broken = broken();
    broken.seek(1_000_000);
    assert_eq!(broken.run_to(&Target::Violation, u64::MAX, u64::MAX), Progress::Reached);
    assert_eq!(broken.run_to(&Target::Violation, u64::MAX, u64::MAX), Progress::Ended);
}

#[test]
fn compared_branches_part_at_their_first_difference() {
    let mut run = run(42, Vec::new());
    run.seek(1_000_000);
    let first = run.shown_branch();
    let leader = (1..=3).find(|node| Condition::Leader.holds(run.world(), *node)).unwrap();
    run.seek(2_000_000);
    run.seek(1_000_000);
    run.act(Action::Crash { node: leader }).unwrap();
    run.seek(4_000_000);
    let second = run.shown_branch();
    let compared = run.compare(first, second).unwrap();
    let parting = compared.parting.unwrap();
    assert_eq!((compared.shared, parting.at), (0, 1_000_000));
    assert_eq!(parting.actions, [None, Some(crash(1_000_000, leader))]);
    assert!(parting.events.iter().any(Option::is_some), "{:?}", parting.events);
    let [one, other] = compared.endings;
    assert_eq!((one.at, one.leader, one.term), (2_000_000, Some(leader), 1));
    assert!(other.at == 4_000_000 && other.leader != Some(leader) && other.term > 1);
    assert_eq!(run.compare(first, first), Err(BranchError::Same));
}

#[test]
fn impossible_actions_are_named() {
    let mut run = run(1, vec![crash(10, 9), crash(20, 1), crash(30, 1)]);
    assert_eq!(run.impossible_actions(), [(0, ActionError::NoSuchNode(9))]);
    run.seek(100);
    let story: Vec<_> = run.world().story_since(0).map(LogRecord::text).collect();
    for sentence in [
        "Action 1 of this run has no effect: unknown node: 9",
        "Action 3 of this run has no effect: n1 is not running",
    ] {
        assert!(story.iter().any(|text| text == sentence), "{story:?}");
    }
}

/// All disks are lost after an entry was committed.
fn broken() -> Run {
    let wipe = |node| TimedAction { at: 1_000_000, action: Action::WipeDisk { node } };
    let mut run = run(7, vec![wipe(1), wipe(2), wipe(3), crash(30_000_000, 1)]);
    run.seek(40_000_000);
    run
}

#[test]
fn run_goes_on_after_violation_on_request() {
    let mut run = broken();
    assert!(run.world().has_ended());
    let at = run.world().now();
    assert_eq!(run.done(), 3, "the crash is later");
    assert_eq!(run.act(Action::HealNetwork), Err(ActionError::Ended));
    run.act(Action::GoOn).unwrap();
    run.seek(at + 1_000_000);
    assert_eq!(run.world().now(), at + 1_000_000);
    assert!(run.world().violation().is_some(), "the violation stays visible");
    assert_replays(&run);
    assert_eq!(run.act(Action::GoOn), Err(ActionError::NotEnded));
    assert!(run.undo());
    assert!(run.world().has_ended());
    assert_eq!(run.world().now(), at);
    assert_replays(&run);
}

#[test]
fn earlier_names_of_settings_and_actions_are_read() {
    for (earlier, present) in crate::EARLIER_SETTING_NAMES {
        let config = serde_json::to_value(WorldConfig::default()).unwrap();
        // A list without elements is left out.
        let value = config.get(present).cloned().unwrap_or_else(|| serde_json::json!([[1]]));
        let read = |name: &str| {
            let config = serde_json::json!({ "config": { name: value } });
            serde_json::from_value::<Script>(config).unwrap()
        };
        assert_eq!(read(earlier), read(present), "{earlier}");
    }
    let sync = serde_json::json!({ "min": 1, "max": 2 });
    for (earlier, present) in [
        (serde_json::json!({ "do": "timeout", "node": 1 }), Action::FireTimer { node: 1 }),
        (serde_json::json!({ "do": "lose-disk", "node": 1 }), Action::DestroyDisk { node: 1 }),
        (
            serde_json::json!({ "do": "rot-disk", "node": 1, "back": 2 }),
            Action::CorruptEntry { node: 1, back: 2 },
        ),
        (
            serde_json::json!({ "do": "set-disk", "node": 1, "sync": sync }),
            Action::SetSyncLatency {
                node: 1,
                sync_latency: crate::DurationRange { min: 1, max: 2 },
            },
        ),
    ] {
        assert_eq!(serde_json::from_value::<Action>(earlier).unwrap(), present);
    }
}
