//! Keeps one pipeline alive: starts it, notices how it ended, and tries again where that may help.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::catalog::{Catalog, StoredPipeline};
use crate::checkpoint::Checkpoints;
use crate::error::{Blame, Coded};
use crate::ids::TenantId;
use crate::log::Log;
use crate::pipeline::engine::plan::{Loaded, Plan};
use crate::pipeline::engine::references::References;
use crate::pipeline::engine::thresholds::Thresholds;
use crate::pipeline::engine::warm_state::WarmState;
use crate::pipeline::error::Error;
use crate::pipeline::io::runner::{Ended, Runner};
use crate::pipeline::io::shared::Shared;
use crate::pipeline::spec::Spec;
use crate::pipeline::status::{Reason, State};
use crate::plugin::{Owner, Sandbox};
use crate::state::Room;

/// The first pause before another try.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause before another try.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// What pipelines run on.
#[derive(Debug, Clone)]
pub(super) struct EngineContext {
    pub(super) log: Arc<dyn Log>,
    pub(super) sandbox: Sandbox,
    pub(super) catalog: Catalog,
    pub(super) checkpoints: Checkpoints,
    /// How much memory the state of a pipeline may take, and where the rest goes.
    pub(super) room: Room,
    /// Where the engine goes another way.
    pub(super) thresholds: Thresholds,
}

impl EngineContext {
    /// Loads the plugins of a deployment and plans it. `default_partitions` counts for topics that do not exist yet.
    pub(super) async fn plan(&self, stored: &StoredPipeline, spec: &Spec) -> Result<Arc<Plan>, Error> {
        let references = References::new(spec);
        let mut loaded = Vec::with_capacity(spec.steps.len());
        for step in &spec.steps {
            let pinned = stored.digests.get(&step.name).copied().or(step.plugin.digest);
            let reference = crate::ids::PluginRef { name: step.plugin.name.clone(), digest: pinned };
            let digest = self.catalog.plugin(&stored.tenant, &reference)?.digest;
            let component = self.catalog.component(&stored.tenant, &digest)?;
            let owner = Owner { tenant: stored.tenant.clone(), pipeline: stored.name.clone(), step: step.name.clone() };
            let image = self.sandbox.image(&component, &step.config, owner, references.grants(step)).await;
            let guest = image.map_err(|source| Error::Plugin { step: step.name.clone(), source })?;
            loaded.push(Loaded { digest, guest });
        }
        let topics = self.log.topics(&stored.tenant)?;
        let sources = spec.sources.iter().filter_map(|source| topics.get(source));
        let as_many = sources.map(|source| source.config.partitions).max().unwrap_or(1);
        Plan::new(stored.tenant.clone(), spec, loaded, references, |topic| match topics.get(topic) {
            Some(topic) => Some(topic.config.partitions),
            None if spec.sources.contains(topic) || spec.tables.values().any(|table| table == topic) => None,
            None if *topic == spec.dead_letters => Some(1),
            None => Some(as_many),
        })?
        .require_keys(|topic| topics.get(topic).is_some_and(|topic| topic.config.cleanup.compacts()))
        .map(|plan| Arc::new(plan.with_room(self.room.clone()).with_thresholds(self.thresholds)))
    }

    /// Makes the topics that a plan writes and that do not exist.
    pub(super) fn create_targets(&self, tenant: &TenantId, plan: &Plan) -> Result<(), Error> {
        let topics = self.log.topics(tenant)?;
        for topic in plan.topics.iter().filter(|topic| !topics.contains_key(&topic.name)) {
            self.log.create_topic(tenant, &topic.name, crate::log::TopicConfig::with_partitions(topic.partitions))?;
        }
        Ok(())
    }
}

/// What a pipeline is to be started with, where that is at hand.
#[derive(Debug)]
pub(super) struct Ready {
    /// What is to run.
    pub(super) plan: Arc<Plan>,
    /// What ran before it had in memory.
    pub(super) live: Option<Box<WarmState>>,
    /// Told when it runs.
    pub(super) running: oneshot::Sender<()>,
}

/// Runs a pipeline until it is stopped or cannot go on; if it was stopped, what it has in memory.
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
        // A task of its own, so that a panic ends this try and not the supervisor.
        let attempt =
            tokio::spawn(run(context.clone(), stored.clone(), Arc::clone(&shared), stop.clone(), ready.take()));
        let reason = match attempt.await {
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
                let message =
                    format!("the pipeline's task ended in a panic ({panic}): report this as a fault of the platform");
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
            () = tokio::time::sleep(backoff) => {}
            _ = stop.changed() => return None,
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
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
        None => (context.plan(&stored, &spec).await?, None, None),
    };
    context.create_targets(&stored.tenant, &plan)?;
    shared.show_plan(Arc::clone(&plan));
    let (log, seen, live) = (Arc::clone(&context.log), Arc::clone(&shared), live.map(|live| *live));
    let runner = Runner::open(stored.id.task(), plan, spec.start, log, seen, live).await?;
    if stored.paused {
        return Ok(Ended::Stopped(None));
    }
    shared.set(State::Running, None);
    if let Some(running) = running {
        // Who no longer waits is not told.
        let _ = running.send(());
    }
    runner.run(stop).await
}
