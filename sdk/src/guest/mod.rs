//! The plugin as the host sees it: exports, host functions, memory. Exists on wasm32 alone.
//!
//! The columns of the contract and those of the SDK are the same vectors: they are moved, never copied.

mod aggregate;
mod bindings;
mod convert;
mod emission;
mod granted;
mod migrate;
mod plugin;
mod process;
mod transform;

pub use aggregate::Aggregator;
pub use bindings::{aggregator, lifecycle, migration, processor, transformer};
pub(crate) use emission::{emit, keep};
pub(crate) use granted::{lookup, pages_get, pages_put, table_delete_range, table_get, table_put, table_range};
pub use migrate::{MigratedAccumulator, MigratedState};
pub use plugin::Plugin;
pub(crate) use plugin::{add_to_counter, log, set_gauge};
pub use process::Processor;
pub use transform::Transformer;
