//! Rows into windows.

use super::{Sink, Stop, select, visible};
use crate::pipeline::engine::arrival::Arrival;
use crate::pipeline::engine::calls::Calls;
use crate::pipeline::engine::dead_letter::Cause;
use crate::pipeline::engine::plan::Fold;
use crate::pipeline::engine::row_watermarks::RowWatermarks;
use crate::pipeline::engine::rows::StageRows;
use crate::plugin::{Contribution, Folded};
use crate::record::BatchRef;
use crate::state::{CallGroups, WindowAssignment, Windows};
use crate::time::Watermark;

/// Folds rows into the open windows of a step; late rows go to the step's late topic.
pub(in crate::pipeline) async fn process_batch(
    fold: &Fold,
    windows: &mut Windows,
    arrival: Arrival<'_>,
    places: RowWatermarks<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), Stop> {
    let sorted = sort_out(windows, arrival.rows, places);
    if sorted.late.is_empty() && sorted.unassignable.is_empty() {
        return add(fold, windows, arrival, sink).await;
    }
    for &row in &sorted.unassignable {
        let time = arrival.rows.timestamps[row as usize];
        let windows = fold.windowing.describe();
        let reason = format!("event time {time} ms is too near an end of time for a window ({windows})");
        let cause = Cause { code: "timestamp_out_of_range", reason: &reason, backtrace: &[] };
        sink.dead_letter(&fold.step, arrival.source, arrival.origins.of(row), cause, arrival.source_partition);
    }
    let late = select(arrival.rows, arrival.origins, sorted.late);
    sink.late(fold, late.batch.view(), arrival.source_partition);
    let StageRows { batch, origins } = select(arrival.rows, arrival.origins, sorted.open);
    let rest =
        Arrival { rows: batch.view(), origins: crate::pipeline::engine::rows::Origins::Listed(&origins), ..arrival };
    add(fold, windows, rest, sink).await
}

/// Rows by where they belong.
#[derive(Debug, Default)]
struct Sorted {
    open: Vec<u32>,
    late: Vec<u32>,
    unassignable: Vec<u32>,
}

fn sort_out(windows: &Windows, rows: BatchRef<'_>, places: RowWatermarks<'_>) -> Sorted {
    let mut sorted = Sorted { open: Vec::with_capacity(rows.len()), ..Sorted::default() };
    let mut near = None;
    for ((row, &time), &late) in (0..).zip(rows.timestamps).zip(places.late) {
        match windows.assign(time, Watermark::At(late), near) {
            WindowAssignment::Open(window) => {
                near = Some(window);
                sorted.open.push(row);
            }
            WindowAssignment::Late => sorted.late.push(row),
            WindowAssignment::Unassignable => sorted.unassignable.push(row),
        }
    }
    sorted
}

async fn add(fold: &Fold, windows: &mut Windows, arrival: Arrival<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let step = &fold.step;
    let mut groups = CallGroups::default();
    let mut calls = Calls::new(arrival.rows);
    while let Some((at, rows)) = calls.next() {
        windows.group(rows, &mut groups);
        let contribution = Contribution {
            groups: groups.accumulators.view(),
            row_groups: &groups.row_groups,
            rows: visible(step, rows),
        };
        match fold.guest.add(contribution).await {
            Ok(called) => {
                sink.succeeded(called.fuel);
                let untouched = untouched(&groups.row_groups, groups.accumulators.len(), &called.answer);
                sink.may_retreat = false;
                windows.store(&groups, &called.answer.groups, |group| untouched.binary_search(&group).is_ok());
                sink.reject(step, &called.answer.rejected, at, arrival);
            }
            Err(failure) => sink.failed(step, failure, &mut calls, (at, rows), arrival)?,
        }
    }
    Ok(())
}

/// The groups of which every row was rejected: whatever the guest answers for them, they stay as they were, so that
/// rejected rows alone never open a window.
pub(super) fn untouched(row_groups: &[u32], groups: usize, folded: &Folded) -> Vec<u32> {
    if folded.rejected.rows.is_empty() {
        return Vec::new();
    }
    let mut accepted = vec![false; groups];
    let mut rejected = folded.rejected.rows.iter().peekable();
    for (row, &group) in (0..).zip(row_groups) {
        if rejected.next_if(|&&rejected| rejected == row).is_none() {
            accepted[group as usize] = true;
        }
    }
    (0..).zip(accepted).filter(|(_, accepted)| !accepted).map(|(group, _)| group).collect()
}
