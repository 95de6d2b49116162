//! Rows on their way from step to step, inside one micro-batch.

use std::collections::VecDeque;

use super::arrival::{Arrival, Emission};
use super::backlog::backlog;
use super::plan::{Plan, Stage};
use super::row_watermarks::RowWatermarks;
use super::step_state::StepState;
use super::steps::{Sink, Stop, finish, keyed_windows, process, transform, windows};
use super::transform_output::TransformOutput;
use super::work::{Pace, Work};
use crate::state::Now;
use crate::time::Watermark;

/// The steps at work.
#[derive(Debug)]
pub(in crate::pipeline) struct Flow<'a> {
    pub(in crate::pipeline) plan: &'a Plan,
    pub(in crate::pipeline) states: &'a mut [StepState],
    pub(in crate::pipeline) clock: i64,
    pub(in crate::pipeline) sink: Sink<'a>,
}

/// Runs the transforms of a stage over rows.
pub(in crate::pipeline) async fn transforms(
    plan: &Plan,
    stage: usize,
    arrival: Arrival<'_>,
    sink: &mut Sink<'_>,
) -> Result<TransformOutput, Stop> {
    let mut transformed = TransformOutput::default();
    let first = plan.first_step(stage);
    let Stage { transforms, timed_after, .. } = &plan.stages[stage];
    for (number, step) in transforms.iter().enumerate() {
        if !step.takes(arrival.input) {
            continue;
        }
        if timed_after.is_some_and(|after| number >= after) {
            transformed.fix_times();
        }
        let marks = sink.marks.len();
        sink.meter.enter(first + number);
        let rows = transform(step, arrival.behind(&transformed), sink).await?;
        transformed.lead_back(&mut sink.marks[marks..]);
        transformed.rows = Some(rows);
    }
    Ok(transformed)
}

impl Flow<'_> {
    /// Hands rows to the keyed step of a stage, and what it gives to the next.
    pub(in crate::pipeline) async fn enter(
        &mut self,
        stage: usize,
        arrival: Arrival<'_>,
        places: RowWatermarks<'_>,
    ) -> Result<(), Stop> {
        match self.process_batch(stage, arrival, places).await? {
            Some(emission) => self.forward(stage + 1, emission).await,
            None => Ok(()),
        }
    }

    /// Does what is due in all steps, the first one first. A step with much due comes before the results of earlier ones
    /// at whose places it is due, as rows from outside wait for it. What is too much for one micro-batch stays due.
    pub(in crate::pipeline) async fn advance(
        &mut self,
        mut watermark: Watermark,
        work: &Work,
        pace: &mut Pace,
    ) -> Result<(), Stop> {
        let part = work.part();
        for stage in 0..self.states.len() {
            let now = Now { watermark, clock: self.clock };
            self.sink.may_retreat &= !self.states[stage].store().is_due(now);
            let now = match backlog(&self.states[stage + 1..], now, self.plan.thresholds.backlog) {
                Some(backlog) => Now { watermark: watermark.min(Watermark::At(backlog)), clock: i64::MIN },
                None => now,
            };
            let mut left = self.plan.thresholds.closing_groups;
            while left > 0 {
                let (groups, mark) = pace.next(&part);
                let most = groups.min(left);
                let mut left_of_piece = most;
                let Some(emission) = self.on_watermark(stage, now, &mut left_of_piece).await? else { break };
                left -= most - left_of_piece;
                self.forward(stage + 1, emission).await?;
                pace.learn(&part, mark);
                if part.is_over() {
                    break;
                }
            }
            watermark = self.states[stage].store().output_watermark(watermark);
        }
        Ok(())
    }

    async fn forward(&mut self, stage: usize, emission: Emission) -> Result<(), Stop> {
        let mut waiting = VecDeque::from([(stage, emission)]);
        while let Some((stage, emission)) = waiting.pop_front() {
            let arrival = emission.arrival();
            let transformed = transforms(self.plan, stage, arrival, &mut self.sink).await?;
            let arrival = arrival.behind(&transformed);
            let place = |row| emission.places[arrival.origins.of(row) as usize];
            let places: Vec<i64> = (0..arrival.rows.len() as u32).map(place).collect();
            if let Some(next) =
                self.process_batch(stage, arrival, RowWatermarks { known: &places, late: &places }).await?
            {
                waiting.push_back((stage + 1, next));
            }
        }
        Ok(())
    }

    async fn process_batch(
        &mut self,
        stage: usize,
        arrival: Arrival<'_>,
        places: RowWatermarks<'_>,
    ) -> Result<Option<Emission>, Stop> {
        let Some(state) = self.states.get_mut(stage) else {
            self.sink.deliver(self.plan.output, arrival.rows, |row| arrival.round(row), arrival.source_partition);
            return Ok(None);
        };
        self.sink.meter.enter(self.plan.first_step(stage + 1) - 1);
        match state {
            StepState::Windows(fold, windows) => {
                windows::process_batch(fold, windows, arrival, places, &mut self.sink).await.map(|()| None)
            }
            StepState::KeyedWindows(fold, windows) => {
                keyed_windows::process_batch(fold, windows, arrival, places, self.clock, &mut self.sink).await
            }
            StepState::Keyed(process, state) => {
                process::process_batch(process, state, self.clock, arrival, places, &mut self.sink).await
            }
        }
    }

    async fn on_watermark(&mut self, stage: usize, now: Now, left: &mut usize) -> Result<Option<Emission>, Stop> {
        self.sink.meter.enter(self.plan.first_step(stage + 1) - 1);
        match &mut self.states[stage] {
            StepState::Windows(fold, windows) => finish::on_watermark(fold, windows, now, left, &mut self.sink).await,
            StepState::KeyedWindows(fold, windows) => {
                keyed_windows::on_watermark(fold, windows, now, left, &mut self.sink).await
            }
            StepState::Keyed(process, state) => process::on_watermark(process, state, now, left, &mut self.sink).await,
        }
    }
}
