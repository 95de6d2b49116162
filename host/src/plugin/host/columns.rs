//! Arguments and answers of `table` and `lookup`: columns that lie in the guest's memory, looked at where they are.
//!
//! A guest's mistake is a text for the guest. Answers are gathered in parts, so that what the host holds for one host
//! call is bounded whatever a store gives.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Lower, WasmList};

use crate::plugin::ctx::Ctx;
use crate::plugin::limits::CallLimits;
use crate::record::{Column, ColumnRef};

/// Fuel for one entry beside its bytes: between 100 ns for one in memory and 2 µs for one on disk.
const ENTRY_FUEL: u64 = 1_000;

/// Entries that are asked for at once. With the limit of a value this bounds what is held over the limit of an answer.
pub(super) const PART: usize = 64;

/// `table.keys`, in the guest's memory.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct KeysParam {
    lengths: WasmList<i32>,
    bytes: WasmList<u8>,
}

/// `types.entries`, in the guest's memory.
#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct EntriesParam {
    #[component(name = "key-lengths")]
    key_lengths: WasmList<i32>,
    keys: WasmList<u8>,
    #[component(name = "value-lengths")]
    value_lengths: WasmList<i32>,
    values: WasmList<u8>,
}

/// `table.values`, as an answer.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct ValuesAnswer {
    lengths: Vec<i32>,
    bytes: Vec<u8>,
}

impl From<Column> for ValuesAnswer {
    fn from(values: Column) -> Self {
        Self { lengths: values.lengths, bytes: values.bytes }
    }
}

/// `types.entries`, as an answer.
#[derive(Debug, ComponentType, Lower)]
#[component(record)]
pub(super) struct EntriesAnswer {
    #[component(name = "key-lengths")]
    key_lengths: Vec<i32>,
    keys: Vec<u8>,
    #[component(name = "value-lengths")]
    value_lengths: Vec<i32>,
    values: Vec<u8>,
}

impl From<(Column, Column)> for EntriesAnswer {
    fn from((keys, values): (Column, Column)) -> Self {
        Self { key_lengths: keys.lengths, keys: keys.bytes, value_lengths: values.lengths, values: values.bytes }
    }
}

/// The column that two lists in the guest's memory are.
fn column<'a>(store: &'a StoreContextMut<'_, Ctx>, lengths: &WasmList<i32>, bytes: &WasmList<u8>) -> ColumnRef<'a> {
    ColumnRef { lengths: lengths.as_le_slice(store), bytes: bytes.as_le_slice(store) }
}

impl KeysParam {
    pub(super) fn view<'a>(&self, store: &'a StoreContextMut<'_, Ctx>) -> ColumnRef<'a> {
        column(store, &self.lengths, &self.bytes)
    }
}

impl EntriesParam {
    /// Keys and values.
    pub(super) fn view<'a>(&self, store: &'a StoreContextMut<'_, Ctx>) -> (ColumnRef<'a>, ColumnRef<'a>) {
        let values = column(store, &self.value_lengths, &self.values);
        (column(store, &self.key_lengths, &self.keys), values)
    }
}

/// Fuel for entries with so many bytes of keys and values, their lengths included.
pub(super) fn price(entries: usize, bytes: usize) -> u64 {
    (entries as u64).saturating_mul(ENTRY_FUEL).saturating_add(bytes as u64)
}

/// Not more entries than one host call may have.
pub(super) fn few(limits: &CallLimits, entries: usize) -> Result<(), String> {
    let limit = limits.table_entries;
    if entries > limit {
        return Err(format!("{entries} entries in one call, the limit is {limit}"));
    }
    Ok(())
}

/// Not more bytes than one host call may have.
pub(super) fn small(limits: &CallLimits, bytes: usize) -> Result<(), String> {
    let limit = limits.table_bytes;
    if bytes > limit {
        return Err(format!("keys and values of {bytes} bytes in one call, the limit is {limit} bytes; name fewer"));
    }
    Ok(())
}

/// Lengths from `least` up to the limit, which add up to the bytes.
pub(super) fn sound(what: &str, column: ColumnRef<'_>, least: i32, limit: usize) -> Result<(), String> {
    let (mut low, mut high, mut sum) = (least, 0_i32, 0_u64);
    for &length in column.lengths {
        low = low.min(length);
        high = high.max(length);
        sum += u64::from(length.max(0).unsigned_abs());
    }
    if low < least {
        return Err(format!("a {what} has the length {low}"));
    }
    if sum != column.bytes.len() as u64 {
        return Err(format!("lengths of {what}s add up to {sum}, their bytes are {}", column.bytes.len()));
    }
    if high.unsigned_abs() as usize > limit {
        return Err(format!("a {what} of {high} bytes, the limit is {limit} bytes"));
    }
    Ok(())
}

/// The values of keys, read in parts: `read` gets the place of the first key of each.
pub(super) fn in_parts(
    limits: &CallLimits,
    mut keys: ColumnRef<'_>,
    mut read: impl FnMut(usize, ColumnRef<'_>) -> Result<Column, String>,
) -> Result<Column, String> {
    let (mut values, mut place) = (Column::default(), 0);
    while !keys.is_empty() {
        let (part, rest) = keys.split_at(keys.len().min(PART));
        values.extend(read(place, part)?.view());
        small(limits, values.bytes.len())?;
        place += part.len();
        keys = rest;
    }
    Ok(values)
}
