//! Values of keys between memory and disk.
//!
//! What is used is loaded into memory and stays until room is needed; then what was not used for the longest goes, and is
//! written only if the disk does not have it as it is. Keys with timers or tables stay: their values go with them.
//!
//! Rewriting the state piece by piece must not miss what moves meanwhile. What moved to disk is found there, because disk
//! is rewritten after memory; what was loaded is marked as changed, so the next block has it.

use super::Keyed;
use super::blocks::Sweep;
use super::disk::{in_order, value_name};
use super::slots::SlotId;
use crate::record::{Column, ColumnRef};

/// Slots or entries that are looked at between two micro-batches: half a millisecond at least, so that the search comes
/// round; some milliseconds at most, as where keys have timers there may be none that can go.
const LOOKS: std::ops::RangeInclusive<usize> = 1 << 15..=1 << 18;
/// An eighth of what a small key takes: one in eight has to be found that is not in use.
const BYTES_A_LOOK: usize = 8;

/// Where the search for what is used least goes on.
#[derive(Debug, Default)]
pub(super) struct Hand {
    slot: SlotId,
    /// The call at which the search last passed the first slot: what was used since then stays for another round.
    since: u32,
    /// The call at which the search passed the first slot the time before.
    before: u32,
}

impl Hand {
    /// Forgets when the search passed: the numbers of calls start over.
    pub(super) fn restart(&mut self) {
        (self.since, self.before) = (0, 0);
    }
}

/// How many slots or entries are looked at to free so many bytes. Memory may take a little more for a while, until the
/// search has come round: no micro-batch waits for all of it.
pub(super) fn looks(wanted: usize) -> usize {
    (wanted / BYTES_A_LOOK).clamp(*LOOKS.start(), *LOOKS.end())
}

impl Keyed {
    /// Brings the values of those keys into memory that are on disk. `candidates` are the slots that they may have.
    pub(super) fn fetch(&mut self, keys: ColumnRef<'_>, hashes: &[u32], candidates: &[Option<SlotId>]) {
        let mut missing = Vec::new();
        for ((key, &hash), &candidate) in keys.iter().zip(hashes).zip(candidates) {
            // Where not even a candidate is, nothing is.
            let is_here =
                candidate.is_some_and(|slot| self.slots.is_of(slot, hash, key) || self.slots.find(hash, key).is_some());
            if !is_here {
                let mut name = Vec::with_capacity(2 + key.map_or(0, <[u8]>::len));
                value_name(key, &mut name);
                missing.push((name, (hash, key)));
            }
        }
        if missing.is_empty() {
            return;
        }
        let (names, missing) = in_order(missing);
        let disk = std::sync::Arc::clone(&self.disk);
        disk.get(names.view(), &mut |place, value| {
            let (hash, key) = missing[place];
            let slot = self.slots.add(hash, key);
            self.slots.set_value(slot, Some(value));
            self.slots.mark_same(slot);
            self.on_disk_only -= 1;
            if self.sweep != Sweep::default() && self.slots.touch(slot, self.commit.now()) {
                self.changed_values.push(slot);
            }
        });
    }

    /// Moves as many bytes as are wanted to disk; how many it were. Nothing may have changed since the last block.
    pub(super) fn evict(&mut self, wanted: usize) -> usize {
        if wanted == 0 || !self.disk.is_there() {
            return 0;
        }
        let mut freed = self.evict_values(wanted);
        if freed < wanted && !self.tables.is_empty() {
            let slots = &self.slots;
            freed += self.tables.evict(wanted - freed, |slot| slots.key(slot));
        }
        freed
    }

    fn evict_values(&mut self, wanted: usize) -> usize {
        let (mut names, mut values, mut name) = (Column::default(), Column::default(), Vec::new());
        // Three times round: what was just used stays twice.
        let (mut freed, mut left) = (0, looks(wanted).min(3 * self.slots.end() as usize));
        while freed < wanted && left > 0 {
            left -= 1;
            if self.hand.slot >= self.slots.end() {
                self.hand = Hand { slot: 0, since: self.call.now(), before: self.hand.since };
            }
            let slot = self.hand.slot;
            self.hand.slot += 1;
            let stays = !self.slots.is_taken(slot)
                || self.slots.value(slot).is_none()
                || self.slots.is_used_since(slot, self.hand.before)
                || self.slots.timers(slot).is_some()
                || self.tables.size(slot).entries > 0;
            if stays {
                continue;
            }
            freed += self.slots.bytes_of(slot);
            if !self.slots.is_same(slot) {
                name.clear();
                value_name(self.slots.key(slot), &mut name);
                names.push(Some(&name));
                values.push(self.slots.value(slot));
            }
            self.slots.free(slot);
            self.on_disk_only += 1;
        }
        // If it fails, what was to be written is lost here; then nothing that is here is committed any more.
        self.disk.write(&names, &values);
        freed
    }

    /// Notes that a key has nothing any more: what the disk has of it is to go.
    pub(super) fn delete_on_disk(&mut self, slot: SlotId) {
        if self.slots.may_be_on_disk(slot) {
            let mut name = Vec::new();
            value_name(self.slots.key(slot), &mut name);
            self.deleted.push(Some(&name));
        }
    }

    /// Deletes on disk what was noted.
    pub(super) fn flush_deleted(&mut self) {
        let names = std::mem::take(&mut self.deleted);
        let nulls: Column = (0..names.len()).map(|_| None::<&[u8]>).collect();
        self.disk.write(&names, &nulls);
    }
}
