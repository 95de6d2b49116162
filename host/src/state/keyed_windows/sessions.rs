//! Sessions: windows that grow and become one.
//!
//! A row is a session of its own, from its time for as long as its gap. It becomes one with every session of its key
//! that it overlaps or touches and that is still open; whether it is late is judged by what comes out.
//!
//! # Why it does not matter how partitions came together
//! A row that keeps its partition's disorder is later than its partition's watermark, so no session that it overlaps is
//! over by that watermark, nor by the pipeline's, which is never ahead of it. What it can find over is a session that ends
//! exactly where the row begins. Whether those two become one is decided by the row's own partition alone: they do if the
//! session was still open by its watermark when the row came ([`JOINS`]). That is remembered, because the row of the
//! earlier session may come after it, by another partition, and has to find the same answer.

use super::plan::{Row, Taken};
use super::program::NONE;
use super::{DIRTY, GIVEN, JOINS, KeyedWindowId, KeyedWindows, Program};
use crate::time::Window;

impl KeyedWindows {
    /// Puts a row into its session.
    pub(super) fn extend(&mut self, row: Row<'_>, gap_ms: i64, program: &mut Program) -> Taken {
        let Some(end) = row.time.checked_add(gap_ms) else { return Taken::Unassignable };
        let own = Window { start: row.time, end };
        let key = self.keys.find(row.hash, row.key);
        let together = key.map_or(Vec::new(), |key| self.touching(key, own, row));
        let window = |id: &KeyedWindowId| self.slab[*id as usize].meta.window;
        let merged = together.iter().map(window).fold(own, Window::cover);
        let joins = !self.is_over(Window { start: i64::MIN, end: row.time }, row.late);
        let begins = |id: &KeyedWindowId| self.slab[*id as usize].meta.window.start == merged.start;
        let joins = joins && row.time == merged.start
            || together.iter().any(|id| begins(id) && self.slab[*id as usize].meta.is(JOINS));
        if self.is_over(merged, row.late) {
            return Taken::Late;
        }
        let id = match together.as_slice() {
            [] => {
                let key = key.unwrap_or_else(|| self.keys.number(row.hash, row.key));
                self.create(key, merged, 0)
            }
            [id, others @ ..] => {
                self.unite(*id, others, merged, program);
                *id
            }
        };
        self.add(id, row.number, row.time, program);
        self.slab[id as usize].meta.set(JOINS, joins);
        self.respond(id, row, program);
        Taken::In
    }

    /// The sessions that become one with a row, by time. One that the row does no more than touch is left alone if it was
    /// over, by the partition of the later of the two, when that came. A row that breaks its partition's disorder comes
    /// behind what it should have come before, and is taken in wherever it may.
    fn touching(&self, key: u32, own: Window, row: Row<'_>) -> Vec<KeyedWindowId> {
        // Sessions that are over may still wait for their turn; they end before any that is open.
        let open = if self.eager { i64::MIN } else { row.known.saturating_add(2) };
        let mut together = Vec::new();
        for (&(_, end, start), &id) in
            self.index.range((key, own.start.max(open), i64::MIN)..=(key, i64::MAX, i64::MAX))
        {
            if start > own.end {
                break;
            }
            let overlaps = own.start < end && start < own.end;
            let open = !self.is_over(Window { start, end }, row.late);
            let joins = start < own.end || row.time <= row.late || self.slab[id as usize].meta.is(JOINS);
            if overlaps || open && joins {
                together.push(id);
            }
        }
        together
    }

    /// Makes one session of several.
    fn unite(&mut self, id: KeyedWindowId, others: &[KeyedWindowId], window: Window, program: &mut Program) {
        let mut nodes = vec![self.touch(id, program).node];
        let key = self.slab[id as usize].key;
        for &other in others {
            let keyed_window = self.touch(other, program);
            nodes.push(keyed_window.node);
            let gone = keyed_window.meta;
            self.remove(other, program);
            let meta = &mut self.slab[id as usize].meta;
            meta.rows += gone.rows;
            meta.since += gone.since;
            meta.newest = meta.newest.max(gone.newest);
            meta.flags |= gone.flags & (DIRTY | GIVEN);
            if gone.clock < meta.clock {
                meta.clock = gone.clock;
                self.clocks.insert(gone.clock, id);
            }
        }
        if self.slab[id as usize].meta.window != window {
            self.leave_index(id);
            self.slab[id as usize].meta.window = window;
            self.enter_index(id);
        }
        if !others.is_empty() {
            let node = program.merge_all(nodes, key, window);
            let keyed_window = &mut self.slab[id as usize];
            (keyed_window.node, keyed_window.given) = (node, NONE);
        }
    }
}
