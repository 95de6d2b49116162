//! A log in memory whose next commit can be made to fail, before it is written or after.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::ids::{Offset, PipelineId, TenantId, TopicName, TopicPartition};
use crate::log::memory::MemoryLog;
use crate::log::{
    Appended, Commit, Committed, Compacted, Error, Fetched, Head, Log, Pending, Result, TopicConfig, TopicInfo,
};

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not written.
    Unwritten,
    /// It is written, but whoever made it does not come to know.
    Unanswered,
}

/// The log of a driver.
#[derive(Debug, Default)]
pub(super) struct FaultyLog {
    log: MemoryLog,
    next: Mutex<Option<Fault>>,
}

impl FaultyLog {
    /// Lets the next commit fail, or no more.
    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn take(&self) -> Option<Fault> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Log for FaultyLog {
    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        match self.take() {
            None => self.log.commit(tenant, commit),
            Some(Fault::Unwritten) => Box::pin(std::future::ready(Err(Error::Closed))),
            Some(Fault::Unanswered) => {
                let written = self.log.commit(tenant, commit);
                Box::pin(async move { written.await.and(Err(Error::Closed)) })
            }
        }
    }

    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Result<()> {
        self.log.create_topic(tenant, topic, config)
    }

    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Result<()> {
        self.log.delete_topic(tenant, topic)
    }

    fn topics(&self, tenant: &TenantId) -> Result<BTreeMap<TopicName, TopicInfo>> {
        self.log.topics(tenant)
    }

    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        self.log.append(tenant, at, batches)
    }

    fn read(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Fetched> {
        self.log.read(tenant, at, from, bytes_max)
    }

    fn replay(
        &self,
        tenant: &TenantId,
        pipeline: PipelineId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        self.log.replay(tenant, pipeline, after, each)
    }

    fn forget(&self, tenant: &TenantId, pipeline: PipelineId) -> Result<()> {
        self.log.forget(tenant, pipeline)
    }

    fn pipelines(&self) -> Result<Vec<(TenantId, PipelineId)>> {
        self.log.pipelines()
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        self.log.watch(tenant, topic)
    }

    fn compact(&self, now_ms: i64) -> Result<Compacted> {
        self.log.compact(now_ms)
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
        self.log.enforce_retention(now_ms)
    }
}
