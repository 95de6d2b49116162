//! What can be seen of a pipeline from outside.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Digest, Offset, PartitionId, PluginName, StepName, TopicName};
use crate::plugin::Metric;

#[cfg(feature = "server")]
mod whole;

#[cfg(feature = "server")]
pub use whole::{Checkpointed, PipelineStatus};

/// What a pipeline is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is being compiled and its state is being read back.
    Starting,
    /// It processes what arrives.
    Running,
    /// It was told to stop, or to make room for another version, and has not stopped yet; the reason says what that waits
    /// for.
    Stopping,
    /// It was paused on request; its input waits. What it shows is what is committed.
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

/// What a pipeline that runs is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doing {
    /// It waits for records, or for something to be due.
    Waiting,
    /// It reads records.
    Taking,
    /// Its steps are at work.
    Applying,
    /// What they did is being written.
    Committing,
}

/// What a pipeline is doing at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// What it is about.
    pub doing: Doing,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// The step that is at work, if one is.
    pub step: Option<StepName>,
    /// Calls of plugins that the micro-batch has made so far.
    pub calls: u64,
}

/// A step and the version of its plugin that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStatus {
    pub name: StepName,
    pub plugin: PluginName,
    /// The plugin's version.
    pub digest: Digest,
    /// Whether it stays at this version, to which a restore or rollback put it back, though there may be newer ones.
    #[serde(default)]
    pub held: bool,
    /// Counters and gauges that the plugin has kept since the pipeline was started.
    #[serde(default)]
    pub metrics: BTreeMap<String, Metric>,
}

/// One partition that a pipeline reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputStatus {
    pub topic: TopicName,
    pub partition: PartitionId,
    /// The next record to read.
    pub position: Offset,
    /// The end of the partition.
    pub end: Offset,
    /// Newest event time seen, in milliseconds since the Unix epoch. While it is `null`, no window can close.
    pub newest: Option<i64>,
    /// Whether it is left out of the watermark, because nothing came by it for a while or a mark set it.
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
    /// Records of its own loop that were not taken, because it has gone back to before they were written.
    pub superseded: u64,
    /// Windows (one key, one window) that were completed.
    pub windows_closed: u64,
    /// Results of windows on top of the one at their end: early ones, and new ones for rows within the allowed lateness.
    pub windows_updated: u64,
    /// Calls of plugins that failed.
    pub failed_calls: u64,
    /// Fuel used, failed calls included.
    pub fuel: u64,
}

impl Usage {
    /// Adds what others count.
    pub(in crate::pipeline) fn add(&mut self, other: &Self) {
        let Self {
            commits,
            records_in,
            bytes_in,
            records_out,
            bytes_out,
            late,
            dead_letters,
            unrouted,
            trimmed,
            superseded,
            windows_closed,
            windows_updated,
            failed_calls,
            fuel,
        } = *other;
        self.commits += commits;
        self.records_in += records_in;
        self.bytes_in += bytes_in;
        self.records_out += records_out;
        self.bytes_out += bytes_out;
        self.late += late;
        self.dead_letters += dead_letters;
        self.unrouted += unrouted;
        self.trimmed += trimmed;
        self.superseded += superseded;
        self.windows_closed += windows_closed;
        self.windows_updated += windows_updated;
        self.failed_calls += failed_calls;
        self.fuel += fuel;
    }
}
