//! Orphans: state in the log that belongs to no pipeline of the catalog.
//!
//! At start, what a crash left is carried out: what an intent says to be superfluous is forgotten. Everything else that
//! the log has and the catalog does not name is kept, for it may be all that is left of a pipeline whose file was lost.
//! It is an orphan: shown, and removed or made a pipeline again when somebody says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::supervisor::EngineContext;
use super::{Applied, Change, Pipelines, to_its_end};
use crate::catalog::{Purpose, StoredPipeline};
use crate::ids::{Offset, PartitionId, PipelineId, PipelineName, TenantId, TopicName};
use crate::log::Head;
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::spec::Spec;

/// The orphans, with the pipeline that each was of where an intent says so.
pub(super) type Kept = BTreeMap<(TenantId, PipelineId), Option<PipelineName>>;

/// What was found that belongs to no pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphans {
    /// State in the log.
    pub items: Vec<Orphan>,
    /// Files of pipelines that could not be read.
    pub damaged: Vec<DamagedFile>,
}

/// What the log has of a deployment that no pipeline runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// The deployment.
    pub id: PipelineId,
    /// The pipeline that it was of, if that is known.
    pub pipeline: Option<PipelineName>,
    /// How many commits it made.
    pub commits: u64,
    /// Where it is in its inputs, by which its manifest can be known.
    pub inputs: Vec<OrphanInput>,
}

/// Where an orphan is in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanInput {
    pub topic: TopicName,
    pub partition: PartitionId,
    /// The next record it would read.
    pub position: Offset,
}

/// A file of the catalog that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedFile {
    /// Where it is.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl EngineContext {
    /// Carries out what was intended when the server ended. Answers what the log has beside that and the pipelines.
    pub(super) async fn tidy_up(&self) -> Result<Kept, Error> {
        let pipelines: BTreeMap<_, _> =
            self.catalog.pipelines().into_iter().map(|stored| ((stored.tenant, stored.name), stored.id)).collect();
        let named: BTreeSet<_> = pipelines.iter().map(|((tenant, _), id)| (tenant.clone(), *id)).collect();
        let mut pipeline_of = BTreeMap::new();
        for (tenant, intent) in self.catalog.intents() {
            let now = pipelines.get(&(tenant.clone(), intent.pipeline.clone())).copied();
            let Some(superfluous) = intent.superfluous(now) else {
                if let Purpose::Switch { replaces: Some(replaced) } = intent.purpose {
                    pipeline_of.insert((tenant.clone(), replaced), intent.pipeline.clone());
                }
                pipeline_of.insert((tenant, intent.id), intent.pipeline);
                continue;
            };
            for id in superfluous.into_iter().filter(|id| !named.contains(&(tenant.clone(), *id))) {
                tracing::info!(%tenant, pipeline = %intent.pipeline, deployment = %id, "forgetting state that is superfluous");
                self.forget_commits(&tenant, id).await?;
            }
            self.catalog.remove_intent(&tenant, intent.id).await?;
        }
        let mut kept = Kept::new();
        for (tenant, task) in self.log.tasks()? {
            let id = task.pipeline;
            self.catalog.skip_pipeline_id(id).await?;
            if named.contains(&(tenant.clone(), id)) {
                continue;
            }
            let pipeline = pipeline_of.get(&(tenant.clone(), id)).cloned();
            tracing::warn!(%tenant, deployment = %id, "the log has state of a deployment that no pipeline runs; `millstream pipeline orphans` shows it");
            kept.insert((tenant, id), pipeline);
        }
        Ok(kept)
    }

    /// Forgets an orphan.
    async fn discard(&self, tenant: &TenantId, id: PipelineId) -> Result<(), Error> {
        self.forget_commits(tenant, id).await?;
        Ok(self.catalog.remove_intent(tenant, id).await?)
    }
}

impl Pipelines {
    /// What belongs to no pipeline of a tenant.
    pub fn orphans(&self, tenant: &TenantId) -> Result<Orphans, Error> {
        let kept = self.kept().clone();
        let of_tenant = kept.into_iter().filter(|((of, _), _)| of == tenant);
        let items = of_tenant.map(|((_, id), pipeline)| {
            let Head { sequence: commits, positions, .. } = self.0.context.head(tenant, id)?;
            let inputs = positions.into_iter().map(|(at, position)| OrphanInput {
                topic: at.topic,
                partition: at.partition,
                position: position.offset,
            });
            Ok(Orphan { id, pipeline, commits, inputs: inputs.collect() })
        });
        let damaged = self.0.context.catalog.damaged(tenant).into_iter();
        let damaged =
            damaged.map(|damaged| DamagedFile { file: damaged.file.display().to_string(), reason: damaged.reason });
        Ok(Orphans { items: items.collect::<Result<_, Error>>()?, damaged: damaged.collect() })
    }

    /// Removes an orphan: its state is gone for good. That is done to its end, also if nobody waits for the answer any more.
    pub async fn discard_orphan(&self, tenant: &TenantId, id: PipelineId) -> Result<(), Error> {
        let (pipelines, tenant) = (self.clone(), tenant.clone());
        to_its_end(async move {
            let claimed = pipelines.claim(&tenant, id)?;
            let discarded = pipelines.0.context.discard(&tenant, id).await;
            discarded.inspect_err(|_| pipelines.give_back(&tenant, id, claimed))
        })
        .await
    }

    /// Makes an orphan a pipeline again: the manifest goes on with its state, from its place. That is done to its end, also
    /// if nobody waits for the answer any more.
    pub async fn adopt(&self, tenant: &TenantId, id: PipelineId, manifest: &str) -> Result<Applied, Error> {
        let (pipelines, tenant, manifest) = (self.clone(), tenant.clone(), manifest.to_owned());
        to_its_end(async move {
            let claimed = pipelines.claim(&tenant, id)?;
            let adopted = pipelines.run_orphan(&tenant, id, &manifest).await;
            let is_named = |stored: &StoredPipeline| stored.tenant == tenant && stored.id == id;
            adopted.inspect_err(|error| {
                // What the catalog names, or may name after a restart, is no orphan any more.
                if !error.is_unsettled() && !pipelines.0.context.catalog.pipelines().iter().any(is_named) {
                    pipelines.give_back(&tenant, id, claimed);
                }
            })
        })
        .await
    }

    async fn run_orphan(&self, tenant: &TenantId, id: PipelineId, manifest: &str) -> Result<Applied, Error> {
        let spec: Spec = manifest.parse()?;
        let context = &self.0.context;
        let _reserved = self.0.names.reserve(tenant, &spec.name).await;
        let _needs = context.topics.need(tenant, &spec).await;
        if self.entry(tenant, &spec.name).is_ok() {
            return Err(Error::Exists { name: spec.name });
        }
        let _flow = self.claim_flow(tenant, &spec)?;
        let versions = self.resolve(tenant, &spec, None, false)?;
        let stored = StoredPipeline {
            tenant: tenant.clone(),
            name: spec.name.clone(),
            id,
            manifest: manifest.to_owned(),
            paused: false,
            digests: versions.digests,
            held: versions.held,
            dropped_state: BTreeSet::new(),
            upgraded_from: None,
        };
        loop {
            let plan = context.plan(&stored, &spec).await?;
            self.know_versions(&plan, &spec)?;
            context.replay(&plan, id, Carry::default()).await?;
            if context.create_targets(tenant, &plan).await? {
                break;
            }
        }
        // What was intended with it, or with what it was to take the place of, is not carried out any more: the other one stays
        // an orphan until somebody decides.
        for (of, intent) in context.catalog.intents() {
            let replaced = matches!(intent.purpose, Purpose::Switch { replaces } if replaces == Some(id));
            if of == *tenant && (intent.id == id || replaced) {
                context.catalog.remove_intent(tenant, intent.id).await?;
            }
        }
        context.catalog.put_pipeline(&stored).await?;
        self.launch(stored).await;
        let status = self.show(tenant, &spec.name).await?;
        Ok(Applied { status, change: Change::Created, checkpoint: None, pause_ms: None })
    }

    /// Nobody knows any more which version wrote the state, and another may read it as something else: where there are
    /// several, the manifest has to name it.
    fn know_versions(&self, plan: &Plan, spec: &Spec) -> Result<(), Error> {
        let versions = self.0.context.catalog.plugins(&plan.tenant);
        for keyed in plan.keyed() {
            let step = spec.steps.iter().find(|step| step.name == keyed.step().name && step.plugin.digest.is_none());
            let Some(step) = step else { continue };
            let plugin = &step.plugin.name;
            let known: Vec<_> = versions.iter().filter(|version| version.name == *plugin).collect();
            if known.len() > 1 {
                let known: Vec<_> = known.iter().map(|version| format!("{plugin}@{}", version.digest)).collect();
                return Err(Error::VersionUnknown { step: step.name.clone(), versions: known.join(", ") });
            }
        }
        Ok(())
    }

    /// Takes an orphan, so that nobody else does.
    fn claim(&self, tenant: &TenantId, id: PipelineId) -> Result<Option<PipelineName>, Error> {
        self.kept().remove(&(tenant.clone(), id)).ok_or(Error::OrphanNotFound { id })
    }

    fn give_back(&self, tenant: &TenantId, id: PipelineId, pipeline: Option<PipelineName>) {
        self.kept().insert((tenant.clone(), id), pipeline);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
