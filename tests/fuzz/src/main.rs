//! Whatever arrives, in whatever order: no panic, no circle, no growth, and nothing that goes back.
//! `cargo xtask fuzz --help`.
//!
//! A few servers talk to each other over a network that loses, repeats and reorders, and in between
//! they are told what no server said: messages with one field changed, messages that fit their
//! receiver more or less, and garbage. Disks sync when they like, tokens come twice, clocks go
//! back, snapshots are damaged, entries come back wrong. After every call the server's term and
//! commit index must not have gone back, what it hands out to apply must come once and in order,
//! drains must come to an end, and what a call allocates must be bounded. Every assertion of
//! raft-core is checked.

mod arbitrary;
mod chance;
mod episode;
mod server;
mod tally;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::episode::{STEPS, play};
use crate::server::Rules;
use crate::tally::Tally;

/// Steps real servers with true, changed, nearly valid and arbitrary messages.
#[derive(Parser)]
#[command(name = "cargo xtask fuzz")]
struct Cli {
    /// How many steps to take, in episodes of a thousand.
    #[arg(long, default_value_t = 100_000_000)]
    steps: u64,
    /// What decides everything.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The first episode; with `--steps 1` the only one.
    #[arg(long, default_value_t = 0)]
    episode: u64,
}

const PROGRESS: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let Cli { steps, seed, episode } = Cli::parse();
    let began = Instant::now();
    let mut told = began;
    let mut tally = Tally::default();
    let episodes = steps.div_ceil(STEPS);
    for number in episode..episode + episodes {
        let played = catch_unwind(AssertUnwindSafe(|| {
            play(seed, number, Rules::default(), &mut tally);
        }));
        if played.is_err() {
            eprintln!("replay it: cargo xtask fuzz --seed {seed} --episode {number} --steps 1");
            return ExitCode::FAILURE;
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            let done = (number - episode + 1) * STEPS;
            let rate = done as f64 / began.elapsed().as_secs_f64();
            eprintln!("{done} steps, {rate:.0} a second");
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    print!("{tally}");
    let done = episodes * STEPS;
    println!("{done} steps, seed {seed}, no violation, {:.0} a second", done as f64 / seconds);
    let missing = tally.missing();
    if done >= 1_000_000 && !missing.is_empty() {
        eprintln!("it never came to {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// The bytes that are counted are those of the whole process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[test]
    fn same_seed_is_deterministic() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let text = || {
            let mut tally = Tally::default();
            (0..20).for_each(|number| play(7, number, Rules::default(), &mut tally));
            tally.without_memory().to_string()
        };
        assert_eq!(text(), text());
    }

    /// A fuzzer that cannot fail is worth nothing.
    #[cfg(feature = "sabotage")]
    #[test]
    fn snapshot_going_backwards_is_detected() {
        use raft_core::{DisabledRules, Rule};

        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = DisabledRules::default().and(Rule::SnapshotIsAhead);
        let mut tally = Tally::default();
        let fell = (0..1000).any(|number| {
            catch_unwind(AssertUnwindSafe(|| {
                play(0, number, Rules { broken }, &mut tally);
            }))
            .is_err()
        });
        assert!(fell);
    }
}
