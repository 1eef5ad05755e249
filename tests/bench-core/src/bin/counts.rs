//! Prints, for every core and case, allocations, their bytes, and messages per commit.

use std::alloc::System;

use anyhow::Result;
use bench_core::counts::{Counts, count};
use bench_core::{CASES, CORES};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<()> {
    for case in &CASES {
        for core in CORES {
            let Counts { allocations, bytes, messages } = count(ALLOCATOR, core, case)?;
            println!("{allocations} {bytes} {messages}");
        }
    }
    Ok(())
}
