//! The click stream: one producer a partition, as fast as the server takes it.
//!
//! What was acknowledged is never written again by us. A batch without an answer is sent again as it is, and some batches
//! are sent twice on purpose: the server must store each once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;
use harness::clicks::{Answer, Clicks, Shape};
use harness::{Client, Producer};
use millstream::record::Batch;

use crate::Flags;
use crate::stage::{PARTITIONS, Stage};

/// Clicks of a batch: some 300 KB, so that what a request and a sync cost is little beside the rest.
const BATCH: u64 = 4096;
/// One batch in so many is sent twice.
const TWICE_ONE_IN: u64 = 20;
/// Event time between two clicks of a partition: some three million are an hour and a half.
const STEP_US: i64 = 2_000;
/// Clicks that may wait for the pipeline. More would only move work to after the stream's end, which has no time limit.
const AHEAD_MAX: u64 = 500_000;
/// How long a producer rests that is too far ahead: short beside the time in which the pipeline catches up.
const REST: Duration = Duration::from_millis(2);

/// What producers and the display share.
#[derive(Debug, Default)]
struct Progress {
    acknowledged: AtomicU64,
    counted: AtomicU64,
    twice: AtomicU64,
    is_over: AtomicBool,
}

/// The producers at work.
#[derive(Debug)]
pub(crate) struct Feed {
    progress: Arc<Progress>,
    writers: Vec<JoinHandle<anyhow::Result<(Clicks, Producer)>>>,
}

/// A stream that has been written: its producers can write more.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) producers: Vec<Producer>,
    pub(crate) answer: Answer,
    /// An event time past all clicks and all disorder.
    pub(crate) end_ms: i64,
    /// Batches that were sent twice on purpose.
    pub(crate) twice: u64,
}

impl Feed {
    /// Starts the producers.
    pub(crate) fn start(flags: Flags, stage: &Stage) -> Self {
        let shape = Shape { disorder_ms: stage.disorder_ms, ..Shape::SHOP };
        let progress = Arc::new(Progress::default());
        let writer = |partition: u32| {
            // Shares that differ by a click add up to what was asked for.
            let share = (flags.records + u64::from(partition)) / u64::from(PARTITIONS);
            let clicks = Clicks::new(shape, flags.seed, partition);
            let producer = producer(&stage.client, &stage.names.clicks, partition);
            let progress = Arc::clone(&progress);
            std::thread::spawn(move || write(clicks, producer, share, &progress))
        };
        let writers = (0..PARTITIONS).map(writer).collect();
        Self { progress, writers }
    }

    /// Clicks that the server has acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.progress.acknowledged.load(Ordering::Relaxed)
    }

    /// Tells the producers how far the pipeline is.
    pub(crate) fn counted(&self, records: u64) {
        self.progress.counted.fetch_max(records, Ordering::Relaxed);
    }

    /// Whether all producers have come to their ends.
    pub(crate) fn is_over(&self) -> bool {
        self.writers.iter().all(JoinHandle::is_finished)
    }

    /// Lets the producers end with the batch they are at.
    pub(crate) fn end(&self) {
        self.progress.is_over.store(true, Ordering::Relaxed);
    }

    /// What was written, once the producers are at their ends.
    pub(crate) fn written(self) -> anyhow::Result<Written> {
        let (mut producers, mut streams, mut answer) = (Vec::new(), Vec::new(), Answer::default());
        for writer in self.writers {
            let (clicks, producer) = writer.join().map_err(|_| anyhow!("a producer panicked"))??;
            answer.add(clicks.answer());
            streams.push(clicks);
            producers.push(producer);
        }
        let twice = self.progress.twice.load(Ordering::Relaxed);
        Ok(Written { producers, answer, end_ms: Clicks::end_ms(&streams), twice })
    }
}

/// The producer of a partition: an identity for each, because sequences are a partition's own.
fn producer(client: &Client, topic: &str, partition: u32) -> Producer {
    Producer::new(client.clone(), topic, partition, i64::from(partition))
}

fn write(
    mut clicks: Clicks,
    mut producer: Producer,
    share: u64,
    progress: &Progress,
) -> anyhow::Result<(Clicks, Producer)> {
    let mut batch = Batch::default();
    let mut left = share;
    let mut number = 0;
    while left > 0 && !progress.is_over.load(Ordering::Relaxed) {
        let ahead =
            progress.acknowledged.load(Ordering::Relaxed).saturating_sub(progress.counted.load(Ordering::Relaxed));
        if ahead > AHEAD_MAX {
            std::thread::sleep(REST);
            continue;
        }
        let rows = left.min(BATCH);
        batch.clear();
        clicks.next_rows(rows as usize, STEP_US, &mut batch);
        number += 1;
        if number % TWICE_ONE_IN == 0 {
            producer.send_twice(&batch)?;
            progress.twice.fetch_add(1, Ordering::Relaxed);
        } else {
            producer.send(&batch)?;
        }
        left -= rows;
        progress.acknowledged.fetch_add(rows, Ordering::Relaxed);
    }
    Ok((clicks, producer))
}
