//! Going on under another plan with what a machine has in memory, so that another version takes over without reading the
//! state back. What is in memory between two micro-batches is what the log has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::carry::Carry;
use super::machine::Machine;
#[cfg(feature = "server")]
use super::plan::Keyed;
use super::plan::Plan;
use super::step_state::StepState;
use crate::ids::{Digest, StepName, TopicPartition};
use crate::log::Position;
use crate::pipeline::error::Error;
use crate::state::Now;
use crate::time::Windowing;

/// Most bytes on disk, of steps that do not migrate, with which a pipeline can be migrated: as many as a commit may have.
const WHOLE_ON_DISK_MAX: u64 = 1 << 30;

/// What a runner has when it is stopped.
#[derive(Debug)]
pub(in crate::pipeline) struct WarmState {
    pub(in crate::pipeline) machine: Machine,
    /// For each input, the next record to read.
    pub(in crate::pipeline) positions: BTreeMap<TopicPartition, Position>,
    /// The number of the last commit.
    pub(in crate::pipeline) sequence: u64,
}

impl Plan {
    /// Whether state of one plan is state of the other as it is in memory: the same inputs, event time known in the same
    /// way, the same steps with the same kinds of state, in the same order.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn holds_the_same(&self, other: &Self) -> bool {
        let same_step = |(one, other): (&Keyed, &Keyed)| {
            let same_state = match (one, other) {
                (Keyed::Fold(one), Keyed::Fold(other)) => one.windowing == other.windowing,
                (Keyed::Process(_), Keyed::Process(_)) => true,
                _ => false,
            };
            one.step().name == other.step().name && same_state
        };
        self.inputs == other.inputs
            && self.feedback.map(|feedback| feedback.source) == other.feedback.map(|feedback| feedback.source)
            && self.tables == other.tables
            && self.watermark == other.watermark
            && self.keyed().count() == other.keyed().count()
            && self.keyed().zip(other.keyed()).all(same_step)
    }
}

impl WarmState {
    /// The same under another plan, if that holds the same.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn rebind(self, plan: &Arc<Plan>) -> Option<Self> {
        let before = Arc::clone(&self.machine.plan);
        if Arc::ptr_eq(&before, plan) {
            return Some(self);
        }
        if !before.holds_the_same(plan) {
            return None;
        }
        if !before.references.give(&plan.references) {
            return None;
        }
        let machine = self.machine.rebind(Arc::clone(plan))?;
        Some(Self { machine, ..self })
    }
}

/// The steps whose state another version wrote than the one that is to run, where that one wants to see it first: with
/// the version that wrote it.
pub(in crate::pipeline) fn migrating(plan: &Plan, wrote: &BTreeMap<StepName, Digest>) -> Vec<(StepName, Digest)> {
    let changed = plan.keyed().filter_map(|keyed| {
        let step = keyed.step();
        let wrote = *wrote.get(&step.name)?;
        (wrote != step.digest && keyed.guest().migrator().is_some()).then(|| (step.name.clone(), wrote))
    });
    changed.collect()
}

impl WarmState {
    /// Passes the state of steps through `migrate` of the versions that now run them. After an error, drop it.
    pub(in crate::pipeline) async fn migrate(&mut self, steps: &[(StepName, Digest)]) -> Result<(), Error> {
        let machine = &mut self.machine;
        let plan = Arc::clone(&machine.plan);
        // All of it is to be one block, put together in memory.
        let on_disk = plan.keyed().zip(&machine.states).map(|(keyed, state)| (state.store().bytes_on_disk(), keyed));
        if machine.disk_bytes() > WHOLE_ON_DISK_MAX
            && let Some((bytes, keyed)) = on_disk.max_by_key(|(bytes, _)| *bytes)
        {
            return Err(Error::MigrationTooLarge { step: keyed.step().name.clone(), bytes });
        }
        for (keyed, state) in plan.keyed().zip(&mut machine.states) {
            let step = keyed.step();
            let Some((_, wrote)) = steps.iter().find(|(name, _)| *name == step.name) else { continue };
            let Some(migrator) = keyed.guest().migrator() else { continue };
            let bytes = state.store().bytes_on_disk();
            if bytes > 0 {
                return Err(Error::MigrationTooLarge { step: step.name.clone(), bytes });
            }
            let wrote = wrote.to_string();
            let mut place = (0, 0);
            while let Some(values) = state.values_from(place) {
                place = values.next();
                let failed = |source| Error::MigrationFailed { step: step.name.clone(), source };
                let called = migrator.migrate(&wrote, values.column().view()).await.map_err(failed)?;
                machine.usage.fuel += called.fuel;
                let migrated =
                    called.answer.map_err(|reason| Error::MigrationRefused { step: step.name.clone(), reason })?;
                state.replace_values(&values, &migrated);
            }
        }
        Ok(())
    }
}

impl Carry {
    /// Brings what was read back into the shape that it has now.
    pub(in crate::pipeline) fn settle(&self, live: &mut WarmState) {
        live.positions.retain(|at, _| self.keeps_place(&at.topic));
        live.machine.retime(&self.retimed);
    }
}

impl Machine {
    /// Lets the windows of steps give results when their manifest now says so.
    fn retime(&mut self, steps: &BTreeMap<StepName, Windowing>) {
        let mut now = Now { watermark: self.watermark(), clock: self.clock.now() };
        for (keyed, state) in self.plan.keyed().zip(&mut self.states) {
            if let (Some(before), StepState::KeyedWindows(_, windows)) = (steps.get(&keyed.step().name), &mut *state) {
                windows.retime(before, now);
            }
            now.watermark = state.store().output_watermark(now.watermark);
        }
    }
}
