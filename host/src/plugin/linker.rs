//! Everything that a component may import. What is not here was refused by the pre-scan.

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::ctx::Ctx;
use super::host::{emission, log, lookup, metrics, pages, table};
use super::wasi;

/// A linker with all imports that this component has.
pub(super) fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<Ctx>> {
    let mut linker = Linker::new(engine);
    log::define(&mut linker)?;
    metrics::define(&mut linker)?;
    pages::define(&mut linker)?;
    emission::define(&mut linker)?;
    table::define(&mut linker)?;
    lookup::define(&mut linker)?;
    wasi::define(&mut linker, component)?;
    Ok(linker)
}
