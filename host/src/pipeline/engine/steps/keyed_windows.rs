//! Windows that may give several results: rows into keyed windows, keyed windows into results.
//!
//! The keyed windows plan by times and keys, [`compute`](super::compute) calls the guest. Here both are put together, piece by
//! piece: however much one row sets off, a piece is bounded, and so is the state after it.

use super::compute::{Rows, compute};
use super::{Sink, Stop, bytes_of, spend};
use crate::pipeline::engine::arrival::{Arrival, Emission};
use crate::pipeline::engine::dead_letter::Cause;
use crate::pipeline::engine::gather::Taker;
use crate::pipeline::engine::plan::Fold;
use crate::pipeline::engine::row_watermarks::RowWatermarks;
use crate::pipeline::engine::step_state::STATE_BYTES_MAX;
use crate::pipeline::error::Error;
use crate::record::HeadersRef;
use crate::state::keyed_windows::{Arrived, Program};
use crate::state::{KeyedWindows, Now, Store};
use crate::time::{Kind, Session};

/// Keyed windows for which something is done in one piece when it is due.
const DUE_MAX: usize = 8192;
/// Stands for the gap of a row that says none that could be.
const NO_GAP: i64 = 0;

/// Puts rows into keyed windows and gives the results that they and the time at their places cause; late rows go to the step's
/// late topic.
pub(in crate::pipeline) async fn process_batch(
    fold: &Fold,
    keyed_windows: &mut KeyedWindows,
    arrival: Arrival<'_>,
    places: RowWatermarks<'_>,
    clock: i64,
    sink: &mut Sink<'_>,
) -> Result<Option<Emission>, Stop> {
    let times = arrival.rows.timestamps;
    let keys: Vec<Option<&[u8]>> = arrival.rows.keys.iter().collect();
    // Hashing first and looking up after lets the processor overlap the cache misses of neighbouring rows.
    let hashes: Vec<u32> = keys.iter().map(|key| keyed_windows.hash(*key)).collect();
    let gaps = gaps(fold, arrival, sink);
    let (known, late) = (places.known, places.late);
    let arrived = Arrived { times, keys: &keys, hashes: &hashes, known, late, gaps: &gaps, clock };
    let taker = Taker::new(arrival.rows);
    let (mut at, mut emission) = (0, Emission::default());
    while at < times.len() {
        let mut program = Program::with_limit(sink.plan.thresholds.window_operations);
        at = keyed_windows.plan(&arrived, at, &mut program);
        set_apart(fold, &program, arrival, &taker, sink);
        compute(fold, keyed_windows, &program, Rows { arrival, taker: &taker }, sink, &mut emission).await?;
        check_bytes(keyed_windows, sink)?;
    }
    Ok((!emission.places.is_empty()).then_some(emission))
}

/// Gives the next results that are due, of at most `left` keyed windows, which counts down.
pub(in crate::pipeline) async fn on_watermark(
    fold: &Fold,
    keyed_windows: &mut KeyedWindows,
    now: Now,
    left: &mut usize,
    sink: &mut Sink<'_>,
) -> Result<Option<Emission>, Stop> {
    let mut program = Program::with_limit(DUE_MAX.min(*left));
    keyed_windows.plan_due(now, &mut program);
    if program.due == 0 {
        return Ok(None);
    }
    let mut emission = Emission::default();
    let none = Arrival::default();
    compute(fold, keyed_windows, &program, Rows { arrival: none, taker: &Taker::new(none.rows) }, sink, &mut emission)
        .await?;
    spend(left, program.due, bytes_of(&emission.rows));
    Ok(Some(emission))
}

/// Late rows go to their topic, and those that no window can have to the dead letters.
fn set_apart(fold: &Fold, program: &Program, arrival: Arrival<'_>, taker: &Taker<'_>, sink: &mut Sink<'_>) {
    for &row in &program.unassignable {
        let time = arrival.rows.timestamps[row as usize];
        let windows = fold.windowing.describe();
        let reason = format!("event time {time} ms is too near an end of time for a window ({windows})");
        let cause = Cause { code: "timestamp_out_of_range", reason: &reason, backtrace: &[] };
        sink.dead_letter(&fold.step, arrival.source, arrival.origins.of(row), cause, arrival.source_partition);
    }
    if program.late.is_empty() {
        return;
    }
    for late in program.late.chunk_by(|&one, &other| arrival.partition(one) == arrival.partition(other)) {
        let rows = taker.take(late.iter().copied());
        sink.late(fold, rows.view(), arrival.partition(late[0]));
    }
}

/// How long each row's session lasts; nothing, if all have the usual gap. Rows that say no possible gap become dead
/// letters.
fn gaps(fold: &Fold, arrival: Arrival<'_>, sink: &mut Sink<'_>) -> Vec<i64> {
    let Kind::Session(Session { gap_ms, gap_header: Some(name) }) = &fold.windowing.kind else { return Vec::new() };
    let mut gaps = Vec::new();
    for (row, header_value) in (0..).zip(header_values(arrival.rows.headers, name)) {
        let gap = match header_value {
            None => Some(*gap_ms),
            Some(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).filter(|gap| *gap > NO_GAP),
        };
        if gap.is_none() {
            let text = String::from_utf8_lossy(header_value.unwrap_or_default());
            let reason = format!("header `{name}` says `{text}`, which is no number of milliseconds above zero");
            let cause = Cause { code: "invalid_gap", reason: &reason, backtrace: &[] };
            sink.dead_letter(&fold.step, arrival.source, arrival.origins.of(row), cause, arrival.source_partition);
        }
        gaps.push(gap.unwrap_or(NO_GAP));
    }
    gaps
}

/// What each row says in a header; the last one counts, and one without value says nothing.
fn header_values<'a>(headers: HeadersRef<'a>, name: &str) -> impl Iterator<Item = Option<&'a [u8]>> {
    headers.rows().map(move |row| row.into_iter().rev().find(|(of, _)| *of == name.as_bytes())?.1)
}

fn check_bytes(keyed_windows: &KeyedWindows, sink: &Sink<'_>) -> Result<(), Stop> {
    let (used, limit) = (keyed_windows.bytes() as u64, STATE_BYTES_MAX);
    if used > limit {
        return Err(Stop::Failed(Error::StateLimit { name: sink.plan.name.clone(), used, limit }));
    }
    Ok(())
}
