//! The lab: rules that servers do not follow, and a search for runs that violate an invariant.

use js_sys::Error;
use raft_core::{DisabledRules, Rule};
use raft_sim::Violation;
use raft_sim::campaign::{Campaign, shrink};
use raft_sim::{Invariant, Script};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::{read, write};

#[wasm_bindgen]
extern "C" {
    /// `CoreRule[]` in types.d.ts.
    #[wasm_bindgen(typescript_type = "CoreRule[]")]
    pub type JsCoreRules;
    /// `Found` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Found | undefined")]
    pub type JsFound;
    /// `Script` in types.d.ts.
    #[wasm_bindgen(typescript_type = "Script")]
    pub type JsLabScript;
}

/// A rule of the core, with its sentence and its source.
#[derive(Serialize)]
struct CoreRule {
    name: &'static str,
    text: &'static str,
    source: &'static str,
}

/// A run that violates an invariant.
#[derive(Serialize)]
struct Found {
    seed: u64,
    script: Script,
    violation: Violation,
}

/// The rules of the core that can be disabled.
///
/// # Errors
///
/// Never in practice.
#[wasm_bindgen(js_name = coreRules)]
pub fn core_rules() -> Result<JsCoreRules, Error> {
    let rule = |rule: &Rule| CoreRule {
        name: rule.name(),
        text: rule.description(),
        source: rule.reference(),
    };
    write(&Rule::ALL.iter().map(rule).collect::<Vec<_>>())
}

/// Plays the random run of a seed with faults and disabled rules. Returns the run if it violates an
/// invariant. A caller tries one seed after the other, and can stop between two.
///
/// # Errors
///
/// There is no such rule.
#[wasm_bindgen(js_name = trySeed)]
pub fn try_seed(rules: Vec<String>, seed: f64) -> Result<JsFound, Error> {
    let rules = rules.iter().try_fold(DisabledRules::default(), |disabled, name| {
        let rule = Rule::ALL.iter().find(|rule| rule.name() == name);
        let rule = rule.ok_or_else(|| Error::new(&format!("unknown rule: {name}")))?;
        Ok::<_, Error>(disabled.and(*rule))
    })?;
    let seed = seed.max(0.0) as u64;
    let report = Campaign::new(seed).with_disabled_rules(rules).run();
    let script = report.script;
    write(&report.violation.map(|violation| Found { seed, script, violation }))
}

/// A short run that violates the same invariant as a run that was found. It takes up to some
/// thousand runs.
///
/// # Errors
///
/// The script cannot be read, or the invariant is unknown.
#[wasm_bindgen(js_name = shrinkScript)]
pub fn shrink_script(script: &JsLabScript, invariant: &str, at: f64) -> Result<JsFound, Error> {
    let script = read::script(script)?;
    let invariant: Invariant = read::value("the invariant", &invariant.into())?;
    let violation = Violation { invariant, text: String::new(), at: at.max(0.0) as u64 };
    let seed = script.config.seed;
    let shrunk = shrink(&script, &violation);
    write(&shrunk.map(|it| Found { seed, script: it.script, violation: it.violation }))
}
