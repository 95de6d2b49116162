//! Complete windows into result rows.

use super::{Arrival, Sink, Stop};
use crate::pipeline::calls::Calls;
use crate::pipeline::dead_letter::Source;
use crate::pipeline::plan::Fold;
use crate::pipeline::rows::{Origins, StageRows};
use crate::plugin::Closed;
use crate::record::BatchRef;
use crate::state::Due;

/// Makes the result rows of complete groups; they go on to the next stage.
pub(in crate::pipeline) async fn finish(fold: &Fold, due: &Due, sink: &mut Sink<'_>) -> Result<StageRows, Stop> {
    let count = due.keys.len();
    let (starts, ends) = (vec![due.window.start; count], vec![due.window.end; count]);
    let times = vec![due.window.last(); count];
    let groups =
        BatchRef { timestamps: &times, keys: due.keys.view(), values: due.accumulators.view(), ..BatchRef::default() };
    let arrival = Arrival {
        rows: groups,
        origins: Origins::From(0),
        source: Source::Window { window: due.window, groups },
        came_by: 0,
    };
    let mut next = StageRows::default();
    let mut calls = Calls::new(groups);
    while let Some((at, rows)) = calls.next() {
        let range = at..at + rows.len();
        let closed =
            Closed { groups: rows.values, keys: rows.keys, starts: &starts[range.clone()], ends: &ends[range] };
        match fold.step.guest.finish(closed).await {
            Ok(called) => {
                sink.succeeded(called.fuel);
                sink.route(&fold.step, rows, arrival.origins.skip(at), &called.answer, &mut next, arrival.came_by);
                sink.reject(&fold.step, &called.answer.rejected, at, arrival);
            }
            Err(failure) => sink.failed(&fold.step, failure, &mut calls, (at, rows), arrival)?,
        }
    }
    sink.usage.windows_closed += count as u64;
    Ok(next)
}
