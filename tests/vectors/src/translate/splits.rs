//! Splits that come and go while a source runs. Partitions of a topic do not, so here it is the pipelines' watermark
//! tracker that is asked, which knows both.

use millstream::time::{Mark, Source, Watermarks};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{How, Translated, expected};
use crate::format::Vector;

/// Splits, what they say, and what must come of it.
#[derive(Debug)]
pub struct Splits {
    steps: Vec<Act>,
    expected: Vec<(usize, Value)>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    register: Option<String>,
    unregister: Option<String>,
    split: Option<String>,
    watermark: Option<i64>,
    status: Option<String>,
    tick: Option<bool>,
}

#[derive(Debug)]
enum Act {
    Register(String),
    Unregister(String),
    Mark(String, Mark),
    Tick,
}

impl Step {
    fn act(self) -> Result<Act, String> {
        Ok(match self {
            Self { register: Some(name), unregister: None, split: None, watermark: None, status: None, tick: None } => {
                Act::Register(name)
            }
            Self { register: None, unregister: Some(name), split: None, watermark: None, status: None, tick: None } => {
                Act::Unregister(name)
            }
            Self { register: None, unregister: None, split: Some(name), watermark, status, tick: None } => {
                let mark = match (watermark, status.as_deref()) {
                    (Some(time), None) => Mark::Watermark(time),
                    (None, Some("idle")) => Mark::Idle,
                    (None, Some("active")) => Mark::Active,
                    (watermark, status) => return Err(format!("a split says {watermark:?} and {status:?}")),
                };
                Act::Mark(name, mark)
            }
            Self { register: None, unregister: None, split: None, watermark: None, status: None, tick: Some(_) } => {
                Act::Tick
            }
            other => return Err(format!("a step of splits is not {other:?}")),
        })
    }
}

/// Splits of one source.
pub(super) fn translate(vector: &Vector) -> Result<Translated, String> {
    vector.op::<Map<String, Value>>().and_then(|op| match op.keys().next() {
        None => Ok(()),
        Some(name) => Err(format!("`op`: unknown field `{name}`")),
    })?;
    let steps = vector.steps::<Step>()?.into_iter().map(Step::act).collect::<Result<_, _>>()?;
    let how = How::Tracker(Splits { steps, expected: expected(vector)? });
    Ok(Translated { how, notes: Vec::new() }
        .note("on the watermark tracker itself: the partitions of a pipeline neither come nor go while it runs"))
}

impl Splits {
    pub(super) fn play(&self) -> Result<(), String> {
        let mut tracker = Watermarks::new(Source::Marks, None, 0);
        let mut names: Vec<&str> = Vec::new();
        let find = |names: &[&str], name: &str| {
            names.iter().position(|known| *known == name).ok_or_else(|| format!("no split `{name}` is registered"))
        };
        let mut known = json!({ "wm": null, "status": "active" });
        for (number, act) in self.steps.iter().enumerate() {
            match act {
                Act::Register(name) => {
                    tracker.add();
                    names.push(name);
                }
                Act::Unregister(name) => {
                    let split = find(&names, name)?;
                    tracker.remove(split);
                    names.remove(split);
                }
                Act::Mark(name, mark) => tracker.mark(find(&names, name)?, *mark),
                Act::Tick => {}
            }
            for (name, value) in self
                .expected
                .iter()
                .filter(|(step, _)| *step == number)
                .filter_map(|(_, fields)| fields.as_object())
                .flatten()
            {
                known[name.as_str()] = value.clone();
            }
            let idle = !tracker.inputs().is_empty() && tracker.inputs().iter().all(|input| input.idle);
            let got = json!({ "wm": tracker.output().time(), "status": if idle { "idle" } else { "active" } });
            if got != known {
                return Err(format!("step {number}:\n  expected {known}\n  got      {got}"));
            }
        }
        Ok(())
    }
}
