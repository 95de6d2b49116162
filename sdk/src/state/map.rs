//! One value a key.

use std::borrow::Borrow;
use std::ops::RangeBounds;

use super::life::Ttl;
use super::slots::{Slots, places};

/// One value a key, in the order of the keys.
#[derive(Debug, Clone)]
pub struct Map<K, V>(pub(super) Slots<K, V>);

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Map<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self(Slots::new())
    }

    /// Limits how long each entry lives.
    pub fn ttl(self, ttl: Ttl) -> Self {
        Self(self.0.ttl(ttl))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries in the order of their keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.iter(0..self.len())
    }

    /// Keeps the entries for which `keep` returns true.
    pub fn retain(&mut self, keep: impl FnMut(&K, &V) -> bool) {
        self.0.retain(keep);
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.0.discard_range(0..self.len());
    }
}

impl<K: Ord, V> Map<K, V> {
    /// The place of the key, or where it would be.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        let place = self.0.place(|known| known.borrow() < key);
        match self.0.key(place) {
            Some(known) if known.borrow() == key => Ok(place),
            _ => Err(place),
        }
    }

    /// The value of the key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        self.0.read(place).map(|(_, value)| value)
    }

    /// Whether the key has a value. That is not reading it.
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// The entries whose keys are in the bounds, in the order of their keys.
    pub fn range<Q: Ord + ?Sized>(&self, bounds: impl RangeBounds<Q>) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.0.iter(places(&self.0, &bounds))
    }

    /// Sets the value of the key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(place) => self.0.replace(place, key, value),
            Err(place) => self.0.insert(place, key, value),
        }
    }

    /// The place of the first key that is not before.
    pub(crate) fn place(&self, before: impl FnMut(&K) -> bool) -> usize {
        self.0.place(before)
    }

    /// The key at a place. That is not reading it.
    pub(crate) fn key_at(&self, place: usize) -> Option<&K> {
        self.0.key(place)
    }

    /// Removes the key at a place.
    pub(crate) fn remove_at(&mut self, place: usize) {
        self.0.discard(place);
    }

    /// Removes the keys in the bounds.
    pub fn remove_range<Q: Ord + ?Sized>(&mut self, bounds: impl RangeBounds<Q>)
    where
        K: Borrow<Q>,
    {
        self.0.discard_range(places(&self.0, &bounds));
    }

    /// Removes the key. Returns whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok_and(|place| self.0.discard(place))
    }
}

impl<K: Ord + Clone, V: Clone> Map<K, V> {
    /// Removes the key. Answers with the value that it had.
    pub fn take<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        self.0.remove(place).map(|(_, value)| value)
    }

    /// The value of the key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        self.0.write(place)
    }

    /// The value of the key, to be changed; if there is none, the default.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let place = match self.find(&key) {
            Ok(place) => place,
            Err(place) => {
                self.0.insert(place, key, V::default());
                place
            }
        };
        self.0.write(place).expect("the entry was found, or inserted just now")
    }
}
