//! Rows that leave a step, rows that are rejected, and how they are written.
//!
//! What is as in the source row is not written: each column stays empty until a row differs, and is then filled up with
//! what stands for "as the source". A pure filter so answers with source rows alone. Rows leave in the order of their
//! source rows, and a rejected row emits nothing. What grows large is handed to the host in pieces, so that an answer may
//! be larger than the plugin's memory.

mod handed;

use self::handed::Handed;
use crate::batch::{Batch, Header, HeaderColumns, HeaderSeeker};
use crate::bounds::{Bounds, ROW_BYTES};
use crate::columns::{Column, SAME};
use crate::describe::Output;
use crate::error::{Error, Result};
use crate::output::IntoRows;

/// Rows that leave a step. Each column is empty or has a cell for every row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// The input row that each row comes from; never descending.
    pub source_rows: Vec<u32>,
    /// The output each row leaves by; empty: all by the first.
    pub outputs: Vec<u16>,
    /// Event time of each row; empty: as the source rows.
    pub timestamps: Vec<i64>,
    /// Keys; empty: as the source rows.
    pub keys: Column,
    /// Values; empty: as the source rows.
    pub values: Column,
    /// Headers; empty: as the source rows.
    pub headers: HeaderColumns,
}

impl Rows {
    /// What the rows count for: keys and values, and so much for each row.
    fn bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len() + self.source_rows.len() * ROW_BYTES
    }

    /// Whether one of the last rows, those of this source, leaves its value as in the source row.
    fn lack_value(&self, source: u32) -> bool {
        let own = self.source_rows.iter().rev().take_while(|&&of| of == source).count();
        let lengths = &self.values.lengths;
        own != 0 && (lengths.is_empty() || lengths.iter().rev().take(own).any(|&length| length == SAME))
    }

    fn truncate(&mut self, rows: usize) {
        self.source_rows.truncate(rows);
        self.outputs.truncate(rows);
        self.timestamps.truncate(rows);
        self.keys.truncate(rows);
        self.values.truncate(rows);
        self.headers.truncate(rows);
    }
}

/// Rows that could not be processed, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejects {
    /// The input rows.
    pub rows: Vec<u32>,
    /// Their codes.
    pub codes: Column,
    /// Their reasons.
    pub reasons: Column,
}

impl Rejects {
    /// Rejects a row. Rows are rejected in ascending order, each at most once.
    pub fn push(&mut self, row: u32, error: &Error) {
        self.rows.push(row);
        self.codes.push(Some(error.code().as_bytes()));
        self.reasons.push(Some(error.reason().as_bytes()));
    }
}

/// An answer that has been written.
#[derive(Debug, Default)]
pub struct Parts {
    /// Rows that were written before those of `rows`, as far as the host does not have them already.
    pub early: Vec<Rows>,
    /// Rows.
    pub rows: Rows,
    /// What is rejected.
    pub rejected: Rejects,
}

/// A step's answer to a batch, as it is being written.
#[derive(Debug)]
pub struct Answer<'a> {
    source: &'a Batch,
    outputs: &'static [Output],
    source_headers: HeaderSeeker<'a>,
    /// The times of what rows can come from besides the rows of `source`, numbered after them: timers.
    later_times: Vec<i64>,
    /// The event time of rows that give none, where it is not the source's.
    default_time: Option<i64>,
    /// Rows that were handed over. Those in `rows` come after them.
    handed: Handed,
    /// The last source of the rows that were handed over, if one of its rows has no value of its own.
    bare: Option<u32>,
    bounds: Bounds,
    rows: Rows,
    /// Whether any row was written that may differ from its source row: until then, a row is its source row's number.
    differs: bool,
    rejected: Rejects,
}

impl<'a> Answer<'a> {
    /// An empty answer to `source` of a plugin with these outputs.
    pub fn new(source: &'a Batch, outputs: &'static [Output]) -> Self {
        let rows = Rows { source_rows: Vec::with_capacity(source.len()), ..Rows::default() };
        Self {
            source,
            outputs,
            source_headers: HeaderSeeker::new(&source.headers),
            later_times: Vec::new(),
            default_time: None,
            handed: Handed::default(),
            bare: None,
            bounds: Bounds::current(),
            rows,
            differs: false,
            rejected: Rejects::default(),
        }
    }

    /// Emits what `write` writes for the input row `source`; an error rejects that row, and nothing of it is emitted.
    ///
    /// Input rows are to be taken in ascending order.
    #[inline]
    pub fn row(&mut self, source: u32, write: impl FnOnce(&mut Out<'_, 'a>) -> Result<()>) {
        let before = self.mark();
        if let Err(error) = write(&mut Out { answer: self, source }) {
            self.reject(source, before, &error);
        }
    }

    /// Rows can come from what has these times as well; they are numbered on from the batch's rows.
    pub(crate) fn with_later_sources(self, times: &[i64]) -> Self {
        Self { later_times: times.to_vec(), ..self }
    }

    /// Rows can come from one more.
    pub(crate) fn add_later_source(&mut self, time: i64) {
        self.later_times.push(time);
    }

    /// From now on, rows that give no event time have this one.
    pub(crate) fn set_default_time(&mut self, time: Option<i64>) {
        self.default_time = time;
    }

    /// Where rows from that source go, outside of [`row`](Self::row).
    pub(crate) fn out(&mut self, source: u32) -> Out<'_, 'a> {
        Out { answer: self, source }
    }

    /// What [`reject`](Self::reject) takes the rows back to.
    pub(crate) fn mark(&self) -> usize {
        self.handed.rows() + self.rows.source_rows.len()
    }

    /// What has been emitted counts for so many bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.handed.bytes() + self.rows.bytes()
    }

    /// The bounds of the call.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Hands over the rows, if they are many. All of them are complete.
    #[inline]
    fn flush(&mut self) {
        let Self { bounds, rows, .. } = self;
        if rows.source_rows.len() >= bounds.piece_rows
            || rows.keys.bytes.len() + rows.values.bytes.len() >= bounds.piece_bytes
        {
            self.hand_over();
        }
    }

    #[cold]
    fn hand_over(&mut self) {
        let last = self.rows.source_rows.last().copied();
        self.bare = last.filter(|&last| self.bare == Some(last) || self.rows.lack_value(last));
        self.handed.hand_over(&mut self.rows);
        self.differs = false;
    }

    /// Rejects a source and takes back what was emitted since the mark.
    #[cold]
    pub(crate) fn reject(&mut self, source: u32, before: usize, error: &Error) {
        let handed = self.handed.rows();
        self.rows.truncate(before.saturating_sub(handed));
        if before < handed {
            self.handed.keep(before);
        }
        self.rejected.push(source, error);
    }

    /// Emits the input row `source` as it is.
    #[inline]
    pub fn pass(&mut self, source: u32) {
        if self.differs || self.default_time.is_some() {
            drop(RowWriter::new(self, source));
        } else {
            self.flush();
            self.rows.source_rows.push(source);
        }
    }

    /// What has been written.
    pub fn into_parts(self) -> Parts {
        Parts { early: self.handed.into_pieces(), rows: self.rows, rejected: self.rejected }
    }
}

/// Where the rows that come from one input row go.
#[derive(Debug)]
pub struct Out<'o, 'a> {
    answer: &'o mut Answer<'a>,
    source: u32,
}

impl<'a> Out<'_, 'a> {
    /// Emits rows: a [`Row`](crate::Row), a `Json<T>`, an `Option` or a `Vec` of them, ..
    #[inline]
    pub fn emit(&mut self, rows: impl IntoRows) -> Result<()> {
        rows.emit(self)
    }

    /// Emits the input row as it is.
    #[inline]
    pub fn pass(&mut self) {
        self.answer.pass(self.source);
    }

    /// Emits the input row as it is, by the output of that index.
    #[inline]
    pub fn pass_to(&mut self, output: u16) {
        self.row().output(output);
    }

    /// Emits a row that is written cell by cell, straight into the columns.
    #[inline]
    pub fn row(&mut self) -> RowWriter<'_, 'a> {
        RowWriter::new(self.answer, self.source)
    }

    /// Whether a row of this source leaves its value as in the source row.
    pub(crate) fn lacks_value(&self) -> bool {
        self.answer.bare == Some(self.source) || self.answer.rows.lack_value(self.source)
    }

    /// The outputs that the plugin declares.
    pub fn outputs(&self) -> &'static [Output] {
        self.answer.outputs
    }
}

/// Writes one row, cell by cell; what is not written stays as in the source row. The row is complete when it is dropped.
#[derive(Debug)]
pub struct RowWriter<'o, 'a> {
    rows: &'o mut Rows,
    source: &'a Batch,
    later_times: &'o [i64],
    source_headers: &'o mut HeaderSeeker<'a>,
    /// How many rows were complete before this one.
    before: usize,
}

impl<'o, 'a> RowWriter<'o, 'a> {
    #[inline]
    fn new(answer: &'o mut Answer<'a>, source: u32) -> Self {
        answer.flush();
        let before = answer.rows.source_rows.len();
        answer.rows.source_rows.push(source);
        answer.differs = true;
        let default_time = answer.default_time;
        let mut row = Self {
            rows: &mut answer.rows,
            source: answer.source,
            later_times: &answer.later_times,
            source_headers: &mut answer.source_headers,
            before,
        };
        if let Some(time) = default_time {
            row.timestamp(time);
        }
        row
    }

    fn key_cell(&mut self) -> &mut Column {
        cell(&mut self.rows.keys, self.before, self.source.len(), 0)
    }

    fn value_cell(&mut self) -> &mut Column {
        // New values are mostly about as large as the ones they come from.
        cell(&mut self.rows.values, self.before, self.source.len(), self.source.values.bytes.len())
    }

    /// The row's key; none for null.
    pub fn key(&mut self, key: Option<&[u8]>) -> &mut Self {
        self.key_cell().push(key);
        self
    }

    /// The row's key: the bytes that `write` appends.
    pub fn key_with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.key_cell().push_with(write)
    }

    /// The row's value; none for null.
    pub fn value(&mut self, value: Option<&[u8]>) -> &mut Self {
        self.value_cell().push(value);
        self
    }

    /// The row's value: the bytes that `write` appends.
    pub fn value_with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.value_cell().push_with(write)
    }

    /// The row's event time in milliseconds since the Unix epoch.
    pub fn timestamp(&mut self, timestamp: i64) -> &mut Self {
        let Rows { timestamps, source_rows, .. } = &mut *self.rows;
        if timestamps.is_empty() {
            // Exact: the capacity lasts for the batch, and the column is filled once.
            timestamps.reserve(self.source.len());
        }
        for &source in source_rows.iter().take(self.before).skip(timestamps.len()) {
            timestamps.push(time_of(self.source, self.later_times, source));
        }
        timestamps.truncate(self.before);
        timestamps.push(timestamp);
        self
    }

    /// The output that the row leaves by: an index into the plugin's outputs.
    #[inline]
    pub fn output(&mut self, output: u16) -> &mut Self {
        if output != 0 || !self.rows.outputs.is_empty() {
            self.rows.outputs.resize(self.before, 0);
            self.rows.outputs.push(output);
        }
        self
    }

    /// The row's headers, instead of the source row's.
    pub fn headers<'h>(&mut self, headers: impl IntoIterator<Item = Header<'h>>) -> &mut Self {
        let Rows { headers: column, source_rows, .. } = &mut *self.rows;
        for &source in source_rows.iter().take(self.before).skip(column.counts.len()) {
            column.push(self.source_headers.row(source));
        }
        column.truncate(self.before);
        column.push(headers);
        self
    }

    /// Fills up the columns that are in use and have no cell for this row.
    fn complete(&mut self) {
        let rows = &mut *self.rows;
        let Some(&source) = rows.source_rows.last() else { return };
        let lacks = |cells: usize| cells == self.before && cells != 0;
        if lacks(rows.outputs.len()) {
            rows.outputs.push(0);
        }
        if lacks(rows.timestamps.len()) {
            rows.timestamps.push(time_of(self.source, self.later_times, source));
        }
        if lacks(rows.keys.len()) {
            rows.keys.push_same();
        }
        if lacks(rows.values.len()) {
            rows.values.push_same();
        }
        if lacks(rows.headers.counts.len()) {
            rows.headers.push(self.source_headers.row(source));
        }
    }
}

impl Drop for RowWriter<'_, '_> {
    #[inline]
    fn drop(&mut self) {
        self.complete();
    }
}

/// The column, filled up to the row at `before` and without a cell for it.
///
/// The first time it makes room for so many cells and bytes: columns that grow side by side would move each time.
fn cell(column: &mut Column, before: usize, cells: usize, bytes: usize) -> &mut Column {
    if column.lengths.capacity() == 0 {
        *column = Column::with_capacity(cells, bytes);
    }
    if column.lengths.len() < before {
        column.lengths.resize(before, SAME);
    }
    column.truncate(before);
    column
}

/// The event time of a source. One that does not exist is the host's to refuse, with its own error.
fn time_of(source: &Batch, later: &[i64], number: u32) -> i64 {
    let number = number as usize;
    let later = || later.get(number.checked_sub(source.len())?);
    source.timestamps.get(number).or_else(later).copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
