//! What came of a run, with every cell in place.

use std::collections::BTreeMap;

use super::input::Input;
use crate::answer::{Parts, Rejects, Rows};
use crate::batch::{Batch, HeaderSeeker};
use crate::columns::{Cell, Column};
use crate::describe::Output;

/// What a plugin reported to the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reported {
    pub(crate) logs: Vec<(u8, String)>,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) gauges: BTreeMap<String, f64>,
}

/// What came of running a plugin over rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The rows it emitted, in order.
    pub rows: Vec<Emitted>,
    /// The rows it rejected, in order.
    pub rejected: Vec<Rejected>,
    /// The lines it logged: level and message.
    pub logs: Vec<(u8, String)>,
    /// What it added to its counters.
    pub counters: BTreeMap<String, u64>,
    /// What it set its gauges to.
    pub gauges: BTreeMap<String, f64>,
}

/// A row that was emitted; what the plugin left as in the source row is filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The name of the output it left by.
    pub output: &'static str,
    /// The input row it comes from, counted from 0; for windows, the window.
    pub source: usize,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its event time.
    pub timestamp: i64,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A row that was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The input row, counted from 0; for windows, the window.
    pub row: usize,
    /// The code.
    pub code: String,
    /// The reason.
    pub reason: String,
}

impl Emitted {
    /// The key as text; empty for null.
    pub fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key.as_deref().unwrap_or_default()).into_owned()
    }

    /// The value as text; empty for null.
    pub fn value_text(&self) -> String {
        String::from_utf8_lossy(self.value.as_deref().unwrap_or_default()).into_owned()
    }

    /// The value as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        let value = self.value_text();
        serde_json::from_str(&value).unwrap_or_else(|error| panic!("the value `{value}` is not JSON: {error}"))
    }
}

impl Outcome {
    /// The rows that left by the output of that name.
    pub fn output<'o>(&'o self, name: &'o str) -> impl Iterator<Item = &'o Emitted> {
        self.rows.iter().filter(move |row| row.output == name)
    }

    /// The values of all emitted rows as text.
    pub fn values(&self) -> Vec<String> {
        self.rows.iter().map(Emitted::value_text).collect()
    }

    /// The codes of all rejected rows.
    pub fn codes(&self) -> Vec<&str> {
        self.rejected.iter().map(|rejected| rejected.code.as_str()).collect()
    }

    /// Reads an answer as the host does, and holds the plugin to the contract as the host does.
    pub(super) fn of(inputs: &[Input], batch: &Batch, outputs: &'static [Output], answer: Parts) -> Self {
        let order: Vec<u32> = pieces(&answer).flat_map(|piece| piece.source_rows.iter().copied()).collect();
        assert!(order.is_sorted(), "rows leave in the order of their source rows: {order:?}");
        Self::of_any_order(inputs, batch, outputs, answer)
    }

    /// Like [`of`](Self::of), for plugins whose rows may leave in any order.
    pub(super) fn of_any_order(inputs: &[Input], batch: &Batch, outputs: &'static [Output], answer: Parts) -> Self {
        let rejects = &answer.rejected;
        assert!(rejects.rows.is_sorted_by(|a, b| a < b), "rows are rejected in order, once: {:?}", rejects.rows);
        let emitted = pieces(&answer).flat_map(|rows| read(inputs, batch, outputs, rows, rejects)).collect();
        let mut codes = rejects.codes.cells();
        let mut reasons = rejects.reasons.cells();
        let text = |cell: Option<Cell<'_>>| lossy(cell.and_then(Cell::bytes).unwrap_or_default());
        let rejected = rejects.rows.iter().map(|&row| Rejected {
            row: row as usize,
            code: text(codes.next()),
            reason: text(reasons.next()),
        });
        Self { rejected: rejected.collect(), rows: emitted, ..Self::default() }
    }

    pub(super) fn with(self, reported: Reported) -> Self {
        Self { logs: reported.logs, counters: reported.counters, gauges: reported.gauges, ..self }
    }
}

/// All rows of an answer, piece by piece.
fn pieces(answer: &Parts) -> impl Iterator<Item = &Rows> {
    answer.early.iter().chain([&answer.rows])
}

/// Reads a piece.
fn read(inputs: &[Input], batch: &Batch, outputs: &'static [Output], rows: &Rows, rejects: &Rejects) -> Vec<Emitted> {
    let mut keys = cells(&rows.keys, rows.source_rows.len());
    let mut values = cells(&rows.values, rows.source_rows.len());
    let mut own_headers = HeaderSeeker::new(&rows.headers);
    let mut source_headers = HeaderSeeker::new(&batch.headers);
    let mut emitted = Vec::new();
    for (row, &source) in (0_u32..).zip(&rows.source_rows) {
        let place = row as usize;
        let input = inputs.get(source as usize).unwrap_or_else(|| panic!("there is no source row {source}"));
        assert!(!rejects.rows.contains(&source), "row {source} is emitted and rejected");
        let output = rows.outputs.get(place).map_or(0, |&output| usize::from(output));
        let headers = if rows.headers.counts.is_empty() { source_headers.row(source) } else { own_headers.row(row) };
        emitted.push(Emitted {
            output: outputs.get(output).unwrap_or_else(|| panic!("there is no output {output}")).name,
            source: source as usize,
            key: resolve(keys.next(), input.key.as_deref()),
            value: resolve(values.next(), input.value.as_deref()),
            timestamp: rows.timestamps.get(place).copied().unwrap_or(input.timestamp),
            headers: headers.map(|header| (lossy(header.name), header.value.map(<[u8]>::to_vec))).collect(),
        });
    }
    emitted
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The cells of a column of the answer: an empty one stands for the source rows' cells.
fn cells(column: &Column, rows: usize) -> impl Iterator<Item = Cell<'_>> {
    assert!(column.is_empty() || column.len() == rows, "a column has {} cells for {rows} rows", column.len());
    column.cells().chain(std::iter::repeat(Cell::Same))
}

fn resolve(cell: Option<Cell<'_>>, source: Option<&[u8]>) -> Option<Vec<u8>> {
    match cell {
        None | Some(Cell::Same) => source.map(<[u8]>::to_vec),
        Some(Cell::Null) => None,
        Some(Cell::Bytes(bytes)) => Some(bytes.to_vec()),
    }
}
