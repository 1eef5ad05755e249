//! An interner: each distinct server, message, entry and history is stored once and has a number.
//!
//! A state of the model is then a few numbers. The result of an input is computed once for each
//! distinct server.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::ops::Index;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Values by number, and numbers by value. Only equal values have the same number. Values are never
/// moved or removed, so they are borrowed without a lock.
pub struct Interner<T> {
    /// Chunk `n` contains up to `2^n` values.
    chunks: [OnceLock<Box<[OnceLock<T>]>>; u32::BITS as usize],
    numbers: Mutex<Numbers>,
}

#[derive(Default)]
struct Numbers {
    by_hash: HashMap<u64, Vec<u32>>,
    next: u32,
}

impl<T: Eq + Hash> Interner<T> {
    /// An empty interner.
    pub fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; u32::BITS as usize], numbers: Mutex::default() }
    }

    /// Stores a value, unless it is stored already, and returns its number.
    pub fn intern(&self, value: T) -> u32 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&value);
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let Numbers { by_hash, next } = &mut *numbers;
        let same_hash = by_hash.entry(hash).or_default();
        if let Some(number) = same_hash.iter().find(|number| self[**number] == value) {
            return *number;
        }
        let number = *next;
        *next += 1;
        same_hash.push(number);
        let (chunk, index) = locate(number);
        let empty = || (0..1_usize << chunk).map(|_| OnceLock::new()).collect();
        let is_new = self.chunks[chunk].get_or_init(empty)[index].set(value).is_ok();
        assert!(is_new, "a number is used once");
        number
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.next as usize
    }
}

impl<T> Index<u32> for Interner<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        let (chunk, index) = locate(number);
        let value = self.chunks[chunk].get().and_then(|chunk| chunk[index].get());
        value.unwrap_or_else(|| unreachable!("the number is from this interner"))
    }
}

/// The chunk of a number, and the index in the chunk.
fn locate(number: u32) -> (usize, usize) {
    let chunk = (number + 1).ilog2();
    (chunk as usize, (number + 1 - (1 << chunk)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_interned_once() {
        let table = Interner::new();
        let numbers: Vec<_> = (0..1000).map(|value| table.intern(value % 100)).collect();
        assert_eq!(table.len(), 100);
        for (value, number) in (0..1000).zip(numbers) {
            assert_eq!(table[number], value % 100);
        }
    }
}
