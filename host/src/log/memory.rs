//! The model of the log: everything in memory under one lock, as plain as it can be. It says what the other backends
//! must do, and tests of what stands above the log run on it. Nothing in it is durable.

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
    Appended, Block, Commit, CommitLog, Committed, Compacted, Error, Fenced, Fetched, Head, PartitionInfo, Pending,
    RecordLog, Result, TopicAdmin, TopicConfig, TopicInfo,
};
use crate::ids::{Offset, TaskId, TenantId, TopicId, TopicName, TopicPartition};

/// A log in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct State {
    tenants: BTreeMap<TenantId, Tenant>,
    /// The id of the topic that was made last.
    last_topic: u64,
    /// The epoch that was given last, to whatever task.
    last_epoch: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    topics: BTreeMap<TopicName, Topic>,
    tasks: BTreeMap<TaskId, Task>,
}

#[derive(Debug)]
struct Task {
    head: Head,
    blocks: BTreeMap<u64, Bytes>,
}

#[derive(Debug)]
struct Topic {
    id: TopicId,
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

    fn fence(&mut self, task: TaskId, epoch: u64) -> Fenced {
        let new = || Task { head: Head::empty(task), blocks: BTreeMap::new() };
        let head = &mut self.tasks.entry(task).or_insert_with(new).head;
        head.epoch = epoch;
        Fenced { epoch, head: head.clone() }
    }

    fn commit(&mut self, commit: Commit) -> Result<Committed> {
        let Commit { task, epoch, sequence, .. } = commit;
        let (current, last) = self.tasks.get(&task).map_or((0, 0), |task| (task.head.epoch, task.head.sequence));
        if epoch != current || current == 0 {
            return Err(Error::Fenced { task, epoch, current });
        }
        if sequence != last + 1 {
            return Err(Error::CommitConflict { task, sequence, last });
        }
        let mut checked = Vec::new();
        for (at, batches) in commit.outputs {
            self.partition(&at)?;
            let headers = admit::check_output(&at, &batches, &self.topic(&at.topic)?.config)?;
            checked.push((at, batches, headers));
        }
        let Some(Task { head, blocks }) = self.tasks.get_mut(&task) else {
            return Err(Error::Fenced { task, epoch, current });
        };
        // Nothing can be refused from here on.
        head.sequence = sequence;
        head.positions.extend(commit.positions);
        head.usage = commit.usage;
        if let Block::Some { bytes, oldest } = commit.block {
            blocks.insert(sequence, bytes);
            head.last_block = sequence;
            head.oldest = head.oldest.max(oldest.min(sequence));
            blocks.retain(|&number, _| number >= head.oldest);
        }
        let mut base_offsets = Vec::new();
        for (at, batches, headers) in checked {
            base_offsets.push(self.partition(&at)?.write(batches, &headers));
            self.changed(&at.topic);
        }
        Ok(Committed { base_offsets })
    }
}

impl State {
    fn tenant(&mut self, tenant: &TenantId) -> &mut Tenant {
        self.tenants.entry(tenant.clone()).or_default()
    }
}

impl Topic {
    fn info(&self) -> TopicInfo {
        let partitions = self.partitions.iter().map(|partition| PartitionInfo {
            start: partition.start,
            end: partition.end,
            records: partition.records(),
            bytes: partition.bytes(),
        });
        TopicInfo { id: self.id, config: self.config.clone(), partitions: partitions.collect() }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryLog {
    /// Runs `change` when the future is polled.
    fn pending<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut State, &Limits) -> Result<T> + Send + 'static,
    ) -> Pending<T> {
        let (state, limits) = (self.state.clone(), self.limits);
        Box::pin(async move { change(&mut lock(&state), &limits) })
    }

    fn with<T>(&self, tenant: &TenantId, act: impl FnOnce(&mut Tenant) -> T) -> T {
        act(lock(&self.state).tenant(tenant))
    }

    /// Removes the oldest batches of all partitions that exceed their topic's retention, whole batches only and never
    /// the newest; `now_ms` is compared with the batches' largest timestamps. Answers how many batches went.
    pub fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
        let mut gone = 0;
        for tenant in lock(&self.state).tenants.values_mut() {
            for Topic { config, partitions, .. } in tenant.topics.values_mut() {
                gone += partitions.iter_mut().map(|partition| partition.trim(config, now_ms)).sum::<u64>();
            }
        }
        Ok(gone)
    }

    /// Compacts all partitions of topics that have it, where that is worth its cost. Answers how many records went.
    pub fn compact(&self, now_ms: i64) -> Result<Compacted> {
        let mut removed = 0;
        for tenant in lock(&self.state).tenants.values_mut() {
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

impl TopicAdmin for MemoryLog {
    fn create_topic(&self, tenant: &TenantId, topic: &TopicName, config: TopicConfig) -> Pending<()> {
        let (tenant, topic) = (tenant.clone(), topic.clone());
        self.pending(move |state, _| {
            admit::check_topic(&topic, &config)?;
            match state.tenant(&tenant).topics.get(&topic) {
                Some(existing) if existing.config == config => Ok(()),
                Some(_) => Err(Error::TopicConflict { topic }),
                None => {
                    state.last_topic += 1;
                    let id = TopicId(state.last_topic);
                    let partitions = (0..config.partitions).map(|_| Partition::default()).collect();
                    let made = Topic { id, config, partitions, changes: watch::Sender::new(0) };
                    state.tenant(&tenant).topics.insert(topic, made);
                    Ok(())
                }
            }
        })
    }

    fn delete_topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<()> {
        let (tenant, topic) = (tenant.clone(), topic.clone());
        self.pending(move |state, _| {
            let removed = state.tenant(&tenant).topics.remove(&topic);
            removed.map(drop).ok_or(Error::TopicNotFound { topic })
        })
    }

    fn topic(&self, tenant: &TenantId, topic: &TopicName) -> Pending<TopicInfo> {
        let (tenant, topic) = (tenant.clone(), topic.clone());
        self.pending(move |state, _| Ok(state.tenant(&tenant).topic(&topic)?.info()))
    }

    fn topics(&self, tenant: &TenantId) -> Pending<BTreeMap<TopicName, TopicInfo>> {
        let tenant = tenant.clone();
        self.pending(move |state, _| {
            let topics = state.tenant(&tenant).topics.iter();
            Ok(topics.map(|(name, topic)| (name.clone(), topic.info())).collect())
        })
    }
}

impl RecordLog for MemoryLog {
    fn append(&self, tenant: &TenantId, at: &TopicPartition, batches: Bytes) -> Pending<Appended> {
        let (tenant, at) = (tenant.clone(), at.clone());
        self.pending(move |state, limits| {
            let tenant = state.tenant(&tenant);
            let (batches, checked) = admit::check_append(&at, batches, limits)?;
            tenant.partition(&at)?;
            checked.fit(&at, &tenant.topic(&at.topic)?.config)?;
            let appended = tenant.partition(&at)?.append(&at, batches, &checked.headers)?;
            tenant.changed(&at.topic);
            Ok(appended)
        })
    }

    fn fetch(&self, tenant: &TenantId, at: &TopicPartition, from: Offset, bytes_max: usize) -> Pending<Fetched> {
        let (tenant, at) = (tenant.clone(), at.clone());
        self.pending(move |state, _| {
            let tenant = state.tenant(&tenant);
            let topic_id = tenant.topic(&at.topic)?.id;
            let Partition { start, end, batches, .. } = tenant.partition(&at)?;
            let (start, end) = (*start, *end);
            if !(start..=end).contains(&from) {
                return Err(Error::OffsetOutOfRange { at, offset: from, start, end });
            }
            let first = batches.partition_point(|batch| batch.next <= from);
            let mut bytes = 0;
            let fitting = batches.range(first..).enumerate().take_while(|(place, batch)| {
                bytes += batch.bytes.len();
                *place == 0 || bytes <= bytes_max
            });
            Ok(Fetched { topic_id, batches: fitting.map(|(_, batch)| batch.bytes.clone()).collect(), start, end })
        })
    }

    fn watch(&self, tenant: &TenantId, topic: &TopicName) -> Result<watch::Receiver<u64>> {
        self.with(tenant, |tenant| Ok(tenant.topic(topic)?.changes.subscribe()))
    }
}

impl CommitLog for MemoryLog {
    fn fence(&self, tenant: &TenantId, task: TaskId) -> Pending<Fenced> {
        let tenant = tenant.clone();
        self.pending(move |state, _| {
            state.last_epoch += 1;
            let epoch = state.last_epoch;
            Ok(state.tenant(&tenant).fence(task, epoch))
        })
    }

    fn commit(&self, tenant: &TenantId, commit: Commit) -> Pending<Committed> {
        let tenant = tenant.clone();
        self.pending(move |state, limits| {
            admit::check_commit(&commit, limits)?;
            state.tenant(&tenant).commit(commit)
        })
    }

    fn replay(
        &self,
        tenant: &TenantId,
        task: TaskId,
        after: u64,
        each: &mut dyn FnMut(u64, Bytes) -> ControlFlow<()>,
    ) -> Result<Head> {
        let (head, blocks) = self.with(tenant, |tenant| match tenant.tasks.get(&task) {
            Some(task) => (task.head.clone(), task.blocks.clone()),
            None => (Head::empty(task), BTreeMap::new()),
        });
        let mut wanted = blocks.into_iter().filter(|&(number, _)| number > after);
        // Ended early or not, the answer is the same.
        let _ = wanted.try_for_each(|(number, block)| each(number, block));
        Ok(head)
    }

    fn forget(&self, tenant: &TenantId, task: TaskId) -> Result<()> {
        self.with(tenant, |tenant| tenant.tasks.remove(&task));
        Ok(())
    }

    fn tasks(&self) -> Result<Vec<(TenantId, TaskId)>> {
        let state = lock(&self.state);
        let all = state.tenants.iter().flat_map(|(name, tenant)| tenant.tasks.keys().map(|&task| (name.clone(), task)));
        Ok(all.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Log;
    use crate::log::conformance::{Cleaning, Subject, conformance};

    impl Cleaning for MemoryLog {
        fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
            self.enforce_retention(now_ms)
        }

        fn compact(&self, now_ms: i64) -> Result<Compacted> {
            self.compact(now_ms)
        }
    }

    /// Nothing of it survives, so it just goes on.
    impl Subject for MemoryLog {
        fn log(&self) -> &dyn Log {
            self
        }

        fn reopen(&mut self) {}
    }

    conformance!(MemoryLog::default());
}
