//! Compaction of stored partitions, a slice of work a call: one partition after the other, each in passes, each pass
//! first looking at keys and then going over the batches (see [`compaction`](crate::log::compaction)).
//!
//! Batches are read and made without a lock. What changed is put into writes of about a mebibyte, under the same lock as
//! the writer's, so an append waits for one such write at most. A write holds each changed batch whole, in place of the
//! old one; the older batches of a partition come first, so that after a crash at any moment a record is gone only if a
//! newer one of its key is there, and a deletion only after all that it deleted. Writes are not synced: what is lost in a
//! crash is done again.
//!
//! Memory: one table of keys, the batches of one write, and one batch decompressed before and after. What was read is
//! checked by its CRC first, so a batch that is damaged is named and never rewritten.

use std::collections::VecDeque;
use std::sync::Arc;

use rocksdb::WriteBatch;

use super::format;
use super::keys::{Entry, Range};
use super::shared::Shared;
use super::store::corrupt;
use super::topics::{Partition, Topic};
use crate::ids::{Offset, TopicName, TopicPartition};
use crate::log::batch::{self, Header};
use crate::log::compaction::{Cleaned, KEYS_MAX, NewestKeys, Pass, Progress};
use crate::log::{Compacted, Result};

/// Removed bytes that are worth looking after at once: what a blob file holds. Less is given back in passing.
const RECLAIM_BYTES_MIN: u64 = 64 << 20;

/// What compaction may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionLimits {
    /// Keys that a pass notes. More than these are left for the next pass; each costs 25 bytes.
    pub keys_max: usize,
    /// Bytes of batches that one call reads before it stops reading more.
    pub slice_bytes: usize,
    /// Bytes of batches that are read for one write of those that changed.
    pub write_bytes: usize,
}

impl Default for CompactionLimits {
    fn default() -> Self {
        Self {
            keys_max: KEYS_MAX,
            // Some tenths of a second: a server that is told to stop waits no longer.
            slice_bytes: 32 << 20,
            // A few milliseconds, for which appends may wait.
            write_bytes: 1 << 20,
        }
    }
}

/// The work in hand.
#[derive(Debug)]
pub(super) struct Compactor {
    limits: CompactionLimits,
    waiting: VecDeque<Candidate>,
    running: Option<Running>,
    /// Of the running pass.
    newest: NewestKeys,
}

/// A partition whose turn will come.
#[derive(Debug)]
struct Candidate {
    name: TopicName,
    topic: Arc<Topic>,
    partition: Arc<Partition>,
}

/// A pass over one partition.
#[derive(Debug)]
struct Running {
    candidate: Candidate,
    stage: Stage,
    /// The next batch to read.
    next: Offset,
    /// The end of the partition when the pass began.
    end: Offset,
    /// Where it stopped looking at keys.
    looked_to: Offset,
    /// Where it will stop changing batches: there, or at the newest batch.
    clean_to: Offset,
    bytes_before: u64,
    pass: Pass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The newest offset of each key is noted.
    Looking,
    /// Batches lose records.
    Cleaning,
}

/// A batch that changes.
struct Changed {
    base: Offset,
    bytes_before: u64,
    cleaned: Cleaned,
}

impl Compactor {
    pub(super) fn new(limits: CompactionLimits) -> Self {
        Self { limits, waiting: VecDeque::new(), running: None, newest: NewestKeys::new(limits.keys_max) }
    }

    /// See [`EmbeddedLog::compact`](super::EmbeddedLog::compact). A pass that fails is given up; the next call goes on with the next
    /// partition.
    pub(super) fn compact(&mut self, shared: &Shared, now_ms: i64) -> Result<Compacted> {
        if self.running.is_none() && self.waiting.is_empty() {
            self.waiting.extend(candidates(shared).filter(|candidate| candidate.is_due(now_ms)));
        }
        let mut removed = 0;
        let mut left = self.limits.slice_bytes;
        while left > 0 {
            let running = self.running.take().or_else(|| {
                let candidate = self.waiting.pop_front()?;
                self.newest = NewestKeys::new(self.limits.keys_max);
                Some(Running::new(candidate, now_ms))
            });
            let Some(mut running) = running else { break };
            let before = running.pass.done.removed;
            let read = match running.stage {
                Stage::Looking => running.look(shared, &mut self.newest, left)?,
                Stage::Cleaning => running.clean(shared, &self.newest, left.min(self.limits.write_bytes))?,
            };
            left = left.saturating_sub(read.max(1));
            removed += running.pass.done.removed - before;
            if !running.is_done() {
                self.running = Some(running);
                continue;
            }
            // Perhaps there were more keys than a pass notes; the others have their turn first.
            if running.candidate.is_due(now_ms) {
                self.waiting.push_back(running.candidate);
            }
        }
        let more = self.running.is_some() || !self.waiting.is_empty();
        if !more {
            // The table may be large, and the next time far.
            self.newest = NewestKeys::new(self.limits.keys_max);
        }
        Ok(Compacted { removed, more })
    }
}

fn candidates(shared: &Shared) -> impl Iterator<Item = Candidate> {
    let topics = shared.topics.all(None).into_iter().filter(|(_, topic)| topic.config.cleanup.compacts());
    topics.flat_map(|(name, topic)| {
        let partitions = topic.partitions.clone();
        partitions.into_iter().map(move |partition| Candidate { name: name.clone(), topic: topic.clone(), partition })
    })
}

impl Candidate {
    fn is_due(&self, now_ms: i64) -> bool {
        let visible = self.partition.lock();
        !self.topic.is_deleted() && visible.compacted.is_due(visible.info.end, visible.info.bytes, now_ms)
    }

    /// Calls `each` with the batches from an offset on, where one begins, up to another, until it answers false or about
    /// that many bytes have been read. Answers how many, and the offset to go on from.
    fn scan(
        &self,
        shared: &Shared,
        (from, to): (Offset, Offset),
        bytes_max: usize,
        mut each: impl FnMut(&Header, &[u8]) -> std::result::Result<bool, batch::Invalid>,
    ) -> Result<(usize, Offset)> {
        let (mut bytes, mut next) = (0, from);
        let mut stopped = false;
        let range = Range::batches(&self.topic.tenant, self.topic.id, self.partition.number, from..to);
        shared.store.view().scan(&range, |_, value| {
            let at = TopicPartition { topic: self.name.clone(), partition: self.partition.number };
            let invalid = |invalid| corrupt(format_args!("batch of `{at}` at or after offset {next}"), invalid);
            let header = batch::verify(value).map_err(invalid)?;
            if !each(&header, value).map_err(invalid)? {
                stopped = true;
                return Ok(false);
            }
            next = header.next_offset();
            bytes += value.len();
            stopped = bytes >= bytes_max;
            Ok(!stopped)
        })?;
        // What is behind the last batch is a gap.
        Ok((bytes, if stopped { next } else { to }))
    }
}

impl Running {
    fn new(candidate: Candidate, now_ms: i64) -> Self {
        let visible = candidate.partition.lock();
        let (info, Progress { clean_to, .. }) = (visible.info, visible.compacted);
        drop(visible);
        let next = clean_to.max(info.start);
        let pass = Pass::new(&candidate.topic.config, now_ms);
        Self {
            candidate,
            stage: Stage::Looking,
            next,
            end: info.end,
            looked_to: next,
            clean_to: next,
            bytes_before: 0,
            pass,
        }
    }

    /// Whether nothing is left to do, or nothing to do it on.
    fn is_done(&self) -> bool {
        self.candidate.topic.is_deleted() || (self.stage == Stage::Cleaning && self.next >= self.clean_to)
    }

    /// Notes the keys of more batches.
    fn look(&mut self, shared: &Shared, newest: &mut NewestKeys, bytes_max: usize) -> Result<usize> {
        let mut is_full = false;
        let (mut clean_to, mut looked_to) = (self.clean_to, self.looked_to);
        let (bytes, next) = self.candidate.scan(shared, (self.next, self.end), bytes_max, |header, batch| {
            is_full = !newest.has_room_for(header);
            if is_full {
                clean_to = header.base_offset;
                return Ok(false);
            }
            newest.note(batch)?;
            (clean_to, looked_to) = (header.base_offset, header.next_offset());
            Ok(true)
        })?;
        (self.clean_to, self.looked_to, self.next) = (clean_to, looked_to, next);
        if is_full || next >= self.end {
            self.stage = Stage::Cleaning;
            self.next = self.candidate.partition.lock().info.start;
            if self.is_done() {
                self.apply(shared, Vec::new())?;
            }
        }
        Ok(bytes)
    }

    /// Goes over more batches.
    fn clean(&mut self, shared: &Shared, newest: &NewestKeys, bytes_max: usize) -> Result<usize> {
        let mut changes = Vec::new();
        let range = (self.next, self.clean_to);
        let (bytes, next) = self.candidate.scan(shared, range, bytes_max, |header, batch| {
            if let Some(cleaned) = self.pass.clean(newest, batch)? {
                changes.push(Changed { base: header.base_offset, bytes_before: batch.len() as u64, cleaned });
            }
            Ok(true)
        })?;
        self.next = next;
        self.apply(shared, changes)?;
        Ok(bytes)
    }

    /// Writes what changed and, at the end of the pass, how far it came.
    fn apply(&mut self, shared: &Shared, changes: Vec<Changed>) -> Result<()> {
        let is_done = self.is_done();
        if changes.is_empty() && !is_done {
            return Ok(());
        }
        let Candidate { topic, partition, .. } = &self.candidate;
        let store = &shared.store;
        let mut guard = shared.writing()?;
        let writing = &mut *guard;
        if topic.is_deleted() {
            return Ok(());
        }
        let (mut info, mut compacted) = {
            let visible = partition.lock();
            (visible.info, visible.compacted)
        };
        let mut batch = WriteBatch::default();
        // What retention removed meanwhile does not come back.
        let changes: Vec<_> = changes.into_iter().filter(|change| change.base >= info.start).collect();
        for Changed { base, bytes_before, cleaned } in &changes {
            let key = Entry::Batch { topic: topic.id, partition: partition.number, base: *base }.of(&topic.tenant);
            match &cleaned.by {
                Some(bytes) => store.put(&mut batch, &key, bytes),
                None => store.delete(&mut batch, &key),
            }
            info.records -= u64::from(cleaned.removed);
            info.bytes = info.bytes - bytes_before + cleaned.by.as_ref().map_or(0, |by| by.len() as u64);
            self.bytes_before += bytes_before;
        }
        if !changes.is_empty() {
            compacted.dense_from = compacted.dense_from.max(self.clean_to);
        }
        if is_done {
            compacted = Progress {
                clean_to: self.clean_to,
                looked_to: self.looked_to,
                clean_bytes: self.pass.done.bytes,
                horizon: self.pass.done.horizon,
                dense_from: compacted.dense_from,
            };
            compacted.trim(info.start, 0);
        }
        let of = |entry: Entry| entry.of(&topic.tenant);
        let (id, number) = (topic.id, partition.number);
        let value = writing.sealer.seal(&[&format::encode_partition(&info)]);
        store.put(&mut batch, &of(Entry::Partition { topic: id, partition: number }), value);
        let value = writing.sealer.seal(&[&format::encode_progress(&compacted)]);
        store.put(&mut batch, &of(Entry::Progress { topic: id, partition: number }), value);
        // Before the write: a reader that misses a batch looks whether there may be gaps.
        {
            let mut visible = partition.lock();
            (visible.info, visible.compacted) = (info, compacted);
        }
        for Changed { base, cleaned, .. } in changes {
            writing.tail.replace(partition, base, cleaned.by);
        }
        shared.write_lazily(batch)?;
        drop(guard);
        if is_done && self.bytes_before >= RECLAIM_BYTES_MIN {
            store.compact(&Range::batches(&topic.tenant, id, number, 0..self.clean_to));
        }
        Ok(())
    }
}
