//! The engines: how code is compiled, and the pool that instances live in.
//!
//! What decides about compiled code is in [`codegen`], shared by the process that compiles and the one that runs: an
//! artifact of other settings is refused when it is loaded.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, PoolingAllocationConfig, RegallocAlgorithm,
    Strategy, VariableOperatorCost, WasmBacktraceDetails,
};

use super::limits::Limits;

/// Names the engine and its settings in artifacts and cache keys. To be changed with anything in this file.
pub(super) const ENGINE_ID: &str = "wasmtime-48.0.8/1";

/// Frames of a backtrace: enough to find a place, few enough for a dead letter.
pub(super) const BACKTRACE_FRAMES: usize = 10;

/// Stack of a guest. Running over it is a clean trap.
const WASM_STACK_BYTES: usize = 512 << 10;

/// Stack of a fiber: the guest's and a megabyte and more for host functions, whose overflow would end the process.
const FIBER_STACK_BYTES: usize = 2 << 20;

/// How much of a fiber's stack is cleared by writing instead of by a system call.
const FIBER_KEEP_BYTES: usize = 32 << 10;

/// How much of a slot's memory stays resident between calls, cleared by writing: a call that dirties no more has no page
/// faults. Slots are as many as calls at once, so this is bounded.
const MEMORY_KEEP_BYTES: usize = 2 << 20;

/// The same for tables.
const TABLE_KEEP_BYTES: usize = 64 << 10;

/// Core instances, memories and tables for each component instance. A plugin has 3 to 5, 1 and 2.
const CORE_INSTANCES_PER_CALL: u32 = 16;
const MEMORIES_PER_CALL: u32 = 2;
const TABLES_PER_CALL: u32 = 8;

/// What decides about compiled code.
fn codegen() -> Config {
    let mut config = Config::new();
    config.strategy(Strategy::Cranelift);
    config.cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking);
    // The same bits on every run, for replay.
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(false);
    // Not needed by plugins, and less to trust.
    config.wasm_memory64(false);
    config.wasm_custom_page_sizes(false);
    config.wasm_wide_arithmetic(false);
    config.wasm_tail_call(false);
    // Adapters between nested components need it: without it they make the compiler panic.
    config.wasm_multi_memory(true);
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.consume_fuel(true);
    config.operator_cost(operator_cost());
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES));
    config
}

/// Growing memory or a table is work of the host for each page or element, and free by default.
fn operator_cost() -> OperatorCost {
    let variable =
        VariableOperatorCost { memory_grow_per_page: 255, table_grow_per_element: 4, ..VariableOperatorCost::new() };
    OperatorCost { variable, ..OperatorCost::new() }
}

/// What the server's code is compiled for: epochs, and memories that need no bounds checks.
fn served() -> Config {
    let mut config = codegen();
    config.epoch_interruption(true);
    config.memory_may_move(false);
    config.async_stack_size(FIBER_STACK_BYTES);
    config.async_stack_zeroing(true);
    config
}

/// The engine of the server: runs artifacts, `calls` at once, from a pool.
pub(super) fn server(limits: &Limits, calls: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls * CORE_INSTANCES_PER_CALL)
        .total_memories(calls * MEMORIES_PER_CALL)
        .total_tables(calls * TABLES_PER_CALL)
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES_PER_CALL)
        .max_memories_per_component(MEMORIES_PER_CALL)
        .max_tables_per_component(TABLES_PER_CALL)
        .max_memories_per_module(1)
        .max_tables_per_module(4)
        .max_memory_size(limits.call.memory_bytes)
        .table_elements(limits.component.table_elements as usize)
        .max_unused_warm_slots(calls)
        .linear_memory_keep_resident(MEMORY_KEEP_BYTES)
        .table_keep_resident(TABLE_KEEP_BYTES)
        .async_stack_keep_resident(FIBER_KEEP_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = served();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// The engine that compiles for [`server`]. Runs nothing.
pub(super) fn compiler() -> wasmtime::Result<Engine> {
    Engine::new(&served())
}

/// The engine that runs `describe` and `init` in the compiling process, under its limit of address space: memories grow
/// as they are used and are bounds-checked. No epochs: fuel and the parent's clock stop it.
pub(super) fn runner() -> wasmtime::Result<Engine> {
    let mut config = codegen();
    config.memory_reservation(0);
    config.memory_guard_size(64 << 10);
    config.memory_reservation_for_growth(1 << 20);
    config.memory_init_cow(false);
    Engine::new(&config)
}
