//! What can go wrong with pipelines.

use super::spec::ManifestError;
use crate::error::{Blame, Coded, Kind, Limit};
use crate::ids::{PipelineId, PipelineName, PluginName, StepName, TopicId, TopicName};
use crate::plugin::World;
use crate::state::{BlockError, SpillError};
#[cfg(feature = "server")]
use crate::{catalog, checkpoint};
use crate::{log, plugin};

/// An error of a pipeline or of what is asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such pipeline.
    #[error("pipeline `{name}` does not exist{}", nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    NotFound {
        name: PipelineName,
        /// One whose name is near.
        nearest: Option<String>,
    },
    /// The manifest is not well formed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A plugin of another world than the step needs.
    #[error("step `{step}` needs a plugin of world `{needed}`, its plugin is of world `{world}`: {advice}")]
    WrongPlace {
        step: StepName,
        /// The world of its plugin.
        world: World,
        /// The world it needs.
        needed: World,
        /// What to do.
        advice: &'static str,
    },
    /// A routed output that the plugin does not have.
    #[error("step `{step}` routes output `{output}`, its plugin has {outputs}{}", nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownOutput {
        step: StepName,
        /// The output that is routed.
        output: String,
        /// One whose name is near.
        nearest: Option<String>,
        /// Those that there are.
        outputs: String,
    },
    /// `only` where rows do not come from source topics any more.
    #[error(
        "step `{step}` says `only`, which is for transforms before the first step with state: rows come to this one from other steps"
    )]
    OnlyMisplaced { step: StepName },
    /// `after` where event time cannot be final.
    #[error("the watermark cannot be taken after `{after}`: {reason}")]
    AfterMisplaced {
        /// The place, as the manifest names it.
        after: String,
        /// Why, and what can be named.
        reason: String,
    },
    /// Dead letters for a topic that keeps one record of each key.
    #[error(
        "dead letters cannot go to topic `{topic}`, which is compacted by key: name another with `dead-letters = {{ topic = \"..\" }}`"
    )]
    DeadLettersCompacted { topic: TopicName },
    /// The new manifest cannot take over the state of the old.
    #[error(
        "pipeline `{name}` has state of step `{step}` that the new manifest cannot use ({reason}): keep the step as it was, say `was = \"{step}\"` where it has another name, or leave its state behind with `--drop-state {step}`"
    )]
    StateConflict {
        name: PipelineName,
        /// The step whose state it is.
        step: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A step whose state is to be left behind, and which does not run.
    #[error(
        "pipeline `{name}` has no step `{step}` whose state could be dropped: `pipeline show {name}` has its steps"
    )]
    StepNotFound { name: PipelineName, step: StepName },
    /// What a manifest writes comes back to what it reads.
    #[error(
        "pipeline `{name}` would close a loop, in which records circulate forever: {cycle}; let one of these pipelines write to another topic (`[loop]` bounds the rounds of a single pipeline that reads what it writes, not those of a way over several)"
    )]
    PipelineLoop {
        name: PipelineName,
        /// The loop, topic by topic and pipeline by pipeline.
        cycle: String,
    },
    /// A state block is not what was written.
    #[error("state of pipeline `{name}` cannot be read back: {source}")]
    State {
        name: PipelineName,
        /// What is wrong.
        source: BlockError,
    },
    /// State over its limit.
    #[error(
        "state of pipeline `{name}` takes {used} bytes, over its limit of {limit} bytes: use shorter windows or fewer keys, then resume it"
    )]
    StateLimit {
        name: PipelineName,
        /// Bytes in use.
        used: u64,
        /// The most there may be.
        limit: u64,
    },
    /// State on disk over its limit.
    #[error(
        "state of pipeline `{name}` takes {used} bytes on disk, over its limit of {limit} bytes: let state expire, or use fewer keys, then resume it"
    )]
    StateDiskLimit {
        name: PipelineName,
        /// Bytes in use.
        used: u64,
        /// The most there may be.
        limit: u64,
    },
    /// State on disk that cannot be read or written. It is built anew from the log.
    #[error("pipeline `{name}`: {source}")]
    StateDisk {
        name: PipelineName,
        /// What happened.
        source: SpillError,
    },
    /// State that is larger than memory, and a version that wants to see all of it.
    #[error(
        "step `{step}` has {bytes} bytes of state on disk, which `migrate` of a new version cannot take over: let the new version read the old values, and leave out `migrate`"
    )]
    MigrationTooLarge {
        step: StepName,
        /// Bytes on disk.
        bytes: u64,
    },
    /// A call that the host could not make.
    #[error("step `{step}` could not be called: {source}")]
    Call {
        step: StepName,
        /// What happened.
        source: plugin::Failure,
    },
    /// The plugin could not be loaded.
    #[error("step `{step}`: {source}")]
    Plugin {
        step: StepName,
        /// What happened.
        source: plugin::Error,
    },
    /// A pipeline of that name is there already.
    #[error("pipeline `{name}` exists: give the new one another name, or delete it first")]
    Exists { name: PipelineName },
    /// Pipelines read or write the topic, or are about to.
    #[error("topic `{topic}` is used by {}: delete {} first", named(pipelines), if pipelines.len() == 1 { "it" } else { "them" })]
    TopicInUse {
        topic: TopicName,
        /// The pipelines, at least one.
        pipelines: Vec<PipelineName>,
    },
    /// A manifest of another pipeline than the one that it was given for.
    #[error("the manifest names pipeline `{name}`, but was given for `{target}`: change its `name`")]
    OtherName {
        /// The pipeline of the manifest.
        name: PipelineName,
        /// The pipeline it was given for.
        target: PipelineName,
    },
    /// A fork would write where the pipeline writes that it is made from.
    #[error(
        "pipeline `{name}` would write to topic `{topic}` as `{other}` does: give a manifest with topics of its own"
    )]
    SharedTarget {
        topic: TopicName,
        /// The fork.
        name: PipelineName,
        /// The pipeline it is made from.
        other: PipelineName,
    },
    /// No manifest can be made for a fork.
    #[error("the manifest for `{name}` cannot be derived from the original one ({reason}): give one")]
    CannotFork {
        /// The fork.
        name: PipelineName,
        /// Why.
        reason: String,
    },
    /// A place in a topic that the pipeline does not read.
    #[error("pipeline `{name}` does not read topic `{topic}`")]
    NotAnInput { name: PipelineName, topic: TopicName },
    /// A place in a topic that is gone, where another has its name.
    #[error(
        "pipeline `{name}` has a position in topic `{topic}` with id {known}, but the topic now has id {present}: it was deleted and created again, so the position is not valid: `millstream pipeline rewind {name}` restarts on the new topic, and `millstream pipeline restore {name} CHECKPOINT --to-offset {topic}:PARTITION=OFFSET` goes on with the state of a checkpoint from a place in it (of a table's topic its first offset, usually 0: the table is read anew)"
    )]
    TopicRecreated {
        name: PipelineName,
        topic: TopicName,
        /// The id of the topic whose place is known.
        known: TopicId,
        /// The id of the topic that there is.
        present: TopicId,
    },
    /// Samples show that a plugin's answers depend on how rows are divided into calls.
    #[error(
        "step `{step}`: plugin `{plugin}` answers differently when the same rows are divided into other calls. To {row} it gave {whole} with all rows, and {cut} with fewer at a time. Results would depend on where micro-batches are cut. What usually causes this is a `static` or other memory that is kept from row to row, or the order of a `HashMap` of the standard library: keep what lasts in state, and take a `BTreeMap` or the SDK's `HashMap`"
    )]
    AnswersDiffer {
        step: StepName,
        /// Its plugin.
        plugin: PluginName,
        /// What was asked, in a few words.
        row: String,
        /// The answer in large calls.
        whole: String,
        /// The answer in small ones.
        cut: String,
    },
    /// The new version does not take the state over.
    #[error("step `{step}`: its new version refuses the state that there is ({reason}): the old version goes on")]
    MigrationRefused {
        step: StepName,
        /// What the plugin reported.
        reason: String,
    },
    /// The new version failed to take the state over.
    #[error("step `{step}`: `migrate` of its new version failed ({source}): the old version goes on")]
    MigrationFailed {
        /// The step.
        step: StepName,
        /// What happened.
        source: plugin::Failure,
    },
    /// The old deployment was replaced, and its last checkpoint could not be written.
    #[cfg(feature = "server")]
    #[error(
        "pipeline `{name}` was switched and is running, but the checkpoint of the moment of the switch could not be written ({source}): checkpoint {before}, taken just before, can be restored instead"
    )]
    SwapNotCopied {
        name: PipelineName,
        /// The checkpoint that there is.
        before: checkpoint::CheckpointId,
        /// What happened.
        source: Box<Self>,
    },
    /// The pipeline was not upgraded since it was made, restored or rolled back.
    #[error(
        "pipeline `{name}` has had no upgrade to roll back: `millstream checkpoint list {name}` shows what can be restored"
    )]
    NoUpgrade { name: PipelineName },
    /// No such operation.
    #[error("operation {id} does not exist: operations are forgotten when the server is restarted")]
    OperationNotFound {
        /// The operation.
        id: u64,
    },
    /// No such orphan.
    #[error(
        "deployment {id} is not an orphan: `millstream pipeline orphans` shows what the log has of pipelines that are not known"
    )]
    OrphanNotFound {
        /// The deployment.
        id: PipelineId,
    },
    /// State that nobody knows the writer of.
    #[error(
        "step `{step}` has state, and which version of its plugin wrote it is not known any more: name it in the manifest, as one of {versions}; once it runs, `apply` lets another version take over"
    )]
    VersionUnknown {
        /// The step.
        step: StepName,
        /// The versions that there are.
        versions: String,
    },
    /// An operation was interrupted by a bug.
    #[error("the operation ended early ({reason}): report this as a bug of Millstream")]
    Interrupted {
        /// How.
        reason: String,
    },
    /// Checkpoints.
    #[cfg(feature = "server")]
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// What the control plane remembers.
    #[cfg(feature = "server")]
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The log.
    #[error(transparent)]
    Log(#[from] log::Error),
}

/// Pipelines in a sentence.
fn named(pipelines: &[PipelineName]) -> String {
    let names: Vec<_> = pipelines.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", if names.len() == 1 { "pipeline" } else { "pipelines" }, names.join(", "))
}

impl Error {
    /// Whether it leaves open which deployment the catalog names after a restart.
    #[cfg(feature = "server")]
    pub fn is_unsettled(&self) -> bool {
        matches!(self, Self::Catalog(catalog::Error::Unsettled { .. }))
    }
}

impl Coded for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "pipeline_not_found",
            Self::Manifest(error) => error.code(),
            Self::WrongPlace { .. } => "wrong_world",
            Self::UnknownOutput { .. } => "unknown_output",
            Self::OnlyMisplaced { .. } => "only_misplaced",
            Self::AfterMisplaced { .. } => "after_misplaced",
            Self::DeadLettersCompacted { .. } => "dead_letters_compacted",
            Self::StateConflict { .. } => "state_conflict",
            Self::StepNotFound { .. } => "step_not_found",
            Self::PipelineLoop { .. } => "pipeline_loop",
            Self::State { .. } => "state_corrupt",
            Self::StateLimit { .. } => "limit_state_bytes",
            Self::StateDiskLimit { .. } => "limit_state_disk_bytes",
            Self::StateDisk { source, .. } => source.code(),
            Self::MigrationTooLarge { .. } => "migration_too_large",
            Self::Call { source, .. } => source.code,
            Self::Plugin { source, .. } => source.code(),
            Self::Exists { .. } => "pipeline_exists",
            Self::TopicInUse { .. } => "topic_in_use",
            Self::OtherName { .. } => "other_pipeline",
            Self::SharedTarget { .. } => "shared_target",
            Self::CannotFork { .. } => "cannot_fork",
            Self::NotAnInput { .. } => "not_an_input",
            Self::TopicRecreated { .. } => "topic_recreated",
            Self::AnswersDiffer { .. } => "answers_differ",
            Self::MigrationRefused { .. } => "migration_refused",
            Self::MigrationFailed { .. } => "migration_failed",
            #[cfg(feature = "server")]
            Self::SwapNotCopied { .. } => "swap_not_copied",
            Self::NoUpgrade { .. } => "no_upgrade",
            Self::OperationNotFound { .. } => "operation_not_found",
            Self::OrphanNotFound { .. } => "orphan_not_found",
            Self::VersionUnknown { .. } => "version_unknown",
            Self::Interrupted { .. } => "internal",
            #[cfg(feature = "server")]
            Self::Checkpoint(error) => error.code(),
            #[cfg(feature = "server")]
            Self::Catalog(error) => error.code(),
            Self::Log(error) => error.code(),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::Manifest(error) => error.kind(),
            Self::WrongPlace { .. }
            | Self::UnknownOutput { .. }
            | Self::OnlyMisplaced { .. }
            | Self::AfterMisplaced { .. }
            | Self::DeadLettersCompacted { .. } => Kind::Invalid,
            Self::StateConflict { .. } | Self::TopicRecreated { .. } | Self::PipelineLoop { .. } => Kind::Conflict,
            Self::StepNotFound { .. } => Kind::NotFound,
            Self::State { .. } => Kind::Corrupt,
            Self::StateLimit { .. } | Self::StateDiskLimit { .. } => Kind::Quota,
            Self::StateDisk { source, .. } => source.kind(),
            Self::MigrationTooLarge { .. } => Kind::TooLarge,
            Self::Call { .. } => Kind::Unavailable,
            Self::Plugin { source, .. } => source.kind(),
            Self::Exists { .. }
            | Self::TopicInUse { .. }
            | Self::SharedTarget { .. }
            | Self::MigrationRefused { .. } => Kind::Conflict,
            Self::MigrationFailed { .. } | Self::AnswersDiffer { .. } => Kind::Invalid,
            Self::OtherName { .. }
            | Self::CannotFork { .. }
            | Self::NotAnInput { .. }
            | Self::VersionUnknown { .. } => Kind::Invalid,
            Self::OperationNotFound { .. } | Self::OrphanNotFound { .. } | Self::NoUpgrade { .. } => Kind::NotFound,
            Self::Interrupted { .. } => Kind::Internal,
            #[cfg(feature = "server")]
            Self::SwapNotCopied { source, .. } => source.kind(),
            #[cfg(feature = "server")]
            Self::Checkpoint(error) => error.kind(),
            #[cfg(feature = "server")]
            Self::Catalog(error) => error.kind(),
            Self::Log(error) => error.kind(),
        }
    }

    fn blame(&self) -> Blame {
        match self {
            Self::Plugin { source, .. } => source.blame(),
            Self::Interrupted { .. } => Blame::Host,
            #[cfg(feature = "server")]
            Self::SwapNotCopied { source, .. } => source.blame(),
            #[cfg(feature = "server")]
            Self::Checkpoint(error) => error.blame(),
            #[cfg(feature = "server")]
            Self::Catalog(error) => error.blame(),
            Self::Log(error) => error.blame(),
            Self::Call { .. } => Blame::Host,
            _ => match self.kind() {
                Kind::Corrupt => Blame::Operator,
                _ => Blame::Tenant,
            },
        }
    }
    fn limit(&self) -> Option<Limit> {
        match self {
            Self::StateLimit { used, limit, .. } => {
                Some(Limit { name: "state_bytes".to_owned(), limit: *limit, used: *used })
            }
            Self::StateDiskLimit { used, limit, .. } => {
                Some(Limit { name: "state_disk_bytes".to_owned(), limit: *limit, used: *used })
            }
            Self::Plugin { source, .. } => source.limit(),
            Self::Log(error) => error.limit(),
            _ => None,
        }
    }
}
