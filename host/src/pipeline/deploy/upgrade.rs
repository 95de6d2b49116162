//! Another manifest or other versions for a pipeline that runs: the swap between two commits, and the way back.
//!
//! What takes long happens before or after the pipeline stands still. Before, the new version is loaded, its state checked,
//! and what is committed so far copied. Then the runner stops between two micro-batches, the log is held as it is for the
//! rest of the copy, the catalog names the new deployment, and it goes on with the state that the old one had in memory.
//! After that the rest is written, as the checkpoint to roll back to. Until it is, and if it cannot be, a rollback goes to
//! the copy of before, a few commits earlier, which the catalog names from the swap on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::install::StagedDeployment;
use super::restore::Run;
use super::stopping::Task;
use super::supervisor::Ready;
use super::{Done, Entry, Operation, OperationKind, Pipelines};
use crate::catalog::StoredPipeline;
use crate::checkpoint::{CheckpointId, Kind};
use crate::fail;
use crate::ids::{PipelineName, TenantId};
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::{WarmState, migrating};
use crate::pipeline::spec::Spec;

/// How long whoever deploys waits to see the pipeline run. It goes on starting after that.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(10);

/// The result of a swap.
#[derive(Debug, Default)]
pub(super) struct Swapped {
    /// The checkpoint to roll back to.
    pub(super) checkpoint: Option<CheckpointId>,
    /// From the end of the last micro-batch of the old version until the new one takes the next, in milliseconds.
    pub(super) pause_ms: Option<f64>,
}

impl Pipelines {
    /// Whether what a pipeline has is of use to a plan: its places in the inputs, and its state, by what runs, or else by
    /// reading it back.
    pub(super) async fn fits(
        &self,
        existing: Option<&Arc<Entry>>,
        plan: &Arc<Plan>,
        stored: &StoredPipeline,
        carry: &Carry,
    ) -> Result<(), Error> {
        if existing.is_some() {
            let context = &self.0.context;
            let head = context.head(&stored.tenant, stored.id)?;
            plan.same_topics(&head.positions, &context.log.topics(&stored.tenant).await?)?;
        }
        let runs = existing.and_then(|entry| entry.shared.view().plan);
        match runs {
            Some(runs) if carry.is_plain() && runs.holds_the_same(plan) => Ok(()),
            _ => self.0.context.replay(plan, stored.id, carry.clone()).await.map(drop),
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
        carry: Carry,
    ) -> Result<Swapped, Error> {
        let context = &self.0.context;
        let migrating = migrating(&plan, &carry.wrote(&before.digests));
        let rewrites = carry.rewrites() || !migrating.is_empty();
        // What is only started again needs no way back.
        let is_same = *before == stored && !carry.rewrites();
        let mut ahead = if is_same { None } else { self.ahead(before, Kind::Upgrade, None).await? };
        let mut task = entry.task.lock().await;
        let (mut live, halted) = match self.halt(entry, &mut task).await {
            Ok(live) => (live, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let stopped = Instant::now();
        stored.paused = entry.stored().paused;
        let mut staged = None;
        let swapped = async {
            halted?;
            if let Some(ahead) = &mut ahead {
                ahead.stand_still(context.environment.now_ms()).await?;
                // The way back until the checkpoint of this moment is written, and from then on that.
                stored.upgraded_from = Some(ahead.id().to_string());
            }
            // What is in memory becomes the new version's: if anything fails from here on, the old one reads its state back.
            // That the two go together was seen before the stop, but the first state there is may have come since.
            let ready = live.take().filter(|_| carry.is_plain());
            let mut next = match ready.and_then(|live| live.rebind(&plan)) {
                Some(live) => live,
                None => context.replay(&plan, before.id, carry).await?,
            };
            if !rewrites {
                context.catalog.put_pipeline(&stored).await?;
                context.call_off_deletion(&before.tenant, stored.id).await;
                if stored.paused {
                    // What it has in memory is not needed before it is resumed.
                    if let Err(error) = context.begin_paused(before, &plan, spec.start, next).await {
                        tracing::warn!(pipeline = %before.name, %error, "its new inputs begin where they are when it is resumed");
                    }
                    return Ok(());
                }
            } else {
                next.migrate(&migrating).await?;
                next.begin_inputs(&plan, spec.start, &context.log.topics(&before.tenant).await?)?;
                // Under a deployment of its own: what the old version reads is not touched.
                let mut taking = StagedDeployment::new(context, &before.tenant, &before.name).await?;
                taking.take(&mut next).await?;
                stored.id = taking.id;
                taking.switch(&stored, Some(before.id)).await?;
                staged = Some(taking);
            }
            live = Some(Box::new(next));
            fail::point("upgrade-switched");
            Ok::<_, Error>(())
        };
        let swapped = swapped.await;
        let plan = match &swapped {
            Ok(()) => {
                entry.set_stored(stored);
                Some(plan)
            }
            Err(_) => live.as_ref().map(|live| Arc::clone(&live.machine.plan)),
        };
        let pause_ms = match &swapped {
            Err(error) if error.is_unsettled() => {
                entry.stand_still(error);
                None
            }
            _ => self.go_on(entry, &mut task, plan, live.take(), stopped).await,
        };
        drop(task);
        if let Err(error) = swapped {
            // The catalog may name the copy, if it is not known what it names.
            if let Some(ahead) = ahead.filter(|_| !error.is_unsettled()) {
                ahead.abandon().await;
            }
            return Err(error);
        }
        if let Some(staged) = staged {
            staged.settle(Some(before.id)).await;
        }
        let checkpoint = match ahead {
            Some(ahead) => Some(self.finish(entry, ahead, true).await?),
            None => None,
        };
        if let Err(error) = context.retain(&before.tenant, &before.name, spec.checkpoint.keep).await {
            tracing::warn!(pipeline = %before.name, %error, "checkpoints that need not be kept are left");
        }
        Ok(Swapped { checkpoint, pause_ms })
    }

    /// Starts what is deployed now, with what is at hand of it. Answers how long it stood still, if it runs soon.
    pub(super) async fn go_on(
        &self,
        entry: &Arc<Entry>,
        task: &mut Option<Task>,
        plan: Option<Arc<Plan>>,
        live: Option<Box<WarmState>>,
        stopped: Instant,
    ) -> Option<f64> {
        let (running, seen) = oneshot::channel();
        *task = self.start_with(entry, plan.map(|plan| Ready { plan, live, running })).await;
        let ran = tokio::time::timeout(START_PATIENCE, seen).await.is_ok_and(|seen| seen.is_ok());
        ran.then(|| stopped.elapsed().as_secs_f64() * 1000.0)
    }

    /// Remembers the checkpoint of an upgrade, beside whatever else has changed meanwhile.
    pub(super) async fn remember_way_back(&self, entry: &Arc<Entry>, id: CheckpointId) -> Result<(), Error> {
        // Pausing and resuming change what is stored too.
        let _task = entry.task.lock().await;
        let stored = StoredPipeline { upgraded_from: Some(id.to_string()), ..entry.stored() };
        self.0.context.catalog.put_pipeline(&stored).await?;
        entry.set_stored(stored);
        Ok(())
    }

    /// Puts a pipeline back to before its last upgrade: versions, manifest and state.
    pub fn rollback(&self, tenant: &TenantId, name: &PipelineName) -> Result<Arc<Operation>, Error> {
        self.entry(tenant, name)?;
        let (pipelines, of, name) = (self.clone(), tenant.clone(), name.clone());
        let begun = name.clone();
        Ok(self.0.operations.begin(tenant, &begun, OperationKind::Rollback, async move |meter| {
            let _reserved = pipelines.0.names.reserve(&of, &name).await;
            let now = pipelines.entry(&of, &name)?.stored();
            let from = now.upgraded_from.as_ref().and_then(|id| id.parse().ok());
            let from = from.ok_or_else(|| Error::NoUpgrade { name: name.clone() })?;
            let taken = pipelines.0.context.checkpoints.get(&of, &name, from).await?;
            let manifest = taken.deployment.manifest.clone();
            let run = Run { target: name.clone(), manifest, to_offsets: Vec::new() };
            let done: Done = pipelines.bring_back(&of, &name, &taken, run, &meter).await?;
            Ok(done)
        }))
    }
}
