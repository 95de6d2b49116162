//! The writer: one thread that takes what waits, of all tenants, puts it into one write, and answers when that is durable.
//!
//! A request is checked against what the requests before it in the group do; one that is refused leaves nothing behind.
//! Memory that readers see changes only after the write; after a write that failed it never changes again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rocksdb::WriteBatch;
use tokio::sync::oneshot;

use super::commits::{self, Progress};
use super::format;
use super::keys::{Entry, Family, NEXT_EPOCH};
use super::lifecycle;
use super::queue::{Queue, Request, TopicChange};
use super::shared::{Shared, Writing};
use super::topics::{Partition, Topic};
use crate::fail;
use crate::ids::{Offset, PartitionId, TaskId, TenantId, TopicId, TopicPartition};
use crate::log::admit::{self, Checked, Placed};
use crate::log::batch::Header;
use crate::log::producer::{self, Verdict};
use crate::log::{Appended, Commit, Committed, Fenced, PartitionInfo, Result};

/// Memory for sealed values that is kept from one group to the next.
const SEALER_BYTES_KEPT: usize = 1 << 20;

/// Closes the queue when the writer ends, also by a panic: whoever waits learns of it.
struct CloseOnExit(Arc<Queue>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Writes until the queue is closed and empty.
pub(super) fn run(shared: &Shared, queue: &Arc<Queue>) {
    let _close = CloseOnExit(queue.clone());
    while let Some(requests) = queue.take() {
        write_group(shared, requests);
    }
}

/// An answer that waits for the group to be durable.
enum Answer {
    Append(oneshot::Sender<Result<Appended>>, Result<Appended>),
    Commit(oneshot::Sender<Result<Committed>>, Result<Committed>),
    Fence(oneshot::Sender<Result<Fenced>>, Result<Fenced>),
    Topic(oneshot::Sender<Result<()>>, Result<()>),
}

impl Answer {
    /// Answers; what was to succeed fails if the group's write did. A caller that is gone is not told.
    fn send(self, written: &Result<()>) {
        match self {
            Self::Append(to, answer) => drop(to.send(answer.and_then(|it| written.clone().map(|()| it)))),
            Self::Commit(to, answer) => drop(to.send(answer.and_then(|it| written.clone().map(|()| it)))),
            Self::Fence(to, answer) => drop(to.send(answer.and_then(|it| written.clone().map(|()| it)))),
            Self::Topic(to, answer) => drop(to.send(answer.and_then(|()| written.clone()))),
        }
    }
}

/// A request of the group whose answer is not whole before the write.
enum Pending {
    Answer(Answer),
    /// What the commits before it amount to is read when they are written.
    Fence(oneshot::Sender<Result<Fenced>>, TenantId, TaskId, Result<u64>),
}

impl Pending {
    fn answer(self, shared: &Shared, written: &Result<()>) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Fence(to, tenant, task, epoch) => {
                let head = || commits::stored_head(&shared.store, &tenant, task);
                let fenced = epoch.and_then(|epoch| {
                    written.clone()?;
                    Ok(Fenced { epoch, head: head()? })
                });
                Answer::Fence(to, fenced)
            }
        }
    }
}

fn write_group(shared: &Shared, requests: Vec<Request>) {
    let mut writing = match shared.writing() {
        Ok(writing) => writing,
        Err(error) => {
            for request in requests {
                match request {
                    Request::Append { answer, .. } => drop(answer.send(Err(error.clone()))),
                    Request::Commit { answer, .. } => drop(answer.send(Err(error.clone()))),
                    Request::Fence { answer, .. } => drop(answer.send(Err(error.clone()))),
                    Request::Topic { answer, .. } => drop(answer.send(Err(error.clone()))),
                }
            }
            return;
        }
    };
    writing.producers.shrink();
    let bytes = requests.iter().map(Request::bytes).sum();
    let mut group = Group::new(shared, &mut writing, bytes);
    let mut pending = Vec::with_capacity(requests.len());
    for request in requests {
        pending.push(match request {
            Request::Append { tenant, at, batches, checked, answer } => {
                Pending::Answer(Answer::Append(answer, group.append(&tenant, &at, batches, &checked)))
            }
            Request::Commit { tenant, commit, answer } => {
                Pending::Answer(Answer::Commit(answer, group.commit(&tenant, commit)))
            }
            Request::Fence { tenant, task, answer } => {
                let epoch = group.fence(&tenant, task);
                Pending::Fence(answer, tenant, task, epoch)
            }
            Request::Topic { tenant, topic, change, answer } => {
                // Alone in its group, so it writes by itself and the group is empty.
                let changed = match change {
                    TopicChange::Create(config) => lifecycle::create(shared, group.writing, &tenant, &topic, config),
                    TopicChange::Delete => lifecycle::delete(shared, group.writing, &tenant, &topic),
                };
                Pending::Answer(Answer::Topic(answer, changed))
            }
        });
    }
    let written = group.write();
    writing.sealer.shrink(SEALER_BYTES_KEPT);
    // Heads are read before anyone else writes, and before anyone knows the new epochs: so they are of that moment.
    let answers: Vec<_> = pending.into_iter().map(|pending| pending.answer(shared, &written)).collect();
    drop(writing);
    for answer in answers {
        answer.send(&written);
    }
}

/// A write that is put together.
struct Group<'a> {
    shared: &'a Shared,
    writing: &'a mut Writing,
    batch: WriteBatch,
    staged: BTreeMap<(TopicId, PartitionId), Staged>,
}

/// What the group adds to a partition.
struct Staged {
    topic: Arc<Topic>,
    partition: Arc<Partition>,
    info: PartitionInfo,
    added: Vec<Placed>,
}

impl<'a> Group<'a> {
    /// `bytes` is about what the requests bring along.
    fn new(shared: &'a Shared, writing: &'a mut Writing, bytes: usize) -> Self {
        // Keys, checksums and small values; a batch that must grow is copied.
        const BESIDE_BYTES: usize = 4 << 10;
        let batch = WriteBatch::with_capacity_bytes(bytes + bytes / 16 + BESIDE_BYTES);
        Self { shared, writing, batch, staged: BTreeMap::new() }
    }

    fn end(&self, topic: &Topic, partition: &Partition) -> Offset {
        let staged = self.staged.get(&(topic.id, partition.number));
        staged.map_or_else(|| partition.lock().info.end, |staged| staged.info.end)
    }

    fn append(
        &mut self,
        tenant: &TenantId,
        at: &TopicPartition,
        batches: Bytes,
        checked: &Checked,
    ) -> Result<Appended> {
        let topic = self.shared.topics.get(tenant, &at.topic)?;
        let partition = topic.partition(at)?.clone();
        checked.fit(at, &topic.config)?;
        let headers = &checked.headers;
        let base = self.end(&topic, &partition);
        let store = &self.shared.store;
        let Writing { producers, sealer, .. } = &mut *self.writing;
        let known = match producer::of(at, headers)? {
            Some(id) => producers.get(store, tenant, (topic.id, partition.number, id))?,
            None => None,
        };
        match producer::judge(known, at, headers, base)? {
            Verdict::Duplicate(appended) => return Ok(appended),
            Verdict::Write => {}
            Verdict::WriteAndRemember(id, state) => {
                let of = (topic.id, partition.number, id);
                producers.put(store, &mut self.batch, sealer, tenant, of, state);
            }
        }
        let base_offset = self.add(&topic, &partition, batches, headers);
        Ok(Appended { base_offset, next_offset: self.end(&topic, &partition), duplicate: false })
    }

    /// Answers the new epoch of a task.
    fn fence(&mut self, tenant: &TenantId, task: TaskId) -> Result<u64> {
        let store = &self.shared.store;
        let Writing { tasks, sealer, next_epoch, .. } = &mut *self.writing;
        let epoch = *next_epoch;
        tasks.fence(store, &mut self.batch, sealer, tenant, (task, epoch))?;
        *next_epoch += 1;
        let next = sealer.seal(&[&format::encode_number(*next_epoch)]);
        self.batch.put_cf(store.handle(Family::Meta), NEXT_EPOCH, next);
        Ok(epoch)
    }

    fn commit(&mut self, tenant: &TenantId, commit: Commit) -> Result<Committed> {
        let Commit { task, epoch, sequence, positions, outputs, block, usage } = commit;
        let store = &self.shared.store;
        let last = self.writing.tasks.follow(store, tenant, (task, epoch), sequence)?;
        let mut checked = Vec::with_capacity(outputs.len());
        for (at, batches) in outputs {
            let topic = self.shared.topics.get(tenant, &at.topic)?;
            let partition = topic.partition(&at)?.clone();
            let headers = admit::check_output(&at, &batches, &topic.config)?;
            checked.push((topic, partition, batches, headers));
        }
        // Nothing can be refused from here on.
        let Writing { tasks, sealer, .. } = &mut *self.writing;
        let progress = Progress { task, sequence, positions, block, usage };
        tasks.put(store, &mut self.batch, sealer, tenant, last, &progress);
        let outputs = checked.into_iter();
        let base_offsets =
            outputs.map(|(topic, partition, batches, headers)| self.add(&topic, &partition, batches, &headers));
        Ok(Committed { base_offsets: base_offsets.collect() })
    }

    /// Adds batches at the end of a partition and answers where they begin.
    fn add(&mut self, topic: &Arc<Topic>, partition: &Arc<Partition>, batches: Bytes, headers: &[Header]) -> Offset {
        let staged = self.staged.entry((topic.id, partition.number)).or_insert_with(|| Staged {
            topic: topic.clone(),
            partition: partition.clone(),
            info: partition.lock().info,
            added: Vec::new(),
        });
        let first = staged.info.end;
        for placed in admit::place(batches, headers, first) {
            let key = Entry::Batch { topic: topic.id, partition: partition.number, base: placed.base };
            self.shared.store.put(&mut self.batch, &key.of(&topic.tenant), &placed.bytes);
            staged.info.end = placed.next;
            staged.info.bytes += placed.bytes.len() as u64;
            staged.info.records += placed.next - placed.base;
            staged.added.push(placed);
        }
        first
    }

    /// Writes all, and makes it visible.
    fn write(mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        for staged in self.staged.values() {
            let entry = Entry::Partition { topic: staged.topic.id, partition: staged.partition.number };
            let value = self.writing.sealer.seal(&[&format::encode_partition(&staged.info)]);
            self.shared.store.put(&mut self.batch, &entry.of(&staged.topic.tenant), value);
        }
        fail::point("log-write");
        self.shared.write(self.writing, self.batch)?;
        fail::point("log-written");
        let mut last_topic = None;
        for Staged { topic, partition, added, .. } in self.staged.into_values() {
            self.writing.tail.publish(&partition, added);
            // The partitions of a topic follow each other; its readers are woken once they have all moved.
            if let Some(before) = last_topic.replace(topic.clone()).filter(|before: &Arc<Topic>| before.id != topic.id)
            {
                before.changes.send_modify(|changes| *changes += 1);
            }
        }
        if let Some(topic) = last_topic {
            topic.changes.send_modify(|changes| *changes += 1);
        }
        Ok(())
    }
}
