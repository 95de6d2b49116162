//! Commits of pipelines: the last one's number and counters, a position for each input, and the chain of blocks.
//!
//! Each block names the one before it, and the last commit names the last block; so a block that is missing is seen, not
//! skipped. A base begins the chain anew and removes what was before it in the same write.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use rocksdb::WriteBatch;

use super::format::{self, PipelineHead, Sealer};
use super::keys::{Entry, Range};
use super::store::{Store, corrupt};
use crate::ids::{Offset, PipelineId, TenantId, TopicPartition};
use crate::log::{Block, Error, Recovery, Result};

/// The last commits of the pipelines that have committed since the start.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    heads: HashMap<(TenantId, PipelineId), PipelineHead>,
}

/// What a commit changes beside its outputs.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) pipeline: PipelineId,
    pub(super) sequence: u64,
    pub(super) positions: Vec<(TopicPartition, Offset)>,
    pub(super) block: Block,
    pub(super) usage: Bytes,
}

impl Pipelines {
    /// The last commit, if the next one has this number.
    pub(super) fn follow(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        pipeline: PipelineId,
        sequence: u64,
    ) -> Result<PipelineHead> {
        let name = (tenant.clone(), pipeline);
        let head = match self.heads.get(&name) {
            Some(head) => *head,
            None => {
                let key = Entry::Pipeline { pipeline }.of(tenant);
                let stored = store.get(&key)?;
                let head = stored.map(|value| PipelineHead::decode(&value).map(|(head, _)| head));
                head.transpose().map_err(|error| error.at(&key))?.unwrap_or_default()
            }
        };
        self.heads.insert(name, head);
        match head.sequence.checked_add(1) {
            Some(next) if next == sequence => Ok(head),
            _ => Err(Error::CommitConflict { pipeline, sequence, last: head.sequence }),
        }
    }

    /// Adds a commit that follows the last one, in memory and in the write.
    pub(super) fn put(
        &mut self,
        store: &Store,
        batch: &mut WriteBatch,
        sealer: &mut Sealer,
        tenant: &TenantId,
        last: PipelineHead,
        progress: &Progress,
    ) {
        let Progress { pipeline, sequence, positions, block, usage } = progress;
        let (pipeline, sequence) = (*pipeline, *sequence);
        for (at, offset) in positions {
            let entry = Entry::Position { pipeline, topic: at.topic.clone(), partition: at.partition };
            store.put(batch, &entry.of(tenant), sealer.seal(&[&format::encode_number(*offset)]));
        }
        let written = match block {
            Block::None => None,
            Block::Delta(block) => Some((last.last_block, block)),
            Block::Base(block) => {
                if last.last_block > 0 {
                    store.delete_range(batch, &Range::blocks(tenant, pipeline, 0..sequence));
                }
                Some((0, block))
            }
        };
        let mut head = PipelineHead { sequence, last_block: last.last_block };
        if let Some((previous, block)) = written {
            let value = sealer.seal(&[&format::encode_block_front(previous), block]);
            store.put(batch, &Entry::Block { pipeline, sequence }.of(tenant), value);
            head.last_block = sequence;
        }
        store.put(batch, &Entry::Pipeline { pipeline }.of(tenant), sealer.seal(&[&head.encode(), usage]));
        self.heads.insert((tenant.clone(), pipeline), head);
    }

    /// Forgets a pipeline, in memory and in the write.
    pub(super) fn forget(&mut self, store: &Store, batch: &mut WriteBatch, tenant: &TenantId, pipeline: PipelineId) {
        self.heads.remove(&(tenant.clone(), pipeline));
        store.delete(batch, &Entry::Pipeline { pipeline }.of(tenant));
        store.delete_range(batch, &Range::positions(tenant, pipeline));
        store.delete_range(batch, &Range::blocks(tenant, pipeline, 0..u64::MAX));
    }
}

/// What the commits of a pipeline amount to.
pub(super) fn recover(store: &Store, tenant: &TenantId, pipeline: PipelineId) -> Result<Recovery> {
    let view = store.view();
    let key = Entry::Pipeline { pipeline }.of(tenant);
    let Some(value) = view.get(&key)? else { return Ok(Recovery::default()) };
    let (head, usage) = PipelineHead::decode(&value).map_err(|error| error.at(&key))?;
    let mut positions = BTreeMap::new();
    view.scan(&Range::positions(tenant, pipeline), |key, value| {
        let offset = format::decode_number(value).map_err(|error| error.at(key))?;
        if let Entry::Position { topic, partition, .. } = &key.entry {
            positions.insert(TopicPartition { topic: topic.clone(), partition: *partition }, offset);
        }
        Ok(true)
    })?;
    let mut blocks = Vec::new();
    let mut last = 0;
    view.scan(&Range::blocks(tenant, pipeline, 0..u64::MAX), |key, value| {
        let (previous, block) = format::decode_block(value).map_err(|error| error.at(key))?;
        if previous != last {
            return Err(corrupt(key, format_args!("it follows block {previous}, which is missing")));
        }
        if let Entry::Block { sequence, .. } = key.entry {
            last = sequence;
        }
        blocks.push(Bytes::copy_from_slice(block));
        Ok(true)
    })?;
    if last != head.last_block {
        let sequence = head.last_block;
        return Err(corrupt(Entry::Block { pipeline, sequence }.of(tenant), "it is missing"));
    }
    Ok(Recovery { sequence: head.sequence, positions, blocks, usage: Bytes::copy_from_slice(usage) })
}
