//! A log in memory whose next commit can be made to fail, before it is written or after.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::ids::{Offset, TaskId, TenantId, TopicName, TopicPartition};
use crate::log::memory::MemoryLog;
use crate::log::{
    Appended, Commit, CommitLog, Committed, Error, Fenced, Fetched, Head, Pending, RecordLog, Result, TopicAdmin,
    TopicConfig, TopicInfo,
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

impl CommitLog for FaultyLog {
    fn fence(&self, tenant: &TenantId, task: TaskId) -> Pending<Fenced> {
        self.log.fence(tenant, task)
    }

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

    fn replay(
        &self,
        tenant: &TenantId,
        task: TaskId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        self.log.replay(tenant, task, after, each)
    }

    fn forget(&self, tenant: &TenantId, task: TaskId) -> Result<()> {
        self.log.forget(tenant, task)
    }

    fn tasks(&self) -> Result<Vec<(TenantId, TaskId)>> {
        self.log.tasks()
    }
}

impl TopicAdmin for FaultyLog {
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Result<()> {
        self.log.create_topic(tenant, topic, config)
    }

    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Result<()> {
        self.log.delete_topic(tenant, topic)
    }

    fn topic(&self, tenant: &TenantId, topic: &TopicName) -> Result<TopicInfo> {
        self.log.topic(tenant, topic)
    }

    fn topics(&self, tenant: &TenantId) -> Result<BTreeMap<TopicName, TopicInfo>> {
        self.log.topics(tenant)
    }
}

impl RecordLog for FaultyLog {
    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        self.log.append(tenant, at, batches)
    }

    fn fetch(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Pending<Fetched> {
        self.log.fetch(tenant, at, from, bytes_max)
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        self.log.watch(tenant, topic)
    }
}
