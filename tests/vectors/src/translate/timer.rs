//! Timers of keys.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::manifest::Pipeline;
use super::{Translated, expected};
use crate::format::{Step, Vector};
use crate::trial::Trial;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timers {
    on_timer: Option<String>,
}

/// Timers that events and timers set and delete.
pub(super) fn timer(vector: &Vector) -> Result<Translated, String> {
    let op: Timers = vector.op()?;
    let steps: Vec<Step> = vector.steps()?;
    let of_events = steps.iter().filter_map(|step| match step {
        Step::Event(event) => event.on_timer.clone(),
        _ => None,
    });
    let mut on_timer = BTreeMap::new();
    for script in op.on_timer.into_iter().chain(of_events) {
        for entry in script.split(',').filter(|entry| !entry.trim().is_empty()) {
            let (time, actions) = entry.split_once('=').ok_or_else(|| format!("`{entry}` is not `time=actions`"))?;
            on_timer.insert(time.trim().to_owned(), actions.trim().to_owned());
        }
    }
    let pipeline = Pipeline::marked("vectors-timers", json!({ "on_timer": on_timer }));
    Ok(Translated::trial(Trial {
        manifest: pipeline.manifest(),
        inputs: pipeline.inputs(1),
        steps: steps.iter().map(Step::acts).collect::<Result<_, _>>()?,
        expected: expected(vector)?,
        late: None,
        ordered: vector.ordered,
        exact: vector.step_exact,
        read: |row| Some(json!({ "key": row.key, "ts": row.value["ts"] })),
        seen: None,
        except: None,
    }))
}
