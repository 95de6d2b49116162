//! A pipeline of real plugins, run over the same records in several ways that must not matter: as they arrive, as one
//! backlog, cut at random with a backlog that grows and shrinks, and the same with crashes all along.
//!
//! It is the engine itself with components in the sandbox; only log and clock are the driver's.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Context;
use harness::Random;
use millstream::ids::{TopicName, TopicPartition};
use millstream::pipeline::driver::{Components, Crash, Driver};
use millstream::pipeline::spec::{Spec, StepSpec};
use millstream::pipeline::status::Usage;
use millstream::pipeline::{Loaded, Take};
use millstream::plugin::Grants;
use millstream::record::Batch;
use millstream::time::Mark;
use serde_json::Value;

/// Records that arrive together where nothing is cut on purpose: the inputs of a pipeline then keep abreast of each other
/// as far as they do where the records come from.
const ABREAST: usize = 1000;

/// A record, and where it arrives.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub topic: &'static str,
    pub partition: u32,
    pub value: String,
}

/// Values that arrive at a topic of one partition.
pub fn arrivals(topic: &'static str, values: impl IntoIterator<Item = impl Into<String>>) -> Vec<Arrival> {
    values.into_iter().map(|value| Arrival { topic, partition: 0, value: value.into() }).collect()
}

/// The same, each in the next one of so many partitions.
pub fn spread(arrivals: &[Arrival], partitions: u32) -> Vec<Arrival> {
    let next = |(partition, arrival): (u32, &Arrival)| Arrival { partition, ..arrival.clone() };
    (0..partitions).cycle().zip(arrivals).map(next).collect()
}

/// What a pipeline wrote.
#[derive(Debug)]
pub struct Outcome {
    /// How it was run, to be shown with what is wrong.
    pub way: &'static str,
    /// What it counted.
    pub usage: Usage,
    topics: BTreeMap<String, Vec<Row>>,
}

/// A record that a pipeline wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub key: Option<String>,
    /// Its event time.
    pub time: i64,
    pub value: String,
    pub headers: BTreeMap<String, String>,
}

impl Row {
    /// Its value as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.value).with_context(|| format!("`{}` is no JSON", self.value))
    }

    /// The number in a field of its value.
    pub fn number(&self, field: &str) -> anyhow::Result<i64> {
        self.json()?[field].as_i64().with_context(|| format!("{self:?}: `{field}` is no whole number"))
    }
}

impl Outcome {
    /// The records of a topic, partition by partition.
    pub fn rows(&self, topic: &str) -> &[Row] {
        self.topics.get(topic).map_or(&[], Vec::as_slice)
    }
}

/// Runs a pipeline in each way, to the end of all time, and checks each outcome. Plugins are packages of the workspace.
pub fn each_way(
    manifest: &str,
    partitions: u32,
    arrivals: &[Arrival],
    check: impl Fn(&Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (way, mut hand) in [
        ("as it arrives", Hand { random: Random::new(0), together: ABREAST, cuts: false, crashes: false }),
        ("as one backlog", Hand { random: Random::new(0), together: usize::MAX, cuts: false, crashes: false }),
        ("cut at random", Hand { random: Random::new(1), together: ABREAST, cuts: true, crashes: false }),
        ("cut at random, with crashes", Hand { random: Random::new(2), together: ABREAST, cuts: true, crashes: true }),
    ] {
        let (topics, usage) = run(manifest, partitions, arrivals, &mut hand).with_context(|| way.to_owned())?;
        check(&Outcome { way, usage, topics }).with_context(|| way.to_owned())?;
    }
    Ok(())
}

/// How records are handed over.
struct Hand {
    random: Random,
    /// Records that arrive together where nothing is cut.
    together: usize,
    cuts: bool,
    crashes: bool,
}

impl Hand {
    /// How many records arrive together.
    fn together(&mut self) -> usize {
        if self.cuts { 1 + self.random.below(2 * ABREAST as u64) as usize } else { self.together }
    }

    /// How many a micro-batch takes: a few, now and then, so that much is cut, and otherwise more, so that time is left.
    fn take(&mut self) -> Take {
        match (self.cuts, self.random.one_in(4)) {
            (false, _) => Take::Arrived,
            (true, true) => Take::Records(1 + self.random.below(7) as usize),
            (true, false) => Take::Records(1 + self.random.below(2 * ABREAST as u64) as usize),
        }
    }

    /// One micro-batch. Whether there was anything to do.
    fn step(&mut self, driver: &mut Driver) -> anyhow::Result<bool> {
        let take = self.take();
        if self.crashes && self.random.one_in(4) {
            let crash = [Crash::Idle, Crash::BeforeCommit, Crash::AfterCommit][self.random.below(3) as usize];
            return Ok(driver.crash(crash, &take)? || driver.step(&take)?);
        }
        Ok(driver.step(&take)?)
    }
}

fn run(
    manifest: &str,
    partitions: u32,
    arrivals: &[Arrival],
    hand: &mut Hand,
) -> anyhow::Result<(BTreeMap<String, Vec<Row>>, Usage)> {
    let spec: Spec = manifest.parse()?;
    let mut driver = Driver::new(manifest, |_| partitions, |step, grants| load(&spec, step, grants))?;
    let mut left = arrivals;
    while !left.is_empty() {
        let (now, later) = left.split_at(hand.together().min(left.len()));
        left = later;
        let mut batches: BTreeMap<TopicPartition, Batch> = BTreeMap::new();
        for arrival in now {
            let at = TopicPartition { topic: arrival.topic.parse()?, partition: arrival.partition };
            batches.entry(at).or_default().push(0, None, Some(arrival.value.as_bytes()));
        }
        for (at, batch) in &batches {
            driver.feed(at, batch.view())?;
        }
        let backlog = hand.cuts && hand.random.one_in(2);
        while hand.step(&mut driver)? && !backlog {}
    }
    while hand.step(&mut driver)? {}
    for at in driver.inputs().to_vec() {
        driver.mark(&at, Mark::Watermark(i64::MAX))?;
    }
    driver.run(&Take::Arrived)?;
    anyhow::ensure!(driver.take_poisoned().is_none(), "no plugin fails");
    let topics = spec.targets().into_iter().map(|topic| Ok((topic.to_string(), rows(&driver, &topic)?)));
    Ok((topics.collect::<anyhow::Result<_>>()?, driver.status()?.usage))
}

/// The plugin of a step: the package of its name, as a component.
fn load(spec: &Spec, step: &StepSpec, grants: Grants) -> Result<Loaded, millstream::pipeline::Error> {
    static COMPONENTS: OnceLock<Mutex<Components>> = OnceLock::new();
    let components = COMPONENTS.get_or_init(|| {
        let made = || Ok::<_, anyhow::Error>(Components::new(artifacts()?, harness::binary()?)?);
        Mutex::new(made().expect("there is a sandbox"))
    });
    let path = harness::component(step.plugin.name.as_str()).expect("the package can be built");
    let bytes = fs::read(path).expect("it was built");
    components.lock().unwrap_or_else(PoisonError::into_inner).load(&spec.name, step, &bytes, grants)
}

/// Artifacts are kept beside the test program, in cargo's target folder, so that they are made once.
fn artifacts() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("the program is in a folder")?.join("millstream-artifacts"))
}

fn rows(driver: &Driver, topic: &TopicName) -> anyhow::Result<Vec<Row>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut rows = Vec::new();
    for batch in driver.read(topic)? {
        let mut headers = batch.headers.view().rows();
        for ((time, key), value) in batch.timestamps.iter().zip(batch.keys.iter()).zip(batch.values.iter()) {
            let headers = headers.next().unwrap_or_default().into_iter();
            rows.push(Row {
                key: key.map(text),
                time: *time,
                value: value.map(text).unwrap_or_default(),
                headers: headers.map(|(name, value)| (text(name), value.map(text).unwrap_or_default())).collect(),
            });
        }
    }
    Ok(rows)
}
