//! The random generator of an episode.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng};

/// A generator with the same values on every platform.
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    /// The generator of one episode.
    pub fn new(seed: u64, episode: u64) -> Self {
        let mixed = seed ^ episode.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// A number below `bound`, which must not be zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder does not matter for a fuzzer.
        self.0.next_u64() % bound
    }

    /// An index of a list with `len` items. Returns `None` for an empty list.
    pub fn index(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.below(len as u64) as usize)
    }

    /// Returns true with a probability of one in `many`.
    pub fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// A small number, or sometimes one of the largest numbers.
    pub fn number(&mut self) -> u64 {
        match self.below(40) {
            0 => u64::MAX,
            1 => u64::MAX - 1,
            2 => self.0.next_u64(),
            _ => self.below(8),
        }
    }

    /// A number close to another one.
    pub fn near(&mut self, number: u64) -> u64 {
        match self.below(8) {
            0 => number.saturating_add(1),
            1 => number.saturating_sub(1),
            2 => number.saturating_add(self.below(4)),
            3 if self.once_in(8) => self.number(),
            _ => number,
        }
    }
}
