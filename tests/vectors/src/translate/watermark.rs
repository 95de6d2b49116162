//! Watermarks of a pipeline's partitions: how they come about and become one.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Translated;
use super::manifest::{Pipeline, Time};
use crate::format::{Event, Vector};
use crate::trial::{Do, Except, Look, Record, Seen, Trial};

/// Windows that hold a watermark's place in a pipeline: where no step has state there is no event time.
const WINDOWS: &str = "tumbling = \"1000ms\"";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generator {
    bound: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tick {
    Event(Event),
    #[expect(dead_code, reason = "that it is there is all it says")]
    Tick(bool),
}

/// The watermark that event times give. Flink gives it from time to time, we with each event; at the ticks it is the same.
pub(super) fn generator(vector: &Vector) -> Result<Translated, String> {
    let op: Generator = vector.op()?;
    let pipeline = counting("in", Time::Disorder(op.bound), None);
    let steps: Vec<Tick> = vector.steps()?;
    let mut known = json!({ "wm": null });
    let mut after = Vec::with_capacity(steps.len());
    for (number, step) in steps.iter().enumerate() {
        let message = expect_at(vector, number)?;
        message.into_iter().for_each(|fields| known = Value::Object(fields));
        after.push(matches!(step, Tick::Tick(_)).then(|| known.clone()));
    }
    let acts = |step: &Tick| match step {
        Tick::Event(event) => vec![Do::Feed(0, Record::event(event))],
        Tick::Tick(_) => Vec::new(),
    };
    Ok(Translated::trial(Trial {
        steps: steps.iter().map(acts).collect(),
        seen: Some(Seen { look: Look::Watermark, after }),
        ..looked_at(&pipeline, 1)
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    channels: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfChannel {
    channel: usize,
    watermark: Option<i64>,
    status: Option<String>,
}

/// The watermark of several partitions.
pub(super) fn merge(vector: &Vector) -> Result<Translated, String> {
    let op: Merge = vector.op()?;
    let pipeline = counting("in", Time::Marks, None);
    let mut steps = Vec::new();
    for (number, step) in vector.steps::<OfChannel>()?.into_iter().enumerate() {
        let record = match (step.watermark, step.status.as_deref()) {
            (Some(time), None) => Record::mark("watermark", time),
            (None, Some(status @ ("idle" | "active"))) => Record::mark(status, 0),
            _ => return Err(format!("step {number} is neither a watermark nor the status `idle` or `active`")),
        };
        steps.push(vec![Do::Feed(step.channel, record)]);
    }
    let mut known = json!({ "wm": null, "status": "active" });
    let mut after = Vec::with_capacity(steps.len());
    for number in 0..steps.len() {
        for (name, value) in expect_at(vector, number)?.into_iter().flatten() {
            known[name] = value;
        }
        after.push(Some(known.clone()));
    }
    let seen = Some(Seen { look: Look::Status, after });
    Ok(Translated::trial(Trial { steps, seen, ..looked_at(&pipeline, op.channels) }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Idle {
    timeout: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IdleStep {
    Event(Event),
    AdvanceMs(i64),
    #[expect(dead_code, reason = "that it is there is all it says")]
    Check(bool),
}

/// A partition that says nothing for a while.
pub(super) fn idle_timer(vector: &Vector) -> Result<Translated, String> {
    let op: Idle = vector.op()?;
    let pipeline = counting("in", Time::Disorder(0), Some(op.timeout));
    let steps: Vec<IdleStep> = vector.steps()?;
    let acts = |step: &IdleStep| match step {
        IdleStep::Event(event) => vec![Do::Feed(0, Record::event(event))],
        IdleStep::AdvanceMs(by) => vec![Do::Clock(*by)],
        IdleStep::Check(_) => Vec::new(),
    };
    let mut after = Vec::with_capacity(steps.len());
    for number in 0..steps.len() {
        after.push(expect_at(vector, number)?.pop().map(Value::Object));
    }
    let translated = Translated::trial(Trial {
        steps: steps.iter().map(acts).collect(),
        seen: Some(Seen { look: Look::Idle, after }),
        // Each check looks by the clock at what has come until then.
        except: Some(Except { restarts: true, cuts: true }),
        ..looked_at(&pipeline, 1)
    });
    Ok(translated.note(
        "straight only: how long a partition has been quiet is measured by a running pipeline, anew after a restart, and \
         each check is a look at the clock that no batch can be cut across",
    ))
}

fn counting(topic: &'static str, time: Time, idle_ms: Option<i64>) -> Pipeline {
    let pipeline = Pipeline::marked("vectors-fold", json!({ "agg": "count" })).windows(WINDOWS);
    Pipeline { topics: vec![topic], time, idle_ms, ..pipeline }
}

/// A trial of which only what the pipeline shows of itself counts; its results do not.
fn looked_at(pipeline: &Pipeline, partitions: u32) -> Trial {
    Trial {
        manifest: pipeline.manifest(),
        inputs: pipeline.inputs(partitions),
        steps: Vec::new(),
        expected: Vec::new(),
        late: None,
        ordered: false,
        exact: true,
        read: |_| None,
        seen: None,
        except: None,
    }
}

fn expect_at(vector: &Vector, step: usize) -> Result<Vec<Map<String, Value>>, String> {
    Ok(vector.expect()?.into_iter().filter(|(at, _)| *at == step).map(|(_, fields)| fields).collect())
}
