//! Another manifest or other versions for a pipeline that runs: the swap between two commits, and the way back.
//!
//! What takes long happens before the pipeline stands still: the new version is loaded, its state checked, and what is
//! committed so far copied. Then the runner stops between two micro-batches, the rest is copied as the checkpoint to roll
//! back to, the catalog names the new deployment, and it goes on with the state that the old one had in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::handover::{Live, migrating};
use super::super::plan::Plan;
use super::super::runner::Runner;
use super::super::spec::Spec;
use super::super::supervisor::Ready;
use super::install::Fresh;
use super::{Done, Entry, Operation, OperationKind, Pipelines, stop};
use crate::catalog::StoredPipeline;
use crate::checkpoint::{CheckpointId, Kind};
use crate::fail;
use crate::ids::{PipelineId, PipelineName, TenantId};
use crate::pipeline::Error;

/// How long a swap waits to see the new version run. It goes on starting after that.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What a swap came to.
#[derive(Debug, Default)]
pub(super) struct Swapped {
    /// The checkpoint to roll back to.
    pub(super) checkpoint: Option<CheckpointId>,
    /// From the end of the last micro-batch of the old version until the new one takes the next, in milliseconds.
    pub(super) pause_ms: Option<f64>,
}

impl Pipelines {
    /// Whether the state that a pipeline has is state of a plan: by what runs, or else by reading it back.
    pub(super) async fn fits(
        &self,
        existing: Option<&Arc<Entry>>,
        plan: &Arc<Plan>,
        stored: &StoredPipeline,
    ) -> Result<(), Error> {
        let runs = existing.and_then(|entry| entry.shared.view().plan);
        match runs {
            Some(runs) if runs.holds_the_same(plan) => Ok(()),
            _ => self.can_take_over(plan, stored.id).await,
        }
    }

    /// Lets `stored` run in place of `before`, on the same state. If anything fails, `before` goes on.
    pub(super) async fn swap(
        &self,
        entry: &Arc<Entry>,
        before: &StoredPipeline,
        mut stored: StoredPipeline,
        plan: Arc<Plan>,
        spec: &Spec,
    ) -> Result<Swapped, Error> {
        let ground = &self.0.ground;
        let migrating = migrating(&plan, &before.digests);
        // Most of it while it runs: what is left to copy when it stands still is little.
        let ahead = self.copy_ahead(before).await?;
        let mut task = entry.task.lock().await;
        let mut live = stop(&mut task).await;
        let stopped = Instant::now();
        let mut taken = None;
        let swapped = async {
            // What is only started again needs no way back.
            if *before != stored {
                taken = self.undoable(before, Kind::Upgrade, None).await?.map(|taken| taken.id);
            }
            if let Some(taken) = taken {
                stored.upgraded_from = Some(taken.to_string());
            }
            let mut fresh = None;
            if !migrating.is_empty() {
                let mut migrated = match live.take().and_then(|live| live.under(&plan)) {
                    Some(live) => live,
                    None => self.read_back(&plan, before.id).await?,
                };
                migrated.migrate(&migrating).await?;
                // Under a deployment of its own: what the old version reads is not touched.
                let mut taking = Fresh::new(ground, &before.tenant)?;
                taking.take(&mut migrated).await?;
                stored.id = taking.id;
                live = Some(Box::new(migrated));
                fresh = Some(taking);
            }
            ground.catalog.put_pipeline(&stored)?;
            fail::point("upgrade-switched");
            if let Some(fresh) = fresh {
                fresh.keep();
            }
            Ok::<_, Error>(())
        };
        let swapped = swapped.await;
        let (running, seen) = oneshot::channel();
        let plan = match &swapped {
            Ok(_) => {
                entry.set_stored(stored);
                Some(plan)
            }
            // What was to migrate is spoilt: the old version reads its state back.
            Err(_) => live.as_ref().map(|live| Arc::clone(&live.machine.plan)),
        };
        let ready = plan.map(|plan| Ready { plan, live: live.take(), running });
        *task = Some(self.start_with(entry, ready));
        let ran = tokio::time::timeout(START_PATIENCE, seen).await.is_ok_and(|seen| seen.is_ok());
        let pause_ms = ran.then(|| stopped.elapsed().as_secs_f64() * 1000.0);
        drop(task);
        self.drop_ahead(before, ahead).await;
        if let Err(error) = swapped {
            self.drop_ahead(before, taken).await;
            return Err(error);
        }
        if !migrating.is_empty() {
            ground.forget(&before.tenant, before.id);
        }
        if let Err(error) = ground.checkpoints.retain(&before.tenant, &before.name, spec.checkpoint.keep as usize).await
        {
            tracing::warn!(pipeline = %before.name, %error, "checkpoints that need not be kept are left");
        }
        Ok(Swapped { checkpoint: taken, pause_ms })
    }

    /// What a deployment has, off the threads that others need.
    async fn read_back(&self, plan: &Arc<Plan>, id: PipelineId) -> Result<Live, Error> {
        let (plan, log) = (Arc::clone(plan), Arc::clone(&self.0.ground.log));
        let read = tokio::task::spawn_blocking(move || Runner::read_back(id, &plan, &*log)).await;
        read.unwrap_or_else(|panic| Err(Error::Interrupted { reason: panic.to_string() }))
    }

    /// Puts a pipeline back to before its last upgrade: versions, manifest and state.
    pub fn rollback(&self, tenant: &TenantId, name: &PipelineName) -> Result<Arc<Operation>, Error> {
        let entry = self.entry(tenant, name)?;
        let (pipelines, of, name) = (self.clone(), tenant.clone(), name.clone());
        let begun = name.clone();
        Ok(self.0.operations.begin(tenant, &begun, OperationKind::Rollback, async move |meter| {
            let now = pipelines.current(&entry)?;
            let from = now.upgraded_from.as_ref().and_then(|id| id.parse().ok());
            let from = from.ok_or_else(|| Error::NoUpgrade { name: name.clone() })?;
            let taken = pipelines.0.ground.checkpoints.get(&of, &name, from).await?;
            let manifest = taken.deployment.manifest.clone();
            let done: Done = pipelines.bring_back(&of, &name, name.clone(), &taken, manifest, &meter).await?;
            Ok(done)
        }))
    }
}
