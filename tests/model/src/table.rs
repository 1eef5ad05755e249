//! Everything that occurs is kept once, and named by a number: servers, messages, entries,
//! histories. A state of the model is then a few numbers, and what a server makes of an input is
//! computed once, however many states it occurs in.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::ops::Index;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Values by number, and numbers by value. Two values have the same number only if they are equal.
/// Nothing that was put in is ever moved or removed, so values are borrowed without a lock.
pub struct Table<T> {
    /// Chunk `n` has room for `2^n` values.
    chunks: [OnceLock<Box<[OnceLock<T>]>>; u32::BITS as usize],
    numbers: Mutex<Numbers>,
}

#[derive(Default)]
struct Numbers {
    by_hash: HashMap<u64, Vec<u32>>,
    next: u32,
}

impl<T: Eq + Hash> Table<T> {
    pub fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; u32::BITS as usize], numbers: Mutex::default() }
    }

    pub fn number(&self, value: T) -> u32 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&value);
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let Numbers { by_hash, next } = &mut *numbers;
        let alike = by_hash.entry(hash).or_default();
        if let Some(number) = alike.iter().find(|number| self[**number] == value) {
            return *number;
        }
        let number = *next;
        *next += 1;
        alike.push(number);
        let (chunk, place) = locate(number);
        let empty = || (0..1_usize << chunk).map(|_| OnceLock::new()).collect();
        let is_new = self.chunks[chunk].get_or_init(empty)[place].set(value).is_ok();
        assert!(is_new, "a number is given once");
        number
    }

    pub fn len(&self) -> usize {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.next as usize
    }
}

impl<T> Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        let (chunk, place) = locate(number);
        let value = self.chunks[chunk].get().and_then(|chunk| chunk[place].get());
        value.unwrap_or_else(|| unreachable!("only numbers of this table are asked for"))
    }
}

fn locate(number: u32) -> (usize, usize) {
    let chunk = (number + 1).ilog2();
    (chunk as usize, (number + 1 - (1 << chunk)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_interned_once() {
        let table = Table::new();
        let numbers: Vec<_> = (0..1000).map(|value| table.number(value % 100)).collect();
        assert_eq!(table.len(), 100);
        for (value, number) in (0..1000).zip(numbers) {
            assert_eq!(table[number], value % 100);
        }
    }
}
