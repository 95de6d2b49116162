//! A vector in terms of this engine: a pipeline, what happens to it, and what must come of that.

use millstream::ids::TopicPartition;
use millstream::pipeline::driver::Driver;
use millstream_sdk::testing::state;
use serde_json::{Value, json};

use crate::format::Event;

/// The step that does the work.
pub const WORK: &str = "work";
/// The pipeline's result topic.
pub const OUT: &str = "out";
/// The topic of partial matches that time ran out for; its rows are results too.
pub const TIMED_OUT: &str = "timed-out";
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
    pub look: Look,
    /// What must be there after each step, where that is known.
    pub after: Vec<Option<Value>>,
}

/// Something that is looked at from outside.
#[derive(Debug, Clone)]
pub enum Look {
    /// The watermark: `wm`.
    Watermark,
    /// The watermark, and whether all inputs are idle: `wm` and `status`.
    Status,
    /// Whether all inputs are idle: `idle`.
    Idle,
    /// The times of the rows that an interval join keeps for a key: `left` and `right`.
    JoinRows(String),
}

impl Look {
    /// Looks.
    pub fn at(&self, driver: &Driver) -> Result<Value, String> {
        let status = driver.status().map_err(|error| error.to_string())?;
        let idle = status.inputs.iter().all(|input| input.idle);
        Ok(match self {
            Self::Watermark => json!({ "wm": status.watermark }),
            Self::Status => json!({ "wm": status.watermark, "status": if idle { "idle" } else { "active" } }),
            Self::Idle => json!({ "idle": idle }),
            Self::JoinRows(key) => {
                let step = WORK.parse().expect("a name");
                let kept = driver.state(&step, Some(key.as_bytes()));
                let kept = kept.map_or(Ok(join::Kept::default()), |bytes| state(join::Kept::default(), bytes))?;
                let times = |rows: Vec<i64>| Value::from(rows);
                let rows = kept.interval();
                let left = times(rows.left().map(|(time, _)| time).collect());
                json!({ "left": left, "right": times(rows.right().map(|(time, _)| time).collect()) })
            }
        })
    }
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
    /// The topic.
    pub topic: &'static str,
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
        let mut value = json!({ "value": event.value, "input": event.input });
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
