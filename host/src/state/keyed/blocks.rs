//! Keyed state in blocks.
//!
//! A block says what a key's value, timer or table entry is now, or that there is none. On top of what changed it can
//! carry a part of what did not, going round, so that blocks of long ago are not needed.
//!
//! ```text
//! keys          column: every key that the block says something of
//! values        column: the values of the first keys; null for none
//! timers        number, then of each: key (u32), domain and whether it is set (u8), id, time
//! entries       number of runs, then of each: key (u32), table (u32), entries (u32);
//!               column of entries' keys; column of entries' values, null for none
//! ```

use std::ops::{Bound, ControlFlow};

use super::disk::{ENTRIES, VALUES, entry_of, key_of};
use super::slots::{SlotId, Slots};
use super::tables::{EntryKey, parts, place};
use super::{KeyGroups, Keyed, Timer};
use crate::plugin::Domain;
use crate::record::Column;
use crate::state::{BlockError, Now, Reader, SpillError, Store, Stretch, Summary, Writer};
use crate::time::Watermark;

/// Bytes that looking at an entry on disk costs a block, if it is in memory too and is not written for it.
const LOOK_BYTES: usize = 16;

/// Where the next block goes on writing what did not change: memory first, disk after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sweep {
    /// At the slot of that number.
    Slots(SlotId),
    /// At the first value on disk that is not before this name.
    ValuesOnDisk(Vec<u8>),
    /// At the first entry of a table after this place.
    Entries(EntryKey),
    /// At the first entry on disk that is not before this name.
    EntriesOnDisk(Vec<u8>),
}

impl Default for Sweep {
    fn default() -> Self {
        Self::Slots(0)
    }
}

/// What a block says.
#[derive(Debug, Default)]
struct Contents {
    /// Slots whose value it says.
    values: Vec<SlotId>,
    /// Keys that have no slot, and their values.
    on_disk: (Column, Column),
    timers: Vec<(SlotId, Domain, u64)>,
    entries: Vec<EntryKey>,
    /// Entries that are not in memory.
    entries_on_disk: Vec<(EntryKey, Box<[u8]>)>,
}

/// What changed since the last block.
#[derive(Debug)]
struct Changed {
    values: Vec<SlotId>,
    timers: Vec<(SlotId, Domain, u64)>,
    /// In order, each once.
    entries: Vec<EntryKey>,
}

impl Keyed {
    /// Adds about this many bytes of what did not change. Whether a round ended.
    fn sweep(&mut self, contents: &mut Contents, mut budget: usize) -> bool {
        if budget == 0 {
            return false;
        }
        loop {
            let (stopped, next) = match std::mem::take(&mut self.sweep) {
                Sweep::Slots(from) => {
                    let stopped = self.sweep_slots(from, contents, &mut budget).map(Sweep::Slots);
                    (stopped, Some(Sweep::ValuesOnDisk(vec![VALUES])))
                }
                Sweep::ValuesOnDisk(from) => {
                    let stopped = self.sweep_values_on_disk(&from, contents, &mut budget).map(Sweep::ValuesOnDisk);
                    (stopped, Some(Sweep::Entries(EntryKey::default())))
                }
                Sweep::Entries(after) => {
                    let stopped = self.sweep_entries(&after, contents, &mut budget).map(Sweep::Entries);
                    (stopped, Some(Sweep::EntriesOnDisk(vec![ENTRIES])))
                }
                Sweep::EntriesOnDisk(from) => {
                    let stopped = self.sweep_entries_on_disk(&from, contents, &mut budget);
                    (stopped.map(Sweep::EntriesOnDisk), None)
                }
            };
            match (stopped, next) {
                (Some(stopped), _) => {
                    self.sweep = stopped;
                    return false;
                }
                (None, Some(next)) => self.sweep = next,
                // A disk that failed did not show all that it has.
                (None, None) => return self.disk.failure().is_none(),
            }
        }
    }

    /// Each of these answers where it stopped, if the budget was used up before the end.
    fn sweep_slots(&self, from: SlotId, contents: &mut Contents, budget: &mut usize) -> Option<SlotId> {
        for slot in from..self.slots.end() {
            if *budget == 0 {
                return Some(slot);
            }
            if self.slots.is_taken(slot) {
                *budget = budget.saturating_sub(self.sweep_slot(slot, contents));
            }
        }
        None
    }

    fn sweep_values_on_disk(&self, from: &[u8], contents: &mut Contents, budget: &mut usize) -> Option<Vec<u8>> {
        let mut stopped = None;
        let range = Stretch { from, to: &[VALUES + 1], backwards: false };
        self.disk.scan(range, &mut |name, value| {
            if *budget == 0 {
                stopped = Some(name.to_vec());
                return ControlFlow::Break(());
            }
            let key = key_of(name);
            let mut cost = LOOK_BYTES;
            // What is in memory too was gone over there.
            if self.slots.find(self.slots.hash(key), key).is_none() {
                contents.on_disk.0.push(key);
                contents.on_disk.1.push(Some(value));
                cost = name.len() + value.len();
            }
            *budget = budget.saturating_sub(cost);
            ControlFlow::Continue(())
        });
        stopped
    }

    fn sweep_entries(&self, after: &[u8], contents: &mut Contents, budget: &mut usize) -> Option<EntryKey> {
        for (at, value) in self.tables.range((Bound::Excluded(after), Bound::Unbounded)) {
            if *budget == 0 {
                return Some(contents.entries.last().cloned().unwrap_or_default());
            }
            contents.entries.push(at.into());
            *budget = budget.saturating_sub(at.len() + value.map_or(0, <[u8]>::len));
        }
        None
    }

    fn sweep_entries_on_disk(&self, from: &[u8], contents: &mut Contents, budget: &mut usize) -> Option<Vec<u8>> {
        let mut stopped = None;
        let range = Stretch { from, to: &[ENTRIES + 1], backwards: false };
        self.disk.scan(range, &mut |name, value| {
            if *budget == 0 {
                stopped = Some(name.to_vec());
                return ControlFlow::Break(());
            }
            let mut cost = LOOK_BYTES;
            // A key that has entries has a slot.
            if let Some((key, table, entry)) = entry_of(name)
                && let Some(slot) = self.slots.find(self.slots.hash(key), key)
                && !self.tables.has(&place(slot, table, entry))
            {
                contents.entries_on_disk.push((place(slot, table, entry), value.into()));
                cost = name.len() + value.len();
            }
            *budget = budget.saturating_sub(cost);
            ControlFlow::Continue(())
        });
        stopped
    }

    /// Adds a slot's value and timers; their bytes.
    fn sweep_slot(&self, slot: SlotId, contents: &mut Contents) -> usize {
        let mut bytes = 0;
        if self.slots.value(slot).is_some() {
            contents.values.push(slot);
            bytes += self.payload(slot);
        }
        if let Some(timers) = self.timers.of(&self.slots, slot) {
            contents.timers.extend(timers.iter().map(|timer| (slot, timer.domain, timer.id)));
            bytes += timers.len() * size_of::<Timer>();
        }
        bytes
    }

    /// The number of a slot's key in the block.
    fn number(slots: &mut Slots, call: u32, slot: SlotId, keys: &mut Column) -> u32 {
        slots.group_in(slot, call).unwrap_or_else(|| {
            let number = keys.len() as u32;
            slots.set_group(slot, call, number);
            keys.push(slots.key(slot));
            number
        })
    }

    /// What changed since the last block, which is not noted any more.
    fn take_changed(&mut self) -> Changed {
        let values = std::mem::take(&mut self.changed_values);
        let timers = std::mem::take(&mut self.changed_timers);
        Changed { values, timers, entries: self.tables.take_changed() }
    }

    /// Gives away what has nothing any more, once the block says so.
    fn end_block(&mut self, changed: &Changed) {
        let keys = &self.slots;
        self.tables.flush_deleted(&changed.entries, |slot| keys.key(slot));
        let mut spare = std::mem::take(&mut self.fresh);
        spare.extend(&changed.values);
        spare.extend(changed.timers.iter().map(|&(slot, ..)| slot));
        spare.extend(changed.entries.iter().map(|at| parts(at).0));
        spare.into_iter().for_each(|slot| self.free_if_empty(slot));
        self.flush_deleted();
        self.commit.advance(|| self.slots.clear_commits());
        self.settle();
    }

    /// Counts values and timers, wherever they are.
    fn summarize_values(&self, summary: &mut Summary) {
        for slot in (0..self.slots.end()).filter(|&slot| self.slots.is_taken(slot)) {
            let key = self.slots.key(slot);
            if let value @ Some(_) = self.slots.value(slot) {
                summary.add(&[0], &[key, value]);
            }
            for Timer { domain, time, id } in self.all_timers(slot) {
                summary.add(&[1, domain as i64, id.cast_signed(), time], &[key]);
            }
        }
        let range = Stretch { from: &[VALUES], to: &[VALUES + 1], backwards: false };
        self.disk.scan(range, &mut |name, value| {
            let key = key_of(name);
            if self.slots.find(self.slots.hash(key), key).is_none() {
                summary.add(&[0], &[key, Some(value)]);
            }
            ControlFlow::Continue(())
        });
    }

    /// Counts entries of tables, wherever they are.
    fn summarize_entries(&self, summary: &mut Summary) {
        for (at, value) in self.tables.range((Bound::Unbounded, Bound::Unbounded)) {
            let (slot, table, entry) = parts(at);
            if value.is_some() {
                summary.add(&[2, i64::from(table)], &[self.slots.key(slot), Some(entry), value]);
            }
        }
        let range = Stretch { from: &[ENTRIES], to: &[ENTRIES + 1], backwards: false };
        self.disk.scan(range, &mut |name, value| {
            if let Some((key, table, entry)) = entry_of(name)
                && let Some(slot) = self.slots.find(self.slots.hash(key), key)
                && !self.tables.has(&place(slot, table, entry))
            {
                summary.add(&[2, i64::from(table)], &[key, Some(entry), Some(value)]);
            }
            ControlFlow::Continue(())
        });
    }

    fn write_contents(&mut self, writer: &mut Writer, mut contents: Contents) {
        // Numbering the keys of a block is like numbering the groups of a call.
        self.begin_call();
        let (mut keys, mut values) = (Column::default(), Column::default());
        for slot in contents.values {
            if self.slots.group_in(slot, self.call.now()).is_none() {
                Self::number(&mut self.slots, self.call.now(), slot, &mut keys);
                values.push(self.slots.value(slot));
            }
        }
        keys.extend(contents.on_disk.0.view());
        values.extend(contents.on_disk.1.view());
        contents.timers.sort_unstable();
        contents.timers.dedup();
        // The times are looked up along with the numbers, as both begin at the slot.
        let timers: Vec<(u32, Domain, u64, Option<i64>)> = contents
            .timers
            .into_iter()
            .map(|(slot, domain, id)| {
                let number = Self::number(&mut self.slots, self.call.now(), slot, &mut keys);
                (number, domain, id, self.timer(slot, domain, id))
            })
            .collect();
        contents.entries.sort_unstable();
        contents.entries.dedup();
        let mut runs: Vec<(u32, u32, u32)> = Vec::new();
        let (mut entry_keys, mut entry_values) = (Column::default(), Column::default());
        let in_memory = contents.entries.iter().map(|at| (at, self.tables.get(at)));
        let on_disk = contents.entries_on_disk.iter().map(|(at, value)| (at, Some(&**value)));
        for (at, value) in in_memory.chain(on_disk) {
            let (slot, table, key) = parts(at);
            let number = Self::number(&mut self.slots, self.call.now(), slot, &mut keys);
            match runs.last_mut() {
                Some((last, of, count)) if (*last, *of) == (number, table) => *count += 1,
                _ => runs.push((number, table, 1)),
            }
            entry_keys.push(Some(key));
            entry_values.push(value);
        }
        writer.column(keys.view());
        writer.column(values.view());
        writer.u32(timers.len() as u32);
        for (number, domain, id, time) in timers {
            writer.u32(number);
            writer.u8(domain as u8 | u8::from(time.is_some()) << 1);
            writer.i64(id.cast_signed());
            writer.i64(time.unwrap_or_default());
        }
        writer.u32(runs.len() as u32);
        for (number, table, count) in runs {
            writer.u32(number);
            writer.u32(table);
            writer.u32(count);
        }
        writer.column(entry_keys.view());
        writer.column(entry_values.view());
    }

    fn read_timers(&mut self, slots: &[SlotId], reader: &mut Reader<'_>) -> Result<(), BlockError> {
        for _ in 0..reader.u32()? {
            let slot = known(slots, reader)?;
            let flags = reader.u8()?;
            let domain = if flags & 1 == 0 { Domain::Event } else { Domain::Processing };
            let (id, time) = (reader.i64()?.cast_unsigned(), reader.i64()?);
            if flags & 2 == 0 {
                self.timers.remove(&self.slots, slot, domain, id);
            } else {
                self.timers.set(&mut self.slots, slot, Timer { domain, time, id });
            }
        }
        Ok(())
    }

    fn read_entries(&mut self, slots: &[SlotId], reader: &mut Reader<'_>) -> Result<(), BlockError> {
        let mut runs = Vec::new();
        for _ in 0..reader.u32()? {
            runs.push((known(slots, reader)?, reader.u32()?, reader.u32()?));
        }
        let (keys, values) = (reader.column()?, reader.column()?);
        let count: usize = runs.iter().map(|&(_, _, count)| count as usize).sum();
        if keys.len() != count || values.len() != count {
            let (keys, values) = (keys.len(), values.len());
            return Err(reader.error(format!("{count} entries of tables with {keys} keys and {values} values")));
        }
        let mut entries = keys.iter().zip(values.iter());
        let (mut places, mut deleted) = (Vec::with_capacity(count), Vec::new());
        for (slot, table, count) in runs {
            let of_run = entries.by_ref().take(count as usize);
            places.extend(of_run.map(|(key, value)| (place(slot, table, key.unwrap_or_default()), value)));
        }
        let slot_keys = &self.slots;
        self.tables.fetch(places.iter().map(|(at, _)| at), |slot| slot_keys.key(slot));
        for (at, value) in places {
            if value.is_none() {
                deleted.push(at.clone());
            }
            self.tables.set(at, value.map(Box::from));
        }
        self.tables.flush_deleted(&deleted, |slot| slot_keys.key(slot));
        Ok(())
    }
}

fn known(slots: &[SlotId], reader: &mut Reader<'_>) -> Result<SlotId, BlockError> {
    let number = reader.u32()?;
    let slot = slots.get(number as usize).copied();
    slot.ok_or_else(|| reader.error(format!("key {number} of {}", slots.len())))
}

impl Store for Keyed {
    fn is_due(&self, now: Now) -> bool {
        self.timers.first(Domain::Event).is_some_and(|first| now.watermark.covers(first))
            || self.next_clock().is_some_and(|next| next <= now.clock)
    }

    fn next_clock(&self) -> Option<i64> {
        self.timers.first(Domain::Processing)
    }

    fn output_watermark(&self, input: Watermark) -> Watermark {
        self.held_watermark(input)
    }

    fn len(&self) -> usize {
        self.slots.len() + self.on_disk_only
    }

    fn bytes(&self) -> usize {
        self.slots.bytes() + self.timers.bytes() + self.tables.bytes()
    }

    fn spill(&mut self, bytes: usize) -> usize {
        self.evict(bytes)
    }

    fn bytes_on_disk(&self) -> u64 {
        self.disk.bytes()
    }

    fn failure(&self) -> Option<&SpillError> {
        self.disk.failure()
    }

    fn is_changed(&self) -> bool {
        !self.changed_values.is_empty() || !self.changed_timers.is_empty() || self.tables.is_changed()
    }

    fn write_block(&mut self, writer: &mut Writer, rewrite: usize) -> bool {
        let changed = self.take_changed();
        let mut contents =
            Contents { values: changed.values.clone(), timers: changed.timers.clone(), ..Contents::default() };
        let round = self.sweep(&mut contents, rewrite);
        contents.entries.extend(changed.entries.iter().cloned());
        self.write_contents(writer, contents);
        self.end_block(&changed);
        round
    }

    fn write_whole(&mut self, writer: &mut Writer) {
        let changed = self.take_changed();
        self.sweep = Sweep::default();
        let mut contents = Contents::default();
        // A disk that failed does not show all that it has: whoever asked for the block looks at `failure`.
        self.sweep(&mut contents, usize::MAX);
        self.write_contents(writer, contents);
        self.end_block(&changed);
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        self.summarize_values(&mut summary);
        self.summarize_entries(&mut summary);
        summary
    }

    fn read_block(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        let (keys, values) = (reader.column()?, reader.column()?);
        if values.len() > keys.len() {
            return Err(reader.error(format!("{} values of {} keys", values.len(), keys.len())));
        }
        // Keys with timers or tables only keep the value that they have, so it must not be on disk.
        let mut groups = KeyGroups::default();
        self.group(keys.view(), &mut groups);
        let slots: Vec<SlotId> = groups.row_groups.iter().map(|&group| groups.slots[group as usize]).collect();
        for (&slot, value) in slots.iter().zip(values.iter()) {
            self.slots.set_value(slot, value);
        }
        self.read_timers(&slots, reader)?;
        self.read_entries(&slots, reader)?;
        for slot in slots {
            self.timers.update(&mut self.slots, slot);
            self.free_if_empty(slot);
        }
        self.flush_deleted();
        self.fresh.clear();
        self.settle();
        Ok(())
    }
}
