//! The data of a store: the state of one instance, dropped with it.

use std::sync::Arc;

use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline};

use super::failure::{Slice, TooManyHostCalls};
use super::limits::CallLimits;
use super::lines::Lines;
use super::measured::Updates;
use super::memory::Memory;
use super::reach::Reach;
use super::wasi_state::Wasi;

/// Fuel of a host call beside its bytes: 80 ns and more, where the engine charges two.
const HOST_CALL_FUEL: u64 = 500;

/// The state of one instance.
#[derive(Debug)]
pub(super) struct Ctx {
    pub(super) memory: Memory,
    pub(super) lines: Lines,
    pub(super) updates: Updates,
    pub(super) wasi: Wasi,
    pub(super) reach: Reach,
    pub(super) limits: Arc<CallLimits>,
    /// Fuel that the call was given since it began.
    pub(super) granted: u64,
    ticks_left: u64,
    host_calls: u64,
    host_calls_max: u64,
}

impl Ctx {
    fn new(limits: &Arc<CallLimits>, rows: usize) -> Self {
        Self {
            memory: Memory::new(limits.memory_bytes, limits.refusals),
            lines: Lines::default(),
            updates: Updates::default(),
            wasi: Wasi::default(),
            reach: Reach::default(),
            granted: 0,
            ticks_left: limits.ticks,
            host_calls: 0,
            host_calls_max: limits.host_calls_base.saturating_add(limits.host_calls_row.saturating_mul(rows as u64)),
            limits: limits.clone(),
        }
    }
}

/// Fuel for a call with so many rows.
pub(super) fn fuel_for(limits: &CallLimits, rows: usize) -> u64 {
    limits.fuel_base.saturating_add(limits.fuel_row.saturating_mul(rows as u64))
}

/// A store for one instance, with all its limits set.
pub(super) fn store(engine: &Engine, limits: &Arc<CallLimits>, rows: usize, fuel: u64) -> wasmtime::Result<Store<Ctx>> {
    let mut store = Store::new(engine, Ctx::new(limits, rows));
    store.limiter(|ctx| &mut ctx.memory);
    store.set_fuel(fuel)?;
    store.set_hostcall_fuel(limits.transfer_bytes);
    store.set_max_component_handles(limits.handles);
    Ok(store)
}

/// Makes the guest of this store yield at each tick, and stop when its ticks are used up.
pub(super) fn yield_at_ticks(store: &mut Store<Ctx>) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        let ctx = store.data_mut();
        ctx.ticks_left = ctx.ticks_left.saturating_sub(1);
        Ok(if ctx.ticks_left == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
    });
}

/// What a call with so many rows was given.
pub(super) fn slice(limits: &CallLimits, fuel: u64) -> Slice {
    Slice { fuel, ticks: limits.ticks, transfer_bytes: limits.transfer_bytes, handles: limits.handles }
}

/// Charges the guest for a host call, with this fuel on top: one for each byte that it moves, and more where more is done.
pub(super) fn charge(store: &mut StoreContextMut<'_, Ctx>, fuel: u64) -> wasmtime::Result<()> {
    let ctx = store.data_mut();
    if ctx.host_calls >= ctx.host_calls_max {
        return Err(TooManyHostCalls(ctx.host_calls_max).into());
    }
    ctx.host_calls += 1;
    spend(store, HOST_CALL_FUEL.saturating_add(fuel))
}

/// Takes fuel for what a host call has done. A guest that cannot pay is left with nothing and stops at its next
/// instruction.
pub(super) fn spend(store: &mut StoreContextMut<'_, Ctx>, fuel: u64) -> wasmtime::Result<()> {
    let left = store.get_fuel()?.saturating_sub(fuel);
    store.set_fuel(left)
}

/// Gives the guest fuel on top of its slice.
pub(super) fn grant(store: &mut StoreContextMut<'_, Ctx>, fuel: u64) -> wasmtime::Result<()> {
    let more = store.get_fuel()?.saturating_add(fuel);
    let ctx = store.data_mut();
    ctx.granted = ctx.granted.saturating_add(fuel);
    store.set_fuel(more)
}
