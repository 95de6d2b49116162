//! The open windows of one step.
//!
//! Windows close in the order of their starts, and the groups of one window in the order of their keys, so that results
//! come in one order however the input was cut. A window with very many groups may close over several commits; what is
//! left of it is what its slots still hold.

use super::block::{BlockError, Reader, Writer};
use super::groups::{Groups, KeyHasher, SlotId};
use super::ticks::Ticks;
use super::{Now, Store, Summary};
use crate::record::{BatchRef, Column};
use crate::time::{Tumbling, Watermark, Window};

/// The open windows of one step, by start.
#[derive(Debug)]
pub struct Windows {
    tumbling: Tumbling,
    hasher: KeyHasher,
    open: Vec<OpenWindow>,
    /// Numbers calls, so that a slot knows whether it has a group in this one.
    call: Ticks,
    /// Numbers commits, so that a slot knows whether it changed in this one.
    commit: Ticks,
    /// The greatest start of a window that closed in this commit.
    closed: Option<i64>,
    /// A window that closed in part in this commit, and the last key that did.
    closed_in_part: Option<(i64, Column)>,
    /// The window and the slot from which the next block rewrites what did not change.
    cursor: (i64, SlotId),
}

/// Where a round over all groups begins.
const BEGINNING: (i64, SlotId) = (i64::MIN, 0);
/// Bytes of a group in a block beside its key and accumulator.
const ENTRY_BYTES: usize = 8;

#[derive(Debug)]
struct OpenWindow {
    start: i64,
    groups: Groups,
    /// Slots that changed in this commit.
    changed: Vec<SlotId>,
    /// While the window closes: its slots by key, and how many have closed.
    closing: Option<(Vec<SlotId>, usize)>,
}

/// Where a row belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowAssignment {
    /// In a window that is open.
    Open(Window),
    /// In a window that is complete.
    Late,
    /// In a window past the ends of time.
    Unassignable,
}

/// The groups of a call: which slot each is.
#[derive(Debug, Default)]
pub struct CallGroups {
    slots: Vec<(u32, SlotId)>,
    /// The group of each row of the call.
    pub row_groups: Vec<u32>,
    /// The accumulators of the groups.
    pub accumulators: Column,
}

/// Groups that are complete.
#[derive(Debug)]
pub struct Due {
    pub window: Window,
    /// Their keys, ascending.
    pub keys: Column,
    pub accumulators: Column,
}

/// Accumulators given at once to be replaced.
const VALUES_MAX: usize = 8192;

/// Some accumulators of a window, with the slots they are of.
#[derive(Debug)]
pub struct WindowValues {
    window: usize,
    slots: Vec<SlotId>,
    /// The accumulators, none of them null.
    pub column: Column,
    /// The place at which those after begin: the window's and the slot's.
    pub next: (usize, SlotId),
}

impl Windows {
    /// The next accumulators, as many as a call should have, from that place on.
    pub fn values_from(&self, (mut window, mut from): (usize, SlotId)) -> Option<WindowValues> {
        loop {
            let groups = &self.open.get(window)?.groups;
            let slots: Vec<SlotId> = groups.present_slots().filter(|&slot| slot >= from).take(VALUES_MAX).collect();
            let Some(&last) = slots.last() else {
                (window, from) = (window + 1, 0);
                continue;
            };
            let column = slots.iter().map(|&slot| groups.accumulator(slot)).collect();
            return Some(WindowValues { window, slots, column, next: (window, last + 1) });
        }
    }

    /// Replaces accumulators that [`Windows::values_from`] gave, by as many; null drops one.
    pub fn replace_values(&mut self, values: &WindowValues, column: &Column) {
        let open = &mut self.open[values.window];
        for (&slot, value) in values.slots.iter().zip(column.iter()) {
            open.groups.set_accumulator(slot, value);
            if open.groups.mark_changed(slot, self.commit.now()) {
                open.changed.push(slot);
            }
        }
    }

    /// No open windows, of that size.
    pub fn new(tumbling: Tumbling) -> Self {
        Self {
            tumbling,
            hasher: KeyHasher::default(),
            open: Vec::new(),
            call: Ticks::NONE,
            commit: Ticks::FIRST,
            closed: None,
            closed_in_part: None,
            cursor: BEGINNING,
        }
    }

    /// Where a row of this time belongs when the watermark at its place is this. `near` is the window of a row before,
    /// which most rows share.
    pub fn assign(&self, time: i64, watermark: Watermark, near: Option<Window>) -> WindowAssignment {
        let window = match near.filter(|window| window.contains(time)) {
            Some(window) => window,
            None => match self.tumbling.window_of(time) {
                Some(window) => window,
                None => return WindowAssignment::Unassignable,
            },
        };
        if watermark.covers(window.last()) { WindowAssignment::Late } else { WindowAssignment::Open(window) }
    }

    /// Finds the groups of rows for one call; every row must belong in an open window.
    pub fn group(&mut self, rows: BatchRef<'_>, into: &mut CallGroups) {
        into.slots.clear();
        into.row_groups.clear();
        into.accumulators.clear();
        self.call.advance(|| self.open.iter_mut().for_each(|open| open.groups.clear_calls()));
        self.open_all(rows.timestamps);
        // Hashing first and looking up after lets the processor overlap the cache misses of neighbouring rows.
        let hashes: Vec<u32> = rows.keys.iter().map(|key| self.hasher.hash(key)).collect();
        let (mut at, mut window) = (0, Window { start: 0, end: 0 });
        for ((&time, key), hash) in rows.timestamps.iter().zip(rows.keys.iter()).zip(hashes) {
            if !window.contains(time) {
                window = self.tumbling.window_within(time);
                at = self.open.partition_point(|open| open.start < window.start);
            }
            let groups = &mut self.open[at].groups;
            let slot = groups.slot(hash, key);
            let group = groups.group_in(slot, self.call.now()).unwrap_or_else(|| {
                let group = into.slots.len() as u32;
                groups.set_group(slot, self.call.now(), group);
                into.slots.push((at as u32, slot));
                into.accumulators.push(groups.accumulator(slot));
                group
            });
            into.row_groups.push(group);
        }
    }

    /// Takes the accumulators that a call gave for its groups, but for groups that `untouched` names.
    pub fn store(&mut self, call: &CallGroups, accumulators: &Column, untouched: impl Fn(u32) -> bool) {
        for ((group, &(at, slot)), accumulator) in (0..).zip(&call.slots).zip(accumulators.iter()) {
            if untouched(group) {
                continue;
            }
            let open = &mut self.open[at as usize];
            open.groups.set_accumulator(slot, accumulator);
            if open.groups.mark_changed(slot, self.commit.now()) {
                open.changed.push(slot);
            }
        }
    }

    /// The next groups that are complete by this watermark, all of one window, at most `most` and with about this many
    /// bytes of accumulators; they are open no more.
    pub fn close(&mut self, watermark: Watermark, most: usize, bytes: usize) -> Option<Due> {
        loop {
            let first = self.open.first_mut()?;
            let window = self.tumbling.starting_at(first.start);
            if !watermark.covers(window.last()) {
                return None;
            }
            let (slots, closed) = first.closing.get_or_insert_with(|| (first.groups.sorted(), 0));
            let mut accumulated = 0;
            let within = |&&id: &&SlotId| {
                accumulated += first.groups.accumulator(id).map_or(0, <[u8]>::len);
                accumulated <= bytes
            };
            let next = &slots[*closed..(*closed + most).min(slots.len())];
            let count = next.iter().take_while(within).count().max(1).min(next.len());
            let ids = &next[..count];
            let due = Due {
                window,
                keys: ids.iter().map(|&id| first.groups.key(id)).collect(),
                accumulators: ids.iter().map(|&id| first.groups.accumulator(id)).collect(),
            };
            *closed += ids.len();
            if *closed == slots.len() {
                self.open.remove(0);
                self.closed = Some(window.start);
                self.closed_in_part = None;
            } else {
                for &id in ids {
                    first.groups.set_accumulator(id, None);
                }
                let last = due.keys.iter().last().into_iter().collect();
                self.closed_in_part = Some((window.start, last));
            }
            if !due.keys.is_empty() {
                return Some(due);
            }
        }
    }

    fn close_through(&mut self, start: i64, last: Option<&[u8]>) {
        if let Ok(at) = self.open.binary_search_by_key(&start, |open| open.start) {
            let groups = &mut self.open[at].groups;
            let closed: Vec<SlotId> = groups.present_slots().filter(|&slot| groups.key(slot) <= last).collect();
            for slot in closed {
                groups.set_accumulator(slot, None);
            }
        }
    }

    /// The next groups of the round that goes over all of them, about this many bytes, by window; whether the round ends
    /// with them. Slots are only ever appended, so a place in the round holds still.
    fn sweep(&mut self, bytes: usize) -> (Vec<Vec<SlotId>>, bool) {
        let mut swept = vec![Vec::new(); self.open.len()];
        let (start, slot) = self.cursor;
        let mut written = 0_usize;
        for (at, open) in self.open.iter().enumerate().filter(|(_, open)| open.start >= start) {
            for id in open.groups.present_from(if open.start == start { slot } else { 0 }) {
                if written >= bytes {
                    self.cursor = (open.start, id);
                    return (swept, false);
                }
                if !open.groups.is_changed(id, self.commit.now()) {
                    swept[at].push(id);
                    let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
                    written += ENTRY_BYTES + length(open.groups.key(id)) + length(open.groups.accumulator(id));
                }
            }
        }
        self.cursor = BEGINNING;
        (swept, true)
    }

    /// Writes what closed: windows up to a start, and the groups of one window up to a key.
    fn write_closed(writer: &mut Writer, closed: Option<i64>, in_part: Option<(i64, Column)>) {
        writer.u8(u8::from(closed.is_some()));
        writer.i64(closed.unwrap_or_default());
        let (start, last) = in_part.unwrap_or_default();
        writer.i64(start);
        writer.column(last.view());
    }

    /// Writes these slots of each open window, and ends the block.
    fn write_slots(&mut self, writer: &mut Writer, slots: Vec<Vec<SlotId>>) {
        writer.u32(slots.iter().filter(|slots| !slots.is_empty()).count() as u32);
        for (open, slots) in self.open.iter().zip(slots).filter(|(_, slots)| !slots.is_empty()) {
            let (mut keys, mut accumulators) = (Column::default(), Column::default());
            for slot in slots {
                keys.push(open.groups.key(slot));
                accumulators.push(open.groups.accumulator(slot));
            }
            writer.i64(open.start);
            writer.column(keys.view());
            writer.column(accumulators.view());
        }
        self.commit.advance(|| self.open.iter_mut().for_each(|open| open.groups.clear_commits()));
    }

    /// Opens the windows of these times, so that their places in `open` hold still afterwards.
    fn open_all(&mut self, times: &[i64]) {
        let mut near = Window { start: 0, end: 0 };
        for &time in times {
            if !near.contains(time) {
                near = self.tumbling.window_within(time);
                self.open_at(near.start);
            }
        }
    }

    fn open_at(&mut self, start: i64) -> usize {
        match self.open.binary_search_by_key(&start, |open| open.start) {
            Ok(at) => at,
            Err(at) => {
                let window = OpenWindow { start, groups: Groups::default(), changed: Vec::new(), closing: None };
                self.open.insert(at, window);
                at
            }
        }
    }
}

impl Store for Windows {
    fn next_clock(&self) -> Option<i64> {
        None
    }

    fn output_watermark(&self, input: Watermark) -> Watermark {
        match self.open.first() {
            Some(first) => input.min(Watermark::At(self.tumbling.starting_at(first.start).last() - 1)),
            None => input,
        }
    }

    fn is_due(&self, now: Now) -> bool {
        self.open.first().is_some_and(|first| now.watermark.covers(self.tumbling.starting_at(first.start).last()))
    }

    fn len(&self) -> usize {
        self.open.iter().map(|open| open.groups.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.open.iter().map(|open| open.groups.bytes()).sum()
    }

    fn is_changed(&self) -> bool {
        self.closed.is_some() || self.closed_in_part.is_some() || self.open.iter().any(|open| !open.changed.is_empty())
    }

    fn write_block(&mut self, writer: &mut Writer, rewrite: usize) -> bool {
        Self::write_closed(writer, self.closed.take(), self.closed_in_part.take());
        let (mut slots, round) =
            if rewrite > 0 { self.sweep(rewrite) } else { (vec![Vec::new(); self.open.len()], false) };
        for (open, slots) in self.open.iter_mut().zip(&mut slots) {
            slots.append(&mut open.changed);
        }
        self.write_slots(writer, slots);
        round
    }

    fn write_whole(&mut self, writer: &mut Writer) {
        (self.closed, self.closed_in_part, self.cursor) = (None, None, BEGINNING);
        Self::write_closed(writer, None, None);
        let all = |open: &mut OpenWindow| {
            open.changed.clear();
            open.groups.present_slots().collect()
        };
        let slots = self.open.iter_mut().map(all).collect();
        self.write_slots(writer, slots);
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for open in &self.open {
            for slot in open.groups.present_slots() {
                summary.add(&[open.start], &[open.groups.key(slot), open.groups.accumulator(slot)]);
            }
        }
        summary
    }

    fn read_block(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        let any_closed = reader.u8()? == 1;
        let closed = reader.i64()?;
        if any_closed {
            self.open.retain(|open| open.start > closed);
        }
        let start = reader.i64()?;
        if let Some(last) = reader.column()?.iter().next() {
            self.close_through(start, last);
        }
        for _ in 0..reader.u32()? {
            let start = reader.i64()?;
            if self.tumbling.window_of(start).is_none_or(|window| window.start != start) {
                let size = self.tumbling.size_ms();
                return Err(reader.error(format!("a window from {start} that is none of {size} ms")));
            }
            let (keys, accumulators) = (reader.column()?, reader.column()?);
            if keys.len() != accumulators.len() {
                return Err(reader.error(format!("{} keys with {} accumulators", keys.len(), accumulators.len())));
            }
            let at = self.open_at(start);
            let groups = &mut self.open[at].groups;
            for (key, accumulator) in keys.iter().zip(accumulators.iter()) {
                let slot = groups.slot(self.hasher.hash(key), key);
                groups.set_accumulator(slot, accumulator);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
