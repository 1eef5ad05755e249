//! Prints the size of a checkpoint of a run, whose script is read from standard input.
//!
//! The argument is the time of the checkpoint in microseconds. This program is a part of
//! `cargo xtask bench sim`. It is separate because its allocator counts every allocation.

use std::alloc::System;
use std::error::Error;
use std::io;

use raft_sim::{Run, Script};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), Box<dyn Error>> {
    let lasts: u64 =
        std::env::args().nth(1).ok_or("missing argument: the time in microseconds")?.parse()?;
    let script: Script = serde_json::from_reader(io::stdin())?;
    let before = Region::new(ALLOCATOR);
    let mut run = Run::new(script.clone())?;
    run.seek(lasts);
    let with_checkpoints = held(&before);
    let checkpoints = run.checkpoints();
    let world = run.into_world();
    let alone = held(&before);
    let clone = Region::new(ALLOCATOR);
    let copy = world.clone();
    let copied = held(&clone);
    drop(copy);
    println!(
        "{} {copied} {alone} {checkpoints}",
        (with_checkpoints - alone) / checkpoints as isize
    );
    Ok(())
}

/// The bytes that were allocated and not freed.
fn held(region: &Region<'_, System>) -> isize {
    let change = region.change();
    change.bytes_allocated as isize - change.bytes_deallocated as isize
}
