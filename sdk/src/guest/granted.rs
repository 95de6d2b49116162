//! The functions of the host that a pipeline grants: tables and reference tables.
//!
//! A plugin that calls none of them does not import them.

use super::bindings::granted::millstream::plugin::{lookup as host_lookup, table as host};
use super::bindings::lifecycle::millstream::plugin::types::Entries;
use super::convert::column;
use crate::columns::Column;

pub(crate) fn table_get(table: u32, groups: &[u32], keys: &Column) -> Result<Column, String> {
    let values = host::get(table, groups, &named(keys))?;
    Ok(column(values.lengths, values.bytes))
}

pub(crate) fn table_put(table: u32, groups: &[u32], keys: Column, values: Column) -> Result<(), String> {
    let changes =
        Entries { key_lengths: keys.lengths, keys: keys.bytes, value_lengths: values.lengths, values: values.bytes };
    host::put(table, groups, &changes)
}

pub(crate) fn table_range(
    table: u32,
    group: u32,
    start: &[u8],
    end: &[u8],
    limit: u32,
    backwards: bool,
) -> Result<(Column, Column), String> {
    let entries = host::range(table, group, start, end, limit, backwards)?;
    Ok((column(entries.key_lengths, entries.keys), column(entries.value_lengths, entries.values)))
}

pub(crate) fn table_delete_range(table: u32, group: u32, start: &[u8], end: &[u8]) -> Result<u64, String> {
    host::delete_range(table, group, start, end)
}

pub(crate) fn lookup(name: &str, keys: &Column) -> Result<Column, String> {
    let values = host_lookup::get(name, &named(keys))?;
    Ok(column(values.lengths, values.bytes))
}

fn named(keys: &Column) -> host::Keys {
    host::Keys { lengths: keys.lengths.clone(), bytes: keys.bytes.clone() }
}
