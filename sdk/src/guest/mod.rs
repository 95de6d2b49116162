//! The plugin as the host sees it: exports, host functions, memory. Exists on wasm32 alone.
//!
//! The columns of the contract and those of the SDK are the same vectors: they are moved, never copied.

mod aggregate;
mod bindings;
mod convert;
mod plugin;
mod transform;

pub use aggregate::Aggregator;
pub use bindings::{aggregator, lifecycle, transformer};
pub use plugin::Plugin;
pub(crate) use plugin::{add_to_counter, log, set_gauge};
pub use transform::Transformer;
