//! Which entries are together on a page, and what is written of it.
//!
//! ```text
//! page       version and whether entries have ends (u8), then the entries
//! ```
//!
//! A page that has grown too large is divided: evenly, and at the end of the part, where keys that grow with time are
//! added, into full ones. One that has shrunk to a quarter goes to the page before it, if that has room.

use std::cell::OnceCell;
use std::collections::VecDeque;

use super::super::bounds::bounds;
use super::super::slot::{Slot, decode_slots};
use super::super::store::{PageSpace, Puts};
use super::{Page, Pages};
use crate::accumulator::Accumulator;

/// The format, in the upper half of a page's first byte.
const VERSION: u8 = 1;
/// What a page takes in the list of pages, about.
const LISTED_BYTES: usize = 24;

impl<K: Accumulator, V: Accumulator> Pages<K, V> {
    /// Pages of entries that have been in memory.
    pub(in crate::state) fn of(space: PageSpace, slots: VecDeque<Slot<K, V>>) -> Self {
        let mut pages = Self::none(space);
        pages.len = slots.len();
        let page = pages.new_page(slots);
        pages.pages.push(page);
        pages
    }

    pub(super) fn none(space: PageSpace) -> Self {
        Self {
            space,
            pages: Vec::new(),
            len: 0,
            next: 0,
            gone: Vec::new(),
            resident: std::cell::Cell::new(0),
            read: decode_page,
            let_go: Self::let_go,
        }
    }

    /// Takes all entries, and leaves none.
    pub(in crate::state) fn take(&mut self) -> VecDeque<Slot<K, V>> {
        self.load(0..self.pages.len());
        let mut all = VecDeque::with_capacity(self.len);
        for page in std::mem::take(&mut self.pages) {
            self.lose(&page);
            all.extend(page.slots.into_inner().unwrap_or_default());
        }
        self.len = 0;
        all
    }

    /// Hands the host what has changed. Returns the bytes of all pages.
    pub(in crate::state) fn write(&mut self, ends: bool) -> usize {
        // The list of pages is read and written with each call: pages grow with it.
        let largest = bounds().page_bytes.max(LISTED_BYTES * self.pages.len());
        let mut puts = Puts::new(self.space);
        let (mut number, mut bytes, mut starts) = (0, Vec::new(), Vec::new());
        while let Some(page) = self.pages.get(number) {
            let Some(slots) = page.slots.get().filter(|_| page.changed.get()) else {
                number += 1;
                continue;
            };
            encode_page(slots, ends, &mut bytes, &mut starts);
            if bytes.len() > largest && slots.len() > 1 {
                self.divide(number, &starts, bytes.len(), largest);
                continue;
            }
            if bytes.len() < largest / 4 && self.joins_the_one_before(number, largest / 2) {
                number -= 1;
                continue;
            }
            if let Some(page) = self.pages.get_mut(number) {
                puts.write(page.number, &bytes, page.stored);
                page.stored = bytes.len();
                page.changed.set(false);
                page.tighten();
            }
            number += 1;
        }
        for (number, stored) in std::mem::take(&mut self.gone) {
            puts.delete(number, stored);
        }
        puts.end();
        self.pages.iter().map(|page| page.stored).sum()
    }

    /// Divides a page whose entries begin at these bytes.
    fn divide(&mut self, number: usize, starts: &[usize], bytes: usize, largest: usize) {
        let is_last = number + 1 == self.pages.len();
        let target = if is_last { largest } else { bytes / bytes.div_ceil(largest) + 1 };
        let mut cuts = Vec::new();
        let mut begin = 0;
        let ends = starts.iter().skip(1).chain(std::iter::once(&bytes));
        for (place, (&start, &end)) in starts.iter().zip(ends).enumerate() {
            if end - begin > target && start > begin && place > 0 {
                cuts.push(place);
                begin = start;
            }
        }
        let Some((slots, ..)) = self.slots_mut(number) else { return };
        // From behind, so that places before stay.
        let mut behind: Vec<_> = cuts.iter().rev().map(|&cut| slots.split_off(cut)).collect();
        let left = slots.len();
        if let Some(page) = self.pages.get_mut(number) {
            page.len = left;
        }
        let mut new = Vec::with_capacity(behind.len());
        while let Some(slots) = behind.pop() {
            new.push(self.new_page(slots));
        }
        self.pages.splice(number + 1..number + 1, new);
    }

    /// Moves the entries of a page to the page before, if that has no more bytes than these.
    fn joins_the_one_before(&mut self, number: usize, most: usize) -> bool {
        let Some(before) = number.checked_sub(1) else { return false };
        if self.pages.get(before).is_none_or(|page| page.stored > most) {
            return false;
        }
        let page = self.pages.remove(number);
        self.lose(&page);
        let added = page.len;
        if let Some((slots, least, most)) = self.slots_mut(before) {
            least.set(least.get().min(page.least.get()));
            most.set(most.get().max(page.most.get()));
            slots.extend(page.slots.into_inner().into_iter().flatten());
        }
        if let Some(before) = self.pages.get_mut(before) {
            before.len += added;
        }
        true
    }

    fn let_go(&mut self, ends: bool) {
        self.write(ends);
        for page in &mut self.pages {
            page.let_go();
        }
        self.resident.set(0);
    }
}

impl<K: Accumulator, V: Accumulator> Page<K, V> {
    /// Says exactly between which times entries end.
    fn tighten(&self) {
        self.least.set(super::UNSET);
        self.most.set(i64::MIN);
        self.slots.get().into_iter().flatten().for_each(|slot| self.note(slot.end.get()));
    }

    fn let_go(&mut self) {
        if self.slots.get().is_some() {
            let mut key = Vec::new();
            self.first_key().into_iter().for_each(|first| first.encode(&mut key));
            self.first = K::decode(&mut key.as_slice());
            self.slots = OnceCell::new();
        }
    }
}

fn encode_page<K: Accumulator, V: Accumulator>(
    slots: &VecDeque<Slot<K, V>>,
    ends: bool,
    into: &mut Vec<u8>,
    starts: &mut Vec<usize>,
) {
    into.clear();
    starts.clear();
    into.push(VERSION << 4 | u8::from(ends));
    let mut before = 0;
    for slot in slots {
        starts.push(into.len());
        slot.encode(ends, &mut before, into);
    }
}

fn decode_page<K: Accumulator, V: Accumulator>(mut from: &[u8], count: usize) -> Option<VecDeque<Slot<K, V>>> {
    let first = u8::decode(&mut from)?;
    if first >> 4 != VERSION || first & 0xf > 1 {
        return None;
    }
    let slots = decode_slots(count as u64, first & 1 != 0, &mut from, |_| ());
    slots.filter(|_| from.is_empty())
}
