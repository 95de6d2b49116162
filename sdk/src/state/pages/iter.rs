//! Reading entries one after another, from both ends.

use std::ops::Range;

use super::{Life, Pages};

/// Pages that are read ahead at once, when so many have been gone through.
const AHEAD_MAX: usize = 64;

/// The entries at places that follow one another.
#[derive(Debug)]
pub(in crate::state) struct Iter<'s, K, V> {
    pages: &'s Pages<K, V>,
    life: &'s Life,
    /// How many entries are left.
    left: usize,
    /// The page and the place in it of the next entry from the front, and from the back.
    front: (usize, usize),
    back: (usize, usize),
    /// How many pages are read with the next one that is not in memory. Whoever reads on needs more and more of them.
    ahead: usize,
}

impl<'s, K, V> Iter<'s, K, V> {
    pub(super) fn new(pages: &'s Pages<K, V>, places: Range<usize>, life: &'s Life) -> Self {
        let last = places.end.checked_sub(1).filter(|&last| last >= places.start);
        let (front, back) = (pages.locate(places.start), last.and_then(|last| pages.locate(last)));
        let left = if front.is_some() && back.is_some() { places.len() } else { 0 };
        Self { pages, life, left, front: front.unwrap_or_default(), back: back.unwrap_or_default(), ahead: 1 }
    }

    fn is_there(&self, page: usize) -> bool {
        self.pages.pages.get(page).is_none_or(|page| page.slots.get().is_some())
    }

    fn grow(&mut self) -> usize {
        let ahead = self.ahead;
        self.ahead = (ahead * 2).min(AHEAD_MAX);
        ahead
    }
}

impl<'s, K, V> Iterator for Iter<'s, K, V> {
    type Item = (&'s K, &'s V);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (page, offset) = self.front;
        if !self.is_there(page) {
            let end = page + self.grow();
            self.pages.load(page..end.min(self.back.0 + 1));
        }
        let is_last = self.pages.pages.get(page).is_none_or(|page| offset + 1 >= page.len);
        self.front = if is_last { (page + 1, 0) } else { (page, offset + 1) };
        self.pages.read(page, offset, self.life)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (page, offset) = self.back;
        if !self.is_there(page) {
            let start = (page + 1).saturating_sub(self.grow());
            self.pages.load(start.max(self.front.0)..page + 1);
        }
        if self.left > 0 {
            self.back = match (page, offset) {
                (page, 0) => {
                    let before = page - 1;
                    (before, self.pages.pages.get(before).map_or(0, |page| page.len - 1))
                }
                (page, offset) => (page, offset - 1),
            };
        }
        self.pages.read(page, offset, self.life)
    }
}
