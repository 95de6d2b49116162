//! The topics in memory: what readers see of each partition, and the newest batches of it.
//!
//! What stands here is durable: the writer publishes a batch after it has been written. Readers hold a partition's lock
//! for a few copies of handles, never over I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;

use super::format::{self, StoredTopic};
use super::keys::{Entry, Family, NEXT_TOPIC};
use super::store::{Store, corrupt};
use crate::ids::{PartitionId, TenantId, TopicId, TopicName, TopicPartition};
use crate::log::admit::Placed;
use crate::log::compaction::Progress;
use crate::log::{Error, PartitionInfo, Result, TopicConfig, TopicInfo};

/// A topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) tenant: TenantId,
    pub(super) config: TopicConfig,
    pub(super) partitions: Vec<Arc<Partition>>,
    /// Changes whenever records become visible.
    pub(super) changes: watch::Sender<u64>,
    deleted: AtomicBool,
}

impl Topic {
    pub(super) fn new(id: TopicId, tenant: TenantId, config: TopicConfig) -> Self {
        let partitions = (0..config.partitions).map(|number| Arc::new(Partition::new(number))).collect();
        let (changes, deleted) = (watch::Sender::new(0), AtomicBool::new(false));
        Self { id, tenant, config, partitions, changes, deleted }
    }

    /// Whether its records are going or gone: what is missing is no corruption then.
    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    pub(super) fn set_deleted(&self, deleted: bool) {
        self.deleted.store(deleted, Ordering::Release);
    }

    /// The topic as it is now.
    pub(super) fn info(&self) -> TopicInfo {
        let partitions = self.partitions.iter().map(|partition| partition.lock().info).collect();
        TopicInfo { id: self.id, config: self.config.clone(), partitions }
    }

    pub(super) fn partition(&self, at: &TopicPartition) -> Result<&Arc<Partition>> {
        let partitions = self.config.partitions;
        let not_found = || Error::PartitionNotFound { at: at.clone(), partitions };
        self.partitions.get(at.partition as usize).ok_or_else(not_found)
    }
}

/// A partition as readers see it.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) number: PartitionId,
    visible: Mutex<Visible>,
}

/// What is visible of a partition.
#[derive(Debug, Default)]
pub(super) struct Visible {
    pub(super) info: PartitionInfo,
    /// How far it is compacted.
    pub(super) compacted: Progress,
    /// The newest batches: all that there are from the first of them on.
    pub(super) tail: VecDeque<Placed>,
}

impl Partition {
    fn new(number: PartitionId) -> Self {
        Self { number, visible: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Visible> {
        // Nothing panics under the lock but for want of memory, which ends the process.
        self.visible.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The topics of all tenants.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: RwLock<HashMap<(TenantId, TopicName), Arc<Topic>>>,
}

impl Topics {
    /// Reads all topics, and answers the id that the next one gets.
    pub(super) fn load(store: &Store) -> Result<(Self, TopicId)> {
        let mut named = HashMap::new();
        let mut infos: HashMap<(TopicId, PartitionId), PartitionInfo> = HashMap::new();
        let mut progress: HashMap<(TopicId, PartitionId), Progress> = HashMap::new();
        store.view().scan_meta(|key, value| {
            match &key.entry {
                Entry::Topic { name } => {
                    let StoredTopic { id, config } = StoredTopic::decode(value).map_err(|error| error.at(&key))?;
                    let topic = Topic::new(id, key.tenant.clone(), config);
                    named.insert((key.tenant, name.clone()), Arc::new(topic));
                }
                Entry::Partition { topic, partition } => {
                    let info = format::decode_partition(value).map_err(|error| error.at(&key))?;
                    infos.insert((*topic, *partition), info);
                }
                Entry::Progress { topic, partition } => {
                    let compacted = format::decode_progress(value).map_err(|error| error.at(&key))?;
                    progress.insert((*topic, *partition), compacted);
                }
                _ => {}
            }
            Ok(())
        })?;
        for topic in named.values() {
            for partition in &topic.partitions {
                let key = Entry::Partition { topic: topic.id, partition: partition.number }.of(&topic.tenant);
                let info = infos.remove(&(topic.id, partition.number));
                let mut visible = partition.lock();
                visible.info = info.ok_or_else(|| corrupt(&key, "it is missing"))?;
                visible.compacted = progress.remove(&(topic.id, partition.number)).unwrap_or_default();
            }
        }
        let what = "the id of the next topic";
        let next = match store.get_raw(Family::Meta, NEXT_TOPIC, &what)? {
            Some(value) => format::decode_number(&value).map_err(|error| corrupt(what, error))?,
            None => 1,
        };
        Ok((Self { by_name: RwLock::new(named) }, TopicId(next)))
    }

    pub(super) fn get(&self, tenant: &TenantId, topic: &TopicName) -> Result<Arc<Topic>> {
        let key = (tenant.clone(), topic.clone());
        let named = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        named.get(&key).cloned().ok_or_else(|| Error::TopicNotFound { topic: topic.clone() })
    }

    /// All topics, or those of one tenant.
    pub(super) fn all(&self, tenant: Option<&TenantId>) -> Vec<(TopicName, Arc<Topic>)> {
        let named = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = named.iter().filter(|((of, _), _)| tenant.is_none_or(|tenant| tenant == of));
        wanted.map(|((_, name), topic)| (name.clone(), topic.clone())).collect()
    }

    pub(super) fn insert(&self, name: TopicName, topic: Topic) {
        let key = (topic.tenant.clone(), name);
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(topic));
    }

    pub(super) fn remove(&self, tenant: &TenantId, name: &TopicName) {
        let key = (tenant.clone(), name.clone());
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}
