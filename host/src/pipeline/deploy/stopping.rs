//! Stopping what runs a pipeline. When that is answered nothing of it runs any more, and nothing that it did can be
//! committed later.
//!
//! A runner is first asked to end between two micro-batches: then what it has in memory serves whoever goes on. If its
//! micro-batch takes long it is cancelled at its next await (a guest gives its worker back every few milliseconds), which
//! is harmless, as only a commit counts. A commit may be on its way to the log by then, so the log is fenced: it answers when
//! every commit of that runner is written or refused.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Entry, Pipelines};
use crate::error::Coded;
use crate::pipeline::Error;
use crate::pipeline::engine::warm_state::WarmState;
use crate::pipeline::io::shared::Shared;
use crate::pipeline::status::{Reason, State};

/// How long a runner may take to finish its micro-batch when it is stopped. Under load one takes a tenth of that; one that
/// takes longer is done again from the log, which costs about as much as waiting for it.
const FINISH_PATIENCE: Duration = Duration::from_secs(1);

/// What runs a pipeline.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) stop: watch::Sender<bool>,
    /// Keeps the pipeline alive. All that it does is part of this task and ends with it.
    pub(super) supervisor: JoinHandle<Option<Box<WarmState>>>,
    /// What takes checkpoints by the clock.
    pub(super) checkpointer: JoinHandle<()>,
}

impl Pipelines {
    /// Stops what runs a pipeline, and answers what it had in memory, if it ended between two micro-batches. After an
    /// error it has stopped too, but the log did not say what became of its last commit: whoever goes on has to ask again,
    /// as every runner does when it begins.
    pub(super) async fn halt(&self, entry: &Entry, task: &mut Option<Task>) -> Result<Option<Box<WarmState>>, Error> {
        let shown = Shown(&entry.shared);
        let Some(running) = task.as_mut() else {
            if entry.unfenced.load(Ordering::SeqCst) {
                self.fence(entry, &shown).await?;
            }
            return Ok(None);
        };
        shown.waits_for("it finishes its micro-batch");
        running.stop.send_replace(true);
        running.checkpointer.abort();
        let ended = match tokio::time::timeout(FINISH_PATIENCE, &mut running.supervisor).await {
            Ok(ended) => ended,
            Err(_) => {
                shown.waits_for("its micro-batch takes long and is being cancelled; nothing of it is committed");
                running.supervisor.abort();
                (&mut running.supervisor).await
            }
        };
        // It has been told to stop; a checkpoint that it was taking is not needed.
        let _ = (&mut running.checkpointer).await;
        // A runner that was cancelled, or panicked, leaves no warm state.
        let warm = ended.unwrap_or_default();
        *task = None;
        if warm.is_none() {
            self.fence(entry, &shown).await?;
        }
        Ok(warm)
    }

    /// Waits until every commit of what ran is written or refused. If the log does not answer, the next stop asks again.
    async fn fence(&self, entry: &Entry, shown: &Shown<'_>) -> Result<(), Error> {
        shown.waits_for("the log has to answer what it was committing");
        let stored = entry.stored();
        entry.unfenced.store(true, Ordering::SeqCst);
        if let Err(error) = self.0.context.fence(&stored.tenant, stored.id).await {
            let reason = Reason { code: error.code().to_owned(), message: error.to_string() };
            entry.shared.set(State::Failed, Some(reason));
            return Err(error);
        }
        entry.unfenced.store(false, Ordering::SeqCst);
        Ok(())
    }
}

/// Shows what a stop waits for, until it is over.
#[derive(Debug)]
struct Shown<'a>(&'a Shared);

impl Shown<'_> {
    fn waits_for(&self, what: &str) {
        let message = format!("it was told to stop: {what}");
        self.0.set_stopping(Some(Reason { code: "stopping".to_owned(), message }));
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.set_stopping(None);
    }
}
