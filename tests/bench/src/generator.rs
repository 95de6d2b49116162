//! A log whose topic `in` is generated, to measure pipelines without a source log; and, if asked, without a sink.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use millstream::ids::{Offset, PipelineId, TenantId, TopicName, TopicPartition};
use millstream::log::{
    Appended, Commit, Committed, Compacted, Fetched, Head, Log, Pending, Result, TopicConfig, TopicInfo,
};
use tokio::sync::watch;

/// The generated topic.
pub const INPUT: &str = "in";

/// See the module.
#[derive(Debug)]
pub struct GeneratorLog {
    /// What all other topics and, unless it discards, all commits go to.
    inner: Arc<dyn Log>,
    batches: Vec<Bytes>,
    /// Offset after each batch.
    ends: Vec<Offset>,
    discards: bool,
    /// How many batches are visible.
    visible: watch::Sender<u64>,
    done: Arc<watch::Sender<bool>>,
}

impl GeneratorLog {
    /// A log with these batches, of which none is visible yet. Their base offsets are theirs already.
    pub fn new(inner: Arc<dyn Log>, batches: Vec<Bytes>, ends: Vec<Offset>, discards: bool) -> Self {
        let (visible, _) = watch::channel(0);
        let (done, _) = watch::channel(false);
        Self { inner, batches, ends, discards, visible, done: Arc::new(done) }
    }

    /// Shows all batches.
    pub fn open(&self) {
        self.visible.send_replace(self.batches.len() as u64);
    }

    /// Waits until a pipeline has committed everything.
    pub async fn done(&self) {
        let mut done = self.done.subscribe();
        // The sender lives as long as this log.
        let _ = done.wait_for(|done| *done).await;
    }

    fn is_input(topic: &TopicName) -> bool {
        topic.as_str() == INPUT
    }

    fn end(&self) -> Offset {
        let visible = *self.visible.borrow() as usize;
        visible.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or_default()
    }
}

impl Log for GeneratorLog {
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Result<()> {
        self.inner.create_topic(tenant, topic, config)
    }

    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Result<()> {
        self.inner.delete_topic(tenant, topic)
    }

    fn topics(&self, tenant: &TenantId) -> Result<BTreeMap<TopicName, TopicInfo>> {
        self.inner.topics(tenant)
    }

    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        self.inner.append(tenant, at, batches)
    }

    fn read(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Fetched> {
        if !Self::is_input(&at.topic) {
            return self.inner.read(tenant, at, from, bytes_max);
        }
        let end = self.end();
        let mut fetched = Fetched { batches: Vec::new(), start: 0, end };
        let first = self.ends.partition_point(|&end| end <= from);
        let mut bytes = 0;
        for (batch, &batch_end) in self.batches.iter().zip(&self.ends).skip(first) {
            if batch_end > end || (bytes > 0 && bytes + batch.len() > bytes_max) {
                break;
            }
            bytes += batch.len();
            fetched.batches.push(batch.clone());
        }
        Ok(fetched)
    }

    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        let position = commit.positions.iter().find(|(at, _)| Self::is_input(&at.topic)).map(|(_, position)| *position);
        let (done, end) = (Arc::clone(&self.done), self.end());
        let outputs = commit.outputs.len();
        let inner = (!self.discards).then(|| self.inner.commit(tenant, commit));
        Box::pin(async move {
            let answer = match inner {
                Some(inner) => inner.await?,
                None => Committed { base_offsets: vec![0; outputs] },
            };
            if let Some(position) = position {
                done.send_replace(position == end && end > 0);
            }
            Ok(answer)
        })
    }

    fn read_back(
        &self,
        tenant: &TenantId,
        pipeline: PipelineId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        self.inner.read_back(tenant, pipeline, after, each)
    }

    fn forget(&self, tenant: &TenantId, pipeline: PipelineId) -> Result<()> {
        self.inner.forget(tenant, pipeline)
    }

    fn pipelines(&self) -> Result<Vec<(TenantId, PipelineId)>> {
        self.inner.pipelines()
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        if Self::is_input(topic) { Ok(self.visible.subscribe()) } else { self.inner.watch(tenant, topic) }
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
        self.inner.enforce_retention(now_ms)
    }

    fn compact(&self, now_ms: i64) -> Result<Compacted> {
        self.inner.compact(now_ms)
    }
}
