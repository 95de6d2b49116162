//! What can be seen of a pipeline from outside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, CheckpointId};
use crate::ids::{Digest, Offset, PartitionId, PipelineId, PipelineName, PluginName, StepName, TopicName};
use crate::plugin::Metric;

/// A pipeline as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PipelineStatus {
    /// Its name.
    pub name: PipelineName,
    /// This deployment of the name.
    pub id: PipelineId,
    /// What it is doing.
    pub state: State,
    /// Why it is in this state, where that needs a reason: what happened and what to do.
    pub reason: Option<Reason>,
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
    /// Keys with open windows.
    pub open_groups: u64,
    /// Bytes of state in memory.
    pub state_bytes: u64,
    /// The last checkpoint since the server was started.
    #[serde(default)]
    pub checkpoint: Option<Checkpointed>,
    /// Why the last try to take one by the clock failed, if it did.
    #[serde(default)]
    pub checkpoint_failure: Option<Reason>,
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

/// What a pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is being compiled and its state is being read back.
    Starting,
    /// It processes what arrives.
    Running,
    /// It was paused on request; its input waits.
    Paused,
    /// A step fails whatever it is given, or the host could not serve it; it tries again by itself.
    BackingOff,
    /// It cannot go on without help.
    Failed,
}

/// Why a pipeline does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stable code.
    pub code: String,
    /// What happened, and what to do.
    pub message: String,
}

/// A step and the version of its plugin that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    /// The step.
    pub name: StepName,
    /// Its plugin.
    pub plugin: PluginName,
    /// The plugin's version.
    pub digest: Digest,
    /// Counters and gauges that the plugin has kept since the pipeline was started.
    #[serde(default)]
    pub metrics: BTreeMap<String, Metric>,
}

/// One partition that a pipeline reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputStatus {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The next record to read.
    pub position: Offset,
    /// The end of the partition.
    pub end: Offset,
    /// Newest event time seen, in milliseconds since the Unix epoch. While it is `null`, no window can close.
    pub newest: Option<i64>,
    /// Whether it is left out of the watermark, because nothing came by it for a while or a mark said so.
    #[serde(default)]
    pub idle: bool,
}

/// Counters of a pipeline, exact: each commit writes them together with what they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Micro-batches committed.
    pub commits: u64,
    /// Records read.
    pub records_in: u64,
    /// Bytes of keys and values read.
    pub bytes_in: u64,
    /// Records written to output topics, late and dead letter topics not counted.
    pub records_out: u64,
    /// Bytes of keys and values written to output topics.
    pub bytes_out: u64,
    /// Records that came after their window was complete.
    pub late: u64,
    /// Records rejected by a plugin or poisonous to it.
    pub dead_letters: u64,
    /// Records that left a plugin by an output that the manifest does not route.
    pub unrouted: u64,
    /// Records that retention removed before they were read.
    pub trimmed: u64,
    /// Windows (one key, one window) that were completed.
    pub windows_closed: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Calls of plugins that failed.
    pub failed_calls: u64,
    /// Fuel used, failed calls included.
    pub fuel: u64,
}
