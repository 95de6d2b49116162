//! Putting a pipeline back to a checkpoint, or making another one from it.
//!
//! The state is put together under a new deployment while the old one runs on, and checked against what is to run. Then
//! the old one is stopped, copied so that this too can be undone, and the catalog names the new one: a crash before that
//! leaves all as it was, a crash after it all as it shall be.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::super::runner::can_take_over;
use super::super::spec::Spec;
use super::install::Fresh;
use super::{Done, Entry, Operation, OperationKind, Pipelines, stop};
use crate::catalog::StoredPipeline;
use crate::checkpoint::{CheckpointId, Deployment, Kind, Manifest, Meter};
use crate::clock::now_ms;
use crate::error::Coded;
use crate::fail;
use crate::ids::{PipelineName, TenantId};
use crate::pipeline::Error;

/// What is to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The pipeline to be made from it; without it the pipeline itself is put back.
    #[serde(default, rename = "as")]
    pub into: Option<PipelineName>,
    /// The manifest that is to run; without it the one that ran.
    #[serde(default)]
    pub manifest: Option<String>,
}

impl Pipelines {
    /// Restores a checkpoint.
    pub fn restore(&self, tenant: &TenantId, name: &PipelineName, restore: Restore) -> Result<Arc<Operation>, Error> {
        let fork = restore.into.as_ref().is_some_and(|into| into != name);
        if let Some(into) = restore.into.as_ref().filter(|_| fork)
            && self.entry(tenant, into).is_ok()
        {
            return Err(Error::Exists { name: into.clone() });
        }
        let kind = if fork { OperationKind::Fork } else { OperationKind::Restore };
        let (pipelines, of, from) = (self.clone(), tenant.clone(), name.clone());
        Ok(self.0.operations.begin(tenant, name, kind, async move |meter| {
            let Restore { checkpoint, into, manifest } = restore;
            let taken = pipelines.0.ground.checkpoints.get(&of, &from, checkpoint).await?;
            let manifest = match manifest {
                Some(manifest) => manifest,
                None if fork => taken.deployment.manifest_for(into.as_ref().unwrap_or(&from))?,
                None => taken.deployment.manifest.clone(),
            };
            pipelines.bring_back(&of, &from, into.unwrap_or_else(|| from.clone()), &taken, manifest, &meter).await
        }))
    }

    /// Makes `manifest` run as `target` with the state of a checkpoint of `from`.
    pub(super) async fn bring_back(
        &self,
        tenant: &TenantId,
        from: &PipelineName,
        target: PipelineName,
        taken: &Manifest,
        manifest: String,
        meter: &Arc<Meter>,
    ) -> Result<Done, Error> {
        let ground = &self.0.ground;
        let spec: Spec = manifest.parse()?;
        if spec.name != target {
            return Err(Error::OtherName { name: spec.name, target });
        }
        if *from != target {
            let before: Spec = taken.deployment.manifest.parse()?;
            if let Some(topic) = spec.targets().intersection(&before.targets()).next() {
                return Err(Error::SharedTarget { topic: topic.clone(), name: target, other: from.clone() });
            }
        }
        let existing = self.entry(tenant, &target).ok();
        let _changing = match &existing {
            Some(entry) => Some(entry.changing.lock().await),
            None => None,
        };
        let before = existing.as_ref().map(|entry| self.current(entry)).transpose()?;
        let mut fresh = Fresh::new(ground, tenant)?;
        let stored = StoredPipeline {
            tenant: tenant.clone(),
            name: target,
            id: fresh.id,
            manifest,
            paused: before.as_ref().is_some_and(|before| before.paused),
            digests: self.versions_of(tenant, &spec, &taken.deployment)?,
            upgraded_from: None,
        };
        let plan = ground.plan(&stored, &spec).await?;
        fresh.fill(from, taken.id, meter).await?;
        self.can_take_over(&plan, fresh.id).await?;
        fail::point("restore-verified");
        ground.create_targets(tenant, &plan)?;
        let positions = taken.positions.iter().map(|position| {
            let at = crate::ids::TopicPartition { topic: position.topic.clone(), partition: position.partition };
            (at, position.offset)
        });
        let note = format!("before restoring {}", taken.id);
        let (undo, pause_ms) =
            self.replace(existing.clone(), before, stored.clone(), fresh, positions.collect(), note).await?;
        Ok(Done { pipeline: stored.name, checkpoint: Some(taken.id), undo, pause_ms })
    }

    /// Lets a deployment that has its state take the place of the one that runs, if one does. It goes on from these
    /// positions; in an input without one, where the other stood. Answers the checkpoint that undoes it.
    pub(super) async fn replace(
        &self,
        existing: Option<Arc<Entry>>,
        before: Option<StoredPipeline>,
        stored: StoredPipeline,
        mut fresh: Fresh,
        positions: Vec<(crate::ids::TopicPartition, u64)>,
        note: String,
    ) -> Result<(Option<CheckpointId>, Option<f64>), Error> {
        let ground = &self.0.ground;
        let (Some(entry), Some(before)) = (existing, before) else {
            fresh.place(positions, bytes::Bytes::new()).await?;
            fail::point("restore-installed");
            ground.catalog.put_pipeline(&stored)?;
            fail::point("restore-switched");
            fresh.keep();
            let entry = self.insert(stored);
            let mut task = entry.task.lock().await;
            *task = Some(self.start(&entry));
            return Ok((None, None));
        };
        // Most of it while it runs: what is left to copy when it stands still is little.
        let ahead = self.copy_ahead(&before).await?;
        let mut task = entry.task.lock().await;
        let stopped = Instant::now();
        stop(&mut task).await;
        let switched = async {
            let undo = self.undoable(&before, Kind::Savepoint, Some(note)).await?.map(|taken| taken.id);
            // What it has used stays used.
            let usage = match ground.head(&before.tenant, before.id) {
                Ok(head) => head.usage,
                Err(error) if undo.is_none() => {
                    tracing::warn!(pipeline = %before.name, %error, "its counters are lost with its state");
                    bytes::Bytes::new()
                }
                Err(error) => return Err(error),
            };
            fresh.place(positions, usage).await?;
            fail::point("restore-installed");
            ground.catalog.put_pipeline(&stored)?;
            fail::point("restore-switched");
            fresh.keep();
            entry.set_stored(stored);
            Ok(undo)
        };
        let switched = switched.await;
        // What the catalog names goes on, the new one or the old.
        *task = Some(self.start(&entry));
        let pause_ms = stopped.elapsed().as_secs_f64() * 1000.0;
        drop(task);
        let undo = switched?;
        ground.forget(&before.tenant, before.id);
        self.drop_ahead(&before, ahead).await;
        Ok((undo, Some(pause_ms)))
    }

    /// Copies what is committed so far, so that a checkpoint that is taken soon has little to copy. Answers it if it was
    /// taken for this.
    pub(super) async fn copy_ahead(&self, before: &StoredPipeline) -> Result<Option<CheckpointId>, Error> {
        let began = now_ms();
        let taken = self.undoable(before, Kind::Interval, None).await?;
        Ok(taken.filter(|taken| taken.kind == Kind::Interval && taken.created_at_ms >= began).map(|taken| taken.id))
    }

    /// Removes what was copied ahead: its chunks are the next one's.
    pub(super) async fn drop_ahead(&self, before: &StoredPipeline, ahead: Option<CheckpointId>) {
        let Some(id) = ahead else { return };
        if let Err(error) = self.0.ground.checkpoints.delete(&before.tenant, &before.name, id).await {
            tracing::warn!(checkpoint = %id, %error, "a checkpoint that is not needed is left");
        }
    }

    /// Copies what is about to be replaced. If what the log has of it is damaged there is nothing to copy, and to replace
    /// it is the way out.
    pub(super) async fn undoable(
        &self,
        before: &StoredPipeline,
        kind: Kind,
        note: Option<String>,
    ) -> Result<Option<Manifest>, Error> {
        match self.0.ground.copy(before, kind, note, &Arc::default()).await {
            Ok(taken) => Ok(Some(taken)),
            Err(error) if error.kind() == crate::error::Kind::Corrupt => {
                tracing::warn!(pipeline = %before.name, %error, "replaced without a copy");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads state back, off the threads that others need.
    pub(super) async fn can_take_over(
        &self,
        plan: &Arc<super::super::plan::Plan>,
        id: crate::ids::PipelineId,
    ) -> Result<(), Error> {
        let (plan, log) = (Arc::clone(plan), Arc::clone(&self.0.ground.log));
        let read = tokio::task::spawn_blocking(move || can_take_over(plan, &*log, id)).await;
        read.unwrap_or_else(|panic| Err(Error::Interrupted { reason: panic.to_string() }))
    }

    /// The versions that a manifest runs on state of a deployment: those that ran, where it does not say otherwise.
    fn versions_of(
        &self,
        tenant: &TenantId,
        spec: &Spec,
        of: &Deployment,
    ) -> Result<std::collections::BTreeMap<crate::ids::StepName, crate::ids::Digest>, Error> {
        let before: Spec = of.manifest.parse()?;
        let ran = |step: &super::super::spec::StepSpec| {
            let same = before.steps.iter().any(|had| had.name == step.name && had.plugin.name == step.plugin.name);
            of.digests.get(&step.name).copied().filter(|_| same && step.plugin.digest.is_none())
        };
        let version = |step: &super::super::spec::StepSpec| {
            let plugin =
                crate::ids::PluginRef { name: step.plugin.name.clone(), digest: ran(step).or(step.plugin.digest) };
            Ok((step.name.clone(), self.0.ground.catalog.plugin(tenant, &plugin)?.digest))
        };
        spec.steps.iter().map(version).collect()
    }
}
