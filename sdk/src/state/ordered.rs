//! Any number of values a key, in the order of the keys.

use std::borrow::Borrow;
use std::ops::RangeBounds;

use super::life::Ttl;
use super::slots::{Slots, places};

/// Any number of values a key, in the order of the keys; those of one key stay in the order in which they came.
///
/// With event times as keys: the rows of the last hour, the first one after a time, what came before a time.
#[derive(Debug, Clone)]
pub struct Ordered<K, V>(pub(super) Slots<K, V>);

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Ordered<K, V> {
    /// No values.
    pub const fn new() -> Self {
        Self(Slots::new())
    }

    /// Limits how long each value lives.
    pub fn ttl(self, ttl: Ttl) -> Self {
        Self(self.0.ttl(ttl))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys and values, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter(0..self.len())
    }

    /// The first key and its first value.
    pub fn first(&self) -> Option<(&K, &V)> {
        self.0.read(0)
    }

    /// The last key and its last value.
    pub fn last(&self) -> Option<(&K, &V)> {
        self.0.read(self.len().checked_sub(1)?)
    }

    /// Keeps the values for which `keep` returns true.
    pub fn retain(&mut self, keep: impl FnMut(&K, &V) -> bool) {
        self.0.retain(keep);
    }

    /// Removes all but the last values.
    pub fn keep_last(&mut self, count: usize) {
        self.0.discard_range(0..self.len().saturating_sub(count));
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        self.0.discard_range(0..self.len());
    }
}

impl<K: Ord, V> Ordered<K, V> {
    /// Adds a value behind those of its key.
    pub fn insert(&mut self, key: K, value: V) {
        let place = self.0.place(|known| *known <= key);
        self.0.insert(place, key, value);
    }

    /// The values of a key.
    pub fn get<'s, Q: Ord + ?Sized + 's>(&'s self, key: &'s Q) -> impl DoubleEndedIterator<Item = &'s V>
    where
        K: Borrow<Q>,
    {
        let start = self.0.place(|known| known.borrow() < key);
        let end = self.0.place(|known| known.borrow() <= key);
        self.0.iter(start..end).map(|(_, value)| value)
    }

    /// The keys in the bounds with their values, in order.
    pub fn range<Q: Ord + ?Sized>(&self, bounds: impl RangeBounds<Q>) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.0.iter(places(&self.0, &bounds))
    }

    /// Removes the keys in the bounds: `remove(..start)` what lies before `start`.
    pub fn remove<Q: Ord + ?Sized>(&mut self, bounds: impl RangeBounds<Q>)
    where
        K: Borrow<Q>,
    {
        self.0.discard_range(places(&self.0, &bounds));
    }
}

impl<K: Ord + Clone, V: Clone> Ordered<K, V> {
    /// The first value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.0.place(|known| known.borrow() < key);
        if self.0.key(place)?.borrow() != key {
            return None;
        }
        self.0.write(place)
    }

    /// Removes the first key's first value.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        self.0.remove(0)
    }

    /// Removes the last key's last value.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.0.remove(self.len().checked_sub(1)?)
    }
}
