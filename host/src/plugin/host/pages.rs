//! The import `pages`: where the SDK keeps what of a key's state does not ride in its value.
//!
//! Pages are entries of a table like others, under a number that a plugin's own tables cannot have. Nobody grants them: what
//! is in them is state, and counted with it.

use wasmtime::component::{Linker, WasmList};

use super::columns::{EntriesParam, KeysParam, ValuesAnswer, price};
use super::table::{self, Store};
use crate::plugin::PAGES_TABLE;
use crate::plugin::bindings::PAGES;
use crate::plugin::ctx::{Ctx, charge, spend};

/// Defines the import.
pub(in crate::plugin) fn define(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(PAGES)?;
    instance.func_wrap("get", |mut store: Store<'_>, (groups, keys): (WasmList<u32>, KeysParam)| {
        let shape = keys.view(&store);
        let (entries, bytes) = (shape.len(), shape.bytes.len());
        charge(&mut store, price(entries, bytes))?;
        let found = table::get(&store, PAGES_TABLE, &groups, &keys);
        spend(&mut store, found.as_ref().map_or(0, |values| price(0, values.bytes.len())))?;
        Ok((found.map(ValuesAnswer::from),))
    })?;
    instance.func_wrap("put", |mut store: Store<'_>, (groups, changes): (WasmList<u32>, EntriesParam)| {
        let (keys, values) = changes.view(&store);
        let (entries, bytes) = (keys.len(), keys.bytes.len() + values.bytes.len());
        charge(&mut store, price(entries, bytes))?;
        let written = table::put(&store, PAGES_TABLE, &groups, &changes);
        store.data_mut().reach.written += written.as_ref().copied().unwrap_or_default();
        Ok((written.map(|_| ()),))
    })
}
