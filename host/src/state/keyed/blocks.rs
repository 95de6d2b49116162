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

use super::slots::SlotId;
use super::tables::{Place, parts, place};
use super::{Keyed, Timer};
use crate::plugin::Domain;
use crate::record::Column;
use crate::state::{BlockError, Now, Reader, Store, Writer};
use crate::time::Watermark;

/// Where the next block goes on writing what did not change.
#[derive(Debug)]
pub(super) enum Sweep {
    /// At the slot of that number.
    Slots(SlotId),
    /// After the slots, at the first entry of a table after this place.
    Entries(Place),
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
    timers: Vec<(SlotId, Domain, u64)>,
    entries: Vec<Place>,
}

impl Keyed {
    /// Adds about so many bytes of what did not change. Whether a round came to its end.
    fn sweep(&mut self, contents: &mut Contents, mut budget: usize) -> bool {
        match budget {
            0 => return false,
            // All of it is to be in this block, not the rest of a round.
            usize::MAX => self.sweep = Sweep::default(),
            _ => {}
        }
        let after = match std::mem::take(&mut self.sweep) {
            Sweep::Slots(from) => {
                for slot in from..self.slots.end() {
                    if budget == 0 {
                        self.sweep = Sweep::Slots(slot);
                        return false;
                    }
                    if self.slots.is_taken(slot) {
                        budget = budget.saturating_sub(self.sweep_slot(slot, contents));
                    }
                }
                Place::default()
            }
            Sweep::Entries(after) => after,
        };
        for (at, value) in self.tables.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)) {
            if budget == 0 {
                let last = contents.entries.last().cloned().unwrap_or_default();
                self.sweep = Sweep::Entries(last);
                return false;
            }
            contents.entries.push(at.into());
            budget = budget.saturating_sub(at.len() + value.len());
        }
        true
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
    fn number(&mut self, slot: SlotId, keys: &mut Column) -> u32 {
        self.slots.group_in(slot, self.call).unwrap_or_else(|| {
            let number = keys.len() as u32;
            self.slots.set_group(slot, self.call, number);
            keys.push(self.slots.key(slot));
            number
        })
    }

    fn write_contents(&mut self, writer: &mut Writer, mut contents: Contents) {
        // Numbering the keys of a block is like numbering the groups of a call.
        self.call += 1;
        let (mut keys, mut values) = (Column::default(), Column::default());
        for slot in contents.values {
            if self.slots.group_in(slot, self.call).is_none() {
                self.number(slot, &mut keys);
                values.push(self.slots.value(slot));
            }
        }
        contents.timers.sort_unstable();
        contents.timers.dedup();
        // The times are looked up along with the numbers, as both begin at the slot.
        let timers: Vec<(u32, Domain, u64, Option<i64>)> = contents
            .timers
            .into_iter()
            .map(|(slot, domain, id)| (self.number(slot, &mut keys), domain, id, self.timer(slot, domain, id)))
            .collect();
        contents.entries.sort_unstable();
        contents.entries.dedup();
        let mut runs: Vec<(u32, u32, u32)> = Vec::new();
        let (mut entry_keys, mut entry_values) = (Column::default(), Column::default());
        for at in &contents.entries {
            let (slot, table, key) = parts(at);
            let number = self.number(slot, &mut keys);
            match runs.last_mut() {
                Some((last, of, count)) if (*last, *of) == (number, table) => *count += 1,
                _ => runs.push((number, table, 1)),
            }
            entry_keys.push(Some(key));
            entry_values.push(self.tables.get(at));
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
        for (slot, table, count) in runs {
            for (key, value) in entries.by_ref().take(count as usize) {
                self.tables.set(place(slot, table, key.unwrap_or_default()), value.map(Box::from));
            }
        }
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
        self.slots.len()
    }

    fn bytes(&self) -> usize {
        self.slots.bytes() + self.timers.bytes() + self.tables.bytes()
    }

    fn is_changed(&self) -> bool {
        !self.changed_values.is_empty() || !self.changed_timers.is_empty() || self.tables.is_changed()
    }

    fn write_block(&mut self, writer: &mut Writer, rewrite: usize) -> bool {
        let mut contents = Contents {
            values: std::mem::take(&mut self.changed_values),
            timers: std::mem::take(&mut self.changed_timers),
            entries: Vec::new(),
        };
        let changed_entries = self.tables.take_changed();
        let mut spare = std::mem::take(&mut self.fresh);
        spare.extend(&contents.values);
        spare.extend(contents.timers.iter().map(|&(slot, ..)| slot));
        spare.extend(changed_entries.iter().map(|at| parts(at).0));
        let round = self.sweep(&mut contents, rewrite);
        contents.entries.extend(changed_entries);
        self.write_contents(writer, contents);
        spare.into_iter().for_each(|slot| self.free_if_empty(slot));
        self.commit += 1;
        self.settle();
        round
    }

    fn read_block(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        let (keys, values) = (reader.column()?, reader.column()?);
        if values.len() > keys.len() {
            return Err(reader.error(format!("{} values of {} keys", values.len(), keys.len())));
        }
        let slots: Vec<SlotId> = keys.iter().map(|key| self.slots.slot(self.slots.hash(key), key)).collect();
        for (&slot, value) in slots.iter().zip(values.iter()) {
            self.slots.set_value(slot, value);
        }
        self.read_timers(&slots, reader)?;
        self.read_entries(&slots, reader)?;
        for slot in slots {
            self.timers.update(&mut self.slots, slot);
            self.free_if_empty(slot);
        }
        self.settle();
        Ok(())
    }
}
