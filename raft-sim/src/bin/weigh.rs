//! Prints how many bytes a checkpoint of the world takes that is given as a script on standard
//! input, after so many microseconds: a part of `cargo xtask bench sim`, apart because it counts
//! every allocation.

use std::alloc::System;
use std::error::Error;
use std::io;

use raft_sim::{Run, Script};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), Box<dyn Error>> {
    let lasts: u64 = std::env::args().nth(1).ok_or("how many microseconds?")?.parse()?;
    let script: Script = serde_json::from_reader(io::stdin())?;
    // A world that jumps to the end keeps no checkpoints on its way but those that are asked for.
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

fn held(region: &Region<'_, System>) -> isize {
    let change = region.change();
    change.bytes_allocated as isize - change.bytes_deallocated as isize
}
