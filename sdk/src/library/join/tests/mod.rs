//! Joins against what joins are by definition: loops over all rows.

mod as_of;
mod interval;
mod window;

use proptest::prelude::*;

use crate::Process;
use crate::testing::{Input, Outcome, keyed};

/// A row on its way: its key, its input, its time, and how far the watermark has moved before it.
#[derive(Debug, Clone, Copy)]
struct Sent {
    key: u8,
    input: u16,
    time: i64,
    moved: i64,
    /// Whether it has a value.
    value: bool,
}

/// A row as a model sees it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Its number, which is its value.
    number: usize,
    key: u8,
    input: u16,
    time: i64,
    /// The watermark at its place.
    watermark: i64,
    value: bool,
}

/// After the last row, the watermark comes here: all that can happen has happened.
const END: i64 = 1_000_000;

/// What left by an output: keys, times and values, sorted.
type Results = Vec<(u8, i64, String)>;

fn rows() -> impl Strategy<Value = Vec<Sent>> {
    let row = (0..2_u8, 0..2_u16, -60..60_i64, 0..12_i64, prop::bool::weighted(0.9));
    let row = row.prop_map(|(key, input, near, moved, value)| Sent { key, input, time: near, moved, value });
    // Rows are around the watermark, which begins at -40.
    prop::collection::vec(row, 0..40).prop_map(|mut rows| {
        let mut watermark = -40;
        for row in &mut rows {
            watermark += row.moved;
            row.time = watermark + row.time / 2 + 10;
        }
        rows
    })
}

fn seen(rows: &[Sent]) -> Vec<Seen> {
    let mut watermark = -40;
    let mut seen = Vec::new();
    for (number, &Sent { key, input, time, moved, value }) in rows.iter().enumerate() {
        watermark += moved;
        seen.push(Seen { number, key, input, time, watermark, value });
    }
    seen
}

/// Runs rows, and the watermark to the end. The run itself tries batches of other sizes.
fn run<P: Process>(plugin: &P, rows: &[Sent]) -> Outcome {
    let mut run = keyed(plugin);
    for row in seen(rows) {
        let input = if row.value { Input::value(row.number.to_string()) } else { Input::null() };
        run.watermark(row.watermark);
        run.row_by(row.input, input.key([row.key]).at(row.time));
    }
    run.watermark(END);
    run.end()
}

/// What left by an output: key, time and value, sorted.
fn left_by(outcome: &Outcome, output: &str) -> Results {
    let key = |key: &Option<Vec<u8>>| key.as_ref().and_then(|key| key.first()).copied().unwrap_or_default();
    let mut rows: Vec<_> = outcome.output(output).map(|row| (key(&row.key), row.timestamp, row.value_text())).collect();
    rows.sort();
    rows
}

/// How a test writes a result.
fn written(left: Option<impl ToString>, right: Option<impl ToString>) -> String {
    let text = |row: Option<String>| row.unwrap_or_else(|| "-".to_owned());
    format!("{} {}", text(left.map(|row| row.to_string())), text(right.map(|row| row.to_string())))
}

fn late_rows<'s>(rows: impl Iterator<Item = &'s Seen>) -> Results {
    let mut late: Vec<_> = rows.map(|row| (row.key, row.time, row.number.to_string())).collect();
    late.sort();
    late
}
