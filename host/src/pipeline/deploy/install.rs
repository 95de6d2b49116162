//! State under a new deployment: what is put together under a number that no pipeline has yet is seen by nobody, so it
//! may fail or be cut off anywhere. It counts from the moment at which the catalog names the number.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::supervisor::EngineContext;
use crate::checkpoint::{CheckpointId, Meter};
use crate::ids::{PipelineId, PipelineName, TenantId, TopicPartition};
use crate::log::{Block, Commit, Head, Position};
use crate::pipeline::Error;
use crate::pipeline::engine::warm_state::WarmState;

/// A deployment that is being put together. Dropping it forgets what it has, unless it was kept.
#[derive(Debug)]
pub(super) struct StagedDeployment {
    context: EngineContext,
    tenant: TenantId,
    pub(super) id: PipelineId,
    /// The epoch of its commits, once it has begun to commit.
    epoch: Option<u64>,
    commits: u64,
    kept: bool,
}

impl StagedDeployment {
    pub(super) fn new(context: &EngineContext, tenant: &TenantId) -> Result<Self, Error> {
        let id = context.catalog.next_pipeline_id()?;
        Ok(Self { context: context.clone(), tenant: tenant.clone(), id, epoch: None, commits: 0, kept: false })
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
        let block = Block::Some { bytes: live.machine.write_whole(sequence), oldest: sequence };
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

    /// The catalog names it: it stays.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for StagedDeployment {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.context.log.forget(&self.tenant, self.id.task())
        {
            // The next start forgets it.
            tracing::warn!(pipeline = %self.id, %error, "state that is not needed could not be forgotten");
        }
    }
}

impl EngineContext {
    /// Where a deployment is, and what it has used.
    pub(super) fn head(&self, tenant: &TenantId, id: PipelineId) -> Result<Head, Error> {
        Ok(self.log.head(tenant, id.task())?)
    }

    /// Forgets what was replaced. If that fails, the next start does it.
    pub(super) fn forget(&self, tenant: &TenantId, id: PipelineId) {
        if let Err(error) = self.log.forget(tenant, id.task()) {
            tracing::warn!(pipeline = %id, %error, "state that is not needed could not be forgotten");
        }
    }

    /// Forgets all that the log has of deployments that the catalog does not name: a crash left them.
    pub(super) fn delete_orphans(&self) -> Result<(), Error> {
        let known: std::collections::BTreeSet<_> =
            self.catalog.pipelines().into_iter().map(|stored| (stored.tenant, stored.id)).collect();
        for (tenant, task) in self.log.tasks()? {
            if !known.contains(&(tenant.clone(), task.pipeline)) {
                tracing::info!(%tenant, %task, "forgetting the state of a deployment that there is not");
                self.log.forget(&tenant, task)?;
            }
        }
        Ok(())
    }
}
