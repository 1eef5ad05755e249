//! What chance decides, from one seed.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// A generator whose values are the same everywhere.
pub struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// The generator of one episode.
    pub fn new(seed: u64, episode: u64) -> Self {
        let mixed = seed ^ episode.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(Xoshiro256PlusPlus::seed_from_u64(mixed))
    }

    /// Less than `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias is of no account here.
        self.0.next_u64() % bound
    }

    /// A place in something that has `len` of them.
    pub fn place(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.below(len as u64) as usize)
    }

    /// Once in `many` times.
    pub fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// A small number, and now and then one of the largest.
    pub fn number(&mut self) -> u64 {
        match self.below(40) {
            0 => u64::MAX,
            1 => u64::MAX - 1,
            2 => self.0.next_u64(),
            _ => self.below(8),
        }
    }

    /// A number near this one.
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
