//! Pipelines: topics in, steps, topics out, one micro-batch after the other, each a transaction.
//!
//! `spec` reads a manifest, `plan` puts it together with plugins and partitions, `machine` is the deterministic heart
//! (`flow` its way from step to step, `steps` what each does, `blocks` what its state looks like in the log), `runner` the
//! loop around it that reads and commits, `supervisor` keeps it alive, and `Pipelines` is what the control plane asks.
//! [`driver`] runs a pipeline by hand, without a server.

mod blocks;
mod calls;
mod crowd;
mod dead_letter;
pub mod driver;
mod error;
mod flow;
mod gather;
mod handover;
mod held;
mod intake;
mod machine;
mod outputs;
mod passed;
mod place;
mod plan;
mod references;
mod rows;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "the endless loop is the server's"))]
mod runner;
#[cfg(feature = "server")]
mod service;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "what a pipeline shows is asked for by the server"))]
mod shared;
pub mod spec;
pub mod status;
mod steps;
#[cfg(feature = "server")]
mod supervisor;
mod sweep;
#[cfg(test)]
mod tests;

pub use dead_letter::PREFIX as DEAD_LETTER_HEADER_PREFIX;
pub use error::Error;
pub use intake::Take;
pub use plan::Loaded;
#[cfg(feature = "server")]
pub use service::{Applied, Change, Done, Operation, OperationKind, Outcome, Pipelines, Place, Restore, Rewind};
