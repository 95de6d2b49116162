//! A trial: sample rows run through a pipeline before it is deployed, once whole and once cut, and must come to the same.
//!
//! A guest that keeps something in memory from row to row, or lets the order of a hash map show, answers by how rows happen
//! to be divided into calls. That is different after every crash, so its results would not be exactly once. A trial finds
//! what does so on the rows at hand; it proves nothing of rows that it has not seen.
//!
//! It is the real engine on a log in memory, which is gone with it: no topic, state or counter of a tenant is touched. What
//! it may cost is bounded ([`Budget`]); what is not compared until then is taken as it is. Calls that fail are not compared.

mod answers;
mod guest;
mod plugin;
mod samples;
mod trace;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use self::guest::tried;
pub use self::plugin::try_plugin;
pub(in crate::pipeline) use self::samples::{first_records, generated};
use self::trace::Trace;
use crate::error::Coded as _;
use crate::ids::{PipelineId, PluginName, StepName, TaskId, TopicName, TopicPartition, default_tenant};
use crate::log::batch::{EncodeOptions, encode};
use crate::log::memory::MemoryLog;
use crate::log::{CommitLog as _, Log, RecordLog as _, TopicAdmin as _, TopicConfig};
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::{Loaded, Plan};
use crate::pipeline::engine::references::References;
use crate::pipeline::error::Error;
use crate::pipeline::io::intake::Take;
use crate::pipeline::io::runner::Runner;
use crate::pipeline::io::shared::Shared;
use crate::pipeline::spec::{Spec, Start};
use crate::pipeline::status::State;
use crate::plugin::{Call, Called, Emitted, Failure};
use crate::record::Batch;
use crate::time::Mark;

/// The only task of a trial's log.
const TASK: TaskId = PipelineId(1).task();
/// Fuel of all calls of a trial: a few seconds at most, should a plugin use up whatever it is given.
const FUEL: u64 = 4_000_000_000;
/// Calls of a trial: about a second, should each of them be short.
const CALLS: u64 = 20_000;
/// Bytes that all calls of a trial may emit: they are held until it is over.
const BYTES: usize = 64 << 20;
/// Micro-batches until the samples, or what comes after them, are done. There are hardly more than rows.
const MICRO_BATCHES: usize = 10_000;
/// How long a trial takes at most, whatever it costs. Who deploys waits for it.
const WALL: Duration = Duration::from_secs(2);
/// Rows of each input that a micro-batch takes, way by way. The first, with all rows at once, is what the others are
/// compared with; no number divides the other, so that they cut at different places.
const WAYS: [usize; 3] = [usize::MAX, 1, 7];
/// How far time goes on behind the last row, in milliseconds, so that timers and windows of usual length come to an end.
const AFTERWARDS_MS: i64 = 3_600_000;

/// Sample rows, by the topic that they are in.
pub(in crate::pipeline) type Samples = BTreeMap<TopicName, Batch>;

/// What a trial found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Whatever was compared is the same.
    Same,
    /// So is what was compared, but the trial came to its end early: it cost too much, or the host failed.
    Unfinished,
}

/// Runs samples through a pipeline whole and cut. An error names the step whose answers differ.
pub(in crate::pipeline) async fn run(
    spec: &Spec,
    references: References,
    loaded: Vec<Loaded>,
    samples: &Samples,
    clock: i64,
) -> Result<Verdict, Error> {
    let trial = Arc::new(Trial::new(spec));
    let loaded = loaded
        .into_iter()
        .enumerate()
        .map(|(step, Loaded { digest, guest })| Loaded { digest, guest: tried(step, guest, &trial) });
    let plan = Arc::new(Plan::new(default_tenant(), spec, loaded.collect(), references, |_| Some(1))?);
    let compared = tokio::time::timeout(WALL, trial.compare(spec, &plan, samples, clock)).await;
    compared.unwrap_or(Ok(Verdict::Unfinished))
}

/// Two answers to the same row.
#[derive(Debug)]
struct Difference {
    /// The number of the step.
    step: usize,
    /// What was asked, for people.
    row: String,
    whole: String,
    cut: String,
}

/// What a trial may still cost.
#[derive(Debug, Clone, Copy)]
struct Budget {
    fuel: u64,
    calls: u64,
    bytes: usize,
}

/// What is known of a trial.
#[derive(Debug)]
struct Seen {
    budget: Budget,
    /// The first difference between calls.
    difference: Option<Difference>,
    /// What `process` was given and answered in this way, by the number of the step.
    traces: BTreeMap<usize, Trace>,
}

/// A trial, as the guests in it know it.
#[derive(Debug)]
struct Trial {
    steps: Vec<(StepName, PluginName)>,
    /// Whether rows come in micro-batches as large as they can be, so that calls are worth cutting.
    whole: AtomicBool,
    seen: Mutex<Seen>,
}

impl Trial {
    fn new(spec: &Spec) -> Self {
        let budget = Budget { fuel: FUEL, calls: CALLS, bytes: BYTES };
        Self {
            steps: spec.steps.iter().map(|step| (step.name.clone(), step.plugin.name.clone())).collect(),
            whole: AtomicBool::new(true),
            seen: Mutex::new(Seen { budget, difference: None, traces: BTreeMap::new() }),
        }
    }

    /// Runs all ways, and compares each with the first.
    async fn compare(&self, spec: &Spec, plan: &Arc<Plan>, samples: &Samples, clock: i64) -> Result<Verdict, Error> {
        let mut whole = None;
        for rows in WAYS {
            self.whole.store(whole.is_none(), Ordering::Relaxed);
            let ran = self.way(spec, plan, samples, rows, clock).await;
            if let Some(difference) = self.lock().difference.take() {
                return Err(self.refusal(difference));
            }
            if let Err(error) = ran {
                tracing::debug!(pipeline = %spec.name, code = error.code(), %error, "a trial came to its end early");
                return Ok(Verdict::Unfinished);
            }
            let traces = std::mem::take(&mut self.lock().traces);
            let Some(whole) = &whole else {
                whole = Some(traces);
                continue;
            };
            for (step, trace) in whole {
                let difference = traces.get(step).and_then(|cut| trace.difference(cut));
                if let Some((row, whole, cut)) = difference {
                    return Err(self.refusal(Difference { step: *step, row, whole, cut }));
                }
            }
        }
        Ok(Verdict::Same)
    }

    /// Runs all samples in micro-batches of so many rows of each input, and an hour of what comes after them.
    async fn way(
        &self,
        spec: &Spec,
        plan: &Arc<Plan>,
        samples: &Samples,
        rows: usize,
        clock: i64,
    ) -> Result<(), Error> {
        let (log, tenant) = (Arc::new(MemoryLog::default()), default_tenant());
        for topic in spec.topics() {
            log.create_topic(&tenant, &topic, TopicConfig::with_partitions(1)).await?;
            if let Some(batch) = samples.get(&topic).filter(|batch| !batch.is_empty()) {
                let at = TopicPartition { topic, partition: 0 };
                log.append(&tenant, &at, encode(batch.view(), &EncodeOptions::default())).await?;
            }
        }
        let epoch = log.fence(&tenant, TASK).await?.epoch;
        let warm = Runner::replay(TASK, plan, Carry::default(), &*log)?;
        let shared = Arc::new(Shared::new(State::Running));
        let (seen, plan) = (Arc::clone(&shared), Arc::clone(plan));
        let inputs = plan.inputs.len();
        let sources = plan.sources.len();
        let log = log as Arc<dyn Log>;
        let mut runner = Runner::open(TASK, epoch, plan, Start::Earliest, log, seen, warm).await?;
        let take = if rows == usize::MAX { Take::Arrived } else { Take::Each(vec![rows; inputs]) };
        run_out(&mut runner, &take, clock).await?;
        if let Some(watermark) = shared.view().progress.watermark {
            for input in 0..sources {
                runner.mark(input, Mark::Watermark(watermark.saturating_add(AFTERWARDS_MS)), clock).await?;
            }
            run_out(&mut runner, &take, clock).await?;
        }
        Ok(())
    }

    /// Makes a call, if there is still something to spend.
    async fn call<T>(&self, call: Call<'_, T>) -> Result<Called<T>, Failure> {
        {
            let mut seen = self.lock();
            if seen.difference.is_some() || seen.budget.calls == 0 || seen.budget.fuel == 0 {
                return Err(over());
            }
            seen.budget.calls -= 1;
        }
        let result = call.await;
        let fuel = match &result {
            Ok(called) => called.fuel,
            Err(failure) => failure.fuel,
        };
        let budget = &mut self.lock().budget;
        budget.fuel = budget.fuel.saturating_sub(fuel);
        result
    }

    /// Pays for what is kept of an answer, which is what it emits, or ends the trial.
    fn pay<'a>(&self, emitted: impl Iterator<Item = &'a Emitted>) -> Result<(), Failure> {
        let emitted: usize = emitted.map(|piece| piece.keys.bytes.len() + piece.values.bytes.len()).sum();
        let budget = &mut self.lock().budget;
        budget.bytes = budget.bytes.checked_sub(emitted).ok_or_else(over)?;
        Ok(())
    }

    /// Notes two answers that differ, and ends the trial.
    fn differs(&self, step: usize, row: String, whole: String, cut: String) -> Failure {
        self.lock().difference = Some(Difference { step, row, whole, cut });
        over()
    }

    fn refusal(&self, difference: Difference) -> Error {
        let (step, plugin) = self.steps[difference.step].clone();
        let Difference { row, whole, cut, .. } = difference;
        Error::AnswersDiffer { step, plugin, row, whole, cut }
    }

    /// A panic elsewhere leaves what is whole.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does micro-batches until there is nothing to do. Others have their turn in between: a log in memory never waits.
async fn run_out(runner: &mut Runner, take: &Take, clock: i64) -> Result<(), Error> {
    for _ in 0..MICRO_BATCHES {
        if !runner.step(take, clock).await? {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
    Err(Error::Interrupted { reason: format!("a trial has more than {MICRO_BATCHES} micro-batches") })
}

/// How calls end when the trial has: the engine does not take such a failure for one of rows.
fn over() -> Failure {
    Failure {
        code: "sandbox_unavailable",
        message: "the trial is over".to_owned(),
        backtrace: Vec::new(),
        fuel: 0,
        guest: false,
    }
}
