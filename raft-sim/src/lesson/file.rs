//! The files of lessons, of the guided first minute and of the quiz, which are TOML.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check::invariants::Invariant;
use crate::lesson::Check;
use crate::timeline::{Script, Target, TimedAction};
use crate::world::World;
use crate::world::action::Action;
use crate::world::config::WorldConfig;

/// A lesson as it stands in its file. Times are in seconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lesson {
    /// Its place in the course, from 1.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// The section of the paper or dissertation that contains the rule.
    pub source: String,
    /// Whether it belongs to the short course.
    #[serde(default)]
    pub short_course: bool,
    /// The ability that a learner has after the lesson.
    pub goal: String,
    /// The first sentences.
    pub opening: String,
    /// The run up to the moment t0.
    pub run: LessonRun,
    /// The question before the answer is seen.
    pub predict: Prediction,
    /// The tasks for the learner.
    #[serde(default, rename = "task")]
    pub tasks: Vec<Task>,
    /// Experiments with disabled rules or lost promises.
    #[serde(default, rename = "break")]
    pub breaks: Vec<BreakIt>,
    /// The sentence to remember.
    pub takeaway: String,
    /// A real incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<String>,
}

/// A run with the moment at which the learner takes over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LessonRun {
    /// The settings that differ from the defaults.
    #[serde(default)]
    pub config: WorldConfig,
    /// The actions, in order of time.
    #[serde(default)]
    pub schedule: Vec<LessonStep>,
    /// The moment at which time stops.
    pub t0: f64,
}

/// An action and its moment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LessonStep {
    /// The time of the action, in seconds.
    pub at: f64,
    /// The action.
    #[serde(flatten)]
    pub action: Action,
}

/// A question whose answer the run shows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// Actions before the question, in addition to those of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<LessonStep>,
    /// The moment of the question; t0 if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<f64>,
    /// The moment up to which the run shows the answer.
    pub until: f64,
    /// The question and its answers.
    #[serde(flatten)]
    pub question: Question,
}

/// A question with answers to choose from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The question.
    pub question: String,
    /// The answers.
    pub options: Vec<String>,
    /// The right answers, counted from 0.
    pub right: Vec<usize>,
    /// The reason why these answers are right.
    pub explanation: String,
}

/// A task for the learner.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The instruction.
    pub text: String,
    /// Help for those who ask for it.
    pub hint: String,
    /// The condition that ends the task.
    pub check: Check,
    /// Another run than that of the lesson.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<LessonRun>,
    /// Whether the task is done without any action, by waiting.
    #[serde(default)]
    pub untouched: bool,
    /// One way to do it.
    pub solution: Solution,
}

/// One way to do a task.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Solution {
    /// The world, if it differs from that of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<WorldConfig>,
    /// The actions after t0, in order of time.
    #[serde(default)]
    pub schedule: Vec<LessonStep>,
    /// When the condition holds.
    pub until: f64,
}

/// An experiment in which something breaks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakIt {
    /// The description of the actions and their outcome.
    pub text: String,
    /// The disabled rules.
    #[serde(default)]
    pub rules: Vec<String>,
    /// The world, if it differs from that of the lesson's run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<WorldConfig>,
    /// The actions, in order of time.
    pub schedule: Vec<LessonStep>,
    /// The time at which the outcome is visible, in seconds.
    pub until: f64,
    /// The invariant that is violated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invariant: Option<Invariant>,
    /// The outcome, if no invariant is violated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Whether the outcome depends on the seed of the configuration.
    #[serde(default)]
    pub seeded: bool,
}

/// The guided first minute.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guide {
    /// The world.
    pub config: WorldConfig,
    /// One sentence after the other.
    #[serde(rename = "step")]
    pub steps: Vec<GuideStep>,
}

/// A sentence of the guided first minute.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuideStep {
    /// The sentence. `{leader}` and `{node}` stand for names.
    pub text: String,
    /// The part of the page at which the sentence points.
    pub points_at: String,
    /// The run goes on to this target before the sentence is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_to: Option<Target>,
    /// The run goes on for so long after that, in seconds.
    #[serde(default)]
    pub wait: f64,
    /// The action that the learner is asked to do. The page does it for a learner who waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// The final quiz.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quiz {
    /// The number of right answers that pass.
    pub pass: usize,
    /// The questions that must be among them, counted from 0.
    pub must: Vec<usize>,
    /// The questions.
    #[serde(rename = "question")]
    pub questions: Vec<Question>,
}

/// The reason why a lesson was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LessonError {
    /// The file is not readable as a lesson.
    Format(String),
    /// A part of the lesson is impossible.
    Impossible(String),
}

impl Lesson {
    /// Reads a lesson.
    ///
    /// # Errors
    ///
    /// [`LessonError`].
    pub fn parse(text: &str) -> Result<Self, LessonError> {
        let lesson: Self = read(text)?;
        lesson.predict.question.validate()?;
        let scripts = lesson
            .tasks
            .iter()
            .flat_map(|task| [lesson.task_script(task), lesson.solution_script(task)]);
        let scripts = scripts.chain(lesson.breaks.iter().map(|it| lesson.break_script(it)));
        for script in scripts.chain([lesson.prediction_script()]) {
            validate(&script)?;
        }
        Ok(lesson)
    }

    /// The moment t0, in microseconds.
    #[must_use]
    pub fn t0(&self, task: &Task) -> u64 {
        micros(task.run.as_ref().unwrap_or(&self.run).t0)
    }

    /// The run of the prediction.
    #[must_use]
    pub fn prediction_script(&self) -> Script {
        script(&self.run.config, &[&self.run.schedule, &self.predict.schedule])
    }

    /// The run of a task, untouched.
    #[must_use]
    pub fn task_script(&self, task: &Task) -> Script {
        let run = task.run.as_ref().unwrap_or(&self.run);
        script(&run.config, &[&run.schedule])
    }

    /// The run of a task with its solution.
    #[must_use]
    pub fn solution_script(&self, task: &Task) -> Script {
        let run = task.run.as_ref().unwrap_or(&self.run);
        let config = task.solution.config.as_ref().unwrap_or(&run.config);
        script(config, &[&run.schedule, &task.solution.schedule])
    }

    /// The run of an experiment, with all rules in force.
    #[must_use]
    pub fn break_script(&self, experiment: &BreakIt) -> Script {
        let config = experiment.config.as_ref().unwrap_or(&self.run.config);
        script(config, &[&experiment.schedule])
    }
}

impl Question {
    fn validate(&self) -> Result<(), LessonError> {
        let out_of_range = self.right.iter().any(|right| *right >= self.options.len());
        match out_of_range || self.right.is_empty() {
            true => Err(LessonError::Impossible(format!("no right answer: {}", self.question))),
            false => Ok(()),
        }
    }
}

impl Quiz {
    /// Reads the quiz.
    ///
    /// # Errors
    ///
    /// [`LessonError`].
    pub fn parse(text: &str) -> Result<Self, LessonError> {
        let quiz: Self = read(text)?;
        quiz.questions.iter().try_for_each(Question::validate)?;
        match quiz.pass <= quiz.questions.len()
            && quiz.must.iter().all(|it| *it < quiz.questions.len())
        {
            true => Ok(quiz),
            false => Err(LessonError::Impossible("the quiz cannot be passed".into())),
        }
    }
}

impl Guide {
    /// Reads the guided minute.
    ///
    /// # Errors
    ///
    /// [`LessonError`].
    pub fn parse(text: &str) -> Result<Self, LessonError> {
        let guide: Self = read(text)?;
        validate(&script(&guide.config, &[]))?;
        Ok(guide)
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, LessonError> {
    let file = toml::Deserializer::parse(text);
    let file = file.map_err(|error| LessonError::Format(error.to_string()))?;
    T::deserialize(file).map_err(|error| LessonError::Format(error.to_string()))
}

fn script(config: &WorldConfig, schedules: &[&Vec<LessonStep>]) -> Script {
    let steps = schedules.iter().flat_map(|schedule| schedule.iter());
    let timed =
        |step: &LessonStep| TimedAction { at: micros(step.at), action: step.action.clone() };
    Script { config: config.clone(), actions: steps.map(timed).collect() }
}

fn validate(script: &Script) -> Result<(), LessonError> {
    let problem = |problem: &dyn fmt::Display| LessonError::Impossible(problem.to_string());
    script.check_order().map_err(|error| problem(&error))?;
    World::new(script.config.clone()).map_err(|error| problem(&error))?;
    let mut actions = script.actions.iter();
    actions
        .try_for_each(|timed| timed.action.check(&script.config))
        .map_err(|error| problem(&error))
}

pub(super) fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}

impl fmt::Display for LessonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(error) => write!(f, "lesson is not readable: {error}"),
            Self::Impossible(problem) => write!(f, "lesson is impossible: {problem}"),
        }
    }
}

impl std::error::Error for LessonError {}
