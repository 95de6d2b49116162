//! The contents of panes on their way through another version of the plugin.

use super::settle::length;
use super::{LIVE, PaneId, Panes};
use crate::record::Column;

/// Contents given at once to be replaced.
const VALUES_MAX: usize = 8192;

/// Some contents, with the panes they are of.
#[derive(Debug)]
pub struct PaneValues {
    panes: Vec<PaneId>,
    /// The contents, none of them null.
    pub column: Column,
    /// The pane at which those after begin.
    pub next: PaneId,
}

impl Panes {
    /// The next contents, as many as a call should have, from that pane on.
    pub fn values_from(&self, from: PaneId) -> Option<PaneValues> {
        let all = (from..).zip(self.slab.get(from as usize..)?);
        let full = all.filter(|(_, pane)| pane.meta.is(LIVE) && pane.value.is_some());
        let (mut panes, mut column) = (Vec::new(), Column::default());
        for (id, pane) in full.take(VALUES_MAX) {
            panes.push(id);
            column.push(pane.value.as_deref());
        }
        let next = panes.last()? + 1;
        Some(PaneValues { panes, column, next })
    }

    /// Replaces contents that [`Panes::values_from`] gave, by as many; null drops one. Sums of them are computed again
    /// when they are needed.
    pub fn replace_values(&mut self, values: &PaneValues, column: &Column) {
        for (_, sum) in self.sums.drain() {
            self.value_bytes -= length(&sum.bytes);
        }
        for (&id, value) in values.panes.iter().zip(column.iter()) {
            let value = value.map(Box::from);
            let pane = &mut self.slab[id as usize];
            self.value_bytes += length(&value);
            self.value_bytes -= length(&std::mem::replace(&mut pane.value, value));
            if pane.commit != self.commit {
                pane.commit = self.commit;
                self.changed.push(id);
            }
        }
    }
}
