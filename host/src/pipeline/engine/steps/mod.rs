//! The kinds of step: what each does with its rows, and what they share.

use super::arrival::Arrival;
use super::calls::Calls;
use super::dead_letter::{Cause, Source, causes, letter};
use super::outputs::Outputs;
use super::plan::{Fold, Plan, Route, Stage, Step};
use super::rows::{Origins, StageRows};
use super::work::Meter;
use crate::ids::PartitionId;
use crate::pipeline::error::Error;
use crate::pipeline::status::Usage;
use crate::plugin::{Answer, Failure, Rejected};
use crate::record::{Batch, BatchRef, ColumnRef, HeadersRef};
use crate::time::Mark;

mod compute;
mod deliver;
pub(in crate::pipeline) mod finish;
pub(in crate::pipeline) mod keyed_windows;
pub(in crate::pipeline) mod process;
mod transform;
pub(in crate::pipeline) mod windows;

pub(in crate::pipeline) use transform::transform;

/// What a row on its way takes beside its keys, values and headers, about.
const ROW_BYTES: usize = 32;
/// Bytes of results that count as one group or key: so what a commit gives when nothing but time moves on is bounded by
/// [`closing_groups`](super::thresholds::Thresholds::closing_groups) of these, 64 MiB, as well.
const GROUP_BYTES: usize = 1 << 10;

/// Counts down what may still be done in a commit: so many groups, which gave so many bytes.
fn spend(left: &mut usize, groups: usize, bytes: usize) {
    *left = left.saturating_sub(groups.max(bytes / GROUP_BYTES));
}

/// What rows on their way take.
fn bytes_of(rows: &Batch) -> usize {
    let headers = rows.headers.names.bytes.len() + rows.headers.values.bytes.len();
    rows.payload_bytes() + headers + rows.len() * ROW_BYTES
}

/// What steps write to while a micro-batch runs. All of it is committed, or none.
#[derive(Debug)]
pub(in crate::pipeline) struct Sink<'a> {
    pub(in crate::pipeline) plan: &'a Plan,
    pub(in crate::pipeline) outputs: &'a mut Outputs,
    pub(in crate::pipeline) usage: &'a mut Usage,
    pub(in crate::pipeline) poison: &'a mut Poison,
    /// Marks among the rows that are on their way, each with the row of the input that it came with.
    pub(in crate::pipeline) marks: Vec<(u32, Mark)>,
    /// Whether a failed call may still end the micro-batch as if nothing had happened: the state is unchanged so far,
    /// and there are fewer rows to take.
    pub(in crate::pipeline) may_retreat: bool,
    /// Counts calls, and knows which step is at work.
    pub(in crate::pipeline) meter: &'a Meter,
}

/// Why a step did not come to its end.
#[derive(Debug)]
pub(in crate::pipeline) enum Stop {
    /// A call failed and the micro-batch is to be taken again with fewer rows.
    Retreat,
    /// The host could not go on.
    Failed(Error),
}

/// Rows that plugins failed on, one after the other, with no call that succeeded between.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Poison {
    /// How many.
    pub(in crate::pipeline) rows: u32,
    /// The last failure, for people.
    pub(in crate::pipeline) last: Option<(String, Failure)>,
}

impl<'a> Sink<'a> {
    /// One without marks yet.
    pub(in crate::pipeline) fn new(
        plan: &'a Plan,
        outputs: &'a mut Outputs,
        usage: &'a mut Usage,
        poison: &'a mut Poison,
        may_retreat: bool,
        meter: &'a Meter,
    ) -> Self {
        Self { plan, outputs, usage, poison, marks: Vec::new(), may_retreat, meter }
    }
}

impl Sink<'_> {
    /// Notes a call that succeeded.
    fn succeeded(&mut self, fuel: u64) {
        self.meter.called(fuel);
        self.usage.fuel += fuel;
        self.poison.rows = 0;
    }

    /// Deals with a call that failed: a fault of the host ends the micro-batch, a row alone becomes a dead letter, and
    /// rows together are called again in halves.
    fn failed<'b>(
        &mut self,
        step: &Step,
        failure: Failure,
        calls: &mut Calls<'b>,
        (at, rows): (usize, BatchRef<'b>),
        arrival: Arrival<'_>,
    ) -> Result<(), Stop> {
        let failure = self.failure(step, failure)?;
        if rows.len() > 1 {
            calls.halve(at, rows);
            return Ok(());
        }
        self.dead_letter(
            step,
            arrival.source,
            arrival.origins.of(at as u32),
            Cause::from(&failure),
            arrival.source_partition,
        );
        self.poisoned(step, failure);
        Ok(())
    }

    /// Counts a call that failed. It is given back if what was called is to blame and is to be taken apart now.
    fn failure(&mut self, step: &Step, failure: Failure) -> Result<Failure, Stop> {
        self.failed_again(&failure);
        if !failure.guest {
            return Err(Stop::Failed(Error::Call { step: step.name.clone(), source: failure }));
        }
        if self.may_retreat { Err(Stop::Retreat) } else { Ok(failure) }
    }

    /// Counts a row that a plugin failed on.
    fn poisoned(&mut self, step: &Step, failure: Failure) {
        self.poison.rows = self.poison.rows.saturating_add(1);
        self.poison.last = Some((step.name.to_string(), failure));
    }

    /// Counts a call that failed on one row that is a dead letter already.
    fn failed_again(&mut self, failure: &Failure) {
        self.meter.called(failure.fuel);
        self.usage.failed_calls += 1;
        self.usage.fuel += failure.fuel;
    }

    /// Sends the rows that a plugin rejected to the dead letters. `at` is the place of the call's first row.
    fn reject(&mut self, step: &Step, rejected: &Rejected, at: usize, arrival: Arrival<'_>) {
        for (row, cause) in causes(rejected) {
            let origin = arrival.origins.of(at as u32 + row);
            self.dead_letter(step, arrival.source, origin, cause, arrival.source_partition);
        }
    }

    fn dead_letter(
        &mut self,
        step: &Step,
        source: Source<'_>,
        row: u32,
        cause: Cause<'_>,
        source_partition: PartitionId,
    ) {
        let source_partition = source.partition(row).unwrap_or(source_partition);
        let letter = letter(self.plan, step, source, row, cause);
        self.outputs.dead_letter(self.plan, self.usage, letter.view(), source_partition);
    }

    /// Sends each emitted row where its output leads; what goes on to the next step is appended to `next`. `at` is the place
    /// of the call's first row.
    fn route(
        &mut self,
        step: &Step,
        call: BatchRef<'_>,
        at: usize,
        answer: &Answer,
        next: &mut StageRows,
        arrival: Arrival<'_>,
    ) {
        let origins = arrival.origins.skip(at);
        if step.routes.first() == Some(&Route::Next) && answer.pieces().all(|piece| piece.outputs.is_empty()) {
            answer.pieces().for_each(|piece| next.append(call, origins, piece));
            return;
        }
        let (mut all, mut outputs) = (StageRows::default(), Vec::new());
        for piece in answer.pieces() {
            all.append(call, origins, piece);
            outputs.extend_from_slice(&piece.outputs);
            // Without outputs all leave by the first one.
            outputs.resize(all.origins.len(), 0);
        }
        let round = |origin| arrival.source.round(origin);
        self.distribute(step, &all, &outputs, next, round, arrival.source_partition);
    }

    /// Sends rows where their outputs lead; what goes on to the next step is appended to `next`. `round` says of which round
    /// the rows of an origin are.
    fn distribute(
        &mut self,
        step: &Step,
        all: &StageRows,
        outputs: &[u16],
        next: &mut StageRows,
        round: impl Fn(u32) -> u32,
        source_partition: PartitionId,
    ) {
        let mut marks: Vec<(u32, Mark)> = Vec::new();
        for (output, route) in step.routes.iter().enumerate() {
            let leaves_here = |row: &u32| outputs.get(*row as usize).copied().unwrap_or(0) as usize == output;
            let source_rows: Vec<u32> = (0..all.origins.len() as u32).filter(leaves_here).collect();
            let here = crate::plugin::Emitted { source_rows, ..Default::default() };
            match route {
                Route::Next => next.append(all.batch.view(), Origins::Listed(&all.origins), &here),
                Route::Topic(topic) => {
                    let mut rows = StageRows::default();
                    rows.append(all.batch.view(), Origins::Listed(&all.origins), &here);
                    let round_of = |row: u32| round(rows.origins[row as usize]);
                    self.deliver(*topic, rows.batch.view(), round_of, source_partition);
                }
                Route::Watermark => {
                    let mark = |&row: &u32| (row, Mark::Watermark(all.batch.timestamps[row as usize]));
                    marks.extend(here.source_rows.iter().map(mark));
                }
                Route::Idle | Route::Active => {
                    let mark = if *route == Route::Idle { Mark::Idle } else { Mark::Active };
                    marks.extend(here.source_rows.iter().map(|&row| (row, mark)));
                }
                Route::Nowhere => self.usage.unrouted += here.source_rows.len() as u64,
            }
        }
        // Outputs were gone through one after the other; what marks say depends on their order.
        marks.sort_by_key(|(row, _)| *row);
        self.marks.extend(marks.into_iter().map(|(row, mark)| (all.origins[row as usize], mark)));
    }

    /// Sends rows whose event time is not plausible to the dead letters; gives the others, if there were any.
    pub(in crate::pipeline) fn reject_implausible(
        &mut self,
        stage: &Stage,
        arrival: Arrival<'_>,
        strange: &[u32],
    ) -> Option<StageRows> {
        let keyed = stage.keyed.as_ref()?;
        if strange.is_empty() {
            return None;
        }
        for &row in strange {
            let time = arrival.rows.timestamps[row as usize];
            let reason =
                format!("event time {time} ms is not plausible: it is an end of time, or too far ahead of the clock");
            let cause = if time == i64::MIN || time == i64::MAX {
                Cause { code: "timestamp_out_of_range", reason: &reason, backtrace: &[] }
            } else {
                Cause { code: "timestamp_ahead", reason: &reason, backtrace: &[] }
            };
            self.dead_letter(keyed.step(), arrival.source, arrival.origins.of(row), cause, arrival.source_partition);
        }
        let mut strange = strange.iter().peekable();
        let plausible = (0..arrival.rows.len() as u32).filter(|row| strange.next_if_eq(&row).is_none()).collect();
        Some(select(arrival.rows, arrival.origins, plausible))
    }

    /// Writes rows that came too late for a step's windows to their topic.
    fn late(&mut self, fold: &Fold, rows: BatchRef<'_>, source_partition: PartitionId) {
        self.outputs.late(self.plan, self.usage, fold.late, rows, source_partition);
    }
}

/// The columns of rows that a step's plugin reads; the others are not sent.
fn visible<'a>(step: &Step, rows: BatchRef<'a>) -> BatchRef<'a> {
    let reads = step.guest.description().reads;
    BatchRef {
        timestamps: rows.timestamps,
        keys: if reads.keys { rows.keys } else { ColumnRef::default() },
        values: if reads.values { rows.values } else { ColumnRef::default() },
        headers: if reads.headers { rows.headers } else { HeadersRef::default() },
    }
}

/// Some of the rows of a batch, by ascending place.
fn select(rows: BatchRef<'_>, origins: Origins<'_>, places: Vec<u32>) -> StageRows {
    let mut selected = StageRows { batch: Batch::default(), origins: Vec::new() };
    selected.append(rows, origins, &crate::plugin::Emitted { source_rows: places, ..Default::default() });
    selected
}
