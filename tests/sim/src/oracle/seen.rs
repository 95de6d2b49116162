//! What was seen in the log.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use millstream::ids::{Offset, TopicId, TopicName, TopicPartition};
use millstream::log::{Commit, batch};
use millstream::record::Batch;

use crate::naive::Row;

/// A record of a source.
#[derive(Debug, Clone)]
pub(super) struct SeenRow {
    pub(super) row: Row,
    /// When it was written.
    pub(super) order: u64,
}

/// A commit.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) sequence: u64,
    /// Where the pipeline is after it; empty before it has said so.
    pub(super) positions: BTreeMap<TopicPartition, Offset>,
    /// The topics in which these places are.
    pub(super) ids: BTreeMap<TopicPartition, TopicId>,
    /// What it gave.
    pub(super) rows: Vec<(TopicName, Row)>,
}

impl Seen {
    pub(super) fn new(commit: &Commit, before: Option<&Self>) -> Self {
        let mut positions = before.map(|before| before.positions.clone()).unwrap_or_default();
        let mut ids = before.map(|before| before.ids.clone()).unwrap_or_default();
        positions.extend(commit.positions.iter().map(|(at, position)| (at.clone(), position.offset)));
        ids.extend(commit.positions.iter().map(|(at, position)| (at.clone(), position.topic_id)));
        let rows = commit.outputs.iter().flat_map(|(at, bytes)| {
            let topic = at.topic.clone();
            rows_of(bytes).into_iter().map(move |row| (topic.clone(), row))
        });
        Self { sequence: commit.sequence, positions, ids, rows: rows.collect() }
    }
}

/// Commits one after the other that may read nothing and give nothing. Inputs that fall idle and windows of rejected rows
/// make some.
pub(super) const STILL_MAX: usize = 24;

impl Seen {
    /// Whether it is one of very many that read nothing and gave nothing.
    pub(super) fn says_nothing_after(&self, before: &[Self]) -> bool {
        let still = |one: &Self| one.rows.is_empty() && one.positions == self.positions && !one.positions.is_empty();
        still(self) && before.len() >= STILL_MAX && before[before.len() - STILL_MAX..].iter().all(still)
    }

    /// A place at which it goes on in a topic that has been deleted and made again since.
    pub(super) fn outlived(&self, next: &Self) -> Option<String> {
        let read = self.positions.iter().filter(|(at, offset)| **offset > 0 && next.positions.get(at) != Some(offset));
        let mut outlived = read.filter(|(at, _)| self.ids.get(*at) != next.ids.get(*at));
        outlived.next().map(|(at, offset)| format!("{at}:{offset}"))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at")?;
        for (at, offset) in &self.positions {
            write!(f, " {at}:{offset}")?;
        }
        write!(f, ", {} rows", self.rows.len())
    }
}

/// The rows of record batches.
pub(super) fn rows_of(batches: &Bytes) -> Vec<Row> {
    let mut rows = Batch::default();
    for found in batch::split(batches.clone()) {
        let Ok((header, bytes)) = found else { continue };
        batch::decode(&bytes, header.base_offset, false, &mut rows).expect("the log has checked it");
    }
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let columns = rows.timestamps.iter().zip(rows.keys.iter()).zip(rows.values.iter());
    columns.map(|((&time, key), value)| Row { time, key: text(key), value: text(value).unwrap_or_default() }).collect()
}
