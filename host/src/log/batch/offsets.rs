//! The offsets of rows that were read: ascending, and nearly always without gaps, so that they are kept as runs.

use std::ops::Range;

use crate::ids::Offset;

/// The offsets of the rows of a batch in columns, in order. Where no record is missing between them this is one pair of
/// numbers, whatever the number of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offsets {
    /// Where each run of rows without a gap begins: the row, and its offset.
    runs: Vec<(usize, Offset)>,
    rows: usize,
}

impl Offsets {
    /// Rows from this offset on, without a gap.
    pub fn dense(first: Offset, rows: usize) -> Self {
        let mut offsets = Self::default();
        offsets.extend(first, rows);
        offsets
    }

    /// Appends a row, whose offset is above that of the last.
    #[inline]
    pub fn push(&mut self, offset: Offset) {
        self.extend(offset, 1);
    }

    /// Appends rows without a gap, the first of which has an offset above that of the last.
    pub fn extend(&mut self, first: Offset, rows: usize) {
        if rows > 0 && self.next() != Some(first) {
            self.runs.push((self.rows, first));
        }
        self.rows += rows;
    }

    /// Appends those of some rows of another, whose first offset is above the last here.
    pub fn append(&mut self, other: &Self, rows: Range<usize>) {
        let ends = other.runs.iter().skip(1).map(|&(row, _)| row).chain([other.rows]);
        for (&(first, offset), end) in other.runs.iter().zip(ends) {
            let (from, to) = (first.max(rows.start), end.min(rows.end));
            if from < to {
                self.extend(offset + (from - first) as u64, to - from);
            }
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The offset of a row, which must be there.
    pub fn of(&self, row: usize) -> Offset {
        let run = self.runs.partition_point(|&(first, _)| first <= row);
        let (first, offset) = self.runs[run - 1];
        offset + (row - first) as u64
    }

    /// The offset of the first row, if there is one.
    pub fn first(&self) -> Option<Offset> {
        self.runs.first().map(|&(_, offset)| offset)
    }

    /// The offset after the last row, if there is one.
    pub fn next(&self) -> Option<Offset> {
        self.runs.last().map(|&(row, offset)| offset + (self.rows - row) as u64)
    }

    /// The offsets in order.
    pub fn iter(&self) -> impl Iterator<Item = Offset> {
        let ends = self.runs.iter().skip(1).map(|&(row, _)| row).chain([self.rows]);
        self.runs.iter().zip(ends).flat_map(|(&(row, offset), end)| offset..offset + (end - row) as u64)
    }

    /// Keeps the first rows only.
    pub fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.runs.truncate(self.runs.partition_point(|&(row, _)| row < self.rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_gap_are_one_run() {
        let mut offsets = Offsets::dense(7, 3);
        offsets.push(10);
        offsets.extend(11, 2);
        assert_eq!(offsets, Offsets::dense(7, 6));
        assert_eq!(offsets.runs.len(), 1);
        assert_eq!((offsets.first(), offsets.next()), (Some(7), Some(13)));
    }

    #[test]
    fn each_row_has_the_offset_that_was_pushed() {
        let pushed = [0, 1, 2, 5, 9, 10, 11, 40];
        let mut offsets = Offsets::default();
        pushed.into_iter().for_each(|offset| offsets.push(offset));
        assert_eq!(offsets.iter().collect::<Vec<_>>(), pushed);
        assert!(pushed.iter().enumerate().all(|(row, &offset)| offsets.of(row) == offset));
        for (from, to) in (0..=pushed.len()).flat_map(|to| (0..=to).map(move |from| (from, to))) {
            let mut some = Offsets::default();
            some.append(&offsets, from..to);
            assert_eq!(some.iter().collect::<Vec<_>>(), pushed[from..to]);
        }
        for rows in (0..=pushed.len()).rev() {
            offsets.truncate(rows);
            assert_eq!(offsets.iter().collect::<Vec<_>>(), pushed[..rows]);
            assert_eq!(offsets.next(), pushed[..rows].last().map(|last| last + 1));
        }
        offsets.truncate(3);
        assert!(offsets.is_empty() && offsets.first().is_none());
    }
}
