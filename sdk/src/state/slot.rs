//! An entry of a part: a key, a value and the end of its life.

use std::collections::VecDeque;

use super::codec::{read_signed, signed};
use super::life::{End, UNSET};
use crate::accumulator::Accumulator;

/// An entry.
#[derive(Debug, Clone)]
pub(super) struct Slot<K, V> {
    pub(super) end: End,
    pub(super) key: K,
    pub(super) value: V,
}

impl<K: Accumulator, V: Accumulator> Slot<K, V> {
    /// Appends the entry to `into`, with its end as the difference to that of the entry before.
    #[inline]
    pub(super) fn encode(&self, ends: bool, before: &mut i64, into: &mut Vec<u8>) {
        if ends {
            signed(self.end.get().wrapping_sub(*before), into);
            *before = self.end.get();
        }
        self.key.encode(into);
        self.value.encode(into);
    }

    #[inline]
    fn decode(ends: bool, before: &mut i64, from: &mut &[u8]) -> Option<Self> {
        let end = if ends {
            *before = before.wrapping_add(read_signed(from)?);
            *before
        } else {
            UNSET
        };
        Some(Self { end: End::at(end), key: K::decode(from)?, value: V::decode(from)? })
    }
}

/// Entries that are likely to be added to those that are read: without room for them the first one moves all.
const ROOM: usize = 4;

/// Reads so many entries, and shows the end of each.
pub(super) fn decode_slots<K: Accumulator, V: Accumulator>(
    count: u64,
    ends: bool,
    from: &mut &[u8],
    mut found: impl FnMut(i64),
) -> Option<VecDeque<Slot<K, V>>> {
    // An entry is a byte at least, or the count is made up: memory is not taken on its word.
    let entries = usize::try_from(count).unwrap_or(usize::MAX).min(from.len());
    let mut slots = VecDeque::with_capacity(entries + ROOM);
    let mut before = 0_i64;
    for _ in 0..count {
        let slot = Slot::decode(ends, &mut before, from)?;
        found(slot.end.get());
        slots.push_back(slot);
    }
    Some(slots)
}
