//! A vector in terms of this engine: a pipeline, what happens to it, and what must come of that.

use serde_json::Value;

use millstream::ids::TopicPartition;

use crate::format::Event;

/// The pipeline's result topic.
pub const OUT: &str = "out";
/// The topic of its late rows.
pub const LATE: &str = "late";
/// The topic of its dead letters, which must stay empty.
pub const DEAD: &str = "dead";

/// A pipeline, what happens to it, and what must come of that.
#[derive(Debug)]
pub struct Trial {
    /// The manifest.
    pub manifest: String,
    /// The partitions that steps feed; those of one topic are next to each other.
    pub inputs: Vec<TopicPartition>,
    /// What each step of the vector does.
    pub steps: Vec<Vec<Do>>,
    /// What must appear in the result topic, by step.
    pub expected: Vec<(usize, Value)>,
    /// What must appear in the late topic, if that is known.
    pub late: Option<Vec<(usize, Value)>>,
    /// Whether the order of what appears in a step counts.
    pub ordered: bool,
    /// Whether it counts in which step something appears.
    pub exact: bool,
    /// Rows as the vector writes them; none for one that it leaves out.
    pub read: fn(&Row) -> Option<Value>,
    /// What the pipeline must show of itself after steps.
    pub seen: Option<Seen>,
    /// Which ways it cannot go, and why.
    pub except: Option<Except>,
}

/// What the pipeline must show of itself.
#[derive(Debug)]
pub struct Seen {
    /// What is looked at.
    pub look: fn(&Look<'_>) -> Result<Value, String>,
    /// What must be there after each step, where that is known.
    pub after: Vec<Option<Value>>,
}

/// What can be looked at.
#[derive(Debug)]
pub struct Look<'a> {
    /// What the driver tells.
    pub status: millstream::pipeline::driver::Status,
    /// The driver itself.
    pub driver: &'a millstream::pipeline::driver::Driver,
}

/// Ways that a trial does not go.
#[derive(Debug, Clone, Copy)]
pub struct Except {
    /// Whether it goes through restarts.
    pub restarts: bool,
    /// Whether its batches are cut.
    pub cuts: bool,
}

/// What is done to a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Do {
    /// A record arrives at the input of this number.
    Feed(usize, Record),
    /// The clock moves on by so many milliseconds.
    Clock(i64),
    /// The pipeline ends, and another one is made from its checkpoint.
    Restore,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its event time.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<String>,
    /// Its value.
    pub value: String,
    /// Its only header, if it has one.
    pub header: Option<(&'static str, String)>,
}

/// A row that a pipeline wrote.
#[derive(Debug)]
pub struct Row {
    /// Its event time.
    pub timestamp: i64,
    /// Its key, as text.
    pub key: String,
    /// Its value, which is JSON.
    pub value: Value,
    /// What was known when its micro-batch began.
    pub before: Option<i64>,
}

impl Record {
    /// The record of an event.
    pub fn event(event: &Event) -> Self {
        let mut value = serde_json::json!({ "value": event.value, "input": event.input });
        if let Some(actions) = &event.actions {
            value["actions"] = actions.as_str().into();
        }
        Self { timestamp: event.ts, key: Some(event.key.clone()), value: value.to_string(), header: None }
    }

    /// A mark for the gate: `watermark`, `idle`, `active`.
    pub fn mark(kind: &str, time: i64) -> Self {
        Self { timestamp: time, key: None, value: kind.to_owned(), header: None }
    }
}

impl Do {
    /// A watermark for an input.
    pub fn watermark(input: usize, time: i64) -> Self {
        Self::Feed(input, Record::mark("watermark", time))
    }
}
