//! Prints a hash of the traces of each hundred seeds, for a comparison of targets and builds:
//! `cargo xtask determinism`.

use raft_sim::hash_of_seeds;

/// So many seeds have one line.
const BLOCK: u64 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seeds: u64 = std::env::args().nth(1).ok_or("how many seeds?")?.parse()?;
    for first in (0..seeds).step_by(BLOCK as usize) {
        let count = BLOCK.min(seeds - first);
        println!("{first} {:016x}", hash_of_seeds(0, first..first + count));
    }
    Ok(())
}
