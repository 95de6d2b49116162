//! The loop of a running pipeline: take what has arrived, apply it, commit, again.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::intake::{Intake, Take};
use super::shared::Shared;
use crate::clock::now_ms;
use crate::environment::Environment;
use crate::fail;
use crate::ids::{Offset, StepName, TaskId, TopicName, TopicPartition};
use crate::log::{self, Commit, Log, PartitionInfo, Position, TopicInfo};
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::machine::{Applied, Machine, MicroBatch};
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::WarmState;
use crate::pipeline::engine::work::{Elapsed, Work, WorkLimits};
use crate::pipeline::error::Error;
use crate::pipeline::spec::Start;
use crate::pipeline::status::{Doing, Reason, Usage};
use crate::time::{Input, Mark};

/// Poisonous rows one after the other, over however many micro-batches, after which a pipeline backs off: its plugin
/// probably fails on everything.
const POISON_ROWS_MAX: u32 = 1000;
/// How long the clock is trusted to run evenly: after that it is read again.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A pipeline that is read back and ready to go on.
#[derive(Debug)]
pub(in crate::pipeline) struct Runner {
    task: TaskId,
    /// Under which it commits: a newer runner of the task has a greater one, and this one commits no more.
    epoch: u64,
    plan: Arc<Plan>,
    log: Arc<dyn Log>,
    machine: Machine,
    intake: Intake,
    /// Where it was in topics that it no longer reads: there it goes on if it reads them again.
    elsewhere: BTreeMap<TopicPartition, Position>,
    /// The number of the last commit.
    sequence: u64,
    arrivals: Vec<(TopicName, watch::Receiver<u64>)>,
    shared: Arc<Shared>,
}

/// Why a runner came back without an error.
#[derive(Debug)]
pub(in crate::pipeline) enum Ended {
    /// It was asked to stop: what it has in memory, for whoever goes on.
    Stopped(Option<Box<WarmState>>),
    /// A step failed on very many rows one after the other.
    Poisoned(Reason),
}

impl Runner {
    /// Goes on with what another runner had in memory under this plan, or what was [replayed](Self::replay) under it, after
    /// the task was fenced: the epoch is the fence's answer, and no other runner of the task commits.
    pub(in crate::pipeline) async fn open(
        task: TaskId,
        epoch: u64,
        plan: Arc<Plan>,
        start: Start,
        log: Arc<dyn Log>,
        shared: Arc<Shared>,
        warm: WarmState,
    ) -> Result<Self, Error> {
        let topics = log.topics(&plan.tenant).await?;
        let mut warm = warm;
        let fresh = warm.begin_inputs(&plan, start, &topics)?;
        let WarmState { mut machine, positions: mut known, sequence } = warm;
        machine.begin_run(task, epoch);
        let positions = plan.inputs.iter().filter_map(|at| known.remove(at)).collect();
        let tables = plan.inputs.iter().enumerate().filter(|&(input, _)| plan.is_table(input));
        let end =
            |at: &TopicPartition| topics.get(&at.topic)?.partitions.get(at.partition as usize).map(|info| info.end);
        let tables_to = tables.map(|(_, at)| end(at).unwrap_or_default()).collect();
        let mut names: Vec<_> = plan.inputs.iter().map(|at| at.topic.clone()).collect();
        names.dedup();
        let mut arrivals = Vec::with_capacity(names.len());
        for topic in names {
            let arrival = log.watch(&plan.tenant, &topic)?;
            arrivals.push((topic, arrival));
        }
        let mut runner = Self {
            task,
            epoch,
            sequence,
            intake: Intake::new(positions, tables_to),
            elsewhere: known,
            plan,
            log,
            machine,
            arrivals,
            shared,
        };
        if fresh {
            // Where it began must be remembered: records that arrive before the first commit could be skipped where that was
            // the end, and records that retention removes before it would not be missed where it was the beginning.
            runner.commit().await?;
        }
        runner.publish();
        Ok(runner)
    }

    /// What the commits of a task amount to, under a plan. `carry` says what becomes of state, where another manifest
    /// wrote it. It reads all blocks that are needed, which takes long where there is much state.
    pub(in crate::pipeline) fn replay(
        task: TaskId,
        plan: &Arc<Plan>,
        carry: Carry,
        log: &dyn Log,
    ) -> Result<WarmState, Error> {
        // Somebody may have read blocks of another moment under this plan, to see whether they go together.
        plan.references.clear();
        let mut machine = Machine::carrying(Arc::clone(plan), carry);
        let mut recovered = Ok(());
        let head = log.replay(&plan.tenant, task, 0, &mut |number, block| {
            recovered = machine.recover(number, &block);
            if recovered.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        recovered?;
        machine.recover_usage(&head.usage)?;
        let carry = std::mem::take(&mut machine.carry);
        let mut live = WarmState { machine, positions: head.positions, sequence: head.sequence };
        carry.settle(&mut live);
        Ok(live)
    }

    /// What it has in memory, which is what it has committed.
    fn into_warm_state(self) -> WarmState {
        let mut positions = self.elsewhere;
        positions.extend(self.plan.inputs.iter().cloned().zip(self.intake.places()));
        WarmState { positions, machine: self.machine, sequence: self.sequence }
    }

    /// Runs until told to stop, which is looked at between two micro-batches.
    pub(in crate::pipeline) async fn run(
        mut self,
        mut stop: watch::Receiver<bool>,
        environment: &dyn Environment,
    ) -> Result<Ended, Error> {
        loop {
            if *stop.borrow() {
                return Ok(Ended::Stopped(Some(Box::new(self.into_warm_state()))));
            }
            for (_, arrival) in &mut self.arrivals {
                arrival.mark_unchanged();
            }
            let begun = Instant::now();
            let elapsed = move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            if !self.micro_batch(&Take::Arrived, environment.now_ms(), Box::new(elapsed)).await? {
                self.doing(Doing::Waiting);
                self.wait(&mut stop, environment).await?;
                continue;
            }
            if let Some(reason) = self.take_poisoned() {
                return Ok(Ended::Poisoned(reason));
            }
        }
    }

    /// Why the pipeline should pause, if it should: a step failed on very many rows one after the other.
    pub(in crate::pipeline) fn take_poisoned(&mut self) -> Option<Reason> {
        let (step, failure) = self.machine.take_poisoned(POISON_ROWS_MAX)?;
        let message = format!(
            "step `{step}` failed on {POISON_ROWS_MAX} rows one after the other, last with: {}; fix the plugin and apply the pipeline again",
            failure.message
        );
        Some(Reason { code: failure.code.to_owned(), message })
    }

    /// Takes what has arrived or is due at this time of the clock, applies and commits it. Whether there was anything.
    /// How long that takes changes nothing, so that the same inputs always give the same commits.
    pub(in crate::pipeline) async fn step(&mut self, take: &Take, clock: i64) -> Result<bool, Error> {
        self.micro_batch(take, clock, Box::new(|| 0)).await
    }

    /// The same, with what has been done by then being committed when it has taken long enough. `elapsed` says how many
    /// milliseconds it has taken so far.
    async fn micro_batch(&mut self, take: &Take, clock: i64, elapsed: Elapsed) -> Result<bool, Error> {
        self.doing(Doing::Taking);
        // Rows would only be put back.
        let take = if self.machine.has_backlog(clock) { &Take::Records(0) } else { take };
        let drift_ms = self.plan.watermark.drift_ms;
        let machine = &self.machine;
        let is_ahead = |input| drift_ms.is_some_and(|drift_ms| machine.is_ahead(input, drift_ms));
        let reached = |input| machine.reached(input);
        let taken = self.intake.take(&self.plan, &*self.log, take, is_ahead, reached).await?;
        self.machine.note_quiet(&taken.quiet, &taken.held, clock);
        if taken.inputs.is_empty()
            && taken.trimmed == 0
            && !self.machine.is_due(clock)
            && !self.machine.falls_idle(&taken.quiet, clock)
        {
            return Ok(false);
        }
        fail::point("batch-taken");
        let failed_before = self.machine.usage_mut().failed_calls;
        self.machine.usage_mut().trimmed += taken.trimmed;
        let batch = MicroBatch { inputs: taken.inputs, quiet: taken.quiet, marks: Vec::new(), clock };
        let work = Work::new(WorkLimits::default(), Arc::clone(&self.shared.doings.meter), elapsed);
        self.doing(Doing::Applying);
        match self.machine.apply(&batch, &work).await? {
            Applied::Whole => self.intake.widen(&batch.inputs),
            Applied::Part(split) => self.intake.put_back(&batch.inputs, &split),
            Applied::Retreated => {
                self.intake.retreat(&batch.inputs);
                return Ok(true);
            }
        }
        fail::point("batch-applied");
        self.commit().await?;
        fail::point("commit-known");
        self.publish();
        self.intake.advance(self.machine.usage_mut().failed_calls > failed_before);
        Ok(true)
    }

    /// Lets an input pass a mark that no record carries, in a micro-batch of its own.
    pub(in crate::pipeline) async fn mark(&mut self, input: usize, mark: Mark, clock: i64) -> Result<(), Error> {
        let batch = MicroBatch { marks: vec![(input, mark)], clock, ..MicroBatch::default() };
        // It has no records to take fewer of, so it is applied whole.
        self.machine.apply(&batch, &Work::default()).await?;
        self.commit().await?;
        self.publish();
        Ok(())
    }

    /// The state value that a step keeps for a key.
    pub(in crate::pipeline) fn state(&self, step: &StepName, key: Option<&[u8]>) -> Option<&[u8]> {
        self.machine.state(step, key)
    }

    /// When the clock next makes something due.
    pub(in crate::pipeline) fn next_clock(&self) -> Option<i64> {
        self.machine.next_clock()
    }

    /// Waits for records, for what the clock makes due, or for the order to stop.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>, environment: &dyn Environment) -> Result<(), Error> {
        let due = self.machine.next_clock().map(|next| next.saturating_sub(environment.now_ms()).max(1) as u64);
        let mut due = pin!(async {
            match due {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms).min(WAIT_MAX)).await,
                None => std::future::pending().await,
            }
        });
        let arrivals = self.arrivals.iter_mut();
        let mut arrivals: Vec<_> = arrivals.map(|(topic, arrival)| (topic, Box::pin(arrival.changed()))).collect();
        let mut stop = pin!(stop.changed());
        poll_fn(|context| {
            if stop.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if due.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            for (topic, arrival) in &mut arrivals {
                if let Poll::Ready(result) = arrival.as_mut().poll(context) {
                    let gone = |_| Error::Log(log::Error::TopicNotFound { topic: topic.clone() });
                    return Poll::Ready(result.map_err(gone));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Says what it does from now on.
    fn doing(&self, doing: Doing) {
        self.shared.doings.begin(doing, now_ms());
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.doing(Doing::Committing);
        let effects = self.machine.take_effects(self.sequence + 1);
        let positions = self.plan.inputs.iter().cloned().zip(self.intake.places()).collect();
        let commit = Commit {
            task: self.task,
            epoch: self.epoch,
            sequence: self.sequence + 1,
            positions,
            outputs: effects.outputs,
            block: effects.block,
            usage: effects.usage,
        };
        self.log.commit(&self.plan.tenant, commit).await?;
        self.sequence += 1;
        self.machine.make_room()
    }

    /// Shows what is committed to whoever asks for the status.
    fn publish(&mut self) {
        let usage = *self.machine.usage_mut();
        self.shared.publish(|progress| {
            let tables = std::iter::repeat(Input::default());
            let known = self.machine.inputs().iter().copied().chain(tables);
            let places = self.intake.positions().iter().zip(known);
            progress.inputs.clear();
            progress.inputs.extend(
                self.plan.inputs.iter().cloned().zip(places).map(|(at, (&position, known))| (at, position, known)),
            );
            progress.watermark = self.machine.watermark().time();
            progress.usage = usage;
            progress.open_groups = self.machine.open_groups();
            progress.state_bytes = self.machine.state_bytes();
            progress.state_disk_bytes = self.machine.disk_bytes();
        });
    }
}

impl WarmState {
    /// Gives a place to each input that has none: a source begins where the manifest says, a table at the beginning of its
    /// topic. Whether there was one.
    pub(in crate::pipeline) fn begin_inputs(
        &mut self,
        plan: &Plan,
        start: Start,
        topics: &BTreeMap<TopicName, TopicInfo>,
    ) -> Result<bool, Error> {
        plan.same_topics(&self.positions, topics)?;
        let mut fresh = false;
        for (input, at) in plan.inputs.iter().enumerate() {
            let topic = topics.get(&at.topic).ok_or_else(|| log::Error::TopicNotFound { topic: at.topic.clone() })?;
            self.positions.entry(at.clone()).or_insert_with(|| {
                fresh = true;
                let start = if plan.is_table(input) { Start::Earliest } else { start };
                let partition = topic.partitions.get(at.partition as usize).copied().unwrap_or_default();
                Position { topic_id: topic.id, offset: begin_of(start, &partition) }
            });
        }
        Ok(fresh)
    }
}

/// Where reading begins in a partition that was not read before.
pub(in crate::pipeline) const fn begin_of(start: Start, partition: &PartitionInfo) -> Offset {
    match start {
        Start::Earliest => partition.start,
        Start::Latest => partition.end,
    }
}

/// What is committed, for the status.
#[derive(Debug, Clone, Default)]
pub(in crate::pipeline) struct Progress {
    /// Each input, the next record to read, and what is known of it.
    pub(in crate::pipeline) inputs: Vec<(TopicPartition, Offset, Input)>,
    pub(in crate::pipeline) watermark: Option<i64>,
    pub(in crate::pipeline) usage: Usage,
    pub(in crate::pipeline) open_groups: u64,
    pub(in crate::pipeline) state_bytes: u64,
    pub(in crate::pipeline) state_disk_bytes: u64,
}
