//! The whole keyspace. Each key starts with the tenant, so that what one tenant has lies together and no key of one can
//! reach into another's; the order of the bytes is the order of [`Key`].
//!
//! ```text
//! tenant 0x00 kind ..   names end with 0x00, which none contains; numbers are big-endian
//! ```
//!
//! | kind | column family | key after the kind | value |
//! |---|---|---|---|
//! | 1 | meta | topic name | id and configuration of a topic |
//! | 2 | meta | topic id u64, partition u32 | start, end, bytes |
//! | 3 | meta | topic id u64, partition u32, producer u64 | epoch and last batches |
//! | 6 | batches | topic id u64, partition u32, base offset u64 | a record batch |
//! | 9 | meta | topic id u64, partition u32 | how far it is compacted |
//! | 10 | meta | task | epoch under which it takes commits |
//! | 11 | meta | task | last commit, last block, counters |
//! | 12 | meta | task, topic name 0x00, partition u32 | topic id and position |
//! | 13 | meta | task | oldest block that is needed |
//! | 14 | blocks | task, sequence u64 | epoch and block |
//!
//! A task is pipeline u64 and number u32. Kinds are never renumbered; a retired one stays reserved: 4, 5, 7 and 8 were
//! commits of pipelines without tasks. No tenant's name is empty, so keys that begin with 0x00 are the log's own:
//! [`NEXT_TOPIC`] and [`NEXT_EPOCH`].

use std::fmt;

use crate::ids::{Offset, PartitionId, PipelineId, TaskId, TenantId, TopicId, TopicName};

/// The id that the next topic gets. Ids are never given twice, so a topic that is made again sees nothing of the old.
pub(super) const NEXT_TOPIC: &[u8] = &[0, 1];
/// The epoch that the next fence gets, of whatever task: so epochs go up also where a task was forgotten between.
pub(super) const NEXT_EPOCH: &[u8] = &[0, 2];

/// A key of the log. Derived order and byte order are the same; a test holds them to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) tenant: TenantId,
    pub(super) entry: Entry,
}

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Small values: topics, partitions, producers, pipelines, positions.
    Meta,
    /// Record batches.
    Batches,
    /// Blocks of pipelines. Apart from the rest, for what is not needed any more leaves tombstones, which recovery alone
    /// may have to read past.
    Blocks,
}

/// Keys of one family that lie together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) family: Family,
    /// The first key.
    pub(super) from: Vec<u8>,
    /// The key after the last.
    pub(super) to: Vec<u8>,
}

impl Range {
    /// From one key up to but not including another of its family.
    pub(super) fn between(from: &Key, to: &Key) -> Self {
        Self { family: from.entry.family(), from: from.bytes(), to: to.bytes() }
    }

    /// All batches of a partition that begin at these offsets.
    pub(super) fn batches(
        tenant: &TenantId,
        topic: TopicId,
        partition: PartitionId,
        bases: std::ops::Range<Offset>,
    ) -> Self {
        let key = |base| Entry::Batch { topic, partition, base }.of(tenant);
        Self::between(&key(bases.start), &key(bases.end))
    }

    /// All blocks of a task with these numbers.
    pub(super) fn blocks(tenant: &TenantId, task: TaskId, sequences: std::ops::Range<u64>) -> Self {
        let key = |sequence| Entry::Block { task, sequence }.of(tenant);
        Self::between(&key(sequences.start), &key(sequences.end))
    }

    /// All positions of a task.
    pub(super) fn positions(tenant: &TenantId, task: TaskId) -> Self {
        Self::under(tenant, Family::Meta, 12, &[&task.pipeline.0.to_be_bytes(), &task.number.to_be_bytes()])
    }

    /// All producers that a partition knows.
    pub(super) fn producers(tenant: &TenantId, topic: TopicId, partition: PartitionId) -> Self {
        Self::under(tenant, Family::Meta, 3, &[&topic.0.to_be_bytes(), &partition.to_be_bytes()])
    }

    /// All that is kept of a topic's partitions.
    pub(super) fn of_topic(tenant: &TenantId, topic: TopicId) -> [Self; 4] {
        let under = |family, kind| Self::under(tenant, family, kind, &[&topic.0.to_be_bytes()]);
        [under(Family::Meta, 2), under(Family::Meta, 3), under(Family::Batches, 6), under(Family::Meta, 9)]
    }

    /// All keys of a kind that go on like this.
    fn under(tenant: &TenantId, family: Family, kind: u8, parts: &[&[u8]]) -> Self {
        let mut from = [tenant.as_str().as_bytes(), &[0, kind]].concat();
        parts.iter().for_each(|part| from.extend_from_slice(part));
        let mut to = from.clone();
        // The kind is not 0xff, so something is left to count up.
        while to.pop_if(|byte| *byte == u8::MAX).is_some() {}
        if let Some(last) = to.last_mut() {
            *last += 1;
        }
        Self { family, from, to }
    }
}

/// What a key names within its tenant, in the order of the kinds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    Topic { name: TopicName },
    Partition { topic: TopicId, partition: PartitionId },
    Producer { topic: TopicId, partition: PartitionId, producer: u64 },
    Batch { topic: TopicId, partition: PartitionId, base: Offset },
    Progress { topic: TopicId, partition: PartitionId },
    Epoch { task: TaskId },
    Task { task: TaskId },
    Position { task: TaskId, topic: TopicName, partition: PartitionId },
    Oldest { task: TaskId },
    Block { task: TaskId, sequence: u64 },
}

impl Entry {
    const fn kind(&self) -> u8 {
        match self {
            Self::Topic { .. } => 1,
            Self::Partition { .. } => 2,
            Self::Producer { .. } => 3,
            Self::Batch { .. } => 6,
            Self::Progress { .. } => 9,
            Self::Epoch { .. } => 10,
            Self::Task { .. } => 11,
            Self::Position { .. } => 12,
            Self::Oldest { .. } => 13,
            Self::Block { .. } => 14,
        }
    }

    /// Where values of this kind lie.
    pub(super) const fn family(&self) -> Family {
        match self {
            Self::Batch { .. } => Family::Batches,
            Self::Block { .. } => Family::Blocks,
            _ => Family::Meta,
        }
    }

    /// The key of this entry.
    pub(super) fn of(self, tenant: &TenantId) -> Key {
        Key { tenant: tenant.clone(), entry: self }
    }
}

impl Key {
    /// The bytes of the key.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.tenant.as_str().len() + 32);
        bytes.extend_from_slice(self.tenant.as_str().as_bytes());
        bytes.extend_from_slice(&[0, self.entry.kind()]);
        match &self.entry {
            Entry::Topic { name } => bytes.extend_from_slice(name.as_str().as_bytes()),
            Entry::Partition { topic, partition } | Entry::Progress { topic, partition } => {
                bytes.extend_from_slice(&topic.0.to_be_bytes());
                bytes.extend_from_slice(&partition.to_be_bytes());
            }
            Entry::Producer { topic, partition, producer: last } | Entry::Batch { topic, partition, base: last } => {
                bytes.extend_from_slice(&topic.0.to_be_bytes());
                bytes.extend_from_slice(&partition.to_be_bytes());
                bytes.extend_from_slice(&last.to_be_bytes());
            }
            Entry::Epoch { task } | Entry::Task { task } | Entry::Oldest { task } => put_task(&mut bytes, *task),
            Entry::Position { task, topic, partition } => {
                put_task(&mut bytes, *task);
                bytes.extend_from_slice(topic.as_str().as_bytes());
                bytes.push(0);
                bytes.extend_from_slice(&partition.to_be_bytes());
            }
            Entry::Block { task, sequence } => {
                put_task(&mut bytes, *task);
                bytes.extend_from_slice(&sequence.to_be_bytes());
            }
        }
        bytes
    }

    /// The key that these bytes are; `None` if they are none of ours.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (tenant, bytes) = take_name(bytes)?;
        let (&kind, bytes) = bytes.split_first()?;
        let mut rest = Rest(bytes);
        let entry = match kind {
            1 => Entry::Topic { name: rest.all_name()? },
            2 => Entry::Partition { topic: rest.topic()?, partition: rest.u32()? },
            3 => Entry::Producer { topic: rest.topic()?, partition: rest.u32()?, producer: rest.u64()? },
            6 => Entry::Batch { topic: rest.topic()?, partition: rest.u32()?, base: rest.u64()? },
            9 => Entry::Progress { topic: rest.topic()?, partition: rest.u32()? },
            10 => Entry::Epoch { task: rest.task()? },
            11 => Entry::Task { task: rest.task()? },
            12 => Entry::Position { task: rest.task()?, topic: rest.name()?, partition: rest.u32()? },
            13 => Entry::Oldest { task: rest.task()? },
            14 => Entry::Block { task: rest.task()?, sequence: rest.u64()? },
            _ => return None,
        };
        rest.0.is_empty().then_some(Self { tenant: tenant.parse().ok()?, entry })
    }
}

fn put_task(bytes: &mut Vec<u8>, task: TaskId) {
    bytes.extend_from_slice(&task.pipeline.0.to_be_bytes());
    bytes.extend_from_slice(&task.number.to_be_bytes());
}

/// Splits off a name and the zero after it.
fn take_name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// What is left of a key that is parsed.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*bytes))
    }

    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    fn topic(&mut self) -> Option<TopicId> {
        self.u64().map(TopicId)
    }

    fn task(&mut self) -> Option<TaskId> {
        Some(TaskId { pipeline: PipelineId(self.u64()?), number: self.u32()? })
    }

    fn name(&mut self) -> Option<TopicName> {
        let (name, rest) = take_name(self.0)?;
        self.0 = rest;
        name.parse().ok()
    }

    fn all_name(&mut self) -> Option<TopicName> {
        std::str::from_utf8(std::mem::take(&mut self.0)).ok()?.parse().ok()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Key::parse(&self.from) {
            Some(first) => write!(f, "what follows {first}"),
            None => write!(f, "what follows key `{}`", self.from.escape_ascii()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Entry::Topic { name } => write!(f, "topic `{name}`")?,
            Entry::Partition { topic, partition } => write!(f, "partition {partition} of topic id {topic}")?,
            Entry::Producer { topic, partition, producer } => {
                write!(f, "producer {producer} of partition {partition} of topic id {topic}")?;
            }
            Entry::Batch { topic, partition, base } => {
                write!(f, "batch at offset {base} of partition {partition} of topic id {topic}")?;
            }
            Entry::Progress { topic, partition } => {
                write!(f, "compaction of partition {partition} of topic id {topic}")?;
            }
            Entry::Epoch { task } => write!(f, "epoch of task {task}")?,
            Entry::Task { task } => write!(f, "last commit of task {task}")?,
            Entry::Position { task, topic, partition } => {
                write!(f, "position of task {task} in `{topic}/{partition}`")?;
            }
            Entry::Oldest { task } => write!(f, "number of the oldest needed block of task {task}")?,
            Entry::Block { task, sequence } => write!(f, "block {sequence} of task {task}")?,
        }
        write!(f, " of tenant `{}`", self.tenant)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant() -> impl Strategy<Value = TenantId> {
        "[a-z0-9][a-z0-9-]{0,3}".prop_map(|name| name.parse().unwrap())
    }

    fn topic() -> impl Strategy<Value = TopicName> {
        "[a-zA-Z0-9][a-zA-Z0-9._-]{0,3}".prop_map(|name| name.parse().unwrap())
    }

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..4_u64, 250..260_u64, any::<u64>()]
    }

    fn task() -> impl Strategy<Value = TaskId> {
        (number(), prop_oneof![0..3_u32, any::<u32>()])
            .prop_map(|(pipeline, number)| TaskId { pipeline: PipelineId(pipeline), number })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let id = || number().prop_map(TopicId);
        prop_oneof![
            topic().prop_map(|name| Entry::Topic { name }),
            (id(), any::<u32>()).prop_map(|(topic, partition)| Entry::Partition { topic, partition }),
            (id(), any::<u32>(), number()).prop_map(|(topic, partition, producer)| Entry::Producer {
                topic,
                partition,
                producer
            }),
            (id(), any::<u32>(), number()).prop_map(|(topic, partition, base)| Entry::Batch { topic, partition, base }),
            (id(), any::<u32>()).prop_map(|(topic, partition)| Entry::Progress { topic, partition }),
            task().prop_map(|task| Entry::Epoch { task }),
            task().prop_map(|task| Entry::Task { task }),
            (task(), topic(), any::<u32>()).prop_map(|(task, topic, partition)| Entry::Position {
                task,
                topic,
                partition
            }),
            task().prop_map(|task| Entry::Oldest { task }),
            (task(), number()).prop_map(|(task, sequence)| Entry::Block { task, sequence }),
        ]
    }

    fn key() -> impl Strategy<Value = Key> {
        (tenant(), entry()).prop_map(|(tenant, entry)| Key { tenant, entry })
    }

    proptest! {
        #[test]
        fn the_order_of_the_bytes_is_the_order_of_the_keys(a in key(), b in key(), same_tenant in any::<bool>()) {
            let b = if same_tenant { Key { tenant: a.tenant.clone(), ..b } } else { b };
            prop_assert_eq!(a.cmp(&b), a.bytes().cmp(&b.bytes()));
        }

        #[test]
        fn a_key_is_parsed_as_it_was_written(key in key()) {
            prop_assert_eq!(Key::parse(&key.bytes()), Some(key.clone()));
            prop_assert!(&key.bytes()[..] > NEXT_TOPIC && &key.bytes()[..] > NEXT_EPOCH);
        }

        #[test]
        fn bytes_that_are_no_key_are_none(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(key) = Key::parse(&bytes) {
                prop_assert_eq!(key.bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_range_has_its_keys_and_no_others() {
        let tenant = crate::ids::default_tenant();
        let task = |pipeline, number| TaskId { pipeline: PipelineId(pipeline), number };
        let position = |task, topic: &str, partition| {
            Entry::Position { task, topic: topic.parse().unwrap(), partition }.of(&tenant).bytes()
        };
        let mut others = Vec::new();
        for pipeline in [0, 255, 256, u64::MAX] {
            others.extend([0, 255, u32::MAX].map(|number| task(pipeline, number)));
        }
        for &task in &others {
            let Range { family, from, to } = Range::positions(&tenant, task);
            assert_eq!(family, Family::Meta);
            let inside = from..to;
            for &other in &others {
                assert_eq!(inside.contains(&position(other, "-", 0)), task == other);
                assert_eq!(inside.contains(&position(other, "z", u32::MAX)), task == other);
            }
        }
        let [partitions, producers, batches, progress] = Range::of_topic(&tenant, TopicId(7));
        for (range, inside) in [
            (partitions, Entry::Partition { topic: TopicId(7), partition: 0 }),
            (producers, Entry::Producer { topic: TopicId(7), partition: u32::MAX, producer: u64::MAX }),
            (batches, Entry::Batch { topic: TopicId(7), partition: u32::MAX, base: u64::MAX }),
            (progress, Entry::Progress { topic: TopicId(7), partition: u32::MAX }),
        ] {
            assert_eq!(range.family, inside.family());
            assert!((range.from..range.to).contains(&inside.of(&tenant).bytes()));
        }
    }

    #[test]
    fn kinds_keep_their_numbers() {
        let key = |entry: Entry| entry.of(&crate::ids::default_tenant()).bytes();
        let batch = key(Entry::Batch { topic: TopicId(1), partition: 2, base: 3 });
        assert_eq!(batch, b"default\0\x06\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x03");
        let task = TaskId { pipeline: PipelineId(9), number: 2 };
        let position = key(Entry::Position { task, topic: "t".parse().unwrap(), partition: 1 });
        assert_eq!(position, b"default\0\x0c\0\0\0\0\0\0\0\x09\0\0\0\x02t\0\0\0\0\x01");
    }

    /// What a server wrote that knew no tasks.
    #[test]
    fn a_retired_kind_is_no_key() {
        for kind in [4, 5, 7, 8] {
            let key = [&b"default\0"[..], &[kind], &[0; 8]].concat();
            assert_eq!(Key::parse(&key), None, "kind {kind}");
        }
    }
}
