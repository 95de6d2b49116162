//! Reading a whole checkpoint to see whether it is what was written. What is wrong with a chunk is reported as a restore would
//! say it; what is wrong with the checkpoint itself is an error, as there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::id::CheckpointId;
use super::keeper::Checkpoints;
use super::manifest::Chunk;
use super::take::Meter;
use crate::error::Coded;
use crate::ids::{PipelineName, TenantId};

/// What was found out about a checkpoint whose manifest is whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    pub checkpoint: CheckpointId,
    /// How many chunks it has.
    pub chunks: u64,
    /// Bytes of all its chunks.
    pub bytes: u64,
    /// The chunks that are not what was written, in their order; none if the checkpoint is whole.
    pub faults: Vec<Fault>,
}

/// A chunk that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The chunk: its digest, the bytes it should have, its blocks.
    #[serde(flatten)]
    pub chunk: Chunk,
    /// What is wrong: the code with which a restore refuses it.
    pub code: String,
    /// The same in words.
    pub detail: String,
}

impl Checkpoints {
    /// Reads all of a checkpoint. Others take, read and remove checkpoints of the pipeline meanwhile.
    pub async fn verify(
        &self,
        tenant: &TenantId,
        pipeline: &PipelineName,
        id: CheckpointId,
        meter: &Arc<Meter>,
    ) -> Result<Verified, Error> {
        let manifest = self.get(tenant, pipeline, id).await?;
        let mut faults = Vec::new();
        for &chunk in &manifest.chunks {
            let turn = self.turn(tenant, pipeline).await;
            let Err(error) = turn.blocks(id, &chunk).await else {
                meter.add(chunk.bytes);
                continue;
            };
            match &error {
                // It may have gone with the whole checkpoint.
                Error::ChunkMissing { .. } => drop(turn.manifest(id).await?),
                Error::ChunkTruncated { .. } | Error::ChunkCorrupt { .. } => {}
                _ => return Err(error),
            }
            faults.push(Fault { chunk, code: error.code().to_owned(), detail: error.to_string() });
        }
        Ok(Verified { checkpoint: id, chunks: manifest.chunks.len() as u64, bytes: manifest.bytes(), faults })
    }
}
