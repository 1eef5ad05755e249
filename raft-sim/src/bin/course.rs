//! Writes the lessons and the scenarios as JavaScript modules into a directory, for the page: a
//! part of `cargo xtask page`.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use raft_sim::lesson::{Guide, Lesson, Quiz};
use raft_sim::scenario::{Scenario, Variant};
use raft_sim::{Script, WorldConfig};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let target =
        std::env::args().nth(1).ok_or("missing argument: directory; name the directory")?;
    let target = PathBuf::from(target);
    fs::create_dir_all(&target)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let module = |data: &Value| format!("export default {data};\n");
    fs::write(target.join("lessons.js"), module(&lessons(&root.join("lessons"))?))?;
    fs::write(target.join("scenarios.js"), module(&scenarios(&root.join("scenarios"))?))?;
    Ok(())
}

/// The texts of a directory's files, with their names, in order.
fn files(directory: &Path) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, fs::read_to_string(&path)?));
    }
    files.sort();
    Ok(files)
}

fn lessons(directory: &Path) -> Result<Value, Box<dyn Error>> {
    let (mut lessons, mut guide, mut quiz) = (Vec::new(), Value::Null, Value::Null);
    for (name, text) in files(directory)? {
        match name.as_str() {
            "first-minute" => guide = json!(Guide::parse(&text)?),
            "quiz" => quiz = json!(Quiz::parse(&text)?),
            _ => lessons.push(lesson(&name, &Lesson::parse(&text)?)),
        }
    }
    Ok(json!({ "lessons": lessons, "guide": guide, "quiz": quiz }))
}

/// A lesson with its runs as scripts. Times are in microseconds there.
fn lesson(name: &str, lesson: &Lesson) -> Value {
    let tasks = lesson.tasks.iter().map(|task| {
        json!({
            "text": task.text,
            "hint": task.hint,
            "check": task.check,
            "untouched": task.untouched,
            "script": compact(&lesson.task_script(task)),
            "t0": lesson.t0(task),
            "solution": compact(&lesson.solution_script(task)),
        })
    });
    let breaks = lesson.breaks.iter().map(|experiment| {
        let mut script = compact(&lesson.break_script(experiment));
        if !experiment.rules.is_empty() {
            script["config"]["disabled_rules"] = json!(experiment.rules);
        }
        json!({
            "text": experiment.text,
            "rules": experiment.rules,
            "invariant": experiment.invariant,
            "script": script,
            "until": micros(experiment.until),
        })
    });
    let t0 = micros(lesson.run.t0);
    let question = &lesson.predict.question;
    json!({
        "id": name,
        "number": lesson.number,
        "title": lesson.title,
        "source": lesson.source,
        "short_course": lesson.short_course,
        "goal": lesson.goal,
        "opening": lesson.opening,
        "takeaway": lesson.takeaway,
        "story": lesson.story,
        "script": compact(&lesson.prediction_script()),
        "t0": t0,
        "predict": {
            "question": question.question,
            "options": question.options,
            "right": question.right,
            "explanation": question.explanation,
            "at": lesson.predict.at.map_or(t0, micros),
            "until": micros(lesson.predict.until),
        },
        "tasks": tasks.collect::<Vec<_>>(),
        "breaks": breaks.collect::<Vec<_>>(),
    })
}

fn scenarios(directory: &Path) -> Result<Value, Box<dyn Error>> {
    let mut scenarios = Vec::new();
    for (name, text) in files(directory)? {
        let scenario = Scenario::parse(&text)?;
        let variants = scenario.variants().into_iter().map(|variant: Variant| {
            json!({
                "variant": variant,
                "expected": scenario.expected.get(&variant),
                "script": compact(&scenario.script(variant)),
            })
        });
        let sabotaged = scenario.sabotaged.iter().map(|run| {
            let mut script = compact(&scenario.script(run.variant));
            script["config"]["disabled_rules"] = json!(run.rules);
            json!({
                "variant": run.variant,
                "rules": run.rules,
                "expected": run.expected,
                "script": script,
            })
        });
        scenarios.push(json!({
            "id": name,
            "title": scenario.title,
            "lesson": scenario.lesson,
            "source": scenario.source,
            "from": micros(scenario.observe.from),
            "until": micros(scenario.observe.until),
            "variants": variants.collect::<Vec<_>>(),
            "sabotaged": sabotaged.collect::<Vec<_>>(),
        }));
    }
    Ok(json!(scenarios))
}

/// A script without the settings that are usual.
fn compact(script: &Script) -> Value {
    let usual = json!(WorldConfig::default());
    let mut script = json!(script);
    if let Some(config) = script["config"].as_object_mut() {
        config.retain(|name, setting| usual.get(name) != Some(setting));
    }
    script
}

fn micros(seconds: f64) -> u64 {
    (seconds * 1e6).round() as u64
}
