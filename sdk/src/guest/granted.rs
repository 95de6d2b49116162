//! The functions of the host that keep and look up: tables and reference tables, which a pipeline grants, and the pages in
//! which state goes on.
//!
//! A plugin that calls none of them does not import them.

use super::bindings::granted::millstream::plugin::{lookup as host_lookup, pages, table as host};
use super::bindings::lifecycle::millstream::plugin::types::Entries;
use super::convert::column;
use crate::columns::Column;

pub(crate) fn table_get(table: u32, groups: &[u32], keys: &Column) -> Result<Column, String> {
    let values = host::get(table, groups, &named(keys))?;
    Ok(column(values.lengths, values.bytes))
}

pub(crate) fn table_put(table: u32, groups: &[u32], keys: Column, values: Column) -> Result<(), String> {
    host::put(table, groups, &entries(keys, values))
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

pub(crate) fn pages_get(groups: &[u32], keys: &Column) -> Result<Column, String> {
    let values = pages::get(groups, &named(keys))?;
    Ok(column(values.lengths, values.bytes))
}

pub(crate) fn pages_put(groups: &[u32], keys: Column, values: Column) -> Result<(), String> {
    pages::put(groups, &entries(keys, values))
}

pub(crate) fn lookup(name: &str, keys: &Column) -> Result<Column, String> {
    let values = host_lookup::get(name, &named(keys))?;
    Ok(column(values.lengths, values.bytes))
}

fn entries(keys: Column, values: Column) -> Entries {
    Entries { key_lengths: keys.lengths, keys: keys.bytes, value_lengths: values.lengths, values: values.bytes }
}

fn named(keys: &Column) -> host::Keys {
    host::Keys { lengths: keys.lengths.clone(), bytes: keys.bytes.clone() }
}
