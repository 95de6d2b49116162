//! The rows of a window with the greatest or least numbers, of each group or of all.
//!
//! Rows with the same number are in the order of their event times, so it does not matter in which parts a window was
//! accumulated; those with the same time as well, in the order in which they came.

mod best;

use std::borrow::Cow;

use millstream_sdk::fields::Scalar;
use millstream_sdk::prelude::*;
use millstream_sdk::serde_json::value::RawValue;

use best::{Best, Candidate};

/// More rows a group than this are no top: an accumulator is read and written with each of its rows.
const COUNT_MAX: u32 = 1_000;

/// The configuration.
#[config]
pub struct Config {
    /// Path of the field with the number, such as `order.total`.
    field: String,
    /// How many rows, 1 to 1,000.
    count: u32,
    /// Which rows come first.
    #[serde(default)]
    order: Order,
    /// Path of the field whose values make groups of a window's rows; none: all rows are one.
    group: Option<String>,
}

/// Which rows come first.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Those with the greatest numbers.
    #[default]
    Greatest,
    /// Those with the least numbers.
    Least,
}

/// The plugin.
#[derive(Debug)]
pub struct TopN {
    fields: Fields,
    field: String,
    group: Option<String>,
    count: usize,
    order: Order,
}

/// What a row of the top becomes.
#[derive(Debug, Serialize)]
struct Ranked<'a> {
    key: Option<Cow<'a, str>>,
    start: i64,
    end: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a RawValue>,
    rank: u32,
    number: f64,
    time: i64,
    row: &'a RawValue,
}

/// Gives the rows of a window with the greatest or least numbers.
#[aggregate(outputs(top = "One row a key, window, group and rank: key, start, end, group, rank, number, time, row."))]
impl Aggregate for TopN {
    type Config = Config;
    type Input<'a> = (&'a [u8], EventTime);
    type Accumulator = Best;
    type Output = Vec<Row>;

    fn new(config: Config) -> Result<Self> {
        if config.count == 0 || config.count > COUNT_MAX {
            reject!("bad-count", "`count` is {}: it is 1 to {COUNT_MAX}", config.count);
        }
        Ok(Self {
            fields: Fields::new([Some(&config.field), config.group.as_ref()].into_iter().flatten())?,
            field: config.field,
            group: config.group,
            count: config.count as usize,
            order: config.order,
        })
    }

    fn add(&self, best: &mut Best, (value, EventTime(time)): (&[u8], EventTime)) -> Result<()> {
        let mut found = self.fields.read(value)?.into_iter();
        let number = self.number(found.next().flatten())?;
        let group = match (&self.group, found.next().flatten()) {
            (None, _) => Cow::Borrowed(""),
            (Some(path), text) => group(path, text)?,
        };
        let row = str::from_utf8(value)?;
        best.add(self.count, self.order, Candidate { group: &group, number, time, row });
        Ok(())
    }

    fn merge(&self, earlier: &mut Best, later: Best) {
        earlier.merge(self.count, self.order, &later);
    }

    fn finish(&self, window: &Window<'_>, best: &Best) -> Result<Vec<Row>> {
        let ranked = |(rank, candidate): (u32, Candidate<'_>)| {
            let json = |text| -> Result<&RawValue> { Ok(millstream_sdk::serde_json::from_str(text)?) };
            Row::json(&Ranked {
                key: window.key_text(),
                start: window.start,
                end: window.end,
                group: self.group.as_ref().map(|_| json(candidate.group)).transpose()?,
                rank,
                number: candidate.number,
                time: candidate.time,
                row: json(candidate.row)?,
            })
        };
        best.ranked().map(ranked).collect()
    }
}

impl TopN {
    fn number(&self, text: Option<&str>) -> Result<f64> {
        let path = &self.field;
        let Some(text) = text else { reject!("missing-field", "the object has no field `{path}`") };
        let number = match Scalar::read(text)? {
            Scalar::Number(number) => number.parse().ok().filter(|number: &f64| number.is_finite()),
            Scalar::Null => reject!("missing-field", "field `{path}` is null"),
            Scalar::Bool(_) | Scalar::Text(_) | Scalar::Compound => None,
        };
        number.ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            Error::new("not-a-number", format_args!("field `{path}` is `{shown}`, not a number of 64 bits"))
        })
    }
}

/// The group as JSON, of which each text is written in one way only.
fn group<'a>(path: &str, text: Option<&'a str>) -> Result<Cow<'a, str>> {
    let Some(text) = text else { reject!("missing-field", "the object has no field `{path}`") };
    Ok(match Scalar::read(text)? {
        Scalar::Compound => reject!("bad-group", "field `{path}` is an object or a list, which makes no group"),
        Scalar::Text(text) => Cow::Owned(millstream_sdk::serde_json::to_string(&text)?),
        Scalar::Null | Scalar::Number(_) | Scalar::Bool(_) => Cow::Borrowed(text),
    })
}

#[cfg(test)]
mod tests;
