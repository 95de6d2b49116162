//! Rows in another order.

use std::ops::Range;

use crate::record::{Batch, BatchRef, Column, ColumnRef, HeadersRef};

/// Where each row of a column begins.
pub(in crate::pipeline) fn starts(column: ColumnRef<'_>) -> Vec<usize> {
    let mut at = 0;
    let begin = |&length: &i32| {
        let begin = at;
        at += length.max(0) as usize;
        begin
    };
    column.lengths.iter().map(begin).collect()
}

/// The row at a place; `starts` says where each begins.
pub(in crate::pipeline) fn row<'a>(column: ColumnRef<'a>, starts: &[usize], place: usize) -> Option<&'a [u8]> {
    let length = usize::try_from(column.lengths[place]).ok()?;
    Some(&column.bytes[starts[place]..starts[place] + length])
}

/// The rows at these places, in their order.
pub(in crate::pipeline) fn gather(rows: BatchRef<'_>, places: &[u32]) -> Batch {
    let mut gathered = Batch {
        timestamps: places.iter().map(|&place| rows.timestamps[place as usize]).collect(),
        keys: gather_column(rows.keys, places),
        values: gather_column(rows.values, places),
        ..Batch::default()
    };
    if !rows.headers.counts.is_empty() {
        let headers: Vec<_> = rows.headers.rows().collect();
        for &place in places {
            gathered.headers.push_row(headers[place as usize].iter().copied());
        }
    }
    gathered
}

/// A column that is not there stays so.
fn gather_column(column: ColumnRef<'_>, places: &[u32]) -> Column {
    if column.is_empty() {
        return Column::default();
    }
    let starts = starts(column);
    let mut gathered =
        Column { lengths: Vec::with_capacity(places.len()), bytes: Vec::with_capacity(column.bytes.len()) };
    for &place in places {
        gathered.push(row(column, &starts, place as usize));
    }
    gathered
}

/// Some consecutive rows. Columns that are not there stay so.
pub(in crate::pipeline) fn slice(rows: BatchRef<'_>, range: Range<usize>) -> BatchRef<'_> {
    if range == (0..rows.len()) {
        return rows;
    }
    let headers = rows.headers;
    let count = |counts: &[u32]| counts.iter().map(|&count| count as usize).sum::<usize>();
    let of_rows = if headers.counts.is_empty() {
        0..0
    } else {
        let before = count(&headers.counts[..range.start]);
        before..before + count(&headers.counts[range.clone()])
    };
    BatchRef {
        timestamps: &rows.timestamps[range.clone()],
        keys: slice_column(rows.keys, range.clone()),
        values: slice_column(rows.values, range.clone()),
        headers: HeadersRef {
            counts: if headers.counts.is_empty() { &[] } else { &headers.counts[range] },
            names: slice_column(headers.names, of_rows.clone()),
            values: slice_column(headers.values, of_rows),
        },
    }
}

fn slice_column(column: ColumnRef<'_>, range: Range<usize>) -> ColumnRef<'_> {
    if column.is_empty() {
        return column;
    }
    let (_, from) = column.split_at(range.start);
    from.split_at(range.len()).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Batch {
        let mut batch = Batch::default();
        for (time, key, value) in [(1, Some("a"), Some("one")), (2, None, Some("")), (3, Some("c"), None)] {
            batch.push(time, key.map(str::as_bytes), value.map(str::as_bytes));
            batch.headers.push_row([(key.unwrap_or("none").as_bytes(), None)].into_iter().skip(usize::from(time == 2)));
        }
        batch
    }

    #[test]
    fn rows_are_taken_in_any_order_with_their_headers() {
        let rows = rows();
        let other = gather(rows.view(), &[2, 0, 1]);
        assert_eq!(other.timestamps, [3, 1, 2]);
        assert_eq!(other.keys, [Some("c"), Some("a"), None].into_iter().collect());
        assert_eq!(other.headers.counts, [1, 1, 0]);
        assert_eq!(gather(other.view(), &[1, 2, 0]), rows);
    }

    #[test]
    fn a_slice_is_what_splitting_gives_and_keeps_what_is_not_there() {
        let rows = rows();
        for start in 0..=3 {
            for end in start..=3 {
                let (_, from) = rows.view().split_at(start);
                let (expected, _) = from.split_at(end - start);
                assert_eq!(slice(rows.view(), start..end).to_owned(), expected.to_owned());
            }
        }
        let bare = BatchRef { timestamps: &rows.timestamps, ..BatchRef::default() };
        assert_eq!(slice(bare, 1..3).timestamps, [2, 3]);
        assert!(slice(bare, 1..3).keys.is_empty() && gather(bare, &[1, 0]).values.is_empty());
    }
}
