//! What a pipeline runs: its spec with plugins loaded and partitions counted, cut into stages at the re-keys.
//!
//! A plan that exists can run: every plugin fits its place, every routed output exists.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::Error;
use super::spec::{Spec, StepSpec};
use crate::ids::{Digest, PipelineName, PluginName, StepName, TenantId, TopicName, TopicPartition};
use crate::names::nearest;
use crate::plugin::{Guest, Metric, World};
use crate::time::{Disorder, Tumbling};

/// An index into [`Plan::topics`].
pub(super) type TopicId = usize;

/// What a pipeline runs.
#[derive(Debug)]
pub struct Plan {
    pub(super) tenant: TenantId,
    pub(super) name: PipelineName,
    pub(super) headers: bool,
    pub(super) disorder: Disorder,
    /// The partitions it reads, in the order in which a micro-batch takes them.
    pub(super) inputs: Vec<TopicPartition>,
    /// Stages in order; only the last has no fold.
    pub(super) stages: Vec<Stage>,
    /// The topics it writes.
    pub(super) topics: Vec<TargetTopic>,
    pub(super) output: TopicId,
    pub(super) dead_letters: TopicId,
}

/// Steps between two re-keys, and the fold that ends them.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) transforms: Vec<Step>,
    pub(super) fold: Option<Fold>,
}

/// A step and where its rows go.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) name: StepName,
    pub(super) plugin: PluginName,
    pub(super) digest: Digest,
    pub(super) guest: Arc<dyn Guest>,
    /// Where each output leads.
    pub(super) routes: Vec<Route>,
}

/// Where rows of an output go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// To the next step.
    Next,
    /// To a topic.
    Topic(TopicId),
    /// Nowhere: the manifest does not route this output. The rows are counted.
    Nowhere,
}

/// A step that folds rows into windows.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) step: Step,
    pub(super) tumbling: Tumbling,
    pub(super) late: TopicId,
}

/// A topic that a pipeline writes.
#[derive(Debug, Clone)]
pub(super) struct TargetTopic {
    pub(super) name: TopicName,
    pub(super) partitions: u32,
}

/// A step's plugin, loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The version.
    pub digest: Digest,
    /// Its code, configured.
    pub guest: Arc<dyn Guest>,
}

/// The topics a spec writes to, each once.
pub fn targets(spec: &Spec) -> Vec<TopicName> {
    let mut targets = vec![spec.output.clone(), spec.dead_letters.clone()];
    for step in &spec.steps {
        targets.extend(step.window.iter().map(|window| window.late.clone()));
        targets.extend(step.outputs.values().cloned());
    }
    targets.sort();
    targets.dedup();
    targets
}

impl Plan {
    /// Puts a spec and its loaded plugins (one a step, in order) together. `partitions` says how many partitions each
    /// topic has that the spec names.
    pub fn new(
        tenant: TenantId,
        spec: &Spec,
        loaded: Vec<Loaded>,
        partitions: impl Fn(&TopicName) -> Option<u32>,
    ) -> Result<Self, Error> {
        let count = |topic: &TopicName| {
            partitions(topic).ok_or_else(|| Error::Log(crate::log::Error::TopicNotFound { topic: topic.clone() }))
        };
        let mut inputs = Vec::new();
        for topic in &spec.sources {
            inputs.extend((0..count(topic)?).map(|partition| TopicPartition { topic: topic.clone(), partition }));
        }
        let mut topics = Vec::new();
        for name in targets(spec) {
            topics.push(TargetTopic { partitions: count(&name)?, name });
        }
        let topic = |name: &TopicName| topics.iter().position(|topic| topic.name == *name).unwrap_or_default();
        let mut stages = vec![Stage { transforms: Vec::new(), fold: None }];
        for (step_spec, loaded) in spec.steps.iter().zip(loaded) {
            let step = step(step_spec, loaded, topic)?;
            let Some(stage) = stages.last_mut() else { break };
            match &step_spec.window {
                None => stage.transforms.push(step),
                Some(window) => {
                    stage.fold = Some(Fold { step, tumbling: window.tumbling, late: topic(&window.late) });
                    stages.push(Stage { transforms: Vec::new(), fold: None });
                }
            }
        }
        let (output, dead_letters) = (topic(&spec.output), topic(&spec.dead_letters));
        Ok(Self {
            tenant,
            name: spec.name.clone(),
            headers: spec.headers,
            disorder: spec.disorder,
            inputs,
            stages,
            topics,
            output,
            dead_letters,
        })
    }

    /// The steps that fold, in order.
    pub(super) fn folds(&self) -> impl Iterator<Item = &Fold> {
        self.stages.iter().filter_map(|stage| stage.fold.as_ref())
    }

    /// What the plugin of a step measures.
    pub(super) fn metrics(&self, name: &StepName) -> BTreeMap<String, Metric> {
        let mut steps = self.stages.iter().flat_map(|stage| {
            let fold = stage.fold.as_ref().map(|fold| &fold.step);
            stage.transforms.iter().chain(fold)
        });
        steps.find(|step| step.name == *name).map(|step| step.guest.metrics()).unwrap_or_default()
    }
}

fn step(spec: &StepSpec, loaded: Loaded, topic: impl Fn(&TopicName) -> TopicId) -> Result<Step, Error> {
    let description = loaded.guest.description();
    let needed = if spec.window.is_some() { World::Aggregate } else { World::Transform };
    if description.world != needed {
        let advice = match needed {
            World::Aggregate => "a step with a `window` folds rows: remove the window, or name an aggregate",
            _ => "give the step a `window`, such as { tumbling = \"1m\" }, or name a transform",
        };
        return Err(Error::WrongPlace { step: spec.name.clone(), world: description.world, needed, advice });
    }
    let mut routes = vec![Route::Nowhere; description.outputs.len()];
    if let Some(first) = routes.first_mut() {
        *first = Route::Next;
    }
    for (name, target) in &spec.outputs {
        match description.outputs.iter().position(|output| output.name == *name) {
            Some(index) => routes[index] = Route::Topic(topic(target)),
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
    Ok(Step {
        name: spec.name.clone(),
        plugin: spec.plugin.name.clone(),
        digest: loaded.digest,
        guest: loaded.guest,
        routes,
    })
}
