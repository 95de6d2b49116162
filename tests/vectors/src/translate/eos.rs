//! Stories of produced and read records: exactly once, whatever crashes.
//!
//! There are no transactions of producers here, and nothing that is not committed can be read. So the terms are these.
//! To commit is to do a micro-batch; a crash is one of a micro-batch that is applied, before it is committed. What could
//! be read uncommitted is what that micro-batch would write: a twin that does not crash writes it, while of the pipeline
//! itself nothing must be seen. An aborted transaction is an append that is refused as a whole.

use millstream::ids::{TopicName, TopicPartition};
use millstream::log::batch::{EncodeOptions, encode};
use millstream::pipeline::Take;
use millstream::pipeline::driver::{Crash, Driver};
use millstream::record::Batch;
use serde::Deserialize;
use serde_json::{Map, Value};

use harness::Random;

use super::manifest::Pipeline;
use super::{How, Translated};
use crate::format::{Vector, parse};
use crate::play::{Failure, Way};
use crate::plugins::Plugins;
use crate::trial::OUT;

/// Most records of a micro-batch that is cut at random.
const CUT_MAX: u64 = 4;

/// A story of produced and read records.
#[derive(Debug)]
pub struct Story {
    manifest: String,
    partitions: u32,
    counts: bool,
    steps: Vec<Step>,
    expected: Vec<(usize, Seen)>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Op {
    pipeline: Kind,
    partitions: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Copy,
    Aggregate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// So many records for each partition.
    Produce(u64),
    /// The same, in an append that is refused.
    Abort(u64),
    /// What is there is processed.
    Work,
    /// So many records are processed one by one, and the pipeline crashes over what is left.
    Crash(u64),
    ReadCommitted,
    ReadUncommitted,
}

/// What must be read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    per_partition: Option<u64>,
    duplicates: Option<u64>,
    state: Option<String>,
}

pub(super) fn translate(vector: &Vector) -> Result<Translated, String> {
    let op: Op = vector.op()?;
    let counts = op.pipeline == Kind::Aggregate;
    if counts && op.partitions != 1 {
        return Err(format!("an aggregate of {} partitions is not known: of one it is", op.partitions));
    }
    let pipeline = match op.pipeline {
        Kind::Copy => Pipeline::marked("vectors-gate", Value::Null),
        Kind::Aggregate => Pipeline::marked("vectors-fold", serde_json::json!({ "agg": "count" }))
            .windows("global = true, early-rows = 1"),
    };
    let steps: Vec<Vec<Step>> =
        (0..).zip(&vector.steps).map(|(number, fields)| step(number, fields)).collect::<Result<_, _>>()?;
    // A step of the vector may be several here; each ends with the last of them.
    let mut ends = Vec::with_capacity(steps.len());
    let mut all = Vec::new();
    for step in steps {
        all.extend(step);
        ends.push(all.len().saturating_sub(1));
    }
    let mut expected = Vec::new();
    for (number, fields) in vector.expect()? {
        let seen: Seen = parse(fields.into(), format!("what step {number} expects"))?;
        if let Some(state) = &seen.state
            && !(counts && state.starts_with("rebuilt"))
        {
            return Err(format!("step {number} expects state `{state}`: `rebuilt ..` of an aggregate is known"));
        }
        expected.push((ends[number], seen));
    }
    let how =
        How::Story(Story { manifest: pipeline.manifest(), partitions: op.partitions, counts, steps: all, expected });
    Ok(Translated { how, notes: Vec::new() }
        .note("uncommitted is what a twin writes that does not crash; an abort is an append that is refused whole"))
}

fn step(number: usize, fields: &Map<String, Value>) -> Result<Vec<Step>, String> {
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    let count =
        |name: &str| fields[name].as_u64().ok_or_else(|| format!("step {number}: `{name}` is no number of records"));
    Ok(match names.as_slice() {
        ["produce"] => vec![Step::Produce(count("produce")?)],
        ["outcome", "txn_produce"] | ["txn_produce", "outcome"] => {
            let records = count("txn_produce")?;
            match fields["outcome"].as_str() {
                Some("commit") => vec![Step::Produce(records), Step::Work],
                Some("abort") => vec![Step::Abort(records), Step::Work],
                _ => return Err(format!("step {number}: an outcome is `commit` or `abort`")),
            }
        }
        ["commit" | "restart"] => vec![Step::Work],
        ["crash" | "kill"] => {
            let how = fields.values().next().and_then(Value::as_str).unwrap_or_default();
            vec![Step::Crash(records_before(how))]
        }
        ["read_committed"] => vec![Step::ReadCommitted],
        ["read_uncommitted"] => vec![Step::ReadUncommitted],
        other => return Err(format!("step {number} is not known: {}", other.join(", "))),
    })
}

/// Of `-9 mid record 3`: the two records before it.
fn records_before(how: &str) -> u64 {
    let record = how.split_once("record ").and_then(|(_, number)| number.trim().parse::<u64>().ok());
    record.map_or(0, |record| record.saturating_sub(1))
}

impl Story {
    /// Plays it all ways.
    pub(super) fn play(&self, plugins: &Plugins) -> Result<(), String> {
        for way in Way::all() {
            let failed = |what| Failure { way, steps: None, what }.to_string();
            let mut teller = Teller::new(self, plugins, way).map_err(failed)?;
            for (number, step) in self.steps.iter().enumerate() {
                teller.step(number, step).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn driver(&self, plugins: &Plugins) -> Result<Driver, String> {
        let driver = plugins.driver(&self.manifest, |_| self.partitions);
        driver.map_err(|error| format!("the pipeline is refused: {error}"))
    }
}

/// A story being told.
struct Teller<'a> {
    story: &'a Story,
    way: Way,
    random: Random,
    driver: Driver,
    /// The same without crashes.
    twin: Driver,
    /// How many records each partition has.
    produced: u64,
}

impl<'a> Teller<'a> {
    fn new(story: &'a Story, plugins: &Plugins, way: Way) -> Result<Self, String> {
        let seed = if let Way::Cuts(seed) = way { seed } else { 0 };
        let (driver, twin) = (story.driver(plugins)?, story.driver(plugins)?);
        Ok(Self { story, way, random: Random::new(seed), driver, twin, produced: 0 })
    }

    fn step(&mut self, number: usize, step: &Step) -> Result<(), String> {
        let text = |error: millstream::pipeline::Error| error.to_string();
        match step {
            Step::Produce(records) => {
                for partition in 0..self.story.partitions {
                    let batch = numbered(self.produced, *records);
                    self.driver.feed(&at(partition), batch.view()).map_err(text)?;
                    self.twin.feed(&at(partition), batch.view()).map_err(text)?;
                }
                self.produced += records;
            }
            Step::Abort(records) => self.abort(*records)?,
            Step::Work => self.work()?,
            Step::Crash(before) => {
                for _ in 0..*before {
                    self.driver.step(&Take::Records(1)).map_err(text)?;
                }
                let committed = values(self.story, &self.driver)?;
                if !self.driver.crash(Crash::BeforeCommit, &Take::Arrived).map_err(text)? {
                    return Err("there was nothing to crash over".to_owned());
                }
                if values(self.story, &self.driver)? != committed {
                    return Err("the crashed micro-batch left records".to_owned());
                }
            }
            Step::ReadCommitted | Step::ReadUncommitted => self.read(number, *step == Step::ReadCommitted)?,
        }
        if matches!(self.way, Way::Restarts(_)) {
            self.driver.crash(Crash::Idle, &Take::Arrived).map_err(text)?;
        }
        Ok(())
    }

    /// Does what is there, in the way that it is to be done.
    fn work(&mut self) -> Result<(), String> {
        let text = |error: millstream::pipeline::Error| error.to_string();
        self.twin.run(&Take::Arrived).map_err(text)?;
        match self.way {
            Way::Straight => self.driver.run(&Take::Arrived).map(drop).map_err(text),
            Way::Cuts(_) => {
                let mut worked = true;
                while worked {
                    let records = 1 + self.random.below(CUT_MAX) as usize;
                    worked = self.driver.step(&Take::Records(records)).map_err(text)?;
                }
                Ok(())
            }
            Way::Restarts(crash) => {
                // Of a crash that leaves nothing behind, one is as good as many.
                self.driver.crash(crash, &Take::Arrived).map_err(text)?;
                self.driver.run(&Take::Arrived).map(drop).map_err(text)
            }
        }
    }

    /// Appends records that are refused: two batches, of which the second is damaged.
    fn abort(&mut self, records: u64) -> Result<(), String> {
        let batch = numbered(self.produced, records);
        let mut bytes = encode(batch.view(), &EncodeOptions::default()).to_vec();
        let good = bytes.clone();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        for partition in 0..self.story.partitions {
            let both = [good.as_slice(), bytes.as_slice()].concat();
            if self.driver.append(&at(partition), both.into()).is_ok() {
                return Err("a damaged append was taken".to_owned());
            }
        }
        Ok(())
    }

    /// Reads the results and compares them with what the story expects there.
    fn read(&mut self, number: usize, committed: bool) -> Result<(), String> {
        let text = |error: millstream::pipeline::Error| error.to_string();
        let read = if committed {
            values(self.story, &self.driver)?
        } else {
            let before = values(self.story, &self.driver)?;
            self.driver.crash(Crash::BeforeCommit, &Take::Arrived).map_err(text)?;
            if values(self.story, &self.driver)? != before {
                return Err("records that were not committed can be read".to_owned());
            }
            self.twin.run(&Take::Arrived).map_err(text)?;
            values(self.story, &self.twin)?
        };
        let Some((_, seen)) = self.story.expected.iter().find(|(step, _)| *step == number) else { return Ok(()) };
        let positions = (if committed { &self.driver } else { &self.twin }).status().map_err(text)?.inputs;
        for (values, input) in read.iter().zip(positions) {
            let at = input.partition;
            let mut once = values.clone();
            once.sort_unstable();
            once.dedup();
            let (count, duplicates) = (once.len() as u64, (values.len() - once.len()) as u64);
            if seen.duplicates.is_some_and(|expected| expected != duplicates) {
                return Err(format!("partition {at} has {duplicates} duplicates: {values:?}"));
            }
            if let Some(expected) = seen.per_partition.filter(|expected| *expected != values.len() as u64) {
                return Err(format!("partition {at} has {} records, not {expected}", values.len()));
            }
            if !values.iter().copied().eq(0..count) || input.position != count {
                let position = input.position;
                return Err(format!("partition {at} is read up to {position}, and has {values:?}"));
            }
        }
        Ok(())
    }
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition { topic: "in".parse().expect("a name"), partition }
}

/// Records with numbers from `first` on.
fn numbered(first: u64, records: u64) -> Batch {
    let mut batch = Batch::default();
    for number in first..first + records {
        batch.push(0, None, Some(format!("{{\"value\":{number}}}").as_bytes()));
    }
    batch
}

/// The numbers of the results of each partition, from 0 on.
fn values(story: &Story, driver: &Driver) -> Result<Vec<Vec<u64>>, String> {
    let topic: TopicName = OUT.parse().expect("a name");
    let number = |value: Option<&[u8]>| {
        let value: Value = serde_json::from_slice(value.unwrap_or_default()).map_err(|error| error.to_string())?;
        let number = value["value"].as_u64().ok_or_else(|| format!("{value} has no number"))?;
        // The first count is 1.
        Ok(if story.counts { number.saturating_sub(1) } else { number })
    };
    let read = driver.read(&topic).map_err(|error| error.to_string())?;
    read.iter().map(|batch| batch.values.iter().map(number).collect()).collect()
}
