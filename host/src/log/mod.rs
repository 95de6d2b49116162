//! The durable log: topics, their partitions, and the commits of pipelines.
//!
//! The log is the source of truth: positions and state of a pipeline are read back from its commits. This
//! module owns the contract ([`Log`]); [`memory`] is the model of it, [`embedded`] the RocksDB log, and `conformance` the suite
//! that both pass. Records are stored as Kafka record batches (format v2, [`batch`]), byte for byte as they came but for
//! the base offset and a largest timestamp that is not that of the records, until compaction leaves records out.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{Offset, PartitionId, TaskId, TopicId, TopicPartition};

mod admit;
pub mod batch;
mod compaction;
mod config;
#[cfg(test)]
pub(crate) mod conformance;
mod contract;
#[cfg(feature = "server")]
pub mod embedded;
mod error;
mod layer;
pub mod memory;
mod producer;

pub use admit::Limits;
pub use config::{Cleanup, PARTITIONS_MAX, TOMBSTONE_RETENTION, TopicConfig};
pub use contract::{CommitLog, Log, RecordLog, TopicAdmin};
pub use error::Error;
pub use layer::Layer;

/// A result of the log.
pub type Result<T> = std::result::Result<T, Error>;

/// An answer that comes when it is durable.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

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
    /// Which topic it is, whatever its name.
    pub id: TopicId,
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

/// What a fetch gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The topic that has the name now.
    pub topic_id: TopicId,
    /// Whole record batches in order, each with its offsets.
    pub batches: Vec<Bytes>,
    /// The oldest record of the partition.
    pub start: Offset,
    /// The end of the partition when it was read.
    pub end: Offset,
}

/// A place in a partition, with the topic whose place it is: one that is made again under the name has other records at
/// the same offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub topic_id: TopicId,
    /// The next record to read.
    pub offset: Offset,
}

/// What one micro-batch of a task did.
#[derive(Debug, Clone)]
pub struct Commit {
    pub task: TaskId,
    /// Which run of it commits, as [`CommitLog::fence`] answered.
    pub epoch: u64,
    /// The number of this commit: one more than the last, the first is 1.
    pub sequence: u64,
    /// For each input that moved, the next record to read.
    pub positions: Vec<(TopicPartition, Position)>,
    /// Record batches to append (results, late rows, dead letters), in order; several may go to one partition.
    pub outputs: Vec<(TopicPartition, Bytes)>,
    /// What changed in the task's state.
    pub block: Block,
    /// The task's counters after this commit, opaque to the log.
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

/// A task that has one writer again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    /// The epoch under which it may commit now.
    pub epoch: u64,
    /// What all commits of older epochs amount to: none will be added to these.
    pub head: Head,
}

/// What the commits of a task amount to, but for their blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub task: TaskId,
    /// The epoch under which it takes commits; 0 if it takes none.
    pub epoch: u64,
    /// The number of the last commit; 0 if there was none.
    pub sequence: u64,
    /// The number of the last commit that had a block; 0 if there was none.
    pub last_block: u64,
    /// The number of the oldest commit whose block is still needed, as blocks state it; 0 if none did.
    pub oldest: u64,
    /// For each input that was read, the next record to read.
    pub positions: BTreeMap<TopicPartition, Position>,
    /// The counters of the last commit; empty if there was none.
    pub usage: Bytes,
}

impl Head {
    /// That of a task that has neither committed nor been fenced.
    pub const fn empty(task: TaskId) -> Self {
        Self { task, epoch: 0, sequence: 0, last_block: 0, oldest: 0, positions: BTreeMap::new(), usage: Bytes::new() }
    }
}

/// What the commits of a task amount to.
#[derive(Debug, Clone, PartialEq, Eq)]
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
