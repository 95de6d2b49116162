//! A log on top of another: it does some things itself, and passes the others on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::ControlFlow;

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Appended, Commit, CommitLog, Committed, Fenced, Fetched, Head, Log, Pending, RecordLog, Result, TopicAdmin,
    TopicConfig, TopicInfo,
};
use crate::ids::{Offset, TaskId, TenantId, TopicName, TopicPartition};

/// What a log does that has another below it. Whoever implements it is a [`Log`]; what is not written down here goes to the
/// log below, and so do the functions of a log that no layer has had a reason to change.
pub trait Layer: Send + Sync + Debug {
    /// The log below.
    fn below(&self) -> &dyn Log;

    /// See [`RecordLog::fetch`].
    fn fetch(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Pending<Fetched> {
        self.below().fetch(tenant, at, from, bytes_max)
    }

    /// See [`RecordLog::watch`].
    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        self.below().watch(tenant, topic)
    }

    /// See [`CommitLog::fence`].
    fn fence(&self, tenant: &TenantId, task: TaskId) -> Pending<Fenced> {
        self.below().fence(tenant, task)
    }

    /// See [`CommitLog::commit`].
    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        self.below().commit(tenant, commit)
    }

    /// See [`CommitLog::replay`].
    fn replay(
        &self,
        tenant: &TenantId,
        task: TaskId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        self.below().replay(tenant, task, after, each)
    }

    /// See [`CommitLog::forget`].
    fn forget(&self, tenant: &TenantId, task: TaskId) -> Result<()> {
        self.below().forget(tenant, task)
    }
}

impl<L: Layer> TopicAdmin for L {
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Pending<()> {
        self.below().create_topic(tenant, topic, config)
    }

    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<()> {
        self.below().delete_topic(tenant, topic)
    }

    fn topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<TopicInfo> {
        self.below().topic(tenant, topic)
    }

    fn topics(&self, tenant: &TenantId) -> Pending<BTreeMap<TopicName, TopicInfo>> {
        self.below().topics(tenant)
    }
}

impl<L: Layer> RecordLog for L {
    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        self.below().append(tenant, at, batches)
    }

    fn fetch(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Pending<Fetched> {
        Layer::fetch(self, tenant, at, from, bytes_max)
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        Layer::watch(self, tenant, topic)
    }
}

impl<L: Layer> CommitLog for L {
    fn fence(&self, tenant: &TenantId, task: TaskId) -> Pending<Fenced> {
        Layer::fence(self, tenant, task)
    }

    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        Layer::commit(self, tenant, commit)
    }

    fn replay(
        &self,
        tenant: &TenantId,
        task: TaskId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        Layer::replay(self, tenant, task, after, each)
    }

    fn forget(&self, tenant: &TenantId, task: TaskId) -> Result<()> {
        Layer::forget(self, tenant, task)
    }

    fn tasks(&self) -> Result<Vec<(TenantId, TaskId)>> {
        self.below().tasks()
    }
}
