//! Complete windows into result rows.

use super::{Sink, Stop, bytes_of, spend};
use crate::pipeline::engine::arrival::{Arrival, Emission};
use crate::pipeline::engine::calls::Calls;
use crate::pipeline::engine::dead_letter::Source;
use crate::pipeline::engine::plan::Fold;
use crate::pipeline::engine::rows::{Origins, StageRows};
use crate::plugin::Closed;
use crate::record::{BatchRef, ColumnRef};
use crate::state::{Now, Windows};
use crate::time::Window;

/// Groups that close at once.
const CLOSING_CALL_GROUPS: usize = 8192;
/// Bytes of accumulators of groups that close at once: results grow with them.
const CLOSING_CALL_BYTES: usize = 4 << 20;

/// Windows that give results.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Firing<'a> {
    /// The window of each.
    pub(in crate::pipeline) windows: &'a [Window],
    /// The event time of each one's results.
    pub(in crate::pipeline) times: &'a [i64],
    /// The key of each.
    pub(in crate::pipeline) keys: ColumnRef<'a>,
    /// What each has accumulated.
    pub(in crate::pipeline) accumulators: ColumnRef<'a>,
}

/// Closes the next groups that are complete, at most `left`, which counts down. Their results go on to the next stage.
pub(in crate::pipeline) async fn on_watermark(
    fold: &Fold,
    windows: &mut Windows,
    now: Now,
    left: &mut usize,
    sink: &mut Sink<'_>,
) -> Result<Option<Emission>, Stop> {
    let most = CLOSING_CALL_GROUPS.min(*left);
    let Some(due) = windows.close(now.watermark, most, CLOSING_CALL_BYTES) else { return Ok(None) };
    sink.usage.windows_closed += due.keys.len() as u64;
    let same = vec![due.window; due.keys.len()];
    let times = vec![due.window.last(); due.keys.len()];
    let firing = Firing { windows: &same, times: &times, keys: due.keys.view(), accumulators: due.accumulators.view() };
    let rows = finish(fold, firing, sink).await?;
    spend(left, due.keys.len(), bytes_of(&rows.batch));
    let places = vec![due.window.last() - 1; rows.batch.len()];
    let windows = vec![due.window; rows.batch.len()];
    Ok(Some(Emission { rows: rows.batch, places, windows, rounds: Vec::new() }))
}

/// Makes the result rows of windows; the origin of each is its window's place.
pub(in crate::pipeline) async fn finish(
    fold: &Fold,
    firing: Firing<'_>,
    sink: &mut Sink<'_>,
) -> Result<StageRows, Stop> {
    let starts: Vec<i64> = firing.windows.iter().map(|window| window.start).collect();
    let ends: Vec<i64> = firing.windows.iter().map(|window| window.end).collect();
    let groups =
        BatchRef { timestamps: firing.times, keys: firing.keys, values: firing.accumulators, ..BatchRef::default() };
    let arrival = Arrival {
        rows: groups,
        origins: Origins::From(0),
        source: Source::Derived { rows: groups, windows: firing.windows, rounds: &[] },
        source_partition: 0,
        input: 0,
    };
    let mut next = StageRows::default();
    let mut calls = Calls::new(groups);
    while let Some((at, rows)) = calls.next() {
        let range = at..at + rows.len();
        let closed =
            Closed { groups: rows.values, keys: rows.keys, starts: &starts[range.clone()], ends: &ends[range] };
        match fold.guest.finish(closed).await {
            Ok(called) => {
                sink.succeeded(called.fuel);
                sink.route(&fold.step, rows, at, &called.answer, &mut next, arrival);
                sink.reject(&fold.step, &called.answer.rejected, at, arrival);
            }
            Err(failure) => sink.failed(&fold.step, failure, &mut calls, (at, rows), arrival)?,
        }
    }
    Ok(next)
}
