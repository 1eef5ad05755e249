//! Prints a hash of the traces of every hundred seeds, to compare targets and builds:
//! `cargo xtask determinism`.

use raft_sim::hash_of_seeds;

/// The number of seeds per line.
const BLOCK: u64 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seeds: u64 =
        std::env::args().nth(1).ok_or("missing argument: the number of seeds")?.parse()?;
    for first in (0..seeds).step_by(BLOCK as usize) {
        let count = BLOCK.min(seeds - first);
        println!("{first} {:016x}", hash_of_seeds(0, first..first + count));
    }
    Ok(())
}
