//! Compaction by key: what every log does with a topic that keeps the newest record of each key. Pure; the logs say when,
//! and where the batches lie.
//!
//! A pass looks at a partition from the place up to which it has been compacted (a record is *dirty* from there on) and
//! notes the newest offset of each key it meets, up to a number of keys ([`NewestKeys`]). Then it goes over the batches
//! from the start up to where it stopped looking, or to the newest batch, which stays as it is, and leaves out every
//! record of a key for which it knows a newer one. A pass that ran out of room for keys leaves the rest dirty; the next
//! one goes on there. So memory is bounded, and after a pass no key has two records before [`Progress::clean_to`].
//!
//! A deletion (a null value) is kept for a time, so that readers who are behind learn of it. The first pass that meets it
//! has left out all older records of its key, and gives its batch a horizon; a pass after that time leaves it out. Nothing
//! of its key can come back: there is nothing older, and what is newer stays.

use std::collections::HashMap;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::TopicConfig;
use super::batch::{self, Change, Header, Invalid, Seen};
use crate::ids::Offset;

/// Keys that a pass notes unless told otherwise: what a table of 2^20 places holds, 25 MiB.
pub(super) const KEYS_MAX: usize = (1 << 20) / 8 * 7;

/// How far a partition has been compacted. All zero before the first compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Progress {
    /// No key has two records before this offset. Where batches lie, one begins here.
    pub(super) clean_to: Offset,
    /// The end that the partition had in the last pass: records from here on have not been looked at.
    pub(super) looked_to: Offset,
    /// Bytes of the batches before `clean_to`.
    pub(super) clean_bytes: u64,
    /// The first horizon of a deletion before `clean_to`, if there are any.
    pub(super) horizon: Option<i64>,
    /// Offsets from here on have not lost a record to compaction.
    pub(super) dense_from: Offset,
}

impl Progress {
    /// Whether a pass is worth its cost: there are records that have not been looked at, and at least half of the bytes
    /// are dirty, as in Kafka; or deletions need not be kept any more.
    pub(super) fn is_due(&self, end: Offset, bytes: u64, now_ms: i64) -> bool {
        let dirty_bytes = bytes.saturating_sub(self.clean_bytes);
        let new_records = self.looked_to < end && dirty_bytes >= self.clean_bytes;
        new_records || self.horizon.is_some_and(|horizon| horizon <= now_ms)
    }

    /// After retention has removed everything before an offset.
    pub(super) fn trim(&mut self, start: Offset, removed_bytes: u64) {
        self.clean_bytes = if start >= self.clean_to { 0 } else { self.clean_bytes.saturating_sub(removed_bytes) };
        self.clean_to = self.clean_to.max(start);
    }
}

/// The newest offset of each key that a pass has met.
///
/// A key is known by the first half of its SHA-256: long keys cost no more than short ones, and nobody can make two that
/// are taken for one.
#[derive(Debug)]
pub(super) struct NewestKeys {
    offsets: HashMap<[u8; 16], Offset>,
    keys_max: usize,
}

impl NewestKeys {
    pub(super) fn new(keys_max: usize) -> Self {
        Self { offsets: HashMap::new(), keys_max }
    }

    /// Whether there is room for the keys of a batch. There always is for those of one.
    pub(super) fn has_room_for(&self, header: &Header) -> bool {
        self.offsets.is_empty() || self.offsets.len() + header.count as usize <= self.keys_max
    }

    /// Notes the records of a batch that comes after those before.
    pub(super) fn note(&mut self, batch: &[u8]) -> Result<(), Invalid> {
        batch::scan(batch, |seen| {
            if let Some(key) = seen.key {
                self.offsets.insert(digest(key), seen.offset);
            }
        })
        .map(drop)
    }

    fn has_newer(&self, seen: &Seen<'_>) -> bool {
        let newest = seen.key.and_then(|key| self.offsets.get(&digest(key)));
        newest.is_some_and(|&newest| newest > seen.offset)
    }
}

fn digest(key: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(key)[..16]);
    half
}

/// What a pass does to the batches that it goes over.
#[derive(Debug)]
pub(super) struct Pass {
    now_ms: i64,
    /// The horizon of deletions that are met for the first time.
    horizon: i64,
    /// What became of them.
    pub(super) done: Done,
}

/// What became of the batches that a pass has gone over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Done {
    /// Bytes that are left.
    pub(super) bytes: u64,
    /// Records that were left out.
    pub(super) removed: u64,
    /// The first horizon of a deletion that is left.
    pub(super) horizon: Option<i64>,
}

/// What a pass does to one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cleaned {
    /// Records that it loses.
    pub(super) removed: u32,
    /// What it is replaced by; nothing, if no record is left.
    pub(super) by: Option<Bytes>,
}

impl Pass {
    pub(super) fn new(config: &TopicConfig, now_ms: i64) -> Self {
        Self { now_ms, horizon: config.delete_horizon(now_ms), done: Done::default() }
    }

    /// Goes over the next batch; nothing, if it stays as it is.
    pub(super) fn clean(&mut self, newest: &NewestKeys, batch: &[u8]) -> Result<Option<Cleaned>, Invalid> {
        let expired = Header::parse(batch)?.delete_horizon.is_some_and(|horizon| horizon <= self.now_ms);
        let goes = |seen: Seen<'_>| newest.has_newer(&seen) || (expired && seen.is_deletion);
        let retained = batch::retain(batch, self.horizon, |seen| !goes(seen))?;
        self.done.horizon = self.done.horizon.into_iter().chain(retained.horizon).min();
        self.done.removed += u64::from(retained.removed);
        let removed = retained.removed;
        Ok(match retained.change {
            Change::Unchanged => {
                self.done.bytes += batch.len() as u64;
                None
            }
            Change::Rewritten(bytes) => {
                self.done.bytes += bytes.len() as u64;
                Some(Cleaned { removed, by: Some(bytes) })
            }
            Change::Emptied => Some(Cleaned { removed, by: None }),
        })
    }
}
