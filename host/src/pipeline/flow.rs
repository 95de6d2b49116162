//! Rows on their way from step to step, inside one micro-batch.

use std::collections::VecDeque;

use super::crowd::crowd;
use super::dead_letter::Source;
use super::held::Held;
use super::passed::Passed;
use super::place::Places;
use super::plan::{Keyed, Plan, Stage};
use super::rows::Origins;
use super::steps::{Arrival, Sink, Stop, arrive, close, fire, fold, process, transform};
use crate::record::Batch;
use crate::state::Now;
use crate::time::{Watermark, Window};

/// Most groups that close in one micro-batch and stage. A window of a million keys closes over several commits, so that
/// no commit grows with the state. In tests it takes fewer to come to that.
pub(super) const CLOSING_GROUPS_MAX: usize = if cfg!(test) { 1 << 10 } else { 1 << 16 };

/// The steps at work.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    pub(super) plan: &'a Plan,
    pub(super) held: &'a mut [Held],
    pub(super) clock: i64,
    pub(super) sink: Sink<'a>,
}

/// Rows that a keyed step gives, in order.
#[derive(Debug, Default)]
pub(super) struct Emission {
    /// The rows.
    pub(super) rows: Batch,
    /// The watermark that rows after each may rely on.
    pub(super) places: Vec<i64>,
    /// The window of each row; empty if they are not of windows.
    pub(super) windows: Vec<Window>,
}

impl Emission {
    fn arrival(&self) -> Arrival<'_> {
        let rows = self.rows.view();
        let source = Source::Derived { rows, windows: &self.windows };
        Arrival { rows, origins: Origins::From(0), source, came_by: 0, input: 0 }
    }
}

impl Flow<'_> {
    /// Runs the transforms of a stage over rows.
    pub(super) async fn transforms(&mut self, stage: usize, arrival: Arrival<'_>) -> Result<Passed, Stop> {
        let mut passed = Passed::default();
        let Stage { transforms, timed_after, .. } = &self.plan.stages[stage];
        for (number, step) in transforms.iter().enumerate() {
            if !step.takes(arrival.input) {
                continue;
            }
            if timed_after.is_some_and(|after| number >= after) {
                passed.fix_times();
            }
            let marks = self.sink.marks.len();
            let rows = transform(&step.step, arrival.behind(&passed), &mut self.sink).await?;
            passed.lead_back(&mut self.sink.marks[marks..]);
            passed.rows = Some(rows);
        }
        Ok(passed)
    }

    /// Hands rows to the keyed step of a stage, and what it gives to the next.
    pub(super) async fn enter(&mut self, stage: usize, arrival: Arrival<'_>, places: Places<'_>) -> Result<(), Stop> {
        match self.take(stage, arrival, places).await? {
            Some(emission) => self.pass_on(stage + 1, emission).await,
            None => Ok(()),
        }
    }

    /// Does what is due in all steps, the first one first. A step with much due comes before the results of earlier ones
    /// at whose places it is due, as rows from outside wait for it.
    pub(super) async fn advance(&mut self, mut watermark: Watermark) -> Result<(), Stop> {
        for stage in 0..self.held.len() {
            let now = Now { watermark, clock: self.clock };
            self.sink.may_retreat &= !self.held[stage].store().is_due(now);
            let now = match crowd(&self.held[stage + 1..], now) {
                Some(crowd) => Now { watermark: watermark.min(Watermark::At(crowd)), clock: i64::MIN },
                None => now,
            };
            let mut left = CLOSING_GROUPS_MAX;
            while left > 0
                && let Some(emission) = self.fire(stage, now, &mut left).await?
            {
                self.pass_on(stage + 1, emission).await?;
            }
            watermark = self.held[stage].store().output_watermark(watermark);
        }
        Ok(())
    }

    /// Writes rows that have come to the end.
    pub(super) fn deliver(&mut self, arrival: Arrival<'_>) {
        self.sink.deliver(self.plan.output, arrival.rows, arrival.came_by);
    }

    async fn pass_on(&mut self, stage: usize, emission: Emission) -> Result<(), Stop> {
        let mut waiting = VecDeque::from([(stage, emission)]);
        while let Some((stage, emission)) = waiting.pop_front() {
            let arrival = emission.arrival();
            let passed = self.transforms(stage, arrival).await?;
            let arrival = arrival.behind(&passed);
            let place = |row| emission.places[arrival.origins.of(row) as usize];
            let places: Vec<i64> = (0..arrival.rows.len() as u32).map(place).collect();
            if let Some(next) = self.take(stage, arrival, Places { known: &places, late: &places }).await? {
                waiting.push_back((stage + 1, next));
            }
        }
        Ok(())
    }

    async fn take(&mut self, stage: usize, arrival: Arrival<'_>, places: Places<'_>) -> Result<Option<Emission>, Stop> {
        let Some(keyed) = &self.plan.stages[stage].keyed else {
            self.deliver(arrival);
            return Ok(None);
        };
        match (keyed, &mut self.held[stage]) {
            (Keyed::Fold(step), Held::Windows(windows)) => {
                fold(step, windows, arrival, places, &mut self.sink).await.map(|()| None)
            }
            (Keyed::Fold(step), Held::Panes(panes)) => {
                arrive(step, panes, arrival, places, self.clock, &mut self.sink).await
            }
            (Keyed::Process(step), Held::Keyed(state)) => {
                process::take(step, state, self.clock, arrival, places, &mut self.sink).await
            }
            _ => unreachable!("a step's state is of its kind"),
        }
    }

    async fn fire(&mut self, stage: usize, now: Now, left: &mut usize) -> Result<Option<Emission>, Stop> {
        match (&self.plan.stages[stage].keyed, &mut self.held[stage]) {
            (Some(Keyed::Fold(step)), Held::Windows(windows)) => close(step, windows, now, left, &mut self.sink).await,
            (Some(Keyed::Process(step)), Held::Keyed(state)) => {
                process::fire(step, state, now, left, &mut self.sink).await
            }
            (Some(Keyed::Fold(step)), Held::Panes(panes)) => fire(step, panes, now, left, &mut self.sink).await,
            _ => unreachable!("a step's state is of its kind"),
        }
    }
}
