//! The list of pages, which rides in the column in the place of the entries.
//!
//! ```text
//! the number of the next page, how many pages (varints); then of each
//!     number, entries, bytes (varints), the first end and how far the last is from it (signed varints, where entries have
//!     ends), the first key
//! ```

use std::cell::{Cell, OnceCell};

use super::super::codec::{read_signed, read_varint, signed, varint};
use super::super::store::PageSpace;
use super::{Life, Page, Pages, UNSET};
use crate::accumulator::Accumulator;

impl<K: Accumulator, V: Accumulator> Pages<K, V> {
    pub(in crate::state) fn encode(&self, ends: bool, into: &mut Vec<u8>) {
        varint(u64::from(self.next), into);
        varint(self.pages.len() as u64, into);
        for page in &self.pages {
            varint(u64::from(page.number), into);
            varint(page.len as u64, into);
            varint(page.stored as u64, into);
            if ends {
                signed(page.least.get(), into);
                signed(page.most.get().wrapping_sub(page.least.get()), into);
            }
            page.first_key().into_iter().for_each(|first| first.encode(into));
        }
    }

    pub(in crate::state) fn decode(space: PageSpace, ends: bool, life: &Life, from: &mut &[u8]) -> Option<Self> {
        let mut pages = Self::none(space);
        pages.next = u32::try_from(read_varint(from)?).ok()?;
        let count = read_varint(from)?;
        // A page takes a byte at least, or the count is made up: memory is not taken on its word.
        pages.pages.reserve(usize::try_from(count).unwrap_or(usize::MAX).min(from.len()));
        for _ in 0..count {
            let number = u32::try_from(read_varint(from)?).ok().filter(|&number| number < pages.next)?;
            let len = usize::try_from(read_varint(from)?).ok().filter(|&len| len > 0)?;
            let stored = usize::try_from(read_varint(from)?).ok().filter(|&bytes| bytes > 0)?;
            let (mut least, mut most) = (UNSET, UNSET);
            if ends {
                least = read_signed(from)?;
                most = least.wrapping_add(read_signed(from)?);
            }
            life.found(least);
            if most == UNSET {
                life.found(UNSET);
            }
            pages.len = pages.len.checked_add(len)?;
            pages.pages.push(Page {
                number,
                len,
                stored,
                least: Cell::new(least),
                most: Cell::new(most),
                first: Some(K::decode(from)?),
                slots: OnceCell::new(),
                changed: Cell::new(false),
            });
        }
        Some(pages)
    }
}
