//! The log of one server: one RocksDB in a folder, one writer, any number of readers.
//!
//! ```text
//! append, commit -> queue -> writer: one write of all tenants, one sync -> tail -> readers
//!                                        |                                  ^
//!                                        v                                  |
//!                                     RocksDB ------------------------------+
//! ```
//!
//! Writes of topics, forgetting, retention and compaction are made by their callers, under the same lock as the writer's. Appends and
//! commits look at each byte of what they write before they queue it, and reads may go to the disk: callers on an
//! asynchronous runtime keep large ones off its threads. After a write that failed the log only reads until it is opened
//! again.

mod commits;
mod compaction;
mod format;
mod keys;
mod lifecycle;
mod mark;
mod producers;
mod queue;
mod reader;
mod retention;
mod shared;
mod store;
mod tail;
#[cfg(test)]
mod tests;
mod topics;
mod writer;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use rocksdb::WriteBatch;
use tokio::sync::{oneshot, watch};

pub use self::compaction::CompactionLimits;
use self::compaction::Compactor;
use self::queue::{Queue, Request};
use self::shared::Shared;
use super::{
    Appended, Commit, Committed, Compacted, Durability, Error, Fetched, Head, Limits, Log, Pending, Result,
    TopicConfig, TopicInfo, admit,
};
use crate::ids::{Offset, PipelineId, TenantId, TopicName, TopicPartition};

/// How a log is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// The folder of the log, which is made if it is not there.
    pub folder: PathBuf,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// What is taken at once.
    pub limits: Limits,
    /// Bytes of the newest batches, of all partitions together, that are kept in memory.
    pub tail_bytes: usize,
    /// Bytes of RocksDB's cache for what is read from the disk.
    pub cache_bytes: usize,
    /// What compaction may use.
    pub compaction: CompactionLimits,
}

impl EmbeddedConfig {
    /// The defaults in a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            durability: Durability::default(),
            limits: Limits::default(),
            // Some seconds at full speed on one core: who falls further behind reads large batches from the disk.
            tail_bytes: 64 << 20,
            // Only keys and small values go through it; batches lie in blob files, which the system caches.
            cache_bytes: 64 << 20,
            compaction: CompactionLimits::default(),
        }
    }
}

/// The log of one server, on its own disk. Dropping it closes it.
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    limits: Limits,
    /// Held by whoever changes or removes stored batches, beside appends and reads.
    compactor: Mutex<Compactor>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens the log of a folder, or makes it. Waits for the disk.
    pub fn open(config: EmbeddedConfig) -> Result<Self> {
        let shared = Arc::new(Shared::open(&config)?);
        let queue = Arc::new(Queue::default());
        let writer = std::thread::Builder::new().name("log-writer".to_owned()).spawn({
            let (shared, queue) = (shared.clone(), queue.clone());
            move || writer::run(&shared, &queue)
        });
        let writer = writer.map_err(|error| Error::Storage { reason: format!("no thread for the log: {error}") })?;
        let compactor = Mutex::new(Compactor::new(config.compaction));
        Ok(Self { shared, queue, limits: config.limits, compactor, writer: Mutex::new(Some(writer)) })
    }

    /// Writes what waits, answers it, and takes no more; reads go on. The folder is free when the log is dropped.
    pub fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            tracing::error!("the log's writer had ended by a panic");
        }
        self.shared.fail(Error::Closed);
    }

    /// Waits for the turn to change stored batches.
    fn compactor(&self) -> MutexGuard<'_, Compactor> {
        // A pass that ended in a panic is not in there any more.
        self.compactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request when the future is polled, and waits for its answer.
    fn pending<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Limits, oneshot::Sender<Result<T>>) -> Result<Request> + Send + 'static,
    ) -> Pending<T> {
        let (queue, limits) = (self.queue.clone(), self.limits);
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let ticket = queue.push(request(&limits, answer)?)?;
            let result = answered.await;
            drop(ticket);
            // The writer ends without an answer only when the log does.
            result.unwrap_or(Err(Error::Closed))
        })
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.close();
    }
}

impl Log for EmbeddedLog {
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Result<()> {
        lifecycle::create(&self.shared, tenant, topic, config)
    }

    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Result<()> {
        lifecycle::delete(&self.shared, tenant, topic)
    }

    fn topics(&self, tenant: &TenantId) -> Result<BTreeMap<TopicName, TopicInfo>> {
        let topics = self.shared.topics.all(Some(tenant)).into_iter().map(|(name, topic)| {
            let partitions = topic.partitions.iter().map(|partition| partition.lock().info).collect();
            (name, TopicInfo { config: topic.config.clone(), partitions })
        });
        Ok(topics.collect())
    }

    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        let (tenant, at) = (tenant.clone(), at.clone());
        self.pending(move |limits, answer| {
            let checked = admit::check_append(&at, &batches, limits)?;
            Ok(Request::Append { tenant, at, batches, checked, answer })
        })
    }

    fn read(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Fetched> {
        reader::read(&self.shared, tenant, at, from, bytes_max)
    }

    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        let tenant = tenant.clone();
        self.pending(move |limits, answer| {
            admit::check_commit(&commit, limits)?;
            Ok(Request::Commit { tenant, commit, answer })
        })
    }

    fn replay(
        &self,
        tenant: &TenantId,
        pipeline: PipelineId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        commits::replay(&self.shared.store, tenant, pipeline, after, each)
    }

    fn forget(&self, tenant: &TenantId, pipeline: PipelineId) -> Result<()> {
        let mut writing = self.shared.writing()?;
        let mut batch = WriteBatch::default();
        writing.pipelines.forget(&self.shared.store, &mut batch, tenant, pipeline);
        self.shared.write(&writing, batch)
    }

    fn pipelines(&self) -> Result<Vec<(TenantId, PipelineId)>> {
        commits::all(&self.shared.store)
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        Ok(self.shared.topics.get(tenant, topic)?.changes.subscribe())
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
        let _compactor = self.compactor();
        retention::enforce(&self.shared, now_ms)
    }

    fn compact(&self, now_ms: i64) -> Result<Compacted> {
        self.compactor().compact(&self.shared, now_ms)
    }
}
