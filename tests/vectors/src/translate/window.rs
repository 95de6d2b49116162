//! Windows: Flink's are ours.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::Pipeline;
use super::{How, Translated, expected, late, window_result};
use crate::format::{Event, Step, Vector};
use crate::trial::{Do, Record, Trial};

/// The header by which an event says the gap of its session.
const GAP_HEADER: &str = "gap";
/// The end of time: no event comes any more.
const END: i64 = i64::MAX;

/// The windows of an operation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Windows {
    pub(super) assigner: Assigner,
    pub(super) size: Option<i64>,
    pub(super) slide: Option<i64>,
    pub(super) offset: Option<i64>,
    pub(super) gap: Option<i64>,
    gaps: Option<BTreeMap<String, i64>>,
    rows: Option<u64>,
    #[serde(default)]
    pub(super) lateness: i64,
    mode: Option<Mode>,
    pub(super) agg: Option<String>,
    early: Option<i64>,
    pub(super) early_rows: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Assigner {
    Tumbling,
    Sliding,
    Session,
    SessionDynamic,
    Count,
    Global,
    KafkaSliding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Accumulating,
    Discarding,
}

impl Windows {
    /// The windows as a manifest says them.
    pub(super) fn table(&self) -> Result<String, String> {
        let ms = |name: &str, value: Option<i64>| {
            value.map(|value| format!("\"{value}ms\"")).ok_or_else(|| format!("`op` has no `{name}`"))
        };
        let mut table = match self.assigner {
            Assigner::Tumbling => format!("tumbling = {}", ms("size", self.size)?),
            Assigner::Sliding => format!("hopping = {}, slide = {}", ms("size", self.size)?, ms("slide", self.slide)?),
            Assigner::Session => format!("session = {}", ms("gap", self.gap)?),
            Assigner::SessionDynamic => {
                // Events that are not in `gaps` have the usual gap, of which there need not be any.
                format!("session = {}, gap-header = \"{GAP_HEADER}\"", ms("gap", self.gap.or(Some(1)))?)
            }
            Assigner::Count => format!("count = {}", self.rows.ok_or("`op` has no `rows`")?),
            Assigner::Global => "global = true".to_owned(),
            Assigner::KafkaSliding => {
                return Err("`kafka_sliding` windows are known in dialect `kafka` only".to_owned());
            }
        };
        if let Some(offset) = self.offset {
            table += &format!(", offset = \"{offset}ms\"");
        }
        if self.lateness != 0 {
            table += &format!(", lateness = \"{}ms\"", self.lateness);
        }
        if self.mode == Some(Mode::Discarding) {
            table += ", results = \"discarding\"";
        }
        if let Some(early) = self.early {
            table += &format!(", early = \"{early}ms\"");
        }
        if let Some(rows) = self.early_rows {
            table += &format!(", early-rows = {rows}");
        }
        Ok(table)
    }

    /// The gap that an event of a session says itself: that of its key and value, or that of its key.
    fn gap_of(&self, event: &Event) -> Result<Option<i64>, String> {
        if self.assigner != Assigner::SessionDynamic {
            return Ok(None);
        }
        let gaps = self.gaps.as_ref().ok_or("`op` has no `gaps`")?;
        let gap = gaps.get(&format!("{}:{}", event.key, event.value)).or_else(|| gaps.get(&event.key));
        match gap {
            None if self.gap.is_none() => {
                Err(format!("`gaps` has neither `{}:{}` nor `{}`", event.key, event.value, event.key))
            }
            gap => Ok(gap.copied()),
        }
    }

    fn acts(&self, step: &Step) -> Result<Vec<Do>, String> {
        let mut acts = step.acts()?;
        if let (Step::Event(event), Some(Do::Feed(_, record))) = (step, acts.first_mut()) {
            record.header = self.gap_of(event)?.map(|gap| (GAP_HEADER, gap.to_string()));
        }
        Ok(acts)
    }

    /// The numbers of an operation that `agg` makes something of.
    fn pipeline(&self) -> Result<Pipeline, String> {
        let agg = self.agg.as_deref().ok_or("`op` has no `agg`")?;
        if !["sum", "count", "max", "list"].contains(&agg) {
            return Err(format!("aggregation `{agg}` is not known: sum, count, max, list are"));
        }
        Ok(Pipeline::marked("vectors-fold", json!({ "agg": agg })).windows(&self.table()?))
    }

    /// The trial of a vector with these windows, whatever the dialect; its steps as they are.
    pub(super) fn trial(&self, vector: &Vector) -> Result<Trial, String> {
        let pipeline = self.pipeline()?;
        let steps: Vec<Step> = vector.steps()?;
        Ok(Trial {
            manifest: pipeline.manifest(),
            inputs: pipeline.inputs(1),
            steps: steps.iter().map(|step| self.acts(step)).collect::<Result<_, _>>()?,
            expected: expected(vector)?,
            late: late(vector)?,
            ordered: vector.ordered,
            exact: vector.step_exact,
            read: window_result,
            seen: None,
            except: None,
        })
    }

    /// The same, with event times for marks.
    pub(super) fn trial_in(&self, vector: &Vector, time: super::manifest::Time) -> Result<Trial, String> {
        let pipeline = Pipeline { time, ..self.pipeline()? };
        Ok(Trial { manifest: pipeline.manifest(), ..self.trial(vector)? })
    }
}

/// Windows over events and watermarks.
pub(super) fn window(vector: &Vector) -> Result<Translated, String> {
    Ok(Translated::trial(vector.op::<Windows>()?.trial(vector)?))
}

/// Which windows an event is in: those that give a result when it is alone and time ends.
pub(super) fn assign(vector: &Vector) -> Result<Translated, String> {
    let mut windows: Windows = vector.op()?;
    windows.agg.get_or_insert_with(|| "count".to_owned());
    let pipeline = windows.pipeline()?;
    let expected = expected(vector)?;
    let mut trials = Vec::new();
    for (number, step) in vector.steps::<Step>()?.iter().enumerate() {
        let Step::Event(event) = step else { return Err(format!("step {number}: there is nothing to assign")) };
        let of_step = |(step, value): &(usize, Value)| (*step == number).then(|| (0, value.clone()));
        trials.push(Trial {
            manifest: pipeline.manifest(),
            inputs: pipeline.inputs(1),
            steps: vec![vec![Do::Feed(0, Record::event(event)), Do::watermark(0, END)]],
            expected: expected.iter().filter_map(of_step).collect(),
            late: Some(Vec::new()),
            ordered: false,
            exact: true,
            read: |row| Some(json!({ "window": row.value.get("window")? })),
            seen: None,
            except: None,
        });
    }
    Ok(Translated { how: How::Trials(trials), notes: Vec::new() }
        .note("each event alone, until the end of time: the windows that fire are those that it is in"))
}
