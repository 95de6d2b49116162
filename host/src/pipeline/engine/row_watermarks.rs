//! The watermark at the place of each row.
//!
//! What a key sees must not depend on where micro-batches are cut. So each row is judged by what was known just before
//! it, not by what its micro-batch came to know.

use super::rows::Origins;
use crate::time::{Mark, Watermark, Watermarks};

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
}

/// The rows that move the watermark of an input.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Moving<'a> {
    /// Their event times.
    pub(in crate::pipeline) times: &'a [i64],
    /// The record of each.
    pub(in crate::pipeline) records: Origins<'a>,
    /// Which of them each row comes from that has arrived. Never goes back.
    pub(in crate::pipeline) sources: Origins<'a>,
}

/// Lets the rows and marks of an input pass, in the order in which they came, and says what was known where each of
/// `count` rows has arrived: just before the row that it comes from passes. A mark stands after the rows of its record.
/// Rows that are rejected as implausible move nothing.
pub(in crate::pipeline) fn row_watermarks(
    watermarks: &mut Watermarks,
    input: usize,
    count: usize,
    moving: Moving<'_>,
    bounds: TimestampBounds,
    marks: &[(u32, Mark)],
) -> RowWatermarksBuf {
    let mut placed = RowWatermarksBuf { known: Vec::with_capacity(count), late: Vec::with_capacity(count) };
    let mut marks = marks.iter().peekable();
    let mut arrived = 0..count as u32;
    let mut next = arrived.next();
    for (row, &time) in (0..).zip(moving.times) {
        while let Some((_, mark)) = marks.next_if(|(record, _)| *record < moving.records.of(row)) {
            watermarks.mark(input, *mark);
        }
        while next.is_some_and(|next| moving.sources.of(next) == row) {
            placed.known.push(number(watermarks.output()));
            placed.late.push(number(watermarks.late(input)));
            next = arrived.next();
        }
        if bounds.holds(time) {
            watermarks.row(input, time);
        }
    }
    marks.for_each(|(_, mark)| watermarks.mark(input, *mark));
    placed
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

    fn holds(self, time: i64) -> bool {
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
