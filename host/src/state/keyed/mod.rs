//! The state of a step of world `process`: for each key a value, timers and entries of tables.
//!
//! A key is known by a slot while it has anything, and for the length of a micro-batch. Whoever makes calls works with
//! slots: [`Keyed::group`] finds those of rows, [`Keyed::pop_due`] those of timers, [`Keyed::load`] and [`Keyed::store`]
//! move the values of many at once. What is not used may go to disk between micro-batches, and comes back when it is:
//! nobody else sees where it is.
//!
//! Nothing here knows what a call is or how its answer is checked.

mod blocks;
mod disk;
mod exchange;
mod key_timers;
mod overlay;
mod schedule;
mod slots;
mod tables;
mod timers;

use std::sync::{Arc, Mutex, PoisonError};

pub use self::key_timers::Timer;
pub use self::overlay::CallTables;
pub use self::slots::SlotId;

use self::blocks::Sweep;
use self::disk::Disk;
use self::exchange::Hand;
use self::slots::Slots;
use self::tables::Tables;
use self::timers::Timers;
use crate::plugin::{AS_SOURCE, Domain};
use crate::record::{Column, ColumnRef};
use crate::state::Disks;
use crate::state::ticks::Ticks;
use crate::time::Watermark;

/// What a key with tables counts for at most when a call is filled: a few pages, which a row reads and writes. What calls
/// write into tables is held until the commit, and bounded.
const TABLE_PAYLOAD: u64 = 16 << 10;
/// Values that are migrated in one call.
const MIGRATED_KEYS: usize = 4096;
/// Bytes of values that are migrated in one call: calls of 512 KiB to 1 MiB are the cheapest.
const MIGRATED_BYTES: usize = 768 << 10;

/// Most keys whose timers fire in one go when nothing but time moves on.
pub const FIRING_KEYS: usize = 8192;

/// How far firing is, and how many keys it takes at once. It is no state: nothing depends on it but how much is done in one
/// call and one commit.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Keys that fire at once: fewer after calls that failed or gave very much.
    pub keys: usize,
    /// Whether all that was due had fired when last looked. If not, rows wait.
    pub caught_up: bool,
    /// Whether a timer went on among rows: then rows wait for all timers that are due, and come few at a time.
    pub wide: bool,
}

impl Default for Pace {
    fn default() -> Self {
        // What the last commit left undone is not known after a restart.
        Self { keys: FIRING_KEYS, caught_up: false, wide: false }
    }
}

/// The state of one step.
#[derive(Debug)]
pub struct Keyed {
    /// How timers fire.
    pub pace: Pace,
    slots: Slots,
    timers: Timers,
    tables: Tables,
    /// Numbers calls, so that a slot knows whether it has a group in this one.
    call: Ticks,
    /// Numbers commits, so that a slot knows whether its value was noted as changed in this one.
    commit: Ticks,
    changed_values: Vec<SlotId>,
    changed_timers: Vec<(SlotId, Domain, u64)>,
    /// Slots that were made since the last block: most have something by now, the others are given away.
    fresh: Vec<SlotId>,
    sweep: Sweep,
    disk: Arc<Disk>,
    /// Keys whose values are on disk and not in memory.
    on_disk_only: usize,
    /// What the disk is to forget, by its names.
    deleted: Column,
    hand: Hand,
}

/// The groups of the rows of a call.
#[derive(Debug, Default)]
pub struct KeyGroups {
    /// The slot of each group, in the order in which their first rows came.
    pub slots: Vec<SlotId>,
    /// The group of each row.
    pub row_groups: Vec<u32>,
    hashes: Vec<u32>,
    candidates: Vec<Option<SlotId>>,
}

impl Keyed {
    /// No state. Without `disks` all of it will be in memory.
    pub fn new(disks: Option<Arc<dyn Disks>>) -> Self {
        let disk = Arc::new(Disk::new(disks));
        Self {
            pace: Pace::default(),
            slots: Slots::default(),
            timers: Timers::default(),
            tables: Tables::new(Arc::clone(&disk)),
            call: Ticks::NONE,
            commit: Ticks::FIRST,
            changed_values: Vec::new(),
            changed_timers: Vec::new(),
            fresh: Vec::new(),
            sweep: Sweep::default(),
            disk,
            on_disk_only: 0,
            deleted: Column::default(),
            hand: Hand::default(),
        }
    }

    /// Begins a call. Where the numbers of calls start over, nothing counts as used before.
    fn begin_call(&mut self) {
        self.call.advance(|| {
            self.slots.clear_calls();
            self.hand.restart();
        });
    }

    /// Finds the groups of rows with these keys.
    pub fn group(&mut self, keys: ColumnRef<'_>, into: &mut KeyGroups) {
        into.slots.clear();
        into.row_groups.clear();
        into.hashes.clear();
        self.begin_call();
        into.candidates.clear();
        // One look into memory for all rows after the other: the processor waits for many of them at once.
        into.hashes.extend(keys.iter().map(|key| self.slots.hash(key)));
        into.candidates.extend(into.hashes.iter().map(|&hash| self.slots.candidate(hash)));
        let touched = into.candidates.iter().flatten().fold(0, |sum, &slot| sum ^ self.slots.touch_memory(slot));
        std::hint::black_box(touched);
        if self.on_disk_only > 0 {
            self.fetch(keys, &into.hashes, &into.candidates);
        }
        for ((key, &hash), &candidate) in keys.iter().zip(&into.hashes).zip(&into.candidates) {
            let slot = match candidate {
                Some(slot) if self.slots.is_of(slot, hash, key) => slot,
                _ => self.slot(hash, key),
            };
            let group = self.slots.group_in(slot, self.call.now()).unwrap_or_else(|| {
                let group = into.slots.len() as u32;
                self.slots.set_group(slot, self.call.now(), group);
                into.slots.push(slot);
                group
            });
            into.row_groups.push(group);
        }
    }

    /// Adds a key that may have no rows to the groups of the rows that were grouped last; whether it was not there yet.
    pub fn enlist(&mut self, slot: SlotId) -> bool {
        let is_new = self.slots.group_in(slot, self.call.now()).is_none();
        self.slots.set_group(slot, self.call.now(), 0);
        is_new
    }

    /// The key of a slot.
    pub fn key(&self, slot: SlotId) -> Option<&[u8]> {
        self.slots.key(slot)
    }

    /// The value of a key, if it is in memory.
    pub fn value(&self, key: Option<&[u8]>) -> Option<&[u8]> {
        self.slots.value(self.slots.find(self.slots.hash(key), key)?)
    }

    /// Bytes of the key and value of a slot.
    pub fn payload(&self, slot: SlotId) -> usize {
        let tables = self.tables.size(slot).bytes.min(TABLE_PAYLOAD) as usize;
        self.slots.key(slot).map_or(0, <[u8]>::len) + self.slots.value_length(slot) + tables
    }

    /// Appends the values of slots.
    pub fn load(&mut self, slots: &[SlotId], into: &mut Column) {
        for &slot in slots {
            into.push(self.slots.value(slot));
        }
    }

    /// Takes new values of slots; a length of [`AS_SOURCE`] leaves one as it is.
    pub fn store(&mut self, slots: &[SlotId], values: &Column) {
        let mut rest = values.bytes.as_slice();
        for (&slot, &length) in slots.iter().zip(&values.lengths) {
            if length == AS_SOURCE {
                continue;
            }
            let (bytes, after) = rest.split_at(length.max(0) as usize);
            rest = after;
            self.slots.set_value(slot, (length >= 0).then_some(bytes));
            if self.slots.touch(slot, self.commit.now()) {
                self.changed_values.push(slot);
            }
        }
    }

    /// Sets or replaces a timer. [`Keyed::update`] makes it known.
    pub fn set_timer(&mut self, slot: SlotId, timer: Timer) {
        self.timers.set(&mut self.slots, slot, timer);
        self.changed_timers.push((slot, timer.domain, timer.id));
    }

    /// Removes a timer, if it is there. [`Keyed::update`] makes it known.
    pub fn remove_timer(&mut self, slot: SlotId, domain: Domain, id: u64) {
        if self.timers.remove(&self.slots, slot, domain, id) {
            self.changed_timers.push((slot, domain, id));
        }
    }

    /// When a timer is due, if it is set.
    pub fn timer(&self, slot: SlotId, domain: Domain, id: u64) -> Option<i64> {
        self.timers.of(&self.slots, slot)?.get(domain, id)
    }

    /// How many timers a key has.
    pub fn timers(&self, slot: SlotId) -> usize {
        self.timers.of(&self.slots, slot).map_or(0, key_timers::KeyTimers::len)
    }

    /// All timers of a key, in no particular order.
    pub fn all_timers(&self, slot: SlotId) -> impl Iterator<Item = Timer> {
        self.timers.of(&self.slots, slot).into_iter().flat_map(key_timers::KeyTimers::iter)
    }

    /// When the first timer of a key is due.
    pub fn first_timer(&self, slot: SlotId, domain: Domain) -> Option<i64> {
        self.timers.of(&self.slots, slot)?.first(domain)
    }

    /// Appends the timers of a key that are due at a time, by time and id.
    pub fn due(&self, slot: SlotId, domain: Domain, until: i64, into: &mut Vec<Timer>) {
        if let Some(timers) = self.timers.of(&self.slots, slot) {
            timers.due(domain, until, into);
        }
    }

    /// Takes out the next keys that have a timer due, at most `most`, with its time: in the order of time, then key. Each
    /// has to be brought back by [`Keyed::update`].
    pub fn pop_due(&mut self, domain: Domain, until: i64, most: usize) -> Vec<(i64, SlotId)> {
        self.timers.pop(&self.slots, domain, until, most)
    }

    /// The time at which, in order of time, more than `most` keys have a timer due by `until`; none if no more have.
    pub fn backlog(&self, domain: Domain, until: i64, most: usize) -> Option<i64> {
        self.timers.backlog(&self.slots, domain, until, most)
    }

    /// Makes changes of a key's timers known to those who look for what is due.
    pub fn update(&mut self, slot: SlotId) {
        self.timers.update(&mut self.slots, slot);
    }

    /// Makes what is known of the first timers exact.
    pub fn settle(&mut self) {
        self.timers.settle(&self.slots);
    }

    /// The watermark while what is due by it has not fired.
    pub fn held_watermark(&self, watermark: Watermark) -> Watermark {
        match self.timers.first(Domain::Event) {
            Some(i64::MIN) => Watermark::None,
            Some(first) => watermark.min(Watermark::At(first - 1)),
            None => watermark,
        }
    }

    /// Lends the tables to a call of these groups.
    pub fn lend_tables(&mut self, slots: &[SlotId]) -> Arc<Mutex<CallTables>> {
        let mut kept = std::mem::take(&mut self.tables);
        kept.note_fetched(self.sweep != Sweep::default());
        Arc::new(Mutex::new(CallTables::new(kept, slots.to_vec(), |slot| self.slots.key(slot))))
    }

    /// Takes the tables back, with what the call wrote if it is to be kept.
    pub fn take_tables(&mut self, call: &Mutex<CallTables>, keep: bool) {
        self.tables = call.lock().unwrap_or_else(PoisonError::into_inner).end(keep);
    }

    /// Passes all values through `each`, in batches and in no particular order, and replaces them by what it gives: as
    /// many values, null for those to be dropped. If it fails, nothing has changed. All must be in memory.
    pub fn migrate<E>(&mut self, mut each: impl FnMut(ColumnRef<'_>) -> Result<Column, E>) -> Result<(), E> {
        let mut migrated = Vec::new();
        let mut from = 0;
        while let Some(values) = self.values_from(from) {
            from = values.next;
            migrated.push((values.slots, each(values.column.view())?));
        }
        for (slots, column) in migrated {
            self.replace_values(&slots, &column);
        }
        Ok(())
    }

    /// The next values, as many as a call should have, from the slot of that number on.
    pub fn values_from(&self, from: SlotId) -> Option<SomeValues> {
        let mut values = SomeValues { slots: Vec::new(), column: Column::default(), next: from };
        while values.next < self.slots.end()
            && values.slots.len() < MIGRATED_KEYS
            && values.column.bytes.len() < MIGRATED_BYTES
        {
            if self.slots.is_taken(values.next)
                && let Some(value) = self.slots.value(values.next)
            {
                values.slots.push(values.next);
                values.column.push(Some(value));
            }
            values.next += 1;
        }
        (!values.slots.is_empty()).then_some(values)
    }

    /// Replaces values that [`Keyed::values_from`] gave, by as many.
    pub fn replace_values(&mut self, slots: &[SlotId], column: &Column) {
        self.store(slots, column);
    }

    fn slot(&mut self, hash: u32, key: Option<&[u8]>) -> SlotId {
        let before = self.slots.len();
        let slot = self.slots.slot(hash, key);
        if self.slots.len() != before {
            self.fresh.push(slot);
        }
        slot
    }

    /// Gives a slot away if its key has nothing.
    fn free_if_empty(&mut self, slot: SlotId) {
        let is_empty = self.slots.is_taken(slot)
            && self.slots.value(slot).is_none()
            && self.slots.timers(slot).is_none()
            && self.tables.size(slot).entries == 0;
        if is_empty {
            self.delete_on_disk(slot);
            self.slots.free(slot);
        }
    }
}

/// Some values, with the slots they are of.
#[derive(Debug)]
pub struct SomeValues {
    pub slots: Vec<SlotId>,
    /// Their values, none of them null.
    pub column: Column,
    /// The slot at which those after begin.
    pub next: SlotId,
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wrap_tests;
