//! Vectors of every dialect in terms of this engine.
//!
//! Where the engines differ, this one does as Flink does; `host/docs/time.md` says where and why. A translation of another
//! dialect says in its notes by which divergence it moves what.

mod beam;
mod cep;
mod dedupe;
mod eos;
mod join;
mod kafka;
mod manifest;
mod splits;
mod timer;
mod watermark;
mod window;

use serde_json::{Map, Value, json};

use crate::format::Vector;
use crate::play::{Failure, play};
use crate::plugins::Plugins;
use crate::trial::{Row, Trial};

/// What becomes of a vector.
#[derive(Debug)]
pub struct Translated {
    /// How it is done.
    pub how: How,
    /// What was moved, and what else a reader should know.
    pub notes: Vec<String>,
}

/// How a vector is done.
#[derive(Debug)]
pub enum How {
    /// As trials, one after another.
    Trials(Vec<Trial>),
    /// As a story of produced and read records.
    Story(eos::Story),
    /// On the watermark tracker itself.
    Tracker(splits::Splits),
    /// Not at all, because this engine has no such thing.
    NotApplicable(String),
}

impl Translated {
    /// One trial, nothing to say.
    fn trial(trial: Trial) -> Self {
        Self { how: How::Trials(vec![trial]), notes: Vec::new() }
    }

    fn not_applicable(reason: &str) -> Self {
        Self { how: How::NotApplicable(reason.to_owned()), notes: Vec::new() }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Does it.
    pub fn run(&self, plugins: &Plugins) -> Result<(), String> {
        let text = |failure: Failure| failure.to_string();
        match &self.how {
            How::Trials(trials) => trials.iter().try_for_each(|trial| play(trial, plugins).map_err(text)),
            How::Story(story) => story.play(plugins),
            How::Tracker(splits) => splits.play(),
            How::NotApplicable(_) => Ok(()),
        }
    }
}

/// Translates a vector; an error says what of it is not known.
pub fn translate(vector: &Vector) -> Result<Translated, String> {
    let op = vector.op_type()?;
    match (vector.dialect.as_str(), op) {
        ("flink", "window") => window::window(vector),
        ("flink", "assign") => window::assign(vector),
        ("flink", "timer") => timer::timer(vector),
        ("flink", "interval_join") => join::interval(vector),
        ("flink", "window_join") => join::window(vector),
        ("flink", "cep") => cep::pattern(vector),
        ("flink", "dedupe") => dedupe::processing_time(vector),
        ("flink", "dedupe_event_time") => dedupe::event_time(vector),
        ("flink", "watermark_gen") => watermark::generator(vector),
        ("flink", "watermark_merge") => watermark::merge(vector),
        ("flink", "idle_timer") => watermark::idle_timer(vector),
        ("flink", "watermark_split") => splits::translate(vector),
        ("kafka", "window") => kafka::window(vector),
        ("kafka", "kafka_join") => kafka::join(vector),
        ("kafka", "kafka_partition_group") => Ok(Translated::not_applicable(
            "in which order partitions are read is not part of any result here: rows are late and timers due by the \
             watermark, not by a stream time that depends on that order",
        )),
        ("kafka", "kafka_punctuate") => Ok(Translated::not_applicable(
            "there are no punctuators: a timer belongs to a key, and one that came due over a jump fires at its own time",
        )),
        ("beam", "beam_window") => beam::window(vector),
        ("protocol", "eos") => eos::translate(vector),
        ("flink" | "kafka" | "beam" | "protocol", op) => {
            Err(format!("operation `{op}` is not known in dialect `{}`", vector.dialect))
        }
        (dialect, _) => Err(format!("dialect `{dialect}` is not known: flink, kafka, beam, protocol are")),
    }
}

/// What must appear, by step.
fn expected(vector: &Vector) -> Result<Vec<(usize, Value)>, String> {
    Ok(vector.expect()?.into_iter().map(|(step, fields)| (step, Value::Object(fields))).collect())
}

/// The late events, by step.
fn late(vector: &Vector) -> Result<Option<Vec<(usize, Value)>>, String> {
    let value = |late: Vec<(usize, Map<String, Value>)>| {
        late.into_iter().map(|(step, fields)| (step, Value::Object(fields))).collect()
    };
    Ok(vector.late()?.map(value))
}

/// A late event as vectors of one input write it.
fn late_event(row: &Row) -> Value {
    json!({ "key": row.key, "value": row.value["value"], "ts": row.timestamp })
}

/// A window's result as vectors write it; a late event, which is in no window, too.
fn window_result(row: &Row) -> Option<Value> {
    let Value::Object(fields) = &row.value else { return None };
    if !fields.contains_key("window") {
        return Some(late_event(row));
    }
    let mut fields = fields.clone();
    fields.insert("key".to_owned(), row.key.as_str().into());
    Some(Value::Object(fields))
}
