//! What all runs of a campaign did, and how that is told.

use std::collections::BTreeMap;

use raft_sim::campaign::Campaign;
use raft_sim::coverage::COVERAGE_POINTS;

use super::Ended;
use super::failure::Failure;

/// Every so many worlds the branches are counted, which takes time.
pub(crate) const COUNTED_EVERY: u64 = 8;

/// What all runs together did.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) seeds: u64,
    pub(crate) events: u64,
    /// In microseconds, which thousands of years of overflow 64 bits.
    pub(crate) simulated: u128,
    /// As much of it as was not stretched.
    pub(crate) unstretched: u128,
    pub(crate) timeouts: u64,
    pub(crate) elections: u64,
    pub(crate) answered: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) branches: BTreeMap<&'static str, u64>,
    pub(crate) failures: Vec<Failure>,
}

impl Totals {
    /// Adds a seed, and returns what went wrong with it.
    pub(crate) fn add(&mut self, ended: Ended, stretch: u64) -> Option<&Failure> {
        self.seeds += 1;
        let report = match ended {
            Ended::Judged(report) => report,
            Ended::Panicked { seed, text } => {
                self.failures.push(Failure::Panicked { seed, text });
                return self.failures.last();
            }
        };
        self.events += report.events;
        self.simulated += u128::from(report.simulated);
        if Campaign::stretch_of(report.seed, stretch) == 1 {
            self.unstretched += u128::from(report.simulated);
        }
        self.timeouts += report.timeouts;
        self.elections += report.elections;
        self.answered += report.answered;
        for (name, count) in &report.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (name, count) in &report.branches {
            *self.branches.entry(name).or_default() += count;
        }
        report.violation.as_ref()?;
        self.failures.push(Failure::Broke(report));
        self.failures.last()
    }

    pub(crate) fn years(&self) -> f64 {
        years(self.simulated)
    }

    pub(crate) fn print(&self, seconds: f64, jobs: usize) {
        println!(
            "{} seeds, {} events, {} requests answered, {:.5} simulated years in {seconds:.1} s \
             ({:.0} events/s, {:.0} x real time, {jobs} at once)",
            self.seeds,
            self.events,
            self.answered,
            self.years(),
            self.events as f64 / seconds,
            self.simulated as f64 / 1e6 / seconds
        );
        println!(
            "{} leaders elected, {} of the longest election timeouts, {:.5} years in worlds whose time was not stretched",
            self.elections,
            self.timeouts,
            years(self.unstretched)
        );
        print_histogram("faults", &self.faults);
        if self.branches.is_empty() {
            return;
        }
        print_histogram(
            &format!("branches of the protocol (every {COUNTED_EVERY}th seed)"),
            &self.branches,
        );
        let missing: Vec<_> =
            COVERAGE_POINTS.iter().filter(|name| !self.branches.contains_key(*name)).collect();
        if !missing.is_empty() {
            println!("no seed took these branches: {missing:?}");
        }
    }
}

fn years(micros: u128) -> f64 {
    micros as f64 / 1e6 / 86_400.0 / 365.25
}

fn print_histogram(title: &str, counts: &BTreeMap<&'static str, u64>) {
    println!("{title}:");
    let most = counts.values().max().copied().unwrap_or(1).max(1) as f64;
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (name, count) in counts {
        // Logarithmic, so that what is rare can be seen beside what is not.
        let length = (1.0 + 24.0 * (*count as f64).ln_1p() / most.ln_1p()) as usize;
        println!("  {name:<40} {count:>10} {}", "▇".repeat(length));
    }
}
