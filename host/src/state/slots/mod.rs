//! The slot table: keys by number and numbers by key, made for a lookup a row.
//!
//! A slot is one cache line that has what a row needs: the hash, the key, and what its user keeps for a key. Longer keys
//! spill into an arena. A slot keeps its number until it is freed; then the number is used again.
//!
//! There are three users, each with an extra of its own, which is what differs between them. The groups of a window have
//! an accumulator and marks, and never give a slot back: a window goes as a whole. Keyed steps have a value, marks, timers
//! and whether the disk has the key, and choose a slot to prefetch before they look at it. Keyed windows have no value by
//! key, but count the windows of a key and remember two of them.

mod arena;
mod marks;
mod stored;

use std::hash::BuildHasher;

use hashbrown::HashTable;

pub(super) use self::arena::Arena;
pub(super) use self::marks::Marks;
pub(super) use self::stored::Stored;

/// A slot's number.
pub type SlotId = u32;

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
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Keys with an extra each. `KEY` bytes of a key fit into its slot: what is left of 64 after the other fields.
#[derive(Debug)]
pub(super) struct SlotTable<E, const KEY: usize> {
    table: HashTable<SlotId>,
    slots: Vec<Slot<E, KEY>>,
    free: Vec<SlotId>,
    keys: Arena,
}

#[derive(Debug, Clone)]
#[repr(C, align(64))]
struct Slot<E, const KEY: usize> {
    hash: u32,
    key: Stored<KEY>,
    extra: E,
}

impl<E, const KEY: usize> Default for SlotTable<E, KEY> {
    fn default() -> Self {
        Self { table: HashTable::default(), slots: Vec::new(), free: Vec::new(), keys: Arena::default() }
    }
}

impl<E: Default, const KEY: usize> SlotTable<E, KEY> {
    /// Bytes of a slot and its share of the table. A slot is one cache line, whoever uses the table.
    pub(super) const SLOT_BYTES: usize = {
        assert!(size_of::<Slot<E, KEY>>() == 64, "a slot is one cache line");
        size_of::<Slot<E, KEY>>() + size_of::<SlotId>() + 1
    };

    /// The slot that a key of this hash most probably has, without a look at it.
    pub(super) fn candidate(&self, hash: u32) -> Option<SlotId> {
        self.table.find(spread(hash), |_| true).copied()
    }

    /// Whether a slot is that of a key.
    pub(super) fn is_of(&self, id: SlotId, hash: u32, key: Option<&[u8]>) -> bool {
        let slot = &self.slots[id as usize];
        slot.hash == hash && !slot.key.is_vacant() && slot.key.get(&self.keys) == key
    }

    /// Something of a slot, so that it is near when it is needed.
    pub(super) fn touch_memory(&self, id: SlotId) -> u32 {
        self.slots[id as usize].hash
    }

    /// The slot of a key, if it has one.
    pub(super) fn find(&self, hash: u32, key: Option<&[u8]>) -> Option<SlotId> {
        let Self { table, slots, keys, .. } = self;
        let is_it = |&id: &SlotId| {
            // What the table names is taken.
            let slot = &slots[id as usize];
            slot.hash == hash && slot.key.get(keys) == key
        };
        table.find(spread(hash), is_it).copied()
    }

    /// The slot of a key, made if it is new.
    pub(super) fn slot(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        self.find(hash, key).unwrap_or_else(|| self.add(hash, key))
    }

    /// A slot for a key that has none.
    pub(super) fn add(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        let Self { table, slots, free, keys } = self;
        let mut slot = Slot { hash, key: Stored::default(), extra: E::default() };
        slot.key.set(key, keys);
        let id = match free.pop() {
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

    /// Frees a slot that is no longer needed; its number is used again.
    pub(super) fn free(&mut self, id: SlotId) {
        let slot = &mut self.slots[id as usize];
        if slot.key.is_vacant() {
            return;
        }
        slot.key.vacate(&mut self.keys);
        slot.extra = E::default();
        if let Ok(entry) = self.table.find_entry(spread(slot.hash), |&other| other == id) {
            entry.remove();
        }
        self.free.push(id);
        if self.keys.is_untidy() {
            self.keys.tidy(self.slots.iter_mut().map(|slot| &mut slot.key));
        }
    }

    /// Whether the slot has a key.
    pub(super) fn is_taken(&self, id: SlotId) -> bool {
        !self.slots[id as usize].key.is_vacant()
    }

    /// The key of a slot.
    pub(super) fn key(&self, id: SlotId) -> Option<&[u8]> {
        self.slots[id as usize].key.get(&self.keys)
    }

    /// What is kept for the key of a slot.
    pub(super) fn extra(&self, id: SlotId) -> &E {
        &self.slots[id as usize].extra
    }

    /// The same, to be changed.
    pub(super) fn extra_mut(&mut self, id: SlotId) -> &mut E {
        &mut self.slots[id as usize].extra
    }

    /// What is kept in each slot from one on, taken or not.
    pub(super) fn extras_from(&self, first: SlotId) -> impl Iterator<Item = (SlotId, &E)> {
        (first..).zip(self.slots.iter().skip(first as usize).map(|slot| &slot.extra))
    }

    /// What is kept in each slot, to be changed.
    pub(super) fn extras_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.slots.iter_mut().map(|slot| &mut slot.extra)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The first number that no slot has had.
    pub(super) fn end(&self) -> SlotId {
        self.slots.len() as SlotId
    }

    /// Bytes of slots that are taken and of their keys. Free slots are used again, and waste is at most as much.
    pub(super) fn bytes(&self) -> usize {
        self.len() * Self::SLOT_BYTES + self.keys.used()
    }

    /// Bytes of a slot and its key.
    pub(super) fn bytes_of(&self, id: SlotId) -> usize {
        Self::SLOT_BYTES + self.slots[id as usize].key.spilled()
    }

    /// Bytes that keys have taken outside of their slots, waste included.
    #[cfg(test)]
    pub(super) fn arena_len(&self) -> usize {
        self.keys.len()
    }
}
