//! Topics come and go, each with a write of its own.

use rocksdb::WriteBatch;

use super::format::{self, StoredTopic};
use super::keys::{Entry, Family, NEXT_TOPIC, Range};
use super::shared::{Shared, Writing};
use super::topics::Topic;
use crate::ids::{Offset, TenantId, TopicId, TopicName};
use crate::log::{Error, PartitionInfo, Result, TopicConfig};

/// See [`TopicAdmin::create_topic`](crate::log::TopicAdmin::create_topic). The configuration has been checked.
pub(super) fn create(
    shared: &Shared,
    writing: &mut Writing,
    tenant: &TenantId,
    name: &TopicName,
    config: TopicConfig,
) -> Result<()> {
    if let Ok(existing) = shared.topics.get(tenant, name) {
        let same = existing.config == config;
        return if same { Ok(()) } else { Err(Error::TopicConflict { topic: name.clone() }) };
    }
    let stored = StoredTopic { id: writing.next_topic, config };
    let mut batch = WriteBatch::default();
    let (store, sealer) = (&shared.store, &mut writing.sealer);
    let content =
        stored.encode().map_err(|error| Error::InvalidTopic { topic: name.clone(), reason: error.to_string() })?;
    store.put(&mut batch, &Entry::Topic { name: name.clone() }.of(tenant), sealer.seal(&[&content]));
    let empty = sealer.seal(&[&format::encode_partition(&PartitionInfo::default())]);
    for partition in 0..stored.config.partitions {
        store.put(&mut batch, &Entry::Partition { topic: stored.id, partition }.of(tenant), empty);
    }
    let next = sealer.seal(&[&format::encode_number(stored.id.0 + 1)]);
    batch.put_cf(store.handle(Family::Meta), NEXT_TOPIC, next);
    shared.write(writing, batch)?;
    writing.next_topic = TopicId(stored.id.0 + 1);
    shared.topics.insert(name.clone(), Topic::new(stored.id, tenant.clone(), stored.config));
    Ok(())
}

/// See [`TopicAdmin::delete_topic`](crate::log::TopicAdmin::delete_topic).
pub(super) fn delete(shared: &Shared, writing: &mut Writing, tenant: &TenantId, name: &TopicName) -> Result<()> {
    let topic = shared.topics.get(tenant, name)?;
    let mut batch = WriteBatch::default();
    shared.store.delete(&mut batch, &Entry::Topic { name: name.clone() }.of(tenant));
    for range in Range::of_topic(tenant, topic.id) {
        shared.store.delete_range(&mut batch, &range);
    }
    // A reader that misses a batch from here on looks at this.
    topic.set_deleted(true);
    shared.write(writing, batch).inspect_err(|_| topic.set_deleted(false))?;
    shared.topics.remove(tenant, name);
    for partition in &topic.partitions {
        writing.tail.trim(partition, Offset::MAX);
    }
    Ok(())
}
