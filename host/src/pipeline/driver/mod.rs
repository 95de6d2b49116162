//! A pipeline driven by hand: micro-batch by micro-batch, on a log in memory, by a clock that stands until it is moved.
//!
//! It is the real engine, the runner and all that is below it; what it has not is a server around it. So
//! it serves tests of pipelines, the SDK's `TestDriver` among them, and programs that check the engine against others.
//!
//! A driver blocks while it works, and so must not be used from within an asynchronous task.

mod checkpoint;
#[cfg(feature = "sandbox")]
mod components;
mod fault;
mod takeover;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Runtime;

pub use self::checkpoint::Checkpoint;
#[cfg(feature = "sandbox")]
pub use self::components::Components;
use self::fault::{Fault, FaultyLog};
use self::takeover::take_over;
use super::error::Error;
use super::spec::{Spec, StepSpec};
use super::status::{InputStatus, Reason, State, StepStatus, Usage};
use crate::ids::{PartitionId, PipelineId, StepName, TaskId, TenantId, TopicName, TopicPartition, default_tenant};
use crate::log::batch::{EncodeOptions, decode, encode};
use crate::log::{self, CommitLog as _, Fenced, Log, RecordLog as _, TopicAdmin as _, TopicConfig, TopicInfo};
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::{Loaded, Plan};
use crate::pipeline::engine::references::References;
use crate::pipeline::engine::thresholds::Thresholds;
use crate::pipeline::io::intake::Take;
use crate::pipeline::io::runner::Runner;
use crate::pipeline::io::shared::Shared;
use crate::plugin::Grants;
use crate::record::{Batch, BatchRef};
use crate::time::Mark;

/// The only task of a driver's log.
const TASK: TaskId = PipelineId(1).task();

/// A pipeline driven by hand.
#[derive(Debug)]
pub struct Driver {
    log: Arc<FaultyLog>,
    spec: Spec,
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    runner: Runner,
    clock: i64,
    runtime: Runtime,
}

/// Where a pipeline crashes. Whatever it is, nothing is lost and nothing done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Between two micro-batches.
    Idle,
    /// When a micro-batch is applied, before it is committed.
    BeforeCommit,
    /// When a micro-batch is committed, before the pipeline knows that it is.
    AfterCommit,
}

/// What can be seen of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// What it has done since it was made.
    pub usage: Usage,
    /// Event time up to which everything has been seen.
    pub watermark: Option<i64>,
    /// Its inputs, partition by partition.
    pub inputs: Vec<InputStatus>,
    /// Keys, or keys and windows, with state.
    pub open_groups: u64,
    /// Bytes of state in memory.
    pub state_bytes: u64,
    /// Its steps, with what their plugins measure.
    pub steps: Vec<StepStatus>,
}

impl Driver {
    /// A pipeline over empty topics. `partitions` says how many partitions each topic gets that the manifest names, and
    /// `load` gives the plugin of each step, with what the manifest grants it. The clock stands at 0.
    pub fn new(
        manifest: &str,
        partitions: impl Fn(&TopicName) -> u32,
        load: impl FnMut(&StepSpec, Grants) -> Result<Loaded, Error>,
    ) -> Result<Self, Error> {
        Self::with_thresholds(manifest, partitions, load, Thresholds::default())
    }

    /// The same, with other sizes at which the engine goes another way. Results do not depend on them.
    pub fn with_thresholds(
        manifest: &str,
        partitions: impl Fn(&TopicName) -> u32,
        load: impl FnMut(&StepSpec, Grants) -> Result<Loaded, Error>,
        thresholds: Thresholds,
    ) -> Result<Self, Error> {
        let spec: Spec = manifest.parse()?;
        let log = Arc::new(FaultyLog::default());
        let runtime = runtime()?;
        for topic in spec.topics() {
            let config = TopicConfig::with_partitions(partitions(&topic));
            runtime.block_on(log.create_topic(&tenant(), &topic, config))?;
        }
        let plan = plan(&spec, &runtime.block_on(log.topics(&tenant()))?, load, thresholds)?;
        let (runner, shared) = open(&runtime, &spec, &plan, &log)?;
        Ok(Self { log, spec, plan, shared, runner, clock: 0, runtime })
    }

    /// The same topics and state under another manifest or with other plugins, which may migrate the state. If the pipeline cannot take over what
    /// there is, an error says why and everything is as it was.
    pub fn change(
        &mut self,
        manifest: &str,
        partitions: impl Fn(&TopicName) -> u32,
        load: impl FnMut(&StepSpec, Grants) -> Result<Loaded, Error>,
    ) -> Result<(), Error> {
        self.change_dropping(manifest, &[], partitions, load)
    }

    /// The same, leaving behind the state of these steps, by the names that they have before.
    pub fn change_dropping(
        &mut self,
        manifest: &str,
        drop_state: &[StepName],
        partitions: impl Fn(&TopicName) -> u32,
        load: impl FnMut(&StepSpec, Grants) -> Result<Loaded, Error>,
    ) -> Result<(), Error> {
        let spec: Spec = manifest.parse()?;
        let known = self.topics()?;
        for topic in spec.topics().iter().filter(|topic| !known.contains_key(topic)) {
            let config = TopicConfig::with_partitions(partitions(topic));
            self.runtime.block_on(self.log.create_topic(&tenant(), topic, config))?;
        }
        let plan = plan(&spec, &self.topics()?, load, self.plan.thresholds)?;
        let carry = Carry::between(&self.spec, &spec, &plan, drop_state)?;
        if let Err(error) = self.runtime.block_on(take_over(&self.plan, &plan, &carry, &*self.log)) {
            self.reopen()?;
            return Err(error);
        }
        (self.runner, self.shared) = open(&self.runtime, &spec, &plan, &self.log)?;
        (self.spec, self.plan) = (spec, plan);
        Ok(())
    }

    /// The manifest, read.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The partitions that it reads, in the order of [`Take::Each`].
    pub fn inputs(&self) -> &[TopicPartition] {
        &self.plan.inputs
    }

    /// Appends records to a partition of any topic. They are not processed before the next step.
    pub fn feed(&mut self, at: &TopicPartition, records: BatchRef<'_>) -> Result<(), Error> {
        if !records.is_empty() {
            self.append(at, encode(records, &EncodeOptions::default()))?;
        }
        Ok(())
    }

    /// Appends record batches to a partition of any topic as a producer sends them: all of them, or none.
    pub fn append(&mut self, at: &TopicPartition, batches: Bytes) -> Result<(), Error> {
        self.runtime.block_on(self.log.append(&tenant(), at, batches))?;
        Ok(())
    }

    /// Does one micro-batch: takes records, does what is due, commits. Whether there was anything to do.
    ///
    /// After an error the pipeline stands where its last commit left it, as a server would restart it.
    pub fn step(&mut self, take: &Take) -> Result<bool, Error> {
        match self.runtime.block_on(self.runner.step(take, self.clock)) {
            Ok(worked) => Ok(worked),
            Err(error) => {
                self.reopen()?;
                Err(error)
            }
        }
    }

    /// Does micro-batches until there is nothing to do. How many there were.
    pub fn run(&mut self, take: &Take) -> Result<u64, Error> {
        let mut steps = 0;
        while self.step(take)? {
            steps += 1;
        }
        Ok(steps)
    }

    /// Why a server would let the pipeline back off by now, if it would: its plugin fails on whatever it is given.
    pub fn take_poisoned(&mut self) -> Option<Reason> {
        self.runner.take_poisoned()
    }

    /// Lets a partition pass a mark, as if it stood after the records that were taken so far, and does what becomes due
    /// by it. So a test says that time goes on where no record says so.
    pub fn mark(&mut self, at: &TopicPartition, mark: Mark) -> Result<(), Error> {
        let Some(input) = self.plan.inputs.iter().position(|input| input == at) else {
            return Err(self.no_input(at));
        };
        if let Err(error) = self.runtime.block_on(self.runner.mark(input, mark, self.clock)) {
            self.reopen()?;
            return Err(error);
        }
        Ok(())
    }

    /// The clock, in milliseconds since the Unix epoch.
    pub fn clock(&self) -> i64 {
        self.clock
    }

    /// Moves the clock. What becomes due is done by the next step. For the pipeline the clock never goes back.
    pub fn set_clock(&mut self, clock: i64) {
        self.clock = clock;
    }

    /// When the clock next makes something due.
    pub fn next_clock(&self) -> Option<i64> {
        self.runner.next_clock()
    }

    /// The records of a topic, partition by partition, each from its oldest on.
    pub fn read(&self, topic: &TopicName) -> Result<Vec<Batch>, Error> {
        let topics = self.topics()?;
        let info = topics.get(topic).ok_or_else(|| log::Error::TopicNotFound { topic: topic.clone() })?;
        (0..).zip(&info.partitions).map(|(partition, info)| self.read_partition(topic, partition, info.start)).collect()
    }

    fn read_partition(&self, topic: &TopicName, partition: PartitionId, start: u64) -> Result<Batch, Error> {
        let at = TopicPartition { topic: topic.clone(), partition };
        let mut batch = Batch::default();
        for encoded in self.runtime.block_on(self.log.fetch(&tenant(), &at, start, usize::MAX))?.batches {
            let corrupt = |error: log::batch::Invalid| log::Error::Corrupt {
                what: format!("record batch of `{at}`"),
                reason: error.to_string(),
            };
            decode(&encoded, start, true, &mut batch).map_err(corrupt)?;
        }
        Ok(batch)
    }

    /// The topics there are.
    pub fn topics(&self) -> Result<BTreeMap<TopicName, TopicInfo>, Error> {
        Ok(self.runtime.block_on(self.log.topics(&tenant()))?)
    }

    /// What can be seen of the pipeline now.
    pub fn status(&self) -> Result<Status, Error> {
        let (topics, progress) = (self.topics()?, self.shared.view().progress);
        let inputs = progress.inputs.into_iter().map(|(at, position, known)| {
            let partition = topics.get(&at.topic).and_then(|topic| topic.partitions.get(at.partition as usize));
            InputStatus {
                end: partition.map_or(position, |partition| partition.end),
                topic: at.topic,
                partition: at.partition,
                position,
                newest: known.newest,
                idle: known.idle,
            }
        });
        let steps = self.plan.steps().map(|step| StepStatus {
            name: step.name.clone(),
            plugin: step.plugin.clone(),
            digest: step.digest,
            held: false,
            metrics: self.plan.metrics(&step.name),
        });
        Ok(Status {
            usage: progress.usage,
            watermark: progress.watermark,
            inputs: inputs.collect(),
            open_groups: progress.open_groups,
            state_bytes: progress.state_bytes,
            steps: steps.collect(),
        })
    }

    /// What a step keeps for a key, as its plugin writes it: the SDK's `State` of the plugin reads it. None for windows,
    /// which are kept by the host.
    pub fn state(&self, step: &StepName, key: Option<&[u8]>) -> Option<&[u8]> {
        self.runner.state(step, key)
    }

    /// Loses everything that is not in the log, at this point of the next micro-batch, and starts the pipeline again.
    /// Whether there was a micro-batch.
    pub fn crash(&mut self, crash: Crash, take: &Take) -> Result<bool, Error> {
        let fault = match crash {
            Crash::Idle => None,
            Crash::BeforeCommit => Some(Fault::Unwritten),
            Crash::AfterCommit => Some(Fault::Unanswered),
        };
        let mut worked = false;
        if fault.is_some() {
            self.log.set(fault);
            // A micro-batch that is to be taken again in small numbers commits nothing.
            let mut stepped = Ok(true);
            while matches!(stepped, Ok(true)) {
                stepped = self.runtime.block_on(self.runner.step(take, self.clock));
            }
            self.log.set(None);
            self.reopen()?;
            worked = match stepped {
                Err(Error::Log(log::Error::Closed)) => true,
                other => other?,
            };
        } else {
            self.reopen()?;
        }
        Ok(worked)
    }

    /// The pipeline as it is now, to be restored later or elsewhere.
    pub fn checkpoint(&self) -> Result<Checkpoint, Error> {
        Ok(Checkpoint::of(self.log.recover(&tenant(), TASK)?))
    }

    /// Puts the pipeline back to a checkpoint: of this driver, or of another with the same manifest, whose topics then
    /// need to hold as many records, unless the checkpoint is [without positions](Checkpoint::without_positions). What
    /// the pipeline wrote to topics since stays there. An error leaves everything as it was.
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        let topics = self.topics()?;
        checkpoint.check(&topics)?;
        let before = self.checkpoint()?;
        self.runtime.block_on(checkpoint.write(&*self.log, &tenant(), TASK))?;
        if let Err(error) = self.reopen() {
            self.runtime.block_on(before.write(&*self.log, &tenant(), TASK))?;
            self.reopen()?;
            return Err(error);
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Error> {
        (self.runner, self.shared) = open(&self.runtime, &self.spec, &self.plan, &self.log)?;
        Ok(())
    }

    fn no_input(&self, at: &TopicPartition) -> Error {
        let partitions = self.plan.inputs.iter().filter(|input| input.topic == at.topic).count() as u32;
        Error::Log(match partitions {
            0 => log::Error::TopicNotFound { topic: at.topic.clone() },
            _ => log::Error::PartitionNotFound { at: at.clone(), partitions },
        })
    }
}

fn tenant() -> TenantId {
    default_tenant()
}

/// Neither timers nor I/O: nothing that a driver waits for takes time.
fn runtime() -> Result<Runtime, Error> {
    let failed = |error: std::io::Error| log::Error::Storage { reason: error.to_string() };
    Ok(tokio::runtime::Builder::new_current_thread().build().map_err(failed)?)
}

fn plan(
    spec: &Spec,
    topics: &BTreeMap<TopicName, TopicInfo>,
    mut load: impl FnMut(&StepSpec, Grants) -> Result<Loaded, Error>,
    thresholds: Thresholds,
) -> Result<Arc<Plan>, Error> {
    let references = References::new(spec);
    let load = |step: &StepSpec| load(step, references.grants(step));
    let loaded = spec.steps.iter().map(load).collect::<Result<_, _>>()?;
    let partitions = |topic: &TopicName| topics.get(topic).map(|topic| topic.config.partitions);
    let is_compacted = |topic: &TopicName| topics.get(topic).is_some_and(|topic| topic.config.cleanup.compacts());
    let plan = Plan::new(tenant(), spec, loaded, references, partitions)?.require_keys(is_compacted)?;
    Ok(Arc::new(plan.with_thresholds(thresholds)))
}

fn open(
    runtime: &Runtime,
    spec: &Spec,
    plan: &Arc<Plan>,
    log: &Arc<FaultyLog>,
) -> Result<(Runner, Arc<Shared>), Error> {
    let shared = Arc::new(Shared::new(State::Running));
    let log = Arc::clone(log) as Arc<dyn Log>;
    let Fenced { epoch, .. } = runtime.block_on(log.fence(&plan.tenant, TASK))?;
    let warm = Runner::replay(TASK, plan, Carry::default(), &*log)?;
    let seen = Arc::clone(&shared);
    let runner = runtime.block_on(Runner::open(TASK, epoch, Arc::clone(plan), spec.start, log, seen, warm))?;
    Ok((runner, shared))
}
