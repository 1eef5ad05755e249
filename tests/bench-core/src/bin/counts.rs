//! Prints the allocations, allocated bytes and messages per commit of every core and case.

use std::alloc::System;

use anyhow::Result;
use bench_core::allocation_counts::{Counts, count};
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
