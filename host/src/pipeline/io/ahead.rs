//! Records of an input that are read and decoded already, but not taken yet.
//!
//! Micro-batches take as much of each input as its event time allows, and the log gives whole record batches. What is over
//! is kept here for the next micro-batch instead of being decoded again. It is no more than a cache of the log: to forget
//! it costs time, and nothing else.

use std::collections::VecDeque;

use crate::ids::Offset;
use crate::log::batch::Offsets;
use crate::pipeline::engine::gather::slice;
use crate::pipeline::engine::outputs::extend;
use crate::record::{Batch, BatchRef};

/// Records that come next, in order.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    parts: VecDeque<Part>,
}

#[derive(Debug)]
struct Part {
    records: Batch,
    offsets: Offsets,
    /// How many of them are taken.
    taken: usize,
    /// The position behind them.
    next: Offset,
}

impl Ahead {
    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }

    /// Bytes of keys and values, those of records that were taken out of the middle included.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.records.payload_bytes()).sum()
    }

    /// Adds records after all others; the position behind them is `next`.
    pub(super) fn push_back(&mut self, records: BatchRef<'_>, offsets: Offsets, next: Offset) {
        self.parts.push_back(Part { records: records.to_owned(), offsets, taken: 0, next });
    }

    /// Puts records back before all others; the position behind them is `next`.
    pub(super) fn push_front(&mut self, records: BatchRef<'_>, offsets: Offsets, next: Offset) {
        self.parts.push_front(Part { records: records.to_owned(), offsets, taken: 0, next });
    }

    /// Takes the first records, at most this many: appends them, and answers the position behind them.
    pub(super) fn take(&mut self, most: usize, records: &mut Batch, offsets: &mut Offsets) -> Option<Offset> {
        let (mut left, mut position) = (most, None);
        while left > 0
            && let Some(part) = self.parts.front_mut()
        {
            let end = part.records.len().min(part.taken + left);
            extend(records, slice(part.records.view(), part.taken..end));
            offsets.append(&part.offsets, part.taken..end);
            left -= end - part.taken;
            part.taken = end;
            position = Some(if end < part.records.len() { part.offsets.of(end) } else { part.next });
            if end == part.records.len() {
                self.parts.pop_front();
            }
        }
        position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(times: std::ops::Range<i64>) -> Batch {
        let mut batch = Batch::default();
        times.for_each(|time| batch.push(time, Some(b"k"), Some(time.to_string().as_bytes())));
        batch
    }

    #[test]
    fn what_is_put_back_comes_first_and_everything_comes_once() {
        let mut ahead = Ahead::default();
        ahead.push_back(records(5..9).view(), Offsets::dense(15, 4), 21);
        ahead.push_front(records(2..5).view(), Offsets::dense(12, 3), 15);
        let (mut batch, mut offsets) = (Batch::default(), Offsets::default());
        let positions: Vec<_> = (0..4).map(|_| ahead.take(2, &mut batch, &mut offsets)).collect();
        assert_eq!(positions, [Some(14), Some(16), Some(18), Some(21)]);
        assert!(ahead.is_empty() && ahead.take(2, &mut batch, &mut offsets).is_none());
        assert_eq!((batch, offsets), (records(2..9), Offsets::dense(12, 7)));
    }
}
