//! Keyed windows in blocks, and what the rest of the host asks of a store.
//!
//! A block has the keyed windows that went since the last one, by number, and all of every keyed window that changed: numbers are kept
//! over restarts, so that a keyed window is known again whatever became of its window. What can be computed again (timers, the
//! index, sums of slices) is not written.

use super::settle::length;
use super::{
    DIRTY, EMPTY, EXTRA, GIVEN, HEAD, INDEX_ENTRY_BYTES, JOINS, KeyedWindow, KeyedWindowId, KeyedWindows, LIVE, Meta,
    NEVER, SAME,
};
use crate::record::Column;
use crate::state::{BlockError, Now, Reader, Store, Summary, Writer};
use crate::time::{Watermark, Window};

/// The first version of blocks that say which windows are over whatever the lateness.
const VERSION_OVER_UNTIL: u8 = 4;
/// The first version of blocks whose flags have four bytes.
const VERSION_WIDE_FLAGS: u8 = 4;
/// Which of the flags a block has.
const WRITTEN_FLAGS: u16 = DIRTY | GIVEN | HEAD | EXTRA | SAME | JOINS;
/// Says in a block that counts and the clock's timer follow.
const MORE: u16 = 64;
/// Bytes of a keyed window in a block beside key and value.
const ENTRY_BYTES: usize = 43;
/// Numbers of keyed windows up to which a block is accepted: more do not fit into the state of a pipeline.
const PANES_MAX: u32 = 1 << 24;

/// Whether a block has counts and the clock's timer of a keyed window.
fn has_more(meta: &Meta) -> bool {
    meta.rows > 0 || meta.since > 0 || meta.clock != NEVER
}

/// The flags of a keyed window as a block has them.
fn written_flags(meta: &Meta) -> u16 {
    meta.flags & WRITTEN_FLAGS | if has_more(meta) { MORE } else { 0 }
}

impl KeyedWindows {
    /// The numbers of all keyed windows, ascending.
    fn live_ids(&self) -> impl Iterator<Item = KeyedWindowId> {
        (0..).zip(&self.slab).filter(|(_, keyed_window)| keyed_window.meta.is(LIVE)).map(|(id, _)| id)
    }

    fn write(&self, ids: &[KeyedWindowId], writer: &mut Writer) {
        let (mut keys, mut values) = (Column::default(), Column::default());
        writer.u32(ids.len() as u32);
        for &id in ids {
            let KeyedWindow { key, meta, value, .. } = &self.slab[id as usize];
            keys.push(self.keys.key(*key));
            values.push(value.as_deref());
            writer.u32(id);
            writer.u32(u32::from(written_flags(meta)));
            writer.i64(meta.window.start);
            writer.i64(meta.window.end);
            writer.i64(meta.timer);
            if has_more(meta) {
                writer.i64(meta.rows as i64);
                writer.i64(meta.since as i64);
                writer.i64(meta.newest);
                writer.i64(meta.clock);
            }
        }
        writer.column(keys.view());
        writer.column(values.view());
    }

    /// The next keyed windows of the round that goes over all of them, about this many bytes; whether it ends with them.
    fn sweep(&mut self, bytes: usize, ids: &mut Vec<KeyedWindowId>) -> bool {
        let mut written = 0_usize;
        while written < bytes && self.cursor < self.slab.len() {
            let keyed_window = &self.slab[self.cursor];
            if keyed_window.meta.is(LIVE) && keyed_window.commit != self.commit {
                ids.push(self.cursor as KeyedWindowId);
                let key = self.keys.key(keyed_window.key).map_or(0, <[u8]>::len);
                written += ENTRY_BYTES + key + length(&keyed_window.value);
            }
            self.cursor += 1;
        }
        if self.cursor < self.slab.len() || bytes == 0 {
            return false;
        }
        self.cursor = 0;
        true
    }

    /// Takes a keyed window away while blocks are read.
    fn take_out(&mut self, id: KeyedWindowId) {
        if self.slab.get(id as usize).is_some_and(|keyed_window| keyed_window.meta.is(LIVE)) {
            self.leave_index(id);
            self.slab[id as usize].meta.set(LIVE, false);
            self.free_slot(id);
        }
    }

    /// Makes a number fit into the slab.
    fn reach(&mut self, id: KeyedWindowId) {
        while self.slab.len() <= id as usize {
            let meta = Meta { flags: 0, ..Meta::new(Window { start: 0, end: 0 }, 0) };
            self.slab.push(KeyedWindow { key: 0, meta, value: None, run: 0, node: EMPTY, given: EMPTY, commit: 0 });
        }
    }

    /// Puts keyed windows where their numbers say.
    fn put_in(&mut self, read: Vec<(KeyedWindowId, Meta)>, keys: &Column, values: &Column) {
        for (((id, meta), key), value) in read.into_iter().zip(keys.iter()).zip(values.iter()) {
            self.take_out(id);
            let key = self.keys.number(self.keys.hash(key), key);
            self.keys.retain(key);
            let keyed_window = &mut self.slab[id as usize];
            keyed_window.key = key;
            keyed_window.meta = meta;
            keyed_window.value = value.map(Box::from);
            self.value_bytes += length(&self.slab[id as usize].value);
            self.live += 1;
            self.enter_index(id);
            if meta.timer != NEVER {
                self.timers.insert(meta.timer, id);
            }
            if meta.clock != NEVER {
                self.clocks.insert(meta.clock, id);
            }
        }
    }

    /// Finds the numbers that no keyed window has, if blocks were read, which leaves no list of them. Between two plans only: a
    /// keyed window that a plan takes away keeps its number until the plan is settled.
    pub(super) fn find_free(&mut self) {
        if std::mem::take(&mut self.was_read) {
            let slab = &self.slab;
            self.free = (0..slab.len() as KeyedWindowId).rev().filter(|&id| !slab[id as usize].meta.is(LIVE)).collect();
        }
    }
}

impl Store for KeyedWindows {
    fn is_due(&self, now: Now) -> bool {
        self.first_timer().is_some_and(|first| now.watermark.covers(first))
            || self.first_clock().is_some_and(|first| first <= now.clock)
    }

    fn next_clock(&self) -> Option<i64> {
        self.first_clock()
    }

    fn output_watermark(&self, input: Watermark) -> Watermark {
        match self.first_timer() {
            Some(first) if input.covers(first) => first.checked_sub(1).map_or(Watermark::None, Watermark::At),
            _ => input,
        }
    }

    fn len(&self) -> usize {
        self.live
    }

    fn bytes(&self) -> usize {
        let index = (self.index.len() + self.extras.len()) * INDEX_ENTRY_BYTES;
        let sums = self.sums.len() * size_of::<(super::SumKey, super::Sum)>();
        let timers = self.timers.bytes() + self.clocks.bytes();
        self.slab.len() * size_of::<KeyedWindow>() + index + sums + timers + self.keys.bytes() + self.value_bytes
    }

    fn is_changed(&self) -> bool {
        !self.changed.is_empty() || !self.gone.is_empty()
    }

    fn write_block(&mut self, writer: &mut Writer, rewrite: usize) -> bool {
        writer.i64(self.over_until);
        let gone = std::mem::take(&mut self.gone);
        writer.u32(gone.len() as u32);
        gone.iter().for_each(|&id| writer.u32(id));
        let mut ids = std::mem::take(&mut self.changed);
        ids.retain(|&id| self.slab[id as usize].meta.is(LIVE));
        let round = self.sweep(rewrite, &mut ids);
        // A number that went and came again in one commit is noted twice.
        ids.sort_unstable();
        ids.dedup();
        self.write(&ids, writer);
        self.commit += 1;
        round
    }

    fn write_whole(&mut self, writer: &mut Writer) {
        self.gone.clear();
        self.changed.clear();
        self.cursor = 0;
        writer.i64(self.over_until);
        writer.u32(0);
        let ids: Vec<_> = self.live_ids().collect();
        self.write(&ids, writer);
        self.commit += 1;
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        summary.add(&[self.over_until], &[]);
        for id in self.live_ids() {
            let KeyedWindow { key, meta, value, .. } = &self.slab[id as usize];
            let Meta { window, timer, rows, since, newest, clock, .. } = *meta;
            let known = [i64::from(id), i64::from(written_flags(meta)), window.start, window.end, timer];
            let more = if has_more(meta) { [rows as i64, since as i64, newest, clock] } else { [0; 4] };
            summary.add(&[&known[..], &more].concat(), &[self.keys.key(*key), value.as_deref()]);
        }
        summary
    }

    fn read_block(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError> {
        self.was_read = true;
        if reader.version() >= VERSION_OVER_UNTIL {
            self.over_until = reader.i64()?;
        }
        for _ in 0..reader.u32()? {
            let id = reader.u32()?;
            self.take_out(id);
        }
        let count = reader.u32()?;
        let mut read = Vec::new();
        for _ in 0..count {
            let id = reader.u32()?;
            let flags = if reader.version() < VERSION_WIDE_FLAGS { u32::from(reader.u8()?) } else { reader.u32()? };
            let flags =
                u16::try_from(flags).map_err(|_| reader.error(format!("keyed window {id} with flags {flags}")))?;
            if id >= PANES_MAX || flags & !(WRITTEN_FLAGS | MORE) != 0 || flags & HEAD != 0 && flags & EXTRA != 0 {
                return Err(reader.error(format!("keyed window {id} with flags {flags}")));
            }
            let window = Window { start: reader.i64()?, end: reader.i64()? };
            if window.start >= window.end {
                return Err(reader.error(format!("a window from {} to {}", window.start, window.end)));
            }
            let mut meta = Meta { timer: reader.i64()?, ..Meta::new(window, flags & !MORE) };
            if flags & MORE != 0 {
                (meta.rows, meta.since) = (reader.i64()? as u64, reader.i64()? as u64);
                (meta.newest, meta.clock) = (reader.i64()?, reader.i64()?);
            }
            self.reach(id);
            read.push((id, meta));
        }
        let (keys, values) = (reader.column()?, reader.column()?);
        if keys.len() != read.len() || values.len() != read.len() {
            let (keyed_windows, keys, values) = (read.len(), keys.len(), values.len());
            return Err(reader.error(format!("{keyed_windows} keyed_windows with {keys} keys and {values} values")));
        }
        self.put_in(read, &keys, &values);
        Ok(())
    }
}
