//! From a guest's answer to rows: what the guest left "as source" is filled in.

use super::gather::{HeadersAt, Walk, take, take_headers};
use crate::plugin::{AS_SOURCE, Emitted};
use crate::record::{Batch, BatchRef, Column, ColumnRef, total};

/// Rows on their way through a stage, each with the input row that it comes from.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct StageRows {
    pub(in crate::pipeline) batch: Batch,
    /// The row of the stage's input that each comes from.
    pub(in crate::pipeline) origins: Vec<u32>,
}

impl StageRows {
    /// Appends what a guest emitted for `source`, whose rows have these origins.
    ///
    /// The answer has been checked by the sandbox: source rows exist and never descend, columns are consistent.
    pub(in crate::pipeline) fn append(&mut self, source: BatchRef<'_>, origins: Origins<'_>, emitted: &Emitted) {
        let rows = emitted.source_rows.as_slice();
        let same = rows.len() == source.len() && (0..).zip(rows).all(|(at, &row)| at == row);
        self.origins.extend(rows.iter().map(|&row| origins.of(row)));
        let timestamps = &mut self.batch.timestamps;
        match (emitted.timestamps.is_empty(), same) {
            (false, _) => timestamps.extend_from_slice(&emitted.timestamps),
            (true, true) => timestamps.extend_from_slice(source.timestamps),
            (true, false) => timestamps.extend(rows.iter().map(|&row| source.timestamps[row as usize])),
        }
        append_column(&mut self.batch.keys, &emitted.keys, source.keys, rows, same);
        append_column(&mut self.batch.values, &emitted.values, source.values, rows, same);
        let headers = &mut self.batch.headers;
        if emitted.headers.are_carried() {
            headers.extend(emitted.headers.view());
        } else {
            take_headers(headers, source.headers, rows.iter().copied(), &mut HeadersAt::<Walk>::default());
        }
    }
}

/// The input rows that rows come from.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) enum Origins<'a> {
    /// Row by row, from this one on.
    From(u32),
    /// As listed.
    Listed(&'a [u32]),
}

impl Origins<'_> {
    /// The origin of a row.
    pub(in crate::pipeline) fn of(self, row: u32) -> u32 {
        match self {
            Self::From(first) => first + row,
            Self::Listed(origins) => origins[row as usize],
        }
    }

    /// The origins of the rows from this place on.
    pub(in crate::pipeline) fn skip(self, rows: usize) -> Self {
        match self {
            Self::From(first) => Self::From(first + rows as u32),
            Self::Listed(origins) => Self::Listed(&origins[rows..]),
        }
    }
}

/// Appends one column. `same` says that the rows are the source's, one by one.
fn append_column(into: &mut Column, emitted: &Column, source: ColumnRef<'_>, rows: &[u32], same: bool) {
    if emitted.is_empty() {
        if same {
            into.extend(source);
        } else {
            take(into, source, rows.iter().copied(), &mut Walk::default());
        }
    } else if emitted.lengths.contains(&AS_SOURCE) {
        mix(into, source, rows, emitted);
    } else {
        into.extend(emitted.view());
    }
}

/// Takes what is given from `emitted`, and the rest from the source.
fn mix(into: &mut Column, source: ColumnRef<'_>, rows: &[u32], emitted: &Column) {
    let (mut given, mut walk, mut at) = (emitted.bytes.as_slice(), Walk::default(), 0);
    for lengths in emitted.lengths.chunk_by(|one, other| (*one == AS_SOURCE) == (*other == AS_SOURCE)) {
        let end = at + lengths.len();
        if lengths[0] == AS_SOURCE {
            take(into, source, rows[at..end].iter().copied(), &mut walk);
        } else {
            let (bytes, rest) = given.split_at(total(lengths));
            given = rest;
            into.extend(ColumnRef { lengths, bytes });
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Headers, NULL};

    fn source() -> Batch {
        let mut batch = Batch::default();
        for (time, key, value) in [(1, Some("a"), Some("one")), (2, None, Some("two")), (3, Some("c"), None)] {
            batch.push(time, key.map(str::as_bytes), value.map(str::as_bytes));
            batch.headers.push_row([(key.unwrap_or("none").as_bytes(), None)]);
        }
        batch
    }

    fn appended(emitted: &Emitted) -> StageRows {
        let mut rows = StageRows::default();
        rows.append(source().view(), Origins::From(10), emitted);
        rows
    }

    #[test]
    fn rows_that_pass_are_the_source_rows() {
        let rows = appended(&Emitted { source_rows: vec![0, 1, 2], ..Emitted::default() });
        assert_eq!((rows.batch, rows.origins), (source(), vec![10, 11, 12]));
    }

    #[test]
    fn dropped_and_repeated_rows_keep_their_columns_together() {
        let rows = appended(&Emitted { source_rows: vec![0, 2, 2], ..Emitted::default() });
        let expected: Column = [Some("a"), Some("c"), Some("c")].into_iter().collect();
        assert_eq!((&rows.batch.keys, rows.batch.timestamps.as_slice()), (&expected, &[1, 3, 3][..]));
        assert_eq!(rows.batch.values, [Some("one"), None, None].into_iter().collect());
        assert_eq!(rows.batch.headers.names, expected);
        assert_eq!(rows.origins, [10, 12, 12]);
    }

    #[test]
    fn new_and_kept_values_may_be_mixed() {
        let values = Column { lengths: vec![AS_SOURCE, 3, NULL, AS_SOURCE], bytes: b"new".to_vec() };
        let emitted = Emitted {
            source_rows: vec![0, 0, 1, 1],
            timestamps: vec![9, 8, 7, 6],
            keys: [Some("k"), None, Some(""), Some("l")].into_iter().collect(),
            values,
            headers: Headers { counts: vec![0; 4], ..Headers::default() },
            ..Emitted::default()
        };
        let rows = appended(&emitted);
        assert_eq!(rows.batch.values, [Some("one"), Some("new"), None, Some("two")].into_iter().collect());
        assert_eq!((&rows.batch.keys, &rows.batch.timestamps), (&emitted.keys, &emitted.timestamps));
        assert_eq!(rows.batch.headers, emitted.headers);
    }

    #[test]
    fn origins_lead_through_several_steps() {
        let mut rows = StageRows::default();
        let emitted = Emitted { source_rows: vec![1, 2], ..Emitted::default() };
        rows.append(source().view(), Origins::Listed(&[4, 7, 9]), &emitted);
        assert_eq!(rows.origins, [7, 9]);
    }
}
