//! The report of the benchmark.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Cli;
use crate::cases::{self, Case};
use crate::measure::{self, Measured, median};
use crate::wasm::{self, Platform};

/// All measurements.
pub struct Report {
    repetitions: usize,
    cases: Vec<Case>,
    /// The number of events of each case.
    events: Vec<u64>,
    /// The measurements by platform, repetition and case; native code is first.
    measured: Vec<(String, Vec<Vec<Measured>>)>,
    /// Events per second and simulated seconds per second of campaigns.
    campaign: Vec<(f64, f64)>,
    sizes: Vec<(&'static str, Sizes)>,
}

/// Sizes of a world and its checkpoints, in bytes.
struct Sizes {
    /// The size of a checkpoint that shares data with others.
    checkpoint: u64,
    /// The allocations of a clone of the world.
    copy: u64,
    /// The size of the world.
    world: u64,
    /// The number of checkpoints.
    checkpoints: u64,
}

/// The targets: platform, number of servers, and speed relative to real time.
const TARGETS: [(usize, u64, f64); 7] = [
    (0, 5, 10_000.0),
    (1, 5, 2_000.0),
    (2, 5, 2_000.0),
    (1, 51, 50.0),
    (2, 51, 50.0),
    (1, 101, 10.0),
    (2, 101, 10.0),
];
const EVENTS_TARGET: f64 = 1e6;
const CAMPAIGN_SEEDS: u64 = 500;

impl Report {
    pub fn measure(cli: &Cli) -> Result<Self, Box<dyn Error>> {
        let cases = cases::all();
        let mut events = vec![0; cases.len()];
        let mut measured = vec![("native".to_owned(), Vec::new())];
        if cli.harness.is_some() {
            measured.extend(Platform::ALL.map(|platform| (platform.name().to_owned(), Vec::new())));
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
            for (platform, (name, all)) in Platform::ALL.into_iter().zip(&mut measured[1..]) {
                let harness = cli.harness.as_deref().unwrap_or(Path::new(""));
                let (runtime, found) = wasm::run(harness, platform, &cases)?;
                for (case, (here, there)) in cases.iter().zip(native.iter().zip(&found)) {
                    if here.trace_hash != there.trace_hash {
                        let text = format!("{}: {runtime} has another trace hash", case.name);
                        return Err(text.into());
                    }
                }
                *name = runtime;
                all.push(found);
            }
            measured[0].1.push(native);
        }
        let sizes = [("without event log", false), ("with event log", true)];
        let sizes = sizes.map(|(name, event_log)| {
            Ok((name, measure_sizes(&cases::with_checkpoints(event_log))?))
        });
        Ok(Self {
            repetitions: cli.repetitions.max(1),
            cases,
            events,
            measured,
            campaign,
            sizes: sizes.into_iter().collect::<Result<_, Box<dyn Error>>>()?,
        })
    }

    /// The report with all tables, as Markdown.
    pub fn markdown(&self) -> String {
        let parts = [
            ("{repetitions}", self.repetitions.to_string()),
            ("{targets}", self.targets()),
            ("{speeds}", self.speeds()),
            ("{campaign}", self.campaign()),
            ("{sizes}", self.sizes()),
            ("{jumps}", self.jumps()),
        ];
        let template = include_str!("report_template.md").to_owned();
        parts.into_iter().fold(template, |text, (name, part)| text.replace(name, part.trim_end()))
    }

    /// All tables, for the terminal.
    pub fn tables(&self) -> String {
        [self.targets(), self.speeds(), self.campaign(), self.sizes(), self.jumps()].join("\n")
    }

    fn seconds(&self, platform: usize, case: usize) -> f64 {
        median(self.measured[platform].1.iter().map(|run| run[case].seconds))
    }

    /// Simulated seconds per second: the median, the minimum and the maximum.
    fn speed(&self, platform: usize, case: usize) -> (f64, f64, f64) {
        let simulated = self.cases[case].lasts as f64 / 1e6;
        let speeds = self.measured[platform].1.iter().map(|run| simulated / run[case].seconds);
        let least = speeds.clone().fold(f64::INFINITY, f64::min);
        let most = speeds.clone().fold(0.0, f64::max);
        (median(speeds), least, most)
    }

    fn targets(&self) -> String {
        let mut table = String::from(
            "| target | platform and run | measured | measured ÷ target |\n|---|---|---|---|\n",
        );
        for (case, what) in self.cases.iter().enumerate() {
            if what.nodes == 5 && !what.event_log {
                let rate = self.events[case] as f64 / self.seconds(0, case);
                let _ = writeln!(
                    table,
                    "| 1 M events/s | native, {} | {:.2} M | {:.2} |",
                    what.name,
                    rate / 1e6,
                    rate / EVENTS_TARGET
                );
            }
        }
        for (platform, nodes, target) in TARGETS {
            let Some((runtime, _)) = self.measured.get(platform) else {
                continue;
            };
            for (case, what) in self.cases.iter().enumerate() {
                if what.nodes == nodes && !what.event_log {
                    let (speed, ..) = self.speed(platform, case);
                    let _ = writeln!(
                        table,
                        "| {} × real time | {runtime}, {} | {} × | {:.2} |",
                        grouped(target),
                        what.name,
                        grouped(speed),
                        speed / target
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
            for platform in 0..self.measured.len() {
                let rate = self.events[case] as f64 / self.seconds(platform, case);
                let (speed, least, most) = self.speed(platform, case);
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

    fn sizes(&self) -> String {
        let mut table = String::from(
            "| five servers, the page's timeouts, after an hour | size of a checkpoint (checkpoints) | allocated by a clone | size of the world |\n|---|---|---|---|\n",
        );
        for (name, sizes) in &self.sizes {
            let _ = writeln!(
                table,
                "| {name} | {} ({}) | {} | {} |",
                kib(sizes.checkpoint),
                sizes.checkpoints,
                kib(sizes.copy),
                kib(sizes.world)
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

/// Measures the sizes with another program, because its counting allocator is slow.
fn measure_sizes(case: &Case) -> Result<Sizes, Box<dyn Error>> {
    let program = std::env::current_exe()?.with_file_name("checkpoint_size");
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
        return Err(format!("invalid output of {}: {text:?}", program.display()).into());
    };
    Ok(Sizes { checkpoint, copy, world, checkpoints })
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", grouped(bytes as f64 / 1024.0))
}

/// A whole number with separators between thousands.
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
