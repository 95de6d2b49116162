//! Keys and their state values. A slot keeps its number as long as its key has anything.
//!
//! Only this file knows where values are.

pub use crate::state::slots::SlotId;
use crate::state::slots::{Arena, KeyHasher, Marks, SlotTable, Stored};

/// Bytes of a value that fit into its slot; a count takes 8.
const VALUE_INLINE: usize = 16;
/// A mark beside the place of timers: there may be an entry of this key on disk.
const ON_DISK: u32 = 1 << 31;
/// A mark beside the place of timers: the entry on disk is the value that is in memory.
const SAME: u32 = 1 << 30;

/// Keys and values.
#[derive(Debug, Default)]
pub(super) struct Slots {
    hasher: KeyHasher,
    slots: SlotTable<Kept, 20>,
    values: Arena,
}

/// What a slot has beside its key.
#[derive(Debug, Clone, Default)]
#[repr(C)]
struct Kept {
    value: Stored<VALUE_INLINE>,
    marks: Marks,
    /// Where its timers are, counted from 1; 0 if it has none. The highest bits are marks.
    timers: u32,
}

impl Slots {
    pub(super) fn hash(&self, key: Option<&[u8]>) -> u32 {
        self.hasher.hash(key)
    }

    /// The slot that a key of this hash most probably has, without a look at it.
    pub(super) fn candidate(&self, hash: u32) -> Option<SlotId> {
        self.slots.candidate(hash)
    }

    /// Whether a slot is that of a key.
    pub(super) fn is_of(&self, id: SlotId, hash: u32, key: Option<&[u8]>) -> bool {
        self.slots.is_of(id, hash, key)
    }

    /// Something of a slot, so that it is near when it is needed.
    pub(super) fn touch_memory(&self, id: SlotId) -> u32 {
        self.slots.touch_memory(id)
    }

    /// The slot of a key, if it has one.
    pub(super) fn find(&self, hash: u32, key: Option<&[u8]>) -> Option<SlotId> {
        self.slots.find(hash, key)
    }

    /// The slot of a key, made if it is new.
    pub(super) fn slot(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        self.slots.slot(hash, key)
    }

    /// A slot for a key that has none.
    pub(super) fn add(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        self.slots.add(hash, key)
    }

    /// Frees a slot that is no longer needed; its number is used again.
    pub(super) fn free(&mut self, id: SlotId) {
        self.set_value(id, None);
        self.slots.free(id);
    }

    /// Whether the slot has a key.
    pub(super) fn is_taken(&self, id: SlotId) -> bool {
        self.slots.is_taken(id)
    }

    pub(super) fn key(&self, id: SlotId) -> Option<&[u8]> {
        self.slots.key(id)
    }

    pub(super) fn value(&self, id: SlotId) -> Option<&[u8]> {
        self.slots.extra(id).value.get(&self.values)
    }

    /// How many bytes the value has.
    pub(super) fn value_length(&self, id: SlotId) -> usize {
        self.slots.extra(id).value.len()
    }

    pub(super) fn set_value(&mut self, id: SlotId, value: Option<&[u8]>) {
        let kept = self.slots.extra_mut(id);
        kept.timers &= !SAME;
        kept.value.set(value, &mut self.values);
        if self.values.is_untidy() {
            self.values.tidy(self.slots.extras_mut().map(|kept| &mut kept.value));
        }
    }

    /// The group number of a slot in a call, if it has one already.
    pub(super) fn group_in(&self, id: SlotId, call: u32) -> Option<u32> {
        self.slots.extra(id).marks.group_in(call)
    }

    /// Gives a slot its group number in a call.
    pub(super) fn set_group(&mut self, id: SlotId, call: u32, group: u32) {
        self.slots.extra_mut(id).marks.set_group(call, group);
    }

    /// Notes a slot as touched in a commit; whether it was not yet.
    pub(super) fn touch(&mut self, id: SlotId, commit: u32) -> bool {
        self.slots.extra_mut(id).marks.change(commit)
    }

    /// Takes all marks of calls away.
    pub(super) fn clear_calls(&mut self) {
        self.slots.extras_mut().for_each(|kept| kept.marks.clear_call());
    }

    /// Takes all marks of commits away.
    pub(super) fn clear_commits(&mut self) {
        self.slots.extras_mut().for_each(|kept| kept.marks.clear_commit());
    }

    /// Where the slot's timers are, if it has any.
    pub(super) fn timers(&self, id: SlotId) -> Option<u32> {
        (self.slots.extra(id).timers & !(ON_DISK | SAME)).checked_sub(1)
    }

    pub(super) fn set_timers(&mut self, id: SlotId, timers: Option<u32>) {
        let kept = self.slots.extra_mut(id);
        kept.timers = kept.timers & (ON_DISK | SAME) | timers.map_or(0, |at| at + 1);
    }

    /// Notes that the value of a slot is what the disk has.
    pub(super) fn mark_same(&mut self, id: SlotId) {
        self.slots.extra_mut(id).timers |= ON_DISK | SAME;
    }

    /// Whether the disk may have an entry of the slot's key.
    pub(super) fn may_be_on_disk(&self, id: SlotId) -> bool {
        self.slots.extra(id).timers & ON_DISK != 0
    }

    /// Whether the value of a slot is what the disk has.
    pub(super) fn is_same(&self, id: SlotId) -> bool {
        self.slots.extra(id).timers & SAME != 0
    }

    /// Whether a slot took part in a call after the one of that number.
    pub(super) fn is_used_since(&self, id: SlotId, call: u32) -> bool {
        self.slots.extra(id).marks.is_used_since(call)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The first number that no slot has had.
    pub(super) fn end(&self) -> SlotId {
        self.slots.end()
    }

    /// Bytes of what there is. Free slots are used again, and waste is at most as much.
    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes() + self.values.used()
    }

    /// Bytes of a slot, its key and its value.
    pub(super) fn bytes_of(&self, id: SlotId) -> usize {
        self.slots.bytes_of(id) + self.slots.extra(id).value.spilled()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

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
        let taken = slots.slots.arena_len() + slots.values.len();
        assert!(taken < 8 << 20, "{taken} bytes for one key");
        assert_eq!(slots.bytes(), SlotTable::<Kept, 20>::SLOT_BYTES + 200);
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
