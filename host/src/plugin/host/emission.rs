//! The import `emission`: rows of an answer, handed over while the call runs.
//!
//! They are kept as the guest gave them and checked with the rest of the answer. What is counted at once is their size, so
//! that a guest cannot make the host hold more than the limit.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::plugin::bindings::{EMISSION, RowsResult};
use crate::plugin::ctx::{Ctx, charge, grant};
use crate::plugin::emission::Emission;
use crate::plugin::failure::{Code, Stopped, Trap};

type Store<'a> = StoreContextMut<'a, Ctx>;

/// What was handed over so far, in a call that may emit rows.
fn reach<'a>(store: &'a mut Store<'_>) -> Result<&'a mut Emission, Stopped> {
    let misplaced = || {
        let message = "handed over rows outside of `transform`, `finish` and `process`";
        Stopped(Trap::new(Code::InvalidAnswer, message))
    };
    store.data_mut().reach.emission.as_mut().ok_or_else(misplaced)
}

/// Defines the import.
pub(in crate::plugin) fn define(linker: &mut Linker<Ctx>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(EMISSION)?;
    instance.func_wrap("emit", |mut store: Store<'_>, (piece,): (RowsResult,)| {
        charge(&mut store, piece.bytes() as u64)?;
        let (rows, limit, fuel) = {
            let limits = &store.data().limits;
            (piece.source_rows.len() as u64, limits.output_bytes, limits.fuel_emitted)
        };
        reach(&mut store)?.take(piece, limit).map_err(Stopped)?;
        grant(&mut store, rows.saturating_mul(fuel))
    })?;
    instance.func_wrap("keep", |mut store: Store<'_>, (rows,): (u64,)| {
        charge(&mut store, 0)?;
        reach(&mut store)?.keep(rows);
        Ok(())
    })?;
    instance.func_wrap("go-on", |mut store: Store<'_>, (group,): (u32,)| {
        charge(&mut store, 0)?;
        reach(&mut store)?.going_on.push(group);
        Ok(())
    })
}
