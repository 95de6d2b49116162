//! What can go wrong with checkpoints.

use super::id::CheckpointId;
use crate::error::{Blame, Coded, Kind};
use crate::ids::{Digest, PipelineName, TenantId};
use crate::log;

/// An error of the checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such checkpoint.
    #[error(
        "pipeline `{pipeline}` has no checkpoint {id}: `millstream checkpoint list {pipeline}` shows what there is"
    )]
    NotFound { pipeline: PipelineName, id: CheckpointId },
    /// What lies where the checkpoint should is of another pipeline or tenant.
    #[error(
        "checkpoint {id} of pipeline `{pipeline}` of tenant `{tenant}` is one of pipeline `{of_pipeline}` of tenant `{of_tenant}`: it was copied to a place where it does not belong"
    )]
    Foreign {
        id: CheckpointId,
        /// Whose it was taken for.
        tenant: TenantId,
        /// The pipeline it was taken for.
        pipeline: PipelineName,
        /// Whose it is.
        of_tenant: TenantId,
        /// The pipeline it is of.
        of_pipeline: PipelineName,
    },
    /// The manifest is not what was written.
    #[error("checkpoint {id} of pipeline `{pipeline}` is damaged: {reason}; use another")]
    Corrupt {
        pipeline: PipelineName,
        id: CheckpointId,
        /// How it is known.
        reason: String,
    },
    /// Another version of this program wrote it.
    #[error(
        "checkpoint {id} of pipeline `{pipeline}` has format {found}, this server knows format {known}: use the version that wrote it"
    )]
    UnknownFormat {
        pipeline: PipelineName,
        id: CheckpointId,
        /// Its format.
        found: u32,
        /// The format that is known.
        known: u32,
    },
    /// A chunk that the checkpoint names is not in the store.
    #[error("chunk {digest} of checkpoint {id} of pipeline `{pipeline}` is missing: use another checkpoint")]
    ChunkMissing {
        pipeline: PipelineName,
        id: CheckpointId,
        /// The chunk.
        digest: Digest,
    },
    /// A chunk has fewer or more bytes than were written.
    #[error(
        "chunk {digest} of checkpoint {id} of pipeline `{pipeline}` has {found} bytes of {expected}: use another checkpoint"
    )]
    ChunkTruncated {
        pipeline: PipelineName,
        id: CheckpointId,
        /// The chunk.
        digest: Digest,
        /// The bytes that are there.
        found: u64,
        /// The bytes that were written.
        expected: u64,
    },
    /// A chunk has other bytes than were written.
    #[error("chunk {digest} of checkpoint {id} of pipeline `{pipeline}` is damaged: {reason}; use another checkpoint")]
    ChunkCorrupt {
        pipeline: PipelineName,
        id: CheckpointId,
        /// The chunk.
        digest: Digest,
        /// How it is known.
        reason: String,
    },
    /// Where checkpoints are to be stored is no place.
    #[error("checkpoint store `{location}`: {reason}")]
    InvalidStore {
        /// As it was given.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store has no room.
    #[error("the checkpoint store is full, `{object}` was not written: free space and try again")]
    StorageFull {
        /// What was to be written.
        object: String,
    },
    /// The store refused, or did not answer.
    #[error("checkpoint store: {action} `{object}`: {reason}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
        /// What the store reported.
        reason: String,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] log::Error),
}

impl Coded for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "checkpoint_not_found",
            Self::Foreign { .. } => "checkpoint_foreign",
            Self::Corrupt { .. } => "checkpoint_corrupt",
            Self::UnknownFormat { .. } => "checkpoint_unknown_format",
            Self::ChunkMissing { .. } => "checkpoint_chunk_missing",
            Self::ChunkTruncated { .. } => "checkpoint_chunk_truncated",
            Self::ChunkCorrupt { .. } => "checkpoint_chunk_corrupt",
            Self::InvalidStore { .. } => "checkpoint_store_invalid",
            Self::StorageFull { .. } => "storage_full",
            Self::Store { .. } => "checkpoint_store_failed",
            Self::Log(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::Foreign { .. } | Self::UnknownFormat { .. } => Kind::Conflict,
            Self::Corrupt { .. }
            | Self::ChunkMissing { .. }
            | Self::ChunkTruncated { .. }
            | Self::ChunkCorrupt { .. } => Kind::Corrupt,
            Self::InvalidStore { .. } => Kind::Invalid,
            Self::StorageFull { .. } => Kind::StorageFull,
            Self::Store { .. } => Kind::Unavailable,
            Self::Log(error) => error.kind(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::NotFound { .. } => Blame::Tenant,
            Self::Log(error) => error.blame(),
            _ => Blame::Operator,
        }
    }
}
