//! The package as it is used from JavaScript, in a browser.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use js_sys::JSON;
#[cfg(feature = "lessons")]
use raft_wasm::JsCheck;
use raft_wasm::{JsAction, JsScript, JsTarget, Simulation};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

fn json<T: JsCast>(text: &str) -> T {
    JSON::parse(text).expect("the JSON of a test is valid").unchecked_into()
}

fn simulation(script: &str) -> Simulation {
    Simulation::new(&json::<JsScript>(script)).expect("the script is valid")
}

fn act(simulation: &mut Simulation, action: &str) {
    simulation.act(&json::<JsAction>(action)).expect("the action is valid");
}

fn text(value: &JsValue) -> String {
    JSON::stringify(value).map(String::from).expect("the value has a JSON form")
}

/// The golden run has the same hash as natively, in debug and release builds.
#[wasm_bindgen_test]
fn the_golden_trace_is_that_of_native_code() {
    assert_eq!(raft_sim::golden_run(), raft_sim::GOLDEN_TRACE_HASH);
}

#[wasm_bindgen_test]
async fn two_hundred_traces_are_those_of_native_code() {
    let mut hash = 0;
    for first in (0..200).step_by(10) {
        hash = raft_sim::hash_of_seeds(hash, first..first + 10);
        // The test driver polls the browser for progress.
        let pause = js_sys::Function::new_with_args("resolve", "setTimeout(resolve)");
        let paused = js_sys::Promise::new(&mut |resolve, _| {
            pause.call1(&JsValue::NULL, &resolve).expect("the timer starts");
        });
        JsFuture::from(paused).await.expect("the timer ends");
    }
    assert_eq!(hash, raft_sim::GOLDEN_CAMPAIGN_HASH, "it is {hash:#x}");
}

#[wasm_bindgen_test]
fn a_cluster_elects_commits_and_survives_its_leader() {
    let mut simulation = simulation(r#"{"config": {"nodes": 3, "seed": 7}}"#);
    simulation.seek(2e6);
    act(
        &mut simulation,
        r#"{"do": "request", "request": {"op": "put", "key": "x", "value": "1"}}"#,
    );
    simulation.seek(3e6);
    let frame = simulation.frame().to_vec();
    let node = |id: usize, field: usize| frame[11 + (id - 1) * 16 + field];
    let leader = (1..=3).find(|id| node(*id, 2) == 3.0).expect("a leader is elected");
    for id in 1..=3 {
        let detail = text(&simulation.node(id as f64).expect("the node exists"));
        assert!(detail.contains(r#""key":"x","value":"1""#), "{detail}");
    }
    let term = node(leader, 3);
    act(&mut simulation, &format!(r#"{{"do": "crash", "node": {leader}}}"#));
    simulation.seek(6e6);
    let frame = simulation.frame().to_vec();
    let later =
        (1..=3).find(|id| frame[11 + (id - 1) * 16 + 2] == 3.0).expect("a leader is elected again");
    assert!(later != leader && frame[11 + (later - 1) * 16 + 3] > term);
}

#[wasm_bindgen_test]
fn a_script_makes_the_run() {
    let mut first = simulation(r#"{"config": {"seed": 42}}"#);
    first.seek(1e6);
    act(&mut first, r#"{"do": "partition", "groups": [[1, 2], [3, 4, 5]]}"#);
    first.seek(4e6);
    let mut second =
        Simulation::new(&first.script().expect("a script")).expect("the script is valid");
    second.seek(4e6);
    assert_eq!(first.trace_hash(), second.trace_hash());
    first.seek(5e5);
    first.seek(4e6);
    assert_eq!(first.trace_hash(), second.trace_hash());
    assert!(first.undo());
    assert_eq!(first.now(), 1e6);
}

#[wasm_bindgen_test]
fn steps_go_forward_and_back() {
    let mut simulation = simulation("{}");
    simulation.seek(1e6);
    let hash = simulation.trace_hash();
    assert!(simulation.step());
    let later = simulation.now();
    simulation.step_back();
    assert!(simulation.now() < later);
    simulation.seek(1e6);
    assert_eq!(simulation.trace_hash(), hash);
}

#[wasm_bindgen_test]
fn invalid_input_is_an_error_that_names_it() {
    let problem = |script: &str| match Simulation::new(&json::<JsScript>(script)) {
        Ok(_) => panic!("{script} was accepted"),
        Err(problem) => String::from(problem.message()),
    };
    assert!(problem(r#"{"config": {"nodes": 0}}"#).contains("nodes"));
    assert!(problem(r#"{"config": {"nodes": "many"}}"#).contains("is invalid"));
    assert!(problem(r#"{"config": {"colour": 1}}"#).contains("unknown setting: `colour`"));
    let action = r#"{"actions": [{"at": 1, "do": "power-cut"}, {"at": 2, "do": "explode"}]}"#;
    assert_eq!(problem(action), "action 2 is invalid: unknown variant `explode`");
    assert!(problem("[1]").contains("is invalid"));
    let mut simulation = simulation("{}");
    let error = |simulation: &mut Simulation, action: &str| {
        let refused = simulation.act(&json::<JsAction>(action));
        String::from(refused.expect_err("the script is invalid").message())
    };
    assert!(error(&mut simulation, r#"{"do": "crash", "node": 99}"#).contains("unknown node: 99"));
    assert!(error(&mut simulation, r#"{"do": "explode"}"#).contains("is invalid"));
    assert!(error(&mut simulation, r#"{"do": "restart", "node": 1}"#).contains("already running"));
}

#[wasm_bindgen_test]
fn settings_of_all_groups_are_read() {
    let settings = r#"{"seed":7,"nodes":3,"loss_per_mille":5,"sync":{"min":1,"max":2},"clients":2,"branches":true}"#;
    let simulation = simulation(&format!(r#"{{"config": {settings}}}"#));
    let script = text(&simulation.script().expect("a script"));
    let settings = [
        r#""seed":7"#,
        r#""nodes":3"#,
        r#""loss_per_mille":5"#,
        r#""sync_latency":{"min":1,"max":2}"#,
        r#""clients":2"#,
        r#""count_coverage":true"#,
    ];
    for setting in settings {
        assert!(script.contains(setting), "{setting}: {script}");
    }
}

#[wasm_bindgen_test]
fn the_types_name_everything_that_a_world_is_made_of() {
    let types = include_str!("../src/types.d.ts");
    let script: JsValue = simulation("{}").script().expect("a script").into();
    let config = js_sys::Reflect::get(&script, &"config".into()).expect("a configuration");
    let config: js_sys::Object = config.unchecked_into();
    for name in js_sys::Object::keys(&config).iter() {
        let name = name.as_string().expect("names are strings");
        assert!(types.contains(&format!("  {name}?: ")), "{name}");
    }
}

#[wasm_bindgen_test]
fn an_honest_history_is_found_linearizable() {
    let mut simulation = simulation(r#"{"config": {"clients": 3, "keys": 1, "seed": 5}}"#);
    simulation.seek(3e6);
    let verdict = text(&simulation.judge_history().expect("a verdict"));
    assert!(verdict.contains(r#""finding":"holds""#), "{verdict}");
    let rules = text(&raft_wasm::rules().expect("rules"));
    for rule in ["linearizability", "term-and-commit-monotonic", "quiescence"] {
        assert!(rules.contains(&format!(r#""rule":"{rule}""#)), "{rules}");
    }
}

#[wasm_bindgen_test]
fn action_in_the_past_forks_and_undo_returns() {
    let mut simulation = simulation(r#"{"config": {"seed": 42}}"#);
    simulation.seek(2e6);
    let hash = simulation.trace_hash();
    simulation.seek(1e6);
    act(&mut simulation, r#"{"do": "power-cut"}"#);
    simulation.seek(3e6);
    let branches = text(&simulation.branches().expect("branches"));
    assert!(branches.contains(r#""forked_at":1000000"#), "{branches}");
    let compared = text(&simulation.compare_branches(1, 2).expect("two branches"));
    assert!(compared.contains(r#""do":"power-cut""#), "{compared}");
    assert!(simulation.undo());
    simulation.seek(2e6);
    assert_eq!(simulation.trace_hash(), hash);
    assert!(simulation.redo() && simulation.now() == 3e6);
    simulation.delete_branch(1).expect("there is another");
    assert!(simulation.show_branch(1, 0.0).is_err());
}

#[wasm_bindgen_test]
fn run_to_an_election_tells_its_story() {
    let mut simulation = simulation(r#"{"config": {"seed": 42}}"#);
    let target = json::<JsTarget>(r#"{"to": "election"}"#);
    let progress = simulation.run_to(&target, 5e6, 1e6).expect("a target");
    assert_eq!(progress.as_string().as_deref(), Some("reached"));
    let groups = text(&simulation.story_groups(0.0, 1e6).expect("groups"));
    assert!(groups.contains("wins term 1 with 3 of 5 votes"), "{groups}");
    let records = text(&simulation.story_range(0.0, 1e6).expect("records"));
    assert!(records.contains(r#""event":"became-leader""#), "{records}");
}

/// Workers have such a canvas.
#[wasm_bindgen_test]
fn diagram_is_painted_on_an_offscreen_canvas() {
    let mut simulation = simulation(r#"{"config": {"seed": 42}}"#);
    simulation.seek(6e5);
    let canvas =
        js_sys::Function::new_no_args("return new OffscreenCanvas(600, 120).getContext('2d')");
    let canvas = canvas.call0(&JsValue::NULL).expect("a canvas");
    let colors = ["#111"; 13].map(String::from).into_iter().chain(["14px sans-serif".into()]);
    simulation.set_diagram_colors(colors.collect()).expect("14 texts");
    let view = [600.0, 120.0, 24.0, 16.0];
    simulation.paint_diagram(canvas.unchecked_ref(), 0.0, 6e5, &view, &[1.0]);
    let ink = "return canvas.getImageData(0, 0, 600, 120).data.filter((value) => value > 0).length";
    let ink = js_sys::Function::new_with_args("canvas", ink).call1(&JsValue::NULL, &canvas);
    let ink = ink.expect("pixels").as_f64().expect("a number");
    assert!(ink > 2_000.0, "{ink} values");
    let hit = text(&simulation.hit_diagram(0.0, 6e5, &view, 300.0, 32.0).expect("a hit"));
    assert!(hit.contains(r#""node":1"#), "{hit}");
    assert!(simulation.packed_diagram(0.0, 6e5).length() > 50);
}

#[cfg(feature = "lessons")]
#[wasm_bindgen_test]
fn task_of_a_lesson_is_checked() {
    let mut simulation = simulation(
        r#"{"config": {"pre_vote": false, "check_quorum": false}, "actions": [{"at": 1000, "do": "fire-timer", "node": 1}]}"#,
    );
    simulation.seek(6e5);
    let check = json::<JsCheck>(r#"{"check": "another-leader"}"#);
    assert!(!simulation.check_task(&check, 6e5).expect("a check"));
    act(&mut simulation, r#"{"do": "fire-timer", "node": 2}"#);
    simulation.seek(1.2e6);
    assert!(simulation.check_task(&check, 6e5).expect("a check"));
    assert!(simulation.check_task(&json::<JsCheck>(r#"{"check": "magic"}"#), 0.0).is_err());
}

#[wasm_bindgen_test]
fn impossible_actions_say_why() {
    let mut simulation = simulation("{}");
    let actions = [r#"{"do": "crash", "node": 1}"#, r#"{"do": "resume", "node": 1}"#];
    let actions = actions.map(json::<JsAction>).into_iter().collect();
    let answers = text(&simulation.possible_actions(actions).expect("answers"));
    assert_eq!(answers, r#"[null,"the process is not paused"]"#);
}

/// Actions are read by hand, and written as their types say.
#[wasm_bindgen_test]
fn every_action_is_read_as_it_is_written() {
    let span = r#"{"min":1,"max":2}"#;
    let mut actions: Vec<String> =
        ["crash", "restart", "pause", "resume", "fire-timer", "fail-disk"]
            .into_iter()
            .chain(["wipe-disk", "destroy-disk", "fill-disk", "free-disk", "isolate", "reconnect"])
            .chain(["take-snapshot"])
            .map(|name| format!(r#""do":"{name}","node":1"#))
            .collect();
    let plain = ["power-cut", "heal-network", "stop-clients", "go-on", "hold-messages"];
    let plain = plain.into_iter().chain(["release-messages", "align-timers", "spread-timers"]);
    actions.extend(plain.map(|name| format!(r#""do":"{name}""#)));
    let messages = ["drop-message", "duplicate-message", "deliver-message"];
    actions.extend(messages.map(|name| format!(r#""do":"{name}","message":7"#)));
    actions
        .extend(["cut-link", "heal-link"].map(|name| format!(r#""do":"{name}","from":1,"to":2"#)));
    let backs = ["corrupt-entry", "misdirect-write"];
    actions.extend(backs.map(|name| format!(r#""do":"{name}","node":1,"back":3"#)));
    actions.extend([
        r#""do":"delay-message","message":7,"by":9"#.into(),
        r#""do":"set-loss","from":1,"to":2,"loss_per_mille":5"#.into(),
        format!(r#""do":"set-latency","from":1,"to":2,"latency":{span}"#),
        format!(r#""do":"set-sync-latency","node":1,"sync_latency":{span}"#),
        format!(
            r#""do":"set-network","latency":{span},"loss_per_mille":1,"duplicate_per_mille":2"#
        ),
        r#""do":"set-clock","node":1,"drift":-5"#.into(),
        r#""do":"jump-clock","node":1,"by":5"#.into(),
        r#""do":"partition","groups":[[1,2],[3]]"#.into(),
        r#""do":"change-membership","voters":[1,2],"learners":[3],"joining":[4]"#.into(),
        r#""do":"transfer","to":2"#.into(),
        r#""do":"request","via":1,"request":{"op":"put","key":"x","value":"1"}"#.into(),
        r#""do":"request","request":{"op":"get","key":"x"}"#.into(),
        r#""do":"request","request":{"op":"delete","key":"x"}"#.into(),
        r#""do":"request","request":{"op":"cas","key":"x","expected":"1","value":"2"}"#.into(),
    ]);
    let types = include_str!("../src/types.d.ts");
    for action in actions {
        let name = action.split('"').nth(3).expect("a name");
        assert!(types.contains(&format!("\"{name}\"")), "{name}");
        let script = format!(r#"{{"actions":[{{"at":5,{action}}}]}}"#);
        let written = text(&simulation(&script).script().expect("a script"));
        let expected = format!(r#""actions":[{{"at":5,{action}}}]"#);
        assert!(written.contains(&expected), "{expected} is written as {written}");
        let wrong = format!(r#"{{"actions":[{{"at":5,"colour":1,{action}}}]}}"#);
        assert!(Simulation::new(&json::<JsScript>(&wrong)).is_err(), "{wrong}");
    }
}
