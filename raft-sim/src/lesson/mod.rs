//! Lessons: a course that is played in the simulator.
//!
//! A lesson is a file in `raft-sim/lessons/`. It has a run up to a moment t0, a question, tasks
//! with a [`Check`], and an experiment with a disabled rule. The engine decides from states, events
//! and actions whether a task is done, never from texts. The program `course` writes them as data
//! for the page, which needs [`Check`] alone from this crate.

mod check;
#[cfg(feature = "scenarios")]
mod file;
mod play;
#[cfg(feature = "scenarios")]
#[cfg(test)]
mod tests;

pub use check::Check;
#[cfg(feature = "scenarios")]
pub use file::{
    BreakIt, Guide, GuideStep, Lesson, LessonError, LessonRun, LessonStep, Prediction, Question,
    Quiz, Solution, Task,
};
