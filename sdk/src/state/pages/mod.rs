//! A part that outgrew its bound: its entries are in pages, and only the pages that are used are loaded.
//!
//! Pages follow one another in the order of the entries. What is known of each without reading it, how many entries it has,
//! its first key and between which times its entries end, is the list of pages, which rides in the column in the place of
//! the entries. A page is read from the host once in a call, and written at the end of the key's turn if it changed.
//! [`layout`] says what becomes of pages that are too large or too small.

mod iter;
mod layout;
mod list;

use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;

use self::iter::Iter;
use super::life::{Life, UNSET};
use super::slot::Slot;
use super::store::PageSpace;

/// The entries of a page.
type Entries<K, V> = VecDeque<Slot<K, V>>;
/// Reads a page: the entries in these bytes, which are so many.
type ReadPage<K, V> = fn(&[u8], usize) -> Option<Entries<K, V>>;
/// The entries of a page, and the least and the most of their ends.
type EntriesAndEnds<'a, K, V> = (&'a mut Entries<K, V>, &'a Cell<i64>, &'a Cell<i64>);

/// A page.
#[derive(Debug, Clone)]
pub(super) struct Page<K, V> {
    number: u32,
    len: usize,
    /// Its bytes in the host; 0 if it has not been written.
    stored: usize,
    /// No entry's end is before this; [`UNSET`] if none is set.
    least: Cell<i64>,
    /// No entry's end is after this; [`UNSET`] if there may be one that is not set.
    most: Cell<i64>,
    /// The first key of a page that is not in memory.
    first: Option<K>,
    slots: OnceCell<VecDeque<Slot<K, V>>>,
    /// Whether it is not as the host has it.
    changed: Cell<bool>,
}

/// The pages of a part.
#[derive(Debug, Clone)]
pub(super) struct Pages<K, V> {
    space: PageSpace,
    pages: Vec<Page<K, V>>,
    /// How many entries there are.
    len: usize,
    /// The number of the next new page.
    next: u32,
    /// Pages that the host has and that are no more: their numbers and bytes.
    gone: Vec<(u32, usize)>,
    /// Bytes of pages that were read.
    resident: Cell<usize>,
    read: ReadPage<K, V>,
    /// Writes what has changed, and lets go of all pages in memory.
    let_go: fn(&mut Self, bool),
}

impl<K, V> Page<K, V> {
    fn new(number: u32, slots: VecDeque<Slot<K, V>>) -> Self {
        let page = Self {
            number,
            len: slots.len(),
            stored: 0,
            least: Cell::new(UNSET),
            most: Cell::new(i64::MIN),
            first: None,
            slots: OnceCell::new(),
            changed: Cell::new(true),
        };
        slots.iter().for_each(|slot| page.note(slot.end.get()));
        page.slots.get_or_init(|| slots);
        page
    }

    /// Takes note of an end.
    fn note(&self, end: i64) {
        self.least.set(self.least.get().min(end));
        self.most.set(self.most.get().max(end));
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn first_key(&self) -> Option<&K> {
        match self.slots.get() {
            Some(slots) => slots.front().map(|slot| &slot.key),
            None => self.first.as_ref(),
        }
    }
}

impl<K, V> Pages<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Brings the pages of a range that are not in memory there.
    fn load(&self, pages: std::ops::Range<usize>) {
        let wanted: Vec<&Page<K, V>> =
            self.pages.get(pages).into_iter().flatten().filter(|page| page.slots.get().is_none()).collect();
        let named: Vec<(u32, usize)> = wanted.iter().map(|page| (page.number, page.stored)).collect();
        for (page, bytes) in wanted.into_iter().zip(self.space.read(&named)) {
            let Some(slots) = (self.read)(&bytes, page.len) else {
                let (part, wanted) = (self.space.part, std::any::type_name::<(K, V)>());
                panic!(
                    "page {} of part {part} of the key's state is no `{wanted}`: another version wrote it",
                    page.number
                )
            };
            self.resident.set(self.resident.get() + bytes.len());
            page.slots.get_or_init(|| slots);
        }
    }

    fn slots(&self, page: usize) -> Option<&VecDeque<Slot<K, V>>> {
        if self.pages.get(page)?.slots.get().is_none() {
            self.load(page..page + 1);
        }
        self.pages.get(page)?.slots.get()
    }

    /// The entries of a page, to be changed.
    fn slots_mut(&mut self, page: usize) -> Option<EntriesAndEnds<'_, K, V>> {
        self.slots(page)?;
        let page = self.pages.get_mut(page)?;
        page.changed.set(true);
        Some((page.slots.get_mut()?, &page.least, &page.most))
    }

    /// The page that has an entry, and the entry's place in it. They are looked for from the nearer end.
    fn locate(&self, place: usize) -> Option<(usize, usize)> {
        if place < self.len / 2 {
            let mut offset = place;
            for (number, page) in self.pages.iter().enumerate() {
                if offset < page.len {
                    return Some((number, offset));
                }
                offset -= page.len;
            }
            return None;
        }
        let mut behind = self.len.checked_sub(place)?;
        for (number, page) in self.pages.iter().enumerate().rev() {
            if (1..=page.len).contains(&behind) {
                return Some((number, page.len - behind));
            }
            behind = behind.checked_sub(page.len)?;
        }
        None
    }

    /// How many entries are before a page.
    fn before(&self, page: usize) -> usize {
        let len = |pages: &[Page<K, V>]| pages.iter().map(|page| page.len).sum::<usize>();
        match self.pages.split_at_checked(page) {
            Some((before, _)) if page < self.pages.len() / 2 => len(before),
            Some((_, after)) => self.len - len(after),
            None => self.len,
        }
    }

    /// The place of the first entry of which the key is not before.
    pub(super) fn place(&self, before: &mut dyn FnMut(&K) -> bool) -> usize {
        let after = self.pages.partition_point(|page| page.first_key().is_some_and(&mut *before));
        let Some(page) = after.checked_sub(1) else { return 0 };
        let Some(slots) = self.slots(page) else { return self.len };
        // Most keys that grow with time are asked for at the end.
        if slots.back().is_none_or(|last| before(&last.key)) {
            return self.before(after);
        }
        self.before(page) + slots.partition_point(|slot| before(&slot.key))
    }

    /// The key at a place.
    pub(super) fn key(&self, place: usize) -> Option<&K> {
        let (page, offset) = self.locate(place)?;
        match offset {
            0 => self.pages.get(page)?.first_key(),
            _ => Some(&self.slots(page)?.get(offset)?.key),
        }
    }

    /// Reads an entry of a page.
    fn read(&self, page: usize, offset: usize, life: &Life) -> Option<(&K, &V)> {
        let slot = self.slots(page)?.get(offset)?;
        if life.renews_by_reading() {
            slot.end.read(life);
            let page = self.pages.get(page)?;
            page.note(slot.end.get());
            page.changed.set(true);
        }
        Some((&slot.key, &slot.value))
    }

    pub(super) fn get(&self, place: usize, life: &Life) -> Option<(&K, &V)> {
        let (page, offset) = self.locate(place)?;
        self.read(page, offset, life)
    }

    pub(super) fn insert(&mut self, place: usize, slot: Slot<K, V>) {
        let before = place.checked_sub(1).and_then(|before| self.locate(before));
        let (page, offset) = before.map_or((0, 0), |(page, offset)| (page, offset + 1));
        self.len += 1;
        if self.pages.is_empty() {
            let new = self.new_page(VecDeque::from([slot]));
            return self.pages.push(new);
        }
        let end = slot.end.get();
        if let Some((slots, ..)) = self.slots_mut(page) {
            slots.insert(offset, slot);
        }
        if let Some(page) = self.pages.get_mut(page) {
            page.len += 1;
            page.note(end);
        }
    }

    /// Puts an entry in the place of another one.
    pub(super) fn replace(&mut self, place: usize, slot: Slot<K, V>) -> Option<Slot<K, V>> {
        let end = slot.end.get();
        let (page, offset) = self.locate(place)?;
        let old = std::mem::replace(self.slots_mut(page)?.0.get_mut(offset)?, slot);
        self.pages.get(page)?.note(end);
        Some(old)
    }

    /// An entry that is to be changed; its end by `renew`.
    pub(super) fn get_mut(&mut self, place: usize, renew: impl FnOnce(i64) -> i64) -> Option<&mut Slot<K, V>> {
        let (page, offset) = self.locate(place)?;
        let (slots, least, most) = self.slots_mut(page)?;
        let slot = slots.get_mut(offset)?;
        slot.end.set(renew(slot.end.get()));
        least.set(least.get().min(slot.end.get()));
        most.set(most.get().max(slot.end.get()));
        Some(slot)
    }

    /// The entry at a place as it is.
    pub(super) fn slot(&self, place: usize) -> Option<&Slot<K, V>> {
        let (page, offset) = self.locate(place)?;
        self.slots(page)?.get(offset)
    }

    pub(super) fn remove(&mut self, place: usize) -> Option<Slot<K, V>> {
        let (number, offset) = self.locate(place)?;
        let slot = self.slots_mut(number)?.0.remove(offset)?;
        self.len -= 1;
        let page = self.pages.get_mut(number)?;
        page.len -= 1;
        if page.len == 0 {
            let page = self.pages.remove(number);
            self.lose(&page);
        }
        Some(slot)
    }

    /// Takes out the page that begins at a place, if all of its entries, of which there are `most` at most, go.
    pub(super) fn detach(&mut self, place: usize, most: usize) -> Option<Page<K, V>> {
        let (number, offset) = self.locate(place)?;
        if offset != 0 || self.pages.get(number)?.len > most {
            return None;
        }
        let page = self.pages.remove(number);
        self.lose(&page);
        self.len -= page.len;
        Some(page)
    }

    /// Puts back a page that was taken out at this place.
    pub(super) fn attach(&mut self, place: usize, page: Page<K, V>) {
        let at = match self.locate(place) {
            None => self.pages.len(),
            Some((number, 0)) => number,
            // What was put back before it went to the page before.
            Some((number, offset)) => {
                let behind = self.slots_mut(number).map(|(slots, ..)| slots.split_off(offset)).unwrap_or_default();
                if let Some(front) = self.pages.get_mut(number) {
                    front.len = offset;
                }
                let behind = self.new_page(behind);
                self.pages.insert(number + 1, behind);
                number + 1
            }
        };
        self.gone.retain(|&(number, _)| number != page.number);
        self.len += page.len;
        self.pages.insert(at, page);
    }

    fn lose(&mut self, page: &Page<K, V>) {
        if page.stored != 0 {
            self.gone.push((page.number, page.stored));
        }
    }

    fn new_page(&mut self, slots: VecDeque<Slot<K, V>>) -> Page<K, V> {
        let page = Page::new(self.next, slots);
        self.next += 1;
        page
    }

    /// Drops pages in memory, if they are too large together. Nothing of them may be about to be taken back.
    pub(super) fn begin(&mut self, ends: bool) {
        if self.resident.get() > super::bounds::bounds().resident_bytes {
            (self.let_go)(self, ends);
        }
    }

    /// Goes through the entries of which the ends have come or are not set, as [`Life::judge`] does.
    pub(super) fn judge(&mut self, life: &Life, judge: &mut dyn FnMut(&super::life::End) -> bool) {
        let mut number = 0;
        while let Some(page) = self.pages.get(number) {
            let (least, most) = (page.least.get(), page.most.get());
            if life.has_ended(most) {
                let page = self.pages.remove(number);
                self.lose(&page);
                self.len -= page.len;
                continue;
            }
            if most != UNSET && !life.has_ended(least) {
                life.found(least);
                number += 1;
                continue;
            }
            let Some((slots, least, most)) = self.slots_mut(number) else { return };
            least.set(UNSET);
            most.set(i64::MIN);
            slots.retain(|slot| {
                let stays = judge(&slot.end);
                if stays {
                    least.set(least.get().min(slot.end.get()));
                    most.set(most.get().max(slot.end.get()));
                }
                stays
            });
            let left = slots.len();
            if let Some(page) = self.pages.get_mut(number) {
                self.len -= page.len - left;
                page.len = left;
            }
            if left == 0 {
                let page = self.pages.remove(number);
                self.lose(&page);
            } else {
                number += 1;
            }
        }
    }

    /// Takes back what reading changed.
    pub(super) fn undo(&self, life: &Life) {
        for page in &self.pages {
            for slot in page.slots.get().into_iter().flatten() {
                slot.end.undo(life);
            }
            life.found(page.least.get());
            if page.most.get() == UNSET {
                life.found(UNSET);
            }
        }
    }

    /// The earliest end of an entry. Of a page that has changed only a bound is known without looking.
    pub(super) fn earliest(&self) -> i64 {
        let mut earliest = UNSET;
        for page in self.pages.iter() {
            if page.least.get() >= earliest {
                continue;
            }
            let end = match page.slots.get() {
                Some(slots) if page.changed.get() => slots.iter().map(|slot| slot.end.get()).min().unwrap_or(UNSET),
                _ => page.least.get(),
            };
            earliest = earliest.min(end);
        }
        earliest
    }

    /// Reads the entries at these places.
    pub(super) fn iter<'s>(&'s self, places: std::ops::Range<usize>, life: &'s Life) -> Iter<'s, K, V> {
        Iter::new(self, places, life)
    }
}
