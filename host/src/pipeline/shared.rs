//! What a running pipeline shows to the outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::plan::Plan;
use super::runner::Progress;
#[cfg(feature = "server")]
use super::status::Checkpointed;
use super::status::{Reason, State};

/// State and progress of one pipeline, written by its task and read by whoever asks.
#[derive(Debug)]
pub(super) struct Shared(Mutex<View>);

/// What is shown.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) reason: Option<Reason>,
    pub(super) progress: Progress,
    /// What runs, for what its guests measure.
    pub(super) plan: Option<Arc<Plan>>,
    /// The last checkpoint.
    #[cfg(feature = "server")]
    pub(super) checkpoint: Option<Checkpointed>,
    /// Why the last try to take one failed.
    pub(super) checkpoint_failure: Option<Reason>,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self(Mutex::new(View {
            state,
            reason: None,
            progress: Progress::default(),
            plan: None,
            #[cfg(feature = "server")]
            checkpoint: None,
            checkpoint_failure: None,
        }))
    }

    pub(super) fn set(&self, state: State, reason: Option<Reason>) {
        let mut view = self.lock();
        view.state = state;
        view.reason = reason;
    }

    /// Shows what became of a checkpoint.
    #[cfg(feature = "server")]
    pub(super) fn checkpointed(&self, outcome: Result<Checkpointed, Reason>) {
        let mut view = self.lock();
        match outcome {
            Ok(taken) => (view.checkpoint, view.checkpoint_failure) = (Some(taken), None),
            Err(reason) => view.checkpoint_failure = Some(reason),
        }
    }

    pub(super) fn show_plan(&self, plan: Arc<Plan>) {
        self.lock().plan = Some(plan);
    }

    pub(super) fn publish(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.lock().progress);
    }

    pub(super) fn view(&self) -> View {
        self.lock().clone()
    }

    /// A panic elsewhere leaves numbers that are whole, if old.
    fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
