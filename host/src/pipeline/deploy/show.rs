//! Pipelines as they are at a moment, for whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Entry, Pipelines};
use crate::catalog::StoredPipeline;
use crate::ids::{PipelineName, TenantId, TopicName};
use crate::log::TopicInfo;
use crate::pipeline::error::Error;
use crate::pipeline::io::shared::{Shared, View};
use crate::pipeline::spec::{ManifestError, Spec};
use crate::pipeline::status::{InputStatus, PipelineStatus, State, StepStatus};

/// What was seen of a pipeline at a moment.
#[derive(Debug)]
struct Seen<'a> {
    shared: &'a Shared,
    spec: Result<Arc<Spec>, ManifestError>,
    stored: StoredPipeline,
    view: View,
}

impl Seen<'_> {
    /// The same with where its inputs end, by the topics of its tenant as they were later: so no end is before a place
    /// that it has come to.
    fn status(self, topics: &BTreeMap<TopicName, TopicInfo>) -> Result<PipelineStatus, Error> {
        let Self { shared, spec, stored, view } = self;
        let spec = spec?;
        let inputs = view.progress.inputs.into_iter().map(|(at, position, known)| {
            let partition = topics.get(&at.topic).and_then(|topic| topic.partitions.get(at.partition as usize));
            let end = partition.map_or(position, |partition| partition.end);
            InputStatus {
                topic: at.topic,
                partition: at.partition,
                position,
                end,
                newest: known.newest,
                idle: known.idle,
            }
        });
        let steps = spec.steps.iter().filter_map(|step| {
            let digest = *stored.digests.get(&step.name)?;
            let metrics = view.plan.as_ref().map(|plan| plan.metrics(&step.name)).unwrap_or_default();
            let held = stored.held.contains(&step.name);
            Some(StepStatus { name: step.name.clone(), plugin: step.plugin.name.clone(), digest, held, metrics })
        });
        let activity = view.plan.as_ref().filter(|_| view.state == State::Running);
        Ok(PipelineStatus {
            activity: activity.map(|plan| shared.doings.now(plan)),
            id: stored.id,
            state: if view.stopping.is_some() { State::Stopping } else { view.state },
            reason: view.stopping.or(view.reason),
            steps: steps.collect(),
            inputs: inputs.collect(),
            output: spec.output.clone(),
            dead_letters: spec.dead_letters.clone(),
            dropped_state: stored.dropped_state.into_iter().collect(),
            watermark: view.progress.watermark,
            usage: view.progress.usage,
            open_groups: view.progress.open_groups,
            state_bytes: view.progress.state_bytes,
            state_disk_bytes: view.progress.state_disk_bytes,
            checkpoint: view.checkpoint,
            checkpoint_failure: view.checkpoint_failure,
            name: stored.name,
            manifest: stored.manifest,
        })
    }
}

impl Entry {
    fn seen(&self) -> Seen<'_> {
        Seen { shared: &self.shared, spec: self.spec(), stored: self.stored(), view: self.shared.view() }
    }
}

impl Pipelines {
    /// All pipelines of a tenant, by name.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<PipelineStatus>, Error> {
        let entries: Vec<_> =
            self.entries().iter().filter(|((of, _), _)| of == tenant).map(|(_, entry)| Arc::clone(entry)).collect();
        let seen: Vec<_> = entries.iter().map(|entry| entry.seen()).collect();
        // Asked for once, however many pipelines there are.
        let topics = self.0.context.log.topics(tenant).await?;
        Ok(seen.into_iter().filter_map(|seen| seen.status(&topics).ok()).collect())
    }

    /// One pipeline.
    pub async fn show(&self, tenant: &TenantId, name: &PipelineName) -> Result<PipelineStatus, Error> {
        self.status(&*self.entry(tenant, name)?).await
    }

    pub(super) async fn status(&self, entry: &Entry) -> Result<PipelineStatus, Error> {
        let seen = entry.seen();
        let topics = self.0.context.log.topics(&seen.stored.tenant).await?;
        seen.status(&topics)
    }
}
