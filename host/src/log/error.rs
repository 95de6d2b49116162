//! What can go wrong in the log.

use crate::error::{Blame, Coded, Kind, Limit};
use crate::ids::{Offset, TaskId, TopicName, TopicPartition};

/// An error of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such topic.
    #[error("topic `{topic}` does not exist")]
    TopicNotFound { topic: TopicName },
    /// The topic has fewer partitions.
    #[error("topic `{}` has {partitions} partitions, there is no partition {}", at.topic, at.partition)]
    PartitionNotFound {
        /// The partition that was named.
        at: TopicPartition,
        /// How many there are.
        partitions: u32,
    },
    /// The topic exists with another configuration.
    #[error("topic `{topic}` exists with another configuration")]
    TopicConflict { topic: TopicName },
    /// A configuration that no topic can have.
    #[error("topic `{topic}` cannot be created: {reason}")]
    InvalidTopic {
        topic: TopicName,
        /// What is wrong with its configuration.
        reason: String,
    },
    /// Bytes that are no record batch.
    #[error("record batch for `{at}` is invalid: {reason}")]
    InvalidBatch {
        /// Where it was to go.
        at: TopicPartition,
        /// What is wrong with it.
        reason: String,
    },
    /// A record without a key for a topic that keeps the newest record of each key.
    #[error(
        "record {index} of a batch for `{at}` has no key, and the topic is compacted by key: give it one, or write to a topic whose cleanup policy is `delete`"
    )]
    KeyRequired {
        /// Where it was to go.
        at: TopicPartition,
        /// Its place in the batch, counted from 0.
        index: u32,
    },
    /// More than the log takes at once.
    #[error("{what} of {size} bytes for `{at}` exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Where it was to go.
        at: TopicPartition,
        /// What is too large: a record, a batch, an append.
        what: &'static str,
        size: u64,
        /// The most there may be.
        limit: u64,
    },
    /// A commit with more than can be written at once.
    #[error("commit of {size} bytes of task {task} exceeds the limit of {limit} bytes")]
    CommitTooLarge {
        task: TaskId,
        /// Bytes of its outputs, block and counters.
        size: u64,
        /// The most there may be.
        limit: u64,
    },
    /// A producer's batch does not follow its last one.
    #[error("batch of producer {producer_id} for `{at}` has sequence {sequence} where {expected} follows")]
    OutOfOrderSequence {
        /// Where it was to go.
        at: TopicPartition,
        producer_id: i64,
        /// The sequence it sent.
        sequence: i32,
        /// The sequence that follows.
        expected: i32,
    },
    /// A producer with an older epoch than the partition has seen.
    #[error("producer {producer_id} of epoch {epoch} is fenced by epoch {current} in `{at}`")]
    ProducerFenced {
        /// Where it wrote.
        at: TopicPartition,
        producer_id: i64,
        epoch: i16,
        /// The newest epoch.
        current: i16,
    },
    /// The partition does not have this record: it was trimmed or is not written yet.
    #[error("offset {offset} of `{at}` is outside {start}..={end}")]
    OffsetOutOfRange {
        at: TopicPartition,
        offset: Offset,
        /// The oldest record.
        start: Offset,
        end: Offset,
    },
    /// A commit that does not follow the last one of its task.
    #[error("commit {sequence} of task {task} does not follow commit {last}: another writer committed first")]
    CommitConflict {
        task: TaskId,
        /// The commit that was tried.
        sequence: u64,
        /// The last commit.
        last: u64,
    },
    /// A commit of a run that another has replaced.
    #[error(
        "commit of task {task} under epoch {epoch} is refused, {}: nothing of it was written, and this run of the pipeline must end",
        match current { 0 => "the task takes no commits, for its state was deleted".to_owned(), current => format!("epoch {current} has replaced it") }
    )]
    Fenced {
        task: TaskId,
        /// The epoch of the commit.
        epoch: u64,
        /// The epoch under which the task takes commits; 0 if it takes none.
        current: u64,
    },
    /// Stored bytes are not what was written.
    #[error("{what} is corrupt: {reason}")]
    Corrupt {
        /// What is corrupt, with its place.
        what: String,
        /// How it is known.
        reason: String,
    },
    /// Another process has the folder.
    #[error("data folder `{folder}` is in use by another server: stop it, or choose another folder")]
    FolderInUse { folder: String },
    /// The disk is full.
    #[error("the disk is full ({reason}): free space and restart the server; nothing that was acknowledged is lost")]
    StorageFull {
        /// What the system reported.
        reason: String,
    },
    /// Reading or writing failed, and the log takes no more writes until the server is restarted.
    #[error("storage failed: {reason}")]
    Storage {
        /// What the system reported.
        reason: String,
    },
    /// The log is shutting down.
    #[error("the log is closed")]
    Closed,
}

impl Coded for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::TopicNotFound { .. } => "topic_not_found",
            Self::PartitionNotFound { .. } => "partition_not_found",
            Self::TopicConflict { .. } => "topic_conflict",
            Self::InvalidTopic { .. } => "invalid_topic",
            Self::InvalidBatch { .. } => "invalid_batch",
            Self::KeyRequired { .. } => "key_required",
            Self::TooLarge { .. } => "record_too_large",
            Self::CommitTooLarge { .. } => "commit_too_large",
            Self::OutOfOrderSequence { .. } => "out_of_order_sequence",
            Self::ProducerFenced { .. } => "producer_fenced",
            Self::OffsetOutOfRange { .. } => "offset_out_of_range",
            Self::CommitConflict { .. } => "commit_conflict",
            Self::Fenced { .. } => "fenced",
            Self::Corrupt { .. } => "log_corrupt",
            Self::FolderInUse { .. } => "data_folder_in_use",
            Self::StorageFull { .. } => "storage_full",
            Self::Storage { .. } => "storage_failed",
            Self::Closed => "log_closed",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::TopicNotFound { .. } | Self::PartitionNotFound { .. } => Kind::NotFound,
            Self::TopicConflict { .. }
            | Self::OutOfOrderSequence { .. }
            | Self::ProducerFenced { .. }
            | Self::CommitConflict { .. }
            | Self::Fenced { .. }
            | Self::FolderInUse { .. } => Kind::Conflict,
            Self::InvalidTopic { .. }
            | Self::InvalidBatch { .. }
            | Self::KeyRequired { .. }
            | Self::OffsetOutOfRange { .. } => Kind::Invalid,
            Self::TooLarge { .. } | Self::CommitTooLarge { .. } => Kind::TooLarge,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::StorageFull { .. } => Kind::StorageFull,
            Self::Storage { .. } | Self::Closed => Kind::Unavailable,
        }
    }

    fn blame(&self) -> Blame {
        match self.kind() {
            Kind::Corrupt | Kind::StorageFull | Kind::Unavailable => Blame::Operator,
            _ => Blame::Tenant,
        }
    }
    fn limit(&self) -> Option<Limit> {
        let (name, limit, used) = match self {
            Self::TooLarge { what, size, limit, .. } => (format!("{what}_bytes"), *limit, *size),
            Self::CommitTooLarge { size, limit, .. } => ("commit_bytes".to_owned(), *limit, *size),
            _ => return None,
        };
        Some(Limit { name, limit, used })
    }
}
