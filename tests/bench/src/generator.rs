//! A log some of whose topics are generated, to measure pipelines without a source log; and, if asked, without a sink.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream::ids::{Offset, TenantId, TopicId, TopicName, TopicPartition};
use millstream::log::{Commit, Committed, Fetched, Layer, Log, Pending, Result};
use tokio::sync::watch;

use crate::input::Input;

/// See the module.
#[derive(Debug)]
pub struct GeneratorLog {
    /// What all other topics and, unless it discards, all commits go to.
    inner: Arc<dyn Log>,
    feeds: BTreeMap<TopicName, Feed>,
    discards: bool,
    noted: Arc<Noted>,
}

/// A generated topic of one partition.
#[derive(Debug)]
struct Feed {
    id: TopicId,
    input: Input,
    /// How many batches are visible.
    visible: watch::Sender<u64>,
}

/// What is noted of commits.
#[derive(Debug, Default)]
struct Noted {
    /// The places of the last commit in generated topics.
    positions: watch::Sender<BTreeMap<TopicName, Offset>>,
    /// When commits were known.
    commits: Mutex<Vec<Instant>>,
}

impl GeneratorLog {
    /// A log in which these topics are generated; nothing of them is visible yet. They exist in `inner`.
    pub async fn new(
        inner: Arc<dyn Log>,
        tenant: &TenantId,
        inputs: Vec<(TopicName, Input)>,
        discards: bool,
    ) -> Result<Self> {
        let mut feeds = BTreeMap::new();
        for (topic, input) in inputs {
            let id = inner.topic(tenant, &topic).await?.id;
            feeds.insert(topic, Feed { id, input, visible: watch::channel(0).0 });
        }
        Ok(Self { inner, feeds, discards, noted: Arc::default() })
    }

    /// Shows all batches.
    pub fn open(&self) {
        self.show(u64::MAX);
    }

    /// Shows the first batches of each topic.
    pub fn show(&self, batches: u64) {
        for feed in self.feeds.values() {
            feed.visible.send_replace(batches.min(feed.input.batches.len() as u64));
        }
    }

    /// Waits until a pipeline has committed everything that is visible.
    pub async fn done(&self) {
        let mut positions = self.noted.positions.subscribe();
        let reached = |(topic, feed): (&TopicName, &Feed), positions: &BTreeMap<TopicName, Offset>| {
            feed.end() > 0 && positions.get(topic) == Some(&feed.end())
        };
        // The sender lives as long as this log.
        let _ = positions.wait_for(|positions| self.feeds.iter().all(|feed| reached(feed, positions))).await;
    }

    /// The longest time between two commits that followed one another, of which one or both were within these times.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let commits = self.noted.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = commits.iter().zip(commits.iter().skip(1));
        let within = pairs.filter(|(before, after)| **after >= from && **before <= to);
        within.map(|(before, after)| *after - *before).max().unwrap_or_default()
    }
}

impl Feed {
    fn end(&self) -> Offset {
        let visible = *self.visible.borrow() as usize;
        visible.checked_sub(1).and_then(|last| self.input.ends.get(last)).copied().unwrap_or_default()
    }

    fn read(&self, from: Offset, bytes_max: usize) -> Fetched {
        let end = self.end();
        let mut fetched = Fetched { topic_id: self.id, batches: Vec::new(), start: 0, end };
        let first = self.input.ends.partition_point(|&end| end <= from);
        let mut bytes = 0;
        for (batch, &batch_end) in self.input.batches.iter().zip(&self.input.ends).skip(first) {
            if batch_end > end || (bytes > 0 && bytes + batch.len() > bytes_max) {
                break;
            }
            bytes += batch.len();
            fetched.batches.push(batch.clone());
        }
        fetched
    }
}

impl Layer for GeneratorLog {
    fn below(&self) -> &dyn Log {
        &*self.inner
    }

    fn fetch(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Pending<Fetched> {
        match self.feeds.get(&at.topic) {
            Some(feed) => Box::pin(std::future::ready(Ok(feed.read(from, bytes_max)))),
            None => self.inner.fetch(tenant, at, from, bytes_max),
        }
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        match self.feeds.get(topic) {
            Some(feed) => Ok(feed.visible.subscribe()),
            None => self.inner.watch(tenant, topic),
        }
    }

    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        let generated = commit.positions.iter().filter(|(at, _)| self.feeds.contains_key(&at.topic));
        let positions = generated.map(|(at, position)| (at.topic.clone(), position.offset)).collect();
        let noted = Arc::clone(&self.noted);
        let outputs = commit.outputs.len();
        let inner = (!self.discards).then(|| self.inner.commit(tenant, commit));
        Box::pin(async move {
            let answer = match inner {
                Some(inner) => inner.await?,
                None => Committed { base_offsets: vec![0; outputs] },
            };
            noted.commits.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
            noted.positions.send_replace(positions);
            Ok(answer)
        })
    }
}
