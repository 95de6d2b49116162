//! The watermark at the place of each row.
//!
//! What a key sees must not depend on where micro-batches are cut. So each row is judged by what was known just before
//! it, not by what its micro-batch came to know.

use super::steps::Arrival;
use crate::time::{Mark, Watermark, Watermarks};

/// What was known before each of so many rows; `i64::MIN` where nothing was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    /// The watermark that has been acted upon: what was due by it has fired.
    pub(super) known: &'a [i64],
    /// The watermark by which the row is late. It may be ahead of what has been acted upon: that of the row's own
    /// partition, so that no result depends on how partitions came together.
    pub(super) late: &'a [i64],
}

/// The same, owned.
#[derive(Debug, Default)]
pub(super) struct Placed {
    known: Vec<i64>,
    late: Vec<i64>,
}

impl Placed {
    pub(super) fn view(&self) -> Places<'_> {
        Places { known: &self.known, late: &self.late }
    }
}

/// Lets rows and marks of an input pass, in the order in which they came. A mark stands after the rows of its origin.
pub(super) fn place(watermarks: &mut Watermarks, input: usize, rows: Arrival<'_>, marks: &[(u32, Mark)]) -> Placed {
    let count = rows.rows.len();
    let mut placed = Placed { known: Vec::with_capacity(count), late: Vec::with_capacity(count) };
    let mut marks = marks.iter().peekable();
    for (row, &time) in (0..).zip(rows.rows.timestamps) {
        while let Some((_, mark)) = marks.next_if(|(origin, _)| *origin < rows.origins.of(row)) {
            watermarks.mark(input, *mark);
        }
        placed.known.push(number(watermarks.output()));
        placed.late.push(number(watermarks.late(input)));
        watermarks.row(input, time);
    }
    marks.for_each(|(_, mark)| watermarks.mark(input, *mark));
    placed
}

fn number(watermark: Watermark) -> i64 {
    watermark.time().unwrap_or(i64::MIN)
}

/// The rows whose event time cannot be believed: the two ends of time, which stand for no time, and times further ahead
/// of the clock than is allowed. One such row would make all others late.
pub(super) fn unbelievable(times: &[i64], ahead_ms: Option<i64>, clock: i64) -> Vec<u32> {
    let latest = ahead_ms.map_or(i64::MAX - 1, |ahead_ms| clock.saturating_add(ahead_ms).min(i64::MAX - 1));
    let strange = |time: i64| time > latest || time == i64::MIN;
    if !times.iter().fold(false, |found, &time| found | strange(time)) {
        return Vec::new();
    }
    (0..).zip(times).filter(|(_, time)| strange(**time)).map(|(row, _)| row).collect()
}
