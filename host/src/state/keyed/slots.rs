//! Keys and their state values: a hash table made for a lookup a row.
//!
//! A slot is one cache line that holds what a call needs of a key: hash, key, value and a few marks. Longer keys and
//! values spill into arenas. A slot keeps its number as long as its key has anything; then the number is given away again.
//!
//! Only this file knows where values are.

use hashbrown::HashTable;

use super::arena::Arena;
use crate::record::NULL;
use crate::state::groups::KeyHasher;

/// A slot's number.
pub type SlotId = u32;

/// Bytes of a key that fit into its slot: what is left of 64 after the other fields.
const KEY_INLINE: usize = 20;
/// Bytes of a value that fit into its slot; a count takes 8.
const VALUE_INLINE: usize = 16;
/// The length of the key of a slot that is free.
const FREE: i32 = -2;
/// A mark beside the place of timers: there may be an entry of this key on disk.
const ON_DISK: u32 = 1 << 31;
/// A mark beside the place of timers: the entry on disk is the value that is in memory.
const SAME: u32 = 1 << 30;

/// Keys and values.
#[derive(Debug, Default)]
pub(super) struct Slots {
    hasher: KeyHasher,
    table: HashTable<SlotId>,
    slots: Vec<Slot>,
    free: Vec<SlotId>,
    keys: Arena,
    values: Arena,
}

#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct Slot {
    hash: u32,
    key_length: i32,
    value_length: i32,
    /// The last call this slot took part in, and its group number there.
    call: u32,
    group: u32,
    /// The last commit in which this slot was noted as touched.
    commit: u32,
    /// Where its timers are, counted from 1; 0 if it has none. The highest bits are marks.
    timers: u32,
    key: [u8; KEY_INLINE],
    value: [u8; VALUE_INLINE],
}

/// A slot and its share of the table.
const SLOT_BYTES: usize = size_of::<Slot>() + size_of::<SlotId>() + 1;

/// The table wants hashes of 64 bits that differ at both ends.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Slots {
    pub(super) fn hash(&self, key: Option<&[u8]>) -> u32 {
        self.hasher.hash(key)
    }

    /// The slot that a key of this hash most probably has, without a look at it.
    pub(super) fn candidate(&self, hash: u32) -> Option<SlotId> {
        self.table.find(spread(hash), |_| true).copied()
    }

    /// Whether a slot is that of a key.
    pub(super) fn is_of(&self, id: SlotId, hash: u32, key: Option<&[u8]>) -> bool {
        let slot = &self.slots[id as usize];
        slot.hash == hash && slot.key_length != FREE && slot.key(&self.keys) == key
    }

    /// Something of a slot, so that it is near when it is needed.
    pub(super) fn touch_memory(&self, id: SlotId) -> u32 {
        self.slots[id as usize].hash
    }

    /// The slot of a key, if it has one.
    pub(super) fn find(&self, hash: u32, key: Option<&[u8]>) -> Option<SlotId> {
        self.table.find(spread(hash), |&id| self.is_of(id, hash, key)).copied()
    }

    /// The slot of a key, made if it is new.
    pub(super) fn slot(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        self.find(hash, key).unwrap_or_else(|| self.add(hash, key))
    }

    /// A slot for a key that has none.
    pub(super) fn add(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        let Self { table, slots, keys, .. } = self;
        let slot = Slot::new(hash, key, keys);
        let id = match self.free.pop() {
            Some(id) => {
                slots[id as usize] = slot;
                id
            }
            None => {
                slots.push(slot);
                (slots.len() - 1) as SlotId
            }
        };
        table.insert_unique(spread(hash), id, |&id| spread(slots[id as usize].hash));
        id
    }

    /// Gives the number of a slot away, of which nothing is needed any more.
    pub(super) fn free(&mut self, id: SlotId) {
        self.set_value(id, None);
        let slot = &mut self.slots[id as usize];
        if slot.key_length == FREE {
            return;
        }
        let hash = spread(slot.hash);
        if slot.key_length > KEY_INLINE as i32 {
            self.keys.waste(slot.key_length as usize);
        }
        slot.key_length = FREE;
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
        self.free.push(id);
        if self.keys.is_untidy() {
            self.tidy_keys();
        }
    }

    /// Whether the slot has a key.
    pub(super) fn is_taken(&self, id: SlotId) -> bool {
        self.slots[id as usize].key_length != FREE
    }

    pub(super) fn key(&self, id: SlotId) -> Option<&[u8]> {
        self.slots[id as usize].key(&self.keys)
    }

    pub(super) fn value(&self, id: SlotId) -> Option<&[u8]> {
        self.slots[id as usize].value(&self.values)
    }

    /// How many bytes the value has.
    pub(super) fn value_length(&self, id: SlotId) -> usize {
        self.slots[id as usize].value_length.max(0) as usize
    }

    pub(super) fn set_value(&mut self, id: SlotId, value: Option<&[u8]>) {
        let slot = &mut self.slots[id as usize];
        slot.timers &= !SAME;
        let room = slot.spilled_capacity();
        match value {
            Some(bytes) if bytes.len() <= VALUE_INLINE => {
                self.values.waste(room);
                slot.value[..bytes.len()].copy_from_slice(bytes);
            }
            Some(bytes) if bytes.len() <= room => self.values.write(slot.spilled().0, bytes),
            Some(bytes) => {
                self.values.waste(room);
                slot.spill(self.values.push(bytes), bytes.len());
            }
            None => self.values.waste(room),
        }
        slot.value_length = value.map_or(NULL, |bytes| bytes.len() as i32);
        if self.values.is_untidy() {
            self.tidy_values();
        }
    }

    /// The group number of a slot in a call, if it has one already.
    pub(super) fn group_in(&self, id: SlotId, call: u32) -> Option<u32> {
        let slot = &self.slots[id as usize];
        (slot.call == call).then_some(slot.group)
    }

    /// Gives a slot its group number in a call.
    pub(super) fn set_group(&mut self, id: SlotId, call: u32, group: u32) {
        let slot = &mut self.slots[id as usize];
        slot.call = call;
        slot.group = group;
    }

    /// Notes a slot as touched in a commit; whether it was not yet.
    pub(super) fn touch(&mut self, id: SlotId, commit: u32) -> bool {
        std::mem::replace(&mut self.slots[id as usize].commit, commit) != commit
    }

    /// Takes all marks of calls away.
    pub(super) fn clear_calls(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.call = 0);
    }

    /// Takes all marks of commits away.
    pub(super) fn clear_commits(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.commit = 0);
    }

    /// Where the slot's timers are, if it has any.
    pub(super) fn timers(&self, id: SlotId) -> Option<u32> {
        (self.slots[id as usize].timers & !(ON_DISK | SAME)).checked_sub(1)
    }

    pub(super) fn set_timers(&mut self, id: SlotId, timers: Option<u32>) {
        let slot = &mut self.slots[id as usize];
        slot.timers = slot.timers & (ON_DISK | SAME) | timers.map_or(0, |at| at + 1);
    }

    /// Notes that the value of a slot is what the disk has.
    pub(super) fn mark_same(&mut self, id: SlotId) {
        self.slots[id as usize].timers |= ON_DISK | SAME;
    }

    /// Whether the disk may have an entry of the slot's key.
    pub(super) fn may_be_on_disk(&self, id: SlotId) -> bool {
        self.slots[id as usize].timers & ON_DISK != 0
    }

    /// Whether the value of a slot is what the disk has.
    pub(super) fn is_same(&self, id: SlotId) -> bool {
        self.slots[id as usize].timers & SAME != 0
    }

    /// Whether a slot took part in a call after the one of that number.
    pub(super) fn is_used_since(&self, id: SlotId, call: u32) -> bool {
        self.slots[id as usize].call > call
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The first number that no slot has had.
    pub(super) fn end(&self) -> SlotId {
        self.slots.len() as SlotId
    }

    /// Bytes of what there is. Free slots are used again, and waste is at most as much.
    pub(super) fn bytes(&self) -> usize {
        self.len() * SLOT_BYTES + self.keys.used() + self.values.used()
    }

    /// Bytes of a slot, its key and its value.
    pub(super) fn bytes_of(&self, id: SlotId) -> usize {
        let slot = &self.slots[id as usize];
        let key = if slot.key_length > KEY_INLINE as i32 { slot.key_length as usize } else { 0 };
        SLOT_BYTES + key + slot.spilled_capacity()
    }

    fn tidy_keys(&mut self) {
        let mut tidied = self.keys.successor();
        for slot in &mut self.slots {
            if slot.key_length > KEY_INLINE as i32 {
                let at = tidied.push(self.keys.get(word(&slot.key[..8]), slot.key_length as usize));
                slot.key[..8].copy_from_slice(&at.to_le_bytes());
            }
        }
        self.keys = tidied;
    }

    fn tidy_values(&mut self) {
        let mut tidied = self.values.successor();
        for slot in &mut self.slots {
            if slot.spilled_capacity() > 0 {
                let length = slot.value_length as usize;
                let at = tidied.push(self.values.get(slot.spilled().0, length));
                slot.spill(at, length);
            }
        }
        self.values = tidied;
    }
}

impl Slot {
    fn new(hash: u32, key: Option<&[u8]>, keys: &mut Arena) -> Self {
        let mut slot = Self {
            hash,
            key_length: NULL,
            value_length: NULL,
            call: 0,
            group: 0,
            commit: 0,
            timers: 0,
            key: [0; KEY_INLINE],
            value: [0; VALUE_INLINE],
        };
        if let Some(key) = key {
            slot.key_length = key.len() as i32;
            if key.len() <= KEY_INLINE {
                slot.key[..key.len()].copy_from_slice(key);
            } else {
                slot.key[..8].copy_from_slice(&keys.push(key).to_le_bytes());
            }
        }
        slot
    }

    fn key<'a>(&'a self, keys: &'a Arena) -> Option<&'a [u8]> {
        let length = usize::try_from(self.key_length).ok()?;
        Some(if length <= KEY_INLINE { &self.key[..length] } else { keys.get(word(&self.key[..8]), length) })
    }

    fn value<'a>(&'a self, values: &'a Arena) -> Option<&'a [u8]> {
        let length = usize::try_from(self.value_length).ok()?;
        Some(if length <= VALUE_INLINE { &self.value[..length] } else { values.get(self.spilled().0, length) })
    }

    /// Where a spilled value is, and how much room it has.
    fn spilled(&self) -> (u64, usize) {
        (word(&self.value[..8]), word(&self.value[8..]) as usize)
    }

    fn spilled_capacity(&self) -> usize {
        if self.value_length > VALUE_INLINE as i32 { self.spilled().1 } else { 0 }
    }

    fn spill(&mut self, at: u64, capacity: usize) {
        self.value[..8].copy_from_slice(&at.to_le_bytes());
        self.value[8..].copy_from_slice(&(capacity as u64).to_le_bytes());
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_is_one_cache_line() {
        assert_eq!(size_of::<Slot>(), 64);
    }

    #[test]
    fn arenas_are_tidied_when_half_of_them_is_waste() {
        let mut slots = Slots::default();
        let kept = slots.slot(1, Some(&[7; 100]));
        slots.set_value(kept, Some(&[8; 100]));
        for number in 0..4000_u32 {
            let key = [number.to_le_bytes().as_slice(), &[0; 1000]].concat();
            let id = slots.slot(number, Some(&key));
            slots.set_value(id, Some(&key));
            slots.free(id);
        }
        let taken = slots.keys.len() + slots.values.len();
        assert!(taken < 8 << 20, "{taken} bytes for one key");
        assert_eq!(slots.bytes(), SLOT_BYTES + 200);
        assert_eq!((slots.key(kept), slots.value(kept)), (Some(&[7; 100][..]), Some(&[8; 100][..])));
        assert_eq!((slots.len(), slots.end()), (1, 2), "numbers are given away again");
    }

    proptest! {
        #[test]
        fn it_is_a_map(changes in proptest::collection::vec(
            (proptest::option::of(proptest::collection::vec(0_u8..3, 0..40)),
             proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))), 0..200)) {
            let mut slots = Slots::default();
            let mut model = BTreeMap::new();
            for (key, value) in changes {
                let id = slots.slot(slots.hash(key.as_deref()), key.as_deref());
                match value {
                    Some(value) => {
                        slots.set_value(id, Some(&value));
                        model.insert(key, value);
                    }
                    None => {
                        slots.free(id);
                        model.remove(&key);
                    }
                }
                prop_assert_eq!(slots.len(), model.len());
            }
            for (key, value) in model {
                let id = slots.slot(slots.hash(key.as_deref()), key.as_deref());
                prop_assert_eq!(slots.value(id), Some(value.as_slice()));
                prop_assert_eq!(slots.key(id), key.as_deref());
            }
        }
    }
}
