//! Collections whose clones share their contents (copy on write).
//!
//! A run clones its world for each checkpoint. The past of a world is much larger than the changes
//! between two checkpoints.

use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

/// An ordered map. A clone copies only the list of leaves, and a change copies one leaf if another
/// clone shares it.
#[derive(Clone, Debug)]
pub(crate) struct CowMap<K, V> {
    /// The pairs in order. No leaf is empty.
    leaves: Vec<Leaf<K, V>>,
    /// The number of pairs.
    length: usize,
}

type Leaf<K, V> = Arc<Vec<(K, V)>>;

/// The largest number of pairs in a leaf. Larger leaves make clones cheaper, and changes after a
/// clone more expensive.
const LEAF: usize = 32;

/// The position of a pair: its leaf, and its position in the leaf.
type Place = (usize, usize);

impl<K, V> Default for CowMap<K, V> {
    fn default() -> Self {
        Self { leaves: Vec::new(), length: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> CowMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let (leaf, found) = self.find(key);
        let place = found.ok()?;
        Some(&self.leaves[leaf][place].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (leaf, found) = self.find(key);
        let place = found.ok()?;
        Some(&mut Arc::make_mut(&mut self.leaves[leaf])[place].1)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            (leaf, Ok(place)) => Arc::make_mut(&mut self.leaves[leaf])[place].1 = value,
            (leaf, Err(place)) => self.insert_at(leaf, place, (key, value)),
        }
    }

    /// Returns the value of a key, after inserting `value` if the key did not exist.
    pub(crate) fn get_or_insert(&mut self, key: K, value: V) -> V {
        match self.find(&key) {
            (leaf, Ok(place)) => self.leaves[leaf][place].1.clone(),
            (leaf, Err(place)) => {
                self.insert_at(leaf, place, (key, value.clone()));
                value
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (leaf, found) = self.find(key);
        let place = found.ok()?;
        self.length -= 1;
        if self.leaves[leaf].len() == 1 {
            return self.leaves.remove(leaf).first().map(|(_, value)| value.clone());
        }
        Some(Arc::make_mut(&mut self.leaves[leaf]).remove(place).1)
    }

    pub(crate) fn first_key(&self) -> Option<&K> {
        Some(&self.leaves.first()?[0].0)
    }

    pub(crate) fn iter(&self) -> Iter<'_, K, V> {
        self.between((0, 0)..(self.leaves.len(), 0))
    }

    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(crate) fn range<Q: Ord + ?Sized>(&self, keys: impl RangeBounds<Q>) -> Iter<'_, K, V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let begin = match keys.start_bound() {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) => self.place(|other| other < key),
            Bound::Excluded(key) => self.place(|other| other <= key),
        };
        let end = match keys.end_bound() {
            Bound::Unbounded => (self.leaves.len(), 0),
            Bound::Included(key) => self.place(|other| other <= key),
            Bound::Excluded(key) => self.place(|other| other < key),
        };
        self.between(begin..end.max(begin))
    }

    fn between(&self, places: Range<Place>) -> Iter<'_, K, V> {
        let leaves = &self.leaves;
        Iter { leaves, places }
    }

    /// Finds the leaf of a key, and the position of the key in it or where to insert the key.
    fn find(&self, key: &K) -> (usize, Result<usize, usize>) {
        // Most changes are at the end.
        let last = self.leaves.len().saturating_sub(1);
        let leaf = match self.leaves.last() {
            None => return (0, Err(0)),
            Some(leaf) if leaf[0].0 <= *key => last,
            Some(_) => {
                let after = self.leaves.partition_point(|leaf| leaf[0].0 <= *key);
                after.saturating_sub(1)
            }
        };
        let place = self.leaves[leaf].binary_search_by(|(other, _)| other.cmp(key));
        (leaf, place)
    }

    /// The first position whose key is not `before` the searched key.
    fn place<Q: ?Sized>(&self, before: impl Fn(&Q) -> bool) -> Place
    where
        K: std::borrow::Borrow<Q>,
    {
        let after = self.leaves.partition_point(|leaf| before(leaf[0].0.borrow()));
        let leaf = after.saturating_sub(1);
        let Some(pairs) = self.leaves.get(leaf) else {
            return (0, 0);
        };
        let place = pairs.partition_point(|(key, _)| before(key.borrow()));
        if place == pairs.len() { (leaf + 1, 0) } else { (leaf, place) }
    }

    fn insert_at(&mut self, leaf: usize, place: usize, pair: (K, V)) {
        self.length += 1;
        let is_last = leaf + 1 == self.leaves.len();
        let Some(full) = self.leaves.get_mut(leaf) else {
            return self.leaves.push(Arc::new(vec![pair]));
        };
        if full.len() < LEAF {
            return Arc::make_mut(full).insert(place, pair);
        }
        if is_last && place == LEAF {
            // A map that only grows at its end has full leaves.
            return self.leaves.push(Arc::new(vec![pair]));
        }
        let pairs = Arc::make_mut(full);
        let mut upper = pairs.split_off(LEAF / 2);
        if place > LEAF / 2 {
            upper.insert(place - LEAF / 2, pair);
        } else {
            pairs.insert(place, pair);
        }
        self.leaves.insert(leaf + 1, Arc::new(upper));
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for CowMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut map = Self::default();
        for (key, value) in pairs {
            map.insert(key, value);
        }
        map
    }
}

/// Equal maps may be divided into leaves differently.
impl<K: Ord + Clone, V: Clone + PartialEq> PartialEq for CowMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The pairs between two positions, in order.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a, K, V> {
    leaves: &'a [Leaf<K, V>],
    places: Range<Place>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        let (leaf, place) = self.places.start;
        if self.places.start >= self.places.end {
            return None;
        }
        let pairs = self.leaves.get(leaf)?;
        let (key, value) = pairs.get(place)?;
        self.places.start =
            if place + 1 == pairs.len() { (leaf + 1, 0) } else { (leaf, place + 1) };
        Some((key, value))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.places.start >= self.places.end {
            return None;
        }
        let (leaf, place) = match self.places.end {
            (leaf, 0) => (leaf - 1, self.leaves[leaf - 1].len() - 1),
            (leaf, place) => (leaf, place - 1),
        };
        self.places.end = (leaf, place);
        let (key, value) = self.leaves.get(leaf)?.get(place)?;
        Some((key, value))
    }
}

/// A list that grows at its end.
#[derive(Clone, Debug)]
pub(crate) struct CowVec<T> {
    /// The items in order. All leaves except the last are full.
    leaves: Vec<Arc<Vec<T>>>,
}

impl<T> Default for CowVec<T> {
    fn default() -> Self {
        Self { leaves: Vec::new() }
    }
}

impl<T: Clone> CowVec<T> {
    pub(crate) fn len(&self) -> usize {
        let full = self.leaves.len().saturating_sub(1) * LEAF;
        full + self.leaves.last().map_or(0, |leaf| leaf.len())
    }

    pub(crate) fn get(&self, position: usize) -> Option<&T> {
        self.leaves.get(position / LEAF)?.get(position % LEAF)
    }

    pub(crate) fn push(&mut self, item: T) {
        match self.leaves.last_mut().filter(|leaf| leaf.len() < LEAF) {
            Some(leaf) => Arc::make_mut(leaf).push(item),
            None => self.leaves.push(Arc::new(vec![item])),
        }
    }

    /// The items from a position to the end.
    pub(crate) fn iter_from(&self, position: usize) -> impl Iterator<Item = &T> {
        let position = position.min(self.len());
        let leaves = self.leaves.get(position / LEAF..).unwrap_or_default();
        leaves.iter().flat_map(|leaf| leaf.iter()).skip(position % LEAF)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::util::rng::SimRng;

    /// A change of one clone is not visible in another, and each clone equals the map of the
    /// standard library.
    #[test]
    fn cow_map_matches_btreemap_and_clones_are_independent() {
        let mut random = SimRng::new(4);
        let (mut map, mut known) = (CowMap::default(), BTreeMap::new());
        let mut copies = Vec::new();
        assert_eq!(map.get(&1), None);
        for round in 0..6_000_u64 {
            let key = random.below(700);
            match random.below(6) {
                0 => assert_eq!(map.remove(&key), known.remove(&key)),
                1 => {
                    let value = map.get_or_insert(key, round);
                    assert_eq!(value, *known.entry(key).or_insert(round));
                }
                2 => {
                    if let Some(value) = map.get_mut(&key) {
                        *value += 1;
                    }
                    known.entry(key).and_modify(|value| *value += 1);
                }
                _ => {
                    map.insert(key, round);
                    known.insert(key, round);
                }
            }
            assert_eq!(map.get(&key), known.get(&key));
            if round.is_multiple_of(500) {
                copies.push((map.clone(), known.clone()));
            }
        }
        copies.push((map, known));
        for (map, known) in &copies {
            assert!(map.iter().eq(known.iter()) && map.iter().rev().eq(known.iter().rev()));
            assert_eq!(map.len(), known.len());
            assert_eq!(map.first_key(), known.keys().next());
            for _ in 0..50 {
                let begin = random.below(800);
                let keys = begin..begin + random.below(200);
                assert!(map.range(keys.clone()).eq(known.range(keys.clone())));
                assert!(map.range(keys.clone()).rev().eq(known.range(keys).rev()));
                assert!(map.range(..=begin).eq(known.range(..=begin)));
            }
            #[expect(clippy::reversed_empty_ranges, reason = "an empty range must not panic")]
            let nothing = map.range(9..3).count();
            assert_eq!(nothing, 0);
        }
    }

    #[test]
    fn append_only_map_has_full_leaves() {
        let map: CowMap<_, _> = (0..10 * LEAF).map(|key| (key, key)).collect();
        assert_eq!(map.leaves.len(), 10);
    }

    #[test]
    fn cow_vec_clones_are_independent() {
        let mut list = CowVec::default();
        (0..100).for_each(|item| list.push(item));
        let copy = list.clone();
        (100..300).for_each(|item| list.push(item));
        assert!(copy.iter_from(0).copied().eq(0..100) && list.iter_from(0).copied().eq(0..300));
        for position in [0, 31, 32, 99, 100, 299, 300, 900] {
            assert!(list.iter_from(position).copied().eq(position..300));
            assert_eq!(copy.get(position), (0..100).nth(position).as_ref());
        }
        assert_eq!((copy.len(), list.len()), (100, 300));
    }
}
