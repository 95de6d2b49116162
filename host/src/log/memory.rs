//! The model of the log: everything in memory under one lock, as plain as it can be. It says what the other backends
//! must do, and tests of what stands above the log run on it. It survives nothing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::admit::{self, Limits, Placed};
use super::batch::{Header, Invalid};
use super::compaction::{KEYS_MAX, NewestKeys, Pass, Progress};
use super::producer::{self, ProducerState, Verdict};
use super::{
    Appended, Block, Commit, Committed, Compacted, Error, Fetched, Head, Log, PartitionInfo, Pending, Result,
    TopicConfig, TopicInfo,
};
use crate::ids::{Offset, PipelineId, TenantId, TopicName, TopicPartition};

/// A log in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    tenants: Arc<Mutex<BTreeMap<TenantId, Tenant>>>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Tenant {
    topics: BTreeMap<TopicName, Topic>,
    pipelines: BTreeMap<PipelineId, Pipeline>,
}

#[derive(Debug, Default)]
struct Pipeline {
    head: Head,
    blocks: BTreeMap<u64, Bytes>,
}

#[derive(Debug)]
struct Topic {
    config: TopicConfig,
    partitions: Vec<Partition>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Partition {
    start: Offset,
    end: Offset,
    batches: VecDeque<Placed>,
    producers: BTreeMap<i64, ProducerState>,
    compacted: Progress,
}

impl Partition {
    fn write(&mut self, batches: Bytes, headers: &[Header]) -> Offset {
        let base = self.end;
        for placed in admit::place(batches, headers, base) {
            self.end = placed.next;
            self.batches.push_back(placed);
        }
        base
    }

    fn append(&mut self, at: &TopicPartition, batches: Bytes, headers: &[Header]) -> Result<Appended> {
        let known = producer::of(at, headers)?.and_then(|id| self.producers.get(&id));
        match producer::judge(known, at, headers, self.end)? {
            Verdict::Duplicate(appended) => return Ok(appended),
            Verdict::Write => {}
            Verdict::WriteAndRemember(id, state) => {
                self.producers.insert(id, state);
            }
        }
        let base_offset = self.write(batches, headers);
        Ok(Appended { base_offset, next_offset: self.end, duplicate: false })
    }

    fn bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.bytes.len() as u64).sum()
    }

    fn records(&self) -> u64 {
        let count = |batch: &Placed| Header::parse(&batch.bytes).map_or(0, |header| u64::from(header.count));
        self.batches.iter().map(count).sum()
    }

    /// Whether the oldest batch is to go.
    fn exceeds(&self, config: &TopicConfig, now_ms: i64) -> bool {
        let (Some(oldest), true) = (self.batches.front(), self.batches.len() > 1) else { return false };
        let too_many = config.retention_bytes.is_some_and(|most| self.bytes() > most);
        let too_old = config
            .expires_before(now_ms)
            .is_some_and(|before| Header::parse(&oldest.bytes).is_ok_and(|header| header.max_timestamp < before));
        too_many || too_old
    }

    fn trim(&mut self, config: &TopicConfig, now_ms: i64) -> u64 {
        let mut gone = 0;
        while self.exceeds(config, now_ms) {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.start = oldest.next;
            self.compacted.trim(self.start, oldest.bytes.len() as u64);
            gone += 1;
        }
        self.producers.retain(|_, state| state.next_offset() > self.start);
        gone
    }

    /// Compacts as long as that is worth it, and answers how many records went.
    fn compact(&mut self, config: &TopicConfig, now_ms: i64) -> std::result::Result<u64, Invalid> {
        let mut removed = 0;
        while self.compacted.is_due(self.end, self.bytes(), now_ms) {
            removed += self.compact_once(config, now_ms)?;
        }
        Ok(removed)
    }

    fn compact_once(&mut self, config: &TopicConfig, now_ms: i64) -> std::result::Result<u64, Invalid> {
        let mut newest = NewestKeys::new(KEYS_MAX);
        let (mut clean_to, mut looked_to) = (self.compacted.clean_to, self.compacted.clean_to);
        for batch in self.batches.iter().filter(|batch| batch.base >= self.compacted.clean_to) {
            if !newest.has_room_for(&Header::parse(&batch.bytes)?) {
                clean_to = batch.base;
                break;
            }
            newest.note(&batch.bytes)?;
            (clean_to, looked_to) = (batch.base, batch.next);
        }
        let mut pass = Pass::new(config, now_ms);
        let mut kept = VecDeque::with_capacity(self.batches.len());
        for batch in &self.batches {
            match if batch.base < clean_to { pass.clean(&newest, &batch.bytes)? } else { None } {
                None => kept.push_back(batch.clone()),
                Some(cleaned) => kept.extend(cleaned.by.map(|bytes| Placed { bytes, ..batch.clone() })),
            }
        }
        self.batches = kept;
        let (clean_bytes, horizon) = (pass.done.bytes, pass.done.horizon);
        self.compacted = Progress { clean_to, looked_to, clean_bytes, horizon, dense_from: clean_to };
        Ok(pass.done.removed)
    }
}

impl Tenant {
    fn topic(&self, topic: &TopicName) -> Result<&Topic> {
        self.topics.get(topic).ok_or_else(|| Error::TopicNotFound { topic: topic.clone() })
    }

    fn partition(&mut self, at: &TopicPartition) -> Result<&mut Partition> {
        let partitions = self.topic(&at.topic)?.config.partitions;
        let topic = self.topics.get_mut(&at.topic);
        let partition = topic.and_then(|topic| topic.partitions.get_mut(at.partition as usize));
        partition.ok_or_else(|| Error::PartitionNotFound { at: at.clone(), partitions })
    }

    fn changed(&self, topic: &TopicName) {
        if let Some(topic) = self.topics.get(topic) {
            topic.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn commit(&mut self, commit: Commit) -> Result<Committed> {
        let last = self.pipelines.get(&commit.pipeline).map_or(0, |pipeline| pipeline.head.sequence);
        if commit.sequence != last + 1 {
            return Err(Error::CommitConflict { pipeline: commit.pipeline, sequence: commit.sequence, last });
        }
        let mut checked = Vec::new();
        for (at, batches) in commit.outputs {
            self.partition(&at)?;
            let headers = admit::check_output(&at, &batches, &self.topic(&at.topic)?.config)?;
            checked.push((at, batches, headers));
        }
        // Nothing can be refused from here on.
        let mut base_offsets = Vec::new();
        for (at, batches, headers) in checked {
            base_offsets.push(self.partition(&at)?.write(batches, &headers));
            self.changed(&at.topic);
        }
        let Pipeline { head, blocks } = self.pipelines.entry(commit.pipeline).or_default();
        head.sequence = commit.sequence;
        head.positions.extend(commit.positions);
        head.usage = commit.usage;
        if let Block::Some { bytes, oldest } = commit.block {
            blocks.insert(commit.sequence, bytes);
            head.last_block = commit.sequence;
            head.oldest = head.oldest.max(oldest.min(commit.sequence));
            blocks.retain(|&number, _| number >= head.oldest);
        }
        Ok(Committed { base_offsets })
    }
}

fn lock(tenants: &Mutex<BTreeMap<TenantId, Tenant>>) -> MutexGuard<'_, BTreeMap<TenantId, Tenant>> {
    tenants.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryLog {
    /// Runs `change` on a tenant's part when the future is polled.
    fn pending<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        change: impl FnOnce(&mut Tenant, &Limits) -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (tenants, limits, tenant) = (self.tenants.clone(), self.limits, tenant.clone());
        Box::pin(async move { change(lock(&tenants).entry(tenant).or_default(), &limits) })
    }

    fn with<T>(&self, tenant: &TenantId, act: impl FnOnce(&mut Tenant) -> T) -> T {
        act(lock(&self.tenants).entry(tenant.clone()).or_default())
    }
}

impl Log for MemoryLog {
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Result<()> {
        admit::check_topic(topic, &config)?;
        self.with(tenant, |tenant| match tenant.topics.get(topic) {
            Some(existing) if existing.config == config => Ok(()),
            Some(_) => Err(Error::TopicConflict { topic: topic.clone() }),
            None => {
                let partitions = (0..config.partitions).map(|_| Partition::default()).collect();
                let made = Topic { config, partitions, changes: watch::Sender::new(0) };
                tenant.topics.insert(topic.clone(), made);
                Ok(())
            }
        })
    }

    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Result<()> {
        let removed = self.with(tenant, |tenant| tenant.topics.remove(topic));
        removed.map(drop).ok_or_else(|| Error::TopicNotFound { topic: topic.clone() })
    }

    fn topics(&self, tenant: &TenantId) -> Result<BTreeMap<TopicName, TopicInfo>> {
        let info = |partition: &Partition| PartitionInfo {
            start: partition.start,
            end: partition.end,
            records: partition.records(),
            bytes: partition.bytes(),
        };
        Ok(self.with(tenant, |tenant| {
            let topics = tenant.topics.iter().map(|(name, topic)| {
                let partitions = topic.partitions.iter().map(info).collect();
                (name.clone(), TopicInfo { config: topic.config.clone(), partitions })
            });
            topics.collect()
        }))
    }

    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        let at = at.clone();
        self.pending(tenant, move |tenant, limits| {
            let checked = admit::check_append(&at, &batches, limits)?;
            tenant.partition(&at)?;
            checked.fit(&at, &tenant.topic(&at.topic)?.config)?;
            let appended = tenant.partition(&at)?.append(&at, batches, &checked.headers)?;
            tenant.changed(&at.topic);
            Ok(appended)
        })
    }

    fn read(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Fetched> {
        self.with(tenant, |tenant| {
            let Partition { start, end, batches, .. } = tenant.partition(at)?;
            let (start, end) = (*start, *end);
            if !(start..=end).contains(&from) {
                return Err(Error::OffsetOutOfRange { at: at.clone(), offset: from, start, end });
            }
            let first = batches.partition_point(|batch| batch.next <= from);
            let mut bytes = 0;
            let fitting = batches.range(first..).enumerate().take_while(|(place, batch)| {
                bytes += batch.bytes.len();
                *place == 0 || bytes <= bytes_max
            });
            Ok(Fetched { batches: fitting.map(|(_, batch)| batch.bytes.clone()).collect(), start, end })
        })
    }

    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        self.pending(tenant, move |tenant, limits| {
            admit::check_commit(&commit, limits)?;
            tenant.commit(commit)
        })
    }

    fn replay(
        &self,
        tenant: &TenantId,
        pipeline: PipelineId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        let (head, blocks) = self.with(tenant, |tenant| match tenant.pipelines.get(&pipeline) {
            Some(pipeline) => (pipeline.head.clone(), pipeline.blocks.clone()),
            None => Default::default(),
        });
        let mut wanted = blocks.into_iter().filter(|&(number, _)| number > after);
        // Ended early or not, the answer is the same.
        let _ = wanted.try_for_each(|(number, block)| each(number, block));
        Ok(head)
    }

    fn forget(&self, tenant: &TenantId, pipeline: PipelineId) -> Result<()> {
        self.with(tenant, |tenant| tenant.pipelines.remove(&pipeline));
        Ok(())
    }

    fn pipelines(&self) -> Result<Vec<(TenantId, PipelineId)>> {
        let tenants = lock(&self.tenants);
        let all = tenants.iter().flat_map(|(name, tenant)| tenant.pipelines.keys().map(|&id| (name.clone(), id)));
        Ok(all.collect())
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        self.with(tenant, |tenant| Ok(tenant.topic(topic)?.changes.subscribe()))
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
        let mut gone = 0;
        for tenant in lock(&self.tenants).values_mut() {
            for Topic { config, partitions, .. } in tenant.topics.values_mut() {
                gone += partitions.iter_mut().map(|partition| partition.trim(config, now_ms)).sum::<u64>();
            }
        }
        Ok(gone)
    }

    fn compact(&self, now_ms: i64) -> Result<Compacted> {
        let mut removed = 0;
        for tenant in lock(&self.tenants).values_mut() {
            for (name, Topic { config, partitions, .. }) in &mut tenant.topics {
                for partition in partitions.iter_mut().filter(|_| config.cleanup.compacts()) {
                    let corrupt = |invalid: Invalid| Error::Corrupt {
                        what: format!("a batch of `{name}`"),
                        reason: invalid.to_string(),
                    };
                    removed += partition.compact(config, now_ms).map_err(corrupt)?;
                }
            }
        }
        Ok(Compacted { removed, more: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::conformance::{Subject, conformance};

    /// Nothing of it survives, so it just goes on.
    impl Subject for MemoryLog {
        fn log(&self) -> &dyn Log {
            self
        }

        fn reopen(&mut self) {}
    }

    conformance!(MemoryLog::default());
}
