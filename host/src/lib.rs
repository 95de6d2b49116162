//! Millstream: many tenants run their own stream processing, as WebAssembly plugins, on one host.
#![deny(unsafe_code)]

pub mod catalog;
pub mod error;
pub mod ids;
pub mod log;
pub mod names;
pub mod pipeline;
pub mod plugin;
pub mod record;
pub mod state;
pub mod time;
