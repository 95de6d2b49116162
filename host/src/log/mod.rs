//! The durable log: topics, their partitions, and the commits of pipelines.
//!
//! The log is the truth: what a pipeline knows (its place in its inputs, its state) is read back from its commits. This
//! module owns the contract; [`memory`] is the model of it, [`embedded`] the RocksDB log, and `conformance` the suite
//! that both pass. Records are stored as Kafka record batches (format v2, [`batch`]), byte for byte as they came but for
//! the base offset, until compaction leaves records out.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::ids::{Offset, PartitionId, PipelineId, TenantId, TopicName, TopicPartition};

mod admit;
pub mod batch;
mod compaction;
mod config;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(feature = "server")]
pub mod embedded;
mod error;
pub mod memory;
mod producer;

pub use admit::Limits;
pub use config::{Cleanup, PARTITIONS_MAX, TOMBSTONE_RETENTION, TopicConfig};
pub use error::Error;

/// A result of the log.
pub type Result<T> = std::result::Result<T, Error>;

/// An answer that comes when it is durable.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A log of many tenants.
///
/// # Contract
/// - **Durability.** When [`append`](Log::append) or [`commit`](Log::commit) has answered `Ok`, what it wrote survives a
///   crash of the process; under [`Durability::Fsync`] it survives a loss of power too. What has not answered may or may
///   not survive, but a commit and a call of `append` are each there whole or not at all.
/// - **Order.** Writes take effect in the order in which their futures are first polled. The first record of a partition
///   gets offset 0 and each next record one more. A record keeps its offset as long as it exists, and no other gets it.
/// - **Gaps.** Records go in two ways. [Retention](Log::enforce_retention) removes the oldest batches and moves the
///   partition's start. [Compaction](Log::compact), only of topics that have it, removes records between others, or
///   whole batches, and moves nothing: a batch that is left covers the offsets that it covered before, and holds at least
///   one record. The newest batch of a partition is never removed or changed. So in other topics all offsets from the
///   start to the end have a record; in compacted ones there may be gaps before the newest batch, within batches and
///   between them, and the offset before the end always has a record.
/// - **Newest of a key.** In a compacted topic every record has a key; one without is refused. Whatever has been
///   compacted, who reads from an offset on is given the newest record of each key that has one there, unless that is a
///   deletion (a null value), kept for the topic's time. No read gives a record of a key after a newer one of it.
/// - **Visibility.** [`read`](Log::read) gives nothing that is not durable, and everything that has been answered and not
///   been removed since.
/// - **Idempotence.** A batch with a producer id and the sequence of one of the last five that the partition has taken
///   from it is not written again; its first offset is answered. A sequence that leaves a hole is refused; a producer
///   whose last batch lay before the partition's start may begin anywhere. A [`Commit`] whose sequence is not the one after the last is
///   refused, so that of two writers one loses.
/// - **Cancellation.** Dropping a future that was polled leaves open whether it takes effect; nothing is torn.
/// - **Tenants.** A name means what it means to this tenant. No call can see or change what another tenant has.
pub trait Log: Send + Sync + std::fmt::Debug {
    /// Makes a topic, durably. Making it again with the same configuration changes nothing; with another is a conflict.
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Result<()>;

    /// Removes a topic and its records. A topic made later under the same name has none of them.
    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Result<()>;

    /// All topics of a tenant, by name.
    fn topics(&self, tenant: &TenantId) -> Result<BTreeMap<TopicName, TopicInfo>>;

    /// Appends record batches (v2, end to end) to a partition, all or none, and answers where they begin.
    /// The batches are checked: magic, length, CRC, and record count against the codec's content. An empty `batches` is invalid.
    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended>;

    /// Reads whole record batches that end after `from`, in order: at least one, unless `from` is the end, and then no
    /// more than `bytes_max`. The first may begin before `from`; where records were compacted it may begin after it, and
    /// may hold no record at or after `from`, but covers it: the next record is in the next batch then. Below the start is
    /// [`Error::OffsetOutOfRange`], as is past the end; at the end there is nothing, which is no error.
    fn read(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Fetched>;

    /// Writes what one micro-batch did: all of it or nothing.
    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed>;

    /// Reads back what the commits of a pipeline amount to. `each` gets the blocks that are still needed and have a
    /// greater number than `after`, with their numbers, in order and one at a time, and may end the reading with `Break`.
    /// Blocks and answer are of one moment, whatever is committed meanwhile. A block that is missing is an error.
    fn replay(
        &self,
        tenant: &TenantId,
        pipeline: PipelineId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head>;

    /// The same with all blocks at once. A pipeline that never committed has an empty recovery.
    fn recover(&self, tenant: &TenantId, pipeline: PipelineId) -> Result<Recovery> {
        let mut blocks = Vec::new();
        let head = self.replay(tenant, pipeline, 0, &mut |number, block| {
            blocks.push((number, block));
            ControlFlow::Continue(())
        })?;
        Ok(Recovery { head, blocks })
    }

    /// Forgets the commits of a pipeline; its outputs stay. Forgetting what is not there changes nothing.
    fn forget(&self, tenant: &TenantId, pipeline: PipelineId) -> Result<()>;

    /// All pipelines that have committed and are not forgotten.
    fn pipelines(&self) -> Result<Vec<(TenantId, PipelineId)>>;

    /// A number that changes whenever records of the topic become visible, and whose sender is dropped with the topic.
    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>>;

    /// Removes the oldest batches of all partitions that exceed their topic's retention, whole batches only and never
    /// the newest; `now_ms` is compared with the batches' largest timestamps. Answers how many batches went.
    fn enforce_retention(&self, now_ms: i64) -> Result<u64>;

    /// Does a bounded piece of the work of compacting the partitions of all topics that have it, where that is worth its
    /// cost: where there are records that have not been looked at and the dirty bytes, those never compacted, are at least
    /// half, or where deletions have been kept for their time, which ends at or before `now_ms`. Answers how many records
    /// went, and whether to call again for the rest. Appends and reads go on meanwhile. After a crash at any moment, and
    /// after an error, the contract holds for what is there, and the work is taken up again by later calls.
    fn compact(&self, now_ms: i64) -> Result<Compacted>;
}

/// What an acknowledged write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Loss of power: the answer comes after `fsync`.
    #[default]
    Fsync,
    /// A crash of the process: the answer comes when the operating system has the bytes.
    Os,
}

/// A topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicInfo {
    /// How it is kept.
    pub config: TopicConfig,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// No record before this offset is kept, and reads may begin here; `end` if nothing is.
    pub start: Offset,
    /// The offset that the next record gets.
    pub end: Offset,
    /// Records that are kept: `end - start`, less those that compaction removed.
    pub records: u64,
    /// Bytes of the batches that are kept.
    pub bytes: u64,
}

/// What a piece of compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Records that went.
    pub removed: u64,
    /// Whether there is more to do now.
    pub more: bool,
}

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset after the last record.
    pub next_offset: Offset,
    /// Whether the batches had been written before by the same producer.
    pub duplicate: bool,
}

/// What a read gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// Whole record batches in order, each with its offsets.
    pub batches: Vec<Bytes>,
    /// The oldest record of the partition.
    pub start: Offset,
    /// The end of the partition when it was read.
    pub end: Offset,
}

/// What one micro-batch of a pipeline did.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// The number of this commit: one more than the last, the first is 1.
    pub sequence: u64,
    /// For each input that moved, the next record to read.
    pub positions: Vec<(TopicPartition, Offset)>,
    /// Record batches to append (results, late rows, dead letters), in order; several may go to one partition.
    pub outputs: Vec<(TopicPartition, Bytes)>,
    /// What changed in the pipeline's state.
    pub block: Block,
    /// The pipeline's counters after this commit, opaque to the log.
    pub usage: Bytes,
}

/// A block of state changes. Its content is opaque to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// No change.
    None,
    /// Changes since the block before, as absolute values.
    Some {
        /// The content.
        bytes: Bytes,
        /// The number of the oldest commit whose block is still needed; the log forgets those before it in the same
        /// write. It never goes back: a smaller number than one before says nothing new. Its own commit's number, or a
        /// greater one, says that this block is the whole state.
        oldest: u64,
    },
}

/// A commit that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Base offset of each output, in the order of [`Commit::outputs`].
    pub base_offsets: Vec<Offset>,
}

/// What the commits of a pipeline amount to, but for their blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The number of the last commit; 0 if there was none.
    pub sequence: u64,
    /// The number of the last commit that had a block; 0 if there was none.
    pub last_block: u64,
    /// The number of the oldest commit whose block is still needed, as blocks state it; 0 if none did.
    pub oldest: u64,
    /// For each input that was read, the next record to read.
    pub positions: BTreeMap<TopicPartition, Offset>,
    /// The counters of the last commit; empty if there was none.
    pub usage: Bytes,
}

/// What the commits of a pipeline amount to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// All but the blocks.
    pub head: Head,
    /// The blocks that are still needed, each with the number of its commit, in order.
    pub blocks: Vec<(u64, Bytes)>,
}

/// The partition of a key as Kafka's default partitioner chooses it.
pub fn partition_of(key: &[u8], partitions: u32) -> PartitionId {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2 with the seed and finish of Kafka's clients.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in words.by_ref() {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    for (place, &byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn keys_go_where_kafkas_clients_send_them() {
        for (key, hash) in
            [("21", -973_932_308_i32), ("foobar", -790_332_482), ("a-little-bit-long-string", -985_981_536)]
        {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        assert_eq!(partition_of(b"anything", 1), 0);
    }
}
