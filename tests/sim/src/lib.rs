//! A simulated server: one seed makes pipelines, records, changes of what is deployed, slow and failing disks, and losses of
//! power; a model says what must have come out.
//!
//! Real are all of `pipeline`, `state`, `time`, `catalog` and `checkpoint`, and the model of the log
//! (`log::memory`). Simulated is what is below them: the disk ([`disk`]) that the catalog, the checkpoints and the log's
//! journal ([`log`]) lie on, the clock and the threads ([`machine`]), and the sandbox ([`loader`], with plugins that are
//! compiled in, [`guests`]).
//!
//! ```text
//! simulation   lives: power on, operations, loss of power, again; at the end all heals and must come to rest
//!   operation  what a user asks for, drawn by the seed
//!   client     does it, and keeps what may be deployed now ([`wanted`])
//!   oracle     sees every commit and every change of the catalog; says what may not be (as it happens), and compares
//!              what came out with what [`naive`] makes of the same records
//! ```
//!
//! Everything runs on one thread and on tokio's paused clock, so a run depends on its seed alone:
//! `cargo run -p xtask -- sim --seeds 1 --seed N` runs one again and shows what was done.

pub mod client;
pub mod disk;
pub mod guests;
pub mod loader;
pub mod log;
pub mod machine;
pub mod manifest;
pub mod naive;
pub mod operation;
pub mod oracle;
pub mod simulation;
pub mod wanted;

pub use machine::Syncs;
pub use simulation::{Outcome, Settings, run};
