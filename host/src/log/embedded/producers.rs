//! Producers as the partitions know them: kept beside the batches, in the same write, so that a batch that is sent again
//! after a restart is still known.

use std::collections::{HashMap, hash_map};

use rocksdb::WriteBatch;

use super::format::{self, Sealer};
use super::keys::{Entry, Key, Range};
use super::store::{Store, View};
use crate::ids::{Offset, PartitionId, TenantId, TopicId};
use crate::log::Result;
use crate::log::producer::ProducerState;

/// Producers in memory: each costs about 200 bytes. Others are read when they are met.
const CACHED_MAX: usize = 1 << 14;

/// Producers that were met, with what the next write does to them.
#[derive(Debug, Default)]
pub(super) struct Producers {
    cached: HashMap<(TopicId, PartitionId, i64), Option<ProducerState>>,
}

fn key(tenant: &TenantId, (topic, partition, id): (TopicId, PartitionId, i64)) -> Key {
    // An id below zero stands for no producer and does not come here.
    Entry::Producer { topic, partition, producer: id as u64 }.of(tenant)
}

impl Producers {
    /// Forgets what can be read again, if it has become much. Not while a write is being put together.
    pub(super) fn shrink(&mut self) {
        if self.cached.len() > CACHED_MAX {
            self.cached.clear();
        }
    }

    /// What is known of a producer.
    pub(super) fn get(
        &mut self,
        store: &Store,
        tenant: &TenantId,
        of: (TopicId, PartitionId, i64),
    ) -> Result<Option<&ProducerState>> {
        let state = match self.cached.entry(of) {
            hash_map::Entry::Occupied(cached) => cached.into_mut(),
            hash_map::Entry::Vacant(unmet) => {
                let key = key(tenant, of);
                let stored = store.get(&key)?;
                let state = stored.map(|value| format::decode_producer(&value).map_err(|error| error.at(&key)));
                unmet.insert(state.transpose()?)
            }
        };
        Ok(state.as_ref())
    }

    /// Remembers a producer, in memory and in the write.
    pub(super) fn put(
        &mut self,
        store: &Store,
        batch: &mut WriteBatch,
        sealer: &mut Sealer,
        tenant: &TenantId,
        of: (TopicId, PartitionId, i64),
        state: ProducerState,
    ) {
        store.put(batch, &key(tenant, of), sealer.seal(&[&format::encode_producer(&state)]));
        self.cached.insert(of, Some(state));
    }

    /// Forgets the producers whose last batch is gone from a partition.
    pub(super) fn trim(
        &mut self,
        view: &View<'_>,
        batch: &mut WriteBatch,
        tenant: &TenantId,
        (topic, partition): (TopicId, PartitionId),
        start: Offset,
    ) -> Result<()> {
        view.scan(&Range::producers(tenant, topic, partition), |key, value| {
            let state = format::decode_producer(value).map_err(|error| error.at(key))?;
            if state.next_offset() <= start {
                view.store().delete(batch, key);
                if let Entry::Producer { producer, .. } = key.entry {
                    self.cached.remove(&(topic, partition, producer as i64));
                }
            }
            Ok(true)
        })
    }
}
