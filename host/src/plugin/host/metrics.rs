//! The import `metrics`: counters and gauges of a plugin.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, WasmStr};

use crate::plugin::Metric;
use crate::plugin::ctx::{Ctx, charge};

fn take(store: &mut StoreContextMut<'_, Ctx>, name: &WasmStr, update: Metric) -> wasmtime::Result<()> {
    let name = name.to_str(&*store).map(|name| {
        let most = store.data().limits.metric_name_bytes + 1;
        name[..name.floor_char_boundary(most)].to_owned()
    });
    charge(store, name.as_ref().map_or(0, |name| name.len() as u64))?;
    if let Ok(name) = name {
        let ctx = store.data_mut();
        ctx.updates.take(&ctx.limits, &name, update);
    }
    Ok(())
}

/// Defines the import.
pub(in crate::plugin) fn define(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    let mut instance = linker.instance("millstream:plugin/metrics@0.1.0")?;
    instance.func_wrap("add", |mut store: StoreContextMut<'_, Ctx>, (name, value): (WasmStr, u64)| {
        take(&mut store, &name, Metric::Counter(value))
    })?;
    instance.func_wrap("set", |mut store: StoreContextMut<'_, Ctx>, (name, value): (WasmStr, f64)| {
        take(&mut store, &name, Metric::Gauge(value))
    })
}
