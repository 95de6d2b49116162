//! The log of one server: one RocksDB in a folder, one writer, any number of readers.
//!
//! ```text
//! append, commit, topics -> queue -> writer: one write of all tenants, one sync -> tail -> readers
//!                                                |                                  ^
//!                                                v                                  |
//!                                             RocksDB ----> a few reader threads ---+
//! ```
//!
//! Forgetting, retention and compaction are made by their callers, under the same lock as the writer's.
//! Appends and commits look at each byte of what they write before they queue it: callers on an asynchronous runtime keep
//! large ones off its threads. A fetch is answered at once from the tail, and else by a thread of the log's own. After a
//! write that failed the log only reads until it is opened again.

mod commits;
mod compaction;
mod format;
mod keys;
mod lifecycle;
mod mark;
mod producers;
mod queue;
mod reader;
mod readers;
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
use self::queue::{Queue, Request, TopicChange};
use self::reader::Wanted;
use self::readers::Readers;
use self::shared::Shared;
use self::topics::Topics;
use super::{
    Appended, Commit, CommitLog, Committed, Compacted, Durability, Error, Fenced, Fetched, Head, Limits, Pending,
    RecordLog, Result, TopicAdmin, TopicConfig, TopicInfo, admit,
};
use crate::ids::{Offset, TaskId, TenantId, TopicName, TopicPartition};

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
    readers: Readers,
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
        let no_thread = |error| Error::Storage { reason: format!("no thread for the log: {error}") };
        let writer = Mutex::new(Some(writer.map_err(no_thread)?));
        let compactor = Mutex::new(Compactor::new(config.compaction));
        let readers = Readers::start().map_err(no_thread)?;
        Ok(Self { shared, queue, limits: config.limits, compactor, writer, readers })
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

    /// Removes the oldest batches of all partitions that exceed their topic's retention, whole batches only and never
    /// the newest; `now_ms` is compared with the batches' largest timestamps. Answers how many batches went. Waits for the
    /// disk.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
        let _compactor = self.compactor();
        retention::enforce(&self.shared, now_ms)
    }

    /// Does a bounded piece of the work of compacting the partitions of all topics that have it, where that is worth its
    /// cost: where there are records that have not been looked at and the dirty bytes, those never compacted, are at least
    /// half, or where deletions have been kept for their time, which ends at or before `now_ms`. Answers how many records
    /// went, and whether to call again for the rest. Appends and fetches go on meanwhile. After a crash at any moment, and
    /// after an error, the contract holds for what is there, and the work is taken up again by later calls.
    pub fn compact(&self, now_ms: i64) -> Result<Compacted> {
        self.compactor().compact(&self.shared, now_ms)
    }

    /// Waits for the turn to change stored batches.
    fn compactor(&self) -> MutexGuard<'_, Compactor> {
        // A pass that ended in a panic is not in there any more.
        self.compactor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the topics when the future is polled. They are in memory.
    fn seen<T: Send + 'static>(&self, look: impl FnOnce(&Topics) -> Result<T> + Send + 'static) -> Pending<T> {
        // A look that nobody takes keeps no folder in use.
        let shared = Arc::downgrade(&self.shared);
        Box::pin(async move { look(&shared.upgrade().ok_or(Error::Closed)?.topics) })
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

impl TopicAdmin for EmbeddedLog {
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Pending<()> {
        let (tenant, topic) = (tenant.clone(), topic.clone());
        self.pending(move |_, answer| {
            admit::check_topic(&topic, &config)?;
            Ok(Request::Topic { tenant, topic, change: TopicChange::Create(config), answer })
        })
    }

    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<()> {
        let (tenant, topic) = (tenant.clone(), topic.clone());
        self.pending(move |_, answer| Ok(Request::Topic { tenant, topic, change: TopicChange::Delete, answer }))
    }

    fn topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<TopicInfo> {
        let (tenant, topic) = (tenant.clone(), topic.clone());
        self.seen(move |topics| Ok(topics.get(&tenant, &topic)?.info()))
    }

    fn topics(&self, tenant: &TenantId) -> Pending<BTreeMap<TopicName, TopicInfo>> {
        let tenant = tenant.clone();
        self.seen(move |topics| {
            let all = topics.all(Some(&tenant)).into_iter();
            Ok(all.map(|(name, topic)| (name, topic.info())).collect())
        })
    }
}

impl RecordLog for EmbeddedLog {
    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        let (tenant, at) = (tenant.clone(), at.clone());
        self.pending(move |limits, answer| {
            let (batches, checked) = admit::check_append(&at, batches, limits)?;
            Ok(Request::Append { tenant, at, batches, checked, answer })
        })
    }

    fn fetch(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Pending<Fetched> {
        let wanted = Wanted { tenant: tenant.clone(), at: at.clone(), from, bytes_max };
        // A fetch that nobody polls keeps no folder in use.
        let (shared, readers) = (Arc::downgrade(&self.shared), self.readers.waiting());
        Box::pin(async move {
            let shared = shared.upgrade().ok_or(Error::Closed)?;
            if let Some(fetched) = reader::in_memory(&shared, &wanted) {
                return fetched;
            }
            let (answer, answered) = oneshot::channel();
            readers.push(move || {
                // Who went away meanwhile needs no read.
                if !answer.is_closed() {
                    let fetched = reader::read(&shared, &wanted);
                    drop(shared);
                    let _ = answer.send(fetched);
                }
            });
            answered.await.unwrap_or(Err(Error::Closed))
        })
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        Ok(self.shared.topics.get(tenant, topic)?.changes.subscribe())
    }
}

impl CommitLog for EmbeddedLog {
    fn fence(&self, tenant: &TenantId, task: TaskId) -> Pending<Fenced> {
        let tenant = tenant.clone();
        self.pending(move |_, answer| Ok(Request::Fence { tenant, task, answer }))
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
        task: TaskId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        commits::replay(&self.shared.store, tenant, task, after, each)
    }

    fn forget(&self, tenant: &TenantId, task: TaskId) -> Result<()> {
        let mut writing = self.shared.writing()?;
        let mut batch = WriteBatch::default();
        writing.tasks.forget(&self.shared.store, &mut batch, tenant, task);
        self.shared.write(&writing, batch)
    }

    fn tasks(&self) -> Result<Vec<(TenantId, TaskId)>> {
        commits::all(&self.shared.store)
    }
}
