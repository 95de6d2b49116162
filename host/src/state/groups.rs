//! The accumulators of one window, by key.
//!
//! Slots are numbered in the order in which keys first came; a slot without an accumulator counts as absent, so that a row
//! whose call failed leaves nothing behind.

use super::slots::{Arena, Marks, SlotTable, Stored};
pub use super::slots::{KeyHasher, SlotId};

/// Bytes of an accumulator that fit into its slot; a count takes 8.
const ACCUMULATOR_INLINE: usize = 16;

/// Accumulators by key.
#[derive(Debug, Default)]
pub struct Groups {
    slots: SlotTable<Group, 24>,
    accumulators: Arena,
    present: usize,
}

/// What a slot has beside its key.
#[derive(Debug, Clone, Default)]
#[repr(C)]
struct Group {
    accumulator: Stored<ACCUMULATOR_INLINE>,
    marks: Marks,
}

impl Groups {
    /// The slot of a key, made if it is new.
    pub fn slot(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        self.slots.slot(hash, key)
    }

    /// The slot of a key, if it has one.
    pub fn find(&self, hash: u32, key: Option<&[u8]>) -> Option<SlotId> {
        self.slots.find(hash, key)
    }

    /// How many slots there are, present or not.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The key of a slot.
    pub fn key(&self, id: SlotId) -> Option<&[u8]> {
        self.slots.key(id)
    }

    /// What has been accumulated in a slot.
    pub fn accumulator(&self, id: SlotId) -> Option<&[u8]> {
        self.slots.extra(id).accumulator.get(&self.accumulators)
    }

    /// Sets what has been accumulated in a slot; `None` makes it absent.
    pub fn set_accumulator(&mut self, id: SlotId, bytes: Option<&[u8]>) {
        let accumulator = &mut self.slots.extra_mut(id).accumulator;
        self.present -= usize::from(!accumulator.is_null());
        self.present += usize::from(bytes.is_some());
        accumulator.set(bytes, &mut self.accumulators);
        if self.accumulators.is_untidy() {
            self.accumulators.tidy(self.slots.extras_mut().map(|group| &mut group.accumulator));
        }
    }

    /// The group number of a slot in a call, if it has one already.
    pub fn group_in(&self, id: SlotId, call: u32) -> Option<u32> {
        self.slots.extra(id).marks.group_in(call)
    }

    /// Gives a slot its group number in a call.
    pub fn set_group(&mut self, id: SlotId, call: u32, group: u32) {
        self.slots.extra_mut(id).marks.set_group(call, group);
    }

    /// Marks a slot as changed in a commit; whether it was not yet.
    pub fn mark_changed(&mut self, id: SlotId, commit: u32) -> bool {
        self.slots.extra_mut(id).marks.change(commit)
    }

    /// Whether a slot is marked as changed in a commit.
    pub fn is_changed(&self, id: SlotId, commit: u32) -> bool {
        self.slots.extra(id).marks.is_changed(commit)
    }

    /// Clears the marks of all calls.
    pub(super) fn clear_calls(&mut self) {
        self.slots.extras_mut().for_each(|group| group.marks.clear_call());
    }

    /// Clears the marks of all commits.
    pub(super) fn clear_commits(&mut self) {
        self.slots.extras_mut().for_each(|group| group.marks.clear_commit());
    }

    /// The slots that are present, by key, the null key first.
    ///
    /// Keys mostly share a beginning, so eight bytes after it decide almost every comparison without touching the slots.
    pub fn sorted(&self) -> Vec<SlotId> {
        let shared = self.shared_beginning();
        let mut ids: Vec<(u64, SlotId)> = self.present_slots().map(|id| (self.decisive(id, shared), id)).collect();
        ids.sort_unstable_by(|&(left_bytes, left), &(right_bytes, right)| {
            left_bytes.cmp(&right_bytes).then_with(|| self.key(left).cmp(&self.key(right)))
        });
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// How many bytes all keys have in common at their beginning.
    fn shared_beginning(&self) -> usize {
        let mut keys = self.present_slots().filter_map(|id| self.key(id));
        let Some(first) = keys.next() else { return 0 };
        keys.fold(first.len(), |shared, key| first[..shared].iter().zip(key).take_while(|(a, b)| a == b).count())
    }

    /// Eight bytes of a key after its beginning, in an order that agrees with the keys' own.
    fn decisive(&self, id: SlotId, beginning: usize) -> u64 {
        let rest = self.key(id).map_or(&[][..], |key| &key[beginning..]);
        let mut bytes = [0; 8];
        let count = rest.len().min(8);
        bytes[..count].copy_from_slice(&rest[..count]);
        u64::from_be_bytes(bytes)
    }

    /// The slots that are present, in the order in which they came.
    pub fn present_slots(&self) -> impl Iterator<Item = SlotId> {
        self.present_from(0)
    }

    /// The same from a slot on.
    pub fn present_from(&self, first: SlotId) -> impl Iterator<Item = SlotId> {
        let present = self.slots.extras_from(first).filter(|(_, group)| !group.accumulator.is_null());
        present.map(|(id, _)| id)
    }

    /// How many slots are present.
    pub fn len(&self) -> usize {
        self.present
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.accumulators.used()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_null_key_is_not_the_empty_key() {
        let (mut groups, hasher) = (Groups::default(), KeyHasher::default());
        let null = groups.slot(hasher.hash(None), None);
        let empty = groups.slot(hasher.hash(Some(b"")), Some(b""));
        assert_ne!(null, empty);
        assert_eq!((groups.key(null), groups.key(empty)), (None, Some(&b""[..])));
    }

    #[test]
    fn a_slot_without_accumulator_is_absent() {
        let (mut groups, hasher) = (Groups::default(), KeyHasher::default());
        let id = groups.slot(hasher.hash(Some(b"k")), Some(b"k"));
        assert!(groups.len() == 0 && groups.sorted().is_empty());
        groups.set_accumulator(id, Some(b"x"));
        assert_eq!(groups.sorted(), [id]);
        groups.set_accumulator(id, None);
        assert_eq!(groups.len(), 0);
    }

    #[test]
    fn the_arena_is_tidied_when_half_of_it_is_waste() {
        let (mut groups, hasher) = (Groups::default(), KeyHasher::default());
        let id = groups.slot(hasher.hash(None), None);
        let other = groups.slot(hasher.hash(Some(b"o")), Some(b"o"));
        groups.set_accumulator(other, Some(&[7; 100]));
        for length in 17..4000 {
            groups.set_accumulator(id, Some(&vec![length as u8; length]));
        }
        assert!(groups.accumulators.len() < 4 << 20, "{} bytes for one slot", groups.accumulators.len());
        assert_eq!(groups.accumulator(id), Some(&[3999_u64 as u8; 3999][..]));
        assert_eq!(groups.accumulator(other), Some(&[7; 100][..]));
    }

    proptest! {
        #[test]
        fn it_is_a_map(changes in proptest::collection::vec(
            (proptest::option::of(proptest::collection::vec(0_u8..3, 0..40)),
             proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40))), 0..200)) {
            let (mut groups, hasher) = (Groups::default(), KeyHasher::default());
            let mut model = BTreeMap::new();
            for (key, accumulator) in changes {
                let id = groups.slot(hasher.hash(key.as_deref()), key.as_deref());
                groups.set_accumulator(id, accumulator.as_deref());
                prop_assert_eq!(groups.accumulator(id), accumulator.as_deref());
                match accumulator {
                    Some(accumulator) => model.insert(key, accumulator),
                    None => model.remove(&key),
                };
            }
            let all: Vec<_> = groups.sorted().into_iter()
                .map(|id| (groups.key(id).map(<[u8]>::to_vec), groups.accumulator(id).unwrap_or_default().to_vec()))
                .collect();
            prop_assert_eq!(groups.len(), model.len());
            prop_assert_eq!(all, model.into_iter().collect::<Vec<_>>());
        }
    }
}
