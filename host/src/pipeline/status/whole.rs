//! A pipeline as the server shows it.

use serde::{Deserialize, Serialize};

use super::{Activity, InputStatus, Reason, State, StepStatus, Usage};
use crate::checkpoint::{self, CheckpointId};
use crate::ids::{PipelineId, PipelineName, StepName, TopicName};

/// A pipeline as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineStatus {
    pub name: PipelineName,
    /// This deployment of the name.
    pub id: PipelineId,
    /// What it is doing.
    pub state: State,
    /// Why it is in this state, where that needs a reason: what happened and what to do.
    pub reason: Option<Reason>,
    /// What it is doing, while it runs.
    #[serde(default)]
    pub activity: Option<Activity>,
    /// Its steps, with the versions that run.
    pub steps: Vec<StepStatus>,
    /// Its inputs, partition by partition.
    pub inputs: Vec<InputStatus>,
    /// Where results go.
    pub output: TopicName,
    /// Where rows go that no step could process.
    pub dead_letters: TopicName,
    /// Event time up to which everything has been seen, in milliseconds since the Unix epoch.
    pub watermark: Option<i64>,
    /// What it has done since it was made.
    pub usage: Usage,
    /// Keys with open windows; none, if it is paused since before the server was started.
    pub open_groups: u64,
    /// Bytes of state in memory, likewise.
    pub state_bytes: u64,
    /// Bytes of state on disk, which memory has no room for.
    #[serde(default)]
    pub state_disk_bytes: u64,
    /// The last checkpoint since the server was started.
    #[serde(default)]
    pub checkpoint: Option<Checkpointed>,
    /// Why the last try to take one by the clock failed, if it did.
    #[serde(default)]
    pub checkpoint_failure: Option<Reason>,
    /// Steps whose state its last change left behind.
    #[serde(default)]
    pub dropped_state: Vec<StepName>,
    /// The manifest it was made from.
    pub manifest: String,
}

/// A checkpoint that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpointed {
    /// Its name.
    pub id: CheckpointId,
    /// Why it was taken.
    pub kind: checkpoint::Kind,
    /// When, in milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Bytes of all its chunks.
    pub bytes: u64,
    /// Bytes that were written for it; the others were in the store.
    pub written_bytes: u64,
}

impl From<&checkpoint::Manifest> for Checkpointed {
    fn from(taken: &checkpoint::Manifest) -> Self {
        Self {
            id: taken.id,
            kind: taken.kind,
            created_at_ms: taken.created_at_ms,
            bytes: taken.bytes(),
            written_bytes: taken.written_bytes,
        }
    }
}
