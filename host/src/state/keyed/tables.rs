//! Ordered entries of keys: what is kept between calls.
//!
//! All tables of all keys are one ordered map. A place in it is the key's slot, the table's number and the entry's key,
//! numbers with their greatest byte first, so that places are in the order of the bytes of keys.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::slots::SlotId;
use crate::plugin::TableRange;

/// Bytes of a place before the entry's key.
const PREFIX: usize = 8;
/// What an entry takes beside its key and value: two allocations and its share of a tree node.
const ENTRY_OVERHEAD: usize = 64;

/// What a table's entries are kept by.
pub(super) type Place = Box<[u8]>;

/// Entries and bytes of a key's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// The tables of all keys.
#[derive(Debug, Default)]
pub(super) struct Tables {
    entries: BTreeMap<Place, Box<[u8]>>,
    sizes: HashMap<SlotId, Size>,
    bytes: usize,
    /// Places that changed since the last block.
    changed: Vec<Place>,
}

/// The place of an entry.
pub(super) fn place(slot: SlotId, table: u32, key: &[u8]) -> Place {
    let mut place = Vec::with_capacity(PREFIX + key.len());
    place.extend_from_slice(&slot.to_be_bytes());
    place.extend_from_slice(&table.to_be_bytes());
    place.extend_from_slice(key);
    place.into_boxed_slice()
}

/// The slot, table and key of a place.
pub(super) fn parts(place: &[u8]) -> (SlotId, u32, &[u8]) {
    let number = |at: usize| place[at..at + 4].iter().fold(0, |number, &byte| number << 8 | u32::from(byte));
    (number(0), number(4), &place[PREFIX..])
}

/// The bounds of a range of a table; none if nothing can be in it.
pub(super) fn bounds(slot: SlotId, table: u32, range: TableRange<'_>) -> Option<(Bound<Place>, Bound<Place>)> {
    let start = place(slot, table, range.start);
    let end = if !range.end.is_empty() {
        Bound::Excluded(place(slot, table, range.end))
    } else {
        match (u64::from(slot) << 32 | u64::from(table)).checked_add(1) {
            Some(next) => Bound::Excluded(next.to_be_bytes().into()),
            None => Bound::Unbounded,
        }
    };
    let is_empty = matches!(&end, Bound::Excluded(end) if *end <= start);
    (!is_empty).then_some((Bound::Included(start), end))
}

impl Tables {
    pub(super) fn get(&self, place: &[u8]) -> Option<&[u8]> {
        self.entries.get(place).map(AsRef::as_ref)
    }

    pub(super) fn range(
        &self,
        bounds: (Bound<Place>, Bound<Place>),
    ) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.entries.range(bounds).map(|(place, value)| (&**place, &**value))
    }

    /// Sets or deletes an entry.
    pub(super) fn set(&mut self, place: Place, value: Option<Box<[u8]>>) {
        let (slot, _, key) = parts(&place);
        let key = key.len();
        let size = self.sizes.entry(slot).or_default();
        let weight = |value: &[u8]| key + value.len();
        let add = value.as_deref().map(weight);
        let old = match value {
            Some(value) => self.entries.insert(place, value),
            None => self.entries.remove(&place),
        };
        if let Some(bytes) = add {
            size.entries += 1;
            size.bytes += bytes as u64;
            self.bytes += bytes + ENTRY_OVERHEAD;
        }
        if let Some(bytes) = old.as_deref().map(weight) {
            size.entries -= 1;
            size.bytes -= bytes as u64;
            self.bytes -= bytes + ENTRY_OVERHEAD;
        }
        if size.entries == 0 {
            self.sizes.remove(&slot);
        }
    }

    /// Notes that the entry at a place is not what the last block says.
    pub(super) fn note(&mut self, place: Place) {
        self.changed.push(place);
    }

    /// The places that changed since the last time this was asked, in order.
    pub(super) fn take_changed(&mut self) -> Vec<Place> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What a key has in all its tables.
    pub(super) fn size(&self, slot: SlotId) -> Size {
        self.sizes.get(&slot).copied().unwrap_or_default()
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.sizes.len() * (size_of::<(SlotId, Size)>() + 1)
    }
}
