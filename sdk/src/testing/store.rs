//! Tables and reference tables natively: what stands in for the host's.
//!
//! A test's own are kept by thread. Another store can stand in for a time, for those who run pipelines natively.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::columns::{Cell, Column};

/// The table that stands for the contract's interface `pages`, as it does in the host.
pub const PAGES_TABLE: u32 = u32::MAX;

/// What the contract's interface `table` does.
pub trait Tables {
    /// The value of each key.
    fn get(&mut self, table: u32, groups: &[u32], keys: &Column) -> Result<Column, String>;
    /// Writes entries; null deletes.
    fn put(&mut self, table: u32, groups: &[u32], keys: Column, values: Column) -> Result<(), String>;
    /// The entries from `start` to `end`; an empty end is none.
    fn range(
        &mut self,
        table: u32,
        group: u32,
        start: &[u8],
        end: &[u8],
        limit: u32,
        backwards: bool,
    ) -> Result<(Column, Column), String>;
    /// Deletes from `start` to `end`; an empty end is none.
    fn delete_range(&mut self, table: u32, group: u32, start: &[u8], end: &[u8]) -> Result<u64, String>;
}

/// What the contract's interface `lookup` does: the value of each key of a reference table.
pub type Lookups = dyn Fn(&str, &Column) -> Result<Column, String>;

/// Keys and values of the reference tables that tests have made.
type References = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

thread_local! {
    static TABLES: RefCell<Option<Rc<RefCell<dyn Tables>>>> = const { RefCell::new(None) };
    static LOOKUPS: RefCell<Option<Rc<Lookups>>> = const { RefCell::new(None) };
    static REFERENCES: RefCell<References> = const { RefCell::new(BTreeMap::new()) };
}

/// Makes a reference table of that name for plugins that run in this thread, in place of one that there was.
pub fn lookup<K: Into<Vec<u8>>, V: Into<Vec<u8>>>(name: &str, entries: impl IntoIterator<Item = (K, V)>) {
    let entries = entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    REFERENCES.with_borrow_mut(|references| references.insert(name.to_owned(), entries));
}

/// Runs with these tables.
pub fn with_tables<R>(tables: Rc<RefCell<dyn Tables>>, run: impl FnOnce() -> R) -> R {
    let before = TABLES.replace(Some(tables));
    let result = run();
    TABLES.set(before);
    result
}

/// Runs with these reference tables instead of those of [`lookup`].
pub fn with_lookups<R>(lookups: Rc<Lookups>, run: impl FnOnce() -> R) -> R {
    let before = LOOKUPS.replace(Some(lookups));
    let result = run();
    LOOKUPS.set(before);
    result
}

fn tables<R>(use_it: impl FnOnce(&mut dyn Tables) -> Result<R, String>) -> Result<R, String> {
    let tables =
        TABLES.with_borrow(Clone::clone).ok_or("there are no tables here: run the plugin by `testing::keyed`")?;
    use_it(&mut *tables.borrow_mut())
}

pub(crate) fn table_get(table: u32, groups: &[u32], keys: &Column) -> Result<Column, String> {
    tables(|tables| tables.get(table, groups, keys))
}

pub(crate) fn table_put(table: u32, groups: &[u32], keys: Column, values: Column) -> Result<(), String> {
    tables(|tables| tables.put(table, groups, keys, values))
}

pub(crate) fn table_range(
    table: u32,
    group: u32,
    start: &[u8],
    end: &[u8],
    limit: u32,
    backwards: bool,
) -> Result<(Column, Column), String> {
    tables(|tables| tables.range(table, group, start, end, limit, backwards))
}

pub(crate) fn pages_get(groups: &[u32], keys: &Column) -> Result<Column, String> {
    tables(|tables| tables.get(PAGES_TABLE, groups, keys))
}

pub(crate) fn pages_put(groups: &[u32], keys: Column, values: Column) -> Result<(), String> {
    tables(|tables| tables.put(PAGES_TABLE, groups, keys, values))
}

pub(crate) fn table_delete_range(table: u32, group: u32, start: &[u8], end: &[u8]) -> Result<u64, String> {
    tables(|tables| tables.delete_range(table, group, start, end))
}

pub(crate) fn lookup_many(name: &str, keys: &Column) -> Result<Column, String> {
    if let Some(lookups) = LOOKUPS.with_borrow(Clone::clone) {
        return lookups(name, keys);
    }
    REFERENCES.with_borrow(|references| {
        let table = references.get(name).ok_or_else(|| format!("no reference table `{name}` is granted"))?;
        let value = |cell: Cell<'_>| table.get(cell.bytes().unwrap_or_default()).map(Vec::as_slice);
        Ok(keys.cells().map(value).collect())
    })
}

/// Tables of all keys of a run.
#[derive(Debug, Default)]
pub(crate) struct MemoryTables {
    /// The keys of the groups of the call.
    pub(crate) groups: Vec<Option<Vec<u8>>>,
    /// How many entries were read by their keys and written.
    pub(crate) count: (usize, usize),
    /// The bytes of the largest value.
    pub(crate) largest: usize,
    entries: BTreeMap<TableId, BTreeMap<Vec<u8>, Vec<u8>>>,
}

/// A table and the key of the stream whose entries they are.
type TableId = (u32, Option<Vec<u8>>);

impl MemoryTables {
    fn of_group(&mut self, table: u32, group: u32) -> &mut BTreeMap<Vec<u8>, Vec<u8>> {
        let key = self.groups.get(group as usize).unwrap_or_else(|| panic!("the call has no group {group}"));
        self.entries.entry((table, key.clone())).or_default()
    }

    /// All entries that there are, with their keys and values; without the pages of states.
    pub(super) fn all(&self) -> Vec<(TableId, Vec<u8>, Vec<u8>)> {
        let of_place = |(place, entries): (&TableId, &BTreeMap<Vec<u8>, Vec<u8>>)| {
            entries.iter().map(|(key, value)| (place.clone(), key.clone(), value.clone())).collect::<Vec<_>>()
        };
        self.entries.iter().filter(|((table, _), _)| *table != PAGES_TABLE).flat_map(of_place).collect()
    }

    /// How many pages the states of all keys have.
    pub(crate) fn pages(&self) -> usize {
        self.entries.iter().filter(|((table, _), _)| *table == PAGES_TABLE).map(|(_, pages)| pages.len()).sum()
    }
}

fn within(key: &[u8], start: &[u8], end: &[u8]) -> bool {
    start <= key && (end.is_empty() || key < end)
}

impl Tables for MemoryTables {
    fn get(&mut self, table: u32, groups: &[u32], keys: &Column) -> Result<Column, String> {
        let mut values = Column::default();
        self.count.0 += keys.len();
        for (&group, key) in groups.iter().zip(keys.cells()) {
            values.push(self.of_group(table, group).get(key.bytes().unwrap_or_default()).map(Vec::as_slice));
        }
        Ok(values)
    }

    fn put(&mut self, table: u32, groups: &[u32], keys: Column, values: Column) -> Result<(), String> {
        assert_eq!((groups.len(), keys.len()), (keys.len(), values.len()), "columns of one length");
        self.count.1 += keys.len();
        for ((&group, key), value) in groups.iter().zip(keys.cells()).zip(values.cells()) {
            let key = key.bytes().unwrap_or_default();
            self.largest = self.largest.max(value.bytes().map_or(0, <[u8]>::len));
            let entries = self.of_group(table, group);
            match value.bytes() {
                Some(value) => drop(entries.insert(key.to_vec(), value.to_vec())),
                None => drop(entries.remove(key)),
            }
        }
        Ok(())
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
        let entries = self.of_group(table, group);
        let mut found: Vec<_> = entries.iter().filter(|(key, _)| within(key, start, end)).collect();
        if backwards {
            found.reverse();
        }
        found.truncate(limit as usize);
        let (keys, values): (Vec<_>, Vec<_>) =
            found.into_iter().map(|(key, value)| (Some(key.as_slice()), Some(value.as_slice()))).unzip();
        Ok((keys.into_iter().collect(), values.into_iter().collect()))
    }

    fn delete_range(&mut self, table: u32, group: u32, start: &[u8], end: &[u8]) -> Result<u64, String> {
        let entries = self.of_group(table, group);
        let before = entries.len();
        entries.retain(|key, _| !within(key, start, end));
        Ok((before - entries.len()) as u64)
    }
}
