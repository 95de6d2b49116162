//! Whole pipelines in tests, on the engine itself: its log is in memory, and time goes by when the test says so.

mod cuts;
mod rows;
mod setup;
#[cfg(feature = "wasm")]
mod wasm;

use std::collections::BTreeMap;
use std::sync::PoisonError;

use millstream::ids::{TopicName, TopicPartition};
use millstream::log::partition_of;
pub use millstream::pipeline::driver::Crash;
use millstream::pipeline::driver::{Checkpoint, Driver, Status};
use millstream::pipeline::{Error, Take};
use millstream::plugin::Metric;
use millstream::record::Batch;
use millstream::time::Mark;

pub use self::rows::{DeadLetter, TopicRow};
pub use self::setup::{Drivable, Refused, Setup};
use super::input::Input;
use super::native::Lines;

/// A whole pipeline in a test.
///
/// Rows go in by [`feed`](Self::feed), which processes them and whatever becomes due; what the pipeline wrote is read from
/// its topics. The clock stands until it is moved, and event time moves with the rows or
/// [by hand](Self::advance_event_time). It is the engine of the server that does all this, so what holds here holds there.
///
/// Methods panic with the platform's message where a test has nothing to handle: an unknown topic, a plugin whose state
/// cannot be read.
///
/// ```
/// use millstream_sdk::prelude::*;
/// use millstream_sdk::testing::{Crash, Input, TestDriver};
///
/// /// Takes `name amount` apart: keyed by name.
/// #[transform]
/// fn split(line: &str) -> Result<Row> {
///     let Some((name, amount)) = line.split_once(' ') else { reject!("no-amount", "`{line}` is one word") };
///     Ok(Row::text(amount).key(name))
/// }
///
/// #[derive(Debug)]
/// struct Sum;
///
/// /// Sums up amounts.
/// #[aggregate]
/// impl Aggregate for Sum {
///     type Config = NoConfig;
///     type Input<'a> = Json<u64>;
///     type Accumulator = u64;
///     type Output = String;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Sum)
///     }
///
///     fn add(&self, sum: &mut u64, Json(amount): Json<u64>) -> Result<()> {
///         *sum += amount;
///         Ok(())
///     }
///
///     fn merge(&self, earlier: &mut u64, later: u64) {
///         *earlier += later;
///     }
///
///     fn finish(&self, window: &Window<'_>, sum: &u64) -> Result<String> {
///         Ok(format!("{}: {sum}", window.key_text().unwrap_or_default()))
///     }
/// }
///
/// let setup = TestDriver::of(
///     r#"
///     name = "sums"
///     [source]
///     topics = ["orders"]
///     [watermark]
///     disorder = "1s"
///     [[steps]]
///     name = "split"
///     plugin = "split"
///     [[steps]]
///     name = "sum"
///     plugin = "sum"
///     window = { tumbling = "10s" }
///     late = "late-orders"
///     [output]
///     topic = "sums-per-10s"
///     [dead-letters]
///     topic = "bad-orders"
///     "#,
/// )
/// .plugin::<Split>("split")
/// .plugin::<Sum>("sum");
///
/// let mut driver = setup.start().expect("it can be deployed");
/// driver.feed("orders", [Input::value("ada 3").at(1_000), Input::value("bob").at(2_000)]);
/// driver.queue("orders", [Input::value("ada 4").at(9_999)]);
/// driver.crash(Crash::BeforeCommit);
/// driver.run();
/// assert_eq!(driver.values("sums-per-10s"), Vec::<String>::new(), "the window is open");
///
/// driver.advance_event_time("orders", 10_000);
/// assert_eq!(driver.values("sums-per-10s"), ["ada: 7"]);
/// driver.feed("orders", [Input::value("ada 1").at(5_000)]);
/// assert_eq!(driver.values("late-orders"), ["1"]);
/// assert_eq!(driver.dead_letters()[0].code, "no-amount");
/// assert_eq!(driver.status().usage.records_in, 4);
///
/// // However batches are cut, and whenever the server dies, the results are the same.
/// setup.check_cuts(|driver| {
///     driver.feed("orders", (0..50).map(|n| Input::value(format!("k{} {n}", n % 3)).at(n * 700)));
/// });
/// ```
#[derive(Debug)]
pub struct TestDriver {
    driver: Driver,
    setup: Setup,
    lines: Lines,
    take: Take,
    /// Crashes in each micro-batch.
    crashing: Option<Crash>,
    /// How many rows of each topic and partition were read.
    read: BTreeMap<(String, u32), usize>,
}

impl TestDriver {
    /// Begins a pipeline of this manifest.
    pub fn of(manifest: &str) -> Setup {
        Setup::new(manifest)
    }

    fn start(setup: &Setup) -> Result<Self, Refused> {
        let lines = Lines::default();
        let mut refused = None;
        let load = setup.loader(&lines, &mut refused)?;
        let made = Driver::new(setup.manifest(), |topic| setup.count_partitions(topic), load);
        let mut driver = made.map_err(|error| refused.unwrap_or_else(|| Refused::of(&error)))?;
        driver.set_clock(setup.clock);
        let take = setup.batch_size.map_or(Take::Arrived, Take::Records);
        Ok(Self { driver, setup: setup.clone(), lines, take, crashing: None, read: BTreeMap::new() })
    }

    /// Goes on with another manifest or other plugins, as an upgrade does: topics and state stay.
    ///
    /// # Errors
    /// What a server would refuse, state that the new plugins cannot take over among it. Then nothing has changed.
    pub fn upgrade(&mut self, to: &Setup) -> Result<(), Refused> {
        let mut refused = None;
        let load = to.loader(&self.lines, &mut refused)?;
        let changed = self.driver.change(to.manifest(), |topic| to.count_partitions(topic), load);
        changed.map_err(|error| refused.unwrap_or_else(|| Refused::of(&error)))?;
        self.setup = to.clone();
        Ok(())
    }

    /// Cuts micro-batches to so many records from here on.
    pub fn batch_size(&mut self, records: usize) {
        self.take = Take::Records(records);
    }

    /// Appends rows to a topic and processes them with all that becomes due. In a topic of several partitions a row goes
    /// where Kafka's clients send its key, and one without key to partition 0.
    #[track_caller]
    pub fn feed(&mut self, topic: &str, rows: impl IntoIterator<Item = impl Into<Input>>) {
        self.queue(topic, rows);
        self.run();
    }

    /// The same, to one partition.
    #[track_caller]
    pub fn feed_to(&mut self, topic: &str, partition: u32, rows: impl IntoIterator<Item = impl Into<Input>>) {
        self.queue_to(topic, partition, rows);
        self.run();
    }

    /// Appends rows to a topic, to be processed by the next [`run`](Self::run) or [`step`](Self::step), or to be met by a
    /// [`crash`](Self::crash).
    #[track_caller]
    pub fn queue(&mut self, topic: &str, rows: impl IntoIterator<Item = impl Into<Input>>) {
        let partitions = self.partitions(topic);
        let mut by_partition: BTreeMap<u32, Vec<Input>> = BTreeMap::new();
        for row in rows {
            let row: Input = row.into();
            let partition = row.key.as_deref().map_or(0, |key| partition_of(key, partitions));
            by_partition.entry(partition).or_default().push(row);
        }
        for (partition, rows) in by_partition {
            self.queue_to(topic, partition, rows);
        }
    }

    /// The same, to one partition.
    #[track_caller]
    pub fn queue_to(&mut self, topic: &str, partition: u32, rows: impl IntoIterator<Item = impl Into<Input>>) {
        let rows: Vec<Input> = rows.into_iter().map(Into::into).collect();
        let mut batch = Batch::default();
        let with_headers = rows.iter().any(|row| !row.headers.is_empty());
        for row in &rows {
            batch.push(row.timestamp, row.key.as_deref(), row.value.as_deref());
            if with_headers {
                let headers = row.headers.iter();
                batch.headers.push_row(headers.map(|(name, value)| (name.as_bytes(), Some(value.as_slice()))));
            }
        }
        told(self.driver.feed(&at(topic, partition), batch.view()));
    }

    /// Processes what was queued and does what is due, until there is nothing to do.
    #[track_caller]
    pub fn run(&mut self) {
        if let Err(refused) = self.try_run() {
            panic!("{refused}");
        }
    }

    /// The same, for tests of what the platform cannot do.
    ///
    /// # Errors
    /// What would stop the pipeline of a server, such as state over its limit. It stands at its last commit.
    pub fn try_run(&mut self) -> Result<(), Refused> {
        loop {
            let crashed = match self.crashing {
                None => false,
                Some(crash) => self.driver.crash(crash, &self.take).map_err(|error| Refused::of(&error))?,
            };
            let stepped = self.driver.step(&self.take).map_err(|error| Refused::of(&error))?;
            if !crashed && !stepped {
                return Ok(());
            }
        }
    }

    /// Does one micro-batch. Whether there was anything to do.
    #[track_caller]
    pub fn step(&mut self) -> bool {
        told(self.driver.step(&self.take))
    }

    /// Notes that a topic gives no rows before `time` any more, in any of its partitions, and does what becomes due. Rows of
    /// before it that come nevertheless are late.
    #[track_caller]
    pub fn advance_event_time(&mut self, topic: &str, time: i64) {
        self.mark(topic, Mark::Watermark(time.saturating_sub(1)));
    }

    /// Notes that nothing comes by any topic any more: every window closes, and every event-time timer fires.
    #[track_caller]
    pub fn end(&mut self) {
        let sources = self.driver.spec().sources.clone();
        for topic in sources {
            self.mark(topic.as_str(), Mark::Watermark(i64::MAX));
        }
    }

    /// Notes that a topic is idle: its partitions no longer hold event time up, until rows come by them.
    #[track_caller]
    pub fn idle(&mut self, topic: &str) {
        self.mark(topic, Mark::Idle);
    }

    #[track_caller]
    fn mark(&mut self, topic: &str, mark: Mark) {
        self.run();
        for partition in 0..self.partitions(topic) {
            told(self.driver.mark(&at(topic, partition), mark));
        }
        self.run();
    }

    /// The clock, in milliseconds since the Unix epoch.
    pub fn clock(&self) -> i64 {
        self.driver.clock()
    }

    /// Moves the clock on, doing what becomes due when it becomes due.
    #[track_caller]
    pub fn advance_clock(&mut self, milliseconds: i64) {
        self.run();
        let end = self.driver.clock().saturating_add(milliseconds);
        while let Some(next) = self.driver.next_clock().filter(|next| (self.driver.clock()..=end).contains(next)) {
            // What falls due at this moment has been done, unless it became due by doing it.
            if next == self.driver.clock() {
                break;
            }
            self.driver.set_clock(next);
            self.run();
        }
        self.driver.set_clock(end);
        self.run();
    }

    /// The rows of a topic that came since it was last read, partition by partition.
    #[track_caller]
    pub fn read(&mut self, topic: &str) -> Vec<TopicRow> {
        let mut rows = Vec::new();
        for (partition, batch) in (0..).zip(told(self.driver.read(&name(topic)))) {
            let read = self.read.entry((topic.to_owned(), partition)).or_default();
            rows.extend(TopicRow::all(partition, &batch).into_iter().skip(*read));
            *read = batch.len();
        }
        rows
    }

    /// All rows of a topic, partition by partition.
    #[track_caller]
    pub fn all(&self, topic: &str) -> Vec<TopicRow> {
        let partitions = (0..).zip(told(self.driver.read(&name(topic))));
        partitions.flat_map(|(partition, batch)| TopicRow::all(partition, &batch)).collect()
    }

    /// The values of [`read`](Self::read), as text.
    #[track_caller]
    pub fn values(&mut self, topic: &str) -> Vec<String> {
        self.read(topic).iter().map(TopicRow::value_text).collect()
    }

    /// All rows that came too late for the windows of a step.
    ///
    /// # Panics
    /// If the step has no windows.
    #[track_caller]
    pub fn late(&self, step: &str) -> Vec<TopicRow> {
        let found = self.driver.spec().steps.iter().find(|known| known.name.as_str() == step);
        let window = found.and_then(|step| step.window.as_ref());
        let window = window.unwrap_or_else(|| panic!("there is no step `{step}` with windows"));
        self.all(window.late.as_str())
    }

    /// All rows that no step could process: rejected, or poisonous.
    #[track_caller]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let topic = self.driver.spec().dead_letters.clone();
        self.all(topic.as_str()).into_iter().map(DeadLetter::of).collect()
    }

    /// What can be seen of the pipeline: counters, watermark, inputs, keys and bytes of state.
    #[track_caller]
    pub fn status(&self) -> Status {
        told(self.driver.status())
    }

    /// Event time up to which everything has been seen.
    #[track_caller]
    pub fn watermark(&self) -> Option<i64> {
        self.status().watermark
    }

    /// What the plugin of a step measures.
    ///
    /// # Panics
    /// If there is no such step.
    #[track_caller]
    pub fn metrics(&self, step: &str) -> BTreeMap<String, Metric> {
        let found = self.status().steps.into_iter().find(|known| known.name.as_str() == step);
        found.unwrap_or_else(|| panic!("there is no step `{step}`")).metrics
    }

    /// The lines that native plugins have logged: step, level, text.
    pub fn logs(&self) -> Vec<(String, u8, String)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets the pipeline lose all that is not committed, at this point of the next micro-batch, and starts it again.
    /// Whether there was a micro-batch.
    #[track_caller]
    pub fn crash(&mut self, crash: Crash) -> bool {
        told(self.driver.crash(crash, &self.take))
    }

    /// The pipeline as it is: its place in its inputs, its state, its counters.
    #[track_caller]
    pub fn checkpoint(&self) -> Checkpoint {
        told(self.driver.checkpoint())
    }

    /// Puts the pipeline back to a checkpoint, of this driver or, without its positions, of another. What was written to
    /// topics since stays there.
    ///
    /// # Errors
    /// What a server would refuse: state that the pipeline cannot take over. Then nothing has changed.
    pub fn restore(&mut self, checkpoint: Checkpoint) -> Result<(), Refused> {
        self.driver.restore(checkpoint).map_err(|error| Refused::of(&error))
    }

    #[track_caller]
    fn partitions(&self, topic: &str) -> u32 {
        let topics = told(self.driver.topics());
        let known = topics.get(&name(topic)).map(|topic| topic.config.partitions);
        known.unwrap_or_else(|| {
            let names = topics.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            panic!("the pipeline has no topic `{topic}`; it has {names}")
        })
    }
}

#[track_caller]
fn name(topic: &str) -> TopicName {
    topic.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: name(topic), partition }
}

#[track_caller]
fn told<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| panic!("{}", Refused::of(&error)))
}
