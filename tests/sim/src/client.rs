//! Who uses the server: does operations, and knows what was asked for and answered over all crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream::catalog::Catalog;
use millstream::environment::Environment as _;
use millstream::error::Coded;
use millstream::ids::{InvalidName, Offset, PipelineName, TopicName, TopicPartition, default_tenant};
use millstream::log::batch::{EncodeOptions, encode};
use millstream::log::{RecordLog as _, TopicAdmin as _, TopicConfig, partition_of};
use millstream::pipeline::status::PipelineStatus;
use millstream::pipeline::{Apply, Error, Operation as Running, Pipelines, Restore, Rewind, StartOffset};
use millstream::record::Batch;

mod lost;
mod rest;

use self::lost::Lost;
use crate::guests::POISON;
use crate::log::SimLog;
use crate::machine::Machine;
use crate::manifest::{BACK_MAX_MS, KEYS, RING, SOURCES, STEP_MAX_MS, Shape, TICK_MS, ring};
use crate::operation::Operation;
use crate::oracle::{Cause, Oracle};
use crate::wanted::{Deployed, Effect, Wanted};

/// How long anything may take when nothing is in its way.
const PATIENCE: Duration = Duration::from_secs(1200);

/// A server that runs.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its log.
    pub log: Arc<SimLog>,
    /// What it remembers.
    pub catalog: Arc<dyn Catalog>,
    /// What it runs.
    pub pipelines: Pipelines,
}

/// A user. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    machine: Machine,
    oracle: Oracle,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    wanted: Wanted,
    shapes: BTreeMap<String, Shape>,
    /// All manifests that a pipeline had.
    manifests: BTreeMap<String, BTreeSet<String>>,
    number: u64,
    /// Event time of each source.
    times: [i64; SOURCES.len()],
    /// The newest of each partition of a source.
    newest: BTreeMap<(usize, u32), i64>,
    /// The pipeline whose file was lost.
    lost: Option<Lost>,
    /// Who is appending: to which source, and the oldest of its records.
    producers: Vec<(usize, i64)>,
}

/// What became of an operation.
type Answered = Result<String, String>;

impl Client {
    /// A user who has asked for nothing.
    pub fn new(machine: &Machine, oracle: &Oracle, names: &[String]) -> Self {
        let shapes = names.iter().map(|name| (name.clone(), Shape::draw(machine, name))).collect();
        let known = Known { shapes, times: [10_000; SOURCES.len()], ..Known::default() };
        Self { machine: machine.clone(), oracle: oracle.clone(), known: Arc::new(Mutex::new(known)) }
    }

    /// The pipelines as they are drawn.
    pub fn shapes(&self) -> Vec<Shape> {
        self.known().shapes.values().cloned().collect()
    }

    /// A server has started.
    pub fn started(&self, catalog: &dyn Catalog) {
        let deployed = deployed(catalog);
        // Those who were appending ended with the server before.
        self.known().producers.clear();
        let started = self.known().wanted.started(&deployed);
        if let Err(wrong) = started {
            self.machine.violation(wrong);
        }
    }

    /// The pipelines that there may be, and that may be made.
    pub fn names(&self) -> Vec<String> {
        let known = self.known();
        let mut names: BTreeSet<String> = known.wanted.names().into_iter().collect();
        names.extend(known.shapes.keys().cloned());
        names.into_iter().collect()
    }

    /// Does an operation, to its answer.
    pub async fn perform(&self, server: &Server, operation: Operation) {
        self.machine.note(|| format!("> {operation}"));
        let answered = Box::pin(self.answer(server, &operation)).await;
        self.machine.stay_on().await;
        self.machine.note(|| match &answered {
            Ok(what) => format!("< {operation}: {what}"),
            Err(error) => format!("< {operation}: refused: {error}"),
        });
    }

    /// Whether there may be such a refusal. Whoever asks for what there is gets it, but for a disk that is full, a log that
    /// fails, a topic that was made again, and what somebody else did at the same time.
    fn may_be_refused(&self, name: &str, cause: Option<&Cause>, code: &str) {
        let expected = match code {
            "pipeline_not_found" | "pipeline_exists" | "pipeline_loop" | "no_upgrade" => true,
            "storage_full" | "log_closed" | "swap_not_copied" | "topic_recreated" | "topic_not_found" => true,
            // The way back of an upgrade is never removed.
            "checkpoint_not_found" => !matches!(cause, Some(Cause::RolledBack)),
            // The offset is one of the topic that there was when somebody thought of it.
            "offset_out_of_range" => matches!(cause, Some(Cause::RewoundTo(_))),
            _ => false,
        };
        if !expected {
            let what = cause.map_or_else(|| "what was asked for".to_owned(), Cause::to_string);
            self.machine.violation(format!("pipeline `{name}`: {what}: refused with `{code}`, which cannot be"));
        }
    }

    async fn answer(&self, server: &Server, operation: &Operation) -> Answered {
        let tenant = default_tenant();
        match operation {
            Operation::Produce(source, count) => self.produce(server, *source, *count).await,
            Operation::Rest(ms) => {
                tokio::time::sleep(Duration::from_millis(*ms)).await;
                Ok(String::new())
            }
            Operation::Jump(by_ms) => {
                self.machine.jump(*by_ms);
                Ok(String::new())
            }
            Operation::Trouble(trouble) => {
                self.machine.set_trouble(*trouble);
                Ok(String::new())
            }
            Operation::Compact => {
                let compacted = server.log.compact(self.machine.now_ms());
                compacted.map(|compacted| format!("{compacted:?}")).map_err(|error| error.to_string())
            }
            Operation::Recreate(source) => {
                let (topic, partitions) = SOURCES[*source];
                let topic = topic.parse().map_err(|error: InvalidName| error.to_string())?;
                let failed = |error: millstream::log::Error| error.to_string();
                server.log.delete_topic(&tenant, &topic).await.map_err(failed)?;
                let config = TopicConfig::with_partitions(partitions);
                server.log.create_topic(&tenant, &topic, config).await.map_err(failed)?;
                Ok(String::new())
            }
            Operation::Ring => Box::pin(self.ring(server)).await,
            Operation::Apply(name) => self.apply(server, name).await,
            Operation::Pause(name) => {
                let of = parsed(name)?;
                let doing = server.pipelines.pause(&tenant, &of);
                self.change(server, name, Effect::Paused(true), None, doing).await
            }
            Operation::Resume(name) => {
                let of = parsed(name)?;
                let doing = server.pipelines.resume(&tenant, &of);
                self.change(server, name, Effect::Paused(false), None, doing).await
            }
            Operation::Delete(name) => {
                let of = parsed(name)?;
                let doing = server.pipelines.delete(&tenant, &of);
                self.change(server, name, Effect::Gone, None, doing).await
            }
            Operation::Savepoint(name) => {
                let of = parsed(name)?;
                let begin = || server.pipelines.savepoint(&tenant, &of, None);
                self.run(server, name, Effect::Same, None, begin).await
            }
            Operation::Restore(name) => self.restore(server, name, name).await,
            Operation::Fork(name, into) => self.restore(server, name, into).await,
            Operation::RollBack(name) => {
                let of = parsed(name)?;
                let manifests = self.known().manifests.get(name).cloned().unwrap_or_default();
                let begin = || server.pipelines.rollback(&tenant, &of);
                self.run(server, name, Effect::RunsAgain(manifests), Some(Cause::RolledBack), begin).await
            }
            Operation::RewindToOffset(name) => self.rewind_to_offset(server, name).await,
            Operation::RewindToTime(name) => {
                let time = 10_000 + self.machine.below(self.known().times[0].max(10_001) as u64 - 10_000) as i64;
                let cause = Cause::RewoundToTime { time, asked: self.oracle.order() };
                let of = parsed(name)?;
                let begin = || server.pipelines.rewind(&tenant, &of, Rewind::ToTime(time));
                self.run(server, name, Effect::Same, Some(cause), begin).await
            }
        }
    }

    /// Does what changes a pipeline, and settles what it is then.
    async fn change<T, E: Coded + std::fmt::Display>(
        &self,
        server: &Server,
        name: &str,
        effect: Effect,
        cause: Option<Cause>,
        doing: impl Future<Output = Result<T, E>>,
    ) -> Answered {
        self.oracle.asked(name, cause.clone());
        self.known().wanted.begin(name, effect);
        let done = doing.await;
        self.machine.stay_on().await;
        let now = deployed(&*server.catalog);
        // It is in place, but for the copy of what was there before.
        let in_place = done.as_ref().map_or_else(|error| error.code() == "swap_not_copied", |_| true);
        let settled = self.known().wanted.end(name, in_place, now.get(name));
        let alone = settled.unwrap_or_else(|wrong| {
            self.machine.violation(wrong);
            false
        });
        if alone && done.is_ok() && now.get(name).is_some_and(|now| now.paused) {
            self.oracle.stopped(name);
        }
        done.map(|_| String::new()).map_err(|error| {
            self.may_be_refused(name, cause.as_ref(), error.code());
            format!("{}: {error}", error.code())
        })
    }

    /// The same for what is answered as an operation of the server.
    async fn run(
        &self,
        server: &Server,
        name: &str,
        effect: Effect,
        cause: Option<Cause>,
        begin: impl FnOnce() -> Result<Arc<Running>, Error>,
    ) -> Answered {
        let doing = async {
            let operation = begin().map_err(|error| Failed(Arc::new(error)))?;
            operation.ended(PATIENCE).await;
            let Some(outcome) = operation.outcome() else {
                self.machine.violation(format!("{:?} of `{name}` does not end", operation.kind));
                return Ok(());
            };
            outcome.result.map(drop).map_err(Failed)
        };
        self.change(server, name, effect, cause, doing).await
    }

    async fn apply(&self, server: &Server, name: &str) -> Answered {
        let manifest = {
            let mut known = self.known();
            let is_there = known.wanted.get(name).is_some();
            let Some(shape) = known.shapes.get_mut(name) else { return Err("it is a fork".to_owned()) };
            if is_there {
                shape.change(&self.machine);
            }
            let manifest = shape.manifest();
            known.manifests.entry(name.to_owned()).or_default().insert(manifest.clone());
            manifest
        };
        let tenant = default_tenant();
        let doing = Box::pin(server.pipelines.apply(&tenant, &manifest, Apply::default()));
        self.change(server, name, Effect::Runs(manifest.clone()), Some(Cause::Applied), doing).await
    }

    /// Whoever comes second of two that make a loop together is refused.
    async fn ring(&self, server: &Server) -> Answered {
        for topic in RING {
            let topic = topic.parse().map_err(|error: InvalidName| error.to_string())?;
            let made = server.log.create_topic(&default_tenant(), &topic, TopicConfig::with_partitions(1));
            made.await.map_err(|error| error.to_string())?;
        }
        let tenant = default_tenant();
        let deploy = async |number: usize| {
            let (name, manifest) = (format!("ring-{number}"), ring(number));
            let doing = Box::pin(server.pipelines.apply(&tenant, &manifest, Apply::default()));
            self.change(server, &name, Effect::Runs(manifest.clone()), Some(Cause::Applied), doing).await
        };
        let (one, other) = tokio::join!(deploy(0), deploy(1));
        if one.is_ok() && other.is_ok() {
            self.machine.violation("two pipelines pass on to one another, and none was refused".to_owned());
        }
        one.and(other)
    }

    async fn restore(&self, server: &Server, name: &str, into: &str) -> Answered {
        let of = parsed(name)?;
        let listed = server.pipelines.checkpoints(&default_tenant(), &of).await.map_err(|error| error.to_string())?;
        let all: Vec<_> = listed.into_iter().filter_map(|listed| listed.manifest.ok()).collect();
        if all.is_empty() {
            return Err("there is no checkpoint".to_owned());
        }
        let chosen = &all[self.machine.below(all.len() as u64) as usize];
        let (checkpoint, ran) = (chosen.id, chosen.deployment.manifest.clone());
        let manifest = if name == into { ran } else { forked(&ran, name, into) };
        self.known().manifests.entry(into.to_owned()).or_default().insert(manifest.clone());
        let fork = name != into;
        let into_name = if fork { Some(parsed(into)?) } else { None };
        let restore =
            Restore { checkpoint, into: into_name, manifest: fork.then(|| manifest.clone()), to_offsets: Vec::new() };
        let begin = || server.pipelines.restore(&default_tenant(), &of, restore);
        self.run(server, into, Effect::Runs(manifest), Some(Cause::Restored(checkpoint)), begin).await
    }

    async fn rewind_to_offset(&self, server: &Server, name: &str) -> Answered {
        let of = parsed(name)?;
        let status = server.pipelines.show(&default_tenant(), &of).await.map_err(|error| error.to_string())?;
        let sources: Vec<TopicPartition> = partitions(&status);
        if sources.is_empty() {
            return Err("it reads nothing".to_owned());
        }
        let at = sources[self.machine.below(sources.len() as u64) as usize].clone();
        let offset = self.machine.below(self.oracle.end(&at) + 1);
        self.rewind(server, name, vec![(at, offset)]).await
    }

    async fn rewind(&self, server: &Server, name: &str, places: Vec<(TopicPartition, Offset)>) -> Answered {
        let of = parsed(name)?;
        let place = |(at, offset): &(TopicPartition, Offset)| StartOffset {
            topic: at.topic.clone(),
            partition: at.partition,
            offset: *offset,
        };
        let rewind = Rewind::ToOffsets(places.iter().map(place).collect());
        let begin = || server.pipelines.rewind(&default_tenant(), &of, rewind);
        self.run(server, name, Effect::Same, Some(Cause::RewoundTo(places)), begin).await
    }

    /// Appends records: out of order now and then, without a key now and then, poison now and then. However two producers
    /// come between one another, no record is more than [`BACK_MAX_MS`] older than one of its source that is before it.
    async fn produce(&self, server: &Server, source: usize, count: u64) -> Answered {
        let topic: TopicName = SOURCES[source].0.parse().map_err(|error: InvalidName| error.to_string())?;
        let (batches, oldest) = self.known().records(&self.machine, source, count);
        let mut appended = Ok(String::new());
        for (partition, batch) in batches {
            let at = TopicPartition { topic: topic.clone(), partition };
            let bytes = encode(batch.view(), &EncodeOptions::default());
            if let Err(error) = server.log.append(&default_tenant(), &at, bytes).await {
                appended = Err(error.to_string());
                break;
            }
        }
        let mut known = self.known();
        let place = known.producers.iter().position(|producer| *producer == (source, oldest));
        place.map(|place| known.producers.swap_remove(place));
        appended
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Event time of a source goes on.
    fn later(&mut self, source: usize, by_ms: i64) {
        self.times[source] += by_ms;
        self.newest.retain(|(of, _), _| *of != source);
    }

    /// Draws the records of a producer, by partition. Answers the time of the oldest too, for which it is known until it ends.
    fn records(&mut self, machine: &Machine, source: usize, count: u64) -> (BTreeMap<u32, Batch>, i64) {
        let partitions = SOURCES[source].1;
        // What is still being appended may come behind this.
        let others = self.producers.iter().filter(|(of, _)| *of == source);
        let newest = others.map(|(_, oldest)| oldest + BACK_MAX_MS as i64).min().unwrap_or(i64::MAX);
        let (mut batches, mut oldest) = (BTreeMap::<u32, Batch>::new(), i64::MAX);
        for _ in 0..count {
            self.number += 1;
            self.times[source] += (TICK_MS * machine.below(STEP_MAX_MS / TICK_MS)) as i64;
            let key = (!machine.one_in(10)).then(|| format!("k{}", machine.below(KEYS)));
            let poison = if machine.one_in(15) { POISON } else { "" };
            let value = format!("{poison}{}", self.number);
            let partition = key.as_ref().map_or(0, |key| partition_of(key.as_bytes(), partitions));
            let key = key.as_ref().map(String::as_bytes);
            let place = self.newest.entry((source, partition)).or_insert(self.times[source]);
            let time = match machine.below(16) {
                // Just not late.
                0 => *place - BACK_MAX_MS as i64,
                1..4 => self.times[source] - (TICK_MS * machine.below(BACK_MAX_MS / TICK_MS)) as i64,
                _ => self.times[source],
            };
            let time = time.min(newest);
            *place = time.max(*place);
            oldest = oldest.min(time);
            batches.entry(partition).or_default().push(time, key, Some(value.as_bytes()));
        }
        self.producers.push((source, oldest));
        (batches, oldest)
    }
}

/// An operation's error, which others may have too.
#[derive(Debug)]
struct Failed(Arc<Error>);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {}

impl Coded for Failed {
    fn code(&self) -> &'static str {
        self.0.code()
    }
    fn kind(&self) -> millstream::error::Kind {
        self.0.kind()
    }
}

fn parsed(name: &str) -> Result<PipelineName, String> {
    name.parse().map_err(|error: InvalidName| error.to_string())
}

/// The manifest of a fork: the same under another name, with topics of its own.
fn forked(manifest: &str, name: &str, into: &str) -> String {
    ["out", "dead", "late"]
        .iter()
        .fold(manifest.replacen(&format!("{name:?}"), &format!("{into:?}"), 1), |text, topic| {
            text.replace(&format!("\"{name}-{topic}\""), &format!("\"{into}-{topic}\""))
        })
}

/// What is deployed, by name.
fn deployed(catalog: &dyn Catalog) -> BTreeMap<String, Deployed> {
    let all = catalog.pipelines().into_iter();
    all.map(|stored| (stored.name.to_string(), Deployed { manifest: stored.manifest, paused: stored.paused })).collect()
}

/// The partitions of sources that a pipeline reads.
fn partitions(status: &PipelineStatus) -> Vec<TopicPartition> {
    let is_source = |topic: &TopicName| SOURCES.iter().any(|(source, _)| *source == topic.as_str());
    let inputs = status.inputs.iter().filter(|input| is_source(&input.topic));
    inputs.map(|input| TopicPartition { topic: input.topic.clone(), partition: input.partition }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Syncs;

    /// Two producers of a source, whichever of them is quicker: sessions know no late rows.
    #[test]
    fn no_record_is_older_than_those_before_it_by_more_than_is_said() {
        for seed in 0..200 {
            let machine = Machine::new(seed, Syncs::KEPT);
            let mut known = Known { times: [10_000; SOURCES.len()], ..Known::default() };
            let [(one, _), (other, _)] = [12, 12].map(|count| known.records(&machine, 2, count));
            for order in [[&one, &other], [&other, &one]] {
                for partition in 0..SOURCES[2].1 {
                    let mut newest = i64::MIN;
                    for batch in order.iter().filter_map(|batches| batches.get(&partition)) {
                        for &time in &batch.timestamps {
                            newest = newest.max(time);
                            assert!(newest - time <= BACK_MAX_MS as i64, "seed {seed}: {time} behind {newest}");
                        }
                    }
                }
            }
        }
    }
}
