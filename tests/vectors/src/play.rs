//! Plays a trial: straight, with restarts, and with micro-batches that are cut at random.
//!
//! A micro-batch takes the records of its steps, all of one input before those of the next. Which of two inputs spoke
//! first is part of what a vector says, and is lost within a micro-batch; so one ends where the input's number goes back.
//! It also begins where the clock moves, because the clock stands still within it, and at a restored checkpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use harness::Random;
use millstream::ids::TopicName;
use millstream::pipeline::Take;
use millstream::pipeline::driver::{Checkpoint, Crash, Driver};
use millstream::record::Batch;
use serde_json::Value;

use crate::plugins::Plugins;
use crate::trial::{DEAD, Do, LATE, OUT, Record, Row, TIMED_OUT, Trial};

/// Random cuts that each vector is played with: with up to some fifteen steps, enough that most pairs of steps share a
/// micro-batch in one of them.
const SEEDS: Range<u64> = 0..8;

/// How a trial is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each step is a micro-batch.
    Straight,
    /// Each step is a micro-batch, and the pipeline crashes in every one of them.
    Restarts(Crash),
    /// Several steps may be a micro-batch.
    Cuts(u64),
}

impl Way {
    /// All ways.
    pub fn all() -> impl Iterator<Item = Self> {
        let crashes = [Crash::BeforeCommit, Crash::AfterCommit, Crash::Idle];
        std::iter::once(Self::Straight).chain(crashes.map(Self::Restarts)).chain(SEEDS.map(Self::Cuts))
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Straight => f.write_str("straight"),
            Self::Restarts(Crash::BeforeCommit) => f.write_str("with a crash before every commit"),
            Self::Restarts(Crash::AfterCommit) => f.write_str("with a crash after every commit"),
            Self::Restarts(Crash::Idle) => f.write_str("with a restart after every step"),
            Self::Cuts(seed) => write!(f, "with batches cut at random (seed {seed})"),
        }
    }
}

/// What went wrong, where.
#[derive(Debug)]
pub struct Failure {
    /// Which way.
    pub way: Way,
    /// In which steps; none if it is not about steps.
    pub steps: Option<Range<usize>>,
    /// What.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.way)?;
        match &self.steps {
            Some(steps) if steps.len() == 1 => write!(f, ", step {}", steps.start)?,
            Some(steps) => write!(f, ", steps {} to {}", steps.start, steps.end - 1)?,
            None => {}
        }
        write!(f, ": {}", self.what)
    }
}

/// Plays a trial all ways that it goes.
pub fn play(trial: &Trial, plugins: &Plugins) -> Result<(), Failure> {
    let goes = |way: &Way| match way {
        Way::Straight => true,
        Way::Restarts(_) => trial.except.is_none_or(|except| !except.restarts),
        Way::Cuts(_) => trial.except.is_none_or(|except| !except.cuts),
    };
    for way in Way::all().filter(goes) {
        let failed = |(steps, what)| Failure { way, steps, what };
        let mut player = Player::new(trial, plugins, way).map_err(|what| failed((None, what)))?;
        for steps in batches(trial, way) {
            player.batch(steps.clone()).map_err(|what| failed((Some(steps), what)))?;
        }
        player.end().map_err(|what| failed((None, what)))?;
    }
    Ok(())
}

/// The steps of each micro-batch.
fn batches(trial: &Trial, way: Way) -> Vec<Range<usize>> {
    let Way::Cuts(seed) = way else { return (0..trial.steps.len()).map(|step| step..step + 1).collect() };
    let mut random = Random::new(seed);
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut last_input = 0;
    for (step, does) in trial.steps.iter().enumerate() {
        let inputs = || {
            does.iter().filter_map(|act| match act {
                Do::Feed(input, _) => Some(*input),
                Do::Clock(_) | Do::Restore => None,
            })
        };
        let restored = step > 0 && trial.steps[step - 1].contains(&Do::Restore);
        let must = restored
            || does.iter().any(|act| !matches!(act, Do::Feed(..)))
            || inputs().next().is_some_and(|input| input < last_input);
        match batches.last_mut() {
            Some(batch) if !must && !random.one_in(3) => batch.end = step + 1,
            _ => {
                batches.push(step..step + 1);
                last_input = 0;
            }
        }
        last_input = inputs().next_back().unwrap_or(last_input);
    }
    batches
}

/// A trial being played.
struct Player<'a> {
    trial: &'a Trial,
    plugins: &'a Plugins,
    way: Way,
    driver: Driver,
    /// All that was fed, for pipelines that are made from a checkpoint.
    fed: Vec<(usize, Record)>,
    /// How many records of each topic were read.
    read: BTreeMap<&'static str, usize>,
    /// What appeared, where it does not matter in which step.
    appeared: [Vec<Value>; 2],
}

/// The topics that are compared, with their names for people.
const COMPARED: [(&[&str], &str); 2] = [(&[OUT, TIMED_OUT], "results"), (&[LATE], "late events")];

impl<'a> Player<'a> {
    fn new(trial: &'a Trial, plugins: &'a Plugins, way: Way) -> Result<Self, String> {
        let driver = driver(trial, plugins)?;
        Ok(Self { trial, plugins, way, driver, fed: Vec::new(), read: BTreeMap::new(), appeared: Default::default() })
    }

    /// Lets the steps of a micro-batch happen and compares what came of them.
    fn batch(&mut self, steps: Range<usize>) -> Result<(), String> {
        let before = self.watermark()?;
        for does in &self.trial.steps[steps.clone()] {
            for act in does {
                self.act(act)?;
            }
        }
        self.run()?;
        self.dead_letters()?;
        for (which, expected) in [Some(&self.trial.expected), self.trial.late.as_ref()].into_iter().enumerate() {
            let mut seen = self.new_rows(which, before)?;
            let Some(expected) = expected else { continue };
            if !self.trial.exact {
                self.appeared[which].append(&mut seen);
                continue;
            }
            let within = expected.iter().filter(|(step, _)| steps.contains(step));
            let mut expected: Vec<Value> = within.map(|(_, value)| value.clone()).collect();
            if steps.len() > 1 {
                expected.iter_mut().chain(&mut seen).for_each(without_timing);
            }
            compare(COMPARED[which].1, expected, seen, self.trial.ordered)?;
        }
        self.look(steps.end - 1)
    }

    fn act(&mut self, act: &Do) -> Result<(), String> {
        match act {
            Do::Clock(by) => self.driver.set_clock(self.driver.clock().saturating_add(*by)),
            Do::Feed(input, record) => {
                feed(&mut self.driver, self.trial, *input, record)?;
                self.fed.push((*input, record.clone()));
            }
            Do::Restore => {
                let bytes = self.driver.checkpoint().map_err(|error| format!("checkpoint: {error}"))?.to_bytes();
                let mut fresh = driver(self.trial, self.plugins)?;
                for (input, record) in &self.fed {
                    feed(&mut fresh, self.trial, *input, record)?;
                }
                fresh.set_clock(self.driver.clock());
                let checkpoint = Checkpoint::from_bytes(&bytes).map_err(|error| format!("checkpoint: {error}"))?;
                fresh.restore(checkpoint).map_err(|error| format!("restore: {error}"))?;
                (self.driver, self.read) = (fresh, BTreeMap::new());
            }
        }
        Ok(())
    }

    /// Does the micro-batch, and whatever else is to be done then.
    fn run(&mut self) -> Result<(), String> {
        let text = |error: millstream::pipeline::Error| error.to_string();
        let take = Take::Arrived;
        match self.way {
            Way::Restarts(crash @ Crash::BeforeCommit) => {
                let rows = |driver: &Driver| [count(driver, OUT), count(driver, LATE)];
                let before = rows(&self.driver);
                self.driver.crash(crash, &take).map_err(text)?;
                if rows(&self.driver) != before {
                    return Err("a micro-batch that was not committed left rows".to_owned());
                }
                self.driver.run(&take).map_err(text)?;
            }
            Way::Restarts(crash @ Crash::AfterCommit) => {
                self.driver.crash(crash, &take).map_err(text)?;
                self.driver.run(&take).map_err(text)?;
            }
            Way::Restarts(crash @ Crash::Idle) => {
                self.driver.run(&take).map_err(text)?;
                self.driver.crash(crash, &take).map_err(text)?;
            }
            Way::Straight | Way::Cuts(_) => {
                self.driver.run(&take).map_err(text)?;
            }
        }
        Ok(())
    }

    fn watermark(&self) -> Result<Option<i64>, String> {
        Ok(self.driver.status().map_err(|error| error.to_string())?.watermark)
    }

    /// What came as results (0) or late events (1) since it was last read.
    fn new_rows(&mut self, which: usize, before: Option<i64>) -> Result<Vec<Value>, String> {
        let mut values = Vec::new();
        for &topic in COMPARED[which].0 {
            let all = rows(&self.driver, topic, before)?;
            let read = self.read.entry(topic).or_default();
            let new = all.get(*read..).ok_or("rows that were there are gone")?;
            values.extend(new.iter().filter_map(self.trial.read));
            *read = all.len();
        }
        Ok(values)
    }

    fn dead_letters(&self) -> Result<(), String> {
        let topic: TopicName = DEAD.parse().expect("a name");
        let letters = self.driver.read(&topic).map_err(|error| error.to_string())?;
        let Some(letter) = letters.iter().find(|letters| !letters.timestamps.is_empty()) else { return Ok(()) };
        let headers = letter.view().headers.rows().next().unwrap_or_default();
        let message = |name: &str| {
            let found = headers.iter().find(|(of, _)| of.ends_with(name.as_bytes()))?.1;
            found.map(|value| String::from_utf8_lossy(value).into_owned())
        };
        let (code, reason) = (message(".code").unwrap_or_default(), message(".reason").unwrap_or_default());
        Err(format!("a row became a dead letter: {code}: {reason}"))
    }

    /// Compares what the pipeline shows of itself after a step.
    fn look(&self, step: usize) -> Result<(), String> {
        let Some(seen) = &self.trial.seen else { return Ok(()) };
        let Some(expected) = &seen.after[step] else { return Ok(()) };
        let got = seen.look.at(&self.driver)?;
        if got == *expected { Ok(()) } else { Err(format!("\n  expected {expected}\n  got      {got}")) }
    }

    /// Compares what does not depend on steps.
    fn end(&mut self) -> Result<(), String> {
        if self.trial.exact {
            return Ok(());
        }
        let values = |expected: &[(usize, Value)]| expected.iter().map(|(_, value)| value.clone()).collect();
        let [results, late] = std::mem::take(&mut self.appeared);
        compare("results", values(&self.trial.expected), results, self.trial.ordered)?;
        match &self.trial.late {
            Some(expected) => compare("late events", values(expected), late, self.trial.ordered),
            None => Ok(()),
        }
    }
}

fn driver(trial: &Trial, plugins: &Plugins) -> Result<Driver, String> {
    let partitions = |topic: &TopicName| {
        let of_topic = trial.inputs.iter().filter(|input| input.topic == *topic);
        // Results stay in one partition, and so in their order.
        u32::try_from(of_topic.count()).unwrap_or(u32::MAX).max(1)
    };
    plugins.driver(&trial.manifest, partitions).map_err(|error| format!("the pipeline is refused: {error}"))
}

fn feed(driver: &mut Driver, trial: &Trial, input: usize, record: &Record) -> Result<(), String> {
    let at = trial.inputs.get(input).ok_or_else(|| format!("there is no input {input}"))?;
    let mut batch = Batch::default();
    batch.push(record.timestamp, record.key.as_deref().map(str::as_bytes), Some(record.value.as_bytes()));
    if let Some((name, value)) = &record.header {
        batch.headers.push_row([(name.as_bytes(), Some(value.as_bytes()))]);
    }
    driver.feed(at, batch.view()).map_err(|error| error.to_string())
}

/// The rows of a topic.
fn rows(driver: &Driver, topic: &'static str, before: Option<i64>) -> Result<Vec<Row>, String> {
    let name: TopicName = topic.parse().expect("a name");
    if !driver.topics().map_err(|error| error.to_string())?.contains_key(&name) {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for batch in driver.read(&name).map_err(|error| error.to_string())? {
        for (timestamp, (key, value)) in batch.timestamps.iter().zip(batch.keys.iter().zip(batch.values.iter())) {
            let value = value.unwrap_or(b"null");
            let value = serde_json::from_slice(value)
                .map_err(|error| format!("`{}` is no JSON: {error}", String::from_utf8_lossy(value)))?;
            let key = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
            rows.push(Row { topic, timestamp: *timestamp, key, value, before });
        }
    }
    Ok(rows)
}

fn count(driver: &Driver, topic: &'static str) -> usize {
    rows(driver, topic, None).map_or(0, |rows| rows.len())
}

/// In a micro-batch of several steps, what was known when a result appeared is not to be seen from outside.
fn without_timing(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.remove("timing");
    }
}

/// Compares what appeared with what must appear.
fn compare(name: &str, mut expected: Vec<Value>, mut got: Vec<Value>, ordered: bool) -> Result<(), String> {
    if !ordered {
        expected.sort_by_cached_key(Value::to_string);
        got.sort_by_cached_key(Value::to_string);
    }
    if expected == got {
        return Ok(());
    }
    let list = |values: &[Value]| match values {
        [] => "nothing".to_owned(),
        values => values.iter().map(Value::to_string).collect::<Vec<_>>().join(" "),
    };
    Err(format!("{name}\n  expected {}\n  got      {}", list(&expected), list(&got)))
}
