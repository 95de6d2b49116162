//! Beam: a watermark that excludes its own time, sessions that end at the gap, and panes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::window::{Assigner, Windows};
use super::{Translated, window_result};
use crate::format::Vector;
use crate::trial::{Do, Row, Trial};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    late_trigger: Option<LateTrigger>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LateTrigger {
    EachElement,
    None,
}

/// Windows whose panes list their numbers.
pub(super) fn window(vector: &Vector) -> Result<Translated, String> {
    let (mut windows, triggers): (Windows, Triggers) = vector.op_and(&["late_trigger"])?;
    if windows.lateness > 0 && triggers.late_trigger == Some(LateTrigger::None) {
        return Ok(Translated::not_applicable(
            "rows that are late but allowed always give a result here; a trigger without late panes would keep them silent",
        ));
    }
    windows.agg = Some("list".to_owned());
    let mut notes = vec!["D4: watermark W is W - 1".to_owned()];
    let session = windows.assigner == Assigner::Session;
    if session {
        match &mut windows.gap {
            Some(1) => {
                return Ok(Translated::not_applicable(
                    "sessions that only rows of the same millisecond share need a gap of 0",
                ));
            }
            gap => *gap = gap.map(|gap| gap - 1),
        }
        notes.push("D1: gap g is g - 1, and ends are one later".to_owned());
    }
    if windows.lateness > 0 {
        notes.push("D2: lateness l is l".to_owned());
    }
    let mut trial: Trial = windows.trial(vector)?;
    for act in trial.steps.iter_mut().flatten() {
        if let Do::Feed(_, record) = act
            && record.key.is_none()
        {
            // Where nothing is before it, the mark says no more than it did.
            record.timestamp = record.timestamp.saturating_sub(1);
        }
    }
    for (_, value) in &mut trial.expected {
        if session && let Some(end) = value["window"][1].as_i64() {
            value["window"][1] = (end - 1).into();
        }
        sort(value);
    }
    trial.read = pane;
    let translated = notes.into_iter().fold(Translated::trial(trial), Translated::note);
    Ok(translated.note("timing is whether the watermark had passed the window's end before"))
}

/// A pane: its numbers in their order, and whether it is on time, judged by what was known before its micro-batch.
fn pane(row: &Row) -> Option<Value> {
    let mut pane = window_result(row)?;
    let end = pane["window"][1].as_i64()?;
    let timing = if row.before.is_some_and(|before| before >= end - 1) { "LATE" } else { "ON_TIME" };
    pane["timing"] = json!(timing);
    sort(&mut pane);
    Some(pane)
}

/// The numbers of a pane have no order.
fn sort(pane: &mut Value) {
    if let Some(Value::Array(values)) = pane.get_mut("values") {
        values.sort_by_key(Value::as_i64);
    }
}
