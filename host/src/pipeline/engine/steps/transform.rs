//! Rows in, rows out.

use super::{Sink, Stop, visible};
use crate::pipeline::engine::arrival::Arrival;
use crate::pipeline::engine::calls::Calls;
use crate::pipeline::engine::plan::Transform;
use crate::pipeline::engine::rows::StageRows;

/// Runs a transform over rows; what it answers is what goes on to the next step.
pub(in crate::pipeline) async fn transform(
    transform: &Transform,
    arrival: Arrival<'_>,
    sink: &mut Sink<'_>,
) -> Result<StageRows, Stop> {
    let step = &transform.step;
    let mut next = StageRows::default();
    let mut calls = Calls::new(arrival.rows);
    while let Some((at, rows)) = calls.next() {
        match transform.guest.transform(visible(step, rows)).await {
            Ok(called) => {
                sink.succeeded(called.fuel);
                sink.route(step, rows, at, &called.answer, &mut next, arrival);
                sink.reject(step, &called.answer.rejected, at, arrival);
            }
            Err(failure) => sink.failed(step, failure, &mut calls, (at, rows), arrival)?,
        }
    }
    Ok(next)
}
