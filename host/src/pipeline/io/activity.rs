//! What a runner is doing, to be looked at from outside at any time: a commit may be long in coming.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

#[cfg(feature = "server")]
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::work::Meter;
#[cfg(feature = "server")]
use crate::pipeline::status::Activity;
use crate::pipeline::status::Doing;

/// What a runner is doing.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Doings {
    doing: AtomicU8,
    since_ms: AtomicI64,
    /// What the engine counts of the micro-batch that is at work.
    pub(in crate::pipeline) meter: Arc<Meter>,
}

const ALL: [Doing; 4] = [Doing::Waiting, Doing::Taking, Doing::Applying, Doing::Committing];

impl Doings {
    /// Says what is done from now on.
    pub(in crate::pipeline) fn begin(&self, doing: Doing, now_ms: i64) {
        let number = ALL.iter().position(|of| *of == doing).unwrap_or_default();
        self.doing.store(number as u8, Ordering::Relaxed);
        self.since_ms.store(now_ms, Ordering::Relaxed);
    }

    /// What is done now.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn now(&self, plan: &Plan) -> Activity {
        let doing = ALL[usize::from(self.doing.load(Ordering::Relaxed))];
        let (step, calls) = self.meter.seen();
        let applying = doing == Doing::Applying;
        Activity {
            doing,
            since_ms: self.since_ms.load(Ordering::Relaxed),
            step: plan.steps().nth(step).filter(|_| applying).map(|step| step.name.clone()),
            calls: if applying { calls } else { 0 },
        }
    }
}
