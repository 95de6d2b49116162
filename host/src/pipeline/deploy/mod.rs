//! What the control plane asks of pipelines: deploy, show, pause, resume, delete.

mod checkpointer;
mod deployed;
mod fork;
mod install;
mod loops;
mod names;
mod operations;
mod orphans;
mod paused;
mod replays;
mod restore;
mod rewind;
mod show;
mod stopping;
mod supervisor;
mod topics;
mod upgrade;
mod versions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use self::deployed::Deployed;
use self::loops::Flows;
use self::names::Names;
use self::operations::Operations;
pub use self::operations::{Done, Operation, OperationKind, Outcome};
use self::orphans::Kept;
pub use self::orphans::{DamagedFile, Orphan, OrphanInput, Orphans};
pub use self::restore::Restore;
pub use self::rewind::{Rewind, StartOffset};
use self::stopping::Task;
use self::supervisor::{EngineContext, Ready, supervise};
use self::upgrade::Swapped;
use crate::catalog::{Catalog, Intent, Purpose, StoredPipeline};
use crate::checkpoint::{CheckpointId, Checkpoints};
use crate::environment::Environment;
use crate::error::Coded;
use crate::ids::{PipelineName, StepName, TenantId};
use crate::log::Log;
use crate::names::nearest;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::thresholds::Thresholds;
use crate::pipeline::error::Error;
use crate::pipeline::io::shared::Shared;
use crate::pipeline::spec::{ManifestError, Spec};
use crate::pipeline::status::{PipelineStatus, Reason, State};
use crate::plugin::GuestLoader;
use crate::state::Room;

/// All pipelines of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pipelines(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: EngineContext,
    /// Those that are deployed. Whoever puts one in or takes one out has reserved its name.
    entries: Mutex<BTreeMap<(TenantId, PipelineName), Arc<Entry>>>,
    names: Names,
    operations: Operations,
    /// State in the log that belongs to no pipeline of the catalog.
    orphans: Mutex<Kept>,
    /// What is being deployed.
    flows: Flows,
    /// Whether the server ends: nothing is started any more.
    ending: AtomicBool,
}

/// One pipeline.
#[derive(Debug)]
struct Entry {
    shared: Arc<Shared>,
    deployed: Deployed,
    /// Held while the pipeline is started, stopped or replaced, so that two requests do not do so at once. Taken after the
    /// name is reserved, by those who do that.
    task: tokio::sync::Mutex<Option<Task>>,
    /// Whether the log did not answer when it was last fenced: a commit may still be on its way.
    unfenced: AtomicBool,
}

/// How a manifest is to be applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Apply {
    /// Whether steps run the newest versions, also those that a restore or rollback put back to others.
    pub upgrade: bool,
    /// The steps, by the names that they have before, whose state is left behind.
    pub drop_state: Vec<StepName>,
    /// Whether it is deployed without being tried on samples.
    pub untried: bool,
}

/// What applying a manifest did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    pub status: PipelineStatus,
    /// Whether it is new, changed or as it was.
    pub change: Change,
    /// The checkpoint that was taken before it changed, to roll back to.
    pub checkpoint: Option<CheckpointId>,
    /// How long it stood still for the change, in milliseconds.
    pub pause_ms: Option<f64>,
}

/// How a pipeline changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It did not exist.
    Created,
    /// It goes on from where it was with another manifest or other versions.
    Changed,
    /// Nothing is different.
    Unchanged,
}

impl Pipelines {
    /// Starts the pipelines that are deployed, each with so much room for its state. One that cannot start shows why and does not hold the others up.
    pub async fn open(
        log: Arc<dyn Log>,
        plugins: Arc<dyn GuestLoader>,
        catalog: Arc<dyn Catalog>,
        checkpoints: Checkpoints,
        room: Room,
        thresholds: Thresholds,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, Error> {
        let stored = catalog.pipelines();
        let operations = Operations::new(Arc::clone(&environment));
        let (topics, replays, trials) = Default::default();
        let context = EngineContext {
            log,
            plugins,
            catalog,
            checkpoints,
            room,
            thresholds,
            topics,
            replays,
            trials,
            environment,
        };
        let orphans = Mutex::new(context.tidy_up().await?);
        let pipelines = Self(Arc::new(Inner {
            context,
            entries: Mutex::default(),
            names: Names::default(),
            operations,
            orphans,
            flows: Flows::default(),
            ending: AtomicBool::new(false),
        }));
        for stored in stored {
            pipelines.launch(stored).await;
        }
        Ok(pipelines)
    }

    /// Deploys a manifest: makes the pipeline, or changes it between two commits. That is done to its end, also if nobody
    /// waits for the answer any more.
    pub async fn apply(&self, tenant: &TenantId, manifest: &str, how: Apply) -> Result<Applied, Error> {
        let (pipelines, tenant, manifest) = (self.clone(), tenant.clone(), manifest.to_owned());
        to_its_end(async move { pipelines.deploy(&tenant, &manifest, how).await }).await
    }

    async fn deploy(&self, tenant: &TenantId, manifest: &str, how: Apply) -> Result<Applied, Error> {
        let spec: Spec = manifest.parse()?;
        let context = &self.0.context;
        let _reserved = self.0.names.reserve(tenant, &spec.name).await;
        let _needs = context.topics.need(tenant, &spec).await;
        let existing = self.entry(tenant, &spec.name).ok();
        let before = existing.as_ref().map(|entry| entry.stored());
        let _flow = self.claim_flow(tenant, &spec)?;
        // What cannot be read any more did not run, and says nothing of what its state is.
        let was = existing.as_ref().and_then(|entry| entry.spec().ok());
        let versions = self.resolve(tenant, &spec, before.as_ref().zip(was.as_deref()), how.upgrade)?;
        let mut stored = StoredPipeline {
            tenant: tenant.clone(),
            name: spec.name.clone(),
            id: match &before {
                Some(before) => before.id,
                None => context.catalog.next_pipeline_id().await?,
            },
            manifest: manifest.to_owned(),
            paused: before.as_ref().is_some_and(|before| before.paused),
            digests: versions.digests,
            held: versions.held,
            dropped_state: before.as_ref().map(|before| before.dropped_state.clone()).unwrap_or_default(),
            upgraded_from: before.as_ref().and_then(|before| before.upgraded_from.clone()),
        };
        let state = existing.as_ref().map(|entry| entry.shared.view().state);
        let is_same = before.as_ref() == Some(&stored) && how.drop_state.is_empty();
        if is_same && !matches!(state, Some(State::Failed | State::BackingOff)) {
            let status = self.show(tenant, &spec.name).await?;
            return Ok(Applied { status, change: Change::Unchanged, checkpoint: None, pause_ms: None });
        }
        if !is_same {
            stored.dropped_state = how.drop_state.iter().cloned().collect();
        }
        if let (None, Some(step)) = (&was, how.drop_state.first()) {
            return Err(Error::StepNotFound { name: spec.name, step: step.clone() });
        }
        let mut is_tried = is_same || how.untried;
        let (plan, carry) = loop {
            let plan = context.plan(&stored, &spec).await?;
            if !is_tried {
                Box::pin(context.try_samples(&stored, &spec)).await?;
                is_tried = true;
            }
            let carry = match &was {
                Some(was) => {
                    let head = context.head(tenant, stored.id)?;
                    Carry::between(was, &spec, &plan, &how.drop_state)?.of_places(head.positions.keys())
                }
                None => Carry::default(),
            };
            self.fits(existing.as_ref(), &plan, &stored, &carry).await?;
            if context.create_targets(tenant, &plan).await? {
                break (plan, carry);
            }
        };
        let (change, swapped) = match (&existing, before) {
            (Some(entry), Some(before)) => {
                (Change::Changed, self.swap(entry, &before, stored, plan, &spec, carry).await?)
            }
            _ => {
                context.catalog.put_pipeline(&stored).await?;
                // What is produced from the answer on is what comes after "the latest".
                self.launch_ready(stored, plan).await;
                (Change::Created, Swapped::default())
            }
        };
        let Swapped { checkpoint, pause_ms } = swapped;
        let status = self.show(tenant, &spec.name).await?;
        Ok(Applied { status, change, checkpoint, pause_ms })
    }

    /// Stops a pipeline between two commits; its input waits.
    pub async fn pause(&self, tenant: &TenantId, name: &PipelineName) -> Result<PipelineStatus, Error> {
        let (pipelines, entry) = (self.clone(), self.entry(tenant, name)?);
        to_its_end(async move {
            let mut task = entry.task.lock().await;
            pipelines.current(&entry)?;
            pipelines.remember_paused(&entry, true).await?;
            let halted = pipelines.halt(&entry, &mut task).await;
            entry.shared.set(State::Paused, None);
            halted?;
            pipelines.status(&entry).await
        })
        .await
    }

    /// Lets a paused or failed pipeline go on from where it was.
    pub async fn resume(&self, tenant: &TenantId, name: &PipelineName) -> Result<PipelineStatus, Error> {
        let (pipelines, entry) = (self.clone(), self.entry(tenant, name)?);
        to_its_end(async move {
            let mut task = entry.task.lock().await;
            pipelines.current(&entry)?;
            if matches!(entry.shared.view().state, State::Running | State::Starting) {
                return pipelines.status(&entry).await;
            }
            pipelines.remember_paused(&entry, false).await?;
            let halted = pipelines.halt(&entry, &mut task).await;
            // A deletion that failed halfway is called off.
            let stored = entry.stored();
            pipelines.0.context.call_off_deletion(&stored.tenant, stored.id).await;
            *task = pipelines.start(&entry).await;
            halted?;
            pipelines.status(&entry).await
        })
        .await
    }

    /// Removes a pipeline and its state. Its topics stay.
    pub async fn delete(&self, tenant: &TenantId, name: &PipelineName) -> Result<(), Error> {
        let (pipelines, tenant, name) = (self.clone(), tenant.clone(), name.clone());
        to_its_end(async move { pipelines.remove(&tenant, &name).await }).await
    }

    async fn remove(&self, tenant: &TenantId, name: &PipelineName) -> Result<(), Error> {
        let _reserved = self.0.names.reserve(tenant, name).await;
        let (context, entry) = (&self.0.context, self.entry(tenant, name)?);
        let stored = entry.stored();
        // Whoever lets it go on calls the deletion off, so that is not done while it goes on.
        let mut task = entry.task.lock().await;
        context.carry_out_switch(tenant, stored.id).await?;
        let intent = Intent { id: stored.id, pipeline: name.clone(), purpose: Purpose::Delete };
        if let Err(error) = context.catalog.put_intent(tenant, &intent).await {
            // It may be written all the same.
            context.done(tenant, stored.id).await;
            return Err(error.into());
        }
        let removed = match self.halt(&entry, &mut task).await {
            Ok(_) => context.catalog.remove_pipeline(tenant, name).await.map_err(Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            if error.is_unsettled() {
                entry.stand_still(&error);
            } else {
                context.done(tenant, stored.id).await;
                *task = self.start(&entry).await;
            }
            return Err(error);
        }
        self.entries().remove(&(tenant.clone(), name.clone()));
        context.forget(tenant, stored.id).await;
        if let Err(error) = context.checkpoints.forget(tenant, name).await {
            tracing::warn!(%tenant, pipeline = %name, %error, "checkpoints of a deleted pipeline are left");
        }
        Ok(())
    }

    /// Stops all pipelines between two commits, as a server does before it ends. None is started any more.
    pub async fn stop(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
        let entries: Vec<_> = self.entries().values().cloned().collect();
        let stopped = entries.iter().map(|entry| async move {
            if let Err(error) = self.halt(entry, &mut *entry.task.lock().await).await {
                let pipeline = entry.stored().name;
                tracing::warn!(%pipeline, %error, "what became of its last commit is seen when the server is started");
            }
        });
        join_all(stopped).await;
    }

    /// Starts a pipeline that the catalog has and that is not among the others yet.
    async fn launch(&self, stored: StoredPipeline) {
        self.launch_with(stored, None).await;
    }

    /// The same under its plan, and waits until it runs, which is soon or cannot be.
    async fn launch_ready(&self, stored: StoredPipeline, plan: Arc<Plan>) {
        let (running, seen) = oneshot::channel();
        self.launch_with(stored, Some(Ready { plan, live: None, running })).await;
        let _ = tokio::time::timeout(upgrade::START_PATIENCE, seen).await;
    }

    async fn launch_with(&self, stored: StoredPipeline, ready: Option<Ready>) {
        let key = (stored.tenant.clone(), stored.name.clone());
        let entry = Arc::new(Entry {
            shared: Arc::new(Shared::new(State::Starting)),
            deployed: Deployed::new(stored),
            task: tokio::sync::Mutex::default(),
            unfenced: AtomicBool::new(false),
        });
        // Before anybody else can see it.
        let mut task = entry.task.lock().await;
        let had = self.entries().insert(key, Arc::clone(&entry));
        debug_assert!(had.is_none(), "whoever makes a pipeline has reserved its name and found nothing under it");
        *task = self.start_with(&entry, ready).await;
    }

    async fn start(&self, entry: &Entry) -> Option<Task> {
        self.start_with(entry, None).await
    }

    /// Starts what is deployed now; nothing, if it is paused or the server ends.
    async fn start_with(&self, entry: &Entry, ready: Option<Ready>) -> Option<Task> {
        let stored = entry.stored();
        let (context, shared) = (&self.0.context, &entry.shared);
        shared.hide_plan();
        if stored.paused {
            match context.committed(&stored).await {
                Ok(committed) => {
                    shared.publish(|progress| *progress = committed);
                    shared.set(State::Paused, None);
                }
                Err(error) => {
                    let reason = Reason { code: error.code().to_owned(), message: error.to_string() };
                    shared.set(State::Paused, Some(reason));
                }
            }
            return None;
        }
        if self.0.ending.load(Ordering::SeqCst) {
            return None;
        }
        shared.set(State::Starting, None);
        let (stop, stopped) = watch::channel(false);
        // What is deployed has been parsed before; if it cannot be any more, the supervisor says so.
        let checkpointer = entry.spec().ok().map(|spec| {
            checkpointer::run(context.clone(), stored.clone(), spec.checkpoint, Arc::clone(shared), stopped.clone())
        });
        let checkpointer = tokio::spawn(async move {
            if let Some(checkpointer) = checkpointer {
                checkpointer.await;
            }
        });
        let supervisor = supervise(context.clone(), stored, Arc::clone(shared), stopped, ready);
        Some(Task { stop, supervisor: tokio::spawn(supervisor), checkpointer })
    }

    async fn remember_paused(&self, entry: &Entry, paused: bool) -> Result<(), Error> {
        let stored = StoredPipeline { paused, ..entry.stored() };
        self.0.context.catalog.put_pipeline(&stored).await?;
        entry.set_stored(stored);
        Ok(())
    }

    /// Whether the entry is still the pipeline's: it may have been deleted while somebody waited for its task.
    fn current(&self, entry: &Arc<Entry>) -> Result<(), Error> {
        let stored = entry.stored();
        let now = self.entry(&stored.tenant, &stored.name)?;
        if Arc::ptr_eq(&now, entry) { Ok(()) } else { Err(Error::NotFound { name: stored.name, nearest: None }) }
    }

    fn entry(&self, tenant: &TenantId, name: &PipelineName) -> Result<Arc<Entry>, Error> {
        let entries = self.entries();
        if let Some(entry) = entries.get(&(tenant.clone(), name.clone())) {
            return Ok(Arc::clone(entry));
        }
        let names = entries.keys().filter(|(of, _)| of == tenant).map(|(_, name)| name.as_str());
        let nearest = nearest(name.as_str(), names).map(str::to_owned);
        Err(Error::NotFound { name: name.clone(), nearest })
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<(TenantId, PipelineName), Arc<Entry>>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Lets it stay stopped: what the catalog names after a restart is not known, so neither may go on. `resume` and
    /// `delete` write the catalog again, and settle it.
    fn stand_still(&self, error: &Error) {
        let reason = Reason { code: error.code().to_owned(), message: error.to_string() };
        self.shared.set(State::Failed, Some(reason));
    }

    fn stored(&self) -> StoredPipeline {
        self.deployed.stored()
    }

    /// The manifest that is deployed.
    fn spec(&self) -> Result<Arc<Spec>, ManifestError> {
        self.deployed.spec()
    }

    fn set_stored(&self, stored: StoredPipeline) {
        self.deployed.set(stored);
    }
}

/// Completes a change even if the caller stops waiting for it: a pipeline that is half changed is
/// neither what it was nor what it is to be.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|panic| Err(Error::Interrupted { reason: panic.to_string() }))
}
