//! Bloom filters: which keys a table certainly does not contain.

use xxhash_rust::xxh3::xxh3_64;

/// A set of keys that may contain more keys than were added.
#[derive(Debug)]
pub(super) struct Filter {
    bits: Vec<u8>,
}

/// With 6 probes, about 1 % of the lookups of other keys are not filtered.
const BITS_PER_KEY: usize = 10;
const PROBES: u64 = 6;

pub(super) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

impl Filter {
    /// A filter of keys with these hashes.
    pub(super) fn new(hashes: &[u64]) -> Self {
        let bytes = (hashes.len() * BITS_PER_KEY).div_ceil(8).max(8);
        let mut filter = Self { bits: vec![0; bytes] };
        for hash in hashes {
            for bit in filter.probes(*hash) {
                filter.bits[bit / 8] |= 1 << (bit % 8);
            }
        }
        filter
    }

    /// A stored filter.
    pub(super) fn from_bytes(bits: Vec<u8>) -> Self {
        Self { bits }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Returns false if no key with this hash was added.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        !self.bits.is_empty()
            && self.probes(hash).all(|bit| self.bits[bit / 8] & (1 << (bit % 8)) != 0)
    }

    fn probes(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let count = self.bits.len() as u64 * 8;
        let step = hash.rotate_left(32) | 1;
        (0..PROBES).map(move |probe| (hash.wrapping_add(probe.wrapping_mul(step)) % count) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_contains_its_keys_and_few_others() {
        let hashes = |prefix: u8| -> Vec<u64> {
            (0..10_000_u32).map(|n| hash(&[&[prefix][..], &n.to_be_bytes()].concat())).collect()
        };
        let filter = Filter::new(&hashes(1));
        assert!(hashes(1).into_iter().all(|hash| filter.may_contain(hash)));
        let others = hashes(2).into_iter().filter(|hash| filter.may_contain(*hash)).count();
        assert!(others < 300, "{others}");
    }
}
