//! Tables for people.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Cli;
use crate::cases::{self, Case};
use crate::measure::{self, Measured, median};
use crate::wasm::{self, Place};

/// Everything that was measured.
pub struct Report {
    repetitions: usize,
    cases: Vec<Case>,
    /// Events of each case.
    events: Vec<u64>,
    /// By place, repetition and case; native code first.
    measured: Vec<(String, Vec<Vec<Measured>>)>,
    /// Events and simulated seconds of a campaign, a second.
    campaign: Vec<(f64, f64)>,
    weights: Vec<(&'static str, Weight)>,
}

/// In bytes.
struct Weight {
    /// Of a checkpoint among others.
    checkpoint: u64,
    /// What is allocated to copy the world.
    copy: u64,
    /// Of the world itself.
    world: u64,
    checkpoints: u64,
}

/// What is to be reached: a place, the servers, how often as fast as real time.
const MARKS: [(usize, u64, f64); 7] = [
    (0, 5, 10_000.0),
    (1, 5, 2_000.0),
    (2, 5, 2_000.0),
    (1, 51, 50.0),
    (2, 51, 50.0),
    (1, 101, 10.0),
    (2, 101, 10.0),
];
const EVENTS_MARK: f64 = 1e6;
const CAMPAIGN_SEEDS: u64 = 500;

impl Report {
    pub fn measure(cli: &Cli) -> Result<Self, Box<dyn Error>> {
        let cases = cases::all();
        let mut events = vec![0; cases.len()];
        let mut measured = vec![("native".to_owned(), Vec::new())];
        if cli.harness.is_some() {
            measured.extend(Place::ALL.map(|place| (place.name().to_owned(), Vec::new())));
        }
        let mut campaign = Vec::new();
        for repetition in 1..=cli.repetitions.max(1) {
            eprintln!("repetition {repetition}");
            let mut native = Vec::new();
            for (case, events) in cases.iter().zip(&mut events) {
                let (found, count) = measure::native(case)?;
                *events = count;
                native.push(found);
            }
            campaign.push(measure::campaign(CAMPAIGN_SEEDS)?);
            for (place, (name, all)) in Place::ALL.into_iter().zip(&mut measured[1..]) {
                let harness = cli.harness.as_deref().unwrap_or(Path::new(""));
                let (runtime, found) = wasm::run(harness, place, &cases)?;
                for (case, (here, there)) in cases.iter().zip(native.iter().zip(&found)) {
                    if here.trace_hash != there.trace_hash {
                        let text = format!("{}: {runtime} gives another run", case.name);
                        return Err(text.into());
                    }
                }
                *name = runtime;
                all.push(found);
            }
            measured[0].1.push(native);
        }
        let weights = [("without event log", false), ("with event log", true)];
        let weights = weights.map(|(name, story)| Ok((name, weigh(&cases::weighed(story))?)));
        Ok(Self {
            repetitions: cli.repetitions.max(1),
            cases,
            events,
            measured,
            campaign,
            weights: weights.into_iter().collect::<Result<_, Box<dyn Error>>>()?,
        })
    }

    /// The page with all tables.
    pub fn page(&self) -> String {
        let parts = [
            ("{repetitions}", self.repetitions.to_string()),
            ("{marks}", self.marks()),
            ("{speeds}", self.speeds()),
            ("{campaign}", self.campaign()),
            ("{weights}", self.weights()),
            ("{jumps}", self.jumps()),
        ];
        let page = include_str!("page.md").to_owned();
        parts.into_iter().fold(page, |page, (mark, text)| page.replace(mark, text.trim_end()))
    }

    /// All tables, for the terminal.
    pub fn tables(&self) -> String {
        [self.marks(), self.speeds(), self.campaign(), self.weights(), self.jumps()].join("\n")
    }

    fn seconds(&self, place: usize, case: usize) -> f64 {
        median(self.measured[place].1.iter().map(|run| run[case].seconds))
    }

    /// Simulated seconds a second: the median, the least and the most.
    fn speed(&self, place: usize, case: usize) -> (f64, f64, f64) {
        let simulated = self.cases[case].lasts as f64 / 1e6;
        let speeds = self.measured[place].1.iter().map(|run| simulated / run[case].seconds);
        let least = speeds.clone().fold(f64::INFINITY, f64::min);
        let most = speeds.clone().fold(0.0, f64::max);
        (median(speeds), least, most)
    }

    fn marks(&self) -> String {
        let mut table = String::from(
            "| target | platform and run | measured | measured ÷ target |\n|---|---|---|---|\n",
        );
        for (case, what) in self.cases.iter().enumerate() {
            if what.nodes == 5 && !what.story {
                let rate = self.events[case] as f64 / self.seconds(0, case);
                let _ = writeln!(
                    table,
                    "| 1 M events/s | native, {} | {:.2} M | {:.2} |",
                    what.name,
                    rate / 1e6,
                    rate / EVENTS_MARK
                );
            }
        }
        for (place, nodes, mark) in MARKS {
            let Some((runtime, _)) = self.measured.get(place) else {
                continue;
            };
            for (case, what) in self.cases.iter().enumerate() {
                if what.nodes == nodes && !what.story {
                    let (speed, ..) = self.speed(place, case);
                    let _ = writeln!(
                        table,
                        "| {} × real time | {runtime}, {} | {} × | {:.2} |",
                        grouped(mark),
                        what.name,
                        grouped(speed),
                        speed / mark
                    );
                }
            }
        }
        table
    }

    fn speeds(&self) -> String {
        let mut table = String::from("| run | simulated | events |");
        for (runtime, _) in &self.measured {
            let _ = write!(table, " {runtime}: events/s | × real time (range) |");
        }
        let columns = 3 + 2 * self.measured.len();
        let _ = writeln!(table, "\n|{}", "---|".repeat(columns));
        for (case, what) in self.cases.iter().enumerate() {
            let _ = write!(
                table,
                "| {} | {} s | {} |",
                what.name,
                grouped(what.lasts as f64 / 1e6),
                grouped(self.events[case] as f64)
            );
            for place in 0..self.measured.len() {
                let rate = self.events[case] as f64 / self.seconds(place, case);
                let (speed, least, most) = self.speed(place, case);
                let _ = write!(
                    table,
                    " {:.2} M | {} ({}–{}) |",
                    rate / 1e6,
                    grouped(speed),
                    grouped(least),
                    grouped(most)
                );
            }
            table.push('\n');
        }
        table
    }

    fn campaign(&self) -> String {
        let events = median(self.campaign.iter().map(|(events, _)| *events));
        let speed = median(self.campaign.iter().map(|(_, speed)| *speed));
        format!(
            "A campaign of {CAMPAIGN_SEEDS} seeds, natively: {:.2} M events/s, {} × real time.\n",
            events / 1e6,
            grouped(speed)
        )
    }

    fn weights(&self) -> String {
        let mut table = String::from(
            "| five servers, the page's timeouts, after an hour | size of a checkpoint (checkpoints) | allocated by a clone | size of the world |\n|---|---|---|---|\n",
        );
        for (name, weight) in &self.weights {
            let _ = writeln!(
                table,
                "| {name} | {} ({}) | {} | {} |",
                kib(weight.checkpoint),
                weight.checkpoints,
                kib(weight.copy),
                kib(weight.world)
            );
        }
        table
    }

    fn jumps(&self) -> String {
        let mut table = String::from("| jump back by an hour, after two hours |");
        for (runtime, _) in &self.measured {
            let _ = write!(table, " {runtime} |");
        }
        let _ = writeln!(table, "\n|{}", "---|".repeat(1 + self.measured.len()));
        for (case, what) in self.cases.iter().enumerate() {
            if what.back_to.is_none() {
                continue;
            }
            let _ = write!(table, "| {} |", what.name);
            for (_, runs) in &self.measured {
                let took = median(runs.iter().map(|run| run[case].back_seconds));
                let _ = write!(table, " {:.1} ms |", took * 1e3);
            }
            table.push('\n');
        }
        table
    }
}

/// Another program counts, as counting takes time.
fn weigh(case: &Case) -> Result<Weight, Box<dyn Error>> {
    let program = std::env::current_exe()?.with_file_name("weigh");
    let mut child = Command::new(&program)
        .arg(case.lasts.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let script = serde_json::to_vec(&case.script)?;
    child.stdin.take().ok_or("standard input was piped")?.write_all(&script)?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
    let [checkpoint, copy, world, checkpoints] = numbers?[..] else {
        return Err(format!("{} says {text:?}", program.display()).into());
    };
    Ok(Weight { checkpoint, copy, world, checkpoints })
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", grouped(bytes as f64 / 1024.0))
}

/// A whole number with its thousands apart.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
