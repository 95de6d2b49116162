//! The manifest of a pipeline: TOML, strict, and checked as far as it can be without asking what the server has.
//!
//! A [`Spec`] that exists is well formed: its names are names, its durations are positive, its steps have names of their
//! own. Whether its topics and plugins exist, and whether a plugin's world fits its place, is the plan's to say.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::ids::{PipelineName, PluginRef, StepName, TopicName};
use crate::time::Windowing;

mod checkpoint;
mod loops;
mod steps;
#[cfg(test)]
mod tests;
mod text;
mod topics;
mod watermark;
mod window;

use checkpoint::CheckpointTable;
pub use checkpoint::{CheckpointSpec, EVERY_MS_MIN as CHECKPOINT_EVERY_MS_MIN, KEEP_MAX as CHECKPOINTS_KEPT_MAX};
use loops::{Inputs, LoopTable};
pub use loops::{LoopSpec, ROUNDS_MAX};
use steps::Step;
use text::Text;
pub use text::{ManifestError, duration_ms};
pub(super) use watermark::AT_SOURCE;
use watermark::WatermarkTable;
pub use watermark::{After, WatermarkSpec};

/// Most steps in a pipeline: each costs an image and a call a micro-batch.
pub const STEPS_MAX: usize = 32;
/// Most source topics of a pipeline.
pub const SOURCES_MAX: usize = 32;
/// Most reference tables of a pipeline: each is held in memory.
pub const TABLES_MAX: usize = 16;

/// A pipeline as its manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The pipeline's name.
    pub name: PipelineName,
    /// The topics it reads.
    pub sources: Vec<TopicName>,
    /// Which of them it writes too, and how often a row may come round by it.
    pub feedback: Option<LoopSpec>,
    /// Whether it begins at the oldest record or at the end, where it has not read before.
    pub start: Start,
    /// Whether it carries records' headers.
    pub headers: bool,
    /// How it knows what time it is in its inputs.
    pub watermark: WatermarkSpec,
    /// When it is copied to the checkpoint store.
    pub checkpoint: CheckpointSpec,
    /// The reference tables that its steps may be granted, by name.
    pub tables: BTreeMap<TopicName, TopicName>,
    /// Its steps, in order, at least one.
    pub steps: Vec<StepSpec>,
    /// Where results go.
    pub output: TopicName,
    /// Where rows go that no step could process.
    pub dead_letters: TopicName,
}

/// Where a pipeline begins in an input it has not read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the oldest record.
    #[default]
    Earliest,
    /// After the newest record.
    Latest,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSpec {
    /// Its name, of its own in the pipeline.
    pub name: StepName,
    /// The name that it had: its state is the step's that had it.
    pub was: Option<StepName>,
    /// The plugin it runs.
    pub plugin: PluginRef,
    /// The plugin's configuration.
    pub config: serde_json::Value,
    /// The source topics whose rows it takes; rows of others pass it by. All, if there are none.
    pub only: Vec<TopicName>,
    /// Where rows of outputs go, by the output's name, that do not go on to the next step.
    pub outputs: BTreeMap<String, Target>,
    /// For a step that folds: its windows and where late rows go.
    pub window: Option<WindowSpec>,
    /// Whether its plugin may keep tables of its own.
    pub table: bool,
    /// The reference tables that its plugin may read.
    pub lookups: Vec<TopicName>,
}

/// Where rows of an output go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a topic.
    Topic(TopicName),
    /// Nowhere: the row's event time is the watermark of its partition from here on.
    Watermark,
    /// Nowhere: its partition is idle until its next row.
    Idle,
    /// Nowhere: its partition is not idle any more.
    Active,
}

/// The windows of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// How rows are put into windows, and when windows give results.
    pub windowing: Windowing,
    /// Where rows go whose window takes no more.
    pub late: TopicName,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    name: Spanned<String>,
    source: Source,
    #[serde(default)]
    watermark: WatermarkTable,
    #[serde(default)]
    checkpoint: CheckpointTable,
    #[serde(default)]
    tables: Vec<Table>,
    #[serde(rename = "loop")]
    feedback: Option<LoopTable>,
    steps: Spanned<Vec<Step>>,
    output: OutputTable,
    dead_letters: Option<OutputTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    topics: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    start: Start,
    #[serde(default)]
    headers: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Spanned<String>,
    topic: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputTable {
    topic: Spanned<String>,
}

impl FromStr for Spec {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let source = Text(text);
        let manifest: Manifest = toml::from_str(text).map_err(|error| source.syntax(&error))?;
        source.spec(manifest)
    }
}

impl Text<'_> {
    fn spec(&self, manifest: Manifest) -> Result<Spec, ManifestError> {
        let name: PipelineName = self.parse(&manifest.name)?;
        let topics = manifest.source.topics;
        if topics.get_ref().is_empty() || topics.get_ref().len() > SOURCES_MAX {
            let count = topics.get_ref().len();
            return Err(self.at(&topics, format!("a pipeline reads 1 to {SOURCES_MAX} topics, this one {count}")));
        }
        let mut sources = Vec::new();
        for topic in topics.get_ref() {
            let name = self.parse(topic)?;
            if sources.contains(&name) {
                return Err(self.at(topic, format!("topic `{name}` is named twice")));
            }
            sources.push(name);
        }
        let watermark = self.watermark(&manifest.watermark)?;
        let checkpoint = self.checkpoint(&manifest.checkpoint)?;
        let tables = self.tables(&manifest.tables, &sources)?;
        let feedback = self.feedback(manifest.feedback.as_ref(), &sources)?;
        let inputs = Inputs { sources: &sources, tables: &tables, feedback: feedback.as_ref() };
        let steps = self.steps(&name, manifest.steps, &inputs, manifest.source.headers, &watermark)?;
        self.check_after(&manifest.watermark, &steps)?;
        let output: TopicName = self.parse(&manifest.output.topic)?;
        self.check_result(&manifest.output.topic, &output, "its output", &inputs)?;
        let (dead_letters, span) = match &manifest.dead_letters {
            Some(table) => (self.parse(&table.topic)?, &table.topic),
            None => (self.derived(&manifest.name, &format!("{name}.dead-letters"))?, &manifest.name),
        };
        self.check_own_loop(span, &dead_letters, "where its dead letters go", &inputs)?;
        if let (Some(table), Some(feedback)) = (&manifest.feedback, &feedback) {
            self.check_way_round(table, feedback, &steps, &output)?;
        }
        Ok(Spec {
            name,
            sources,
            feedback,
            start: manifest.source.start,
            headers: manifest.source.headers,
            watermark,
            checkpoint,
            tables,
            steps,
            output,
            dead_letters,
        })
    }

    fn tables(&self, tables: &[Table], sources: &[TopicName]) -> Result<BTreeMap<TopicName, TopicName>, ManifestError> {
        let mut named = BTreeMap::new();
        for table in tables {
            let (name, topic): (TopicName, TopicName) = (self.parse(&table.name)?, self.parse(&table.topic)?);
            if sources.contains(&topic) {
                let message = format!("topic `{topic}` is a source of this pipeline and cannot be its table too");
                return Err(self.at(&table.topic, message));
            }
            if named.values().any(|other| *other == topic) {
                return Err(self.at(&table.topic, format!("two tables are of topic `{topic}`")));
            }
            if named.insert(name.clone(), topic).is_some() {
                return Err(self.at(&table.name, format!("two tables are named `{name}`")));
            }
            if named.len() > TABLES_MAX {
                return Err(self.at(&table.name, format!("a pipeline has at most {TABLES_MAX} tables")));
            }
        }
        Ok(named)
    }
}
