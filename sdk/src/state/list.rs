//! Values in the order in which they were pushed.

use super::life::Ttl;
use super::slots::Slots;

/// Values in the order in which they were pushed.
#[derive(Debug, Clone)]
pub struct List<T>(pub(super) Slots<(), T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> List<T> {
    /// An empty list.
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

    /// The values, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.0.iter(0..self.len()).map(|(_, value)| value)
    }

    /// The value at a place, counted from the oldest.
    pub fn get(&self, place: usize) -> Option<&T> {
        self.0.read(place).map(|(_, value)| value)
    }

    /// The oldest value.
    pub fn first(&self) -> Option<&T> {
        self.get(0)
    }

    /// The newest value.
    pub fn last(&self) -> Option<&T> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Adds a value at the end.
    pub fn push(&mut self, value: T) {
        self.0.insert(self.len(), (), value);
    }

    /// Removes all but the newest values.
    pub fn keep_last(&mut self, count: usize) {
        self.0.discard_range(0..self.len().saturating_sub(count));
    }

    /// Keeps the values for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.0.retain(|(), value| keep(value));
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        self.0.discard_range(0..self.len());
    }

    /// The value at a place, to be changed.
    pub fn get_mut(&mut self, place: usize) -> Option<&mut T>
    where
        T: Clone,
    {
        self.0.write(place)
    }

    /// Removes the oldest value.
    pub fn pop_first(&mut self) -> Option<T>
    where
        T: Clone,
    {
        self.0.remove(0).map(|((), value)| value)
    }

    /// Removes the newest value.
    pub fn pop_last(&mut self) -> Option<T>
    where
        T: Clone,
    {
        self.0.remove(self.len().checked_sub(1)?).map(|((), value)| value)
    }
}
