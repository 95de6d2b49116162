//! What a checkpoint is: format 2, as JSON within a [`document`].
//!
//! Fields are only ever added, with a default; what changes the meaning of one is a new format number. A fixture in the
//! tests, written by the first version of the format, must stay readable for ever. Format 1 had no ids of topics, without which its
//! positions may be of others.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::Error;
use super::id::CheckpointId;
use crate::document::{self, Unreadable};
use crate::ids::{
    Digest, Offset, PartitionId, PipelineId, PipelineName, StepName, TenantId, TopicId, TopicName, TopicPartition,
};
use crate::log;

/// The format that is written, and the only one there is.
pub(super) const FORMAT: u32 = 2;

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Its name.
    pub id: CheckpointId,
    /// Why it was taken.
    pub kind: Kind,
    /// What it is for, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was taken, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// What ran.
    pub deployment: Deployment,
    /// Which task of it, counted from 0.
    pub task: u32,
    /// The epoch of the task when it was taken.
    pub epoch: u64,
    /// For each input that was read, the next record to read.
    pub positions: Vec<Position>,
    /// The counters of the last commit, opaque, as in the log.
    #[serde(serialize_with = "write_base64", deserialize_with = "read_base64")]
    pub usage: Bytes,
    /// From this number on blocks are needed; chunks may hold older ones beside them.
    pub oldest: u64,
    /// The number of the last block; 0 if there is none.
    pub last_block: u64,
    /// What holds the blocks, in order.
    pub chunks: Vec<Chunk>,
    /// Bytes of the chunks that were written for this checkpoint; the others were in the store.
    pub written_bytes: u64,
}

/// Why a checkpoint was taken, which decides how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// By the clock; the newest few are kept.
    Interval,
    /// By hand, or before something that it can undo; it is kept until it is deleted.
    Savepoint,
    /// Before another version took over; the newest few are kept.
    Upgrade,
}

/// A deployment of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Whose it is.
    pub tenant: TenantId,
    pub pipeline: PipelineName,
    /// Which deployment of it.
    pub id: PipelineId,
    /// The pipeline's manifest.
    pub manifest: String,
    /// The version that each step ran.
    pub digests: BTreeMap<StepName, Digest>,
}

/// A place in an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The topic,
    pub topic: TopicName,
    /// which was this one of that name.
    pub topic_id: TopicId,
    pub partition: PartitionId,
    /// The next record to read.
    pub offset: Offset,
}

impl Position {
    pub(super) fn of((at, position): (TopicPartition, log::Position)) -> Self {
        let log::Position { topic_id, offset } = position;
        Self { topic: at.topic, topic_id, partition: at.partition, offset }
    }

    /// As commits say it.
    pub fn in_log(&self) -> (TopicPartition, log::Position) {
        let at = TopicPartition { topic: self.topic.clone(), partition: self.partition };
        (at, log::Position { topic_id: self.topic_id, offset: self.offset })
    }
}

/// A run of blocks in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The digest of its bytes, which is its name.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
    /// The number of its first block.
    pub first: u64,
    /// The number of its last block.
    pub last: u64,
}

impl Manifest {
    /// Bytes of all its chunks.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.bytes).sum()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        document::encode(FORMAT, self).expect("maps with names as keys, numbers and texts are always JSON")
    }

    /// The manifest that lies under this name.
    pub(super) fn decode(
        tenant: &TenantId,
        pipeline: &PipelineName,
        id: CheckpointId,
        bytes: &[u8],
    ) -> Result<Self, Error> {
        let corrupt = |reason: String| Error::Corrupt { pipeline: pipeline.clone(), id, reason };
        let manifest: Self = document::decode(FORMAT, bytes).map_err(|error| match error {
            Unreadable::Corrupt(reason) => corrupt(reason),
            Unreadable::Format(found) => Error::UnknownFormat { pipeline: pipeline.clone(), id, found, known: FORMAT },
        })?;
        let of = &manifest.deployment;
        if (&of.tenant, &of.pipeline) != (tenant, pipeline) {
            return Err(Error::Foreign {
                id,
                tenant: tenant.clone(),
                pipeline: pipeline.clone(),
                of_tenant: of.tenant.clone(),
                of_pipeline: of.pipeline.clone(),
            });
        }
        if manifest.id != id {
            return Err(corrupt(format!("it is checkpoint {}", manifest.id)));
        }
        let ordered = manifest.chunks.iter().all(|chunk| chunk.first <= chunk.last)
            && manifest.chunks.is_sorted_by(|a, b| a.last < b.first)
            && manifest.chunks.last().map_or(0, |chunk| chunk.last) == manifest.last_block;
        if ordered { Ok(manifest) } else { Err(corrupt("its chunks do not follow one another".to_owned())) }
    }
}

fn write_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

fn read_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}
