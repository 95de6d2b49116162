//! Event times in fields: numbers of milliseconds or seconds, or RFC 3339 texts.

use millstream_sdk::fields::Scalar;
use millstream_sdk::prelude::*;
use millstream_sdk::time::parse_rfc3339;

/// How a time is written.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Milliseconds since the Unix epoch: a number, or a text that holds one.
    #[default]
    Ms,
    /// Seconds since the Unix epoch, fractions allowed: a number, or a text that holds one.
    S,
    /// A text such as `2024-02-29T12:00:00.5+01:00`.
    Rfc3339,
}

impl Format {
    /// Reads the time in the field at `path`.
    pub(crate) fn read(self, path: &str, value: &Scalar<'_>) -> Result<i64> {
        let (text, is_text) = match value {
            Scalar::Number(number) => (*number, false),
            Scalar::Text(text) => (&**text, true),
            Scalar::Null | Scalar::Bool(_) | Scalar::Compound => ("", false),
        };
        let time = match self {
            Format::Ms => in_units(text, 1),
            Format::S => in_units(text, 1_000),
            Format::Rfc3339 if is_text => parse_rfc3339(text),
            Format::Rfc3339 => None,
        };
        time.ok_or_else(|| {
            let expected = match self {
                Format::Ms => "a number of milliseconds",
                Format::S => "a number of seconds",
                Format::Rfc3339 => "an RFC 3339 time such as `2024-02-29T12:00:00Z`",
            };
            let start: String = text.chars().take(40).collect();
            let shown = if start.is_empty() { "something else".to_owned() } else { format!("`{start}`") };
            Error::new("bad-timestamp", format_args!("field `{path}` is {shown}, not {expected}"))
        })
    }
}

/// A number of units of so many milliseconds, rounded to the millisecond.
fn in_units(text: &str, unit_ms: i64) -> Option<i64> {
    // Whole numbers are exact; only fractions and exponents go through floating point.
    if let Ok(whole) = text.parse::<i64>() {
        return whole.checked_mul(unit_ms);
    }
    const EXACT: f64 = (1_i64 << 53) as f64;
    let ms = (text.parse::<f64>().ok()? * unit_ms as f64).round();
    (ms.abs() <= EXACT).then_some(ms as i64)
}
