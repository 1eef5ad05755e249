//! A hash of numbers and bytes that is the same on every platform.

use std::hash::{Hash, Hasher};

/// FNV-1a with 64 bits, over a fixed byte order and fixed widths of integers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TraceHash(u64);

const PRIME: u64 = 0x0100_0000_01b3;

/// The powers of [`PRIME`].
const POWERS: [u64; 9] = {
    let mut powers = [1; 9];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = PRIME.wrapping_mul(powers[exponent - 1]);
        exponent += 1;
    }
    powers
};

impl TraceHash {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Writes the bytes of a number, the lowest first.
    ///
    /// Most numbers are small. A byte that is zero only multiplies the hash, so all high zero bytes
    /// together are one multiplication with a power of [`PRIME`].
    fn write_number(&mut self, mut value: u64, bytes: usize) {
        let mut zeros = bytes;
        while value != 0 {
            self.0 = (self.0 ^ (value & 0xff)).wrapping_mul(PRIME);
            value >>= 8;
            zeros -= 1;
        }
        self.0 = self.0.wrapping_mul(POWERS[zeros]);
    }

    pub(crate) fn add(&mut self, value: &impl Hash) {
        value.hash(self);
    }
}

impl Hasher for TraceHash {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }

    fn write_u16(&mut self, value: u16) {
        self.write(&value.to_le_bytes());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_number(u64::from(value), 4);
    }

    fn write_u64(&mut self, value: u64) {
        self.write_number(value, 8);
    }

    fn write_u128(&mut self, value: u128) {
        self.write(&value.to_le_bytes());
    }

    // Derived implementations hash lengths and variants as pointer-sized integers, which are
    // narrower in wasm32.
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as i64 as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_hash_as_bytes() {
        for value in [0, 1, 0xff, 0x100, 0x1_0000, 0xff00_0000, 1 << 56, u64::MAX] {
            let (mut number, mut bytes) = (TraceHash::new(), TraceHash::new());
            number.write_u64(value);
            number.write_u32(value as u32);
            bytes.write(&value.to_le_bytes());
            bytes.write(&(value as u32).to_le_bytes());
            assert_eq!(number, bytes, "{value:x}");
        }
        // A published test vector of FNV-1a.
        let mut hash = TraceHash::new();
        hash.write(b"foobar");
        assert_eq!(hash.finish(), 0x8594_4171_f739_67e8);
    }
}
