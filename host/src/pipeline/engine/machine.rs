//! The deterministic heart of a pipeline: records in, effects and a changed state out.
//!
//! A machine reads no clock, does no I/O and keeps nothing that its blocks do not carry. The same inputs give the same
//! effects, and how records are divided into micro-batches changes no result: rows are judged by the watermark at their
//! own place, and what is due comes in an order that only times and keys decide.
//!
//! [`Machine::apply`] changes the state before the commit that makes it durable. If that commit fails, or `apply` itself,
//! the machine must not be used again: build a new one from the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::backlog::backlog;
use super::carry::Carry;
use super::lineage::Lineage;
use super::outputs::Outputs;
use super::plan::Plan;
use super::rounds::CameRound;
use super::step_state::{STATE_BYTES_MAX, STATE_DISK_BYTES_MAX, StepState};
use super::steps::{Poison, Stop};
use super::sweep::Sweep;
use super::work::{Paces, Work};
use crate::ids::{PipelineName, StepName, TaskId, TopicPartition};
use crate::log::Block;
use crate::log::batch::Offsets;
use crate::pipeline::error::Error;
use crate::pipeline::status::Usage;
use crate::plugin::Failure;
use crate::record::Batch;
use crate::state::{BlockError, Now, Store as _};
use crate::time::{self, Mark, ProcessingClock, Watermark, Watermarks};

/// Records in a micro-batch up to which failed calls are taken apart where they are. More are first divided, so that a
/// plugin that fails on everything fails on this many rows a commit.
pub(in crate::pipeline) const CAREFUL_RECORDS: usize = 256;
/// Records of one partition.
#[derive(Debug)]
pub struct Input {
    /// Which of the plan's inputs.
    pub(in crate::pipeline) input: usize,
    /// The offset of each record.
    pub(in crate::pipeline) offsets: Offsets,
    pub(in crate::pipeline) records: Batch,
    /// What is known of how they came round, once it is.
    pub(in crate::pipeline) came_round: Option<CameRound>,
    /// Whether there were more of them that could have been taken as well.
    pub(in crate::pipeline) more: bool,
}

/// What a micro-batch is made of.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct MicroBatch {
    /// Records by input, none of them empty, in the plan's order.
    pub(in crate::pipeline) inputs: Vec<Input>,
    /// Inputs that were read to their end and had nothing.
    pub(in crate::pipeline) quiet: Vec<usize>,
    /// Marks that no record carries, each for an input and after its records.
    pub(in crate::pipeline) marks: Vec<(usize, Mark)>,
    /// The machine's clock, in milliseconds since the Unix epoch.
    pub(in crate::pipeline) clock: i64,
}

/// What became of applied records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// They are applied, and to be committed.
    Whole,
    /// Those before the split are, and to be committed. The others are to be put back, and taken again in the next
    /// micro-batch.
    Part(SplitPoint),
    /// A call failed: they are to be applied again, fewer at a time. Nothing has changed but counters.
    Retreated,
}

/// How much of a micro-batch is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitPoint {
    /// So many records of each of its inputs.
    pub(in crate::pipeline) records: Vec<usize>,
}

/// The state of a running pipeline.
#[derive(Debug)]
pub struct Machine {
    pub(in crate::pipeline) plan: Arc<Plan>,
    /// The state of each step that has one.
    pub(in crate::pipeline) states: Vec<StepState>,
    pub(in crate::pipeline) watermarks: Watermarks,
    /// Processing time.
    pub(in crate::pipeline) clock: ProcessingClock,
    /// Whether what is not in `states` changed.
    pub(super) changed: bool,
    /// Which rows that came round are of its history.
    pub(in crate::pipeline) lineage: Lineage,
    /// What was known of partitions that this plan does not read.
    pub(in crate::pipeline) unread: BTreeMap<TopicPartition, time::Input>,
    pub(super) outputs: Outputs,
    pub(in crate::pipeline) usage: Usage,
    pub(super) poison: Poison,
    pub(super) paces: Paces,
    pub(in crate::pipeline) sweep: Sweep,
    /// What becomes of the state that is being read back.
    pub(in crate::pipeline) carry: Carry,
}

/// The steps of a plan without state.
fn new_states(plan: &Plan) -> Vec<StepState> {
    plan.keyed().map(|keyed| StepState::new(keyed, &plan.room)).collect()
}

/// The counters of a pipeline, as a commit has them; all 0 before the first.
pub(in crate::pipeline) fn usage_of(name: &PipelineName, usage: &[u8]) -> Result<Usage, Error> {
    if usage.is_empty() {
        return Ok(Usage::default());
    }
    let unreadable = |error: serde_json::Error| BlockError { at: error.column(), what: format!("usage: {error}") };
    serde_json::from_slice(usage).map_err(|error| Error::State { name: name.clone(), source: unreadable(error) })
}

/// What an applied micro-batch leaves to be committed.
#[derive(Debug)]
pub(in crate::pipeline) struct Effects {
    pub(in crate::pipeline) outputs: Vec<(TopicPartition, Bytes)>,
    pub(in crate::pipeline) block: Block,
    pub(in crate::pipeline) usage: Bytes,
}

impl Machine {
    /// A pipeline that has seen nothing.
    pub fn new(plan: Arc<Plan>) -> Self {
        Self {
            states: new_states(&plan),
            watermarks: Watermarks::new(plan.watermark.source, plan.watermark.idle_ms, plan.sources.len())
                .with_feedback(|input| plan.is_feedback(input)),
            clock: ProcessingClock::default(),
            changed: false,
            lineage: Lineage::default(),
            unread: BTreeMap::new(),
            outputs: Outputs::new(&plan.topics),
            usage: Usage::default(),
            poison: Poison::default(),
            paces: Paces::default(),
            sweep: Sweep::new(plan.thresholds),
            carry: Carry::default(),
            plan,
        }
    }

    /// One that reads back what another manifest's deployment has.
    pub(in crate::pipeline) fn carrying(plan: Arc<Plan>, carry: Carry) -> Self {
        Self { carry, ..Self::new(plan) }
    }

    /// From now on it is run by this task, under this epoch.
    pub(in crate::pipeline) fn begin_run(&mut self, task: TaskId, epoch: u64) {
        let feedback = self.plan.feedback.and_then(|feedback| self.plan.topics.get(feedback.topic));
        self.lineage.begin(task, epoch, feedback.map(|topic| topic.name.clone()));
    }

    /// Forgets the state of all steps and tables.
    pub(in crate::pipeline) fn clear_state(&mut self) {
        self.states = new_states(&self.plan);
        self.plan.references.clear();
    }

    /// The same under a plan that holds the same; none if a step's state is of another kind there.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn rebind(self, plan: Arc<Plan>) -> Option<Self> {
        let states: Option<_> = plan.keyed().zip(self.states).map(|(keyed, state)| state.rebind(keyed)).collect();
        Some(Self {
            states: states?,
            outputs: Outputs::new(&plan.topics),
            poison: Poison::default(),
            paces: Paces::default(),
            plan,
            ..self
        })
    }

    /// Runs the steps over a micro-batch, or over as much of it as one commit should have. After an error the machine must
    /// not be used again.
    ///
    /// If a call fails while nothing has changed yet and there are more than [`CAREFUL_RECORDS`] records, they are not
    /// applied at all: to be applied again in smaller numbers, so that a plugin that fails on everything fails on few
    /// rows a commit.
    pub(in crate::pipeline) async fn apply(&mut self, batch: &MicroBatch, work: &Work) -> Result<Applied, Error> {
        let (usage, watermarks, clock) = (self.usage, self.watermarks.clone(), self.clock);
        match self.run(batch, work).await {
            Ok(records) => {
                self.check_state()?;
                let whole = batch.inputs.iter().zip(&records).all(|(input, &records)| records == input.records.len());
                Ok(if whole { Applied::Whole } else { Applied::Part(SplitPoint { records }) })
            }
            Err(Stop::Failed(error)) => Err(error),
            Err(Stop::Retreat) => {
                let Usage { failed_calls, fuel, .. } = self.usage;
                self.usage = Usage { failed_calls, fuel, ..usage };
                (self.watermarks, self.clock) = (watermarks, clock);
                self.outputs.clear();
                Ok(Applied::Retreated)
            }
        }
    }

    /// Moves state to disk that does not fit in memory. Nothing may have changed since the last block: so this
    /// comes between the commit of one micro-batch and the next.
    pub(in crate::pipeline) fn make_room(&mut self) -> Result<(), Error> {
        let mut over = (self.state_bytes() as usize).saturating_sub(self.plan.room.memory);
        for state in &mut self.states {
            over = over.saturating_sub(state.store_mut().spill(over));
        }
        self.check_state()
    }

    /// Whether the state is within its limits and none of it was lost to a failing disk.
    pub(in crate::pipeline) fn check_state(&self) -> Result<(), Error> {
        let name = || self.plan.name.clone();
        if let Some(source) = self.states.iter().find_map(|state| state.store().failure()) {
            return Err(Error::StateDisk { name: name(), source: source.clone() });
        }
        let (used, limit) = (self.state_bytes(), STATE_BYTES_MAX);
        if used > limit {
            return Err(Error::StateLimit { name: name(), used, limit });
        }
        let (used, limit) = (self.disk_bytes(), STATE_DISK_BYTES_MAX);
        if used > limit {
            return Err(Error::StateDiskLimit { name: name(), used, limit });
        }
        Ok(())
    }

    /// What has been applied since the last call, to be committed under this number.
    pub(in crate::pipeline) fn take_effects(&mut self, sequence: u64) -> Effects {
        let writing = self.lineage.commit(sequence).map(|writing| writing.to_string());
        let told = self.plan.feedback.zip(writing.as_deref()).map(|(feedback, writing)| (feedback.topic, writing));
        let outputs = self.outputs.encode(&self.plan.topics, told);
        Effects { outputs, block: self.take_block(sequence), usage: self.usage_bytes() }
    }

    /// The counters, as a commit has them.
    pub(in crate::pipeline) fn usage_bytes(&self) -> Bytes {
        serde_json::to_vec(&self.usage).expect("a struct of numbers is always JSON").into()
    }

    fn take_block(&mut self, sequence: u64) -> Block {
        let stateful = !self.states.is_empty()
            || !self.plan.references.tables.is_empty()
            // What is on its way round is state too.
            || self.plan.feedback.is_some();
        let changed = std::mem::take(&mut self.changed) && stateful;
        if !changed && !self.states.iter().any(|state| state.store().is_changed()) {
            return Block::None;
        }
        let (bytes, oldest) = self.write_block(sequence);
        Block::Some { bytes, oldest }
    }

    /// Rebuilds the state block by block, in order.
    pub(in crate::pipeline) fn recover(&mut self, number: u64, block: &[u8]) -> Result<(), Error> {
        self.read_block(block).map_err(|error| error.of(&self.plan.name))?;
        self.sweep.read(number, block.len());
        self.make_room()
    }

    /// Takes the counters of the last commit.
    pub(in crate::pipeline) fn recover_usage(&mut self, usage: &[u8]) -> Result<(), Error> {
        self.usage = usage_of(&self.plan.name, usage)?;
        Ok(())
    }

    /// Whether something waits to be done by the next micro-batch at this time of the clock, even if nothing arrives.
    pub(in crate::pipeline) fn is_due(&self, clock: i64) -> bool {
        if self.next_timer().is_some_and(|next| next <= self.clock.at(clock)) {
            return true;
        }
        let mut now = Now { watermark: self.watermark(), clock: self.clock.now() };
        self.states.iter().any(|state| {
            let due = state.store().is_due(now);
            now.watermark = state.store().output_watermark(now.watermark);
            due
        })
    }

    /// Whether so much waits to be done that rows have to wait for it.
    pub(in crate::pipeline) fn has_backlog(&self, clock: i64) -> bool {
        let now = Now { watermark: self.watermark(), clock: self.clock.at(clock) };
        backlog(&self.states, now, self.plan.thresholds.backlog).is_some()
    }

    /// Whether an input that was read to its end and had nothing falls idle by that.
    pub(in crate::pipeline) fn falls_idle(&self, quiet: &[usize], clock: i64) -> bool {
        let clock = self.clock.at(clock);
        quiet.iter().any(|&input| !self.plan.is_table(input) && self.watermarks.falls_idle(input, clock))
    }

    /// What the machine's clock says when it next makes something due.
    pub(in crate::pipeline) fn next_clock(&self) -> Option<i64> {
        let next = self.next_timer().into_iter().chain(self.watermarks.next_idle()).min();
        next.map(|time| self.clock.machine_at(time))
    }

    /// The processing time at which something is next due in a step.
    fn next_timer(&self) -> Option<i64> {
        self.states.iter().filter_map(|state| state.store().next_clock()).min()
    }

    /// Whether an input is further ahead of the slowest than `drift_ms`.
    pub(in crate::pipeline) fn is_ahead(&self, input: usize, drift_ms: i64) -> bool {
        !self.plan.is_table(input) && self.watermarks.is_ahead(input, drift_ms)
    }

    /// The event time that an input has come to, if it is known.
    pub(in crate::pipeline) fn reached(&self, input: usize) -> Option<i64> {
        let known = self.watermarks.inputs().get(input)?;
        known.newest.max(known.watermark.time())
    }

    /// Notes inputs that have nothing, for which the time until they are idle begins, and inputs that are held back, for
    /// which it does not. That time is in no block: it starts over after a restart.
    pub(in crate::pipeline) fn note_quiet(&mut self, quiet: &[usize], held: &[usize], clock: i64) {
        let clock = self.clock.at(clock);
        for &input in quiet.iter().filter(|input| !self.plan.is_table(**input)) {
            self.watermarks.note_quiet(input, clock);
        }
        for &input in held {
            self.watermarks.note_held(input);
        }
    }

    /// Event time up to which all inputs have been seen.
    pub(in crate::pipeline) fn watermark(&self) -> Watermark {
        self.watermarks.output()
    }

    /// What is known of each input, in the plan's order.
    pub(in crate::pipeline) fn inputs(&self) -> &[time::Input] {
        self.watermarks.inputs()
    }

    /// Keys, or keys and windows, with state.
    pub(in crate::pipeline) fn open_groups(&self) -> u64 {
        self.states.iter().map(|state| state.store().len()).sum::<usize>() as u64
    }

    /// Bytes of state in memory.
    pub(in crate::pipeline) fn state_bytes(&self) -> u64 {
        let tables = self.plan.references.tables.values().map(|table| table.content.read().bytes());
        self.states.iter().map(|state| state.store().bytes()).chain(tables).sum::<usize>() as u64
    }

    /// Bytes of state on disk.
    pub(in crate::pipeline) fn disk_bytes(&self) -> u64 {
        self.states.iter().map(|state| state.store().bytes_on_disk()).sum()
    }

    /// The state value that a step keeps in memory for a key, as its plugin writes it.
    pub(in crate::pipeline) fn state(&self, step: &StepName, key: Option<&[u8]>) -> Option<&[u8]> {
        let found = self.plan.keyed().zip(&self.states).find(|(keyed, _)| keyed.step().name == *step);
        match found?.1 {
            StepState::Keyed(_, state) => state.value(key),
            StepState::Windows(..) | StepState::KeyedWindows(..) => None,
        }
    }

    /// The counters, those of records lost to retention included.
    pub(in crate::pipeline) fn usage_mut(&mut self) -> &mut Usage {
        &mut self.usage
    }

    /// If at least this many rows in a row were poisonous: the step and its last failure. Counting starts over.
    pub(in crate::pipeline) fn take_poisoned(&mut self, rows: u32) -> Option<(String, Failure)> {
        if self.poison.rows < rows {
            return None;
        }
        self.poison.rows = 0;
        self.poison.last.take()
    }
}
