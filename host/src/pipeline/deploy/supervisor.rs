//! Keeps one pipeline alive: starts it, notices how it ended, and tries again where that may help.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{oneshot, watch};

use super::replays::Turns;
use super::topics::Topics;

use crate::catalog::{Catalog, StoredPipeline};
use crate::checkpoint::Checkpoints;
use crate::environment::Environment;
use crate::error::{Blame, Coded};
use crate::ids::{PipelineId, PluginRef, TenantId};
use crate::log::{Fenced, Log};
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::{Loaded, Plan};
use crate::pipeline::engine::references::References;
use crate::pipeline::engine::thresholds::Thresholds;
use crate::pipeline::engine::warm_state::WarmState;
use crate::pipeline::error::Error;
use crate::pipeline::io::runner::{Ended, Runner};
use crate::pipeline::io::shared::Shared;
use crate::pipeline::spec::Spec;
use crate::pipeline::status::{Reason, State};
use crate::pipeline::trial::{self, first_records};
use crate::plugin::{GuestLoader, Owner};
use crate::state::Room;

/// The first pause before another try.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause before another try.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What pipelines run on.
#[derive(Debug, Clone)]
pub(super) struct EngineContext {
    pub(super) log: Arc<dyn Log>,
    pub(super) plugins: Arc<dyn GuestLoader>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) checkpoints: Checkpoints,
    /// How much memory the state of a pipeline may take, and where the rest goes.
    pub(super) room: Room,
    /// Where the engine goes another way.
    pub(super) thresholds: Thresholds,
    /// Who makes topics, and which are needed.
    pub(super) topics: Topics,
    /// How many read their state back.
    pub(super) replays: Turns,
    /// How many deployments are tried: each may hold tens of megabytes.
    pub(super) trials: Turns,
    /// The clock and the threads.
    pub(super) environment: Arc<dyn Environment>,
}

impl EngineContext {
    /// Loads the plugins of a deployment and plans it. `default_partitions` counts for topics that do not exist yet.
    pub(super) async fn plan(&self, stored: &StoredPipeline, spec: &Spec) -> Result<Arc<Plan>, Error> {
        let references = References::new(spec);
        let loaded = self.load(stored, spec, &references, false).await?;
        let topics = self.log.topics(&stored.tenant).await?;
        let sources = spec.sources.iter().filter_map(|source| topics.get(source));
        let as_many = sources.map(|source| source.config.partitions).max().unwrap_or(1);
        Plan::new(stored.tenant.clone(), spec, loaded, references, |topic| match topics.get(topic) {
            Some(topic) => Some(topic.config.partitions),
            None if spec.needs(topic) => None,
            None if *topic == spec.dead_letters => Some(1),
            None => Some(as_many),
        })?
        .require_keys(|topic| topics.get(topic).is_some_and(|topic| topic.config.cleanup.compacts()))
        .map(|plan| Arc::new(plan.with_room(self.room.clone()).with_thresholds(self.thresholds)))
    }

    /// Loads the plugins of a deployment, one a step, to run it or to try it on samples.
    async fn load(
        &self,
        stored: &StoredPipeline,
        spec: &Spec,
        references: &References,
        is_trial: bool,
    ) -> Result<Vec<Loaded>, Error> {
        let mut loaded = Vec::with_capacity(spec.steps.len());
        for step in &spec.steps {
            let pinned = stored.digests.get(&step.name).copied().or(step.plugin.digest);
            let reference = PluginRef { name: step.plugin.name.clone(), digest: pinned };
            let digest = self.catalog.plugin(&stored.tenant, &reference)?.digest;
            let component = self.catalog.component(&stored.tenant, &digest).await?;
            let (tenant, pipeline) = (stored.tenant.clone(), stored.name.clone());
            let owner = Owner { tenant, pipeline, step: step.name.clone(), is_trial };
            let guest = self.plugins.load(&component, &step.config, owner, references.grants(step)).await;
            let guest = guest.map_err(|source| Error::Plugin { step: step.name.clone(), source })?;
            loaded.push(Loaded { digest, guest });
        }
        Ok(loaded)
    }

    /// Tries a deployment on the first records of its topics, or on made-up ones: refused if results depend on how rows are
    /// divided into calls.
    pub(super) async fn try_samples(&self, stored: &StoredPipeline, spec: &Spec) -> Result<(), Error> {
        let _turn = self.trials.0.acquire().await.map_err(|error| Error::Interrupted { reason: error.to_string() })?;
        let references = References::new(spec);
        let loaded = self.load(stored, spec, &references, true).await?;
        let samples = first_records(&*self.log, &stored.tenant, spec, self.thresholds.sample_rows).await;
        trial::run(spec, references, loaded, &samples, self.environment.now_ms()).await.map(drop)
    }

    /// A plan, with the topics made that it writes.
    async fn plan_with_targets(&self, stored: &StoredPipeline, spec: &Spec) -> Result<Arc<Plan>, Error> {
        loop {
            let plan = self.plan(stored, spec).await?;
            if self.create_targets(&stored.tenant, &plan).await? {
                return Ok(plan);
            }
        }
    }

    /// Waits until every commit that was made for a deployment so far is written or refused.
    pub(super) async fn fence(&self, tenant: &TenantId, id: PipelineId) -> Result<(), Error> {
        Ok(self.log.fence(tenant, id.task()).await.map(drop)?)
    }
}

/// The plan and state to start a pipeline with, where they are in memory already.
#[derive(Debug)]
pub(super) struct Ready {
    /// What is to run.
    pub(super) plan: Arc<Plan>,
    /// What ran before it had in memory.
    pub(super) live: Option<Box<WarmState>>,
    /// Told when it runs.
    pub(super) running: oneshot::Sender<()>,
}

/// Runs a pipeline until it is stopped or cannot go on; if it was stopped, what it has in memory. All of it is part of this
/// future: who drops it has ended the runner.
pub(super) async fn supervise(
    context: EngineContext,
    stored: StoredPipeline,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
    mut ready: Option<Ready>,
) -> Option<Box<WarmState>> {
    let mut backoff = BACKOFF_FIRST;
    loop {
        let commits_before = shared.view().progress.usage.commits;
        let attempt = run(context.clone(), stored.clone(), Arc::clone(&shared), stop.clone(), ready.take());
        // A panic leaves nothing behind that is used: the next try builds all of it anew from the log.
        let reason = match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(Ended::Stopped(live))) => return live,
            Ok(Ok(Ended::Poisoned(reason))) => reason,
            Ok(Err(error)) => {
                let reason = Reason { code: error.code().to_owned(), message: error.to_string() };
                if !error.kind().retry() {
                    log_failure(&stored, &reason, error.blame());
                    shared.set(State::Failed, Some(reason));
                    return None;
                }
                reason
            }
            Err(panic) => {
                let panic = text_of(&*panic);
                let message =
                    format!("the pipeline's task ended in a panic ({panic}): report this as a bug of Millstream");
                let reason = Reason { code: "internal".to_owned(), message };
                log_failure(&stored, &reason, Blame::Host);
                shared.set(State::Failed, Some(reason));
                return None;
            }
        };
        if shared.view().progress.usage.commits > commits_before + 1 {
            backoff = BACKOFF_FIRST;
        }
        tracing::warn!(tenant = %stored.tenant, pipeline = %stored.name, code = reason.code, "{}; next try in {backoff:?}", reason.message);
        shared.set(State::BackingOff, Some(reason));
        tokio::select! {
            // What happens is the same whenever it happens at the same time.
            biased;
            () = tokio::time::sleep(backoff) => {}
            _ = stop.changed() => return None,
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// What a panic reported.
fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it printed nothing")
}

fn log_failure(stored: &StoredPipeline, reason: &Reason, blame: Blame) {
    let (tenant, pipeline, code) = (&stored.tenant, &stored.name, reason.code.as_str());
    match blame {
        Blame::Tenant => tracing::warn!(%tenant, %pipeline, code, "pipeline failed: {}", reason.message),
        _ => tracing::error!(%tenant, %pipeline, code, "pipeline failed: {}", reason.message),
    }
}

async fn run(
    context: EngineContext,
    stored: StoredPipeline,
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
    ready: Option<Ready>,
) -> Result<Ended, Error> {
    let spec: Spec = stored.manifest.parse()?;
    let (plan, live, running) = match ready {
        Some(Ready { plan, live, running }) => (plan, live, Some(running)),
        None => (context.plan_with_targets(&stored, &spec).await?, None, None),
    };
    shared.show_plan(Arc::clone(&plan));
    let task = stored.id.task();
    // First of all, so that what is read back is what there is when nobody else writes.
    let Fenced { epoch, head } = context.log.fence(&stored.tenant, task).await?;
    let live = live.filter(|live| live.sequence == head.sequence);
    let warm = match live.and_then(|live| live.rebind(&plan)) {
        Some(warm) => warm,
        None => context.replay(&plan, stored.id, Carry::default()).await?,
    };
    let (log, seen) = (Arc::clone(&context.log), Arc::clone(&shared));
    let runner = Runner::open(task, epoch, plan, spec.start, log, seen, warm).await?;
    shared.set(State::Running, None);
    if let Some(running) = running {
        // If the caller no longer waits, the answer is dropped.
        let _ = running.send(());
    }
    runner.run(stop, &*context.environment).await
}
