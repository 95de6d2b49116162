//! Retention: the oldest batches of a partition go, whole ones and never the newest.

use rocksdb::WriteBatch;

use super::format;
use super::keys::{Entry, Range};
use super::shared::Shared;
use super::store::corrupt;
use super::topics::{Partition, Topic};
use crate::ids::{Offset, TopicName};
use crate::log::batch::Header;
use crate::log::{PartitionInfo, Result};

/// Removed bytes that are worth looking after at once: what a blob file holds. Less is given back in passing.
const COMPACT_BYTES_MIN: u64 = 64 << 20;

/// What is to go from a partition.
struct Excess {
    batches: u64,
    records: u64,
    bytes: u64,
    /// Where the partition begins then.
    start: Offset,
}

/// See [`EmbeddedLog::enforce_retention`](super::EmbeddedLog::enforce_retention). Not while compaction changes batches. A
/// partition that cannot be read does not keep the others from being trimmed; its error is answered at the end.
pub(super) fn enforce(shared: &Shared, now_ms: i64) -> Result<u64> {
    let mut gone = 0;
    let mut first_error = None;
    for (name, topic) in shared.topics.all(None) {
        for partition in &topic.partitions {
            match trim(shared, &name, &topic, partition, now_ms) {
                Ok(batches) => gone += batches,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
    }
    first_error.map_or(Ok(gone), Err)
}

fn trim(shared: &Shared, name: &TopicName, topic: &Topic, partition: &Partition, now_ms: i64) -> Result<u64> {
    let info = partition.lock().info;
    let Some(excess) = excess(shared, name, topic, partition, info, now_ms)? else { return Ok(0) };
    let mut guard = shared.writing()?;
    let writing = &mut *guard;
    let mut now = partition.lock().info;
    if topic.is_deleted() || now.start != info.start {
        // The records or the topic were removed meanwhile.
        return Ok(0);
    }
    now.start = excess.start;
    now.bytes -= excess.bytes;
    now.records -= excess.records;
    let mut batch = WriteBatch::default();
    let removed = Range::batches(&topic.tenant, topic.id, partition.number, 0..excess.start);
    shared.store.delete_range(&mut batch, &removed);
    let of = (topic.id, partition.number);
    writing.producers.trim(&shared.store.view(), &mut batch, &topic.tenant, of, excess.start)?;
    let entry = Entry::Partition { topic: topic.id, partition: partition.number };
    let value = writing.sealer.seal(&[&format::encode_partition(&now)]);
    shared.store.put(&mut batch, &entry.of(&topic.tenant), value);
    let mut compacted = partition.lock().compacted;
    if topic.config.cleanup.compacts() {
        compacted.trim(excess.start, excess.bytes);
        let entry = Entry::Progress { topic: topic.id, partition: partition.number };
        let value = writing.sealer.seal(&[&format::encode_progress(&compacted)]);
        shared.store.put(&mut batch, &entry.of(&topic.tenant), value);
    }
    // First hidden, then deleted: a reader that misses a batch looks whether it is below the start.
    {
        let mut visible = partition.lock();
        (visible.info, visible.compacted) = (now, compacted);
    }
    writing.tail.trim(partition, excess.start);
    // Without a sync: should it be lost, the records are there once more and go the next time.
    shared.write_lazily(batch)?;
    drop(guard);
    if excess.bytes >= COMPACT_BYTES_MIN {
        shared.store.compact(&removed);
    }
    Ok(excess.batches)
}

fn excess(
    shared: &Shared,
    name: &TopicName,
    topic: &Topic,
    partition: &Partition,
    info: PartitionInfo,
    now_ms: i64,
) -> Result<Option<Excess>> {
    let (expires_before, bytes_max) = (topic.config.expires_before(now_ms), topic.config.retention_bytes);
    // Most partitions are within their size and need no look at the disk.
    if expires_before.is_none() && bytes_max.is_none_or(|most| info.bytes <= most) {
        return Ok(None);
    }
    let mut excess = Excess { batches: 0, records: 0, bytes: 0, start: info.start };
    let range = Range::batches(&topic.tenant, topic.id, partition.number, info.start..info.end);
    shared.store.view().scan(&range, |_, value| {
        let header = Header::parse(value).map_err(|invalid| {
            corrupt(format_args!("batch of `{name}/{}` at offset {}", partition.number, excess.start), invalid)
        })?;
        let is_newest = header.next_offset() >= info.end;
        let too_many = bytes_max.is_some_and(|most| info.bytes - excess.bytes > most);
        let too_old = expires_before.is_some_and(|before| header.max_timestamp < before);
        if is_newest || !(too_many || too_old) {
            return Ok(false);
        }
        excess.batches += 1;
        excess.records += u64::from(header.count);
        excess.bytes += value.len() as u64;
        excess.start = header.next_offset();
        Ok(true)
    })?;
    Ok((excess.batches > 0).then_some(excess))
}
