//! `raft-sim` as a JavaScript package: a simulated cluster of real Raft servers in a browser tab.
//!
//! # Rules
//!
//! - **A [`Simulation`] is a tree of branches.** It shows one branch at one moment. A branch is a
//!   script: a configuration and the actions on it. An address of the page holds only the script of
//!   the shown branch. The same script gives the same run, event by event, in every browser and
//!   natively.
//! - **A frame is one typed array** ([`Simulation::frame`]). Its layout is documented in `frame.rs`
//!   and read by `www/model/decode-frame.js`. Details are objects, whose types are in `types.d.ts`.
//! - **A visitor loads no more than a picture needs.** The check of lessons, disabled rules and the
//!   search for violations are features of a second module.
//! - **Invalid input is a JavaScript error** that names the value. It changes nothing. A panic is a
//!   bug; its message is written to the console before the module traps.

mod detail;
mod diagram;
mod frame;
mod js_types;
#[cfg(all(feature = "sabotage", feature = "campaigns"))]
mod lab;
mod logs;
mod read;
mod verdict;

use diagram::{Colors, Past, View};
use js_sys::{Error, Float64Array};
pub use js_types::*;
#[cfg(feature = "lessons")]
use raft_sim::lesson::Check;
use raft_sim::{BranchId, Run};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::CanvasRenderingContext2d;

/// A simulated cluster at one time of its run. Times are in microseconds.
#[wasm_bindgen]
pub struct Simulation {
    run: Run,
    past: Past,
    colors: Option<Colors>,
}

/// The invariants of a [`Simulation`], in the order of the page.
///
/// # Errors
///
/// Never in practice.
#[wasm_bindgen]
pub fn rules() -> Result<JsRules, Error> {
    write(&verdict::rules())
}

/// [`raft_sim::hash_of_seeds`], in hexadecimal, of `count` seeds.
#[cfg(feature = "campaigns")]
#[must_use]
#[wasm_bindgen(js_name = hashOfSeeds)]
pub fn hash_of_seeds(first: f64, count: f64) -> String {
    let seeds = first as u64..(first + count) as u64;
    format!("{:016x}", raft_sim::hash_of_seeds(0, seeds))
}

/// Writes the messages of panics to the console.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        web_sys::console::error_1(&panic.to_string().into());
    }));
}

#[wasm_bindgen]
impl Simulation {
    /// Starts a run at time zero. Omitted parts of the script have their defaults.
    ///
    /// # Errors
    ///
    /// The script is invalid.
    #[wasm_bindgen(constructor)]
    pub fn new(script: &JsScript) -> Result<Simulation, Error> {
        let run = Run::new(read::script(script)?);
        Ok(Self { run: run.map_err(js_error)?, past: Past::default(), colors: None })
    }

    /// The present time.
    #[wasm_bindgen(getter)]
    pub fn now(&self) -> f64 {
        self.run.world().now() as f64
    }

    /// The script of this run.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn script(&self) -> Result<JsScript, Error> {
        write(self.run.script())
    }

    /// The time of the last action of the script; zero if there is none.
    #[wasm_bindgen(getter, js_name = lastActionAt)]
    pub fn last_action_at(&self) -> f64 {
        self.run.script().actions.last().map_or(0.0, |timed| timed.at as f64)
    }

    /// Moves to a time, forwards or backwards.
    pub fn seek(&mut self, time: f64) {
        self.run.seek(micros(time));
    }

    /// Processes the next event. Returns false if there is none.
    pub fn step(&mut self) -> bool {
        self.run.step()
    }

    /// Moves back to the time of the latest event.
    #[wasm_bindgen(js_name = stepBack)]
    pub fn step_back(&mut self) {
        let previous = self.run.previous_moment();
        self.run.seek(previous);
    }

    /// Moves towards a time by at most about so many events, so that the caller can report progress
    /// and stop. Returns true at the end.
    #[wasm_bindgen(js_name = seekPart)]
    pub fn seek_part(&mut self, time: f64, events: f64) -> bool {
        self.run.seek_part(micros(time), events.max(1.0) as u64)
    }

    /// Advances towards a target, at most to the time `bound` and by about so many events. The
    /// caller repeats this call while it returns `working`.
    ///
    /// # Errors
    ///
    /// The target is invalid.
    #[wasm_bindgen(js_name = runTo)]
    pub fn run_to(
        &mut self,
        target: &JsTarget,
        bound: f64,
        events: f64,
    ) -> Result<JsProgress, Error> {
        let target = read::target(target)?;
        write(&self.run.run_to(&target, micros(bound), events.max(1.0) as u64))
    }

    /// Applies an action now. If the shown branch has later actions, the run forks, and the new
    /// branch is shown.
    ///
    /// # Errors
    ///
    /// The action is invalid, or impossible in this world.
    pub fn act(&mut self, action: &JsAction) -> Result<(), Error> {
        let action = read::action("the action", action)?;
        self.past.clear();
        self.run.act(action).map_err(js_error)
    }

    /// For each of these actions, why it makes no sense now; nothing if it does.
    ///
    /// # Errors
    ///
    /// An action cannot be read.
    #[wasm_bindgen(js_name = possibleActions)]
    pub fn possible_actions(&mut self, actions: Vec<JsAction>) -> Result<JsWhyNots, Error> {
        let mut answers = Vec::new();
        for action in &actions {
            let action = read::action("the action", action)?;
            answers.push(self.run.why_not(&action).map(|why| why.to_string()));
        }
        write(&answers)
    }

    /// Moves to the branch without the last action before this moment. Returns false, and changes
    /// nothing, if no action was applied yet.
    pub fn undo(&mut self) -> bool {
        self.past.clear();
        self.run.undo()
    }

    /// Moves back to the branch and moment that the last undo left. Returns false, and changes
    /// nothing, if there is none.
    pub fn redo(&mut self) -> bool {
        self.past.clear();
        self.run.redo()
    }

    /// Returns true if there is an undone branch to return to.
    #[wasm_bindgen(getter, js_name = canRedo)]
    pub fn can_redo(&self) -> bool {
        self.run.can_redo()
    }

    /// All branches.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn branches(&self) -> Result<JsBranches, Error> {
        write(&self.run.branches())
    }

    /// The script of a branch.
    ///
    /// # Errors
    ///
    /// The branch is unknown.
    #[wasm_bindgen(js_name = branchScript)]
    pub fn branch_script(&self, id: u32) -> Result<JsScript, Error> {
        write(&self.run.branch_script(BranchId(id)).map_err(js_error)?)
    }

    /// Shows a branch at a moment.
    ///
    /// # Errors
    ///
    /// The branch is unknown.
    #[wasm_bindgen(js_name = showBranch)]
    pub fn show_branch(&mut self, id: u32, at: f64) -> Result<(), Error> {
        self.past.clear();
        self.run.show_branch(BranchId(id), micros(at)).map_err(js_error)
    }

    /// Names a branch; an empty text removes the name.
    ///
    /// # Errors
    ///
    /// The branch is unknown.
    #[wasm_bindgen(js_name = renameBranch)]
    pub fn rename_branch(&mut self, id: u32, name: String) -> Result<(), Error> {
        self.run.rename_branch(BranchId(id), Some(name)).map_err(js_error)
    }

    /// Deletes a branch. Branches that were forked from it stay.
    ///
    /// # Errors
    ///
    /// The branch is unknown, or it is the only one.
    #[wasm_bindgen(js_name = deleteBranch)]
    pub fn delete_branch(&mut self, id: u32) -> Result<(), Error> {
        self.past.clear();
        self.run.delete_branch(BranchId(id)).map_err(js_error)
    }

    /// Compares two branches.
    ///
    /// # Errors
    ///
    /// A branch is unknown, or both are the same.
    #[wasm_bindgen(js_name = compareBranches)]
    pub fn compare_branches(&self, one: u32, other: u32) -> Result<JsComparison, Error> {
        write(&self.run.compare(BranchId(one), BranchId(other)).map_err(js_error)?)
    }

    /// The frame of the present time.
    pub fn frame(&self) -> Float64Array {
        Float64Array::from(&frame::encode_frame(&self.run)[..])
    }

    /// The records with the numbers `from` to `to` (exclusive). Earlier parts of the run are
    /// simulated again.
    ///
    /// # Errors
    ///
    /// Never in practice.
    #[wasm_bindgen(js_name = storyRange)]
    pub fn story_range(&self, from: f64, to: f64) -> Result<JsStory, Error> {
        write(&self.run.records(from.max(0.0) as u64..to.max(0.0) as u64))
    }

    /// The kept records from a number on. A jump discards earlier records; see `storyRange`.
    ///
    /// # Errors
    ///
    /// Never in practice.
    #[wasm_bindgen(js_name = storySince)]
    pub fn story_since(&self, id: f64) -> Result<JsStory, Error> {
        let records = self.run.world().story_since(id.max(0.0) as u64);
        write(&records.collect::<Vec<_>>())
    }

    /// The records with the numbers `from` to `to` (exclusive) in groups, such as one election.
    ///
    /// # Errors
    ///
    /// Never in practice.
    #[wasm_bindgen(js_name = storyGroups)]
    pub fn story_groups(&self, from: f64, to: f64) -> Result<JsGroups, Error> {
        let records = self.run.records(from.max(0.0) as u64..to.max(0.0) as u64);
        write(&self.run.grouped(&records))
    }

    /// The step with this number at a moment, and the steps that led to it, the latest first.
    ///
    /// # Errors
    ///
    /// Never in practice.
    #[wasm_bindgen(js_name = causesOf)]
    pub fn causes_of(&self, step: f64, at: f64) -> Result<JsLinks, Error> {
        let (at, step) = (micros(at), step.max(0.0) as u64);
        let world = self.run.world_with_story(at.saturating_sub(CAUSES_SHOWN), at);
        write(&world.causes(step))
    }

    /// The steps to which the step with this number at a moment led, up to the present moment.
    ///
    /// # Errors
    ///
    /// Never in practice.
    #[wasm_bindgen(js_name = consequencesOf)]
    pub fn consequences_of(&self, step: f64, at: f64) -> Result<JsLinks, Error> {
        let (at, step) = (micros(at), step.max(0.0) as u64);
        let until = at.saturating_add(CAUSES_SHOWN).min(self.run.world().now());
        let world = self.run.world_with_story(at, until);
        write(&world.consequences(step))
    }

    /// The space-time diagram of a window of time as numbers: see `Diagram` in types.d.ts.
    #[wasm_bindgen(js_name = diagram)]
    pub fn packed_diagram(&mut self, from: f64, to: f64) -> Float64Array {
        let diagram = self.past.diagram(&self.run, micros(from), micros(to));
        Float64Array::from(&diagram.pack()[..])
    }

    /// Sets the colours of the painted diagram: `ink`, `ink-3`, `line`, `sunken`, `surface`,
    /// `fault`, the seven `-ink` colours of the terms from 0 on, and the font of labels.
    ///
    /// # Errors
    ///
    /// There are fewer than 14 texts.
    #[wasm_bindgen(js_name = setDiagramColors)]
    pub fn set_diagram_colors(&mut self, tokens: Vec<String>) -> Result<(), Error> {
        let count = tokens.len();
        let colors = Colors::new(tokens);
        let missing = || Error::new(&format!("too few colours: {count}; give 14 texts"));
        self.colors = Some(colors.ok_or_else(missing)?);
        Ok(())
    }

    /// Paints the space-time diagram of a window of time on a canvas, in a page or in a worker. The
    /// canvas is scaled to CSS pixels, in which `view` gives its width and height, the height above
    /// the first lane, and the height of a lane. `selected` are numbers of messages that stand out.
    #[wasm_bindgen(js_name = paintDiagram)]
    pub fn paint_diagram(
        &mut self,
        canvas: &CanvasRenderingContext2d,
        from: f64,
        to: f64,
        view: &[f64],
        selected: &[f64],
    ) {
        let (Some(colors), Some(view)) = (&self.colors, view_of(from, to, view)) else {
            return;
        };
        let diagram = self.past.diagram(&self.run, micros(from), micros(to));
        diagram::paint(canvas, colors, &diagram, &view, self.run.world().now(), selected);
    }

    /// The object at a place of the painted diagram: see `DiagramHit` in types.d.ts.
    ///
    /// # Errors
    ///
    /// Never in practice.
    #[wasm_bindgen(js_name = hitDiagram)]
    pub fn hit_diagram(
        &mut self,
        from: f64,
        to: f64,
        view: &[f64],
        x: f64,
        y: f64,
    ) -> Result<JsHit, Error> {
        let diagram = self.past.diagram(&self.run, micros(from), micros(to));
        let now = self.run.world().now();
        write(&view_of(from, to, view).map(|view| view.hit(&diagram, now, x, y)))
    }

    /// Everything about a node.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn node(&self, id: f64) -> Result<JsNodeDetail, Error> {
        write(&detail::node(self.run.world(), id as u64))
    }

    /// The details of a message that is in flight or was lost recently.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn message(&self, id: f64) -> Result<JsMessageDetail, Error> {
        write(&detail::message(self.run.world(), id as u64))
    }

    /// The newest entries of all logs, and the end of each log that lags.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn logs(&self) -> Result<JsLogs, Error> {
        write(&logs::window(self.run.world()))
    }

    /// The actions of the script that are impossible with this configuration.
    ///
    /// # Errors
    ///
    /// Never in practice.
    #[wasm_bindgen(js_name = impossibleActions)]
    pub fn impossible_actions(&self) -> Result<JsImpossible, Error> {
        let impossible = self.run.impossible_actions().into_iter();
        let impossible =
            impossible.map(|(position, error)| Impossible { position, problem: error.to_string() });
        write(&impossible.collect::<Vec<_>>())
    }

    /// A request of a client by its number.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn asking(&self, id: f64) -> Result<JsAsking, Error> {
        write(&self.run.world().asking(id as u64))
    }

    /// Whether the task of a lesson is done at this moment of the shown branch: its condition came
    /// about since `t0`, and no invariant is violated.
    ///
    /// # Errors
    ///
    /// The check cannot be read.
    #[cfg(feature = "lessons")]
    #[wasm_bindgen(js_name = checkTask)]
    pub fn check_task(&self, check: &JsCheck, t0: f64) -> Result<bool, Error> {
        let check: Check = read::value("the check", check)?;
        Ok(self.run.check(&check, micros(t0)))
    }

    /// The latest `limit` requests of clients.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn askings(&self, limit: usize) -> Result<JsAskings, Error> {
        let all: Vec<_> = self.run.world().askings().collect();
        write(&all[all.len().saturating_sub(limit)..])
    }

    /// The first violation, if there is one.
    ///
    /// # Errors
    ///
    /// Never in practice.
    pub fn violation(&self) -> Result<JsViolation, Error> {
        write(&self.run.world().violation())
    }

    /// Checks whether the history of the clients is linearizable. The effort is limited, so that
    /// the page can repeat the check while time passes.
    ///
    /// # Errors
    ///
    /// Never in practice.
    #[wasm_bindgen(js_name = judgeHistory)]
    pub fn judge_history(&self) -> Result<JsVerdict, Error> {
        write(&verdict::judge(self.run.world()))
    }

    /// The hash of the trace, in hexadecimal.
    #[wasm_bindgen(js_name = traceHash)]
    pub fn trace_hash(&self) -> String {
        format!("{:016x}", self.run.world().trace_hash())
    }
}

/// An impossible action, and the reason.
#[derive(Serialize)]
struct Impossible {
    position: usize,
    problem: String,
}

/// Causes and consequences are followed so far, in microseconds.
const CAUSES_SHOWN: u64 = 5_000_000;

/// The view of a diagram from `[width, height, top, lane]`.
fn view_of(from: f64, to: f64, view: &[f64]) -> Option<View> {
    let [width, height, top, lane] = *view else { return None };
    Some(View { from, to, width, height, top, lane })
}

fn micros(time: f64) -> u64 {
    time.clamp(0.0, 9e15) as u64
}

fn js_error(problem: impl std::fmt::Display) -> Error {
    Error::new(&problem.to_string())
}

fn write<T: JsCast>(value: &(impl Serialize + ?Sized)) -> Result<T, Error> {
    let serializer =
        serde_wasm_bindgen::Serializer::json_compatible().serialize_missing_as_null(false);
    let written = value.serialize(&serializer);
    let written = written.map_err(|problem| Error::new(&problem.to_string()))?;
    Ok(written.unchecked_into())
}
