//! An incremental hash of the visible state.
//!
//! The digest is the sum, modulo 2^64, of the hashes of all pairs in history, sessions and leases.
//! A sum does not depend on the order, so a pair is added when it is written and subtracted when it
//! is removed. The digest never needs a scan. These tables determine the other tables.

use crate::wire::StateRecord;

/// An odd multiplier without a visible pattern: 2^64 divided by the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

fn absorb(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER)
}

fn absorb_bytes(hash: u64, bytes: &[u8]) -> u64 {
    let mut hash = absorb(hash, bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = absorb(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    absorb(hash, u64::from_le_bytes(last))
}

/// Distributes each bit over the whole word, so that sums of similar hashes do not cancel out.
fn finalize(mut hash: u64) -> u64 {
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 32)
}

/// The hash of a pair in the digest.
pub(crate) fn pair_fingerprint(key: &[u8], value: &[u8]) -> u64 {
    finalize(absorb_bytes(absorb_bytes(0, key), value))
}

/// The fingerprint of a state: its digest and the counters that clients can observe. The applied
/// index is not included.
pub(crate) fn state_fingerprint(state: &StateRecord) -> u64 {
    let words =
        [state.revision.cast_unsigned(), state.sessions, state.session_horizon, state.digest];
    let hash = words.into_iter().fold(0, absorb);
    // Without leases, the fingerprint is that of versions that did not support leases.
    let leases = match (state.leases, state.lease_assigned.cast_unsigned()) {
        (0, 0) => hash,
        (leases, assigned) => absorb(absorb(hash, leases), assigned),
    };
    finalize(leases)
}
