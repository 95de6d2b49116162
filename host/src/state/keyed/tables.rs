//! Ordered entries of keys: what is kept between calls.
//!
//! All tables of all keys are one ordered map. A place in it is the key's slot, the table's number and the entry's key,
//! numbers with their greatest byte first, so that places are in the order of the bytes of keys. The map holds what is in
//! memory; the rest is on disk, under the key itself instead of its slot.

use std::collections::btree_map as map;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use super::disk::{Disk, entries_of, in_order};
use super::exchange::looks;
use super::slots::SlotId;
use crate::plugin::TableRange;
use crate::record::Column;
use crate::state::Stretch;

/// Bytes of a place before the entry's key.
const PREFIX: usize = 8;
/// What an entry takes beside its key and value: two allocations and its share of a tree node.
const ENTRY_OVERHEAD: usize = 72;

/// What a table's entries are kept by.
pub(super) type EntryKey = Box<[u8]>;

/// Entries and bytes of a key's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

/// An entry in memory.
#[derive(Debug)]
struct Entry {
    /// None, if it was deleted and is still on disk.
    value: Option<Box<[u8]>>,
    disk: OnDisk,
    /// Whether it was used since the search for the least recently used entries last passed it.
    used: bool,
}

/// What the disk has of an entry in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDisk {
    Nothing,
    Another,
    Same,
}

/// The tables of all keys.
#[derive(Debug, Default)]
pub(super) struct Tables {
    entries: BTreeMap<EntryKey, Entry>,
    sizes: HashMap<SlotId, Size>,
    /// Bytes in memory.
    bytes: usize,
    /// Places that changed since the last block.
    changed: Vec<EntryKey>,
    disk: Arc<Disk>,
    /// How many entries of a key are on disk only, if any.
    on_disk_only: HashMap<SlotId, u64>,
    /// Whether what comes from disk is to be in the next block.
    noting: bool,
    /// Where the search for what is used least goes on.
    hand: EntryKey,
}

/// The place of an entry.
pub(super) fn place(slot: SlotId, table: u32, key: &[u8]) -> EntryKey {
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
pub(super) fn bounds(slot: SlotId, table: u32, range: TableRange<'_>) -> Option<(EntryKey, Option<EntryKey>)> {
    let start = place(slot, table, range.start);
    let end = if range.end.is_empty() {
        // The first place of the next table, if there can be one.
        (u64::from(slot) << 32 | u64::from(table)).checked_add(1).map(|next| next.to_be_bytes().into())
    } else {
        Some(place(slot, table, range.end))
    };
    let is_empty = end.as_ref().is_some_and(|end| *end <= start);
    (!is_empty).then_some((start, end))
}

/// What a place is called on disk, where `names` is what names of its key's entries begin with.
fn name(names: &[u8], place: &[u8]) -> Vec<u8> {
    [names, &place[4..]].concat()
}

impl Tables {
    pub(super) fn new(disk: Arc<Disk>) -> Self {
        Self { disk, ..Self::default() }
    }

    /// The value at a place, if it is in memory.
    pub(super) fn get(&self, place: &[u8]) -> Option<&[u8]> {
        self.entries.get(place)?.value.as_deref()
    }

    /// Whether memory has something to say of a place.
    pub(super) fn has(&self, place: &[u8]) -> bool {
        self.entries.contains_key(place)
    }

    /// What is in memory of a range; none for what was deleted there while the disk has it.
    pub(super) fn range(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = (&[u8], Option<&[u8]>)> {
        self.entries.range::<[u8], _>(bounds).map(|(place, entry)| (&**place, entry.value.as_deref()))
    }

    /// Sets or deletes an entry that is not on disk only.
    pub(super) fn set(&mut self, place: EntryKey, value: Option<Box<[u8]>>) {
        let (slot, _, key) = parts(&place);
        let key = key.len();
        let size = self.sizes.entry(slot).or_default();
        let weight = |value: &[u8]| key + value.len();
        if let Some(bytes) = value.as_deref().map(weight) {
            size.entries += 1;
            size.bytes += bytes as u64;
            self.bytes += bytes + ENTRY_OVERHEAD;
        }
        let old = match self.entries.entry(place) {
            map::Entry::Vacant(vacant) => {
                if value.is_some() {
                    vacant.insert(Entry { value, disk: OnDisk::Nothing, used: true });
                }
                None
            }
            map::Entry::Occupied(occupied) if value.is_none() && occupied.get().disk == OnDisk::Nothing => {
                occupied.remove().value
            }
            map::Entry::Occupied(mut occupied) => {
                let entry = occupied.get_mut();
                if entry.disk == OnDisk::Same {
                    entry.disk = OnDisk::Another;
                }
                entry.used = true;
                std::mem::replace(&mut entry.value, value)
            }
        };
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
    pub(super) fn note(&mut self, place: EntryKey) {
        self.changed.push(place);
    }

    /// The places that changed since the last time this was asked, in order.
    pub(super) fn take_changed(&mut self) -> Vec<EntryKey> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether there is nothing in memory.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What a key has in all its tables.
    pub(super) fn size(&self, slot: SlotId) -> Size {
        if self.sizes.is_empty() {
            return Size::default();
        }
        self.sizes.get(&slot).copied().unwrap_or_default()
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.sizes.len() * (size_of::<(SlotId, Size)>() + 1)
    }

    /// Says whether what comes from disk is to be in the next block.
    pub(super) fn note_fetched(&mut self, noting: bool) {
        self.noting = noting;
    }

    /// Whether a key has entries on disk only.
    pub(super) fn is_on_disk(&self, slot: SlotId) -> bool {
        !self.on_disk_only.is_empty() && self.on_disk_only.contains_key(&slot)
    }

    /// Brings entries into memory that are on disk only. `key` says the key of a slot.
    pub(super) fn fetch<'k>(
        &mut self,
        places: impl Iterator<Item = &'k EntryKey>,
        key: impl Fn(SlotId) -> Option<&'k [u8]>,
    ) {
        if self.on_disk_only.is_empty() {
            return;
        }
        let missing = places.filter(|place| self.is_on_disk(parts(place).0) && !self.entries.contains_key(*place));
        let missing = missing.map(|place| (name(&entries_of(key(parts(place).0)), place), place)).collect();
        let (names, missing) = in_order(missing);
        let disk = Arc::clone(&self.disk);
        disk.get(names.view(), &mut |at, value| {
            let place = missing[at];
            let (slot, _, entry) = parts(place);
            self.bytes += entry.len() + value.len() + ENTRY_OVERHEAD;
            self.entries.insert(place.clone(), Entry { value: Some(value.into()), disk: OnDisk::Same, used: true });
            if let Some(count) = self.on_disk_only.get_mut(&slot) {
                *count -= 1;
                if *count == 0 {
                    self.on_disk_only.remove(&slot);
                }
            }
            if self.noting {
                self.changed.push(place.clone());
            }
        });
    }

    /// The first entries between two places of a key's table that the disk has, at most `most`, whatever memory says.
    /// `names` is what the names of the key's entries begin with.
    pub(super) fn first_on_disk(
        &self,
        names: &[u8],
        (start, end): (&[u8], Option<&[u8]>),
        backwards: bool,
        most: usize,
    ) -> Vec<(EntryKey, Box<[u8]>)> {
        let slot = &start[..4];
        let from = name(names, start);
        let to = match end {
            // The end is of the same key, unless it is the first place of the next one.
            Some(end) if end[..4] == *slot => name(names, end),
            _ => after(names),
        };
        let mut found = Vec::new();
        let range = Stretch { from: &from, to: &to, backwards };
        self.disk.scan(range, &mut |entry, value| {
            found.push(([slot, &entry[names.len()..]].concat().into(), value.into()));
            if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        found
    }

    /// Forgets places that were deleted, on disk too.
    pub(super) fn flush_deleted<'k>(&mut self, places: &[EntryKey], key: impl Fn(SlotId) -> Option<&'k [u8]>) {
        let mut names = Column::default();
        for place in places {
            if self.entries.get(place).is_some_and(|entry| entry.value.is_none()) {
                self.entries.remove(place);
                names.push(Some(&name(&entries_of(key(parts(place).0)), place)));
            }
        }
        let nulls: Column = (0..names.len()).map(|_| None::<&[u8]>).collect();
        self.disk.write(&names, &nulls);
    }

    /// Moves entries that are not used to disk until so many bytes are free; how many are.
    pub(super) fn evict<'k>(&mut self, wanted: usize, key: impl Fn(SlotId) -> Option<&'k [u8]>) -> usize {
        let (mut freed, mut looks) = (0, looks(wanted));
        // From the hand to the end, from there to the end, and once more for what stayed for having been used.
        for _ in 0..3 {
            if freed < wanted && looks > 0 {
                freed += self.evict_on_the_way(wanted - freed, &mut looks, &key);
            }
        }
        freed
    }

    /// The same from the hand on to the end.
    fn evict_on_the_way<'k>(
        &mut self,
        wanted: usize,
        looks: &mut usize,
        key: &impl Fn(SlotId) -> Option<&'k [u8]>,
    ) -> usize {
        let (mut names, mut values, mut gone) = (Column::default(), Column::default(), Vec::new());
        let (mut freed, mut last, mut stopped) = (0, None, false);
        let rest = (Bound::Excluded(&*self.hand), Bound::Unbounded);
        for (place, entry) in self.entries.range_mut::<[u8], _>(rest) {
            if freed >= wanted || *looks == 0 {
                stopped = true;
                break;
            }
            *looks -= 1;
            last = Some(place);
            let used = std::mem::take(&mut entry.used);
            let Some(value) = entry.value.as_deref().filter(|_| !used) else { continue };
            let (slot, _, entry_key) = parts(place);
            freed += entry_key.len() + value.len() + ENTRY_OVERHEAD;
            if entry.disk != OnDisk::Same {
                names.push(Some(&name(&entries_of(key(slot)), place)));
                values.push(Some(value));
            }
            gone.push(place.clone());
        }
        self.hand = last.filter(|_| stopped).cloned().unwrap_or_default();
        if !self.disk.write(&names, &values) {
            return 0;
        }
        for place in gone {
            let Some(Entry { value: Some(value), .. }) = self.entries.remove(&place) else { continue };
            let (slot, _, entry_key) = parts(&place);
            self.bytes -= entry_key.len() + value.len() + ENTRY_OVERHEAD;
            *self.on_disk_only.entry(slot).or_default() += 1;
        }
        freed
    }
}

/// The first name after all that begin with these bytes. Not all of the bytes may be 255.
fn after(names: &[u8]) -> Vec<u8> {
    let mut after = names.to_vec();
    while let Some(last) = after.pop() {
        if last < u8::MAX {
            after.push(last + 1);
            break;
        }
    }
    after
}
