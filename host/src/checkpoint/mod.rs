//! Checkpoints: consistent copies of pipelines in an object store.
//!
//! All that a pipeline knows is what its commits in the log amount to: its place in its inputs, its state, its counters.
//! A checkpoint is a copy of that of one moment, with the manifest and the plugin versions that ran. It is taken from a
//! snapshot of the log while the pipeline goes on. Blocks of state never change, so a checkpoint writes only those that
//! the store does not have.
//!
//! ```text
//! TENANT/PIPELINE/checkpoints/ID.json     what there is, and which chunks hold it (`manifest`)
//! TENANT/PIPELINE/chunks/HEX              blocks, one after the other; named by the digest of their bytes (`chunk`)
//! ```
//!
//! A manifest is written last and removed first, so one that is there has all of its chunks; a crash leaves at most
//! chunks that none names, which the next removal takes along. Everything that is read is verified against the manifest,
//! and that against its own digest. What runs a pipeline from a checkpoint is `pipeline`; nothing here does.

mod ahead;
mod chunk;
mod error;
mod folder;
#[cfg(test)]
mod gated;
mod id;
mod keeper;
mod manifest;
mod s3;
mod store;
mod take;
#[cfg(test)]
mod tests;
mod verify;

pub use ahead::Ahead;
pub use chunk::CHUNK_BYTES;
pub use error::Error;
pub use id::CheckpointId;
pub use keeper::{Checkpoints, Listed, Reading};
pub use manifest::{Chunk, Deployment, Kind, Manifest, Position};
pub use store::Store;
pub use take::{Meter, Order};
pub use verify::{Fault, Verified};
