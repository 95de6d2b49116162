//! Millstream: many tenants run their own stream processing, as WebAssembly plugins, on one host.
//!
//! The one idea is that a micro-batch is a transaction. A pipeline takes what has arrived, runs its steps over it, and
//! commits once: results, dead letters, its input positions, what changed in its state, its counters. All or nothing.
//!
//! # Life of a record
//!
//! ```text
//! api::batches        a producer's record batches come in
//!   log::embedded     checked, queued by bytes, written and synced with all other tenants' writes; visible
//! pipeline::io        the pipeline's task wakes
//!     intake          reads what has arrived into columns, by event time where a step has state
//!   pipeline::engine  runs stages: transforms in the sandbox (plugin), rows into windows (time, state),
//!                     complete windows into results; poisonous rows are isolated (engine::calls)
//!   log::CommitLog::commit  results, late rows, dead letters, offsets, state block, counters: one write
//! api::records        readers see the results
//! ```
//!
//! `host/docs/architecture.md` tells the same at length, with what happens when something goes wrong. Modules stand on
//! each other in the order of `tests/layers.rs`; imports point down only.
#![deny(unsafe_code)]

#[cfg(feature = "server")]
pub mod api;
#[cfg(feature = "server")]
pub mod catalog;
#[cfg(feature = "server")]
pub mod checkpoint;
#[cfg(feature = "server")]
pub mod cli;
mod clock;
#[cfg(feature = "server")]
pub mod document;
pub mod environment;
pub mod error;
pub mod fail;
#[cfg(feature = "server")]
pub mod files;
pub mod ids;
pub mod log;
pub mod names;
pub mod pipeline;
pub mod plugin;
pub mod record;
#[cfg(feature = "server")]
pub mod spill;
pub mod state;
pub mod time;
