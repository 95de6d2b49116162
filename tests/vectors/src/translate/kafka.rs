//! Kafka Streams: stream time and grace in terms of watermarks.
//!
//! Stream time is the greatest event time so far. A window takes rows until its end is not above stream time minus grace,
//! which here is bounded disorder: the watermark is stream time minus grace minus one, and no lateness is allowed.

use serde::Deserialize;
use serde_json::{Value, json};

use super::join::interval_result;
use super::manifest::{Pipeline, Time};
use super::window::{Assigner, Windows};
use super::{Translated, expected, window_result};
use crate::format::{Event, Step, Vector};
use crate::trial::{Do, Record, Row, Trial};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grace {
    #[serde(default)]
    grace: i64,
    emit: Emit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Emit {
    Update,
    Close,
}

/// Windows with grace.
pub(super) fn window(vector: &Vector) -> Result<Translated, String> {
    if vector.op.get("assigner").and_then(Value::as_str) == Some("kafka_sliding") {
        return Ok(Translated::not_applicable(
            "there are no windows for each distinct set of rows; hopping windows and `last-n` are what comes near",
        ));
    }
    let (mut windows, Grace { grace, emit }): (Windows, Grace) = vector.op_and(&["grace", "emit"])?;
    if emit == Emit::Update {
        windows.early_rows = Some(1);
    }
    let session = windows.assigner == Assigner::Session;
    // A session takes rows while its last one is not before stream time minus grace minus gap, a millisecond longer.
    let disorder = if session { grace + 1 } else { grace };
    let trial = Trial {
        late: late(vector, &windows)?,
        expected: expected(vector)?
            .into_iter()
            .filter_map(|(step, value)| Some((step, written(value, &windows)?)))
            .collect(),
        read: window_result,
        ..windows.trial_in(vector, Time::Disorder(disorder))?
    };
    let mut translated =
        Translated::trial(trial).note(format!("D2, D3: grace {grace} is bounded disorder {disorder}, no lateness"));
    if session {
        translated = translated.note("D1: [first, last] is [first, last + gap)");
    }
    if emit == Emit::Update {
        translated = translated.note("update is early-rows = 1, without tombstones");
    }
    Ok(translated)
}

/// A result as ours writes it: none for a tombstone, and sessions with their gap.
fn written(mut value: Value, windows: &Windows) -> Option<Value> {
    if value.get("value") == Some(&Value::Null) {
        return None;
    }
    if let (Assigner::Session, Some(gap)) = (windows.assigner, windows.gap) {
        let end = &mut value["window"][1];
        *end = (end.as_i64()? + gap).into();
    }
    Some(value)
}

/// The events that are late for all of their windows; Kafka names each window.
fn late(vector: &Vector, windows: &Windows) -> Result<Option<Vec<(usize, Value)>>, String> {
    let Some(entries) = vector.late()? else { return Ok(None) };
    let mut late = Vec::new();
    for (number, step) in vector.steps::<Step>()?.iter().enumerate() {
        let Step::Event(event) = step else { continue };
        let closed = entries.iter().filter(|(step, _)| *step == number).count();
        if closed > 0 && closed >= count_of_windows(windows, event)? {
            late.push((number, json!({ "key": event.key, "value": event.value, "ts": event.ts })));
        }
    }
    Ok(Some(late))
}

fn count_of_windows(windows: &Windows, event: &Event) -> Result<usize, String> {
    let (Assigner::Sliding, Some(size), Some(slide)) = (windows.assigner, windows.size, windows.slide) else {
        return Ok(1);
    };
    if size <= 0 || slide <= 0 {
        return Err(format!("`op` has size {size} and slide {slide}"));
    }
    // Kafka has no windows that begin before the epoch.
    let last = event.ts - (event.ts - windows.offset.unwrap_or(0)).rem_euclid(slide);
    let starts = (0..).map(|number| last - number * slide).take_while(|start| start + size > event.ts && *start >= 0);
    Ok(starts.count())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    before: i64,
    after: i64,
    grace: i64,
    kind: String,
}

/// Two streams with rows near each other. Stream time is that of both together, so each event moves both inputs' marks.
pub(super) fn join(vector: &Vector) -> Result<Translated, String> {
    let op: Join = vector.op()?;
    let kind = match op.kind.as_str() {
        "inner" => "inner",
        "left" => "left",
        "outer" => "full",
        other => return Err(format!("a join of kind `{other}` is not known: inner, left, outer are")),
    };
    let by = json!({ "interval": { "lower_ms": -op.before, "upper_ms": op.after } });
    let pipeline = Pipeline::marked_pair("join", json!({ "by": by, "kind": kind })).late_output();
    let mut stream_time = i64::MIN;
    let mut steps = Vec::new();
    for (number, step) in vector.steps::<Step>()?.iter().enumerate() {
        let Step::Event(event) = step else { return Err(format!("step {number} is no event")) };
        stream_time = stream_time.max(event.ts);
        let watermark = stream_time.saturating_sub(op.grace).saturating_sub(1);
        let mut acts = vec![Do::Feed(event.input, Record::event(event))];
        acts.extend([0, 1].map(|input| Do::watermark(input, watermark)));
        steps.push(acts);
    }
    let trial = Trial {
        manifest: pipeline.manifest(),
        inputs: pipeline.inputs(1),
        steps,
        expected: expected(vector)?,
        late: None,
        ordered: vector.ordered,
        exact: vector.step_exact,
        read: interval_result as fn(&Row) -> Option<Value>,
        seen: None,
        except: None,
    };
    Ok(Translated::trial(trial)
        .note("D2, D3: stream time of both inputs minus grace minus one is the watermark of each"))
}
