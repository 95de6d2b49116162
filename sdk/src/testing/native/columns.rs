//! Between the host's columns and the SDK's, which are alike.

use millstream::plugin as host;
use millstream::record;

use crate::answer::{Parts, Rejects, Rows};
use crate::batch::{Batch, HeaderColumns};
use crate::columns::Column;
use crate::process::{DueTimers, TimerChanges};

pub(super) fn column(column: record::ColumnRef<'_>) -> Column {
    Column { lengths: column.lengths.to_vec(), bytes: column.bytes.to_vec() }
}

pub(super) fn back(column: Column) -> record::Column {
    record::Column { lengths: column.lengths, bytes: column.bytes }
}

pub(super) fn batch(rows: record::BatchRef<'_>) -> Batch {
    let headers = rows.headers;
    Batch {
        timestamps: rows.timestamps.to_vec(),
        keys: column(rows.keys),
        values: column(rows.values),
        headers: HeaderColumns {
            counts: headers.counts.to_vec(),
            names: column(headers.names),
            values: column(headers.values),
        },
    }
}

pub(super) fn emitted(rows: Rows) -> host::Emitted {
    let Rows { source_rows, outputs, timestamps, keys, values, headers } = rows;
    host::Emitted {
        source_rows,
        outputs,
        timestamps,
        keys: back(keys),
        values: back(values),
        headers: record::Headers { counts: headers.counts, names: back(headers.names), values: back(headers.values) },
    }
}

pub(super) fn rejected(rejects: Rejects) -> host::Rejected {
    host::Rejected { rows: rejects.rows, codes: back(rejects.codes), reasons: back(rejects.reasons) }
}

pub(super) fn early(pieces: Vec<Rows>) -> Vec<host::Emitted> {
    pieces.into_iter().map(emitted).collect()
}

pub(super) fn answer(parts: Parts) -> host::Answer {
    host::Answer { early: early(parts.early), emitted: emitted(parts.rows), rejected: rejected(parts.rejected) }
}

pub(super) fn due(timers: &host::Timers) -> DueTimers {
    let host::Timers { groups, ids, times, domains } = timers.clone();
    DueTimers { groups, ids, times, domains }
}

pub(super) fn fired(timers: DueTimers) -> host::Timers {
    let DueTimers { groups, ids, times, domains } = timers;
    host::Timers { groups, ids, times, domains }
}

pub(super) fn timers(changes: TimerChanges) -> host::TimerChanges {
    let TimerChanges { groups, ids, times, domains, sets } = changes;
    host::TimerChanges { timers: host::Timers { groups, ids, times, domains }, sets }
}
