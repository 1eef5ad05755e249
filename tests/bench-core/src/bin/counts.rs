//! Prints, for every core and case, allocations and messages per commit.

use std::alloc::System;

use anyhow::Result;
use bench_core::{CASES, CORES, counts};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<()> {
    for case in &CASES {
        for core in CORES {
            let counts = counts::count(ALLOCATOR, core, case)?;
            println!("{} {}", counts.allocations, counts.messages);
        }
    }
    Ok(())
}
