//! Commits of tasks: the epoch under which they are taken, the last one's number and counters, a position for each input,
//! and the chain of blocks.
//!
//! Each block names the one before it, and the last commit names the last block; so a block that is missing is seen, not
//! skipped. What a block makes superfluous is removed in the same write, and from where on blocks are needed is a value of
//! its own: the chain begins with the block whose predecessor lies before that.

use std::collections::{HashMap, hash_map};
use std::ops::ControlFlow;

use bytes::Bytes;
use rocksdb::WriteBatch;

use super::format::{self, BlockFront, Sealer, TaskHead};
use super::keys::{Entry, Key, Range};
use super::store::{Store, View, corrupt};
use crate::ids::{TaskId, TenantId, TopicPartition};
use crate::log::{Block, Error, Head, Position, Result};

/// Up to so many numbers, blocks are removed one by one: range tombstones are dearer than keys that are not there, and
/// state that is written piece by piece lets go of about one block a commit.
const REMOVED_SINGLY_MAX: u64 = 64;

/// The last commits of the tasks that have been fenced since the start.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    last: HashMap<(TenantId, TaskId), Last>,
}

/// The last commit of a task.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Last {
    /// Under which it takes commits; 0 if it takes none.
    epoch: u64,
    head: TaskHead,
    /// Blocks before this one are gone.
    oldest: u64,
}

/// What a commit changes beside its outputs.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) task: TaskId,
    pub(super) sequence: u64,
    pub(super) positions: Vec<(TopicPartition, Position)>,
    pub(super) block: Block,
    pub(super) usage: Bytes,
}

impl Tasks {
    fn last(&mut self, store: &Store, tenant: &TenantId, task: TaskId) -> Result<Last> {
        match self.last.entry((tenant.clone(), task)) {
            hash_map::Entry::Occupied(known) => Ok(*known.get()),
            hash_map::Entry::Vacant(unmet) => {
                let view = store.view();
                let key = Entry::Task { task }.of(tenant);
                let stored = view.get(&key)?.map(|value| TaskHead::decode(&value).map(|(head, _)| head));
                let head = stored.transpose().map_err(|error| error.at(&key))?.unwrap_or_default();
                let epoch = number(&view, &Entry::Epoch { task }.of(tenant))?;
                let oldest = number(&view, &Entry::Oldest { task }.of(tenant))?;
                Ok(*unmet.insert(Last { epoch, head, oldest }))
            }
        }
    }

    /// Lets commits of this epoch alone follow, in memory and in the write.
    pub(super) fn fence(
        &mut self,
        store: &Store,
        batch: &mut WriteBatch,
        sealer: &mut Sealer,
        tenant: &TenantId,
        (task, epoch): (TaskId, u64),
    ) -> Result<()> {
        let last = self.last(store, tenant, task)?;
        store.put(batch, &Entry::Epoch { task }.of(tenant), sealer.seal(&[&format::encode_number(epoch)]));
        self.last.insert((tenant.clone(), task), Last { epoch, ..last });
        Ok(())
    }

    /// The last commit, if one of this epoch may follow and has the next number.
    pub(super) fn follow(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        (task, epoch): (TaskId, u64),
        sequence: u64,
    ) -> Result<Last> {
        let last = self.last(store, tenant, task)?;
        if epoch != last.epoch || epoch == 0 {
            return Err(Error::Fenced { task, epoch, current: last.epoch });
        }
        match last.head.sequence.checked_add(1) {
            Some(next) if next == sequence => Ok(last),
            _ => Err(Error::CommitConflict { task, sequence, last: last.head.sequence }),
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
        let Progress { task, sequence, positions, block, usage } = progress;
        let (task, sequence) = (*task, *sequence);
        for (at, position) in positions {
            let entry = Entry::Position { task, topic: at.topic.clone(), partition: at.partition };
            store.put(batch, &entry.of(tenant), sealer.seal(&[&format::encode_position(position)]));
        }
        let Last { epoch, mut head, oldest: mut gone_before } = last;
        if let Block::Some { bytes, oldest } = block {
            let oldest = (*oldest).min(sequence);
            if oldest > gone_before {
                remove(store, batch, tenant, task, gone_before..oldest.min(head.last_block + 1));
                let value = sealer.seal(&[&format::encode_number(oldest)]);
                store.put(batch, &Entry::Oldest { task }.of(tenant), value);
                gone_before = oldest;
            }
            let front = BlockFront { previous: head.last_block, epoch };
            store.put(batch, &Entry::Block { task, sequence }.of(tenant), sealer.seal(&[&front.encode(), bytes]));
            head.last_block = sequence;
        }
        head.sequence = sequence;
        store.put(batch, &Entry::Task { task }.of(tenant), sealer.seal(&[&head.encode(), usage]));
        self.last.insert((tenant.clone(), task), Last { epoch, head, oldest: gone_before });
    }

    /// Forgets a task, in memory and in the write.
    pub(super) fn forget(&mut self, store: &Store, batch: &mut WriteBatch, tenant: &TenantId, task: TaskId) {
        self.last.remove(&(tenant.clone(), task));
        for entry in [Entry::Epoch { task }, Entry::Task { task }, Entry::Oldest { task }] {
            store.delete(batch, &entry.of(tenant));
        }
        store.delete_range(batch, &Range::positions(tenant, task));
        store.delete_range(batch, &Range::blocks(tenant, task, 0..u64::MAX));
    }
}

/// Removes blocks in the write.
fn remove(store: &Store, batch: &mut WriteBatch, tenant: &TenantId, task: TaskId, numbers: std::ops::Range<u64>) {
    if numbers.end.saturating_sub(numbers.start) > REMOVED_SINGLY_MAX {
        return store.delete_range(batch, &Range::blocks(tenant, task, numbers));
    }
    for sequence in numbers {
        store.delete(batch, &Entry::Block { task, sequence }.of(tenant));
    }
}

/// A number that is stored under a key; 0 if none is.
fn number(view: &View<'_>, key: &Key) -> Result<u64> {
    let number = view.get(key)?.map(|value| format::decode_number(&value).map_err(|error| error.at(key)));
    number.transpose().map(Option::unwrap_or_default)
}

/// What the commits of a task amount to, as a view has it.
fn head(view: &View<'_>, tenant: &TenantId, task: TaskId) -> Result<Head> {
    let mut head = Head { epoch: number(view, &Entry::Epoch { task }.of(tenant))?, ..Head::empty(task) };
    let key = Entry::Task { task }.of(tenant);
    let Some(value) = view.get(&key)? else { return Ok(head) };
    let (TaskHead { sequence, last_block }, usage) = TaskHead::decode(&value).map_err(|error| error.at(&key))?;
    (head.sequence, head.last_block) = (sequence, last_block);
    head.usage = Bytes::copy_from_slice(usage);
    head.oldest = number(view, &Entry::Oldest { task }.of(tenant))?;
    view.scan(&Range::positions(tenant, task), |key, value| {
        let position = format::decode_position(value).map_err(|error| error.at(key))?;
        if let Entry::Position { topic, partition, .. } = &key.entry {
            head.positions.insert(TopicPartition { topic: topic.clone(), partition: *partition }, position);
        }
        Ok(true)
    })?;
    Ok(head)
}

/// What the commits of a task amount to now, without the blocks.
pub(super) fn stored_head(store: &Store, tenant: &TenantId, task: TaskId) -> Result<Head> {
    head(&store.view(), tenant, task)
}

/// See [`CommitLog::replay`](crate::log::CommitLog::replay).
pub(super) fn replay(
    store: &Store,
    tenant: &TenantId,
    task: TaskId,
    after: u64,
    each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
) -> Result<Head> {
    let view = store.view();
    let head = head(&view, tenant, task)?;
    // The block before the first that is asked for is this one or, if this had no block, one before it.
    let first = after.saturating_add(1).max(head.oldest);
    let mut before = first.saturating_sub(1);
    let mut last: Option<(u64, u64)> = None;
    let mut ended = false;
    view.scan(&Range::blocks(tenant, task, first..u64::MAX), |key, value| {
        let (BlockFront { previous, epoch }, block) = BlockFront::decode(value).map_err(|error| error.at(key))?;
        let follows = last.map_or(previous <= before, |(last, _)| last == previous);
        if !follows {
            return Err(corrupt(key, format_args!("it follows block {previous}, which is missing")));
        }
        if let Some((_, newer)) = last.filter(|&(_, before)| before > epoch) {
            let reason = format!("it is of epoch {epoch}, which {newer} had fenced: that of the block before it");
            return Err(corrupt(key, reason));
        }
        if let Entry::Block { sequence, .. } = key.entry {
            (before, last) = (sequence, Some((sequence, epoch)));
            ended = each(sequence, Bytes::copy_from_slice(block)).is_break();
        }
        Ok(!ended)
    })?;
    if !ended && before < head.last_block {
        return Err(corrupt(Entry::Block { task, sequence: head.last_block }.of(tenant), "it is missing"));
    }
    Ok(head)
}

/// See [`CommitLog::tasks`](crate::log::CommitLog::tasks).
pub(super) fn all(store: &Store) -> Result<Vec<(TenantId, TaskId)>> {
    let mut tasks = Vec::new();
    store.view().scan_meta(|key, _| {
        if let Entry::Epoch { task } = key.entry {
            tasks.push((key.tenant, task));
        }
        Ok(())
    })?;
    Ok(tasks)
}
