//! A pipeline driven by hand, micro-batch by micro-batch, on the in-memory log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::guests::{collect, count, parse};
use super::sift::{sift, spread};
use super::tracker::{endless_tracker, leaving_tracker, tracker};
use super::wide::wide;
use crate::ids::{Digest, Offset, PipelineId, TaskId, TenantId, TopicName, TopicPartition, default_tenant};
use crate::log::batch::{EncodeOptions, decode, encode};
use crate::log::memory::MemoryLog;
use crate::log::{Commit, CommitLog as _, Position, RecordLog as _, TopicAdmin as _, TopicConfig};
use crate::pipeline::Error;
use crate::pipeline::engine::machine::{Applied, CAREFUL_RECORDS, Effects, Machine, MicroBatch};
use crate::pipeline::engine::plan::{Loaded, Plan};
use crate::pipeline::engine::references::References;
use crate::pipeline::engine::thresholds::Thresholds;
use crate::pipeline::engine::work::Work;
use crate::pipeline::io::intake::{Intake, Take};
use crate::pipeline::spec::{Spec, StepSpec};
use crate::plugin::{Grants, Metric};
use crate::record::Batch;
use crate::state::{MemoryDisks, Room};

/// So small that whatever is tested comes by every way of the engine.
pub(super) const THRESHOLDS: Thresholds = Thresholds {
    closing_groups: 1 << 10,
    backlog: 8,
    window_operations: 64,
    kept_bytes: 4 << 10,
    rewrite_bytes: 200,
    sample_rows: 8,
};

/// Parses, then counts in windows of 10 ms with 5 ms of disorder.
pub(super) const COUNTING: &str = r#"
name = "p"
[source]
topics = ["in"]
[watermark]
disorder = "5ms"
[[steps]]
name = "parse"
plugin = "parse"
outputs = { side = "side" }
[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "10ms" }
late = "late"
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

pub(super) struct Driver {
    pub(super) log: Arc<MemoryLog>,
    pub(super) machine: Machine,
    pub(super) plan: Arc<Plan>,
    intake: Intake,
    pub(super) sequence: u64,
    /// Under which it commits.
    pub(super) epoch: u64,
    /// How often the machine asked for fewer records.
    pub(super) retreats: u32,
    /// How often it asked for those before a backlog.
    pub(super) cuts: u32,
    /// The clock of the next micro-batch.
    pub(super) clock: i64,
    /// How much a micro-batch may do.
    pub(super) work: Work,
    /// Whether what is taken is to be taken for a part of a backlog.
    pub(super) more: bool,
}

/// The only task of a log.
pub(super) const TASK: TaskId = PipelineId(1).task();

fn tenant() -> TenantId {
    default_tenant()
}

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a name")
}

pub(in crate::pipeline) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(future)
}

/// The plugin of a step.
pub(super) fn load(step: &StepSpec, _: Grants) -> Result<Loaded, Error> {
    let guest = match step.plugin.name.as_str() {
        "track" => tracker(),
        "track-leaving" => leaving_tracker(),
        "track-endless" => endless_tracker(),
        "collect" => collect(),
        "spread" => spread(),
        "sift" => sift(),
        name if name.starts_with("wide") => wide(name),
        _ if step.window.is_some() => count(),
        _ => parse(),
    };
    Ok(Loaded { digest: Digest::of(step.plugin.name.as_str().as_bytes()), guest })
}

/// The plan of a pipeline over the topics of a log.
pub(super) fn plan(log: &MemoryLog, spec: &Spec) -> Result<Arc<Plan>, Error> {
    let topics = wait(log.topics(&tenant())).expect("the log answers");
    let loaded = spec.steps.iter().map(|step| load(step, Grants::default())).collect::<Result<_, _>>()?;
    let partitions = |topic: &TopicName| topics.get(topic).map(|topic| topic.config.partitions);
    let is_compacted = |topic: &TopicName| topics.get(topic).is_some_and(|topic| topic.config.cleanup.compacts());
    // Some keys are in memory, some on disk: results do not depend on where.
    let room = Room { memory: 500, disks: Some(Arc::new(MemoryDisks)) };
    let plan = Plan::new(tenant(), spec, loaded, References::new(spec), partitions)?.require_keys(is_compacted)?;
    Ok(Arc::new(plan.with_room(room).with_thresholds(THRESHOLDS)))
}

impl Driver {
    /// A pipeline over its sources, which share these partitions evenly and hold these values.
    pub(super) fn new(manifest: &str, inputs: &[Vec<String>]) -> Self {
        let log = Arc::new(MemoryLog::default());
        let spec: Spec = manifest.parse().expect("the manifest is good");
        let sources = spec.sources.len();
        for source in &spec.sources {
            let partitions = (inputs.len() / sources) as u32;
            wait(log.create_topic(&tenant(), source, TopicConfig::with_partitions(partitions))).expect("new");
        }
        for topic in spec.targets() {
            wait(log.create_topic(&tenant(), &topic, TopicConfig::with_partitions(1))).expect("new");
        }
        for (number, values) in inputs.iter().enumerate() {
            let mut batch = Batch::default();
            values.iter().for_each(|value| batch.push(0, Some(b"k"), Some(value.as_bytes())));
            if !batch.is_empty() {
                let per_topic = inputs.len() / sources;
                let topic = spec.sources[number / per_topic].clone();
                let at = TopicPartition { topic, partition: (number % per_topic) as u32 };
                let encoded = encode(batch.view(), &EncodeOptions::default());
                wait(log.append(&tenant(), &at, encoded)).expect("the log takes it");
            }
        }
        Self::on(log, &spec)
    }

    /// A pipeline over the topics of a log.
    pub(super) fn on(log: Arc<MemoryLog>, spec: &Spec) -> Self {
        let plan = plan(&log, spec).expect("the plan is good");
        let epoch = wait(log.fence(&tenant(), TASK)).expect("the log answers").epoch;
        let recovery = log.recover(&tenant(), TASK).expect("the log answers");
        let mut machine = Machine::new(Arc::clone(&plan));
        for (number, block) in &recovery.blocks {
            machine.recover(*number, block).expect("our own blocks");
        }
        machine.recover_usage(&recovery.head.usage).expect("our own counters");
        let topics = wait(log.topics(&tenant())).expect("the log answers");
        let position = |at: &TopicPartition| {
            let offset = recovery.head.positions.get(at).map_or(0, |position| position.offset);
            Position { topic_id: topics[&at.topic].id, offset }
        };
        let intake = Intake::new(plan.inputs.iter().map(position).collect(), Vec::new());
        let sequence = recovery.head.sequence;
        let (work, more) = (Work::default(), false);
        Self { log, machine, intake, sequence, epoch, retreats: 0, cuts: 0, clock: 0, work, more, plan }
    }

    /// Takes this many records from each partition, applies them and commits.
    pub(super) fn step(&mut self, take: &[usize]) -> Result<(), Error> {
        let effects = self.apply(take)?;
        let commit = Commit {
            task: TASK,
            epoch: self.epoch,
            sequence: self.sequence + 1,
            positions: self.places(),
            outputs: effects.outputs,
            block: effects.block,
            usage: effects.usage,
        };
        wait(self.log.commit(&tenant(), commit))?;
        self.sequence += 1;
        self.machine.make_room()
    }

    /// Where it is in its inputs, as a commit says it.
    pub(super) fn places(&self) -> Vec<(TopicPartition, Position)> {
        self.plan.inputs.iter().cloned().zip(self.intake.places()).collect()
    }

    /// The next record of each input.
    pub(super) fn positions(&self) -> &[Offset] {
        self.intake.positions()
    }

    /// Takes this many records from each partition and applies them; fewer, if the machine asks for that.
    pub(super) fn apply(&mut self, take: &[usize]) -> Result<Effects, Error> {
        let failed_before = self.machine.usage_mut().failed_calls;
        let (machine, each) = (&self.machine, Take::Each(take.to_vec()));
        let reached = |input| machine.reached(input);
        let mut taken = wait(self.intake.take(&self.plan, &*self.log, &each, |_| false, reached))?;
        taken.inputs.iter_mut().for_each(|input| input.more = self.more);
        let batch = MicroBatch { inputs: taken.inputs, clock: self.clock, ..MicroBatch::default() };
        match wait(self.machine.apply(&batch, &self.work))? {
            Applied::Whole => self.intake.widen(&batch.inputs),
            Applied::Part(split) => {
                self.cuts += 1;
                self.intake.put_back(&batch.inputs, &split);
            }
            Applied::Retreated => {
                self.retreats += 1;
                self.intake.retreat(&batch.inputs);
                let fewer: Vec<usize> = take.iter().map(|&take| take.min(CAREFUL_RECORDS / 4)).collect();
                return self.apply(&fewer);
            }
        }
        self.intake.advance(self.machine.usage_mut().failed_calls > failed_before);
        Ok(self.machine.take_effects(self.sequence + 1))
    }

    /// Forgets everything that is not in the log.
    pub(super) fn crash(self, manifest: &str) -> Self {
        let spec: Spec = manifest.parse().expect("the manifest is good");
        Self { clock: self.clock, work: self.work, more: self.more, ..Self::on(self.log, &spec) }
    }

    /// Takes everything, then closes what is left to close.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        let inputs = self.plan.inputs.len();
        while (0..inputs).any(|input| self.has_records(input)) {
            self.step(&vec![usize::MAX; inputs])?;
        }
        while self.machine.is_due(self.clock) {
            self.step(&[])?;
        }
        Ok(())
    }

    fn has_records(&self, input: usize) -> bool {
        !self.read_from(&self.plan.inputs[input], self.positions()[input]).is_empty()
    }

    fn read(&self, at: &TopicPartition) -> Batch {
        self.read_from(at, 0)
    }

    fn read_from(&self, at: &TopicPartition, from: Offset) -> Batch {
        let mut batch = Batch::default();
        let fetched = wait(self.log.fetch(&tenant(), at, from, usize::MAX)).expect("the log answers");
        for encoded in fetched.batches {
            decode(&encoded, from, true, &mut batch).expect("our own batch");
        }
        batch
    }

    /// The values in the only partition of a topic.
    pub(super) fn values(&self, topic: &str) -> Vec<String> {
        let batch = self.read(&TopicPartition { topic: name(topic), partition: 0 });
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        batch.values.iter().map(text).collect()
    }

    /// Keys and values in the only partition of a topic.
    pub(super) fn pairs(&self, topic: &str) -> Vec<(String, String)> {
        let batch = self.read(&TopicPartition { topic: name(topic), partition: 0 });
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        batch.keys.iter().map(text).zip(batch.values.iter().map(text)).collect()
    }

    /// What the guest of a step has counted.
    pub(super) fn metrics(&self, step: &str) -> BTreeMap<String, Metric> {
        self.plan.metrics(&step.parse().expect("a name"))
    }

    /// Event times and values in the only partition of a topic.
    pub(super) fn timed(&self, topic: &str) -> Vec<(i64, String)> {
        let batch = self.read(&TopicPartition { topic: name(topic), partition: 0 });
        batch.timestamps.iter().copied().zip(self.values(topic)).collect()
    }

    /// The headers of the dead letters, without the common beginning of their names.
    pub(super) fn dead_letters(&self) -> Vec<BTreeMap<String, String>> {
        let batch = self.read(&TopicPartition { topic: name("dead"), partition: 0 });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let letter = |headers: Vec<(&[u8], Option<&[u8]>)>| {
            let field = |(name, value): (&[u8], Option<&[u8]>)| {
                (text(name).trim_start_matches("millstream.").to_owned(), text(value.unwrap_or_default()))
            };
            headers.into_iter().map(field).collect()
        };
        batch.headers.view().rows().map(letter).collect()
    }
}
