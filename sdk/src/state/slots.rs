//! Entries in an order, each with an end: what lists, maps and ordered parts are made of.
//!
//! Each change is remembered, so that all since the beginning of a callback can be taken back. Removing from either end
//! and adding near the end are cheap, which is how keys that grow with time are used.

use std::collections::VecDeque;

use super::State;
use super::codec::{ENDS, ENTRIES, read_signed, read_varint, signed, varint};
use super::life::{End, Life, Now, Ttl, UNSET};
use crate::accumulator::Accumulator;
use crate::process::Domain;

/// An entry.
#[derive(Debug, Clone)]
pub(super) struct Slot<K, V> {
    end: End,
    key: K,
    value: V,
}

/// What has been done, in the order in which it was done.
#[derive(Debug, Clone)]
enum Change<K, V> {
    Inserted(usize),
    Removed(usize, Slot<K, V>),
    Replaced(usize, Slot<K, V>),
    /// All entries were taken away; these were there.
    Cleared(VecDeque<Slot<K, V>>),
}

/// The entries of a part.
#[derive(Debug, Clone)]
pub(super) struct Slots<K, V> {
    life: Life,
    slots: VecDeque<Slot<K, V>>,
    changes: Vec<Change<K, V>>,
}

impl<K, V> Slots<K, V> {
    pub(super) const fn new() -> Self {
        Self { life: Life::new(None), slots: VecDeque::new(), changes: Vec::new() }
    }

    pub(super) fn ttl(self, ttl: Ttl) -> Self {
        Self { life: Life::new(Some(ttl)), ..self }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The place of the first entry of which the key is not before.
    pub(super) fn place(&self, before: impl FnMut(&K) -> bool) -> usize {
        let mut before = before;
        // Most keys that grow with time are asked for at the end.
        if self.slots.back().is_none_or(|last| before(&last.key)) {
            return self.slots.len();
        }
        self.slots.partition_point(|slot| before(&slot.key))
    }

    /// The key at a place; looking at it is not reading.
    pub(super) fn key(&self, place: usize) -> Option<&K> {
        self.slots.get(place).map(|slot| &slot.key)
    }

    pub(super) fn read(&self, place: usize) -> Option<(&K, &V)> {
        let slot = self.slots.get(place)?;
        slot.end.read(&self.life);
        Some((&slot.key, &slot.value))
    }

    /// Reads the entries at these places.
    pub(super) fn iter(&self, places: std::ops::Range<usize>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.slots.range(places).map(|slot| {
            slot.end.read(&self.life);
            (&slot.key, &slot.value)
        })
    }

    pub(super) fn insert(&mut self, place: usize, key: K, value: V) {
        let end = End::at(self.life.renewed(UNSET));
        self.slots.insert(place, Slot { end, key, value });
        self.changes.push(Change::Inserted(place));
    }

    pub(super) fn replace(&mut self, place: usize, key: K, value: V) {
        if let Some(slot) = self.slots.get_mut(place) {
            let end = End::at(self.life.renewed(slot.end.get()));
            let old = std::mem::replace(slot, Slot { end, key, value });
            self.changes.push(Change::Replaced(place, old));
        }
    }

    /// The value at a place, to be changed.
    pub(super) fn write(&mut self, place: usize) -> Option<&mut V>
    where
        K: Clone,
        V: Clone,
    {
        let slot = self.slots.get_mut(place)?;
        self.changes.push(Change::Replaced(place, slot.clone()));
        slot.end.set(self.life.renewed(slot.end.get()));
        Some(&mut slot.value)
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<(K, V)>
    where
        K: Clone,
        V: Clone,
    {
        let old = self.slots.remove(place)?;
        let content = (old.key.clone(), old.value.clone());
        self.changes.push(Change::Removed(place, old));
        Some(content)
    }

    /// Removes an entry that nobody wants to see.
    pub(super) fn discard(&mut self, place: usize) -> bool {
        match self.slots.remove(place) {
            Some(old) => {
                self.changes.push(Change::Removed(place, old));
                true
            }
            None => false,
        }
    }

    /// Removes what is at these places.
    pub(super) fn discard_range(&mut self, places: std::ops::Range<usize>) {
        if places == (0..self.slots.len()) {
            self.changes.push(Change::Cleared(std::mem::take(&mut self.slots)));
            return;
        }
        // From the front while they are the first ones: nothing has to move then.
        for _ in places.clone() {
            self.discard(places.start);
        }
    }

    /// Keeps the entries of which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let mut place = 0;
        for slot in std::mem::take(&mut self.slots) {
            if keep(&slot.key, &slot.value) {
                self.slots.push_back(slot);
                place += 1;
            } else {
                self.changes.push(Change::Removed(place, slot));
            }
        }
    }
}

impl<K: Accumulator, V: Accumulator> Slots<K, V> {
    pub(super) fn encode(&self, into: &mut Vec<u8>) {
        if self.slots.is_empty() {
            return into.push(0);
        }
        let ends = self.life.ttl.is_some();
        into.push(ENTRIES | if ends { ENDS } else { 0 });
        varint(self.slots.len() as u64, into);
        let mut before = 0_i64;
        for Slot { end, key, value } in &self.slots {
            if ends {
                signed(end.get().wrapping_sub(before), into);
                before = end.get();
            }
            key.encode(into);
            value.encode(into);
        }
    }

    pub(super) fn decode(&mut self, from: &mut &[u8]) -> Option<()> {
        let flags = u8::decode(from)?;
        self.life.none_left();
        if flags & ENTRIES == 0 {
            return (flags == 0).then_some(());
        }
        if flags & !(ENTRIES | ENDS) != 0 {
            return None;
        }
        let count = read_varint(from)?;
        // An entry is a byte at least, or the count is made up: memory is not taken on its word.
        self.slots.reserve(usize::try_from(count).unwrap_or(usize::MAX).min(from.len()));
        let mut end = 0_i64;
        for _ in 0..count {
            if flags & ENDS != 0 {
                end = end.wrapping_add(read_signed(from)?);
            } else {
                end = UNSET;
            }
            self.life.found(end);
            self.slots.push_back(Slot { end: End::at(end), key: K::decode(from)?, value: V::decode(from)? });
        }
        Some(())
    }
}

impl<K, V> Slots<K, V> {
    pub(super) fn begin(&mut self, now: &Now) {
        self.changes.clear();
        if self.life.begin(now) {
            let slots = &mut self.slots;
            self.life.judge(|judge| slots.retain(|slot| judge(&slot.end)));
        }
    }

    pub(super) fn undo(&mut self) {
        for change in self.changes.drain(..).rev() {
            match change {
                Change::Inserted(place) => drop(self.slots.remove(place)),
                Change::Removed(place, slot) => self.slots.insert(place, slot),
                Change::Replaced(place, slot) => {
                    if let Some(new) = self.slots.get_mut(place) {
                        *new = slot;
                    }
                }
                Change::Cleared(slots) => self.slots = slots,
            }
        }
        self.life.undo();
        if self.life.ttl.is_some() {
            for slot in &self.slots {
                slot.end.undo(&self.life);
                self.life.found(slot.end.get());
            }
        }
    }

    pub(super) fn written(&self, domain: Domain) -> Option<i64> {
        self.life.written(domain)
    }

    pub(super) fn earliest(&self, domain: Domain) -> Option<i64> {
        if !self.life.counts_in(domain) {
            return None;
        }
        self.slots.iter().map(|slot| slot.end.get()).min().filter(|&end| end != UNSET)
    }
}

/// The functions of [`State`] of a part that is a newtype of [`Slots`].
macro_rules! state_of_slots {
    ($([$($generics:tt)*] $type:ty),*) => {$(
        impl<$($generics)*> State for $type {
            fn is_empty(&self) -> bool {
                self.0.len() == 0
            }
            fn encode(&self, into: &mut Vec<u8>) {
                self.0.encode(into);
            }
            fn decode(&mut self, from: &mut &[u8]) -> Option<()> {
                self.0.decode(from)
            }
            fn begin(&mut self, now: &Now) {
                self.0.begin(now);
            }
            fn undo(&mut self) {
                self.0.undo();
            }
            fn written(&self, domain: Domain) -> Option<i64> {
                self.0.written(domain)
            }
            fn earliest(&self, domain: Domain) -> Option<i64> {
                self.0.earliest(domain)
            }
        }
    )*};
}
state_of_slots!(
    [T: Accumulator + std::fmt::Debug] super::List<T>,
    [K: Accumulator + Ord + std::fmt::Debug, V: Accumulator + std::fmt::Debug] super::Map<K, V>,
    [K: Accumulator + Ord + std::fmt::Debug, V: Accumulator + std::fmt::Debug] super::Ordered<K, V>
);

/// The places of the keys in the bounds, of entries in the order of their keys.
pub(super) fn places<K, V, Q: Ord + ?Sized>(
    slots: &Slots<K, V>,
    bounds: &impl std::ops::RangeBounds<Q>,
) -> std::ops::Range<usize>
where
    K: std::borrow::Borrow<Q>,
{
    use std::ops::Bound;
    let start = match bounds.start_bound() {
        Bound::Included(first) => slots.place(|key| key.borrow() < first),
        Bound::Excluded(before) => slots.place(|key| key.borrow() <= before),
        Bound::Unbounded => 0,
    };
    let end = match bounds.end_bound() {
        Bound::Included(last) => slots.place(|key| key.borrow() <= last),
        Bound::Excluded(after) => slots.place(|key| key.borrow() < after),
        Bound::Unbounded => slots.len(),
    };
    start..end.max(start)
}
