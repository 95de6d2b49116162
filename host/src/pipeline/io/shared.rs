//! What a running pipeline shows to the outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::activity::Doings;
use super::runner::Progress;
use crate::pipeline::engine::plan::Plan;
#[cfg(feature = "server")]
use crate::pipeline::status::Checkpointed;
use crate::pipeline::status::{Reason, State};

/// State and progress of one pipeline, written by its task and read by whoever asks.
#[derive(Debug)]
pub(in crate::pipeline) struct Shared {
    view: Mutex<View>,
    /// What the runner is doing.
    pub(in crate::pipeline) doings: Doings,
}

/// What is shown.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct View {
    pub(in crate::pipeline) state: State,
    pub(in crate::pipeline) reason: Option<Reason>,
    /// What a stop waits for, while there is one that is not over. Its state is what it was until then.
    pub(in crate::pipeline) stopping: Option<Reason>,
    pub(in crate::pipeline) progress: Progress,
    /// What runs, for what its guests measure.
    pub(in crate::pipeline) plan: Option<Arc<Plan>>,
    /// The last checkpoint.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) checkpoint: Option<Checkpointed>,
    /// Why the last try to take one failed.
    pub(in crate::pipeline) checkpoint_failure: Option<Reason>,
}

impl Shared {
    pub(in crate::pipeline) fn new(state: State) -> Self {
        let view = Mutex::new(View {
            state,
            reason: None,
            stopping: None,
            progress: Progress::default(),
            plan: None,
            #[cfg(feature = "server")]
            checkpoint: None,
            checkpoint_failure: None,
        });
        Self { view, doings: Doings::default() }
    }

    pub(in crate::pipeline) fn set(&self, state: State, reason: Option<Reason>) {
        let mut view = self.lock();
        view.state = state;
        view.reason = reason;
    }

    /// Shows what a stop waits for, or that none does any more.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn set_stopping(&self, reason: Option<Reason>) {
        self.lock().stopping = reason;
    }

    /// Shows what became of a checkpoint.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn checkpointed(&self, outcome: Result<Checkpointed, Reason>) {
        let mut view = self.lock();
        match outcome {
            Ok(taken) => (view.checkpoint, view.checkpoint_failure) = (Some(taken), None),
            Err(reason) => view.checkpoint_failure = Some(reason),
        }
    }

    pub(in crate::pipeline) fn show_plan(&self, plan: Arc<Plan>) {
        self.lock().plan = Some(plan);
    }

    /// Shows no plan: what is deployed is not loaded yet, or not at all.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn hide_plan(&self) {
        self.lock().plan = None;
    }

    pub(in crate::pipeline) fn publish(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock().progress);
    }

    pub(in crate::pipeline) fn view(&self) -> View {
        self.lock().clone()
    }

    /// A panic elsewhere leaves numbers that are whole, if old.
    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
