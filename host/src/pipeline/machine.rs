//! The deterministic heart of a pipeline: records in, effects and a changed state out.
//!
//! A machine reads no clock, does no I/O and keeps nothing that its blocks do not carry. The same inputs give the same
//! effects, and how records are divided into micro-batches changes no result: rows are judged by the watermark at their
//! own place, and windows close in an order that only their starts and keys decide.
//!
//! [`Machine::apply`] changes the state before the commit that makes it durable. If that commit fails, or `apply` itself,
//! the machine is of no use any more and a new one is built from the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::dead_letter::Source;
use super::error::Error;
use super::outputs::Outputs;
use super::plan::Plan;
use super::rows::{Origins, StageRows};
use super::status::Usage;
use super::steps::{Arrival, Placing, Poison, Sink, Stop, finish, fold, transform};
use crate::ids::{Offset, TopicPartition};
use crate::log::Block;
use crate::plugin::Failure;
use crate::record::{Batch, BatchRef};
use crate::state::{BlockError, Reader, Windows, Writer};
use crate::time::{Watermark, Window, minimum};

/// Most groups that close in one micro-batch and stage. A window of a million keys closes over several commits, so that
/// no commit grows with the state.
const CLOSING_GROUPS_MAX: usize = 1 << 16;
/// Groups that close in one call of `finish`.
const CLOSING_CALL_GROUPS: usize = 8192;
/// Records in a micro-batch up to which failed calls are taken apart where they are. More are first divided, so that a
/// plugin that fails on everything fails on this many rows a commit.
pub(super) const CAREFUL_RECORDS: usize = 256;
/// Most bytes of state of one pipeline: it is held in memory.
pub const STATE_BYTES_MAX: u64 = 2 << 30;
/// A block of the whole state is written when the blocks since the last one are this many times as large, so that
/// writing it costs a fixed share and reading back is bounded.
const BASE_BLOCK_RATIO: usize = 2;
/// And not before there are this many bytes.
const BASE_BLOCK_AFTER: usize = 8 << 20;

/// Records of one partition.
#[derive(Debug)]
pub struct Input {
    /// Which of the plan's inputs.
    pub(super) input: usize,
    /// The offset of the first record.
    pub(super) base_offset: Offset,
    /// The records, dense from there on.
    pub(super) records: Batch,
}

impl Input {
    fn arrival<'a>(&'a self, plan: &'a Plan) -> Arrival<'a> {
        let (at, records) = (&plan.inputs[self.input], self.records.view());
        let source = Source::Records { at, base_offset: self.base_offset, records };
        Arrival { rows: records, origins: Origins::From(0), source, came_by: at.partition }
    }
}

/// What became of applied records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// They are applied, and to be committed.
    Whole,
    /// A call failed: they are to be applied again, fewer at a time. Nothing has changed but counters.
    Retreated,
}

/// The state of a running pipeline.
#[derive(Debug)]
pub struct Machine {
    plan: Arc<Plan>,
    /// The open windows of each stage; the last stage has none.
    windows: Vec<Windows>,
    /// The newest event time of each input.
    newest: Vec<Option<i64>>,
    newest_changed: bool,
    /// Newest event times of partitions that this plan does not read.
    unread: BTreeMap<TopicPartition, i64>,
    outputs: Outputs,
    usage: Usage,
    poison: Poison,
    /// Bytes of delta blocks since the last base block.
    delta_bytes: usize,
}

/// What an applied micro-batch leaves to be committed.
#[derive(Debug)]
pub(super) struct Effects {
    pub(super) outputs: Vec<(TopicPartition, Bytes)>,
    pub(super) block: Block,
    pub(super) usage: Bytes,
}

impl Machine {
    /// A pipeline that has seen nothing.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            windows: plan.folds().map(|fold| Windows::new(fold.tumbling)).collect(),
            newest: vec![None; plan.inputs.len()],
            newest_changed: false,
            unread: BTreeMap::new(),
            outputs: Outputs::new(&plan.topics),
            usage: Usage::default(),
            poison: Poison::default(),
            delta_bytes: 0,
            plan,
        }
    }

    /// Runs the steps over records. See the module's text for what an error leaves.
    ///
    /// If a call fails while nothing has changed yet and there are more than [`CAREFUL_RECORDS`] records, they are not
    /// applied at all: to be applied again in smaller numbers, so that a plugin that fails on everything fails on few
    /// rows a commit.
    pub async fn apply(&mut self, inputs: &[Input]) -> Result<Applied, Error> {
        let (usage, newest) = (self.usage, self.newest.clone());
        match self.run(inputs).await {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Retreat) => {
                let Usage { failed_calls, fuel, .. } = self.usage;
                self.usage = Usage { failed_calls, fuel, ..usage };
                self.newest = newest;
                self.outputs.clear();
                return Ok(Applied::Retreated);
            }
        }
        let used = self.state_bytes();
        if used > STATE_BYTES_MAX {
            return Err(Error::StateLimit { name: self.plan.name.clone(), used, limit: STATE_BYTES_MAX });
        }
        Ok(Applied::Whole)
    }

    async fn run(&mut self, inputs: &[Input]) -> Result<(), Stop> {
        let plan = Arc::clone(&self.plan);
        let records: usize = inputs.iter().map(|input| input.records.len()).sum();
        let mut sink = Sink {
            plan: &plan,
            outputs: &mut self.outputs,
            usage: &mut self.usage,
            poison: &mut self.poison,
            may_retreat: records > CAREFUL_RECORDS,
        };
        sink.usage.commits += 1;
        // All transforms before any fold: as long as only they have run, nothing has changed.
        let mut arrived = Vec::with_capacity(inputs.len());
        for input in inputs {
            sink.usage.records_in += input.records.len() as u64;
            sink.usage.bytes_in += input.records.payload_bytes() as u64;
            let arrival = input.arrival(&plan);
            let passed = run_transforms(&plan, 0, arrival, &mut sink).await?;
            arrived.push((input.input, arrival, passed));
        }
        for (input, arrival, passed) in &arrived {
            let placing = Placing::Following { newest: &mut self.newest[*input], disorder: plan.disorder };
            let arrival = arrival.after(passed.as_ref());
            leave_stage(&plan, 0, &mut self.windows, arrival, placing, &mut sink).await?;
            self.newest_changed = true;
        }
        let mut watermark = minimum(self.newest.iter().map(|&newest| plan.disorder.watermark(newest)));
        sink.may_retreat &= !self.windows.iter().any(|windows| windows.is_due(watermark));
        for (number, stage) in plan.stages.iter().enumerate() {
            let Some(step) = &stage.fold else { break };
            let mut left = CLOSING_GROUPS_MAX;
            while left > 0
                && let Some(due) = self.windows[number].close(watermark, left.min(CLOSING_CALL_GROUPS))
            {
                left -= due.keys.len();
                let results = finish(step, &due, &mut sink).await?;
                let arrival = of_window(due.window, results.batch.view());
                let placing = Placing::Fixed(Watermark::At(due.window.last() - 1));
                let passed = run_transforms(&plan, number + 1, arrival, &mut sink).await?;
                let arrival = arrival.after(passed.as_ref());
                leave_stage(&plan, number + 1, &mut self.windows, arrival, placing, &mut sink).await?;
            }
            watermark = self.windows[number].output_watermark(watermark);
        }
        Ok(())
    }

    /// What has been applied since the last call, to be committed.
    pub(super) fn take_effects(&mut self) -> Effects {
        let usage = serde_json::to_vec(&self.usage).expect("a struct of numbers is always JSON");
        Effects { outputs: self.outputs.encode(&self.plan.topics), block: self.take_block(), usage: Bytes::from(usage) }
    }

    fn take_block(&mut self) -> Block {
        let changed = std::mem::take(&mut self.newest_changed) || self.windows.iter().any(Windows::is_changed);
        if !changed {
            return Block::None;
        }
        if self.delta_bytes > BASE_BLOCK_AFTER.max(BASE_BLOCK_RATIO * self.state_bytes() as usize) {
            self.delta_bytes = 0;
            return Block::Base(self.write_block(true).into());
        }
        let block = self.write_block(false);
        self.delta_bytes += block.len();
        Block::Delta(block.into())
    }

    fn write_block(&mut self, all: bool) -> Vec<u8> {
        let mut writer = Writer::default();
        let read = self.plan.inputs.iter().zip(&self.newest).filter_map(|(at, newest)| Some((at, (*newest)?)));
        let known: Vec<_> = read.chain(self.unread.iter().map(|(at, &newest)| (at, newest))).collect();
        writer.u32(known.len() as u32);
        for (at, newest) in known {
            writer.text(at.topic.as_str());
            writer.u32(at.partition);
            writer.i64(newest);
        }
        writer.u32(self.windows.len() as u32);
        for (fold, windows) in self.plan.folds().zip(&mut self.windows) {
            writer.text(fold.step.name.as_str());
            writer.i64(fold.tumbling.size_ms());
            windows.write_block(&mut writer, all);
        }
        writer.finish()
    }

    /// Rebuilds the state from the blocks and the counters of the last commit.
    pub(super) fn recover(&mut self, blocks: &[Bytes], usage: &[u8]) -> Result<(), Error> {
        let name = self.plan.name.clone();
        for block in blocks {
            self.read_block(block).map_err(|error| match error {
                Unreadable::Block(source) => Error::State { name: name.clone(), source },
                Unreadable::Step { step, reason } => Error::StateConflict { name: name.clone(), step, reason },
            })?;
            self.delta_bytes += block.len();
        }
        if !usage.is_empty() {
            let unreadable =
                |error: serde_json::Error| BlockError { at: error.column(), what: format!("usage: {error}") };
            self.usage =
                serde_json::from_slice(usage).map_err(|error| Error::State { name, source: unreadable(error) })?;
        }
        Ok(())
    }

    fn read_block(&mut self, block: &[u8]) -> Result<(), Unreadable> {
        let mut reader = Reader::new(block)?;
        for _ in 0..reader.u32()? {
            let topic = reader.text()?.parse().map_err(|_| reader.error("a topic with an impossible name"))?;
            let at = TopicPartition { topic, partition: reader.u32()? };
            let newest = reader.i64()?;
            match self.plan.inputs.iter().position(|input| *input == at) {
                Some(input) => self.newest[input] = Some(newest),
                None => {
                    self.unread.insert(at, newest);
                }
            }
        }
        for _ in 0..reader.u32()? {
            let step = reader.text()?;
            let size = reader.i64()?;
            let conflict = |reason: String| Unreadable::Step { step: step.to_owned(), reason };
            let number = self.plan.folds().position(|fold| fold.step.name.as_str() == step);
            let number = number.ok_or_else(|| conflict("there is no such step with a window".to_owned()))?;
            let windows = &mut self.windows[number];
            let now = self.plan.folds().nth(number).map_or(0, |fold| fold.tumbling.size_ms());
            if now != size {
                return Err(conflict(format!("its windows are {size} ms long, now {now} ms")));
            }
            windows.read_block(&mut reader)?;
        }
        if !reader.is_at_end() {
            return Err(reader.error("more bytes than the block has content").into());
        }
        Ok(())
    }

    /// Whether complete windows wait to be closed by the next micro-batch, even if nothing arrives.
    pub(super) fn is_due(&self) -> bool {
        let mut watermark = self.watermark();
        self.windows.iter().any(|windows| {
            let due = windows.is_due(watermark);
            watermark = windows.output_watermark(watermark);
            due
        })
    }

    /// Event time up to which all inputs have been seen.
    pub(super) fn watermark(&self) -> Watermark {
        minimum(self.newest.iter().map(|&newest| self.plan.disorder.watermark(newest)))
    }

    /// The newest event time of each input, in the plan's order.
    pub(super) fn newest(&self) -> &[Option<i64>] {
        &self.newest
    }

    /// Keys with open windows.
    pub(super) fn open_groups(&self) -> u64 {
        self.windows.iter().map(Windows::len).sum::<usize>() as u64
    }

    /// Bytes of state in memory.
    pub(super) fn state_bytes(&self) -> u64 {
        self.windows.iter().map(Windows::bytes).sum::<usize>() as u64
    }

    /// The counters, those of records lost to retention included.
    pub(super) fn usage_mut(&mut self) -> &mut Usage {
        &mut self.usage
    }

    /// If at least this many rows in a row were poisonous: the step and its last failure. Counting begins anew.
    pub(super) fn take_poisoned(&mut self, rows: u32) -> Option<(String, Failure)> {
        if self.poison.rows < rows {
            return None;
        }
        self.poison.rows = 0;
        self.poison.last.take()
    }
}

/// Why a block cannot be used.
#[derive(Debug)]
enum Unreadable {
    Block(BlockError),
    Step { step: String, reason: String },
}

impl From<BlockError> for Unreadable {
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
}

/// Runs the transforms of a stage over rows; nothing, if it has none.
async fn run_transforms(
    plan: &Plan,
    number: usize,
    arrival: Arrival<'_>,
    sink: &mut Sink<'_>,
) -> Result<Option<StageRows>, Stop> {
    let mut passed: Option<StageRows> = None;
    for step in &plan.stages[number].transforms {
        passed = Some(transform(step, arrival.after(passed.as_ref()), sink).await?);
    }
    Ok(passed)
}

/// Folds the rows at the end of a stage, or writes them to the output if it is the last.
async fn leave_stage(
    plan: &Plan,
    number: usize,
    windows: &mut [Windows],
    arrival: Arrival<'_>,
    placing: Placing<'_>,
    sink: &mut Sink<'_>,
) -> Result<(), Stop> {
    match &plan.stages[number].fold {
        Some(step) => fold(step, &mut windows[number], arrival, placing, sink).await,
        None => {
            sink.deliver(plan.output, arrival.rows, arrival.came_by);
            Ok(())
        }
    }
}

/// Results of a window as they enter the next stage.
fn of_window(window: Window, results: BatchRef<'_>) -> Arrival<'_> {
    let source = Source::Window { window, groups: results };
    Arrival { rows: results, origins: Origins::From(0), source, came_by: 0 }
}
