//! Joins, with the plugin `join`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::Pipeline;
use super::{Translated, expected, late};
use crate::format::{Event, Vector};
use crate::trial::{Do, Look, Record, Row, Seen, Trial};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Interval {
    lower: i64,
    upper: i64,
    #[serde(default = "yes")]
    lower_inclusive: bool,
    #[serde(default = "yes")]
    upper_inclusive: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tumbling {
    size: i64,
    slide: Option<i64>,
    offset: Option<i64>,
}

/// A step of a join. One of its fields is there; an input goes with a watermark.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    event: Option<Event>,
    watermark: Option<i64>,
    input: Option<usize>,
    checkpoint_restore: Option<bool>,
}

impl Step {
    fn acts(&self) -> Result<Vec<Do>, String> {
        Ok(match self {
            Self { event: Some(event), watermark: None, input: None, checkpoint_restore: None } => {
                vec![Do::Feed(event.input, Record::event(event))]
            }
            Self { event: None, watermark: Some(time), input: Some(input), checkpoint_restore: None } => {
                vec![Do::watermark(*input, *time)]
            }
            Self { event: None, watermark: Some(time), input: None, checkpoint_restore: None } => {
                vec![Do::watermark(0, *time), Do::watermark(1, *time)]
            }
            Self { event: None, watermark: None, input: None, checkpoint_restore: Some(true) } => vec![Do::Restore],
            other => return Err(format!("a step of a join is not {other:?}")),
        })
    }
}

/// Pairs with a time between them.
pub(super) fn interval(vector: &Vector) -> Result<Translated, String> {
    let op: Interval = vector.op()?;
    let by = json!({ "interval": {
        "lower_ms": op.lower, "upper_ms": op.upper,
        "lower_inclusive": op.lower_inclusive, "upper_inclusive": op.upper_inclusive,
    }});
    let pipeline = Pipeline::marked_pair("join", json!({ "by": by })).late_output();
    let mut trial = trial(vector, &pipeline, interval_result)?;
    let states = vector.state()?;
    let mut note = "D5: ours is Flink's rule";
    if !states.is_empty() {
        let key = vector.steps::<Step>()?.into_iter().find_map(|step| Some(step.event?.key)).unwrap_or_default();
        let mut after = vec![None; trial.steps.len()];
        states.into_iter().for_each(|(step, kept)| after[step] = Some(kept.into()));
        trial.seen = Some(Seen { look: Look::JoinRows(key), after });
        if vector.expect.is_empty() {
            trial.read = |_| None;
            note = "D5: ours is Flink's rule; only what is kept is compared";
        }
    }
    Ok(Translated::trial(trial).note(note))
}

/// Pairs of the same window.
pub(super) fn window(vector: &Vector) -> Result<Translated, String> {
    let op: Tumbling = vector.op()?;
    let mut window = json!({ "size_ms": op.size });
    if let Some(slide) = op.slide {
        window["step_ms"] = slide.into();
    }
    if let Some(offset) = op.offset {
        window["offset_ms"] = offset.into();
    }
    let pipeline = Pipeline::marked_pair("join", json!({ "by": { "window": window } })).late_output();
    Ok(Translated::trial(trial(vector, &pipeline, window_result)?))
}

fn trial(vector: &Vector, pipeline: &Pipeline, read: fn(&Row) -> Option<Value>) -> Result<Trial, String> {
    let steps: Vec<Step> = vector.steps()?;
    Ok(Trial {
        manifest: pipeline.manifest(),
        inputs: pipeline.inputs(1),
        steps: steps.iter().map(Step::acts).collect::<Result<_, _>>()?,
        expected: expected(vector)?,
        late: late(vector)?,
        ordered: vector.ordered,
        exact: vector.step_exact,
        read,
        seen: None,
        except: None,
    })
}

/// A pair, or a late event.
pub(super) fn interval_result(row: &Row) -> Option<Value> {
    let mut pair = window_result(row)?;
    pair["ts"] = row.timestamp.into();
    Some(pair)
}

fn window_result(row: &Row) -> Option<Value> {
    if let Some(input) = row.value.get("input") {
        let value = &row.value["value"];
        return Some(json!({ "key": row.key, "value": value, "ts": row.timestamp, "input": input }));
    }
    let side = |name: &str| row.value[name].get("value").cloned().unwrap_or_default();
    Some(json!({ "key": row.key, "left": side("left"), "right": side("right") }))
}
