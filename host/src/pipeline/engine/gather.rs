//! Rows of a batch taken by their places: in any order, some of them more than once, some of them never.
//!
//! There is one kernel, [`copy`]: it appends consecutive rows of a column to another. What differs is how it finds where
//! rows begin. A [`Walk`] adds up the lengths between one place and the next, which costs no memory and is the fastest
//! where places ascend; an [`Index`] is made once for a column and answers for any place.

use std::ops::Range;
use std::sync::OnceLock;

use crate::record::{Batch, BatchRef, Column, ColumnRef, Headers, HeadersRef};

/// What a row has of something that is stored end to end: bytes of a column, headers of a batch.
pub(in crate::pipeline) trait Extent: Copy {
    /// How much of it.
    fn extent(self) -> usize;
}

/// The length of a row; a null has no bytes.
impl Extent for i32 {
    fn extent(self) -> usize {
        self.max(0) as usize
    }
}

/// The number of a row's headers.
impl Extent for u32 {
    fn extent(self) -> usize {
        self as usize
    }
}

fn sum<E: Extent>(extents: &[E]) -> usize {
    extents.iter().map(|extent| extent.extent()).sum()
}

/// A way to find where rows begin.
pub(in crate::pipeline) trait Locate<E> {
    /// What consecutive rows have, of all that rows of these extents have end to end.
    fn locate(&mut self, extents: &[E], rows: Range<usize>) -> Range<usize>;
}

/// Goes from place to place and remembers where it stands. Every order of places is right, an ascending one is fast.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Walk {
    row: usize,
    begin: usize,
}

impl<E: Extent> Locate<E> for Walk {
    fn locate(&mut self, extents: &[E], rows: Range<usize>) -> Range<usize> {
        if rows.start >= self.row {
            self.begin += sum(&extents[self.row..rows.start]);
        } else {
            self.begin -= sum(&extents[rows.start..self.row]);
        }
        let end = self.begin + sum(&extents[rows.clone()]);
        let begin = std::mem::replace(&mut self.begin, end);
        self.row = rows.end;
        begin..end
    }
}

/// Where each row begins, and after the last one where that ends.
#[derive(Debug)]
pub(in crate::pipeline) struct Index(Vec<usize>);

impl Index {
    fn of<E: Extent>(extents: &[E]) -> Self {
        let mut begins = Vec::with_capacity(extents.len() + 1);
        let mut end = 0;
        begins.push(end);
        begins.extend(extents.iter().map(|extent| {
            end += extent.extent();
            end
        }));
        Self(begins)
    }
}

impl<E> Locate<E> for &Index {
    fn locate(&mut self, _: &[E], rows: Range<usize>) -> Range<usize> {
        self.0[rows.start]..self.0[rows.end]
    }
}

/// The kernel: appends consecutive rows of a column.
#[inline]
fn copy(into: &mut Column, from: ColumnRef<'_>, rows: Range<usize>, locate: &mut impl Locate<i32>) {
    let bytes = locate.locate(from.lengths, rows.clone());
    match &from.lengths[rows] {
        [one] => into.lengths.push(*one),
        lengths => into.lengths.extend_from_slice(lengths),
    }
    into.bytes.extend_from_slice(&from.bytes[bytes]);
}

/// Cuts places into runs of consecutive ones, so that neighbours are copied at once.
#[inline]
fn runs(places: impl Iterator<Item = u32>, mut each: impl FnMut(Range<usize>)) {
    let mut run = 0..0;
    for place in places {
        let place = place as usize;
        if place == run.end && !run.is_empty() {
            run.end += 1;
            continue;
        }
        if !run.is_empty() {
            each(run);
        }
        run = place..place + 1;
    }
    if !run.is_empty() {
        each(run);
    }
}

/// Appends the rows of a column at these places. Nothing of a column that is not there.
pub(in crate::pipeline) fn take(
    into: &mut Column,
    from: ColumnRef<'_>,
    places: impl Iterator<Item = u32>,
    locate: &mut impl Locate<i32>,
) {
    if from.is_empty() {
        return;
    }
    into.lengths.reserve(places.size_hint().0);
    runs(places, |run| copy(into, from, run, locate));
}

/// Appends one row of a column, as [`take`] does.
#[inline]
fn take_one(into: &mut Column, from: ColumnRef<'_>, place: u32, mut index: &Index) {
    if !from.is_empty() {
        copy(into, from, place as usize..place as usize + 1, &mut index);
    }
}

/// How the headers of rows are found: the rows' own, and the bytes of names and values.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct HeadersAt<L> {
    rows: L,
    names: L,
    values: L,
}

/// Appends the headers of the rows at these places. Nothing where none are carried.
pub(in crate::pipeline) fn take_headers<L: Locate<u32> + Locate<i32>>(
    into: &mut Headers,
    from: HeadersRef<'_>,
    places: impl Iterator<Item = u32>,
    at: &mut HeadersAt<L>,
) {
    if from.counts.is_empty() {
        return;
    }
    runs(places, |run| {
        into.counts.extend_from_slice(&from.counts[run.clone()]);
        let headers = at.rows.locate(from.counts, run);
        copy(&mut into.names, from.names, headers.clone(), &mut at.names);
        copy(&mut into.values, from.values, headers, &mut at.values);
    });
}

/// Takes rows of one batch again and again. Where they begin is found once, as far as it is needed.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Taker<'a> {
    rows: BatchRef<'a>,
    keys: OnceLock<Index>,
    values: OnceLock<Index>,
    headers: OnceLock<HeadersAt<Index>>,
}

impl<'a> Taker<'a> {
    /// Of these rows.
    pub(in crate::pipeline) fn new(rows: BatchRef<'a>) -> Self {
        Self { rows, ..Self::default() }
    }

    /// The rows at these places.
    pub(in crate::pipeline) fn take(&self, places: impl Iterator<Item = u32> + Clone) -> Batch {
        let rows = self.rows;
        let mut taken = Batch::default();
        taken.timestamps.extend(places.clone().map(|place| rows.timestamps[place as usize]));
        let count = taken.len();
        taken.keys.bytes.reserve(share(rows.keys, count));
        take(&mut taken.keys, rows.keys, places.clone(), &mut self.key_index());
        taken.values.bytes.reserve(share(rows.values, count));
        take(&mut taken.values, rows.values, places.clone(), &mut self.value_index());
        self.take_headers(&mut taken.headers, places);
        taken
    }

    /// Appends the key of one row.
    pub(in crate::pipeline) fn take_key(&self, into: &mut Column, place: u32) {
        take_one(into, self.rows.keys, place, self.key_index());
    }

    /// Appends the value of one row.
    pub(in crate::pipeline) fn take_value(&self, into: &mut Column, place: u32) {
        take_one(into, self.rows.values, place, self.value_index());
    }

    /// Appends the headers of the rows at these places, if any are carried.
    pub(in crate::pipeline) fn take_headers(&self, into: &mut Headers, places: impl Iterator<Item = u32>) {
        let from = self.rows.headers;
        if from.counts.is_empty() {
            return;
        }
        let index = self.headers.get_or_init(|| HeadersAt {
            rows: Index::of(from.counts),
            names: Index::of(from.names.lengths),
            values: Index::of(from.values.lengths),
        });
        let mut at = HeadersAt { rows: &index.rows, names: &index.names, values: &index.values };
        take_headers(into, from, places, &mut at);
    }

    fn key_index(&self) -> &Index {
        self.keys.get_or_init(|| Index::of(self.rows.keys.lengths))
    }

    fn value_index(&self) -> &Index {
        self.values.get_or_init(|| Index::of(self.rows.values.lengths))
    }
}

/// What so many rows of a column take, if they are as long as the others.
fn share(column: ColumnRef<'_>, rows: usize) -> usize {
    if rows == column.len() { column.bytes.len() } else { column.bytes.len() / column.len().max(1) * rows }
}

/// The rows at these places, in their order.
pub(in crate::pipeline) fn gather(rows: BatchRef<'_>, places: &[u32]) -> Batch {
    if !places.is_sorted() {
        return Taker::new(rows).take(places.iter().copied());
    }
    let mut gathered = Batch::default();
    let all = || places.iter().copied();
    gathered.timestamps.extend(places.iter().map(|&place| rows.timestamps[place as usize]));
    take(&mut gathered.keys, rows.keys, all(), &mut Walk::default());
    take(&mut gathered.values, rows.values, all(), &mut Walk::default());
    take_headers(&mut gathered.headers, rows.headers, all(), &mut HeadersAt::<Walk>::default());
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

/// Some consecutive rows of a column. One that is not there stays so.
pub(in crate::pipeline) fn slice_column(column: ColumnRef<'_>, range: Range<usize>) -> ColumnRef<'_> {
    if column.is_empty() {
        return column;
    }
    let (_, from) = column.split_at(range.start);
    from.split_at(range.len()).0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::NULL;

    fn rows() -> Batch {
        let mut batch = Batch::default();
        for (time, key, value) in [(1, Some("a"), Some("one")), (2, None, Some("")), (3, Some("c"), None)] {
            batch.push(time, key.map(str::as_bytes), value.map(str::as_bytes));
            batch.headers.push_row([(key.unwrap_or("none").as_bytes(), None)].into_iter().skip(usize::from(time == 2)));
        }
        batch
    }

    /// Row by row, and each found from the beginning.
    fn naive(rows: BatchRef<'_>, places: &[u32]) -> Batch {
        let headers: Vec<_> = rows.headers.rows().collect();
        let mut taken = Batch::default();
        for &place in places {
            let place = place as usize;
            taken.timestamps.push(rows.timestamps[place]);
            rows.keys.iter().skip(place).take(1).for_each(|key| taken.keys.push(key));
            rows.values.iter().skip(place).take(1).for_each(|value| taken.values.push(value));
            headers.iter().skip(place).take(1).for_each(|row| taken.headers.push_row(row.iter().copied()));
        }
        taken
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..5)
    }

    fn nullable() -> impl Strategy<Value = Option<Vec<u8>>> {
        proptest::option::of(bytes())
    }

    fn batches() -> impl Strategy<Value = Batch> {
        let headers = proptest::collection::vec((bytes(), nullable()), 0..3);
        let rows = proptest::collection::vec((any::<i64>(), nullable(), nullable(), headers), 1..20);
        (rows, any::<[bool; 3]>()).prop_map(|(rows, [keys, values, headers])| {
            let mut batch = Batch::default();
            for (time, key, value, of_row) in rows {
                batch.push(time, key.as_deref(), value.as_deref());
                batch.headers.push_row(of_row.iter().map(|(name, value)| (name.as_slice(), value.as_deref())));
            }
            // A step that does not read a column does not have it.
            if !keys {
                batch.keys = Column::default();
            }
            if !values {
                batch.values = Column::default();
            }
            if !headers {
                batch.headers = Headers::default();
            }
            batch
        })
    }

    proptest! {
        #[test]
        fn taking_is_taking_row_by_row(batch in batches(), mut places in proptest::collection::vec(0_u32..20, 0..40)) {
            places.iter_mut().for_each(|place| *place %= batch.len() as u32);
            let rows = batch.view();
            let expected = naive(rows, &places);
            prop_assert_eq!(&gather(rows, &places), &expected);
            let taker = Taker::new(rows);
            prop_assert_eq!(&taker.take(places.iter().copied()), &expected);
            // A walk is right for places that go back too, and goes on where it was.
            let (mut keys, mut walk) = (Column::default(), Walk::default());
            for some in places.chunks(3) {
                take(&mut keys, rows.keys, some.iter().copied(), &mut walk);
            }
            prop_assert_eq!(&keys, &expected.keys);
            let (mut keys, mut values) = (Column::default(), Column::default());
            for &place in &places {
                taker.take_key(&mut keys, place);
                taker.take_value(&mut values, place);
            }
            prop_assert_eq!((&keys, &values), (&expected.keys, &expected.values));
            let mut sorted = places.clone();
            sorted.sort_unstable();
            prop_assert_eq!(gather(rows, &sorted), naive(rows, &sorted));
        }
    }

    #[test]
    fn rows_are_taken_in_any_order_with_their_headers() {
        let rows = rows();
        let other = gather(rows.view(), &[2, 0, 1]);
        assert_eq!(other.timestamps, [3, 1, 2]);
        assert_eq!(other.keys, [Some("c"), Some("a"), None].into_iter().collect());
        assert_eq!(other.headers.counts, [1, 1, 0]);
        assert_eq!(gather(other.view(), &[1, 2, 0]), rows);
        let repeated = Taker::new(rows.view()).take([2, 0, 2, 1].into_iter());
        assert_eq!(repeated.values.lengths, [NULL, 3, NULL, 0]);
        assert_eq!(repeated.headers.names, ["c", "a", "c"].map(Some).into_iter().collect());
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
