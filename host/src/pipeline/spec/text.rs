//! The text of a manifest: where values are in it, and what is wrong with them.

use std::str::FromStr;

use toml::Spanned;

use crate::error::{Coded, Kind};
use crate::ids::TopicName;
use crate::names::nearest;

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("manifest, line {line}, column {column}: {message}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct ManifestError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl Coded for ManifestError {
    fn code(&self) -> &'static str {
        "invalid_manifest"
    }
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// The manifest's text, to say where something is.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Text<'_> {
    /// A name or a reference, or what is wrong with it.
    pub(super) fn parse<T>(&self, text: &Spanned<String>) -> Result<T, ManifestError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        text.get_ref().parse().map_err(|error: T::Err| self.at(text, error.to_string()))
    }

    /// A topic name made from the pipeline's, which may be too long for it.
    pub(super) fn derived(&self, from: &Spanned<String>, name: &str) -> Result<TopicName, ManifestError> {
        name.parse().map_err(|error: crate::ids::InvalidName| self.at(from, error.to_string()))
    }

    /// A duration in milliseconds.
    pub(super) fn duration(&self, text: &Spanned<String>) -> Result<i64, ManifestError> {
        duration_ms(text.get_ref()).ok_or_else(|| {
            let message = format!("`{}` is no duration", text.get_ref());
            ManifestError {
                hint: Some("write a whole number and a unit, such as 500ms, 30s, 1m, 2h or 1d".to_owned()),
                ..self.at(text, message)
            }
        })
    }

    /// An error at the place of a value.
    pub(super) fn at<T>(&self, value: &Spanned<T>, message: String) -> ManifestError {
        let (line, column) = self.place(value.span().start);
        ManifestError { line, column, message, hint: None }
    }

    /// What the parser of TOML says.
    pub(super) fn syntax(&self, error: &toml::de::Error) -> ManifestError {
        let (line, column) = self.place(error.span().map_or(0, |span| span.start));
        let message = error.message().to_owned();
        ManifestError { line, column, hint: nearest_of_message(&message), message }
    }

    fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.0.get(..byte).unwrap_or(self.0);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// A duration such as `500ms`, `30s`, `1m`, `2h` or `1d`, in milliseconds.
pub fn duration_ms(text: &str) -> Option<i64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// For serde's ``unknown field `x`, expected one of `a`, `b` ``: the expected name nearest to what was written.
fn nearest_of_message(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next()?;
    if !message.starts_with("unknown ") {
        return None;
    }
    let nearest = nearest(written, quoted)?;
    Some(format!("did you mean `{nearest}`?"))
}
