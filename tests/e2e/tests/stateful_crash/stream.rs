//! What producers send: the same rows for the same seed, in batches of any size.

use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Client, Producer, Random};
use millstream::record::Batch;

use crate::pipelines::{CLICKS, DISORDER_MS};

/// Keys of a topic: so many that each is quiet now and then, so few that each has state most of the time.
const KEYS: u64 = 40;
/// Longest time from one row to the next.
const STEP_MS: u64 = 25;
/// One row in so many has the id of one before it.
const REPEATED_ONE_IN: u64 = 4;
/// One row in so many of `clicks` comes after its time, by up to [`STRAGGLER_MS`].
const STRAGGLER_ONE_IN: u64 = 50;
/// Longer than the allowed lateness and than names are known: some are taken late, some not at all.
const STRAGGLER_MS: u64 = 20_000;
/// Most rows of a batch. Few, so that there are many commits.
const BATCH_ROWS: u64 = 40;

/// The rows of a topic.
#[derive(Debug)]
pub struct Stream {
    topic: &'static str,
    random: Random,
    clock_ms: i64,
    /// How many there were.
    pub rows: u64,
}

impl Stream {
    pub fn new(topic: &'static str, seed: u64) -> Self {
        let place = topic.bytes().fold(seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Self { topic, random: Random::new(place), clock_ms: 0, rows: 0 }
    }

    pub fn topic(&self) -> &'static str {
        self.topic
    }

    fn push(&mut self, batch: &mut Batch) {
        self.clock_ms += self.random.below(STEP_MS) as i64;
        let behind = match self.topic == CLICKS && self.random.one_in(STRAGGLER_ONE_IN) {
            true => self.random.below(STRAGGLER_MS),
            false => self.random.below(DISORDER_MS),
        };
        let id = match self.random.one_in(REPEATED_ONE_IN) {
            true => self.rows - self.random.below(self.rows.clamp(1, 200)),
            false => self.rows,
        };
        // The same id is one of the same key.
        let key = Random::new(id).below(KEYS);
        let value = format!(r#"{{"id":{id},"row":{}}}"#, self.rows);
        batch.push(self.clock_ms - behind as i64, Some(format!("k{key}").as_bytes()), Some(value.as_bytes()));
        self.rows += 1;
    }

    /// A row so late in time that all that waits for time to pass has waited long enough.
    fn closing(&self, batch: &mut Batch) {
        batch.push(self.clock_ms + 86_400_000, Some(b"end"), Some(b"{\"id\":-1}"));
    }
}

/// A producer with what it sends.
#[derive(Debug)]
pub struct Feed {
    pub stream: Stream,
    producer: Producer,
    sizes: Random,
}

impl Feed {
    pub fn new(stream: Stream, client: Client, id: i64, sizes: u64) -> Self {
        Self { producer: Producer::new(client, stream.topic(), 0, id), stream, sizes: Random::new(sizes) }
    }

    /// Sends until it is enough.
    pub fn send_until(&mut self, enough: &AtomicBool) -> anyhow::Result<()> {
        while !enough.load(Ordering::Relaxed) {
            let rows = 1 + self.sizes.below(BATCH_ROWS);
            self.send(rows)?;
        }
        Ok(())
    }

    /// Sends until the stream has had so many rows.
    pub fn send_up_to(&mut self, rows: u64) -> anyhow::Result<()> {
        while self.stream.rows < rows {
            let some = 1 + self.sizes.below(10 * BATCH_ROWS);
            self.send(some.min(rows - self.stream.rows))?;
        }
        Ok(())
    }

    pub fn close(&mut self) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        self.stream.closing(&mut batch);
        self.producer.send(&batch)
    }

    fn send(&mut self, rows: u64) -> anyhow::Result<()> {
        let mut batch = Batch::default();
        (0..rows).for_each(|_| self.stream.push(&mut batch));
        self.producer.send(&batch)
    }
}
