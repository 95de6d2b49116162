//! Patterns over a key's events, with the plugin `pattern`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::manifest::Pipeline;
use super::{Translated, expected, late, late_event};
use crate::format::{Step, Vector};
use crate::trial::{LATE, Row, TIMED_OUT, Trial};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    greater_than: i64,
    times: u32,
    within: u64,
    contiguity: Contiguity,
    skip: Skip,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Contiguity {
    Strict,
    Relaxed,
    Any,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Skip {
    #[serde(rename = "no_skip")]
    Never,
    ToNext,
    PastLast,
}

/// So many events above a number, within some time.
pub(super) fn pattern(vector: &Vector) -> Result<Translated, String> {
    let op: Pattern = vector.op()?;
    let mut stage = json!({ "name": "hit", "where": format!("value > {}", op.greater_than), "times": op.times });
    if op.times > 1 {
        stage["repeat"] = json!(match op.contiguity {
            Contiguity::Strict => "strict",
            Contiguity::Relaxed => "relaxed",
            Contiguity::Any => "any",
        });
    }
    let skip = match op.skip {
        Skip::Never => "no_skip",
        Skip::ToNext => "to_next",
        Skip::PastLast => "past_last",
    };
    let config = json!({ "stages": [stage], "within_ms": op.within, "skip": skip });
    let pipeline = Pipeline::marked("pattern", config).pattern_outputs();
    let steps: Vec<Step> = vector.steps()?;
    let translated = Translated::trial(Trial {
        manifest: pipeline.manifest(),
        inputs: pipeline.inputs(1),
        steps: steps.iter().map(Step::acts).collect::<Result<_, _>>()?,
        expected: expected(vector)?,
        late: late(vector)?,
        ordered: vector.ordered,
        exact: vector.step_exact,
        read: found,
        seen: None,
        except: None,
    });
    Ok(translated.note("D6: ours is Flink's rule"))
}

/// A match, what there was of one, or a late event.
fn found(row: &Row) -> Option<Value> {
    if row.topic == LATE {
        return Some(late_event(row));
    }
    let times: Vec<&Value> = row.value["events"].as_array()?.iter().map(|event| &event["time"]).collect();
    let mut found = json!({ "key": row.key, "match": times });
    if row.topic == TIMED_OUT {
        found["timed_out"] = true.into();
    }
    Some(found)
}
