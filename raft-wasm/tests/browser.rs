//! The package as it is used from JavaScript, in a browser.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use js_sys::JSON;
use raft_wasm::{JsAction, JsScript, Simulation};
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
    assert!(error(&mut simulation, r#"{"do": "crash", "node": 99}"#).contains("no node 99"));
    assert!(error(&mut simulation, r#"{"do": "explode"}"#).contains("is invalid"));
    assert!(error(&mut simulation, r#"{"do": "restart", "node": 1}"#).contains("running already"));
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
