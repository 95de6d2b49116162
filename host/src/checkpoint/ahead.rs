//! A checkpoint of the moment at which a pipeline stands still, most of which is written before and the rest after it.
//!
//! While the pipeline runs, what it has committed so far is copied: a whole checkpoint. When it stands still, the rest
//! begins to be read from a snapshot of the log, and from then on the pipeline may go on as something else: what that
//! commits, or the log forgets, is not seen. So nobody waits for the store while a pipeline stands still. Until the rest
//! is written and its manifest names it, the checkpoint of before is the way back: it is one of a few commits earlier.
//!
//! The pipeline's checkpoints are held meanwhile, so that nobody removes what is to be built upon.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::Error;
use super::id::CheckpointId;
use super::keeper::{Checkpoints, Turn};
use super::manifest::Manifest;
use super::take::{Copying, Meter, Order, Wanted};
use crate::log::Log;

/// A checkpoint that was taken ahead, and what becomes of it.
#[derive(Debug)]
pub struct Ahead {
    turn: Turn,
    log: Arc<dyn Log>,
    order: Order,
    meter: Arc<Meter>,
    taken: Manifest,
    /// The copy of what was committed since, where there is any.
    rest: Option<Copying>,
    /// What was taken ahead is not needed any more.
    superseded: bool,
}

impl Checkpoints {
    /// Takes a checkpoint of what is committed now, to be followed by one of when the pipeline stands still.
    pub async fn take_ahead(&self, log: &Arc<dyn Log>, order: Order, meter: &Arc<Meter>) -> Result<Ahead, Error> {
        let turn = self.turn(&order.deployment.tenant, &order.deployment.pipeline).await;
        let taken = turn.take(log, order.clone(), meter, &Wanted::default()).await?;
        let (log, meter) = (Arc::clone(log), Arc::clone(meter));
        Ok(Ahead { turn, log, order, meter, taken, rest: None, superseded: false })
    }
}

impl Ahead {
    /// The checkpoint that is there.
    pub fn id(&self) -> CheckpointId {
        self.taken.id
    }

    /// To be called while nobody commits: the checkpoint is to be of this moment, whatever comes after the answer. Waits
    /// for the log alone.
    pub async fn stand_still(&mut self, now_ms: i64) -> Result<(), Error> {
        self.order.now_ms = now_ms;
        let deployment = &self.order.deployment;
        let head = self.log.head(&deployment.tenant, deployment.id.task())?;
        if head.sequence == self.taken.id.commit {
            return Ok(());
        }
        let (begun, begins) = oneshot::channel();
        let (last, meter) = (self.taken.chunks.last(), &self.meter);
        self.rest = Some(self.turn.copy(&self.log, deployment, last, meter, Some(begun)));
        // It says nothing: it is dropped when the snapshot is taken.
        let _ = begins.await;
        Ok(())
    }

    /// Writes what is left of the checkpoint. After an error, what was taken ahead is still there.
    pub async fn finish(&mut self) -> Result<CheckpointId, Error> {
        if let Some(rest) = self.rest.take() {
            let (head, written) = self.turn.copied(rest).await?;
            let ids = self.turn.ids().await?;
            let whole = self.turn.write(&ids, self.order.clone(), head, &self.taken.chunks, &written).await?;
            self.superseded = true;
            return Ok(whole.id);
        }
        Ok(self.taken.id)
    }

    /// Lets go of what was taken ahead, if a finished one has taken its place.
    pub async fn keep(self) {
        if self.superseded {
            self.remove().await;
        }
    }

    /// Removes all of it: the change that it would have undone did not happen.
    pub async fn abandon(mut self) {
        if let Some(rest) = self.rest.take() {
            // Chunks that it writes are nobody's, and go with what was taken ahead.
            drop(self.turn.copied(rest).await);
        }
        self.remove().await;
    }

    async fn remove(self) {
        let id = self.taken.id;
        if let Err(error) = self.turn.remove(&[id]).await {
            tracing::warn!(checkpoint = %id, %error, "a checkpoint that is not needed is left");
        }
    }
}

#[cfg(test)]
mod tests;
