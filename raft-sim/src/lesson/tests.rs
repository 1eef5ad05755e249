//! Each lesson is played: its checks are true on the solutions and false on the untouched runs, and
//! its experiments break what they say.

use super::*;
use crate::check::invariants::Invariant;
use crate::timeline::{Run, Script};

const FILES: [&str; 16] = [
    include_str!("../../lessons/01-who-leads.toml"),
    include_str!("../../lessons/02-two-at-once.toml"),
    include_str!("../../lessons/03-how-long-to-wait.toml"),
    include_str!("../../lessons/04-majority-of-all.toml"),
    include_str!("../../lessons/05-asked-to-answered.toml"),
    include_str!("../../lessons/06-leader-dies.toml"),
    include_str!("../../lessons/07-who-can-win.toml"),
    include_str!("../../lessons/08-two-leaders.toml"),
    include_str!("../../lessons/09-repair.toml"),
    include_str!("../../lessons/10-old-entries.toml"),
    include_str!("../../lessons/11-ask-again.toml"),
    include_str!("../../lessons/12-reads.toml"),
    include_str!("../../lessons/13-on-disk.toml"),
    include_str!("../../lessons/14-the-edge.toml"),
    include_str!("../../lessons/15-members.toml"),
    include_str!("../../lessons/16-snapshots.toml"),
];

fn lessons() -> impl Iterator<Item = Lesson> {
    (1..).zip(FILES).map(|(number, text)| {
        let lesson = Lesson::parse(text).unwrap_or_else(|error| panic!("lesson {number}: {error}"));
        assert_eq!(lesson.number, number);
        lesson
    })
}

fn played(mut script: Script, seed: u64, until: f64) -> Run {
    script.config.seed = seed;
    let mut run = Run::new(script).unwrap();
    run.seek(file::micros(until));
    run
}

#[test]
fn task_is_done_by_its_solution_and_not_by_waiting() {
    let mut wrong = Vec::new();
    for lesson in lessons() {
        for (position, task) in lesson.tasks.iter().enumerate() {
            let t0 = lesson.t0(task);
            let until = task.solution.until;
            for seed in 1..=10 {
                let solved = played(lesson.solution_script(task), seed, until);
                let solved = solved.check(&task.check, t0);
                let untouched = played(lesson.task_script(task), seed, until + 1.0);
                let untouched = untouched.check(&task.check, t0);
                if (solved, untouched) != (true, task.untouched) {
                    let number = lesson.number;
                    wrong.push(format!("{number}.{position} seed {seed}: {solved} {untouched}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The invariant that a run violates; that of the clients' history comes last.
fn violated(run: &Run) -> Option<Invariant> {
    let world = run.world();
    let violation = world.violation().cloned().or_else(|| world.judge_history(1_000_000));
    violation.map(|violation| violation.invariant)
}

#[test]
fn experiment_without_rule_breaks_what_it_says() {
    let mut wrong = Vec::new();
    for lesson in lessons() {
        for experiment in lesson.breaks.iter().filter(|it| it.rules.is_empty()) {
            for seed in 1..=10 {
                let run = played(lesson.break_script(experiment), seed, experiment.until);
                if violated(&run) != experiment.invariant {
                    wrong.push(format!("{} seed {seed}: {:?}", lesson.number, violated(&run)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[cfg(feature = "sabotage")]
#[test]
fn disabled_rule_breaks_what_the_lesson_says() {
    let mut wrong = Vec::new();
    for lesson in lessons() {
        for experiment in lesson.breaks.iter().filter(|it| !it.rules.is_empty()) {
            let given = lesson.break_script(experiment);
            let seeds = match experiment.seeded {
                true => given.config.seed..given.config.seed + 1,
                false => 1..11,
            };
            for seed in seeds {
                let mut script = given.clone();
                for name in &experiment.rules {
                    let mut rules = raft_core::Rule::ALL.iter();
                    let rule = rules.find(|rule| rule.name() == name);
                    let rule = *rule.unwrap_or_else(|| panic!("unknown rule: {name}"));
                    script.config.cluster.disabled_rules =
                        script.config.cluster.disabled_rules.and(rule);
                }
                let run = played(script, seed, experiment.until);
                let checked = experiment.check.as_ref().is_none_or(|check| run.check(check, 0));
                if violated(&run) != experiment.invariant || !checked {
                    let number = lesson.number;
                    wrong.push(format!(
                        "{number} {:?} seed {seed}: {:?} at {}",
                        experiment.rules,
                        violated(&run),
                        run.world().now()
                    ));
                }
                let with_rules = played(given.clone(), seed, experiment.until);
                if violated(&with_rules).is_some() {
                    wrong.push(format!("{}: breaks with all rules in force", lesson.number));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn guide_and_quiz_are_readable() {
    let guide = Guide::parse(include_str!("../../lessons/first-minute.toml")).unwrap();
    assert!(guide.steps.len() >= 8);
    let quiz = Quiz::parse(include_str!("../../lessons/quiz.toml")).unwrap();
    assert!(quiz.questions.len() >= 8);
}
