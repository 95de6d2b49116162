//! The import `table`: ordered entries of a key, many of them a call.
//!
//! A host call holds the lock of the call's tables as long as it runs. It never waits, so nobody waits for it but other
//! holders of the same tables, of which there is none while a guest runs.

use std::sync::{MutexGuard, PoisonError};

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmList};

use super::columns::{EntriesAnswer, EntriesParam, KeysParam, PART, ValuesAnswer, few, in_parts, price, small, sound};
use crate::plugin::bindings::TABLE;
use crate::plugin::ctx::{Ctx, charge, spend};
use crate::plugin::{TableRange, Tables};
use crate::record::{Column, NULL};

pub(super) type Store<'a> = StoreContextMut<'a, Ctx>;

/// The tables of a call, for one host call.
type Locked<'a> = MutexGuard<'a, dyn Tables + 'static>;

/// The tables, the first key of a range and the first one after it.
type Checked<'a> = (Locked<'a>, &'a [u8], &'a [u8]);

/// What the functions work on.
fn reach(ctx: &Ctx) -> Result<Locked<'_>, String> {
    let Some(tables) = &ctx.reach.tables else {
        return Err("tables are there in `process` only".to_owned());
    };
    Ok(tables.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A number that a plugin's own tables have.
fn is_own(store: &Store<'_>, table: u32) -> Result<(), String> {
    let numbers = store.data().limits.table_numbers;
    if table >= numbers {
        return Err(format!("table {table}: a plugin has {numbers} tables, numbered from 0"));
    }
    Ok(())
}

/// Groups of the call.
fn are_groups(ctx: &Ctx, groups: &[u32]) -> Result<(), String> {
    match groups.iter().max() {
        Some(&last) if last as usize >= ctx.reach.groups => {
            Err(format!("group {last}: the call has {} groups, numbered from 0", ctx.reach.groups))
        }
        _ => Ok(()),
    }
}

/// One group for each key.
fn pair(ctx: &Ctx, groups: &[u32], keys: usize) -> Result<(), String> {
    if groups.len() != keys {
        return Err(format!("{} groups for {keys} keys", groups.len()));
    }
    few(&ctx.limits, keys)?;
    are_groups(ctx, groups)
}

/// Reads entries of a table, whoever's it is.
pub(super) fn get(store: &Store<'_>, table: u32, groups: &WasmList<u32>, keys: &KeysParam) -> Result<Column, String> {
    let (ctx, groups, keys) = (store.data(), groups.as_le_slice(store), keys.view(store));
    let mut tables = reach(ctx)?;
    pair(ctx, groups, keys.len())?;
    small(&ctx.limits, keys.bytes.len())?;
    sound("key", keys, 0, ctx.limits.table_key_bytes)?;
    in_parts(&ctx.limits, keys, |place, part| tables.get(table, &groups[place..place + part.len()], part))
}

/// Writes entries of a table, whoever's it is. Returns the bytes that were written.
pub(super) fn put(
    store: &Store<'_>,
    table: u32,
    groups: &WasmList<u32>,
    changes: &EntriesParam,
) -> Result<usize, String> {
    let (ctx, groups, (keys, values)) = (store.data(), groups.as_le_slice(store), changes.view(store));
    let mut tables = reach(ctx)?;
    pair(ctx, groups, keys.len())?;
    if values.len() != keys.len() {
        return Err(format!("{} values for {} keys", values.len(), keys.len()));
    }
    let bytes = keys.bytes.len() + values.bytes.len();
    small(&ctx.limits, bytes)?;
    sound("key", keys, 0, ctx.limits.table_key_bytes)?;
    sound("value", values, NULL, ctx.limits.table_value_bytes)?;
    let (limit, written) = (ctx.limits.table_written_bytes, ctx.reach.written + bytes);
    if written > limit {
        return Err(format!("{written} bytes put into tables by one call of the plugin, the limit is {limit} bytes"));
    }
    tables.put(table, groups, keys, values)?;
    Ok(bytes)
}

/// A range as the guest gives it.
struct RangeParam {
    table: u32,
    group: u32,
    start: WasmList<u8>,
    end: WasmList<u8>,
}

impl RangeParam {
    /// The tables and the bounds, or why they make no sense.
    fn check<'a>(&self, store: &'a Store<'_>) -> Result<Checked<'a>, String> {
        let ctx = store.data();
        is_own(store, self.table)?;
        let tables = reach(ctx)?;
        are_groups(ctx, &[self.group])?;
        // One byte more than a key: what follows the longest key is the key and a zero.
        let limit = ctx.limits.table_key_bytes + 1;
        let bound = |list: &WasmList<u8>| {
            let bytes = list.as_le_slice(store);
            if bytes.len() > limit {
                return Err(format!("a bound of {} bytes, the limit is {limit} bytes", bytes.len()));
            }
            Ok(bytes)
        };
        Ok((tables, bound(&self.start)?, bound(&self.end)?))
    }

    /// Reads in parts, each beginning where the last one ended.
    fn read(&self, store: &Store<'_>, limit: u32, backwards: bool) -> Result<(Column, Column), String> {
        let limits = &store.data().limits;
        let (mut tables, start, end) = self.check(store)?;
        few(limits, limit as usize)?;
        let (mut start, mut end) = (start.to_vec(), end.to_vec());
        let (mut keys, mut values) = (Column::default(), Column::default());
        while keys.len() < limit as usize && (end.is_empty() || start < end) {
            let part = (limit as usize - keys.len()).min(PART);
            let range = TableRange { start: &start, end: &end, backwards };
            let (part_keys, part_values) = tables.range(self.table, self.group, range, part as u32)?;
            keys.extend(part_keys.view());
            values.extend(part_values.view());
            small(limits, keys.bytes.len() + values.bytes.len())?;
            let last = part_keys.iter().last().flatten().unwrap_or_default();
            // Nothing is left, or nothing can be: before the empty key there is none.
            if part_keys.len() < part || (backwards && last.is_empty()) {
                break;
            }
            if backwards {
                end = last.to_vec();
            } else {
                start = [last, &[0]].concat();
            }
        }
        Ok((keys, values))
    }

    fn delete(&self, store: &Store<'_>) -> Result<u64, String> {
        let (mut tables, start, end) = self.check(store)?;
        if !end.is_empty() && start >= end {
            return Ok(0);
        }
        tables.delete_range(self.table, self.group, TableRange { start, end, backwards: false })
    }
}

/// Defines the import.
pub(in crate::plugin) fn define(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(TABLE)?;
    instance.func_wrap("get", |mut store: Store<'_>, (table, groups, keys): (u32, WasmList<u32>, KeysParam)| {
        let shape = keys.view(&store);
        let (entries, bytes) = (shape.len(), shape.bytes.len());
        charge(&mut store, price(entries, bytes))?;
        let found = is_own(&store, table).and_then(|()| get(&store, table, &groups, &keys));
        spend(&mut store, found.as_ref().map_or(0, |values| price(0, values.bytes.len())))?;
        Ok((found.map(ValuesAnswer::from),))
    })?;
    instance.func_wrap(
        "put",
        |mut store: Store<'_>, (table, groups, changes): (u32, WasmList<u32>, EntriesParam)| {
            let (keys, values) = changes.view(&store);
            let (entries, bytes) = (keys.len(), keys.bytes.len() + values.bytes.len());
            charge(&mut store, price(entries, bytes))?;
            let written = is_own(&store, table).and_then(|()| put(&store, table, &groups, &changes));
            store.data_mut().reach.written += written.as_ref().copied().unwrap_or_default();
            Ok((written.map(|_| ()),))
        },
    )?;
    instance.func_wrap(
        "range",
        |mut store: Store<'_>,
         (table, group, start, end, limit, backwards): (u32, u32, WasmList<u8>, WasmList<u8>, u32, bool)| {
            let range = RangeParam { table, group, start, end };
            charge(&mut store, price(0, range.start.len() + range.end.len()))?;
            let found = range.read(&store, limit, backwards);
            let read = |(keys, values): &(Column, Column)| price(keys.len(), keys.bytes.len() + values.bytes.len());
            spend(&mut store, found.as_ref().map_or(0, read))?;
            Ok((found.map(EntriesAnswer::from),))
        },
    )?;
    instance.func_wrap(
        "delete-range",
        |mut store: Store<'_>, (table, group, start, end): (u32, u32, WasmList<u8>, WasmList<u8>)| {
            let range = RangeParam { table, group, start, end };
            charge(&mut store, price(0, range.start.len() + range.end.len()))?;
            let deleted = range.delete(&store);
            let entries = deleted.as_ref().map_or(0, |&entries| usize::try_from(entries).unwrap_or(usize::MAX));
            spend(&mut store, price(entries, 0))?;
            Ok((deleted,))
        },
    )
}
