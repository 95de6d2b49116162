//! How partial matches go on: with each event, and with time. No state parts, no timers.

use super::events::Events;
use super::plan::{Contiguity, Plan, Stage};
use super::run::{Id, Run};
use super::skip::SkipTo;
use crate::Map;

/// What becomes of a partial match that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Left {
    Match(Run),
    TimedOut(Run),
}

/// The partial matches of a key, while events and time come.
#[derive(Debug)]
pub(super) struct Progress<'p, E> {
    pub(super) plan: &'p Plan<E>,
    pub(super) skip: SkipTo,
    pub(super) runs: Vec<Run>,
    pub(super) complete: Vec<Run>,
    /// Whether `runs` or `complete` have changed.
    pub(super) changed: bool,
}

/// An event, and which conditions on it alone it fulfils, as far as has been evaluation.
struct Evaluation<'e, E> {
    id: Id,
    event: &'e E,
    events: &'e Map<Id, E>,
    fulfils: Vec<Option<bool>>,
}

impl<E> Evaluation<'_, E> {
    /// Whether the event fulfils the stage's condition for a partial match.
    fn fulfils(&mut self, stages: &[Stage<E>], number: u8, run: &Run) -> bool {
        let place = usize::from(number);
        let (Some(stage), Some(known)) = (stages.get(place), self.fulfils.get_mut(place)) else { return false };
        *known.get_or_insert_with(|| (stage.own)(self.event))
            && stage
                .provided
                .as_ref()
                .is_none_or(|provided| provided(self.event, &Events::new(stages, self.events, run)))
    }
}

impl<E> Progress<'_, E> {
    /// When the next partial match times out.
    pub(super) fn next_end(&self) -> Option<i64> {
        self.runs.iter().filter_map(|run| self.plan.end(run)).min()
    }

    /// Takes an event. Returns the matches that it makes.
    pub(super) fn event(&mut self, id: Id, event: &E, events: &Map<Id, E>) -> Vec<Left> {
        let plan = self.plan;
        let mut evaluation = Evaluation { id, event, events, fulfils: vec![None; plan.stages.len()] };
        let mut taking = Vec::new();
        let before = self.runs.len();
        self.runs.retain_mut(|run| {
            let open = go_on(plan, run, &mut evaluation, &mut taking);
            self.changed |= open != run.open;
            run.open = open;
            open != 0
        });
        let mut start = Run { open: plan.start.all(), ..Run::EMPTY };
        start.open = go_on(plan, &start, &mut evaluation, &mut taking);
        self.changed |= before != self.runs.len() || !taking.is_empty();
        taking.sort_unstable();
        let mut matches = Vec::new();
        for mut run in taking {
            let place = plan.place(&run);
            if place.complete {
                matches.push(run.clone());
            }
            run.open = place.all();
            if run.open != 0 {
                self.runs.push(run);
            }
        }
        self.found(matches)
    }

    /// Times out partial matches. Returns them, and the matches that the time has decided.
    pub(super) fn time(&mut self, now: i64) -> Vec<Left> {
        if self.next_end().is_none_or(|end| end > now) {
            return Vec::new();
        }
        self.changed = true;
        let plan = self.plan;
        let mut ended: Vec<Run> = self.runs.extract_if(.., |run| plan.end(run).is_some_and(|end| end <= now)).collect();
        ended.sort_unstable();
        let mut left = Vec::new();
        let mut matches = Vec::new();
        for run in ended {
            let place = plan.place(&run);
            let waited = place.steps.iter().zip(0..).any(|(step, bit)| step.to.is_none() && run.open >> bit & 1 != 0);
            if waited {
                matches.push(run);
            } else if !place.complete {
                left.push(Left::TimedOut(run));
            }
        }
        left.extend(self.found(matches));
        left
    }

    /// Adds matches to those that wait, and takes out those that need not.
    fn found(&mut self, matches: Vec<Run>) -> Vec<Left> {
        self.complete.extend(matches);
        let released = self.skip.release(&mut self.runs, &mut self.complete);
        released.into_iter().map(Left::Match).collect()
    }
}

/// Tries the open steps of a partial match with an event. What takes the event goes to `taking`. Returns the steps that
/// stay open for the partial match without it.
fn go_on<E>(plan: &Plan<E>, run: &Run, evaluation: &mut Evaluation<'_, E>, taking: &mut Vec<Run>) -> u32 {
    let mut open = run.open;
    for (step, bit) in plan.place(run).steps.iter().zip(0..) {
        if run.open >> bit & 1 == 0 {
            continue;
        }
        let mut stays = true;
        if let Some(stage) = step.to {
            let fulfils = evaluation.fulfils(&plan.stages, stage, run);
            if fulfils {
                taking.push(run.with(evaluation.id, stage));
            }
            stays = match step.contiguity {
                Contiguity::Strict => false,
                Contiguity::Relaxed => !fulfils,
                Contiguity::Any => true,
            };
        }
        if !stays || step.nots.iter().any(|&not| evaluation.fulfils(&plan.stages, not, run)) {
            open &= !(1 << bit);
        }
    }
    open
}
