//! Pipelines: topics in, steps, topics out, one micro-batch after the other, each a transaction.
//!
//! `spec` reads a manifest, `engine` is the deterministic part that applies micro-batches, `io` the loop around it
//! that reads and commits, `trial` runs it on samples, `deploy` is what the control plane asks for. [`driver`] runs a pipeline by hand, without a
//! server. Imports point from `deploy` and `driver` to `io`, from there to `engine`, and from there to `spec`.

#[cfg(feature = "server")]
mod deploy;
pub mod driver;
mod engine;
mod error;
mod io;
pub mod spec;
pub mod status;
#[cfg(test)]
mod tests;
#[cfg(feature = "server")]
mod trial;

#[cfg(feature = "server")]
pub use deploy::{
    Applied, Apply, Change, DamagedFile, Done, Operation, OperationKind, Orphan, OrphanInput, Orphans, Outcome,
    Pipelines, Restore, Rewind, StartOffset,
};
pub use engine::dead_letter::PREFIX as DEAD_LETTER_HEADER_PREFIX;
pub use engine::plan::Loaded;
pub use engine::thresholds::Thresholds;
pub use error::Error;
pub use io::intake::Take;
#[cfg(feature = "server")]
pub use trial::{Verdict, try_plugin};
