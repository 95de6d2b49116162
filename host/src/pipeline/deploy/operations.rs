//! Work that takes long: what was asked for, how far it is, and what became of it.
//!
//! Operations are remembered by the server that runs them, and not over its end: what they do is whole or not at all, so
//! after a restart the pipeline itself says whether it was done.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::checkpoint::{CheckpointId, Meter, Verified};
use crate::environment::Environment;
use crate::error::{Blame, Coded};
use crate::ids::{PipelineName, TenantId};
use crate::pipeline::Error;

/// Finished operations that are remembered; the oldest are forgotten first.
const FINISHED_MAX: usize = 1000;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// Takes a checkpoint.
    Savepoint,
    /// Reads all of a checkpoint to see whether it is whole.
    Verify,
    /// Puts a pipeline back to a checkpoint.
    Restore,
    /// Makes a new pipeline from a checkpoint.
    Fork,
    /// Lets a pipeline begin anew at an earlier place.
    Rewind,
    /// Puts a pipeline back to before its last upgrade.
    Rollback,
}

/// The result of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The pipeline that was changed, made or copied.
    pub pipeline: PipelineName,
    /// The checkpoint that was taken or restored.
    pub checkpoint: Option<CheckpointId>,
    /// The checkpoint that undoes it.
    pub undo: Option<CheckpointId>,
    /// How long the pipeline stood still, in milliseconds.
    pub pause_ms: Option<f64>,
    /// What was found out about a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
}

/// Work that takes long.
#[derive(Debug)]
pub struct Operation {
    /// Its number, never given twice by a server.
    pub id: u64,
    /// Whose it is.
    pub tenant: TenantId,
    /// The pipeline that it was asked for.
    pub pipeline: PipelineName,
    /// What it does.
    pub kind: OperationKind,
    /// When it began, in milliseconds since the Unix epoch.
    pub started_at_ms: i64,
    /// How much has been copied.
    pub meter: Arc<Meter>,
    outcome: watch::Sender<Option<Outcome>>,
}

/// How an operation ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What it came to.
    pub result: Result<Done, Arc<Error>>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

impl Operation {
    /// How it ended, if it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome.borrow().clone()
    }

    /// Waits until it ends, but not longer than this.
    pub async fn ended(&self, patience: Duration) {
        let mut outcome = self.outcome.subscribe();
        // The sender is in `self`. What it answers holds a lock, which must not outlive this line.
        drop(tokio::time::timeout(patience, outcome.wait_for(Option::is_some)).await);
    }
}

/// The operations of a server.
#[derive(Debug)]
pub(super) struct Operations {
    environment: Arc<dyn Environment>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    next: u64,
    all: BTreeMap<u64, Arc<Operation>>,
}

impl Operations {
    pub(super) fn new(environment: Arc<dyn Environment>) -> Self {
        // A server that is started later goes on with greater numbers, so that an old one is not taken for another.
        let next = u64::try_from(environment.now_ms()).unwrap_or_default();
        Self { environment, known: Mutex::new(Known { next, all: BTreeMap::new() }) }
    }

    /// Begins an operation: `work` gets its meter.
    pub(super) fn begin<F>(
        &self,
        tenant: &TenantId,
        pipeline: &PipelineName,
        kind: OperationKind,
        work: impl FnOnce(Arc<Meter>) -> F,
    ) -> Arc<Operation>
    where
        F: Future<Output = Result<Done, Error>> + Send + 'static,
    {
        let mut known = self.lock();
        let operation = Arc::new(Operation {
            id: known.next,
            tenant: tenant.clone(),
            pipeline: pipeline.clone(),
            kind,
            started_at_ms: self.environment.now_ms(),
            meter: Arc::default(),
            outcome: watch::Sender::new(None),
        });
        known.next += 1;
        known.all.insert(operation.id, Arc::clone(&operation));
        let finished: Vec<u64> = known
            .all
            .values()
            .filter(|operation| operation.outcome().is_some())
            .map(|operation| operation.id)
            .collect();
        for id in &finished[..finished.len().saturating_sub(FINISHED_MAX)] {
            known.all.remove(id);
        }
        drop(known);
        let work = tokio::spawn(work(Arc::clone(&operation.meter)));
        let (watched, environment) = (Arc::clone(&operation), Arc::clone(&self.environment));
        tokio::spawn(async move {
            let result = work.await.unwrap_or_else(|panic| Err(Error::Interrupted { reason: panic.to_string() }));
            if let Err(error) = &result {
                let (operation, pipeline) = (watched.id, &watched.pipeline);
                match error.blame() {
                    Blame::Tenant => tracing::debug!(operation, %pipeline, %error, "an operation failed"),
                    Blame::Operator | Blame::Host => {
                        tracing::error!(operation, %pipeline, %error, "an operation failed")
                    }
                }
            }
            let at_ms = environment.now_ms();
            watched.outcome.send_replace(Some(Outcome { result: result.map_err(Arc::new), at_ms }));
        });
        operation
    }

    pub(super) fn get(&self, tenant: &TenantId, id: u64) -> Result<Arc<Operation>, Error> {
        let found = self.lock().all.get(&id).filter(|operation| operation.tenant == *tenant).cloned();
        found.ok_or(Error::OperationNotFound { id })
    }

    pub(super) fn list(&self, tenant: &TenantId) -> Vec<Arc<Operation>> {
        self.lock().all.values().filter(|operation| operation.tenant == *tenant).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
