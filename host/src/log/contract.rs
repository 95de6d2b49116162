//! The contract of a log, divided by who calls it: [`TopicAdmin`] for topics, [`RecordLog`] for their records,
//! [`CommitLog`] for what pipelines know. A backend has all three; [`Log`] is their sum.
//!
//! How old records leave a topic is the backend's own business and not in the contract: the embedded log and the model have
//! methods for it, Kafka's brokers do it by themselves.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bytes::Bytes;
use tokio::sync::watch;

use super::{Appended, Commit, Committed, Fenced, Fetched, Head, Pending, Recovery, Result, TopicConfig, TopicInfo};
use crate::ids::{Offset, TaskId, TenantId, TopicName, TopicPartition};

/// A log of many tenants.
///
/// # Contract
/// What holds for all three parts:
/// - **Durability.** When a call has answered `Ok`, what it wrote survives a crash of the process; under
///   [`Durability::Fsync`](super::Durability::Fsync) it survives a loss of power too. What has not answered may or may not
///   survive, but each call is there whole or not at all.
/// - **Order.** Writes take effect in the order in which their futures are first polled.
/// - **Cancellation.** Dropping a future that was polled leaves open whether it takes effect; nothing is torn.
/// - **Tenants.** A name means what it means to this tenant. No call can see or change what another tenant has.
pub trait Log: TopicAdmin + RecordLog + CommitLog {}

impl<T: TopicAdmin + RecordLog + CommitLog + ?Sized> Log for T {}

/// Topics come and go.
///
/// # Contract
/// A topic has an id ([`TopicInfo::id`]) that the log gives once: a topic that is made again under the name of a deleted one
/// has another id and none of its records. Whoever keeps an offset keeps the id beside it
/// ([`Position`](super::Position)), or cannot tell which topic's offset it is.
///
/// Whoever polls an answer is not held up by a disk or a broker. Changes take their place in the order of writes, among
/// appends and commits: what is appended after a topic was made, in that order, is in that topic.
pub trait TopicAdmin: Send + Sync + std::fmt::Debug {
    /// Makes a topic, durably. Making it again with the same configuration changes nothing; with another is a conflict.
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Pending<()>;

    /// Removes a topic and its records.
    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<()>;

    /// One topic as it is now.
    fn topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<TopicInfo>;

    /// All topics of a tenant as they are now, by name.
    fn topics(&self, tenant: &TenantId) -> Pending<BTreeMap<TopicName, TopicInfo>>;
}

/// The records of topics.
///
/// # Contract
/// - **Offsets.** The first record of a partition gets offset 0 and each next record one more. A record keeps its offset as
///   long as it exists, and no other record of the topic gets it.
/// - **Gaps.** Records go in two ways. Retention removes the oldest batches and moves the partition's start. Compaction, only
///   of topics that have it, removes records between others, or whole batches, and moves nothing: a batch that is left covers
///   the offsets that it covered before, and holds at least one record. The newest batch of a partition is never removed or
///   changed. So in other topics all offsets from the start to the end have a record; in compacted ones there may be gaps
///   before the newest batch, within batches and between them, and the offset before the end always has a record.
/// - **Newest of a key.** In a compacted topic every record has a key; one without is refused. Whatever has been compacted,
///   who reads from an offset on is given the newest record of each key that has one there, unless that is a deletion (a null
///   value), kept for the topic's time. No fetch gives a record of a key after a newer one of it.
/// - **Visibility.** [`fetch`](RecordLog::fetch) gives nothing that is not durable, and everything that has been answered and
///   not been removed since.
/// - **Idempotence.** A batch with a producer id and the sequence of one of the last five that the partition has taken from
///   it is not written again; its first offset is answered. A sequence that leaves a hole is refused; a producer whose last
///   batch lay before the partition's start may begin anywhere.
pub trait RecordLog: Send + Sync + std::fmt::Debug {
    /// Appends record batches (v2, end to end) to a partition, all or none, and answers where they begin.
    /// The batches are checked: magic, length, CRC, and record count against the codec's content. An empty `batches` is
    /// invalid.
    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended>;

    /// Reads whole record batches that end after `from`, in order: at least one, unless `from` is the end, and then no
    /// more than `bytes_max`. The first may begin before `from`; where records were compacted it may begin after it, and
    /// may hold no record at or after `from`, but covers it: the next record is in the next batch then. Below the start is
    /// [`Error::OffsetOutOfRange`](super::Error::OffsetOutOfRange), as is past the end; at the end there is nothing, which
    /// is no error. It answers with what is there and does not wait for more; whoever polls it is not held up by a disk or
    /// a broker.
    fn fetch(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Pending<Fetched>;

    /// A number that changes whenever records of the topic become visible, and whose sender is dropped with the topic.
    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>>;
}

/// What the tasks of pipelines know: where they are in their inputs, their state, their counters.
///
/// # Contract
/// - **One writer.** Who commits for a task has [fenced](CommitLog::fence) it and holds the epoch that was answered. A fence
///   takes its place in the order of writes: every commit of an older epoch is either written before it, and in the head
///   that it answers, or refused with [`Error::Fenced`](super::Error::Fenced), for ever. So of two runs of a task only the
///   newer one can write, and the older learns it with its next commit.
/// - **Epochs** are durable. Each is greater than all that the log has given to the task before, also across a restart and
///   after the task was forgotten. A task that was never fenced, or was forgotten since, takes no commit.
/// - **Sequence.** The commits of a task have the numbers 1, 2, 3 and so on, whatever their epochs; a [`Commit`] whose number
///   is not the one after the last is refused. So a commit whose outcome is not known can be told by the head.
/// - **Wholeness.** Outputs, positions, block and counters of a commit are there all or none, and its outputs become visible
///   at once.
pub trait CommitLog: Send + Sync + std::fmt::Debug {
    /// Gives the task a new epoch, and answers it with what the commits of all older ones amount to.
    fn fence(&self, tenant: &TenantId, task: TaskId) -> Pending<Fenced>;

    /// Writes what one micro-batch did: all of it or nothing.
    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed>;

    /// Reads back what the commits of a task amount to. `each` gets the blocks that are still needed and have a greater
    /// number than `after`, with their numbers, in order and one at a time, and may end the reading with `Break`. Blocks and
    /// answer are of one moment, whatever is committed meanwhile. A block that is missing is an error. It waits for the
    /// disk: callers on an asynchronous runtime keep it off its threads.
    fn replay(
        &self,
        tenant: &TenantId,
        task: TaskId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head>;

    /// What the commits of a task amount to, without the blocks.
    fn head(&self, tenant: &TenantId, task: TaskId) -> Result<Head> {
        self.replay(tenant, task, u64::MAX, &mut |_, _| ControlFlow::Break(()))
    }

    /// The same with all blocks at once. A task that never committed has an empty recovery.
    fn recover(&self, tenant: &TenantId, task: TaskId) -> Result<Recovery> {
        let mut blocks = Vec::new();
        let head = self.replay(tenant, task, 0, &mut |number, block| {
            blocks.push((number, block));
            ControlFlow::Continue(())
        })?;
        Ok(Recovery { head, blocks })
    }

    /// Forgets the commits of a task and fences whoever still writes for it; its outputs stay. Forgetting what is not there
    /// changes nothing.
    fn forget(&self, tenant: &TenantId, task: TaskId) -> Result<()>;

    /// All tasks that have been fenced and are not forgotten.
    fn tasks(&self) -> Result<Vec<(TenantId, TaskId)>>;
}
