//! Records as they travel inside the host: columns, so that a batch crosses locks, channels and the plugin boundary in a
//! few copies whatever its number of rows.
//!
//! A [`Column`] is one length a row and the rows' bytes end to end; a length of [`NULL`] is a null. Whoever makes a
//! column keeps this: the lengths above zero add up to the number of bytes.

/// The length that stands for a null.
pub const NULL: i32 = -1;

/// One length a row, and the rows' bytes end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Column {
    /// Length of each row in bytes, [`NULL`] for a null.
    pub lengths: Vec<i32>,
    /// The rows' bytes, end to end.
    pub bytes: Vec<u8>,
}

impl Column {
    /// Appends a row. Rows over `i32::MAX` bytes are stopped by the record size limit, long before they come here.
    pub fn push(&mut self, row: Option<&[u8]>) {
        match row {
            None => self.lengths.push(NULL),
            Some(bytes) => {
                self.lengths.push(bytes.len() as i32);
                self.bytes.extend_from_slice(bytes);
            }
        }
    }

    /// Appends all rows of another column.
    pub fn extend(&mut self, rows: ColumnRef<'_>) {
        self.lengths.extend_from_slice(rows.lengths);
        self.bytes.extend_from_slice(rows.bytes);
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.lengths.clear();
        self.bytes.clear();
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The column as a borrowed view.
    pub fn view(&self) -> ColumnRef<'_> {
        ColumnRef { lengths: &self.lengths, bytes: &self.bytes }
    }

    /// The rows in order.
    pub fn iter(&self) -> Rows<'_> {
        self.view().iter()
    }
}

impl<T: AsRef<[u8]>> FromIterator<Option<T>> for Column {
    fn from_iter<I: IntoIterator<Item = Option<T>>>(rows: I) -> Self {
        let mut column = Self::default();
        for row in rows {
            column.push(row.as_ref().map(AsRef::as_ref));
        }
        column
    }
}

/// A borrowed [`Column`], or a run of its rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct ColumnRef<'a> {
    /// Length of each row in bytes, [`NULL`] for a null.
    pub lengths: &'a [i32],
    /// The rows' bytes, end to end.
    pub bytes: &'a [u8],
}

impl<'a> ColumnRef<'a> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The rows in order.
    pub fn iter(&self) -> Rows<'a> {
        Rows { lengths: self.lengths.iter(), bytes: self.bytes }
    }

    /// Whether lengths and bytes belong together: none below [`NULL`], and their sum is the number of bytes.
    pub fn is_consistent(&self) -> bool {
        let mut sum = 0_u64;
        for &length in self.lengths {
            if length < NULL {
                return false;
            }
            sum += length.max(0) as u64;
        }
        sum == self.bytes.len() as u64
    }

    /// Splits off the first `rows` rows, which must be there.
    pub fn split_at(self, rows: usize) -> (Self, Self) {
        let (first, rest) = self.lengths.split_at(rows);
        let (first_bytes, rest_bytes) = self.bytes.split_at(total(first));
        (Self { lengths: first, bytes: first_bytes }, Self { lengths: rest, bytes: rest_bytes })
    }
}

/// The bytes that these lengths stand for.
pub fn total(lengths: &[i32]) -> usize {
    lengths.iter().map(|&length| length.max(0) as usize).sum()
}

/// The rows of a column, in order.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    lengths: std::slice::Iter<'a, i32>,
    bytes: &'a [u8],
}

impl<'a> Iterator for Rows<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = *self.lengths.next()?;
        if length < 0 {
            return Some(None);
        }
        let (row, rest) = self.bytes.split_at(length as usize);
        self.bytes = rest;
        Some(Some(row))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lengths.size_hint()
    }
}

impl ExactSizeIterator for Rows<'_> {}

/// Headers of the rows of a batch. All empty where a pipeline carries none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// How many headers each row has; empty if none are carried.
    pub counts: Vec<u32>,
    /// The names of all headers, in the rows' order; never null.
    pub names: Column,
    /// The values of all headers, in the rows' order.
    pub values: Column,
}

impl Headers {
    /// Whether headers are carried at all.
    pub fn are_carried(&self) -> bool {
        !self.counts.is_empty()
    }

    /// Appends a row's headers.
    pub fn push_row<'a>(&mut self, headers: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) {
        let before = self.names.len();
        for (name, value) in headers {
            self.names.push(Some(name));
            self.values.push(value);
        }
        self.counts.push((self.names.len() - before) as u32);
    }

    /// Appends the headers of all rows of another batch.
    pub fn extend(&mut self, rows: HeadersRef<'_>) {
        self.counts.extend_from_slice(rows.counts);
        self.names.extend(rows.names);
        self.values.extend(rows.values);
    }

    /// The headers as a borrowed view.
    pub fn view(&self) -> HeadersRef<'_> {
        HeadersRef { counts: &self.counts, names: self.names.view(), values: self.values.view() }
    }
}

/// Borrowed [`Headers`], or those of a run of rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadersRef<'a> {
    /// How many headers each row has; empty if none are carried.
    pub counts: &'a [u32],
    /// The names of all headers, in the rows' order.
    pub names: ColumnRef<'a>,
    /// The values of all headers, in the rows' order.
    pub values: ColumnRef<'a>,
}

impl<'a> HeadersRef<'a> {
    fn split_at(self, rows: usize) -> (Self, Self) {
        if self.counts.is_empty() {
            return (self, self);
        }
        let (first, rest) = self.counts.split_at(rows);
        let headers = first.iter().map(|&count| count as usize).sum();
        let (first_names, rest_names) = self.names.split_at(headers);
        let (first_values, rest_values) = self.values.split_at(headers);
        (
            Self { counts: first, names: first_names, values: first_values },
            Self { counts: rest, names: rest_names, values: rest_values },
        )
    }

    /// The headers of each row, in order. Yields nothing where none are carried.
    pub fn rows(self) -> impl Iterator<Item = Vec<(&'a [u8], Option<&'a [u8]>)>> {
        let mut pairs = self.names.iter().zip(self.values.iter());
        self.counts.iter().map(move |&count| {
            pairs.by_ref().take(count as usize).map(|(name, value)| (name.unwrap_or_default(), value)).collect()
        })
    }
}

/// Records in columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Event time of each row in milliseconds since the Unix epoch.
    pub timestamps: Vec<i64>,
    pub keys: Column,
    pub values: Column,
    /// The headers, where carried.
    pub headers: Headers,
}

impl Batch {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// The bytes of all keys and values.
    pub fn payload_bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len()
    }

    /// Appends a row without headers.
    pub fn push(&mut self, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.timestamps.push(timestamp);
        self.keys.push(key);
        self.values.push(value);
    }

    /// Keeps the first rows only.
    pub fn truncate(&mut self, rows: usize) {
        let column = |column: &mut Column, rows: usize| {
            column.lengths.truncate(rows);
            column.bytes.truncate(total(&column.lengths));
        };
        self.timestamps.truncate(rows);
        column(&mut self.keys, rows);
        column(&mut self.values, rows);
        self.headers.counts.truncate(rows);
        let headers = self.headers.counts.iter().map(|&count| count as usize).sum();
        column(&mut self.headers.names, headers);
        column(&mut self.headers.values, headers);
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.keys.clear();
        self.values.clear();
        self.headers.counts.clear();
        self.headers.names.clear();
        self.headers.values.clear();
    }

    /// The batch as a borrowed view.
    pub fn view(&self) -> BatchRef<'_> {
        BatchRef {
            timestamps: &self.timestamps,
            keys: self.keys.view(),
            values: self.values.view(),
            headers: self.headers.view(),
        }
    }
}

/// A borrowed [`Batch`], or a run of its rows.
#[derive(Debug, Clone, Copy, Default)]
pub struct BatchRef<'a> {
    /// Event time of each row in milliseconds since the Unix epoch.
    pub timestamps: &'a [i64],
    pub keys: ColumnRef<'a>,
    pub values: ColumnRef<'a>,
    /// The headers, where carried.
    pub headers: HeadersRef<'a>,
}

impl<'a> BatchRef<'a> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// The bytes of all keys and values.
    pub fn payload_bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len()
    }

    /// The rows as a batch of their own.
    pub fn to_owned(&self) -> Batch {
        let column = |column: ColumnRef<'_>| Column { lengths: column.lengths.to_vec(), bytes: column.bytes.to_vec() };
        Batch {
            timestamps: self.timestamps.to_vec(),
            keys: column(self.keys),
            values: column(self.values),
            headers: Headers {
                counts: self.headers.counts.to_vec(),
                names: column(self.headers.names),
                values: column(self.headers.values),
            },
        }
    }

    /// Splits off the first `rows` rows, which must be there.
    pub fn split_at(self, rows: usize) -> (Self, Self) {
        let (first_timestamps, rest_timestamps) = self.timestamps.split_at(rows);
        let (first_keys, rest_keys) = self.keys.split_at(rows);
        let (first_values, rest_values) = self.values.split_at(rows);
        let (first_headers, rest_headers) = self.headers.split_at(rows);
        (
            Self { timestamps: first_timestamps, keys: first_keys, values: first_values, headers: first_headers },
            Self { timestamps: rest_timestamps, keys: rest_keys, values: rest_values, headers: rest_headers },
        )
    }

    /// How many rows from the first on fit into these bounds; at least one, if there is one.
    pub fn rows_within(&self, rows_max: usize, bytes_max: usize) -> usize {
        let mut bytes = 0;
        let lengths = self.keys.lengths.iter().zip(self.values.lengths).take(rows_max.max(1));
        let fitting = lengths
            .take_while(|(key, value)| {
                bytes += (**key).max(0) as usize + (**value).max(0) as usize;
                bytes <= bytes_max
            })
            .count();
        fitting.max(1).min(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_rows() -> Batch {
        let mut batch = Batch::default();
        batch.push(1, Some(b"a"), Some(b"one"));
        batch.push(2, None, Some(b""));
        batch.push(3, Some(b"ccc"), None);
        for headers in [vec![(&b"h"[..], Some(&b"1"[..]))], vec![], vec![(b"i", None), (b"j", Some(b"22"))]] {
            batch.headers.push_row(headers);
        }
        batch
    }

    #[test]
    fn a_null_is_not_an_empty_value() {
        let batch = three_rows();
        let values: Vec<_> = batch.values.iter().collect();
        assert_eq!(values, [Some(&b"one"[..]), Some(&b""[..]), None]);
    }

    #[test]
    fn splitting_keeps_rows_and_their_headers_together() {
        let batch = three_rows();
        for at in 0..=batch.len() {
            let (first, rest) = batch.view().split_at(at);
            assert_eq!((first.len(), rest.len()), (at, 3 - at));
            let keys: Vec<_> = first.keys.iter().chain(rest.keys.iter()).collect();
            assert_eq!(keys, batch.keys.iter().collect::<Vec<_>>());
            let mut truncated = batch.clone();
            truncated.truncate(at);
            assert_eq!(truncated, first.to_owned());
            let headers: Vec<_> = first.headers.rows().chain(rest.headers.rows()).collect();
            assert_eq!(headers, batch.headers.view().rows().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_row_fits_whatever_its_size() {
        let batch = three_rows();
        assert_eq!(batch.view().rows_within(10, 0), 1);
        assert_eq!(batch.view().rows_within(2, 1000), 2);
        assert_eq!(batch.view().rows_within(10, 4), 2);
        assert_eq!(Batch::default().view().rows_within(10, 4), 0);
    }

    #[test]
    fn lengths_that_do_not_add_up_are_inconsistent() {
        assert!(ColumnRef { lengths: &[1, NULL, 2], bytes: b"abc" }.is_consistent());
        assert!(!ColumnRef { lengths: &[1, -2, 2], bytes: b"abc" }.is_consistent());
        assert!(!ColumnRef { lengths: &[1], bytes: b"" }.is_consistent());
        assert!(!ColumnRef { lengths: &[i32::MAX, i32::MAX], bytes: b"x" }.is_consistent());
    }
}
