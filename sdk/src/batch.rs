//! Rows that enter a step: columns, and records as views into them.
//!
//! The timestamps say how many rows there are. A column that the plugin does not read comes empty; its cells then read
//! as nulls.

use crate::columns::{Cell, Cells, Column};
use crate::error::Result;
use crate::input::FromRecord;

/// Headers of the rows of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderColumns {
    /// How many headers each row has; empty where the pipeline carries none.
    pub counts: Vec<u32>,
    /// The headers' names, row after row.
    pub names: Column,
    /// The headers' values, row after row.
    pub values: Column,
}

impl HeaderColumns {
    /// Adds a row with these headers.
    pub fn push<'a>(&mut self, headers: impl IntoIterator<Item = Header<'a>>) {
        let before = self.names.len();
        for header in headers {
            self.names.push(Some(header.name));
            self.values.push(header.value);
        }
        let count = self.names.len() - before;
        self.counts.push(u32::try_from(count).expect("a row has fewer than 2^32 headers"));
    }

    /// Keeps the headers of the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        let kept = self.counts.iter().take(rows).map(|&count| count as usize).sum();
        self.counts.truncate(rows);
        self.names.truncate(kept);
        self.values.truncate(kept);
    }

    /// The headers of each row, in order; without end where the pipeline carries none.
    #[inline]
    pub(crate) fn cursor(&self) -> HeaderCursor<'_> {
        let rest = Headers { names: self.names.cells(), values: self.values.cells() };
        HeaderCursor { counts: self.counts.iter(), rest }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct HeaderCursor<'a> {
    counts: std::slice::Iter<'a, u32>,
    rest: Headers<'a>,
}

impl<'a> HeaderCursor<'a> {
    /// Whether no row has headers any more: nearly always true from the start, so callers ask before they go on.
    #[inline]
    fn is_done(&self) -> bool {
        self.counts.as_slice().is_empty()
    }

    /// The headers of the next row. The cursor goes by value: a loop then keeps its own state in registers.
    #[cold]
    fn next_row(mut self) -> (Headers<'a>, Self) {
        let count = self.counts.next().map_or(0, |&count| count as usize);
        let headers = Headers { names: self.rest.names.take_cells(count), values: self.rest.values.take_cells(count) };
        (headers, self)
    }
}

/// Goes through the headers of a batch to rows that are asked for in ascending order.
#[derive(Debug)]
pub(crate) struct HeaderSeeker<'a> {
    headers: &'a HeaderColumns,
    cursor: HeaderCursor<'a>,
    /// The row that the cursor gives next.
    next_row: u32,
    current: Headers<'a>,
}

impl<'a> HeaderSeeker<'a> {
    pub(crate) fn new(headers: &'a HeaderColumns) -> Self {
        Self { headers, cursor: headers.cursor(), next_row: 0, current: Headers::default() }
    }

    /// The headers of `row`; none for what comes after the last one. Going back is allowed and slow.
    pub(crate) fn row(&mut self, row: u32) -> Headers<'a> {
        if row as usize >= self.headers.counts.len() {
            return Headers::default();
        }
        if row.saturating_add(1) < self.next_row {
            *self = Self::new(self.headers);
        }
        while self.next_row <= row {
            (self.current, self.cursor) = self.cursor.clone().next_row();
            self.next_row += 1;
        }
        self.current.clone()
    }
}

/// The headers of a record; iterates over them in their order.
#[derive(Debug, Clone, Default)]
pub struct Headers<'a> {
    names: Cells<'a>,
    values: Cells<'a>,
}

/// A header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value; none for null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// The value of the last header of that name, if there is one that is not null.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.clone().filter(|header| header.name == name.as_bytes()).last().and_then(|header| header.value)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let name = self.names.next()?.bytes().unwrap_or_default();
        Some(Header { name, value: self.values.next().and_then(Cell::bytes) })
    }
}

/// Rows that enter a step, in the order of their partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Event time of each row in milliseconds since the Unix epoch.
    pub timestamps: Vec<i64>,
    /// The rows' keys.
    pub keys: Column,
    /// The rows' values.
    pub values: Column,
    /// The rows' headers.
    pub headers: HeaderColumns,
}

impl Batch {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// The rows, one after another.
    #[inline]
    pub fn records(&self) -> Records<'_> {
        Records {
            timestamps: self.timestamps.iter(),
            index: 0,
            keys: self.keys.cells(),
            values: self.values.cells(),
            headers: self.headers.cursor(),
        }
    }
}

/// One row of a [`Batch`].
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// Its place in the batch, counted from 0.
    pub index: u32,
    /// Its event time in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Its key; none for null, and where the plugin does not read keys.
    pub key: Option<&'a [u8]>,
    /// Its value; none for null, and where the plugin does not read values.
    pub value: Option<&'a [u8]>,
    /// Its headers; empty where the pipeline carries none.
    pub headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// Reads the record, or a part of it, as `T`: `record.read::<Json<Order>>()`.
    #[inline]
    pub fn read<T: FromRecord<'a>>(&self) -> Result<T> {
        T::from_record(self)
    }
}

/// Iterates over the records of a [`Batch`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    timestamps: std::slice::Iter<'a, i64>,
    index: u32,
    keys: Cells<'a>,
    values: Cells<'a>,
    headers: HeaderCursor<'a>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let timestamp = *self.timestamps.next()?;
        let index = self.index;
        self.index += 1;
        let mut headers = Headers::default();
        if !self.headers.is_done() {
            (headers, self.headers) = self.headers.clone().next_row();
        }
        Some(Record {
            index,
            timestamp,
            key: self.keys.next().and_then(Cell::bytes),
            value: self.values.next().and_then(Cell::bytes),
            headers,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.timestamps.size_hint()
    }
}

impl ExactSizeIterator for Records<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(name: &'a str, value: Option<&'a [u8]>) -> Header<'a> {
        Header { name: name.as_bytes(), value }
    }

    #[test]
    fn records_see_their_own_cells() {
        let batch = Batch {
            timestamps: vec![5, -6],
            keys: [None, Some(&b"k"[..])].into_iter().collect(),
            values: [Some(&b"v0"[..]), None].into_iter().collect(),
            headers: HeaderColumns::default(),
        };
        let records: Vec<_> = batch.records().collect();
        assert_eq!((records[0].timestamp, records[0].key, records[0].value), (5, None, Some(&b"v0"[..])));
        assert_eq!((records[1].timestamp, records[1].key, records[1].value), (-6, Some(&b"k"[..]), None));
        assert_eq!((records[0].index, records[1].index), (0, 1));
    }

    #[test]
    fn columns_that_are_not_read_are_nulls() {
        let batch = Batch { timestamps: vec![1, 2, 3], ..Batch::default() };
        assert_eq!(batch.records().len(), 3);
        assert!(batch.records().all(|record| record.key.is_none() && record.value.is_none()));
        assert!(batch.records().all(|record| record.headers.count() == 0));
    }

    #[test]
    fn headers_belong_to_their_row() {
        let mut headers = HeaderColumns::default();
        headers.push([header("a", Some(b"1")), header("b", None)]);
        headers.push([]);
        headers.push([header("a", Some(b"2")), header("a", Some(b"3"))]);
        let batch = Batch { timestamps: vec![0; 3], headers, ..Batch::default() };
        let rows: Vec<Vec<_>> = batch.records().map(|record| record.headers.collect()).collect();
        assert_eq!(rows[0], [header("a", Some(b"1")), header("b", None)]);
        assert!(rows[1].is_empty());
        let mut seeker = HeaderSeeker::new(&batch.headers);
        assert_eq!(seeker.row(2).get("a"), Some(&b"3"[..]));
        assert_eq!(seeker.row(2).get("a"), Some(&b"3"[..]));
        assert_eq!(seeker.row(0).get("b"), None);
        assert_eq!(seeker.row(0).get("a"), Some(&b"1"[..]));
    }
}
