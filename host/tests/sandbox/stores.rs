//! Tables and reference tables of a test, and guests that ask them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Bound;
use std::sync::{Arc, Mutex};

use millstream::plugin::{Done, Emitted, Grants, Lookups, TableRange, Tables};
use millstream::record::{Column, ColumnRef};

use crate::process_guests::Process;

/// Where the arguments of a guest begin.
const ARGUMENTS: usize = 200_000;

/// Tables in memory, with what was asked of them.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) entries: BTreeMap<(u32, u32, Vec<u8>), Vec<u8>>,
    /// The most entries that one question was about.
    pub(crate) most: usize,
    /// The answer to whoever writes.
    pub(crate) full: bool,
}

impl Store {
    /// A store with these entries of a group of table 0.
    pub(crate) fn with(group: u32, entries: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| ((0, group, key), value)).collect();
        Self { entries, ..Self::default() }
    }

    pub(crate) fn shared(self) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(self))
    }

    fn keys(&self, table: u32, group: u32, range: TableRange<'_>) -> Vec<Vec<u8>> {
        let place = |key: &[u8]| (table, group, key.to_vec());
        let end = match range.end {
            [] => Bound::Excluded((table, group + 1, vec![])),
            end => Bound::Excluded(place(end)),
        };
        // Panics where the start is behind the end: the host does not ask for such a range.
        self.entries.range((Bound::Included(place(range.start)), end)).map(|((.., key), _)| key.clone()).collect()
    }
}

impl Tables for Store {
    fn get(&mut self, table: u32, groups: &[u32], keys: ColumnRef<'_>) -> Result<Column, String> {
        assert_eq!(groups.len(), keys.len());
        self.most = self.most.max(keys.len());
        let value = |(&group, key): (&u32, Option<&[u8]>)| {
            self.entries.get(&(table, group, key.expect("no key is null").to_vec())).cloned()
        };
        Ok(groups.iter().zip(keys.iter()).map(value).collect())
    }

    fn put(&mut self, table: u32, groups: &[u32], keys: ColumnRef<'_>, values: ColumnRef<'_>) -> Result<(), String> {
        if self.full {
            return Err("the state is full".to_owned());
        }
        for ((&group, key), value) in groups.iter().zip(keys.iter()).zip(values.iter()) {
            let place = (table, group, key.expect("no key is null").to_vec());
            match value {
                Some(value) => drop(self.entries.insert(place, value.to_vec())),
                None => drop(self.entries.remove(&place)),
            }
        }
        Ok(())
    }

    fn range(&mut self, table: u32, group: u32, range: TableRange<'_>, limit: u32) -> Result<(Column, Column), String> {
        self.most = self.most.max(limit as usize);
        let mut keys = self.keys(table, group, range);
        if range.backwards {
            keys.reverse();
        }
        keys.truncate(limit as usize);
        let values = keys.iter().map(|key| self.entries.get(&(table, group, key.clone())).cloned()).collect();
        Ok((keys.into_iter().map(Some).collect(), values))
    }

    fn delete_range(&mut self, table: u32, group: u32, range: TableRange<'_>) -> Result<u64, String> {
        let keys = self.keys(table, group, range);
        for key in &keys {
            self.entries.remove(&(table, group, key.clone()));
        }
        Ok(keys.len() as u64)
    }
}

/// The reference table `countries`: of every key but `nowhere` its length.
#[derive(Debug)]
pub(crate) struct Countries;

impl Lookups for Countries {
    fn get(&self, name: &str, keys: ColumnRef<'_>) -> Option<Column> {
        let length = |key: Option<&[u8]>| {
            let key = key.expect("no key is null");
            (key != b"nowhere").then(|| key.len().to_string())
        };
        (name == "countries").then(|| keys.iter().map(length).collect())
    }
}

/// All grants.
pub(crate) fn granted() -> Grants {
    Grants { table: true, lookups: Some(Arc::new(Countries)) }
}

/// Arguments of host functions, laid out in the guest's memory.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    data: String,
    bytes: usize,
}

impl Arguments {
    /// A list as address and length.
    pub(crate) fn list(&mut self, items: usize, bytes: impl IntoIterator<Item = u8>) -> String {
        self.bytes = self.bytes.next_multiple_of(4);
        let at = ARGUMENTS + self.bytes;
        let mut text = String::new();
        for byte in bytes {
            write!(text, "\\{byte:02x}").unwrap();
            self.bytes += 1;
        }
        write!(self.data, r#"(data (i32.const {at}) "{text}")"#).unwrap();
        format!("(i32.const {at}) (i32.const {items})")
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> String {
        self.list(bytes.len(), bytes.iter().copied())
    }

    pub(crate) fn lengths(&mut self, lengths: &[i32]) -> String {
        self.list(lengths.len(), lengths.iter().flat_map(|length| length.to_le_bytes()))
    }

    pub(crate) fn groups(&mut self, groups: &[u32]) -> String {
        self.list(groups.len(), groups.iter().flat_map(|group| group.to_le_bytes()))
    }

    /// The data that the guest must have.
    pub(crate) fn data(self) -> String {
        self.data
    }
}

/// All functions of both interfaces.
const IMPORTS: &str = r#"
  (import "millstream:plugin/table@0.1.0" "get" (func $get (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "millstream:plugin/table@0.1.0" "put"
    (func $put (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "millstream:plugin/table@0.1.0" "range" (func $range (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "millstream:plugin/table@0.1.0" "delete-range" (func $delete (param i32 i32 i32 i32 i32 i32 i32)))
  (import "millstream:plugin/lookup@0.1.0" "get" (func $lookup (param i32 i32 i32 i32 i32 i32 i32)))"#;

/// What makes rows of an answer at 3000: they come from the first row of the input; an error is one that leaves by
/// output 1.
const ANSWERS: &str = r#"
  (func $rows (param $count i32)
    (call $count (i32.const 2048) (local.get $count) (i32.const 0) (i32.const 0)))
  ;; One row of some bytes, by output 1.
  (func $error (param $at i32)
    (call $rows (i32.const 1))
    (call $count (i32.const 2056) (i32.const 1) (i32.const 1) (i32.const 0))
    (i32.store (i32.const 3100) (i32.load offset=4 (local.get $at)))
    (i32.store (i32.const 2088) (i32.const 3100)) (i32.store (i32.const 2092) (i32.const 1))
    (call $list (i32.const 2096) (local.get $at)))
  (func $values
    (if (i32.load8_u (i32.const 3000))
      (then (call $error (i32.const 3004)))
      (else
        (call $rows (i32.load (i32.const 3008)))
        (call $list (i32.const 2088) (i32.const 3004))
        (call $list (i32.const 2096) (i32.const 3012)))))
  (func $entries
    (if (i32.load8_u (i32.const 3000))
      (then (call $error (i32.const 3004)))
      (else
        (call $rows (i32.load (i32.const 3008)))
        (call $list (i32.const 2072) (i32.const 3004))
        (call $list (i32.const 2080) (i32.const 3012))
        (call $list (i32.const 2088) (i32.const 3020))
        (call $list (i32.const 2096) (i32.const 3028)))))
  (func $nothing
    (if (i32.load8_u (i32.const 3000)) (then (call $error (i32.const 3004)))))
  ;; As many rows as were deleted.
  (func $number
    (if (i32.load8_u (i32.const 3000))
      (then (call $error (i32.const 3008)))
      (else (call $rows (i32.load (i32.const 3008))))))"#;

/// All functions of the interface that is not granted.
const PAGES: &str = r#"
  (import "millstream:plugin/pages@0.1.0" "get" (func $get (param i32 i32 i32 i32 i32 i32 i32)))
  (import "millstream:plugin/pages@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;

/// A guest that does this for its first row and leaves its state alone.
pub(crate) fn asking(calls: &str, arguments: Arguments) -> Process {
    asking_by(IMPORTS, calls, arguments)
}

/// The same, of a guest that has pages and no tables.
pub(crate) fn asking_for_pages(calls: &str, arguments: Arguments) -> Process {
    asking_by(PAGES, calls, arguments)
}

fn asking_by(imports: &'static str, calls: &str, arguments: Arguments) -> Process {
    Process {
        imports,
        items: format!("{ANSWERS} {}", arguments.data()),
        ..Process::doing(&format!("{calls} (call $keep_state (local.get 0)) (i32.const 2048)"))
    }
}

/// What a guest was answered: keys, where there are any, and values; or the error.
pub(crate) type Answered = Result<Vec<(Option<String>, Option<String>)>, String>;

/// Reads what such a guest was answered out of what it emitted.
pub(crate) fn answered(done: Done) -> Answered {
    let Emitted { outputs, keys, values, source_rows, .. } = done.emitted;
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    if outputs.first() == Some(&1) {
        return Err(text(values.iter().next().unwrap()).unwrap());
    }
    let mut keys = keys.iter().map(text);
    let mut values = values.iter().map(text);
    Ok(source_rows.iter().map(|_| (keys.next().flatten(), values.next().flatten())).collect())
}
