//! The import `lookup`: reference tables that the pipeline granted, many keys a call.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use super::columns::{KeysParam, ValuesAnswer, few, in_parts, price, small, sound};
use crate::plugin::bindings::LOOKUP;
use crate::plugin::ctx::{Ctx, charge, spend};
use crate::plugin::failure;
use crate::record::Column;

type Store<'a> = StoreContextMut<'a, Ctx>;

fn get(store: &Store<'_>, name: &WasmStr, keys: &KeysParam) -> Result<Column, String> {
    let (ctx, keys) = (store.data(), keys.view(store));
    let Some(lookups) = &ctx.reach.lookups else {
        return Err("reference tables are there in `transform` and `process` only".to_owned());
    };
    let name = name.to_str(store).map_err(|_| "the name of the reference table is not UTF-8".to_owned())?;
    few(&ctx.limits, keys.len())?;
    small(&ctx.limits, keys.bytes.len())?;
    sound("key", keys, 0, ctx.limits.key_bytes)?;
    in_parts(&ctx.limits, keys, |_, part| {
        lookups.get(&name, part).ok_or_else(|| format!("no reference table `{}` is granted", failure::clip(&name)))
    })
}

/// Defines the import.
pub(in crate::plugin) fn define(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    linker.instance(LOOKUP)?.func_wrap("get", |mut store: Store<'_>, (name, keys): (WasmStr, KeysParam)| {
        let shape = keys.view(&store);
        let (entries, bytes) = (shape.len(), shape.bytes.len());
        charge(&mut store, price(entries, bytes))?;
        let found = get(&store, &name, &keys);
        spend(&mut store, found.as_ref().map_or(0, |values| price(0, values.bytes.len())))?;
        Ok((found.map(ValuesAnswer::from),))
    })
}
