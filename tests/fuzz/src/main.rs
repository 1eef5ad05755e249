//! A fuzzer for raft-core: arbitrary messages and calls, in any order. `cargo xtask fuzz --help`.
//!
//! A few servers exchange messages over a network that loses, duplicates and reorders them. In
//! between, the fuzzer makes other calls: changed messages, plausible messages, garbage, completed
//! writes, old tokens, clocks that go back, damaged snapshots and wrong entries. After every call
//! it checks the conditions that `docs/verification/fuzzing.md` lists. All assertions of raft-core
//! are enabled.

mod arbitrary;
mod coverage;
mod episode;
mod rng;
mod server;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::coverage::Coverage;
use crate::episode::{STEPS, play};
use crate::server::Rules;

/// Sends servers correct, changed, plausible and arbitrary messages and calls.
#[derive(Parser)]
#[command(name = "cargo xtask fuzz")]
struct Cli {
    /// The number of steps, rounded up to episodes of a thousand.
    #[arg(long, default_value_t = 100_000_000)]
    steps: u64,
    /// The seed of all random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The first episode. With `--steps 1`, it is the only one.
    #[arg(long, default_value_t = 0)]
    episode: u64,
}

/// The interval between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let Cli { steps, seed, episode } = Cli::parse();
    let began = Instant::now();
    let mut reported = began;
    let mut coverage = Coverage::default();
    let episodes = steps.div_ceil(STEPS);
    for number in episode..episode + episodes {
        let played = catch_unwind(AssertUnwindSafe(|| {
            play(seed, number, Rules::default(), &mut coverage);
        }));
        if played.is_err() {
            eprintln!("replay: cargo xtask fuzz --seed {seed} --episode {number} --steps 1");
            return ExitCode::FAILURE;
        }
        if reported.elapsed() > PROGRESS {
            reported = Instant::now();
            let done = (number - episode + 1) * STEPS;
            let rate = done as f64 / began.elapsed().as_secs_f64();
            eprintln!("{done} steps, {rate:.0} per second");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    print!("{coverage}");
    let done = episodes * STEPS;
    println!("{done} steps, seed {seed}, no violation, {:.0} per second", done as f64 / seconds);
    let missing = coverage.missing();
    if done >= 1_000_000 && !missing.is_empty() {
        eprintln!("not covered: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// The tests run one after the other, because allocations are counted for the whole process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[test]
    fn same_seed_is_deterministic() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let text = || {
            let mut coverage = Coverage::default();
            (0..20).for_each(|number| play(7, number, Rules::default(), &mut coverage));
            coverage.without_memory().to_string()
        };
        assert_eq!(text(), text());
    }

    /// The fuzzer must detect a disabled rule.
    #[cfg(feature = "sabotage")]
    #[test]
    fn snapshot_going_backwards_is_detected() {
        use raft_core::{DisabledRules, Rule};

        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let disabled = DisabledRules::default().and(Rule::SnapshotIsAhead);
        let mut coverage = Coverage::default();
        let is_detected = (0..1000).any(|number| {
            catch_unwind(AssertUnwindSafe(|| {
                play(0, number, Rules { disabled }, &mut coverage);
            }))
            .is_err()
        });
        assert!(is_detected);
    }
}
