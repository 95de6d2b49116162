//! A micro-batch at work: records through the transforms, rows into the first step with state, then what is due.
//!
//! The way of a micro-batch, in the order of this file:
//!
//! 1. [`Machine::run`] moves the clock and puts records of reference tables into their tables.
//! 2. Without a step that has state, [`Machine::pass`] sends records through the transforms to the output. Otherwise
//!    [`Machine::enter`] does what follows.
//! 3. [`Machine::transform`] sends records through the transforms before the first step with state, piece by piece, and
//!    keeps the side effects of each piece apart.
//! 4. Records that are too far ahead of another input are held back; the rows of the others are merged in the order of
//!    event time and passed to the first step with state ([`Flow::enter`]), which passes its results to the next.
//! 5. [`Machine::settle`] adds up the side effects of those records that were taken. The others are put back: what the
//!    transforms made of them is dropped with all its effects, and made again in a later micro-batch.
//! 6. [`Machine::run`] counts what was taken, moves the watermarks, and does what is due by them ([`Flow::advance`]).

use std::ops::Range;
use std::sync::Arc;

use super::arrival::Arrival;
use super::backlog::{backlog, rows_max};
use super::calls::{CALL_BYTES, CALL_ROWS};
use super::dead_letter::Source;
use super::flow::{Flow, transforms};
use super::gather::slice;
use super::horizon::{furthest, hold_back};
use super::lanes::{Lane, Merge, View};
use super::lineage::Lineage;
use super::machine::{CAREFUL_RECORDS, Input, Machine, MicroBatch};
use super::outputs::Outputs;
use super::plan::Plan;
use super::rounds::CameRound;
use super::row_watermarks::TimestampBounds;
use super::rows::{Origins, StageRows};
use super::step_state::StepState;
use super::steps::{Sink, Stop};
use super::transform_output::TransformOutput;
use super::work::Work;
use crate::pipeline::status::Usage;
use crate::state::Now;
use crate::time::Mark;

/// What transforms made of some consecutive records of one input.
#[derive(Debug)]
struct Piece<'a> {
    records: Range<usize>,
    arrival: Arrival<'a>,
    transformed: TransformOutput,
    /// The plausible rows, where there are others.
    plausible: Option<StageRows>,
    marks: Vec<(u32, Mark)>,
}

/// What else they did, which counts only if the records are not put back.
#[derive(Debug)]
struct SideEffects {
    records: Range<usize>,
    outputs: Outputs,
    usage: Usage,
}

impl Input {
    /// The same with what its records say of how they came round.
    fn with_rounds(&self, lineage: &Lineage, carried: bool) -> Self {
        let (records, came_round) = CameRound::read(self.records.view(), lineage, carried);
        Self { offsets: self.offsets.clone(), records, came_round: Some(came_round), ..*self }
    }

    /// Some of the records, as they come to the first step.
    fn arrival<'a>(&'a self, plan: &'a Plan, records: Range<usize>) -> Arrival<'a> {
        let (at, all) = (&plan.inputs[self.input], self.records.view());
        let came = self.came_round.as_ref();
        let rounds = came.map_or(&[][..], |came| &came.rounds);
        let first = Origins::From(records.start as u32);
        let (rows, origins) =
            came.and_then(|came| came.rows(records.clone())).unwrap_or_else(|| (slice(all, records), first));
        Arrival {
            origins,
            rows,
            source: Source::Records { at, offsets: &self.offsets, records: all, rounds, through: None },
            source_partition: at.partition,
            input: plan.sources[self.input],
        }
    }

    /// The next records that are done together, at most this many: of those that transforms take, as many as a call has.
    fn piece(&self, plan: &Plan, from: usize, rows: usize) -> Range<usize> {
        if plan.stages[0].transforms.is_empty() {
            return from..self.records.len();
        }
        let rest = slice(self.records.view(), from..self.records.len());
        from..from + rest.rows_within(rows.min(CALL_ROWS), CALL_BYTES)
    }
}

impl<'a> Piece<'a> {
    /// Sends records through the transforms before the first step with state.
    async fn make(
        input: &'a Input,
        records: Range<usize>,
        bounds: TimestampBounds,
        plan: &'a Plan,
        sink: &mut Sink<'_>,
    ) -> Result<Self, Stop> {
        let arrival = input.arrival(plan, records.clone());
        let transformed = transforms(plan, 0, arrival, sink).await?;
        let mut marks = std::mem::take(&mut sink.marks);
        // A later step's marks come behind all of an earlier one's, but stand by their rows.
        marks.sort_by_key(|(origin, _)| *origin);
        let rows = arrival.behind(&transformed);
        let plausible = sink.reject_implausible(&plan.stages[0], rows, &bounds.implausible(rows.rows.timestamps));
        Ok(Self { records, arrival, transformed, plausible, marks })
    }

    fn view(&self) -> View<'_> {
        let arrival = self.arrival.behind(&self.transformed).after(self.plausible.as_ref());
        let moving = self.transformed.moving(arrival, self.records.clone());
        View::new(arrival, moving, &self.marks, self.records.clone())
    }
}

impl Machine {
    /// Runs the steps over a micro-batch. Returns how many records of each input are done; the others are to be put back.
    pub(super) async fn run(&mut self, batch: &MicroBatch, work: &Work) -> Result<Vec<usize>, Stop> {
        let plan = Arc::clone(&self.plan);
        self.clock.advance(batch.clock);
        self.usage.commits += 1;
        for table in batch.inputs.iter().filter(|input| plan.is_table(input.input)) {
            let name = &plan.tables[table.input - plan.sources.len()];
            let rows = table.records.view();
            plan.references.tables[name].content.write().put(rows.keys, rows.values);
        }
        let of_rounds = batch.inputs.iter().filter(|input| plan.is_feedback(input.input));
        let of_rounds: Vec<Input> = of_rounds.map(|input| input.with_rounds(&self.lineage, plan.headers)).collect();
        let rows = batch.inputs.iter().filter(|input| !plan.is_table(input.input));
        let inputs: Vec<&Input> =
            rows.map(|input| of_rounds.iter().find(|with| with.input == input.input).unwrap_or(input)).collect();
        let records: usize = inputs.iter().map(|input| input.records.len()).sum();
        let may_retreat = records > CAREFUL_RECORDS;
        let done = if plan.is_timed() {
            self.enter(&plan, &inputs, may_retreat, batch.clock, work).await?
        } else {
            self.pass(&plan, &inputs, may_retreat, work).await?
        };
        let mut done = done.into_iter();
        let of_source = |input: &Input| plan.is_table(input.input).then(|| input.records.len());
        let done = batch.inputs.iter().map(|input| of_source(input).or_else(|| done.next()).unwrap_or_default());
        let done: Vec<usize> = done.collect();
        for input in &of_rounds {
            let place = batch.inputs.iter().position(|of| of.input == input.input);
            let came = input.came_round.as_ref().zip(place);
            self.usage.superseded += came.map_or(0, |(came, place)| came.superseded(done[place]));
        }
        let mut of_loop = (0..plan.sources.len()).filter(|&input| plan.is_feedback(input)).peekable();
        if of_loop.peek().is_some() && of_loop.all(|input| batch.quiet.contains(&input)) {
            self.lineage.settle();
        }
        for (input, &records) in batch.inputs.iter().zip(&done) {
            self.usage.records_in += records as u64;
            self.usage.bytes_in += slice(input.records.view(), 0..records).payload_bytes() as u64;
        }
        for &(input, mark) in &batch.marks {
            self.watermarks.mark(input, mark);
        }
        for &input in batch.quiet.iter().filter(|input| !plan.is_table(**input)) {
            self.watermarks.quiet(input, self.clock.now());
        }
        self.changed = true;
        let watermark = self.watermarks.output();
        // Rows before it and whatever is due are bounded by themselves: neither may starve the other.
        let may_retreat = may_retreat && done.iter().all(|&records| records == 0);
        let sink = Sink::new(&plan, &mut self.outputs, &mut self.usage, &mut self.poison, may_retreat, &work.meter);
        let mut flow = Flow { plan: &plan, states: &mut self.states, clock: self.clock.now(), sink };
        flow.advance(watermark, work, &mut self.paces.due).await?;
        Ok(done)
    }

    /// Sends records through a pipeline without steps that have state.
    async fn pass(
        &mut self,
        plan: &Plan,
        inputs: &[&Input],
        may_retreat: bool,
        work: &Work,
    ) -> Result<Vec<usize>, Stop> {
        let part = work.part();
        let mut done = vec![0; inputs.len()];
        for (done, input) in done.iter_mut().zip(inputs) {
            while *done < input.records.len() && !part.is_over() {
                let (rows, mark) = self.paces.transforms.next(&part);
                let mut sink =
                    Sink::new(plan, &mut self.outputs, &mut self.usage, &mut self.poison, may_retreat, &work.meter);
                let records = input.piece(plan, *done, rows);
                *done = records.end;
                let arrival = input.arrival(plan, records);
                let transformed = transforms(plan, 0, arrival, &mut sink).await?;
                let arrival = arrival.behind(&transformed);
                sink.deliver(plan.output, arrival.rows, |row| arrival.round(row), arrival.source_partition);
                self.paces.transforms.learn(&part, mark);
            }
        }
        Ok(done)
    }

    /// Sends records through the transforms, and rows into the first step with state in the order of event time.
    async fn enter(
        &mut self,
        plan: &Plan,
        inputs: &[&Input],
        may_retreat: bool,
        clock: i64,
        work: &Work,
    ) -> Result<Vec<usize>, Stop> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let bounds = TimestampBounds::new(plan.watermark.ahead_ms, clock);
        let (pieces, effects) = self.transform(plan, inputs, may_retreat, bounds, work).await?;
        let mut more = Vec::with_capacity(inputs.len());
        let mut lanes = Vec::with_capacity(inputs.len());
        for (input, pieces) in inputs.iter().zip(&pieces) {
            let lane = Lane::new(input.input, pieces.iter().map(Piece::view).collect());
            more.push(input.more || lane.records() < input.records.len());
            lanes.push(lane);
        }
        let in_order = !matches!(self.states[0], StepState::Windows(..));
        hold_back(&mut lanes, &more, &self.watermarks, &plan.watermark, bounds, in_order);
        let before = self.watermarks.output();
        let with_say = lanes.iter().filter(|lane| !plan.is_feedback(lane.input));
        let until = with_say.map(|lane| furthest(lane, &plan.watermark, bounds)).max().unwrap_or_default();
        let now = Now { watermark: before.max(until), clock: self.clock.now() };
        let wait_at = backlog(&self.states, now, plan.thresholds.backlog);
        let mut rows_left = rows_max(&self.states);
        let all_wait = wait_at.is_some_and(|wait_at| wait_at == i64::MIN || before.covers(wait_at));
        let mut merge = Merge::new(lanes, in_order, bounds, wait_at);
        let sink = Sink::new(plan, &mut self.outputs, &mut self.usage, &mut self.poison, may_retreat, &work.meter);
        let mut flow = Flow { plan, states: &mut self.states, clock: self.clock.now(), sink };
        let part = work.part();
        let mut goes_on = !all_wait;
        while goes_on {
            let (rows, mark) = self.paces.rows.next(&part);
            let Some(slice) = merge.next(&mut self.watermarks, rows.min(rows_left)) else { break };
            let arrival = slice.arrival();
            rows_left = rows_left.saturating_sub(arrival.rows.len());
            flow.enter(0, arrival, slice.placed.view()).await?;
            self.paces.rows.learn(&part, mark);
            goes_on = !part.is_over() && rows_left > 0;
        }
        let done = if all_wait { vec![0; inputs.len()] } else { merge.taken() };
        self.settle(plan, inputs, &done, effects, bounds, work).await?;
        Ok(done)
    }

    /// Sends records through the transforms: the first ones of each input in any case, then more until it is enough work.
    async fn transform<'a>(
        &mut self,
        plan: &'a Plan,
        inputs: &[&'a Input],
        may_retreat: bool,
        bounds: TimestampBounds,
        work: &Work,
    ) -> Result<(Vec<Vec<Piece<'a>>>, Vec<Vec<SideEffects>>), Stop> {
        let part = work.part();
        let mut pieces: Vec<Vec<Piece<'a>>> = inputs.iter().map(|_| Vec::new()).collect();
        let mut effects: Vec<Vec<SideEffects>> = inputs.iter().map(|_| Vec::new()).collect();
        let mut rounds = 0;
        let mut left = true;
        while std::mem::take(&mut left) {
            for (number, input) in inputs.iter().enumerate() {
                let from = pieces[number].last().map_or(0, |piece| piece.records.end);
                if from == input.records.len() || rounds > 0 && part.is_over() {
                    continue;
                }
                let (rows, mark) = self.paces.transforms.next(&part);
                let records = input.piece(plan, from, rows);
                let (made, of_piece) = self.piece(plan, input, records, may_retreat, bounds, work).await;
                effects[number].push(of_piece);
                match made {
                    Ok(piece) => pieces[number].push(piece),
                    Err(stop) => {
                        effects.iter().flatten().for_each(|effects| self.count_dropped(effects));
                        return Err(stop);
                    }
                }
                self.paces.transforms.learn(&part, mark);
                left = true;
            }
            rounds += 1;
        }
        Ok((pieces, effects))
    }

    async fn piece<'a>(
        &mut self,
        plan: &'a Plan,
        input: &'a Input,
        records: Range<usize>,
        may_retreat: bool,
        bounds: TimestampBounds,
        work: &Work,
    ) -> (Result<Piece<'a>, Stop>, SideEffects) {
        let (mut outputs, mut usage) = (Outputs::new(&plan.topics), Usage::default());
        let mut sink = Sink::new(plan, &mut outputs, &mut usage, &mut self.poison, may_retreat, &work.meter);
        let made = Piece::make(input, records.clone(), bounds, plan, &mut sink).await;
        (made, SideEffects { records, outputs, usage })
    }

    /// Adds up the side effects of the transforms for those records that are done. For a piece that is done in part, the
    /// transforms run again over that part.
    async fn settle(
        &mut self,
        plan: &Plan,
        inputs: &[&Input],
        done: &[usize],
        effects: Vec<Vec<SideEffects>>,
        bounds: TimestampBounds,
        work: &Work,
    ) -> Result<(), Stop> {
        let mut outputs = Outputs::new(&plan.topics);
        for ((input, &done), effects) in inputs.iter().zip(done).zip(effects) {
            for effects in effects {
                let records = effects.records.clone();
                if records.end <= done {
                    outputs.append(&effects.outputs);
                    self.usage.add(&effects.usage);
                    continue;
                }
                self.count_dropped(&effects);
                if records.start < done && effects.is_more_than_work() {
                    let poison_rows = self.poison.rows;
                    let (made, again) = self.piece(plan, input, records.start..done, false, bounds, work).await;
                    made?;
                    self.poison.rows = poison_rows;
                    outputs.append(&again.outputs);
                    self.usage.add(&again.usage);
                }
            }
        }
        if !outputs.is_empty() {
            outputs.append(&self.outputs);
            self.outputs = outputs;
        }
        Ok(())
    }

    /// Counts the work of calls whose answers are not used.
    fn count_dropped(&mut self, SideEffects { usage, .. }: &SideEffects) {
        self.usage.fuel += usage.fuel;
        self.usage.failed_calls += usage.failed_calls;
    }
}

impl SideEffects {
    /// Whether there is more to it than calls and rows that go on.
    fn is_more_than_work(&self) -> bool {
        let Usage { fuel, failed_calls, .. } = self.usage;
        self.usage != Usage { fuel, failed_calls, ..Usage::default() } || !self.outputs.is_empty()
    }
}
