//! Reading state back from the log: on threads that may wait for the disk, and not more of them at once than there are
//! cores, as one replay keeps a core busy and holds a pipeline's state in memory.

use std::num::NonZero;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::supervisor::EngineContext;
use crate::environment::run_blocking;
use crate::ids::PipelineId;
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::WarmState;
use crate::pipeline::io::runner::Runner;

/// How many of a kind of work go on at once; others wait.
#[derive(Debug, Clone)]
pub(super) struct Turns(pub(super) Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self(Arc::new(Semaphore::new(cores)))
    }
}

impl EngineContext {
    /// What the commits of a deployment amount to, under a plan.
    pub(super) async fn replay(&self, plan: &Arc<Plan>, id: PipelineId, carry: Carry) -> Result<WarmState, Error> {
        let interrupted = |error: &dyn std::fmt::Display| Error::Interrupted { reason: error.to_string() };
        let permit = Arc::clone(&self.replays.0).acquire_owned().await.map_err(|error| interrupted(&error))?;
        let (plan, log) = (Arc::clone(plan), Arc::clone(&self.log));
        let read = run_blocking(&*self.environment, move || {
            // It is held as long as the thread works, also if nobody waits for it any more.
            let _permit = permit;
            Runner::replay(id.task(), &plan, carry, &*log)
        });
        read.await.unwrap_or_else(|panic| Err(interrupted(&panic)))
    }
}
