//! Keeps the rows for which an expression over JSON fields, key and event time holds.
//!
//! The language is the SDK's; here is what becomes of rows that fulfil an expression, and of those that do not.

use millstream_sdk::expression::{Expression, Names, Reader};
use millstream_sdk::prelude::*;

/// The configuration.
#[config]
pub struct Config {
    /// The expression that rows have to fulfil, such as `status >= 500 and not starts_with(path, "/health")`.
    #[serde(rename = "where")]
    condition: String,
    /// What becomes of rows that the expression cannot be applied to, such as values that are no JSON objects.
    #[serde(default)]
    on_error: OnError,
    /// Whether rows that do not fulfil the expression leave by the output `unmatched` instead of being dropped.
    #[serde(default)]
    split: bool,
}

/// What becomes of rows that the expression cannot be applied to.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum OnError {
    /// They are rejected with the error's code.
    #[default]
    Reject,
    /// They are dropped, and the counter `dropped` counts them.
    Drop,
}

/// The place of the output `unmatched`.
const UNMATCHED: u16 = 1;

/// The plugin.
#[derive(Debug)]
pub struct Filter {
    condition: Expression,
    reader: Reader,
    on_error: OnError,
    split: bool,
}

/// Keeps the rows for which an expression over JSON fields, key and event time holds.
#[transform(outputs(
    matched = "Rows that fulfil the expression.",
    unmatched = "Rows that do not, where the configuration says `split`."
))]
impl Transform for Filter {
    type Config = Config;
    type Input<'a> = (Option<Key<&'a [u8]>>, Option<&'a [u8]>, EventTime);

    fn new(config: Config) -> Result<Self> {
        let mut names = Names::default();
        let condition = names.expression("where", &config.condition)?;
        Ok(Self { condition, reader: names.reader()?, on_error: config.on_error, split: config.split })
    }

    fn record(&self, (key, value, EventTime(timestamp)): Self::Input<'_>, out: &mut Out<'_, '_>) -> Result<()> {
        let row = self.reader.read(key.map(|Key(key)| key), value, timestamp);
        match row.and_then(|row| row.fulfils(&self.condition)) {
            Ok(true) => out.pass(),
            Ok(false) if self.split => out.pass_to(UNMATCHED),
            Ok(false) => {}
            Err(_) if self.on_error == OnError::Drop => metrics::counter("dropped").add(1),
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
