//! Parses lines of Apache access logs, in the common and the combined format, into JSON.
//!
//! `line` reads a line as it is, `request` the request within it, `scan` is how both go through text. A
//! line is read whole or rejected: what is cut off never becomes half a row.

mod line;
mod request;
mod scan;

use std::borrow::Cow;

use millstream_sdk::columns::Append;
use millstream_sdk::prelude::*;
use millstream_sdk::serde_json;

use line::{Format, Line};

/// The configuration.
#[config]
pub struct Config {
    /// The format of the lines.
    #[serde(default)]
    format: Format,
    /// What becomes the row's key.
    #[serde(default)]
    key: KeyField,
}

/// What becomes the row's key.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum KeyField {
    /// The client's host name or address.
    #[default]
    Host,
    /// The requested path; no key where the request has none.
    Path,
    /// The response's status.
    Status,
    /// The request's method; no key where the request has none.
    Method,
    /// Nothing: the key stays as it is.
    None,
}

impl KeyField {
    /// The key that this line gives its row; none where the row's key is to stay.
    fn of<'l>(self, line: &'l Line<'_>) -> Option<Option<Cow<'l, str>>> {
        match self {
            KeyField::Host => Some(Some(Cow::Borrowed(line.host))),
            KeyField::Path => Some(line.request.path.as_deref().map(Cow::Borrowed)),
            KeyField::Method => Some(line.request.method.as_deref().map(Cow::Borrowed)),
            KeyField::Status => Some(Some(Cow::Owned(line.status.to_string()))),
            KeyField::None => None,
        }
    }
}

/// The plugin.
#[derive(Debug)]
pub struct ParseAccessLog(Config);

/// Parses lines of Apache access logs into JSON; the event time becomes the line's.
#[transform(outputs(parsed = "One JSON object a line."))]
impl Transform for ParseAccessLog {
    type Config = Config;
    type Input<'a> = &'a str;

    fn new(config: Config) -> Result<Self> {
        Ok(Self(config))
    }

    fn record(&self, text: &str, out: &mut Out<'_, '_>) -> Result<()> {
        let line = Line::read(text, self.0.format)?;
        let mut row = out.row();
        row.timestamp(line.time);
        if let Some(key) = self.0.key.of(&line) {
            row.key(key.as_deref().map(str::as_bytes));
        }
        row.value_with(|buffer| serde_json::to_writer(Append(buffer), &line))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
