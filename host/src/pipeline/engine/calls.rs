//! How rows are divided into calls, and how a failed call is taken apart.
//!
//! A call has no effect but its answer, so a failed one is undone by doing nothing: its rows are halved and called
//! again until the row that is to blame is alone.

use crate::record::BatchRef;

/// Rows of one call. Past a few thousand the cost of a call is gone, and answers should stay in the cache.
pub(in crate::pipeline) const CALL_ROWS: usize = 8192;
/// Bytes of keys and values of one call: calls of 512 KiB to 1 MiB are the cheapest a byte, past that fresh memory costs.
pub(in crate::pipeline) const CALL_BYTES: usize = 768 << 10;

/// Rows that are still to be called, in order.
#[derive(Debug)]
pub(in crate::pipeline) struct Calls<'a> {
    rest: BatchRef<'a>,
    at: usize,
    again: Vec<(usize, BatchRef<'a>)>,
}

impl<'a> Calls<'a> {
    pub(in crate::pipeline) fn new(rows: BatchRef<'a>) -> Self {
        Self { rest: rows, at: 0, again: Vec::new() }
    }

    /// Brings the rows of a failed call back, in halves; a row alone cannot be halved.
    pub(in crate::pipeline) fn halve(&mut self, at: usize, rows: BatchRef<'a>) {
        let middle = rows.len() / 2;
        let (first, second) = rows.split_at(middle);
        self.again.push((at + middle, second));
        self.again.push((at, first));
    }
}

impl<'a> Iterator for Calls<'a> {
    /// The place of the first row, and the rows.
    type Item = (usize, BatchRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(again) = self.again.pop() {
            return Some(again);
        }
        if self.rest.is_empty() {
            return None;
        }
        let (rows, rest) = self.rest.split_at(self.rest.rows_within(CALL_ROWS, CALL_BYTES));
        let at = self.at;
        self.rest = rest;
        self.at += rows.len();
        Some((at, rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Batch;

    fn numbered(count: i64) -> Batch {
        let mut batch = Batch::default();
        (0..count).for_each(|number| batch.push(number, None, Some(&[0; 10])));
        batch
    }

    #[test]
    fn every_row_is_called_once_and_in_order() {
        let batch = numbered(20_000);
        let calls: Vec<_> = Calls::new(batch.view()).collect();
        assert_eq!(
            calls.iter().map(|(at, rows)| (*at, rows.len())).collect::<Vec<_>>(),
            [(0, 8192), (8192, 8192), (16384, 3616)]
        );
        let times: Vec<_> = calls.iter().flat_map(|(_, rows)| rows.timestamps).copied().collect();
        assert_eq!(times, batch.timestamps);
    }

    #[test]
    fn halving_finds_the_row_to_blame_and_calls_the_others_once() {
        let batch = numbered(1000);
        let (mut good, mut poison, mut failures) = (Vec::new(), Vec::new(), 0);
        let mut calls = Calls::new(batch.view());
        while let Some((at, rows)) = calls.next() {
            if !rows.timestamps.contains(&617) {
                good.extend_from_slice(rows.timestamps);
            } else if rows.len() == 1 {
                poison.push(at);
            } else {
                failures += 1;
                calls.halve(at, rows);
            }
        }
        assert_eq!(poison, [617]);
        assert_eq!(good, (0..1000).filter(|&number| number != 617).collect::<Vec<_>>());
        assert_eq!(failures, 10);
    }
}
