//! Compares raft-core with raft 0.7.0. Use `cargo xtask differential --help`.
//!
//! Arguments: the number of schedules, the number of configurations, and the seed.

use std::env;

use anyhow::{Context, Result};
use differential::{Outcome, Rules, Schedule, compare, quorum_math};

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().with_context(|| format!("invalid number: {text}")),
        None => Ok(default),
    };
    let (schedules, configurations, seed) = (number(1_000)?, number(100_000)?, number(0)?);
    let mut total = Outcome::default();
    let mut events = 0;
    for number in 0..schedules {
        let schedule = Schedule::generate(seed, number);
        let outcome = compare(&schedule, Rules::default())
            .with_context(|| format!("schedule {number} of seed {seed}: {schedule:?}"))?;
        total.leaders += outcome.leaders;
        total.committed += outcome.committed;
        events += schedule.events.len();
    }
    for number in 0..configurations {
        quorum_math::compare_majorities(seed, number)
            .and_then(|()| quorum_math::compare_change(seed, number, Rules::default()))
            .with_context(|| format!("configuration {number} of seed {seed}"))?;
    }
    println!(
        "{schedules} schedules with {events} events, {} leaders and {} committed entries, \
         and {configurations} configurations: no difference",
        total.leaders, total.committed
    );
    Ok(())
}
