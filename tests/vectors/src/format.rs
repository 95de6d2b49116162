//! The format of a file of vectors, read strictly: what is not known is refused by its name, never passed over.

use std::fmt::Display;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::trial::{Do, Record};

/// The only version there is.
const SCHEMA_VERSION: u64 = 1;

/// A file of vectors. Its vectors are read one by one, so that one that is wrong does not spoil the others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    schema_version: u64,
    #[serde(rename = "about")]
    _about: Option<Value>,
    #[serde(rename = "dialects")]
    _dialects: Option<Value>,
    #[serde(rename = "divergences")]
    _divergences: Option<Value>,
    #[serde(rename = "op_types")]
    _op_types: Option<Value>,
    /// The vectors, unread.
    pub vectors: Vec<Value>,
}

impl File {
    /// Reads a file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).map_err(|error| anyhow::anyhow!("read `{}`: {error}", path.display()))?;
        let file: Self =
            serde_json::from_slice(&text).map_err(|error| anyhow::anyhow!("`{}`: {error}", path.display()))?;
        if file.schema_version != SCHEMA_VERSION {
            let version = file.schema_version;
            anyhow::bail!("`{}` has schema version {version}; this program knows {SCHEMA_VERSION}", path.display());
        }
        Ok(file)
    }
}

/// A vector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// Its name.
    pub id: String,
    /// Whose rules it follows.
    pub dialect: String,
    /// What it is about.
    pub title: String,
    /// What is done with the events.
    pub op: Map<String, Value>,
    /// What happens, in order.
    pub steps: Vec<Map<String, Value>>,
    /// What must appear, each with its step.
    #[serde(default)]
    pub expect: Vec<Map<String, Value>>,
    /// The events that are late, each with its step; where it is missing nothing is expected of them.
    pub late: Option<Vec<Map<String, Value>>>,
    /// What must be in state, each after its step.
    #[serde(default)]
    pub state: Vec<Map<String, Value>>,
    /// Whether the order of what appears in a step counts.
    #[serde(default)]
    pub ordered: bool,
    /// Whether it counts in which step something appears.
    #[serde(default = "yes")]
    pub step_exact: bool,
    /// What of the divergences between engines it shows.
    pub divergence: Option<String>,
    #[serde(rename = "category")]
    _category: Option<Value>,
    #[serde(rename = "source")]
    _source: Option<Value>,
    #[serde(rename = "relation")]
    _relation: Option<Value>,
    #[serde(rename = "note")]
    _note: Option<Value>,
    /// Says that Flink's own harness cannot run it. Ours runs it all the same.
    #[serde(rename = "not_executable")]
    _not_executable: Option<Value>,
    /// What one release of Flink did; the rule is `expect`.
    #[serde(rename = "observed_on_flink_2_3_0")]
    _observed: Option<Value>,
}

const fn yes() -> bool {
    true
}

/// An event of a vector.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its key.
    pub key: String,
    /// Its number.
    pub value: i64,
    /// Its event time.
    pub ts: i64,
    /// By which input it comes.
    #[serde(default)]
    pub input: usize,
    /// What it does with timers.
    pub actions: Option<String>,
    /// What timers do when they fire.
    pub on_timer: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Nothing {}

/// A step of most vectors.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// An event arrives.
    Event(Event),
    /// Event time moves on.
    Watermark(i64),
    /// The clock moves on.
    AdvanceMs(i64),
    /// The pipeline goes on as another one, from its checkpoint.
    CheckpointRestore(bool),
}

impl Step {
    /// What it is for a pipeline with one input.
    pub fn acts(&self) -> Result<Vec<Do>, String> {
        Ok(match self {
            Self::Event(event) if event.input != 0 => return Err(format!("there is no input {}", event.input)),
            Self::Event(event) => vec![Do::Feed(0, Record::event(event))],
            Self::Watermark(time) => vec![Do::watermark(0, *time)],
            Self::AdvanceMs(by) => vec![Do::Clock(*by)],
            Self::CheckpointRestore(true) => vec![Do::Restore],
            Self::CheckpointRestore(false) => Vec::new(),
        })
    }
}

/// Steps, and what is expected of each.
pub type Expected = Vec<(usize, Map<String, Value>)>;

impl Vector {
    /// Reads a vector. An error says which one it is of as well as can be.
    pub fn read(value: &Value) -> Result<Self, String> {
        parse(value.clone(), "the vector")
    }

    /// What a vector that cannot be read calls itself.
    pub fn name_of(value: &Value) -> String {
        value.get("id").and_then(Value::as_str).unwrap_or("?").to_owned()
    }

    /// The type of the operation.
    pub fn op_type(&self) -> Result<&str, String> {
        self.op.get("type").and_then(Value::as_str).ok_or_else(|| "`op` has no `type`".to_owned())
    }

    /// The operation without its type.
    pub fn op<T: DeserializeOwned>(&self) -> Result<T, String> {
        Ok(self.op_and::<T, Nothing>(&[])?.0)
    }

    /// The operation without its type in two parts, the second one of fields with these names.
    pub fn op_and<T: DeserializeOwned, U: DeserializeOwned>(&self, names: &[&str]) -> Result<(T, U), String> {
        let mut op = self.op.clone();
        op.remove("type");
        let apart = names.iter().filter_map(|name| Some(((*name).to_owned(), op.remove(*name)?)));
        let apart: Map<String, Value> = apart.collect();
        Ok((parse(op.into(), "`op`")?, parse(apart.into(), "`op`")?))
    }

    /// The steps, each of one of a type's shapes.
    pub fn steps<T: DeserializeOwned>(&self) -> Result<Vec<T>, String> {
        (0..).zip(&self.steps).map(|(number, step)| parse(step.clone().into(), format!("step {number}"))).collect()
    }

    /// Steps and what is expected of each: what must appear in them.
    pub fn expect(&self) -> Result<Expected, String> {
        self.by_step(&self.expect, "expect", "step")
    }

    /// The late events by their steps, if anything is expected of them.
    pub fn late(&self) -> Result<Option<Expected>, String> {
        self.late.as_ref().map(|late| self.by_step(late, "late", "step")).transpose()
    }

    /// What must be in state after steps.
    pub fn state(&self) -> Result<Expected, String> {
        self.by_step(&self.state, "state", "after_step")
    }

    fn by_step(&self, entries: &[Map<String, Value>], what: &str, name: &str) -> Result<Expected, String> {
        let entry = |(number, entry): (usize, &Map<String, Value>)| {
            let mut entry = entry.clone();
            let step = entry.remove(name).and_then(|step| step.as_u64());
            match step.and_then(|step| usize::try_from(step).ok()) {
                Some(step) if step < self.steps.len() => Ok((step, entry)),
                _ => Err(format!("`{what}[{number}]` has no `{name}` below {}", self.steps.len())),
            }
        };
        entries.iter().enumerate().map(entry).collect()
    }
}

/// Reads a value as a type; an error says of what.
pub fn parse<T: DeserializeOwned>(value: Value, what: impl Display) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| format!("{what}: {error}"))
}
