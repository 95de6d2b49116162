//! What a plugin says of itself, checked before anyone believes it.

use std::collections::BTreeSet;

use super::bindings::DescriptionResult;
use super::error::Error;
use super::limits::CompileLimits;
use super::{Description, Output, Reads, World, failure};

/// Longest name of an output: it is written in manifests.
const OUTPUT_NAME_BYTES: usize = 64;

/// Checks what a plugin says of itself.
pub(super) fn check(
    description: DescriptionResult,
    world: World,
    limits: &CompileLimits,
) -> Result<Description, Error> {
    let refuse = |reason: String| Err(Error::InvalidDescription { reason });
    let DescriptionResult { summary, config_schema, reads, outputs } = description;
    let texts = outputs.iter().map(|output| output.name.len() + output.summary.len()).sum::<usize>();
    let bytes = summary.len() + config_schema.len() + texts;
    if bytes > limits.description_bytes {
        return refuse(format!("{bytes} bytes of text, the limit is {}", limits.description_bytes));
    }
    if outputs.is_empty() || outputs.len() > limits.outputs {
        return refuse(format!("{} outputs, there must be 1 to {}", outputs.len(), limits.outputs));
    }
    let mut names = BTreeSet::new();
    for name in outputs.iter().map(|output| output.name.as_str()) {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > OUTPUT_NAME_BYTES || !name.chars().all(allowed) {
            let shown = failure::clip(name).escape_debug().to_string();
            return refuse(format!("output `{shown}`: a name has 1 to 64 lower-case letters, digits, `-`, `_`"));
        }
        if !names.insert(name) {
            return refuse(format!("output `{name}` twice"));
        }
    }
    if !matches!(serde_json::from_str(&config_schema), Ok(serde_json::Value::Object(_))) {
        return refuse("the schema of the configuration is not a JSON object".to_owned());
    }
    let mut columns = Reads { keys: false, values: false, headers: false };
    for column in reads {
        match column.as_str() {
            "keys" => columns.keys = true,
            "values" => columns.values = true,
            "headers" => columns.headers = true,
            other => {
                let shown = failure::clip(other).escape_debug().to_string();
                return refuse(format!("reads `{shown}`; there are `keys`, `values` and `headers`"));
            }
        }
    }
    let outputs = outputs.into_iter().map(|output| Output { name: output.name, summary: output.summary }).collect();
    Ok(Description { world, summary, config_schema, reads: columns, outputs })
}
