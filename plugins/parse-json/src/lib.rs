//! Projects fields of JSON objects and sets key and event time from them.
//!
//! A row is read once, and of its fields only the wanted ones are looked at; what is kept is copied as it is written in
//! the row. `plan` turns the configuration into what is done with each row.

mod plan;
mod timestamp;

use millstream_sdk::prelude::*;

use plan::{Missing, Plan};
use timestamp::Format;

/// The configuration.
#[config]
pub struct Config {
    /// Paths of the fields to keep, such as `user.id`; they keep their place in the object. Empty: the value stays as it is.
    #[serde(default)]
    fields: Vec<String>,
    /// What becomes of a row that lacks one of `fields`.
    #[serde(default)]
    missing: Missing,
    /// Path of the field that becomes the key. Without it the key stays as it is.
    #[serde(default)]
    key: Option<String>,
    /// Where the event time is. Without it the event time stays as it is.
    #[serde(default)]
    timestamp: Option<Timestamp>,
}

/// Where the event time is, and how it is written.
#[config]
pub struct Timestamp {
    /// Path of the field.
    field: String,
    /// How the time is written.
    #[serde(default)]
    format: Format,
}

/// The plugin.
#[derive(Debug)]
pub struct ParseJson(Plan);

/// Projects fields of JSON objects and sets key and event time from them.
#[transform(outputs(parsed = "The rows, projected."))]
impl Transform for ParseJson {
    type Config = Config;
    type Input<'a> = &'a [u8];

    fn new(config: Config) -> Result<Self> {
        Plan::new(config).map(Self)
    }

    fn record(&self, value: &[u8], out: &mut Out<'_, '_>) -> Result<()> {
        self.0.record(value, out)
    }
}

#[cfg(test)]
mod tests;
