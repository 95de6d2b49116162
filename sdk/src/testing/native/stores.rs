//! The host's tables and reference tables, for a plugin that runs in this process.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use millstream::plugin as host;
use millstream::plugin::{SharedTables, TableRange};
use millstream::record::ColumnRef;

use super::columns::column;
use crate::columns::Column;
use crate::testing::store::{Tables, with_lookups, with_tables};

/// Runs with what the host grants. Without reference tables of its own, those of [`lookup`](crate::testing::lookup).
pub(super) fn within<R>(
    tables: Option<SharedTables>,
    lookups: Option<Arc<dyn host::Lookups>>,
    run: impl FnOnce() -> R,
) -> R {
    let run = || match lookups {
        None => run(),
        Some(lookups) => with_lookups(
            Rc::new(move |name: &str, keys: &Column| {
                let found = lookups.get(name, view(keys));
                let found = found.ok_or_else(|| format!("no reference table `{name}` is granted"))?;
                Ok(Column { lengths: found.lengths, bytes: found.bytes })
            }),
            run,
        ),
    };
    match tables {
        None => run(),
        Some(tables) => with_tables(Rc::new(RefCell::new(Shared(tables))), run),
    }
}

fn view(column: &Column) -> ColumnRef<'_> {
    ColumnRef { lengths: &column.lengths, bytes: &column.bytes }
}

/// The tables of the call's groups.
struct Shared(SharedTables);

impl Shared {
    fn with<R>(&self, act: impl FnOnce(&mut dyn host::Tables) -> R) -> R {
        act(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tables for Shared {
    fn get(&mut self, table: u32, groups: &[u32], keys: &Column) -> Result<Column, String> {
        let found = self.with(|tables| tables.get(table, groups, view(keys)))?;
        Ok(Column { lengths: found.lengths, bytes: found.bytes })
    }

    fn put(&mut self, table: u32, groups: &[u32], keys: Column, values: Column) -> Result<(), String> {
        self.with(|tables| tables.put(table, groups, view(&keys), view(&values)))
    }

    fn range(
        &mut self,
        table: u32,
        group: u32,
        start: &[u8],
        end: &[u8],
        limit: u32,
        backwards: bool,
    ) -> Result<(Column, Column), String> {
        let range = TableRange { start, end, backwards };
        let (keys, values) = self.with(|tables| tables.range(table, group, range, limit))?;
        Ok((column(keys.view()), column(values.view())))
    }

    fn delete_range(&mut self, table: u32, group: u32, start: &[u8], end: &[u8]) -> Result<u64, String> {
        let range = TableRange { start, end, backwards: false };
        self.with(|tables| tables.delete_range(table, group, range))
    }
}
