//! Between the contract's records and the SDK's columns, by moving the vectors.

use super::bindings::lifecycle::millstream::plugin::types;
use crate::answer::{Parts, Rejects, Rows};
use crate::batch::{Batch, HeaderColumns};
use crate::columns::Column;

pub(super) fn column(lengths: Vec<i32>, bytes: Vec<u8>) -> Column {
    Column { lengths, bytes }
}

pub(super) fn batch(batch: types::Batch) -> Batch {
    Batch {
        timestamps: batch.timestamps,
        keys: column(batch.key_lengths, batch.keys),
        values: column(batch.value_lengths, batch.values),
        headers: HeaderColumns {
            counts: batch.headers.counts,
            names: column(batch.headers.name_lengths, batch.headers.names),
            values: column(batch.headers.value_lengths, batch.headers.values),
        },
    }
}

pub(super) fn answer(parts: Parts) -> types::Answer {
    types::Answer { rows: rows(parts.rows), rejected: rejects(parts.rejected) }
}

/// Rows without any, in the memory of these.
pub(super) fn emptied(rows: types::Rows) -> Rows {
    fn emptied<T>(mut list: Vec<T>) -> Vec<T> {
        list.clear();
        list
    }
    Rows {
        source_rows: emptied(rows.source_rows),
        outputs: emptied(rows.outputs),
        timestamps: emptied(rows.timestamps),
        keys: column(emptied(rows.key_lengths), emptied(rows.keys)),
        values: column(emptied(rows.value_lengths), emptied(rows.values)),
        headers: HeaderColumns::default(),
    }
}

pub(super) fn rows(rows: Rows) -> types::Rows {
    types::Rows {
        source_rows: rows.source_rows,
        outputs: rows.outputs,
        timestamps: rows.timestamps,
        key_lengths: rows.keys.lengths,
        keys: rows.keys.bytes,
        value_lengths: rows.values.lengths,
        values: rows.values.bytes,
        headers: types::Headers {
            counts: rows.headers.counts,
            name_lengths: rows.headers.names.lengths,
            names: rows.headers.names.bytes,
            value_lengths: rows.headers.values.lengths,
            values: rows.headers.values.bytes,
        },
    }
}

pub(super) fn rejects(rejected: Rejects) -> types::Rejects {
    types::Rejects {
        rows: rejected.rows,
        code_lengths: rejected.codes.lengths,
        codes: rejected.codes.bytes,
        reason_lengths: rejected.reasons.lengths,
        reasons: rejected.reasons.bytes,
    }
}
