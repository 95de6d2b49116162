//! What a pipeline runs: its spec with plugins loaded and partitions counted, cut into stages at the re-keys.
//!
//! A plan that exists can run: every plugin fits its place, every routed output exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::references::References;
use super::thresholds::Thresholds;
use crate::ids::{Digest, PipelineName, PluginName, StepName, TenantId, TopicName, TopicPartition};
use crate::names::nearest;
use crate::pipeline::error::Error;
use crate::pipeline::spec::{AT_SOURCE, After, Spec, StepSpec, Target, WatermarkSpec};
use crate::plugin::{Aggregator, Guest, Metric, Plugin, Processor, Stateful, Transformer, World};
use crate::state::Room;
use crate::time::Windowing;

/// An index into [`Plan::topics`].
pub(in crate::pipeline) type TopicId = usize;

/// See [`Plan::chunk_output_bytes`]: an eighth of what a pipeline's state may take.
const CHUNK_OUTPUT_BYTES: usize = 256 << 20;

/// How steps with values, timers and tables of keys describe their state.
pub(in crate::pipeline) const KEYED: &str = "keyed";

/// What a pipeline runs.
#[derive(Debug)]
pub struct Plan {
    pub(in crate::pipeline) tenant: TenantId,
    pub(in crate::pipeline) name: PipelineName,
    pub(in crate::pipeline) headers: bool,
    pub(in crate::pipeline) watermark: WatermarkSpec,
    /// The partitions it reads: those of sources first, those of tables after them.
    pub(in crate::pipeline) inputs: Vec<TopicPartition>,
    /// For each of `inputs` that is a source's, the place of its topic among the sources.
    pub(in crate::pipeline) sources: Vec<u16>,
    /// The topic by which its own rows come round, if one is.
    pub(in crate::pipeline) feedback: Option<Feedback>,
    /// The reference tables.
    pub(in crate::pipeline) references: References,
    /// For each of `inputs` after the sources', its table.
    pub(in crate::pipeline) tables: Vec<TopicName>,
    /// Stages in order; only the last has no keyed step.
    pub(in crate::pipeline) stages: Vec<Stage>,
    /// The topics it writes.
    pub(in crate::pipeline) topics: Vec<TargetTopic>,
    pub(in crate::pipeline) output: TopicId,
    pub(in crate::pipeline) dead_letters: TopicId,
    /// Where its state may be.
    pub(in crate::pipeline) room: Room,
    /// Where the engine goes another way, so that no commit grows with the state.
    pub(in crate::pipeline) thresholds: Thresholds,
    /// Bytes that the calls of one chunk of rows may emit, what its rows set off included: they are written in one commit.
    /// What fires without rows goes on in the next commit instead.
    pub(in crate::pipeline) chunk_output_bytes: usize,
}

/// A topic that a pipeline both writes and reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) struct Feedback {
    /// The topic as one that is written.
    pub(in crate::pipeline) topic: TopicId,
    /// Its place among the sources.
    pub(in crate::pipeline) source: u16,
    /// In how many rounds a row may go by it.
    pub(in crate::pipeline) rounds: u32,
}

/// Steps between two re-keys, and the keyed step that ends them.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Stage {
    pub(in crate::pipeline) transforms: Vec<Transform>,
    /// After how many of them event time is final, where that is before the last.
    pub(in crate::pipeline) timed_after: Option<usize>,
    pub(in crate::pipeline) keyed: Option<Keyed>,
}

/// A step of rows in, rows out.
#[derive(Debug)]
pub(in crate::pipeline) struct Transform {
    pub(in crate::pipeline) step: Step,
    pub(in crate::pipeline) guest: Arc<dyn Transformer>,
    /// The sources whose rows it takes; all, if there are none.
    pub(in crate::pipeline) only: Vec<u16>,
}

impl Transform {
    /// Whether it takes rows of a source.
    pub(in crate::pipeline) fn takes(&self, source: u16) -> bool {
        self.only.is_empty() || self.only.contains(&source)
    }
}

/// A step and where its rows go.
#[derive(Debug)]
pub(in crate::pipeline) struct Step {
    pub(in crate::pipeline) name: StepName,
    pub(in crate::pipeline) plugin: PluginName,
    pub(in crate::pipeline) digest: Digest,
    /// What its plugin says of itself, whatever its world.
    pub(in crate::pipeline) guest: Arc<dyn Plugin>,
    /// Where each output leads.
    pub(in crate::pipeline) routes: Vec<Route>,
}

/// Where rows of an output go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Route {
    /// To the next step.
    Next,
    /// To a topic.
    Topic(TopicId),
    /// Nowhere: the row says what its partition's watermark is.
    Watermark,
    /// Nowhere: the row says that its partition is idle.
    Idle,
    /// Nowhere: the row says that its partition is not idle any more.
    Active,
    /// Nowhere: the manifest does not route this output. The rows are counted.
    Nowhere,
}

/// A step with state for each key.
#[derive(Debug)]
pub(in crate::pipeline) enum Keyed {
    /// It folds rows into windows.
    Fold(Arc<Fold>),
    /// It has state and timers of its own.
    Process(Arc<Process>),
}

/// A step that folds rows into windows.
#[derive(Debug)]
pub(in crate::pipeline) struct Fold {
    pub(in crate::pipeline) step: Step,
    pub(in crate::pipeline) guest: Arc<dyn Aggregator>,
    pub(in crate::pipeline) windowing: Windowing,
    pub(in crate::pipeline) late: TopicId,
}

/// A step that processes rows and timers of each key.
#[derive(Debug)]
pub(in crate::pipeline) struct Process {
    pub(in crate::pipeline) step: Step,
    pub(in crate::pipeline) guest: Arc<dyn Processor>,
    /// Whether its plugin may keep tables of its own.
    pub(in crate::pipeline) table: bool,
}

impl Process {
    /// Whether calls have tables: the plugin's own, or those in which the state of keys goes on.
    pub(in crate::pipeline) fn has_tables(&self) -> bool {
        self.table || self.guest.has_pages()
    }
}

impl Keyed {
    /// The step itself.
    pub(in crate::pipeline) fn step(&self) -> &Step {
        match self {
            Self::Fold(fold) => &fold.step,
            Self::Process(process) => &process.step,
        }
    }

    /// Its plugin.
    pub(in crate::pipeline) fn guest(&self) -> &dyn Stateful {
        match self {
            Self::Fold(fold) => &*fold.guest,
            Self::Process(process) => &*process.guest,
        }
    }

    /// What state it has, in a few words: state of one description fits no other.
    pub(in crate::pipeline) fn describe(&self) -> String {
        match self {
            Self::Fold(fold) => fold.windowing.describe(),
            Self::Process(_) => KEYED.to_owned(),
        }
    }
}

/// A topic that a pipeline writes.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct TargetTopic {
    pub(in crate::pipeline) name: TopicName,
    pub(in crate::pipeline) partitions: u32,
    /// Whether it is compacted by key, so that rows without one cannot be written to it.
    pub(in crate::pipeline) needs_key: bool,
}

/// A step's plugin, loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The version.
    pub digest: Digest,
    /// Its code, configured.
    pub guest: Guest,
}

impl Plan {
    /// Puts a spec and its loaded plugins (one a step, in order) together. `partitions` says how many partitions each
    /// topic has that the spec names.
    pub fn new(
        tenant: TenantId,
        spec: &Spec,
        loaded: Vec<Loaded>,
        references: References,
        partitions: impl Fn(&TopicName) -> Option<u32>,
    ) -> Result<Self, Error> {
        let count = |topic: &TopicName| {
            partitions(topic).ok_or_else(|| Error::Log(crate::log::Error::TopicNotFound { topic: topic.clone() }))
        };
        let (mut inputs, mut sources) = (Vec::new(), Vec::new());
        for (source, topic) in (0..).zip(&spec.sources) {
            for partition in 0..count(topic)? {
                inputs.push(TopicPartition { topic: topic.clone(), partition });
                sources.push(source);
            }
        }
        let mut tables = Vec::new();
        for (name, topic) in &spec.tables {
            for partition in 0..count(topic)? {
                inputs.push(TopicPartition { topic: topic.clone(), partition });
                tables.push(name.clone());
            }
        }
        let mut topics = Vec::new();
        for name in spec.targets() {
            topics.push(TargetTopic { partitions: count(&name)?, name, needs_key: false });
        }
        let topic = |name: &TopicName| topics.iter().position(|topic| topic.name == *name).unwrap_or_default();
        let mut stages = vec![Stage::default()];
        for (step_spec, Loaded { digest, guest }) in spec.steps.iter().zip(loaded) {
            let first_stage = stages.len() == 1;
            let Some(stage) = stages.last_mut() else { break };
            let step = |guest: Arc<dyn Plugin>, may_choose: bool| {
                let step = step(step_spec, digest, guest, topic)?;
                let chooses = !step_spec.only.is_empty();
                if chooses && !may_choose { Err(Error::OnlyMisplaced { step: step.name }) } else { Ok(step) }
            };
            stage.keyed = Some(match (guest, &step_spec.window) {
                (Guest::Transform(guest), None) => {
                    let step = step(Arc::clone(&guest) as _, first_stage)?;
                    let place = |topic: &TopicName| spec.sources.iter().position(|source| source == topic);
                    let only = step_spec.only.iter().filter_map(place).map(|place| place as u16).collect();
                    stage.transforms.push(Transform { step, guest, only });
                    continue;
                }
                (Guest::Process(guest), None) => {
                    let step = step(Arc::clone(&guest) as _, false)?;
                    Keyed::Process(Arc::new(Process { step, guest, table: step_spec.table }))
                }
                (Guest::Aggregate(guest), Some(window)) => {
                    let step = step(Arc::clone(&guest) as _, false)?;
                    let (windowing, late) = (window.windowing.clone(), topic(&window.late));
                    Keyed::Fold(Arc::new(Fold { step, guest, windowing, late }))
                }
                (guest, window) => return Err(wrong_place(&step_spec.name, &guest, window.is_some())),
            });
            stages.push(Stage::default());
        }
        stages[0].timed_after = timed_after(&spec.watermark.after, &stages[0])?;
        let (output, dead_letters) = (topic(&spec.output), topic(&spec.dead_letters));
        let feedback = spec.feedback.as_ref().and_then(|feedback| {
            let source = spec.sources.iter().position(|source| *source == feedback.topic)? as u16;
            Some(Feedback { topic: topic(&feedback.topic), source, rounds: feedback.rounds })
        });
        Ok(Self {
            tenant,
            name: spec.name.clone(),
            headers: spec.headers,
            watermark: spec.watermark.clone(),
            inputs,
            sources,
            feedback,
            references,
            tables,
            stages,
            topics,
            output,
            dead_letters,
            room: Room::default(),
            thresholds: Thresholds::default(),
            chunk_output_bytes: CHUNK_OUTPUT_BYTES,
        })
    }

    /// Whether the pipeline's own rows come round by an input.
    pub(in crate::pipeline) fn is_feedback(&self, input: usize) -> bool {
        self.feedback.is_some_and(|feedback| self.sources.get(input) == Some(&feedback.source))
    }

    /// Whether an input is a table's and not a source's.
    pub(in crate::pipeline) fn is_table(&self, input: usize) -> bool {
        input >= self.sources.len()
    }

    /// Whether a partition is one of a reference table's topic.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn is_of_table(&self, at: &TopicPartition) -> bool {
        self.inputs[self.sources.len()..].contains(at)
    }

    /// Notes which of the topics it writes are compacted by key. Rows without a key are dead letters there, so the dead
    /// letters themselves, which keep the keys of what they are made of, cannot go to such a topic.
    pub(in crate::pipeline) fn require_keys(
        mut self,
        is_compacted: impl Fn(&TopicName) -> bool,
    ) -> Result<Self, Error> {
        for topic in &mut self.topics {
            topic.needs_key = is_compacted(&topic.name);
        }
        match &self.topics[self.dead_letters] {
            TargetTopic { name, needs_key: true, .. } => Err(Error::DeadLettersCompacted { topic: name.clone() }),
            _ => Ok(self),
        }
    }

    /// Says where its state may be.
    #[cfg(any(feature = "server", test))]
    pub(in crate::pipeline) fn with_room(self, room: Room) -> Self {
        Self { room, ..self }
    }

    /// Says where it goes another way.
    pub(in crate::pipeline) fn with_thresholds(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
    }

    /// The steps with state, in order.
    pub(in crate::pipeline) fn keyed(&self) -> impl Iterator<Item = &Keyed> {
        self.stages.iter().filter_map(|stage| stage.keyed.as_ref())
    }

    /// Whether the first stage ends at a step with state, so that rows have event times.
    pub(in crate::pipeline) fn is_timed(&self) -> bool {
        self.stages[0].keyed.is_some()
    }

    /// The number of a stage's first step, as [`Plan::steps`] counts.
    pub(in crate::pipeline) fn first_step(&self, stage: usize) -> usize {
        self.stages[..stage].iter().map(|stage| stage.transforms.len() + usize::from(stage.keyed.is_some())).sum()
    }

    /// All steps, in order.
    pub(in crate::pipeline) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.stages.iter().flat_map(|stage| {
            stage.transforms.iter().map(|transform| &transform.step).chain(stage.keyed.as_ref().map(Keyed::step))
        })
    }

    /// What the plugin of a step measures.
    pub(in crate::pipeline) fn metrics(&self, name: &StepName) -> BTreeMap<String, Metric> {
        self.steps().find(|step| step.name == *name).map(|step| step.guest.metrics()).unwrap_or_default()
    }
}

/// After how many transforms of the first stage event time is final, if that is before the last.
fn timed_after(after: &After, first: &Stage) -> Result<Option<usize>, Error> {
    let refused = |after: &str, reason: String| Err(Error::AfterMisplaced { after: after.to_owned(), reason });
    let (named, count) = match after {
        After::Transforms => return Ok(None),
        After::Source => (AT_SOURCE, Some(0)),
        After::Step(name) => {
            let place = first.transforms.iter().position(|transform| transform.step.name == *name);
            (name.as_str(), place.map(|place| place + 1))
        }
    };
    let Some(keyed) = &first.keyed else {
        let reason = "no step has state, so nothing waits for event time; remove `after`";
        return refused(named, reason.to_owned());
    };
    let Some(count) = count else {
        let names = first.transforms.iter().map(|transform| transform.step.name.as_str());
        let names: Vec<_> = std::iter::once(AT_SOURCE).chain(names).map(|name| format!("`{name}`")).collect();
        let (keyed, names) = (&keyed.step().name, names.join(", "));
        let reason = format!("it is no transform before `{keyed}`, the first step with state; name one of {names}");
        return refused(named, reason);
    };
    Ok(Some(count).filter(|count| *count < first.transforms.len()))
}

/// Why a plugin cannot run a step that has windows, or has none.
fn wrong_place(step: &StepName, guest: &Guest, window: bool) -> Error {
    let (needed, advice) = match window {
        true => (World::Aggregate, "a step with a `window` folds rows: remove the window, or name an aggregate"),
        false => (World::Transform, "give the step a `window`, such as { tumbling = \"1m\" }, or name another plugin"),
    };
    Error::WrongPlace { step: step.clone(), world: guest.plugin().description().world, needed, advice }
}

fn step(
    spec: &StepSpec,
    digest: Digest,
    guest: Arc<dyn Plugin>,
    topic: impl Fn(&TopicName) -> TopicId,
) -> Result<Step, Error> {
    let description = guest.description();
    let mut routes = vec![Route::Nowhere; description.outputs.len()];
    if let Some(first) = routes.first_mut() {
        *first = Route::Next;
    }
    for (name, target) in &spec.outputs {
        match description.outputs.iter().position(|output| output.name == *name) {
            Some(index) => {
                routes[index] = match target {
                    Target::Topic(target) => Route::Topic(topic(target)),
                    Target::Watermark => Route::Watermark,
                    Target::Idle => Route::Idle,
                    Target::Active => Route::Active,
                };
            }
            None => {
                let names = description.outputs.iter().map(|output| output.name.as_str());
                return Err(Error::UnknownOutput {
                    step: spec.name.clone(),
                    output: name.clone(),
                    nearest: nearest(name, names.clone()).map(str::to_owned),
                    outputs: names.collect::<Vec<_>>().join(", "),
                });
            }
        }
    }
    Ok(Step { name: spec.name.clone(), plugin: spec.plugin.name.clone(), digest, guest, routes })
}
