//! The watermark at the place of each row.
//!
//! What a key sees must not depend on where micro-batches are cut. So each row is judged by what was known just before
//! it, not by what its micro-batch came to know.

use std::ops::Range;

use super::rows::Origins;
use crate::time::Watermark;

/// What was known before each of so many rows; `i64::MIN` where nothing was.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct RowWatermarks<'a> {
    /// The watermark that has been acted upon: what was due by it has fired.
    pub(in crate::pipeline) known: &'a [i64],
    /// The watermark by which the row is late. It may be ahead of what has been acted upon: that of the row's own
    /// partition, so that no result depends on how partitions came together.
    pub(in crate::pipeline) late: &'a [i64],
}

/// The same, owned.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct RowWatermarksBuf {
    known: Vec<i64>,
    late: Vec<i64>,
}

impl RowWatermarksBuf {
    pub(in crate::pipeline) fn view(&self) -> RowWatermarks<'_> {
        RowWatermarks { known: &self.known, late: &self.late }
    }

    /// The number of rows.
    pub(in crate::pipeline) fn len(&self) -> usize {
        self.known.len()
    }

    /// Appends what is known before a row, and the watermark by which it is late.
    pub(in crate::pipeline) fn push(&mut self, known: Watermark, late: Watermark) {
        self.known.push(number(known));
        self.late.push(number(late));
    }
}

/// The rows that move the watermark of an input.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Moving<'a> {
    /// Which of the rows below these are.
    pub(in crate::pipeline) range: Range<u32>,
    /// Their event times.
    pub(in crate::pipeline) times: &'a [i64],
    /// The record of each.
    pub(in crate::pipeline) records: Origins<'a>,
    /// Which of them each row comes from that has arrived. Never goes back.
    pub(in crate::pipeline) sources: Origins<'a>,
}

fn number(watermark: Watermark) -> i64 {
    watermark.time().unwrap_or(i64::MIN)
}

/// Which event times are plausible: not the two ends of time, which stand for no time, and none further ahead of the clock
/// than is allowed. One such row would make all others late.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct TimestampBounds {
    latest: i64,
}

impl TimestampBounds {
    /// What is plausible at this time of the clock.
    pub(in crate::pipeline) fn new(ahead_ms: Option<i64>, clock: i64) -> Self {
        let latest = ahead_ms.map_or(i64::MAX - 1, |ahead_ms| clock.saturating_add(ahead_ms).min(i64::MAX - 1));
        Self { latest }
    }

    pub(in crate::pipeline) fn holds(self, time: i64) -> bool {
        time <= self.latest && time != i64::MIN
    }

    /// The rows whose event time is rejected as implausible.
    pub(in crate::pipeline) fn implausible(self, times: &[i64]) -> Vec<u32> {
        if times.iter().fold(true, |all, &time| all & self.holds(time)) {
            return Vec::new();
        }
        (0..).zip(times).filter(|(_, time)| !self.holds(**time)).map(|(row, _)| row).collect()
    }
}
