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
//! | 4 | meta | pipeline u64 | last commit, last block, counters |
//! | 5 | meta | pipeline u64, topic name 0x00, partition u32 | position |
//! | 6 | batches | topic id u64, partition u32, base offset u64 | a record batch |
//! | 7 | blocks | pipeline u64, sequence u64 | a block |
//! | 8 | meta | pipeline u64 | oldest block that is needed |
//! | 9 | meta | topic id u64, partition u32 | how far it is compacted |
//!
//! Kinds are never renumbered; a retired one stays reserved. No tenant's name is empty, so keys that begin with 0x00 are
//! the log's own: [`NEXT_TOPIC`].

use std::fmt;

use crate::ids::{Offset, PartitionId, PipelineId, TenantId, TopicName};

/// The id that the next topic gets. Ids are never given twice, so a topic that is made again sees nothing of the old.
pub(super) const NEXT_TOPIC: &[u8] = &[0, 1];

/// Identity of a topic, whatever its name.
pub(super) type TopicId = u64;

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

    /// All blocks of a pipeline with these numbers.
    pub(super) fn blocks(tenant: &TenantId, pipeline: PipelineId, sequences: std::ops::Range<u64>) -> Self {
        let key = |sequence| Entry::Block { pipeline, sequence }.of(tenant);
        Self::between(&key(sequences.start), &key(sequences.end))
    }

    /// All positions of a pipeline.
    pub(super) fn positions(tenant: &TenantId, pipeline: PipelineId) -> Self {
        Self::under(tenant, Family::Meta, 5, &[&pipeline.0.to_be_bytes()])
    }

    /// All producers that a partition knows.
    pub(super) fn producers(tenant: &TenantId, topic: TopicId, partition: PartitionId) -> Self {
        Self::under(tenant, Family::Meta, 3, &[&topic.to_be_bytes(), &partition.to_be_bytes()])
    }

    /// All that is kept of a topic's partitions.
    pub(super) fn of_topic(tenant: &TenantId, topic: TopicId) -> [Self; 4] {
        let under = |family, kind| Self::under(tenant, family, kind, &[&topic.to_be_bytes()]);
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
    Pipeline { pipeline: PipelineId },
    Position { pipeline: PipelineId, topic: TopicName, partition: PartitionId },
    Batch { topic: TopicId, partition: PartitionId, base: Offset },
    Block { pipeline: PipelineId, sequence: u64 },
    Oldest { pipeline: PipelineId },
    Progress { topic: TopicId, partition: PartitionId },
}

impl Entry {
    const fn kind(&self) -> u8 {
        match self {
            Self::Topic { .. } => 1,
            Self::Partition { .. } => 2,
            Self::Producer { .. } => 3,
            Self::Pipeline { .. } => 4,
            Self::Position { .. } => 5,
            Self::Batch { .. } => 6,
            Self::Block { .. } => 7,
            Self::Oldest { .. } => 8,
            Self::Progress { .. } => 9,
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
                bytes.extend_from_slice(&topic.to_be_bytes());
                bytes.extend_from_slice(&partition.to_be_bytes());
            }
            Entry::Producer { topic, partition, producer: last } | Entry::Batch { topic, partition, base: last } => {
                bytes.extend_from_slice(&topic.to_be_bytes());
                bytes.extend_from_slice(&partition.to_be_bytes());
                bytes.extend_from_slice(&last.to_be_bytes());
            }
            Entry::Pipeline { pipeline } => bytes.extend_from_slice(&pipeline.0.to_be_bytes()),
            Entry::Position { pipeline, topic, partition } => {
                bytes.extend_from_slice(&pipeline.0.to_be_bytes());
                bytes.extend_from_slice(topic.as_str().as_bytes());
                bytes.push(0);
                bytes.extend_from_slice(&partition.to_be_bytes());
            }
            Entry::Block { pipeline, sequence } => {
                bytes.extend_from_slice(&pipeline.0.to_be_bytes());
                bytes.extend_from_slice(&sequence.to_be_bytes());
            }
            Entry::Oldest { pipeline } => bytes.extend_from_slice(&pipeline.0.to_be_bytes()),
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
            2 => Entry::Partition { topic: rest.u64()?, partition: rest.u32()? },
            3 => Entry::Producer { topic: rest.u64()?, partition: rest.u32()?, producer: rest.u64()? },
            4 => Entry::Pipeline { pipeline: PipelineId(rest.u64()?) },
            5 => Entry::Position { pipeline: PipelineId(rest.u64()?), topic: rest.name()?, partition: rest.u32()? },
            6 => Entry::Batch { topic: rest.u64()?, partition: rest.u32()?, base: rest.u64()? },
            7 => Entry::Block { pipeline: PipelineId(rest.u64()?), sequence: rest.u64()? },
            8 => Entry::Oldest { pipeline: PipelineId(rest.u64()?) },
            9 => Entry::Progress { topic: rest.u64()?, partition: rest.u32()? },
            _ => return None,
        };
        rest.0.is_empty().then_some(Self { tenant: tenant.parse().ok()?, entry })
    }
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
            Entry::Pipeline { pipeline } => write!(f, "last commit of pipeline {pipeline}")?,
            Entry::Position { pipeline, topic, partition } => {
                write!(f, "position of pipeline {pipeline} in `{topic}/{partition}`")?;
            }
            Entry::Batch { topic, partition, base } => {
                write!(f, "batch at offset {base} of partition {partition} of topic id {topic}")?;
            }
            Entry::Block { pipeline, sequence } => write!(f, "block {sequence} of pipeline {pipeline}")?,
            Entry::Oldest { pipeline } => write!(f, "number of the oldest needed block of pipeline {pipeline}")?,
            Entry::Progress { topic, partition } => {
                write!(f, "compaction of partition {partition} of topic id {topic}")?;
            }
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

    fn entry() -> impl Strategy<Value = Entry> {
        let pipeline = || number().prop_map(PipelineId);
        prop_oneof![
            topic().prop_map(|name| Entry::Topic { name }),
            (number(), any::<u32>()).prop_map(|(topic, partition)| Entry::Partition { topic, partition }),
            (number(), any::<u32>(), number()).prop_map(|(topic, partition, producer)| Entry::Producer {
                topic,
                partition,
                producer
            }),
            pipeline().prop_map(|pipeline| Entry::Pipeline { pipeline }),
            (pipeline(), topic(), any::<u32>()).prop_map(|(pipeline, topic, partition)| Entry::Position {
                pipeline,
                topic,
                partition
            }),
            (number(), any::<u32>(), number()).prop_map(|(topic, partition, base)| Entry::Batch {
                topic,
                partition,
                base
            }),
            (pipeline(), number()).prop_map(|(pipeline, sequence)| Entry::Block { pipeline, sequence }),
            pipeline().prop_map(|pipeline| Entry::Oldest { pipeline }),
            (number(), any::<u32>()).prop_map(|(topic, partition)| Entry::Progress { topic, partition }),
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
            prop_assert!(&key.bytes()[..] > NEXT_TOPIC);
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
        let position = |pipeline, topic: &str, partition| {
            let topic = topic.parse().unwrap();
            Entry::Position { pipeline: PipelineId(pipeline), topic, partition }.of(&tenant).bytes()
        };
        for pipeline in [0, 255, 256, u64::MAX] {
            let Range { family, from, to } = Range::positions(&tenant, PipelineId(pipeline));
            assert_eq!(family, Family::Meta);
            let inside = from..to;
            assert!(inside.contains(&position(pipeline, "-", 0)));
            assert!(inside.contains(&position(pipeline, "z", u32::MAX)));
            assert!(!inside.contains(&position(pipeline.wrapping_add(1), "-", 0)));
            assert!(!inside.contains(&position(pipeline.wrapping_sub(1), "z", u32::MAX)));
        }
        let [partitions, producers, batches, progress] = Range::of_topic(&tenant, 7);
        for (range, inside) in [
            (partitions, Entry::Partition { topic: 7, partition: 0 }),
            (producers, Entry::Producer { topic: 7, partition: u32::MAX, producer: u64::MAX }),
            (batches, Entry::Batch { topic: 7, partition: u32::MAX, base: u64::MAX }),
            (progress, Entry::Progress { topic: 7, partition: u32::MAX }),
        ] {
            assert_eq!(range.family, inside.family());
            assert!((range.from..range.to).contains(&inside.of(&tenant).bytes()));
        }
    }

    #[test]
    fn kinds_keep_their_numbers() {
        let key = |entry: Entry| entry.of(&crate::ids::default_tenant()).bytes();
        let batch = key(Entry::Batch { topic: 1, partition: 2, base: 3 });
        assert_eq!(batch, b"default\0\x06\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x03");
        let position = key(Entry::Position { pipeline: PipelineId(9), topic: "t".parse().unwrap(), partition: 1 });
        assert_eq!(position, b"default\0\x05\0\0\0\0\0\0\0\x09t\0\0\0\0\x01");
    }
}
