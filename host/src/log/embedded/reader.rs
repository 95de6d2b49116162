//! Reading: from the memory tail where it reaches back far enough, else from RocksDB.
//!
//! Only what has been published is given, and that is durable. Batches from the disk are checked: CRC, place, and that
//! none is missing between them, as far as compaction has not made gaps. Records before a fault stay readable; the fault is named when a read begins at it.

use std::ops::Range;

use bytes::Bytes;

use super::keys::{self, Entry};
use super::shared::Shared;
use super::store::corrupt;
use super::topics::{Partition, Topic};
use crate::ids::{Offset, TenantId, TopicPartition};
use crate::log::{Error, Fetched, PartitionInfo, Result, batch};

/// What a fetch is for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) tenant: TenantId,
    pub(super) at: TopicPartition,
    pub(super) from: Offset,
    pub(super) bytes_max: usize,
}

/// What can be answered at once: batches that are all in memory, or an error. `None` if the disk must be asked.
pub(super) fn in_memory(shared: &Shared, wanted: &Wanted) -> Option<Result<Fetched>> {
    let Wanted { tenant, at, from, bytes_max } = wanted;
    let found = || {
        let topic = shared.topics.get(tenant, &at.topic)?;
        let partition = topic.partition(at)?;
        let Some(Seen { info, newest, .. }) = visible(partition, *from, *bytes_max) else {
            return Err(out_of_range(at, *from, partition.lock().info));
        };
        Ok(newest.map(|batches| Fetched { topic_id: topic.id, batches, start: info.start, end: info.end }))
    };
    found().transpose()
}

/// See [`RecordLog::fetch`](crate::log::RecordLog::fetch). Waits for the disk.
pub(super) fn read(shared: &Shared, wanted: &Wanted) -> Result<Fetched> {
    let Wanted { tenant, at, from, bytes_max } = wanted;
    let (from, bytes_max) = (*from, *bytes_max);
    let topic = shared.topics.get(tenant, &at.topic)?;
    let partition = topic.partition(at)?;
    loop {
        let Some(Seen { info, dense_from, newest }) = visible(partition, from, bytes_max) else {
            return Err(out_of_range(at, from, partition.lock().info));
        };
        let batches = match newest {
            Some(batches) => Ok(batches),
            None => stored(shared, &topic, partition, at, from..info.end, dense_from, bytes_max),
        };
        match batches {
            // Compaction has made gaps meanwhile, perhaps the one that was met.
            Err(Error::Corrupt { .. }) if partition.lock().compacted.dense_from > dense_from => {}
            batches => {
                return Ok(Fetched { topic_id: topic.id, batches: batches?, start: info.start, end: info.end });
            }
        }
    }
}

fn out_of_range(at: &TopicPartition, offset: Offset, info: PartitionInfo) -> Error {
    Error::OffsetOutOfRange { at: at.clone(), offset, start: info.start, end: info.end }
}

/// A partition as a read found it.
struct Seen {
    info: PartitionInfo,
    /// Before this offset there may be gaps.
    dense_from: Offset,
    /// The batches, if they are all in memory.
    newest: Option<Vec<Bytes>>,
}

/// The partition as it is now; `None` if the offset is outside of it.
fn visible(partition: &Partition, from: Offset, bytes_max: usize) -> Option<Seen> {
    let visible = partition.lock();
    let info = visible.info;
    let seen = |newest| Some(Seen { info, dense_from: visible.compacted.dense_from, newest });
    if !(info.start..=info.end).contains(&from) {
        return None;
    }
    if from == info.end {
        return seen(Some(Vec::new()));
    }
    if visible.tail.front().is_none_or(|oldest| from < oldest.base) {
        return seen(None);
    }
    let mut fits = Bound { bytes: 0, bytes_max };
    let first = visible.tail.partition_point(|batch| batch.next <= from);
    let fitting = visible.tail.range(first..).take_while(|batch| fits.admits(batch.bytes.len()));
    seen(Some(fitting.map(|batch| batch.bytes.clone()).collect()))
}

/// Lets the first batch pass, and others while they are within a number of bytes together.
struct Bound {
    bytes: usize,
    bytes_max: usize,
}

impl Bound {
    fn admits(&mut self, size: usize) -> bool {
        let first = self.bytes == 0;
        self.bytes += size;
        first || self.bytes <= self.bytes_max
    }
}

/// Batches from the disk: the first that ends after the start of the offsets, which has one before their end, and those
/// after it.
fn stored(
    shared: &Shared,
    topic: &Topic,
    partition: &Partition,
    at: &TopicPartition,
    Range { start: from, end }: Range<Offset>,
    dense_from: Offset,
    bytes_max: usize,
) -> Result<Vec<Bytes>> {
    let mut batches = Vec::new();
    let mut next = from;
    let mut fits = Bound { bytes: 0, bytes_max };
    let range = keys::Range::batches(&topic.tenant, topic.id, partition.number, 0..end);
    let first = Entry::Batch { topic: topic.id, partition: partition.number, base: from }.of(&topic.tenant);
    let scanned = shared.store.view().scan_from(&range, &first, |key, value| {
        let Entry::Batch { base, .. } = key.entry else { return Ok(false) };
        let place = |reason: &str| corrupt(format_args!("batch of `{at}` at offset {base}"), reason);
        let header = batch::verify(value).map_err(|invalid| place(&invalid.to_string()))?;
        if header.base_offset != base {
            return Err(place("it was written for another offset"));
        }
        if header.next_offset() <= next && batches.is_empty() {
            // The last batch before `from`, if that is in a gap.
            return Ok(true);
        }
        let follows = base == next || (base < next && batches.is_empty());
        let is_gap = base > next && base <= dense_from;
        if !follows && !is_gap {
            return Err(corrupt(format_args!("batch of `{at}` at offset {next}"), "it is missing"));
        }
        next = header.next_offset();
        let admitted = fits.admits(value.len());
        if admitted {
            batches.push(Bytes::copy_from_slice(value));
        }
        Ok(admitted)
    });
    if !batches.is_empty() {
        return Ok(batches);
    }
    // Missing or unreadable: perhaps because it went meanwhile.
    if topic.is_deleted() {
        return Err(Error::TopicNotFound { topic: at.topic.clone() });
    }
    let info = partition.lock().info;
    if from < info.start {
        return Err(out_of_range(at, from, info));
    }
    scanned.map_err(|error| match error {
        // RocksDB found it before we did, and does not know whose it is.
        Error::Corrupt { what, reason } if !what.starts_with("batch of") => {
            corrupt(format_args!("batch of `{at}` at offset {from}"), format_args!("{what}: {reason}"))
        }
        error => error,
    })?;
    Err(corrupt(format_args!("batch of `{at}` at offset {from}"), "it is missing"))
}
