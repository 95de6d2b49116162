//! Checkpoints of pipelines that run: by hand, by the clock, and what there is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::supervisor::EngineContext;
use super::{Done, Operation, OperationKind, Pipelines};
use crate::catalog::StoredPipeline;
use crate::checkpoint::{CheckpointId, Deployment, Kind, Listed, Manifest, Meter, Order};
use crate::error::Coded;
use crate::ids::{PipelineName, TenantId};
use crate::pipeline::Error;
use crate::pipeline::io::shared::Shared;
use crate::pipeline::spec::CheckpointSpec;
use crate::pipeline::status::{Checkpointed, Reason};

impl StoredPipeline {
    /// The order to take a checkpoint of it.
    pub(super) fn order(&self, kind: Kind, note: Option<String>, now_ms: i64) -> Order {
        let deployment = Deployment {
            tenant: self.tenant.clone(),
            pipeline: self.name.clone(),
            id: self.id,
            manifest: self.manifest.clone(),
            digests: self.digests.clone(),
        };
        Order { deployment, kind, note, now_ms }
    }
}

impl EngineContext {
    /// Takes a checkpoint of what a deployment has committed.
    async fn copy(
        &self,
        stored: &StoredPipeline,
        kind: Kind,
        note: Option<String>,
        meter: &Arc<Meter>,
    ) -> Result<Manifest, Error> {
        Ok(self.checkpoints.take(&self.log, stored.order(kind, note, self.environment.now_ms()), meter).await?)
    }

    /// Removes checkpoints of a pipeline that need not be kept: never one that is the way back of an upgrade.
    pub(super) async fn retain(&self, tenant: &TenantId, name: &PipelineName, keep: u32) -> Result<(), Error> {
        let catalog = Arc::clone(&self.catalog);
        let ways_back = move || -> BTreeSet<CheckpointId> {
            let named = catalog.pipelines().into_iter().filter_map(|stored| stored.upgraded_from);
            named.filter_map(|id| id.parse().ok()).collect()
        };
        Ok(self.checkpoints.retain(tenant, name, keep as usize, ways_back).await?)
    }
}

impl Pipelines {
    /// Takes a checkpoint that is kept until it is deleted.
    pub fn savepoint(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        note: Option<String>,
    ) -> Result<Arc<Operation>, Error> {
        self.entry(tenant, name)?;
        let (pipelines, of, asked) = (self.clone(), tenant.clone(), name.clone());
        Ok(self.0.operations.begin(tenant, name, OperationKind::Savepoint, async move |meter| {
            let _reserved = pipelines.0.names.reserve(&of, &asked).await;
            let entry = pipelines.entry(&of, &asked)?;
            let stored = entry.stored();
            let taken = pipelines.0.context.copy(&stored, Kind::Savepoint, note, &meter).await?;
            entry.shared.checkpointed(Ok(Checkpointed::from(&taken)));
            Ok(Done { pipeline: stored.name, checkpoint: Some(taken.id), undo: None, pause_ms: None, verified: None })
        }))
    }

    /// Reads all of a checkpoint, to see whether it is what was written. The pipeline need not be there any more.
    pub fn verify(&self, tenant: &TenantId, name: &PipelineName, id: CheckpointId) -> Arc<Operation> {
        let (pipelines, of, pipeline) = (self.clone(), tenant.clone(), name.clone());
        self.0.operations.begin(tenant, name, OperationKind::Verify, async move |meter| {
            let verified = pipelines.0.context.checkpoints.verify(&of, &pipeline, id, &meter).await?;
            Ok(Done { pipeline, checkpoint: Some(id), undo: None, pause_ms: None, verified: Some(verified) })
        })
    }

    /// The checkpoints under the name of a pipeline, oldest first; also of one that is deleted.
    pub async fn checkpoints(&self, tenant: &TenantId, name: &PipelineName) -> Result<Vec<Listed>, Error> {
        let listed = self.0.context.checkpoints.list(tenant, name).await?;
        if listed.is_empty() {
            self.entry(tenant, name)?;
        }
        Ok(listed)
    }

    /// One checkpoint.
    pub async fn checkpoint(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        id: CheckpointId,
    ) -> Result<Manifest, Error> {
        Ok(self.0.context.checkpoints.get(tenant, name, id).await?)
    }

    /// Removes a checkpoint.
    pub async fn delete_checkpoint(
        &self,
        tenant: &TenantId,
        name: &PipelineName,
        id: CheckpointId,
    ) -> Result<(), Error> {
        Ok(self.0.context.checkpoints.delete(tenant, name, id).await?)
    }

    /// An operation.
    pub fn operation(&self, tenant: &TenantId, id: u64) -> Result<Arc<Operation>, Error> {
        self.0.operations.get(tenant, id)
    }

    /// The operations of a tenant, oldest first.
    pub fn operations(&self, tenant: &TenantId) -> Vec<Arc<Operation>> {
        self.0.operations.list(tenant)
    }
}

/// Takes checkpoints by the clock, of what has changed, until told to stop.
pub(super) async fn run(
    context: EngineContext,
    stored: StoredPipeline,
    spec: CheckpointSpec,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let Some(every_ms) = spec.every_ms else { return };
    let every = Duration::from_millis(every_ms.unsigned_abs());
    let mut seen = None;
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep(every) => {}
            _ = stop.changed() => return,
        }
        // What has not committed since costs nothing at all.
        let commits = shared.view().progress.usage.commits;
        if seen == Some(commits) {
            continue;
        }
        let copied = async {
            let taken = context.copy(&stored, Kind::Interval, None, &Arc::default()).await?;
            context.retain(&stored.tenant, &stored.name, spec.keep).await?;
            Ok::<_, Error>(taken)
        };
        let copied = tokio::select! {
            biased;
            copied = copied => copied,
            _ = stop.changed() => return,
        };
        match copied {
            Ok(taken) => {
                seen = Some(commits);
                shared.checkpointed(Ok(Checkpointed::from(&taken)));
            }
            Err(error) => {
                tracing::warn!(tenant = %stored.tenant, pipeline = %stored.name, %error, "no checkpoint was taken; next try in {every:?}");
                shared.checkpointed(Err(Reason { code: error.code().to_owned(), message: error.to_string() }));
            }
        }
    }
}
