//! The host's tables and reference tables, for a plugin that runs in this process.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::PoisonError;

use millstream::plugin as host;
use millstream::plugin::{SharedTables, TableRange};
use millstream::record::ColumnRef;

use super::columns::column;
use crate::columns::Column;
use crate::testing::store::{Tables, with_lookups, with_tables};

/// Runs with what the host grants: tables only in calls that have groups, and without reference tables those of
/// [`lookup`](crate::testing::lookup).
pub(super) fn within<R>(grants: &host::Grants, tables: Option<SharedTables>, run: impl FnOnce() -> R) -> R {
    let run = || match grants.lookups.clone() {
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
    with_tables(Rc::new(RefCell::new(Shared { tables, granted: grants.table })), run)
}

fn view(column: &Column) -> ColumnRef<'_> {
    ColumnRef { lengths: &column.lengths, bytes: &column.bytes }
}

/// The tables of the call's groups.
struct Shared {
    tables: Option<SharedTables>,
    /// Whether the step may have tables of its own. Pages of states it may always have.
    granted: bool,
}

impl Shared {
    fn with<R>(&self, table: u32, act: impl FnOnce(&mut dyn host::Tables) -> Result<R, String>) -> Result<R, String> {
        let tables = self.tables.as_ref().filter(|_| self.granted || table == host::PAGES_TABLE);
        let tables = tables.ok_or("the step grants no tables: `grants = [\"table\"]` in the step does")?;
        act(&mut *tables.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Tables for Shared {
    fn get(&mut self, table: u32, groups: &[u32], keys: &Column) -> Result<Column, String> {
        let found = self.with(table, |tables| tables.get(table, groups, view(keys)))?;
        Ok(Column { lengths: found.lengths, bytes: found.bytes })
    }

    fn put(&mut self, table: u32, groups: &[u32], keys: Column, values: Column) -> Result<(), String> {
        self.with(table, |tables| tables.put(table, groups, view(&keys), view(&values)))
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
        let (keys, values) = self.with(table, |tables| tables.range(table, group, range, limit))?;
        Ok((column(keys.view()), column(values.view())))
    }

    fn delete_range(&mut self, table: u32, group: u32, start: &[u8], end: &[u8]) -> Result<u64, String> {
        let range = TableRange { start, end, backwards: false };
        self.with(table, |tables| tables.delete_range(table, group, range))
    }
}
