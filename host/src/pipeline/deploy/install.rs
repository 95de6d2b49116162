//! State under a new deployment: what is put together under a number that no pipeline has yet is seen by nobody, so it
//! may fail or be cut off anywhere. It counts from the moment at which the catalog names the number.
//!
//! What is done is written down before (`catalog::Intent`), so that the next start knows what a crash left: only what an intent
//! says to be superfluous is forgotten.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;

use super::supervisor::EngineContext;
use crate::catalog::{Intent, Purpose, StoredPipeline};
use crate::checkpoint::{CheckpointId, Meter};
use crate::environment::run_blocking;
use crate::ids::{PipelineId, PipelineName, TenantId, TopicPartition};
use crate::log::{Block, Commit, Head, Position};
use crate::pipeline::Error;
use crate::pipeline::engine::warm_state::WarmState;

/// A deployment that is being put together. Dropping it forgets what it has, unless the catalog may name it.
#[derive(Debug)]
pub(super) struct StagedDeployment {
    context: EngineContext,
    tenant: TenantId,
    /// The pipeline that is to run it.
    pipeline: PipelineName,
    pub(super) id: PipelineId,
    /// The epoch of its commits, once it has begun to commit.
    epoch: Option<u64>,
    commits: u64,
    /// Whether the catalog names it, or may do so after a restart.
    named: bool,
}

impl StagedDeployment {
    /// One without state, for that pipeline.
    pub(super) async fn new(
        context: &EngineContext,
        tenant: &TenantId,
        pipeline: &PipelineName,
    ) -> Result<Self, Error> {
        let id = context.catalog.next_pipeline_id().await?;
        let intent = Intent { id, pipeline: pipeline.clone(), purpose: Purpose::Stage };
        context.catalog.put_intent(tenant, &intent).await?;
        let (context, tenant, pipeline) = (context.clone(), tenant.clone(), pipeline.clone());
        Ok(Self { context, tenant, pipeline, id, epoch: None, commits: 0, named: false })
    }

    /// Takes the state of a checkpoint, verified.
    pub(super) async fn fill(
        &mut self,
        pipeline: &PipelineName,
        checkpoint: CheckpointId,
        meter: &Arc<Meter>,
    ) -> Result<(), Error> {
        let mut reading = self.context.checkpoints.read(&self.tenant, pipeline, checkpoint).await?;
        while let Some(blocks) = reading.next().await? {
            let bytes = blocks.iter().map(|(_, block)| block.len() as u64).sum();
            // They are queued in this order, and written as few groups.
            let epoch = self.epoch().await?;
            let commits = blocks.into_iter().map(|(_, bytes)| {
                let block = Block::Some { bytes, oldest: 0 };
                self.commit(epoch, block, Vec::new(), Bytes::new())
            });
            try_join_all(commits.collect::<Vec<_>>()).await?;
            meter.add(bytes);
        }
        Ok(())
    }

    /// Takes the state of a machine, with its place and counters, as one commit.
    pub(super) async fn take(&mut self, live: &mut WarmState) -> Result<(), Error> {
        let sequence = self.commits + 1;
        let block = Block::Some { bytes: live.machine.write_whole(sequence)?, oldest: sequence };
        let usage = live.machine.usage_bytes();
        let positions = live.positions.iter().map(|(at, &position)| (at.clone(), position)).collect();
        let epoch = self.epoch().await?;
        self.commit(epoch, block, positions, usage).await?;
        live.sequence = sequence;
        Ok(())
    }

    /// Says where it is in its inputs and what it has used. Answers the number of this commit.
    pub(super) async fn place(
        &mut self,
        positions: Vec<(TopicPartition, Position)>,
        usage: Bytes,
    ) -> Result<u64, Error> {
        let epoch = self.epoch().await?;
        self.commit(epoch, Block::None, positions, usage).await?;
        Ok(self.commits)
    }

    /// The epoch under which it commits, until whoever runs it fences that.
    async fn epoch(&mut self) -> Result<u64, Error> {
        if let Some(epoch) = self.epoch {
            return Ok(epoch);
        }
        let epoch = self.context.log.fence(&self.tenant, self.id.task()).await?.epoch;
        self.epoch = Some(epoch);
        Ok(epoch)
    }

    fn commit(
        &mut self,
        epoch: u64,
        block: Block,
        positions: Vec<(TopicPartition, Position)>,
        usage: Bytes,
    ) -> crate::log::Pending<crate::log::Committed> {
        self.commits += 1;
        let (task, sequence) = (self.id.task(), self.commits);
        let commit = Commit { task, epoch, sequence, positions, outputs: Vec::new(), block, usage };
        self.context.log.commit(&self.tenant, commit)
    }

    /// Lets the catalog name it, in place of a deployment if there is one. After an error the catalog names what it named
    /// before, unless the error [is unsettled](Error::is_unsettled).
    pub(super) async fn switch(&mut self, stored: &StoredPipeline, replaces: Option<PipelineId>) -> Result<(), Error> {
        let (id, pipeline) = (self.id, self.pipeline.clone());
        let purpose = Purpose::Switch { replaces };
        self.context.catalog.put_intent(&self.tenant, &Intent { id, pipeline, purpose }).await?;
        // Until the catalog answers it may name it, also if nobody waits for that any more.
        self.named = true;
        let put = self.context.catalog.put_pipeline(stored).await.map_err(Error::from);
        self.named = match &put {
            Ok(()) => true,
            Err(error) => error.is_unsettled(),
        };
        put
    }

    /// Forgets what it took the place of. If that fails, the next start does it.
    pub(super) async fn settle(self, replaced: Option<PipelineId>) {
        if let Some(replaced) = replaced
            && let Err(error) = self.context.forget_commits(&self.tenant, replaced).await
        {
            warn_of_left(replaced, &error);
            return;
        }
        self.context.done(&self.tenant, self.id).await;
    }
}

impl Drop for StagedDeployment {
    fn drop(&mut self) {
        if self.named {
            return;
        }
        // At once, so that nothing is left when whoever drops it answers. The intent may go later, or at the next start.
        match self.context.log.forget(&self.tenant, self.id.task()) {
            Err(error) => warn_of_left(self.id, &error.into()),
            Ok(()) => {
                if let Ok(runtime) = Handle::try_current() {
                    let (context, tenant, id) = (self.context.clone(), self.tenant.clone(), self.id);
                    runtime.spawn(async move { context.done(&tenant, id).await });
                }
            }
        }
    }
}

fn warn_of_left(id: PipelineId, error: &Error) {
    tracing::warn!(pipeline = %id, %error, "state that is not needed could not be forgotten; the next start does it");
}

impl EngineContext {
    /// Where a deployment is, and what it has used.
    pub(super) fn head(&self, tenant: &TenantId, id: PipelineId) -> Result<Head, Error> {
        Ok(self.log.head(tenant, id.task())?)
    }

    /// Forgets a deployment of which an intent says that it is superfluous, and then the intent. If that fails, the next
    /// start does it.
    pub(super) async fn forget(&self, tenant: &TenantId, id: PipelineId) {
        match self.forget_commits(tenant, id).await {
            Ok(()) => self.done(tenant, id).await,
            Err(error) => warn_of_left(id, &error),
        }
    }

    /// Forgets what a deployment has committed, on a thread that may wait for the disk.
    pub(super) async fn forget_commits(&self, tenant: &TenantId, id: PipelineId) -> Result<(), Error> {
        let (log, tenant) = (Arc::clone(&self.log), tenant.clone());
        let forgotten = run_blocking(&*self.environment, move || log.forget(&tenant, id.task())).await;
        Ok(forgotten.map_err(|panic| Error::Interrupted { reason: panic.to_string() })??)
    }

    /// Calls off a deletion that did not come to its end: the pipeline goes on.
    pub(super) async fn call_off_deletion(&self, tenant: &TenantId, id: PipelineId) {
        if self.intended(tenant, id).is_some_and(|intent| intent.purpose == Purpose::Delete) {
            self.done(tenant, id).await;
        }
    }

    /// Forgets what a deployment took the place of, if that is still to be done.
    pub(super) async fn carry_out_switch(&self, tenant: &TenantId, id: PipelineId) -> Result<(), Error> {
        if let Some(Intent { purpose: Purpose::Switch { replaces: Some(replaced) }, .. }) = self.intended(tenant, id) {
            self.forget_commits(tenant, replaced).await?;
        }
        Ok(())
    }

    fn intended(&self, tenant: &TenantId, id: PipelineId) -> Option<Intent> {
        let intents = self.catalog.intents().into_iter();
        intents.filter(|(of, intent)| of == tenant && intent.id == id).map(|(_, intent)| intent).next()
    }

    /// What was intended with a deployment is done. If that cannot be written down, the next start finds that there is
    /// nothing to do.
    pub(super) async fn done(&self, tenant: &TenantId, id: PipelineId) {
        if let Err(error) = self.catalog.remove_intent(tenant, id).await {
            tracing::warn!(pipeline = %id, %error, "an intent that is carried out is left");
        }
    }
}

#[cfg(test)]
mod tests;
