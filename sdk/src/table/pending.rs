//! What a call has written to tables and not yet handed to the host, over what the host has.
//!
//! Reads see both. Writes are the current group's and can be taken back to where a callback began; when the group is done
//! they are kept in columns, which go to the host when there are many, and at the end of the call. What is written so
//! costs one call of the host a table and not one a row.

use std::collections::BTreeMap;

use crate::columns::{Cell, Column};
use crate::error::{Error, Result};
use crate::host;

/// Groups that are done are handed over when they make up so many bytes: a call's rows are about as many.
const HANDED_OVER_AT: usize = 256 << 10;
/// How many entries are asked for at once where a range has no end in sight.
const RANGE_STEP: usize = 256;

/// Bytes from (inclusive) and to (exclusive; none for no end).
type Bounds = (Vec<u8>, Option<Vec<u8>>);

/// Of a group, what one table will be.
#[derive(Debug, Default)]
struct Changes {
    /// Values that were written; none for deleted.
    written: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Ranges that were deleted before what is in `written` was written.
    deleted: Vec<Bounds>,
}

/// How a change is taken back.
#[derive(Debug)]
enum Undo {
    /// A key was written: what had been written before, if anything.
    Written(u32, Vec<u8>, Option<Option<Vec<u8>>>),
    /// A range was added to the deleted ones.
    Deleted(u32),
}

/// A change of a table that is ready for the host.
#[derive(Debug, Default)]
struct Ready {
    groups: Vec<u32>,
    keys: Column,
    values: Column,
}

/// What has been written in this call.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    group: u32,
    tables: BTreeMap<u32, Changes>,
    undo: Vec<Undo>,
    ready: BTreeMap<u32, Ready>,
    /// Hands over what is ready. It is set by the first write, so that a plugin without tables does not import them.
    hand_over: Option<fn(&mut BTreeMap<u32, Ready>)>,
    /// Ends a group; set like `hand_over`.
    end_group: Option<fn(&mut Self)>,
}

fn contains((start, end): &Bounds, key: &[u8]) -> bool {
    start.as_slice() <= key && end.as_ref().is_none_or(|end| key < end.as_slice())
}

impl Changes {
    /// What the group has of a key by its own changes; none if it is the host's to say.
    fn known(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        match self.written.get(key) {
            Some(value) => Some(value.as_deref()),
            None => self.deleted.iter().any(|bounds| contains(bounds, key)).then_some(None),
        }
    }

    /// The written keys in the bounds.
    fn written_in(&self, (start, end): &Bounds) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Option<Vec<u8>>)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let empty = end.as_ref().is_some_and(|end| end <= start);
        let upper = match end {
            Some(_) if empty => Excluded(start.as_slice()),
            Some(end) => Excluded(end.as_slice()),
            None => Unbounded,
        };
        let lower = Included(start.as_slice());
        self.written.range::<[u8], _>((lower, upper))
    }
}

impl Pending {
    /// Begins with the group of that number.
    pub(crate) fn begin_group(&mut self, group: u32) {
        self.group = group;
    }

    /// Everything up to here stays.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes back what was written since the last `keep`.
    pub(crate) fn undo(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Written(table, key, before) => {
                    let written = &mut self.tables.entry(table).or_default().written;
                    match before {
                        Some(value) => drop(written.insert(key, value)),
                        None => drop(written.remove(&key)),
                    }
                }
                Undo::Deleted(table) => drop(self.tables.entry(table).or_default().deleted.pop()),
            }
        }
    }

    /// Ends the group.
    pub(crate) fn end_group(&mut self) {
        if let Some(end_group) = self.end_group {
            end_group(self);
        }
    }

    /// Hands all over to the host, at the end of the call.
    pub(crate) fn end(&mut self) {
        if let Some(hand_over) = self.hand_over {
            hand_over(&mut self.ready);
        }
    }

    pub(crate) fn get(&self, table: u32, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let known = |key: &[u8]| self.tables.get(&table).and_then(|changes| changes.known(key));
        let asked: Column = keys.iter().filter(|key| known(key).is_none()).map(|key| Some(key.as_slice())).collect();
        let found = match asked.len() {
            0 => Column::default(),
            _ => host::table_get(table, &vec![self.group; asked.len()], &asked).map_err(refused)?,
        };
        let mut found = found.cells();
        let value = |key: &Vec<u8>| match known(key) {
            Some(value) => value.map(<[u8]>::to_vec),
            None => found.next().and_then(Cell::bytes).map(<[u8]>::to_vec),
        };
        Ok(keys.iter().map(value).collect())
    }

    pub(crate) fn put(&mut self, table: u32, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.used();
        let before = self.tables.entry(table).or_default().written.insert(key.clone(), value);
        self.undo.push(Undo::Written(table, key, before));
    }

    pub(crate) fn delete_range(&mut self, table: u32, start: Vec<u8>, end: Option<Vec<u8>>) {
        let bounds = (start, end);
        self.used();
        let changes = self.tables.entry(table).or_default();
        let keys: Vec<_> = changes.written_in(&bounds).map(|(key, _)| key.clone()).collect();
        for key in keys {
            let before = changes.written.remove(&key);
            self.undo.push(Undo::Written(table, key, before));
        }
        changes.deleted.push(bounds);
        self.undo.push(Undo::Deleted(table));
    }

    pub(crate) fn range(
        &self,
        table: u32,
        start: Vec<u8>,
        end: Option<Vec<u8>>,
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut bounds = (start, end);
        if bounds.1.as_ref().is_some_and(|end| *end <= bounds.0) {
            return Ok(Vec::new());
        }
        let none = Changes::default();
        let changes = self.tables.get(&table).unwrap_or(&none);
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        while all.len() < limit {
            let step = (limit - all.len()).min(RANGE_STEP);
            let asked = u32::try_from(step).unwrap_or(u32::MAX);
            let end = bounds.1.as_deref().unwrap_or_default();
            let (keys, values) =
                host::table_range(table, self.group, &bounds.0, end, asked, backwards).map_err(refused)?;
            let complete = keys.len() < step;
            let last = keys.cells().last().and_then(Cell::bytes).map(<[u8]>::to_vec);
            // What the host has answered, and what it has not: the part of the bounds that comes next.
            let (answered, next) = match last {
                Some(last) if !complete && backwards => ((last.clone(), bounds.1.clone()), (bounds.0, Some(last))),
                Some(mut last) if !complete => {
                    last.push(0);
                    ((bounds.0, Some(last.clone())), (last, bounds.1))
                }
                _ => (bounds.clone(), bounds),
            };
            let mut entries: BTreeMap<&[u8], &[u8]> = BTreeMap::new();
            for (key, value) in keys.cells().zip(values.cells()) {
                let (key, value) = (key.bytes().unwrap_or_default(), value.bytes().unwrap_or_default());
                if changes.known(key).is_none() {
                    entries.insert(key, value);
                }
            }
            entries.extend(
                changes.written_in(&answered).filter_map(|(key, value)| Some((key.as_slice(), value.as_deref()?))),
            );
            let own = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
            match backwards {
                true => all.extend(entries.into_iter().rev().map(own)),
                false => all.extend(entries.into_iter().map(own)),
            }
            if complete {
                break;
            }
            bounds = next;
        }
        all.truncate(limit);
        Ok(all)
    }

    fn used(&mut self) {
        self.hand_over = Some(hand_over);
        self.end_group = Some(Self::move_to_ready);
    }

    /// Makes the group's changes ready for the host.
    fn move_to_ready(&mut self) {
        let mut bytes = 0;
        for (&table, changes) in &mut self.tables {
            for (start, end) in changes.deleted.drain(..) {
                if let Err(message) = host::table_delete_range(table, self.group, &start, &end.unwrap_or_default()) {
                    failed(table, &message);
                }
            }
            let ready = self.ready.entry(table).or_default();
            for (key, value) in std::mem::take(&mut changes.written) {
                ready.groups.push(self.group);
                ready.keys.push(Some(&key));
                ready.values.push(value.as_deref());
            }
            bytes += ready.keys.bytes.len() + ready.values.bytes.len();
        }
        if bytes > HANDED_OVER_AT {
            hand_over(&mut self.ready);
        }
    }
}

fn hand_over(ready: &mut BTreeMap<u32, Ready>) {
    for (table, Ready { groups, keys, values }) in std::mem::take(ready) {
        if groups.is_empty() {
            continue;
        }
        if let Err(message) = host::table_put(table, &groups, keys, values) {
            failed(table, &message);
        }
    }
}

fn refused(message: String) -> Error {
    Error::new("table", message)
}

/// The rows that wrote are done and cannot be rejected any more: the call fails, and the host finds the row.
#[cold]
fn failed(table: u32, message: &str) -> ! {
    panic!("the host did not take the writes to table {table}: {message}")
}
