//! The calls of an aggregate over columns, the same natively and in the guest.

use crate::accumulator::Accumulator;
use crate::aggregate::{Aggregate, Window};
use crate::answer::{Answer, Parts, Rejects};
use crate::batch::Batch;
use crate::columns::{Cell, Column};
use crate::error::Error;

/// Folds rows into the accumulators of their groups.
pub(crate) fn add<P: Aggregate>(plugin: &P, groups: &Column, row_groups: &[u32], batch: &Batch) -> (Column, Rejects) {
    let mut accumulators: Vec<P::Accumulator> = groups.cells().map(decode).collect();
    let mut rejected = Rejects::default();
    plugin.add_batch(&mut accumulators, row_groups, batch, &mut rejected);
    (encode(&accumulators, groups.bytes.len()), rejected)
}

/// Merges accumulators pair by pair.
pub(crate) fn merge<P: Aggregate>(plugin: &P, left: &Column, right: &Column) -> Column {
    let merge_pair = |(left, right)| {
        let mut earlier: P::Accumulator = decode(left);
        plugin.merge(&mut earlier, decode(right));
        earlier
    };
    let merged: Vec<_> = left.cells().zip(right.cells()).map(merge_pair).collect();
    encode(&merged, left.bytes.len())
}

/// Makes the results of complete windows.
pub(crate) fn finish<P: Aggregate>(plugin: &P, groups: &Column, keys: Column, starts: &[i64], ends: &[i64]) -> Parts {
    // Windows as rows: a result that sets no key or time takes its window's key and last millisecond.
    let timestamps = ends.iter().map(|end| end.saturating_sub(1)).collect();
    let windows = Batch { timestamps, keys, ..Batch::default() };
    let mut answer = Answer::new(&windows, P::OUTPUTS);
    for (((record, group), &start), &end) in windows.records().zip(groups.cells()).zip(starts).zip(ends) {
        answer.row(record.index, |out| {
            let window = Window { key: record.key, start, end };
            out.emit(plugin.finish(&window, &decode(group))?)?;
            if out.lacks_value() {
                return Err(Error::new("no-value", "the result of a window needs a value of its own"));
            }
            Ok(())
        });
    }
    answer.into_parts()
}

fn encode<A: Accumulator>(accumulators: &[A], size: usize) -> Column {
    let mut column = Column::with_capacity(accumulators.len(), size.max(size_of_val(accumulators)));
    accumulators.iter().for_each(|accumulator| column.push_with(|bytes| accumulator.encode(bytes)));
    column
}

/// An accumulator that cannot be read was written by another plugin, or another version. No row is to blame, so the call
/// fails, and the host says so.
fn decode<A: Accumulator + Default>(cell: Cell<'_>) -> A {
    let Some(mut bytes) = cell.bytes() else { return A::default() };
    let size = bytes.len();
    match A::decode(&mut bytes) {
        Some(accumulator) if bytes.is_empty() => accumulator,
        _ => panic!("an accumulator of {size} bytes is no `{}`", std::any::type_name::<A>()),
    }
}
