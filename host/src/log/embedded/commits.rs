//! Commits of pipelines: the last one's number and counters, a position for each input, and the chain of blocks.
//!
//! Each block names the one before it, and the last commit names the last block; so a block that is missing is seen, not
//! skipped. What a block makes superfluous is removed in the same write, and from where on blocks are needed is a value of
//! its own: the chain begins with the block whose predecessor lies before that.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use bytes::Bytes;
use rocksdb::WriteBatch;

use super::format::{self, PipelineHead, Sealer};
use super::keys::{Entry, Range};
use super::store::{Store, View, corrupt};
use crate::ids::{Offset, PipelineId, TenantId, TopicPartition};
use crate::log::{Block, Error, Head, Result};

/// Up to so many numbers, blocks are removed one by one: range tombstones are dearer than keys that are not there, and
/// state that is written piece by piece lets go of about one block a commit.
const REMOVED_SINGLY_MAX: u64 = 64;

/// The last commits of the pipelines that have committed since the start.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    last: HashMap<(TenantId, PipelineId), Last>,
}

/// The last commit of a pipeline.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Last {
    head: PipelineHead,
    /// Blocks before this one are gone.
    oldest: u64,
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
    ) -> Result<Last> {
        let name = (tenant.clone(), pipeline);
        let last = match self.last.get(&name) {
            Some(last) => *last,
            None => {
                let key = Entry::Pipeline { pipeline }.of(tenant);
                let view = store.view();
                let stored = view.get(&key)?;
                let head = stored.map(|value| PipelineHead::decode(&value).map(|(head, _)| head));
                let head = head.transpose().map_err(|error| error.at(&key))?.unwrap_or_default();
                Last { head, oldest: oldest(&view, tenant, pipeline)? }
            }
        };
        self.last.insert(name, last);
        match last.head.sequence.checked_add(1) {
            Some(next) if next == sequence => Ok(last),
            _ => Err(Error::CommitConflict { pipeline, sequence, last: last.head.sequence }),
        }
    }

    /// Adds a commit that follows the last one, in memory and in the write.
    pub(super) fn put(
        &mut self,
        store: &Store,
        batch: &mut WriteBatch,
        sealer: &mut Sealer,
        tenant: &TenantId,
        last: Last,
        progress: &Progress,
    ) {
        let Progress { pipeline, sequence, positions, block, usage } = progress;
        let (pipeline, sequence) = (*pipeline, *sequence);
        for (at, offset) in positions {
            let entry = Entry::Position { pipeline, topic: at.topic.clone(), partition: at.partition };
            store.put(batch, &entry.of(tenant), sealer.seal(&[&format::encode_number(*offset)]));
        }
        let Last { mut head, oldest: mut gone_before } = last;
        if let Block::Some { bytes, oldest } = block {
            let oldest = (*oldest).min(sequence);
            if oldest > gone_before {
                remove(store, batch, tenant, pipeline, gone_before..oldest.min(head.last_block + 1));
                let value = sealer.seal(&[&format::encode_number(oldest)]);
                store.put(batch, &Entry::Oldest { pipeline }.of(tenant), value);
                gone_before = oldest;
            }
            let value = sealer.seal(&[&format::encode_block_front(head.last_block), bytes]);
            store.put(batch, &Entry::Block { pipeline, sequence }.of(tenant), value);
            head.last_block = sequence;
        }
        head.sequence = sequence;
        store.put(batch, &Entry::Pipeline { pipeline }.of(tenant), sealer.seal(&[&head.encode(), usage]));
        self.last.insert((tenant.clone(), pipeline), Last { head, oldest: gone_before });
    }

    /// Forgets a pipeline, in memory and in the write.
    pub(super) fn forget(&mut self, store: &Store, batch: &mut WriteBatch, tenant: &TenantId, pipeline: PipelineId) {
        self.last.remove(&(tenant.clone(), pipeline));
        store.delete(batch, &Entry::Pipeline { pipeline }.of(tenant));
        store.delete(batch, &Entry::Oldest { pipeline }.of(tenant));
        store.delete_range(batch, &Range::positions(tenant, pipeline));
        store.delete_range(batch, &Range::blocks(tenant, pipeline, 0..u64::MAX));
    }
}

/// Removes blocks in the write.
fn remove(
    store: &Store,
    batch: &mut WriteBatch,
    tenant: &TenantId,
    pipeline: PipelineId,
    numbers: std::ops::Range<u64>,
) {
    if numbers.end.saturating_sub(numbers.start) > REMOVED_SINGLY_MAX {
        return store.delete_range(batch, &Range::blocks(tenant, pipeline, numbers));
    }
    for sequence in numbers {
        store.delete(batch, &Entry::Block { pipeline, sequence }.of(tenant));
    }
}

/// From where on a pipeline's blocks are needed; 0 if none states it.
fn oldest(view: &View<'_>, tenant: &TenantId, pipeline: PipelineId) -> Result<u64> {
    let key = Entry::Oldest { pipeline }.of(tenant);
    let oldest = view.get(&key)?.map(|value| format::decode_number(&value).map_err(|error| error.at(&key)));
    oldest.transpose().map(Option::unwrap_or_default)
}

/// See [`Log::replay`](crate::log::Log::replay).
pub(super) fn replay(
    store: &Store,
    tenant: &TenantId,
    pipeline: PipelineId,
    after: u64,
    each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
) -> Result<Head> {
    let view = store.view();
    let key = Entry::Pipeline { pipeline }.of(tenant);
    let Some(value) = view.get(&key)? else { return Ok(Head::default()) };
    let (PipelineHead { sequence, last_block }, usage) =
        PipelineHead::decode(&value).map_err(|error| error.at(&key))?;
    let oldest = oldest(&view, tenant, pipeline)?;
    let mut positions = BTreeMap::new();
    view.scan(&Range::positions(tenant, pipeline), |key, value| {
        let offset = format::decode_number(value).map_err(|error| error.at(key))?;
        if let Entry::Position { topic, partition, .. } = &key.entry {
            positions.insert(TopicPartition { topic: topic.clone(), partition: *partition }, offset);
        }
        Ok(true)
    })?;
    // The block before the first that is asked for is this one or, if this had no block, one before it.
    let first = after.saturating_add(1).max(oldest);
    let mut before = first.saturating_sub(1);
    let mut last = None;
    let mut ended = false;
    view.scan(&Range::blocks(tenant, pipeline, first..u64::MAX), |key, value| {
        let (previous, block) = format::decode_block(value).map_err(|error| error.at(key))?;
        let follows = last.map_or(previous <= before, |last| last == previous);
        if !follows {
            return Err(corrupt(key, format_args!("it follows block {previous}, which is missing")));
        }
        if let Entry::Block { sequence, .. } = key.entry {
            (before, last) = (sequence, Some(sequence));
            ended = each(sequence, Bytes::copy_from_slice(block)).is_break();
        }
        Ok(!ended)
    })?;
    if !ended && before < last_block {
        return Err(corrupt(Entry::Block { pipeline, sequence: last_block }.of(tenant), "it is missing"));
    }
    Ok(Head { sequence, last_block, oldest, positions, usage: Bytes::copy_from_slice(usage) })
}

/// See [`Log::pipelines`](crate::log::Log::pipelines).
pub(super) fn all(store: &Store) -> Result<Vec<(TenantId, PipelineId)>> {
    let mut pipelines = Vec::new();
    store.view().scan_meta(|key, _| {
        if let Entry::Pipeline { pipeline } = key.entry {
            pipelines.push((key.tenant, pipeline));
        }
        Ok(())
    })?;
    Ok(pipelines)
}
