//! The end of a plan: its values become the keyed windows', or it never was.

use super::program::NONE;
use super::values::{Settled, Values};
use super::{KeyedWindow, KeyedWindowId, KeyedWindows, LIVE, Meta, NEVER, NodeId, Program, SAME};
use crate::time::{Kind, Mode};

impl KeyedWindows {
    /// The nodes that keyed windows will have.
    pub(super) fn last_nodes(&self) -> impl Iterator<Item = NodeId> {
        let keyed_windows = self.touched.iter().map(|&(id, _)| &self.slab[id as usize]);
        keyed_windows.filter(|keyed_window| keyed_window.meta.is(LIVE)).map(|keyed_window| keyed_window.node)
    }

    /// Takes in what a program came to. Whether anything changed.
    pub fn settle(&mut self, program: &Program, values: &mut Values) -> bool {
        let touched = std::mem::take(&mut self.touched);
        // All is looked up before anything is overwritten: one keyed window may take over what another had.
        let mut contents = Vec::with_capacity(touched.len());
        for &(id, _) in &touched {
            let KeyedWindow { meta, node, given, .. } = &self.slab[id as usize];
            if !meta.is(LIVE) {
                continue;
            }
            let same = *given != NONE && values.resolve(*given) == values.resolve(*node);
            contents.push((id, same, values.settled(self, program, *node, id)));
        }
        let mut sums = Vec::with_capacity(self.summed.len());
        for (sum, node) in std::mem::take(&mut self.summed) {
            let valid = self.sums.get(&sum).is_some_and(|kept| kept.is_of(self.run, node));
            if valid && !values.is_incomplete(node) {
                let bytes = values.get(self, program, node).map(Box::from);
                sums.push((sum, bytes));
            } else if valid {
                self.forgotten.push(sum);
                self.sums.entry(sum).or_default().valid = false;
            }
        }
        for (sum, bytes) in sums {
            let kept = self.sums.entry(sum).or_default();
            self.value_bytes += length(&bytes);
            self.value_bytes -= length(&std::mem::replace(&mut kept.bytes, bytes));
        }
        self.drop_forgotten();
        for (id, same, content) in contents {
            let keyed_window = &mut self.slab[id as usize];
            keyed_window.meta.set(SAME, same);
            if let Settled::Bytes(bytes) = content {
                self.value_bytes += length(&bytes);
                self.value_bytes -= length(&std::mem::replace(&mut keyed_window.value, bytes));
            }
            if self.is_spent(id) {
                self.leave_index(id);
                self.slab[id as usize].meta.set(LIVE, false);
            }
        }
        let changed = !touched.is_empty();
        for (id, before) in touched {
            self.note_change(id, before.is_some());
        }
        self.run += 1;
        changed
    }

    /// Makes it as if nothing had been planned since the last plan was settled.
    pub fn undo(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        for &(id, _) in &touched {
            if self.slab[id as usize].meta.is(LIVE) {
                self.leave_index(id);
            }
        }
        self.timers.put_back();
        self.clocks.put_back();
        for (id, before) in touched {
            match before {
                Some(meta) => self.bring_back(id, meta),
                None => {
                    self.slab[id as usize].meta.set(LIVE, false);
                    self.free_slot(id);
                }
            }
        }
        for (sum, _) in std::mem::take(&mut self.summed) {
            self.sums.entry(sum).or_default().valid = false;
            self.forgotten.push(sum);
        }
        self.drop_forgotten();
        self.run += 1;
    }

    fn bring_back(&mut self, id: KeyedWindowId, meta: Meta) {
        self.slab[id as usize].meta = meta;
        self.enter_index(id);
        for time in [meta.timer, meta.later].into_iter().filter(|&time| time != NEVER) {
            self.timers.insert(time, id);
        }
        if meta.clock != NEVER {
            self.clocks.insert(meta.clock, id);
        }
    }

    /// Notes for the next block what became of a keyed window that a plan touched.
    fn note_change(&mut self, id: KeyedWindowId, was_there: bool) {
        let keyed_window = &mut self.slab[id as usize];
        if keyed_window.meta.is(LIVE) {
            if std::mem::replace(&mut keyed_window.commit, self.commit) != self.commit {
                self.changed.push(id);
            }
            return;
        }
        if was_there {
            self.gone.push(id);
        }
        self.free_slot(id);
    }

    pub(super) fn free_slot(&mut self, id: KeyedWindowId) {
        let keyed_window = &mut self.slab[id as usize];
        self.value_bytes -= length(&keyed_window.value.take());
        keyed_window.commit = 0;
        self.live -= 1;
        self.keys.release(keyed_window.key);
        self.free.push(id);
    }

    /// Whether a keyed window that never ends has nothing in it that would be missed.
    fn is_spent(&self, id: KeyedWindowId) -> bool {
        let KeyedWindow { value, meta, .. } = &self.slab[id as usize];
        value.is_none()
            && match self.windowing.kind {
                Kind::Count { .. } => meta.rows == 0,
                Kind::Global => meta.since == 0 && self.windowing.mode == Mode::Discarding,
                _ => false,
            }
    }

    fn drop_forgotten(&mut self) {
        for sum in std::mem::take(&mut self.forgotten) {
            if self.sums.get(&sum).is_some_and(|kept| !kept.valid) {
                let bytes = self.sums.remove(&sum).and_then(|kept| kept.bytes);
                self.value_bytes -= length(&bytes);
            }
        }
    }
}

pub(super) fn length(bytes: &Option<Box<[u8]>>) -> usize {
    bytes.as_ref().map_or(0, |bytes| bytes.len())
}
