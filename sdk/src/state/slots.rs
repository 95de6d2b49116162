//! Entries in an order, each with an end: what lists, maps and ordered parts are made of.
//!
//! Each change is remembered, so that all since the beginning of a callback can be taken back. Removing from either end
//! and adding near the end are cheap, which is how keys that grow with time are used.
//!
//! Entries are in one piece while they are few, and in [`Pages`] once they have outgrown that. Nobody outside can tell.

use std::collections::VecDeque;

use super::State;
use super::bounds::bounds;
use super::codec::{ENDS, ENTRIES, PAGES, Reader, Writer, read_varint, varint};
use super::life::{End, Life, Now, Ttl, UNSET};
use super::pages::{Page, Pages};
use super::slot::{Slot, decode_slots};
use crate::accumulator::Accumulator;
use crate::process::Domain;

/// What has been done, in the order in which it was done.
#[derive(Debug, Clone)]
enum Change<K, V> {
    Inserted(usize),
    Removed(usize, Slot<K, V>),
    Replaced(usize, Slot<K, V>),
    /// All entries were taken away; these were there.
    Cleared(VecDeque<Slot<K, V>>),
    /// A page was taken out whole.
    Detached(usize, Page<K, V>),
}

/// The entries of a part.
#[derive(Debug, Clone)]
pub(super) struct Slots<K, V> {
    life: Life,
    /// The entries, if they are not in pages.
    slots: VecDeque<Slot<K, V>>,
    pages: Option<Box<Pages<K, V>>>,
    changes: Vec<Change<K, V>>,
}

impl<K, V> Slots<K, V> {
    pub(super) const fn new() -> Self {
        Self { life: Life::new(None), slots: VecDeque::new(), pages: None, changes: Vec::new() }
    }

    pub(super) fn ttl(self, ttl: Ttl) -> Self {
        Self { life: Life::new(Some(ttl)), ..self }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.pages {
            None => self.slots.len(),
            Some(pages) => pages.len(),
        }
    }

    /// The place of the first entry of which the key is not before.
    pub(super) fn place(&self, before: impl FnMut(&K) -> bool) -> usize {
        let mut before = before;
        if let Some(pages) = &self.pages {
            return pages.place(&mut before);
        }
        // Most keys that grow with time are asked for at the end.
        if self.slots.back().is_none_or(|last| before(&last.key)) {
            return self.slots.len();
        }
        self.slots.partition_point(|slot| before(&slot.key))
    }

    /// The key at a place; looking at it is not reading.
    pub(super) fn key(&self, place: usize) -> Option<&K> {
        match &self.pages {
            None => self.slots.get(place).map(|slot| &slot.key),
            Some(pages) => pages.key(place),
        }
    }

    pub(super) fn read(&self, place: usize) -> Option<(&K, &V)> {
        if let Some(pages) = &self.pages {
            return pages.get(place, &self.life);
        }
        let slot = self.slots.get(place)?;
        slot.end.read(&self.life);
        Some((&slot.key, &slot.value))
    }

    /// Reads the entries at these places.
    pub(super) fn iter(&self, places: std::ops::Range<usize>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let (slots, paged) = match &self.pages {
            None => (places, None),
            Some(pages) => (0..0, Some(pages.iter(places, &self.life))),
        };
        let slots = self.slots.range(slots).map(|slot| {
            slot.end.read(&self.life);
            (&slot.key, &slot.value)
        });
        slots.chain(paged.into_iter().flatten())
    }

    pub(super) fn insert(&mut self, place: usize, key: K, value: V) {
        let slot = Slot { end: End::at(self.life.renewed(UNSET)), key, value };
        self.put(place, slot);
        self.changes.push(Change::Inserted(place));
    }

    fn put(&mut self, place: usize, slot: Slot<K, V>) {
        match &mut self.pages {
            None => self.slots.insert(place, slot),
            Some(pages) => pages.insert(place, slot),
        }
    }

    pub(super) fn replace(&mut self, place: usize, key: K, value: V) {
        let end = match &self.pages {
            None => self.slots.get(place),
            Some(pages) => pages.slot(place),
        };
        if let Some(end) = end.map(|slot| slot.end.get()) {
            let slot = Slot { end: End::at(self.life.renewed(end)), key, value };
            if let Some(old) = self.exchange(place, slot) {
                self.changes.push(Change::Replaced(place, old));
            }
        }
    }

    fn exchange(&mut self, place: usize, slot: Slot<K, V>) -> Option<Slot<K, V>> {
        match &mut self.pages {
            None => self.slots.get_mut(place).map(|old| std::mem::replace(old, slot)),
            Some(pages) => pages.replace(place, slot),
        }
    }

    /// The value at a place, to be changed.
    pub(super) fn write(&mut self, place: usize) -> Option<&mut V>
    where
        K: Clone,
        V: Clone,
    {
        if let Some(pages) = &mut self.pages {
            let before = pages.slot(place)?.clone();
            let slot = pages.get_mut(place, |end| self.life.renewed(end))?;
            self.changes.push(Change::Replaced(place, before));
            return Some(&mut slot.value);
        }
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
        let old = self.take(place)?;
        let content = (old.key.clone(), old.value.clone());
        self.changes.push(Change::Removed(place, old));
        Some(content)
    }

    fn take(&mut self, place: usize) -> Option<Slot<K, V>> {
        match &mut self.pages {
            None => self.slots.remove(place),
            Some(pages) => pages.remove(place),
        }
    }

    /// Removes an entry that nobody wants to see.
    pub(super) fn discard(&mut self, place: usize) -> bool {
        match self.take(place) {
            Some(old) => {
                self.changes.push(Change::Removed(place, old));
                true
            }
            None => false,
        }
    }

    /// Removes what is at these places.
    pub(super) fn discard_range(&mut self, places: std::ops::Range<usize>) {
        let mut left = places.len();
        if left == 0 {
            return;
        }
        if let Some(pages) = &mut self.pages {
            // Whole pages go without being read.
            while left > 0 {
                if let Some(page) = pages.detach(places.start, left) {
                    left -= page.len();
                    self.changes.push(Change::Detached(places.start, page));
                } else if let Some(old) = pages.remove(places.start) {
                    left -= 1;
                    self.changes.push(Change::Removed(places.start, old));
                } else {
                    return;
                }
            }
            return;
        }
        if places == (0..self.slots.len()) {
            self.changes.push(Change::Cleared(std::mem::take(&mut self.slots)));
            return;
        }
        // From the front while they are the first ones: nothing has to move then.
        for _ in 0..left {
            self.discard(places.start);
        }
    }

    /// Keeps the entries for which `keep` returns true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let mut place = 0;
        if let Some(pages) = &mut self.pages {
            while let Some(slot) = pages.slot(place) {
                if keep(&slot.key, &slot.value) {
                    place += 1;
                } else if let Some(old) = pages.remove(place) {
                    self.changes.push(Change::Removed(place, old));
                }
            }
            return;
        }
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
    pub(super) fn encode(&mut self, writer: &mut Writer<'_>) {
        let ends = self.life.ttl.is_some();
        let space = writer.part();
        if let (Some(pages), Some(_)) = (&mut self.pages, space) {
            if pages.write(ends) > bounds().inline_bytes / 4 {
                writer.into.push(PAGES | if ends { ENDS } else { 0 });
                return pages.encode(ends, writer.into);
            }
            self.slots = pages.take();
            pages.write(ends);
            self.pages = None;
        }
        let start = writer.into.len();
        self.encode_entries(ends, writer.into);
        if let Some(space) = space
            && writer.into.len() - start > bounds().inline_bytes
        {
            writer.into.truncate(start);
            let mut pages = Pages::of(space, std::mem::take(&mut self.slots));
            pages.write(ends);
            writer.into.push(PAGES | if ends { ENDS } else { 0 });
            pages.encode(ends, writer.into);
            self.pages = Some(Box::new(pages));
        }
    }

    /// Writes all entries in one piece.
    fn encode_entries(&self, ends: bool, into: &mut Vec<u8>) {
        if self.len() == 0 {
            return into.push(0);
        }
        into.push(ENTRIES | if ends { ENDS } else { 0 });
        varint(self.len() as u64, into);
        let mut before = 0_i64;
        match &self.pages {
            None => self.slots.iter().for_each(|slot| slot.encode(ends, &mut before, into)),
            Some(pages) => {
                (0..pages.len())
                    .filter_map(|place| pages.slot(place))
                    .for_each(|slot| slot.encode(ends, &mut before, into));
            }
        }
    }

    pub(super) fn decode(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let space = reader.part();
        let from = &mut reader.from;
        let flags = u8::decode(from)?;
        self.life.none_left();
        let ends = flags & ENDS != 0;
        match flags & !ENDS {
            0 => (!ends).then_some(()),
            ENTRIES => {
                let count = read_varint(from)?;
                self.slots = decode_slots(count, ends, from, |end| self.life.found(end))?;
                Some(())
            }
            PAGES => {
                self.pages = Some(Box::new(Pages::decode(space, ends, &self.life, from)?));
                reader.paged = true;
                Some(())
            }
            _ => None,
        }
    }
}

impl<K, V> Slots<K, V> {
    #[inline]
    pub(super) fn begin(&mut self, now: &Now) {
        if !self.changes.is_empty() {
            self.changes.clear();
        }
        // Most parts have neither, and a key has many parts.
        if self.life.ttl.is_some() || self.pages.is_some() {
            self.begin_with_ends_or_pages(now);
        }
    }

    fn begin_with_ends_or_pages(&mut self, now: &Now) {
        let judges = self.life.begin(now);
        if let Some(pages) = &mut self.pages {
            pages.begin(self.life.ttl.is_some());
        }
        if judges {
            let (slots, pages) = (&mut self.slots, &mut self.pages);
            let life = &self.life;
            life.judge(|judge| match pages {
                None => slots.retain(|slot| judge(&slot.end)),
                Some(pages) => pages.judge(life, judge),
            });
        }
    }

    pub(super) fn undo(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        for change in changes.drain(..).rev() {
            match change {
                Change::Inserted(place) => drop(self.take(place)),
                Change::Removed(place, slot) => self.put(place, slot),
                Change::Replaced(place, slot) => drop(self.exchange(place, slot)),
                Change::Cleared(slots) => self.slots = slots,
                Change::Detached(place, page) => {
                    if let Some(pages) = &mut self.pages {
                        pages.attach(place, page);
                    }
                }
            }
        }
        self.changes = changes;
        self.life.undo();
        if self.life.ttl.is_some() {
            for slot in &self.slots {
                slot.end.undo(&self.life);
                self.life.found(slot.end.get());
            }
            if let Some(pages) = &self.pages {
                pages.undo(&self.life);
            }
        }
    }

    pub(super) fn lives(&self, domain: Domain) -> bool {
        self.life.counts_in(domain)
    }

    pub(super) fn written(&self, domain: Domain) -> Option<i64> {
        self.life.written(domain)
    }

    pub(super) fn earliest(&self, domain: Domain) -> Option<i64> {
        if !self.life.counts_in(domain) {
            return None;
        }
        let end = match &self.pages {
            None => self.slots.iter().map(|slot| slot.end.get()).min(),
            Some(pages) => Some(pages.earliest()),
        };
        end.filter(|&end| end != UNSET).map(|end| self.life.clean_up_at(end))
    }
}

/// The functions of [`State`] of a part that is a newtype of [`Slots`].
macro_rules! state_of_slots {
    ($([$($generics:tt)*] $type:ty),*) => {$(
        impl<$($generics)*> State for $type {
            fn is_empty(&self) -> bool {
                self.0.len() == 0
            }
            fn encode(&mut self, writer: &mut Writer<'_>) {
                self.0.encode(writer);
            }
            fn decode(&mut self, reader: &mut Reader<'_>) -> Option<()> {
                self.0.decode(reader)
            }
            fn begin(&mut self, now: &Now) {
                self.0.begin(now);
            }
            fn undo(&mut self) {
                self.0.undo();
            }
            fn lives(&self, domain: Domain) -> bool {
                self.0.lives(domain)
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
