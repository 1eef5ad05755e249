//! The totals of a campaign.

use std::collections::BTreeMap;

use raft_sim::campaign::Campaign;
use raft_sim::coverage::COVERAGE_POINTS;

use super::Ended;
use super::failure::Failure;

/// The coverage is counted in every so many seeds, because counting takes time.
pub(crate) const COUNTED_EVERY: u64 = 8;

/// The totals of all runs.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) seeds: u64,
    pub(crate) events: u64,
    /// The simulated time in microseconds. Thousands of years of it exceed 64 bits.
    pub(crate) simulated: u128,
    /// The part of it with the time scale 1.
    pub(crate) unstretched: u128,
    pub(crate) timeouts: u64,
    pub(crate) elections: u64,
    pub(crate) answered: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) coverage: BTreeMap<&'static str, u64>,
    pub(crate) failures: Vec<Failure>,
}

impl Totals {
    /// Adds a seed, and returns its failure.
    pub(crate) fn add(&mut self, ended: Ended, stretch: u64) -> Option<&Failure> {
        self.seeds += 1;
        let report = match ended {
            Ended::Checked(report) => report,
            Ended::Panicked { seed, panic } => {
                self.failures.push(Failure::Panicked { seed, panic });
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
        for (name, count) in &report.coverage {
            *self.coverage.entry(name).or_default() += count;
        }
        report.violation.as_ref()?;
        self.failures.push(Failure::Violated(report));
        self.failures.last()
    }

    pub(crate) fn years(&self) -> f64 {
        years(self.simulated)
    }

    pub(crate) fn print(&self, seconds: f64, jobs: usize) {
        println!(
            "{} seeds, {} events, {} requests answered, {:.5} simulated years in {seconds:.1} s \
             ({:.0} events/s, {:.0} x real time, {jobs} jobs)",
            self.seeds,
            self.events,
            self.answered,
            self.years(),
            self.events as f64 / seconds,
            self.simulated as f64 / 1e6 / seconds
        );
        println!(
            "{} leaders elected, {} of the longest election timeouts, {:.5} simulated years with the time scale 1",
            self.elections,
            self.timeouts,
            years(self.unstretched)
        );
        print_histogram("faults", &self.faults);
        if self.coverage.is_empty() {
            return;
        }
        print_histogram(
            &format!("branches of the protocol (every {COUNTED_EVERY}th seed)"),
            &self.coverage,
        );
        let missing: Vec<_> =
            COVERAGE_POINTS.iter().filter(|name| !self.coverage.contains_key(*name)).collect();
        if !missing.is_empty() {
            println!("branches that no seed covered: {missing:?}");
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
        // The scale is logarithmic, so that rare faults are visible, too.
        let length = (1.0 + 24.0 * (*count as f64).ln_1p() / most.ln_1p()) as usize;
        println!("  {name:<40} {count:>10} {}", "▇".repeat(length));
    }
}
