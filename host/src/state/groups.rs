//! The accumulators of one window, by key: a hash table made for a lookup a row.
//!
//! A slot is one cache line that holds what a row needs: hash, key, accumulator and two marks. Longer keys and
//! accumulators spill into arenas. Slots are numbered in the order in which keys first came; a slot without an accumulator
//! counts as absent, so that a row whose call failed leaves nothing behind.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::record::NULL;

/// A slot's number.
pub type SlotId = u32;

/// Bytes of a key that fit into its slot: what is left of 64 after the other fields.
const KEY_INLINE: usize = 24;
/// Bytes of an accumulator that fit into its slot; a count takes 8.
const ACCUMULATOR_INLINE: usize = 16;
/// Wasted arena bytes below which tidying up costs more than it gives.
const WASTE_MIN: usize = 1 << 20;

/// Accumulators by key.
#[derive(Debug, Default)]
pub struct Groups {
    table: HashTable<SlotId>,
    slots: Vec<Slot>,
    keys: Vec<u8>,
    accumulators: Vec<u8>,
    /// Bytes of `accumulators` that no slot uses any more.
    wasted: usize,
    present: usize,
}

#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct Slot {
    hash: u32,
    key_length: i32,
    accumulator_length: i32,
    /// The last call this slot took part in, and its group number there.
    call: u32,
    group: u32,
    /// The last commit in which this slot changed.
    commit: u32,
    key: [u8; KEY_INLINE],
    accumulator: [u8; ACCUMULATOR_INLINE],
}

/// The hash of a key. Seeded once a process: what a key hashes to is nobody's to choose, and no result depends on it.
#[derive(Debug, Clone, Default)]
pub struct KeyHasher(foldhash::fast::RandomState);

impl KeyHasher {
    /// The hash of a key, or of the null key.
    pub fn hash(&self, key: Option<&[u8]>) -> u32 {
        match key {
            Some(key) => self.0.hash_one(key) as u32,
            None => 0,
        }
    }
}

/// The table wants hashes of 64 bits that differ at both ends.
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Groups {
    /// The slot of a key, made if it is new.
    pub fn slot(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        let Self { table, slots, keys, .. } = self;
        let found = table.find(spread(hash), |&id| {
            let slot = &slots[id as usize];
            slot.hash == hash && slot.key(keys) == key
        });
        if let Some(&id) = found {
            return id;
        }
        let id = slots.len() as SlotId;
        slots.push(Slot::new(hash, key, keys));
        table.insert_unique(spread(hash), id, |&id| spread(slots[id as usize].hash));
        id
    }

    /// The slot of a key, if it has one.
    pub fn find(&self, hash: u32, key: Option<&[u8]>) -> Option<SlotId> {
        let is_it = |&id: &SlotId| {
            let slot = &self.slots[id as usize];
            slot.hash == hash && slot.key(&self.keys) == key
        };
        self.table.find(spread(hash), is_it).copied()
    }

    /// How many slots there are, present or not.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The key of a slot.
    pub fn key(&self, id: SlotId) -> Option<&[u8]> {
        self.slots[id as usize].key(&self.keys)
    }

    /// What has been accumulated in a slot.
    pub fn accumulator(&self, id: SlotId) -> Option<&[u8]> {
        self.slots[id as usize].accumulator(&self.accumulators)
    }

    /// Sets what has been accumulated in a slot; `None` makes it absent.
    pub fn set_accumulator(&mut self, id: SlotId, bytes: Option<&[u8]>) {
        let slot = &mut self.slots[id as usize];
        let before = slot.accumulator_length;
        match bytes {
            Some(bytes) => {
                if bytes.len() <= ACCUMULATOR_INLINE {
                    self.wasted += slot.spilled_capacity();
                    slot.accumulator[..bytes.len()].copy_from_slice(bytes);
                } else if bytes.len() <= slot.spilled_capacity() {
                    let (at, _) = slot.spilled();
                    self.accumulators[at..at + bytes.len()].copy_from_slice(bytes);
                } else {
                    self.wasted += slot.spilled_capacity();
                    slot.spill(self.accumulators.len(), bytes.len());
                    self.accumulators.extend_from_slice(bytes);
                }
                slot.accumulator_length = bytes.len() as i32;
            }
            None => {
                self.wasted += slot.spilled_capacity();
                slot.accumulator_length = NULL;
            }
        }
        let after = self.slots[id as usize].accumulator_length;
        self.present = self.present + usize::from(after != NULL) - usize::from(before != NULL);
        if self.wasted > WASTE_MIN && self.wasted > self.accumulators.len() / 2 {
            self.tidy();
        }
    }

    /// The group number of a slot in a call, if it has one already.
    pub fn group_in(&self, id: SlotId, call: u32) -> Option<u32> {
        let slot = &self.slots[id as usize];
        (slot.call == call).then_some(slot.group)
    }

    /// Gives a slot its group number in a call.
    pub fn set_group(&mut self, id: SlotId, call: u32, group: u32) {
        let slot = &mut self.slots[id as usize];
        slot.call = call;
        slot.group = group;
    }

    /// Marks a slot as changed in a commit; whether it was not yet.
    pub fn mark_changed(&mut self, id: SlotId, commit: u32) -> bool {
        let slot = &mut self.slots[id as usize];
        std::mem::replace(&mut slot.commit, commit) != commit
    }

    /// Whether a slot is marked as changed in a commit.
    pub fn is_changed(&self, id: SlotId, commit: u32) -> bool {
        self.slots[id as usize].commit == commit
    }

    /// Takes all marks of calls away.
    pub(super) fn clear_calls(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.call = 0);
    }

    /// Takes all marks of commits away.
    pub(super) fn clear_commits(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.commit = 0);
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
        let slots = (first..).zip(self.slots.iter().skip(first as usize));
        slots.filter(|(_, slot)| slot.accumulator_length != NULL).map(|(id, _)| id)
    }

    /// How many slots are present.
    pub fn len(&self) -> usize {
        self.present
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.slots.len() * (size_of::<Slot>() + size_of::<SlotId>() + 1) + self.keys.len() + self.accumulators.len()
    }

    /// Moves the spilled accumulators together.
    fn tidy(&mut self) {
        let mut tidied = Vec::with_capacity(self.accumulators.len() - self.wasted);
        for slot in &mut self.slots {
            if slot.spilled_capacity() > 0 {
                let (at, _) = slot.spilled();
                let length = slot.accumulator_length as usize;
                slot.spill(tidied.len(), length);
                tidied.extend_from_slice(&self.accumulators[at..at + length]);
            }
        }
        self.accumulators = tidied;
        self.wasted = 0;
    }
}

impl Slot {
    fn new(hash: u32, key: Option<&[u8]>, keys: &mut Vec<u8>) -> Self {
        let mut slot = Self {
            hash,
            key_length: NULL,
            accumulator_length: NULL,
            call: 0,
            group: 0,
            commit: 0,
            key: [0; KEY_INLINE],
            accumulator: [0; ACCUMULATOR_INLINE],
        };
        if let Some(key) = key {
            slot.key_length = key.len() as i32;
            if key.len() <= KEY_INLINE {
                slot.key[..key.len()].copy_from_slice(key);
            } else {
                slot.key[..8].copy_from_slice(&(keys.len() as u64).to_le_bytes());
                keys.extend_from_slice(key);
            }
        }
        slot
    }

    fn key<'a>(&'a self, keys: &'a [u8]) -> Option<&'a [u8]> {
        let length = usize::try_from(self.key_length).ok()?;
        Some(if length <= KEY_INLINE {
            &self.key[..length]
        } else {
            let at = word(&self.key[..8]) as usize;
            &keys[at..at + length]
        })
    }

    fn accumulator<'a>(&'a self, accumulators: &'a [u8]) -> Option<&'a [u8]> {
        let length = usize::try_from(self.accumulator_length).ok()?;
        Some(if length <= ACCUMULATOR_INLINE {
            &self.accumulator[..length]
        } else {
            let (at, _) = self.spilled();
            &accumulators[at..at + length]
        })
    }

    /// Where a spilled accumulator is, and how much room it has.
    fn spilled(&self) -> (usize, usize) {
        (word(&self.accumulator[..8]) as usize, word(&self.accumulator[8..]) as usize)
    }

    fn spilled_capacity(&self) -> usize {
        if self.accumulator_length > ACCUMULATOR_INLINE as i32 { self.spilled().1 } else { 0 }
    }

    fn spill(&mut self, at: usize, capacity: usize) {
        self.accumulator[..8].copy_from_slice(&(at as u64).to_le_bytes());
        self.accumulator[8..].copy_from_slice(&(capacity as u64).to_le_bytes());
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
        assert!(groups.bytes() < 4 << 20, "{} bytes for one slot", groups.bytes());
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
