//! Runs whose every effect is known.

use std::hash::Hasher;
use std::ops::Range;

use crate::campaign::Campaign;
use crate::util::trace_hash::TraceHash;

/// The result of [`golden_run`], on every platform and in every build. It changes when the
/// behaviour of the core, of the state machine or of the world does; then set it to the new value.
pub const GOLDEN_TRACE_HASH: u64 = 0xd5b2_f7c8_b4b7_8d47;

/// The result of [`hash_of_seeds`] for the first 200 seeds. It changes with [`GOLDEN_TRACE_HASH`].
pub const GOLDEN_CAMPAIGN_HASH: u64 = 0x1607_bfe1_cb94_01b4;

/// Runs a world with faults of all kinds, and returns the hash of its trace.
#[must_use]
pub fn golden_run() -> u64 {
    Campaign::new(2014).run().trace_hash
}

/// Runs a campaign of these seeds, and returns a hash of all traces and of the hash of those
/// before, which is 0 if there are none.
#[must_use]
pub fn hash_of_seeds(before: u64, seeds: Range<u64>) -> u64 {
    let mut hash = TraceHash::new();
    hash.write_u64(before);
    for seed in seeds {
        hash.write_u64(Campaign::new(seed).run().trace_hash);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_trace_matches() {
        let hash = golden_run();
        assert_eq!(hash, GOLDEN_TRACE_HASH, "it is {hash:#x}");
    }

    #[test]
    fn golden_campaign_traces_match() {
        let tens = (0..200).step_by(10);
        let hash = tens.fold(0, |hash, first| hash_of_seeds(hash, first..first + 10));
        assert_eq!(hash, GOLDEN_CAMPAIGN_HASH, "it is {hash:#x}");
    }
}
