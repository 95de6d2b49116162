//! What a pipeline is in the log, as bytes: the numbers of its head and the blocks of its state.
//!
//! For tests, to take from one driver to another. Blocks keep the numbers of their commits, because what blocks say of
//! each other is in those.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ids::{Offset, TaskId, TenantId, TopicName, TopicPartition};
use crate::log::{self, Block, Commit, Log, PartitionInfo, Position, Recovery, TopicInfo};
use crate::pipeline::Error;
use crate::state::BlockError;

/// A pipeline at a moment between two micro-batches: its place in its inputs, its state, its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    sequence: u64,
    oldest: u64,
    positions: Vec<(TopicPartition, Offset)>,
    usage: Vec<u8>,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Checkpoint {
    pub(super) fn of(recovery: Recovery) -> Self {
        let Recovery { head, blocks } = recovery;
        Self {
            sequence: head.sequence,
            oldest: head.oldest,
            positions: head.positions.into_iter().map(|(at, position)| (at, position.offset)).collect(),
            usage: head.usage.to_vec(),
            blocks: blocks.into_iter().map(|(number, block)| (number, block.to_vec())).collect(),
        }
    }

    /// Without its place in the inputs: they are read from the beginning.
    #[must_use]
    pub fn without_positions(self) -> Self {
        Self { positions: Vec::new(), ..self }
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers, names and bytes are always JSON")
    }

    /// From the bytes of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlockError> {
        serde_json::from_slice(bytes)
            .map_err(|error| BlockError { at: error.column(), what: format!("checkpoint: {error}") })
    }

    /// Refuses a place in the inputs that the topics do not have.
    pub(super) fn check(&self, topics: &BTreeMap<TopicName, TopicInfo>) -> Result<(), Error> {
        for (at, offset) in &self.positions {
            let Some(topic) = topics.get(&at.topic) else { continue };
            let partition = topic.partitions.get(at.partition as usize).copied().unwrap_or_default();
            let PartitionInfo { start, end, .. } = partition;
            if *offset > end {
                return Err(log::Error::OffsetOutOfRange { at: at.clone(), offset: *offset, start, end }.into());
            }
        }
        Ok(())
    }

    /// Makes it what the log knows of a task. Its places are in the topics that this log has under their names.
    pub(super) async fn write(mut self, log: &dyn Log, tenant: &TenantId, task: TaskId) -> Result<(), Error> {
        let topics = log.topics(tenant).await?;
        let place = |(at, offset): (TopicPartition, Offset)| {
            let topic_id = topics.get(&at.topic)?.id;
            Some((at, Position { topic_id, offset }))
        };
        let mut places: Vec<_> = std::mem::take(&mut self.positions).into_iter().filter_map(place).collect();
        log.forget(tenant, task)?;
        let epoch = log.fence(tenant, task).await?.epoch;
        for sequence in 1..=self.sequence {
            let block = match self.blocks.remove(&sequence) {
                None => Block::None,
                Some(bytes) => Block::Some { bytes: bytes.into(), oldest: self.oldest.min(sequence) },
            };
            let is_last = sequence == self.sequence;
            let (positions, usage) = match is_last {
                true => (std::mem::take(&mut places), Bytes::from(std::mem::take(&mut self.usage))),
                false => Default::default(),
            };
            let commit = Commit { task, epoch, sequence, positions, outputs: Vec::new(), block, usage };
            log.commit(tenant, commit).await?;
        }
        Ok(())
    }
}
