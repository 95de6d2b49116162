//! What came of each row, whichever call it was in.

use std::fmt;

use crate::plugin::{AS_SOURCE, Emitted, Rejected};
use crate::record::{BatchRef, Column, ColumnRef};

/// Characters of a key or a value that an error shows.
const SHOWN_CHARS: usize = 60;

/// A key or a value that was emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// The source row's, which the guest was not shown.
    Source,
    /// What there is, or null.
    Given(Option<Vec<u8>>),
}

impl Cell {
    /// These bytes, or null.
    pub(super) fn of(bytes: Option<&[u8]>) -> Self {
        Self::Given(bytes.map(<[u8]>::to_vec))
    }
}

/// Names and values of headers.
type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One thing that came of a row.
#[derive(Debug, Clone)]
pub(super) enum Out {
    /// A row that was emitted.
    Row {
        output: u16,
        /// None for the source row's, where that has none that can be compared.
        time: Option<i64>,
        key: Cell,
        value: Cell,
        /// None for the source row's.
        headers: Option<Headers>,
    },
    /// It was rejected with this code. Reasons are for people, and may count the rows of a call.
    Rejected(Vec<u8>),
}

impl PartialEq for Out {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rejected(code), Self::Rejected(other)) => code == other,
            (
                Self::Row { output, time, key, value, headers },
                Self::Row {
                    output: other_output,
                    time: other_time,
                    key: other_key,
                    value: other_value,
                    headers: other,
                },
            ) => {
                // Headers are given for all rows of a call or for none, so those of a row may be given here and not there.
                let same_headers = headers.is_none() || other.is_none() || headers == other;
                (output, time, key, value) == (other_output, other_time, other_key, other_value) && same_headers
            }
            _ => false,
        }
    }
}

/// What came of each of the sources of an answer: rows first, which `rows` has, then timers. `times` are those that the host
/// gives to rows of each source that have none.
pub(super) fn by_source<'a>(
    sources: usize,
    rows: BatchRef<'_>,
    times: &[i64],
    pieces: impl Iterator<Item = &'a Emitted>,
    rejected: &Rejected,
) -> Vec<Vec<Out>> {
    let mut outs = vec![Vec::new(); sources];
    let (keys, values) = (Given::of(rows.keys), Given::of(rows.values));
    for piece in pieces {
        let (piece_keys, piece_values) = (cells(&piece.keys), cells(&piece.values));
        let mut headers = piece.headers.view().rows();
        for (place, &source) in piece.source_rows.iter().enumerate() {
            let source = source as usize;
            let own = |(name, value): (&[u8], Option<&[u8]>)| (name.to_vec(), value.map(<[u8]>::to_vec));
            let headers = headers.next().map(|headers| headers.into_iter().map(own).collect());
            let out = Out::Row {
                output: piece.outputs.get(place).copied().unwrap_or_default(),
                time: piece.timestamps.get(place).or_else(|| times.get(source)).copied(),
                key: keys.resolve(source, piece_keys.get(place)),
                value: values.resolve(source, piece_values.get(place)),
                headers,
            };
            if let Some(outs) = outs.get_mut(source) {
                outs.push(out);
            }
        }
    }
    for (&row, code) in rejected.rows.iter().zip(rejected.codes.iter()) {
        if let Some(outs) = outs.get_mut(row as usize) {
            outs.push(Out::Rejected(code.unwrap_or_default().to_vec()));
        }
    }
    outs
}

/// What a guest was shown of a column.
struct Given<'a>(Vec<Option<&'a [u8]>>);

impl<'a> Given<'a> {
    fn of(column: ColumnRef<'a>) -> Self {
        Self(column.iter().collect())
    }

    /// What was emitted, with the source row's filled in where it is known.
    fn resolve(&self, source: usize, cell: Option<&Cell>) -> Cell {
        match (cell, self.0.get(source)) {
            (Some(Cell::Given(bytes)), _) => Cell::Given(bytes.clone()),
            (_, Some(given)) => Cell::of(*given),
            (_, None) => Cell::Source,
        }
    }
}

fn cells(column: &Column) -> Vec<Cell> {
    let cell = |(row, &length): (Option<&[u8]>, &i32)| match length {
        AS_SOURCE => Cell::Source,
        _ => Cell::of(row),
    };
    column.iter().zip(&column.lengths).map(cell).collect()
}

/// A row in a few words.
pub(super) fn row(rows: BatchRef<'_>, place: usize) -> String {
    let of = |column: ColumnRef<'_>| column.iter().nth(place).map(Cell::of);
    let mut text = "the row".to_owned();
    for (what, cell) in [("key", of(rows.keys)), ("value", of(rows.values))] {
        if let Some(cell) = cell {
            text += &format!(" {what} {cell}");
        }
    }
    rows.timestamps.get(place).map_or(text.clone(), |time| format!("{text} at {time}"))
}

/// Answers in a few words.
pub(super) fn shown(outs: &[Out]) -> String {
    match outs {
        [] => "nothing".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// The first thing that differs, and its counterpart; all, if there are not as many here as there.
pub(super) fn differing(whole: &[Out], cut: &[Out]) -> (String, String) {
    let differ = whole.iter().zip(cut).find(|(whole, cut)| whole != cut);
    match differ {
        Some((whole, cut)) => (whole.to_string(), cut.to_string()),
        None => (shown(whole), shown(cut)),
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match self {
            Self::Source => return f.write_str("of the row"),
            Self::Given(None) => return f.write_str("null"),
            Self::Given(Some(bytes)) => bytes,
        };
        let text = String::from_utf8_lossy(bytes);
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        let rest = if shown.len() < text.len() { ".." } else { "" };
        write!(f, "`{}{rest}`", shown.escape_debug())
    }
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(code) => write!(f, "a rejection `{}`", String::from_utf8_lossy(code)),
            Self::Row { output, time, key, value, headers } => {
                write!(f, "value {value}, key {key}")?;
                if let Some(time) = time {
                    write!(f, ", at {time}")?;
                }
                if *output > 0 {
                    write!(f, ", by output {output}")?;
                }
                match headers.as_ref().filter(|headers| !headers.is_empty()) {
                    Some(headers) => write!(f, ", {} headers", headers.len()),
                    None => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The SDK fills the whole column as soon as one row of a call has a time of its own.
    #[test]
    fn a_time_that_is_given_may_be_the_one_that_the_host_would_give() {
        let answer = |timestamps: &[i64]| {
            let values = ["a", "b"].iter().map(|value| Some(value.as_bytes())).collect();
            let piece =
                Emitted { source_rows: vec![0, 1], timestamps: timestamps.to_vec(), values, ..Emitted::default() };
            by_source(2, BatchRef::default(), &[5, 7], [&piece].into_iter(), &Rejected::default())
        };
        assert_eq!(answer(&[5, 7]), answer(&[]));
        assert_ne!(answer(&[5, 8]), answer(&[]));
    }
}
