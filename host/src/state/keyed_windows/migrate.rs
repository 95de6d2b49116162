//! The contents of keyed windows on their way through another version of the plugin.

use super::settle::length;
use super::{KeyedWindowId, KeyedWindows, LIVE};
use crate::record::Column;

/// Contents given at once to be replaced.
const VALUES_MAX: usize = 8192;

/// Some contents, with the keyed windows they are of.
#[derive(Debug)]
pub struct KeyedWindowValues {
    keyed_windows: Vec<KeyedWindowId>,
    /// The contents, none of them null.
    pub column: Column,
    /// The keyed window at which those after begin.
    pub next: KeyedWindowId,
}

impl KeyedWindows {
    /// The next contents, as many as a call should have, from that keyed window on.
    pub fn values_from(&self, from: KeyedWindowId) -> Option<KeyedWindowValues> {
        let all = (from..).zip(self.slab.get(from as usize..)?);
        let full = all.filter(|(_, keyed_window)| keyed_window.meta.is(LIVE) && keyed_window.value.is_some());
        let (mut keyed_windows, mut column) = (Vec::new(), Column::default());
        for (id, keyed_window) in full.take(VALUES_MAX) {
            keyed_windows.push(id);
            column.push(keyed_window.value.as_deref());
        }
        let next = keyed_windows.last()? + 1;
        Some(KeyedWindowValues { keyed_windows, column, next })
    }

    /// Replaces contents that [`KeyedWindows::values_from`] gave, by as many; null drops one. Sums of them are computed again
    /// when they are needed.
    pub fn replace_values(&mut self, values: &KeyedWindowValues, column: &Column) {
        for (_, sum) in self.sums.drain() {
            self.value_bytes -= length(&sum.bytes);
        }
        for (&id, value) in values.keyed_windows.iter().zip(column.iter()) {
            let value = value.map(Box::from);
            let keyed_window = &mut self.slab[id as usize];
            self.value_bytes += length(&value);
            self.value_bytes -= length(&std::mem::replace(&mut keyed_window.value, value));
            if keyed_window.commit != self.commit {
                keyed_window.commit = self.commit;
                self.changed.push(id);
            }
        }
    }
}
