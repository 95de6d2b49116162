//! How far a micro-batch goes: inputs advance together, whatever the size of a backlog.
//!
//! Rows that are far newer than the rows of another input would only pile up in the state of their keys, because the
//! watermark cannot pass them before that input does. So they wait in the log, where there is room. Results do not depend
//! on where a micro-batch is cut, so nothing else changes.
//!
//! Rows that come round neither wait nor are waited for: how many more of them there will be depends on the others.

use super::lanes::Lane;
use super::row_watermarks::TimestampBounds;
use crate::pipeline::spec::WatermarkSpec;
use crate::time::{Input, Source, Watermark, Watermarks};

/// Lets records wait that are too far ahead of another input. `more` says of which lanes' inputs there are more records
/// than the micro-batch has; `in_order`, whether the step sees the order of rows of different inputs.
pub(in crate::pipeline) fn hold_back(
    lanes: &mut [Lane<'_>],
    more: &[bool],
    watermarks: &Watermarks,
    spec: &WatermarkSpec,
    bounds: TimestampBounds,
    in_order: bool,
) {
    if lanes.len() > 1 {
        hold_behind_backlog(lanes, more, watermarks, spec, bounds, in_order);
    }
    if let Some(drift_ms) = spec.drift_ms {
        hold_in_drift(lanes, drift_ms, watermarks, spec, bounds);
    }
}

/// What has more records than were taken has come to some event time. Rows of others that are newer, by more than rows of
/// one input may be out of order, wait for it.
fn hold_behind_backlog(
    lanes: &mut [Lane<'_>],
    more: &[bool],
    watermarks: &Watermarks,
    spec: &WatermarkSpec,
    bounds: TimestampBounds,
    in_order: bool,
) {
    let newest: Vec<Option<i64>> = lanes.iter().map(|lane| lane.newest(bounds)).collect();
    let come_to = |(lane, newest): (&Lane<'_>, &Option<i64>)| {
        let known = watermarks.inputs()[lane.input];
        let is_left_out = known.idle && newest.is_none();
        (!is_left_out).then(|| known.newest.max(*newest).max(known.watermark.time()).unwrap_or(i64::MIN))
    };
    let with_say = |lane: &Lane<'_>| !watermarks.is_feedback(lane.input);
    let with_more = lanes.iter().zip(&newest).zip(more).filter(|((lane, _), more)| **more && with_say(lane));
    let with_more = with_more.map(|(lane, _)| lane);
    let Some(horizon) = with_more.filter_map(come_to).min() else { return };
    // Where order does not matter, distance only costs memory: as much of it as the micro-batch spans spares cutting
    // inputs that are in balance.
    let span = if in_order {
        0
    } else {
        let oldest = lanes.iter().filter(|lane| with_say(lane)).filter_map(|lane| lane.oldest(bounds)).min();
        oldest.map_or(0, |oldest| horizon.saturating_sub(oldest))
    };
    let disorder = match spec.source {
        Source::Disorder(disorder) => disorder.bound_ms,
        Source::Marks => 0,
    };
    let until = horizon.saturating_add(disorder.max(span));
    for (lane, newest) in lanes.iter_mut().zip(&newest) {
        if with_say(lane) && newest.is_some_and(|newest| newest > until) {
            lane.wait_behind(until, bounds);
        }
    }
}

/// The record by which an input comes to be further ahead of the slowest than the user allows is the last one that is
/// taken of it, until the slowest has caught up.
fn hold_in_drift(
    lanes: &mut [Lane<'_>],
    drift_ms: i64,
    watermarks: &Watermarks,
    spec: &WatermarkSpec,
    bounds: TimestampBounds,
) {
    let with_say = |input: usize| !watermarks.is_feedback(input);
    let counts = |(number, input): (usize, &Input)| with_say(number) && !input.idle && !input.behind;
    let inputs = watermarks.inputs().iter().enumerate();
    let mut own: Vec<Option<Watermark>> =
        inputs.map(|(number, input)| counts((number, input)).then_some(input.watermark)).collect();
    for lane in lanes.iter().filter(|lane| with_say(lane.input)) {
        let before = watermarks.inputs()[lane.input];
        let after = before.watermark.max(furthest(lane, spec, bounds));
        if !before.behind && (!before.idle || after > before.watermark) {
            own[lane.input] = Some(after);
        }
    }
    let Some(Watermark::At(slowest)) = own.into_iter().flatten().min() else { return };
    let watermark = slowest.saturating_add(drift_ms);
    let newest = match spec.source {
        // A row's watermark is a millisecond and the disorder behind it.
        Source::Disorder(disorder) => watermark.saturating_add(disorder.bound_ms).saturating_add(1),
        Source::Marks => i64::MAX,
    };
    let lanes = lanes.iter_mut().filter(|lane| with_say(lane.input));
    lanes.for_each(|lane| lane.wait_after(newest, watermark, bounds));
}

/// The watermark that an input comes to by its records.
pub(in crate::pipeline) fn furthest(lane: &Lane<'_>, spec: &WatermarkSpec, bounds: TimestampBounds) -> Watermark {
    let by_marks = lane.newest_mark().map_or(Watermark::None, Watermark::At);
    match spec.source {
        Source::Disorder(disorder) => disorder.watermark(lane.newest(bounds)).max(by_marks),
        Source::Marks => by_marks,
    }
}
