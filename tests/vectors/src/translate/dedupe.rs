//! The first of each key, with the plugin `dedupe`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::Pipeline;
use super::{Translated, expected};
use crate::format::{Step, Vector};
use crate::trial::{Row, Trial};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dedupe {
    ttl: u64,
    #[serde(default)]
    refresh_on_read: bool,
}

/// By the clock.
pub(super) fn processing_time(vector: &Vector) -> Result<Translated, String> {
    dedupe(vector, "processing")
}

/// By the watermark.
pub(super) fn event_time(vector: &Vector) -> Result<Translated, String> {
    dedupe(vector, "event")
}

fn dedupe(vector: &Vector, time: &str) -> Result<Translated, String> {
    let op: Dedupe = vector.op()?;
    let config = json!({ "ttl_ms": op.ttl, "time": time, "refresh": op.refresh_on_read });
    let pipeline = Pipeline::marked("dedupe", config);
    let steps: Vec<Step> = vector.steps()?;
    Ok(Translated::trial(Trial {
        manifest: pipeline.manifest(),
        inputs: pipeline.inputs(1),
        steps: steps.iter().map(Step::acts).collect::<Result<_, _>>()?,
        expected: expected(vector)?,
        late: None,
        ordered: vector.ordered,
        exact: vector.step_exact,
        read: first,
        seen: None,
        except: None,
    }))
}

fn first(row: &Row) -> Option<Value> {
    Some(json!({ "key": row.key, "value": row.value["value"] }))
}
