//! The stored values, but for record batches, which carry a CRC of their own.
//!
//! ```text
//! version u8 | CRC32C u32 of version and content | content        numbers are little-endian
//! ```
//!
//! A value of a newer version or with another checksum is an error with its key's name, never a guess.

use serde::{Deserialize, Serialize};

use crate::ids::TopicId;
use crate::log::compaction::Progress;
use crate::log::producer::{ProducerState, RECENT_MAX, Recent};
use crate::log::{PartitionInfo, Position, TopicConfig};

/// The version that is written.
const VERSION: u8 = 1;
/// Bytes before the content.
const SEAL_BYTES: usize = 5;

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("its checksum is not that of its bytes")]
    Checksum,
    #[error("it has version {0}, this server reads version {VERSION}")]
    Version(u8),
    #[error("its content is not well formed")]
    Content,
}

/// A content between its checksum and its end.
#[derive(Debug, Default)]
pub(super) struct Sealer {
    bytes: Vec<u8>,
}

impl Sealer {
    /// The value of a content that is given in parts.
    pub(super) fn seal(&mut self, parts: &[&[u8]]) -> &[u8] {
        self.bytes.clear();
        self.bytes.reserve(SEAL_BYTES + parts.iter().map(|part| part.len()).sum::<usize>());
        self.bytes.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        let crc = checksum(&self.bytes);
        self.bytes[1..SEAL_BYTES].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }

    /// Gives memory back that one large value took.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(bytes_max);
    }
}

/// The checksum of a value that has a version and room for the checksum.
fn checksum(value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&value[..1]), &value[SEAL_BYTES..])
}

/// The content of a value.
pub(super) fn open(value: &[u8]) -> Result<&[u8], Malformed> {
    let (seal, content) = value.split_first_chunk::<SEAL_BYTES>().ok_or(Malformed::Content)?;
    let [version, crc @ ..] = *seal;
    if u32::from_le_bytes(crc) != checksum(value) {
        return Err(Malformed::Checksum);
    }
    if version == VERSION { Ok(content) } else { Err(Malformed::Version(version)) }
}

/// A topic as it is stored: JSON, for it is read by people who look for a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredTopic {
    pub(super) id: TopicId,
    pub(super) config: TopicConfig,
}

impl StoredTopic {
    pub(super) fn encode(&self) -> Result<Vec<u8>, Malformed> {
        serde_json::to_vec(self).map_err(|_| Malformed::Content)
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Malformed> {
        serde_json::from_slice(open(value)?).map_err(|_| Malformed::Content)
    }
}

/// A single number: the next topic's id, an epoch, the oldest needed block.
pub(super) fn decode_number(value: &[u8]) -> Result<u64, Malformed> {
    let mut fields = Fields(open(value)?);
    let number = fields.u64()?;
    fields.end(number)
}

/// The number of records is written only where it is not that of the offsets.
pub(super) fn encode_partition(info: &PartitionInfo) -> Vec<u8> {
    let records = (info.records != info.end - info.start).then_some(info.records);
    let numbers = [info.start, info.end, info.bytes].into_iter().chain(records);
    numbers.flat_map(u64::to_le_bytes).collect()
}

pub(super) fn decode_partition(value: &[u8]) -> Result<PartitionInfo, Malformed> {
    let mut fields = Fields(open(value)?);
    let (start, end, bytes) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let offsets = end.checked_sub(start).ok_or(Malformed::Content)?;
    let records = if fields.0.is_empty() { offsets } else { fields.u64()? };
    if records > offsets {
        return Err(Malformed::Content);
    }
    fields.end(PartitionInfo { start, end, records, bytes })
}

/// The horizon is written only where there is one.
pub(super) fn encode_progress(progress: &Progress) -> Vec<u8> {
    let Progress { clean_to, looked_to, clean_bytes, horizon, dense_from } = *progress;
    let numbers = [clean_to, looked_to, clean_bytes, dense_from].map(u64::to_le_bytes);
    numbers.into_iter().chain(horizon.map(i64::to_le_bytes)).flatten().collect()
}

pub(super) fn decode_progress(value: &[u8]) -> Result<Progress, Malformed> {
    let mut fields = Fields(open(value)?);
    let (clean_to, looked_to) = (fields.u64()?, fields.u64()?);
    let (clean_bytes, dense_from) = (fields.u64()?, fields.u64()?);
    let horizon = if fields.0.is_empty() { None } else { Some(i64::from_le_bytes(fields.array()?)) };
    fields.end(Progress { clean_to, looked_to, clean_bytes, horizon, dense_from })
}

pub(super) fn encode_producer(state: &ProducerState) -> Vec<u8> {
    let mut content = state.epoch.to_le_bytes().to_vec();
    for recent in &state.recent {
        content.extend_from_slice(&recent.base_sequence.to_le_bytes());
        content.extend_from_slice(&recent.count.to_le_bytes());
        content.extend_from_slice(&recent.base_offset.to_le_bytes());
    }
    content
}

pub(super) fn decode_producer(value: &[u8]) -> Result<ProducerState, Malformed> {
    let mut fields = Fields(open(value)?);
    let epoch = i16::from_le_bytes(fields.array()?);
    let mut recent = Vec::with_capacity(RECENT_MAX);
    while !fields.0.is_empty() && recent.len() < RECENT_MAX {
        let (base_sequence, count) = (i32::from_le_bytes(fields.array()?), u32::from_le_bytes(fields.array()?));
        recent.push(Recent { base_sequence, count, base_offset: fields.u64()? });
    }
    if recent.is_empty() {
        return Err(Malformed::Content);
    }
    fields.end(ProducerState { epoch, recent })
}

/// The topic's id, so that a place in one topic is not taken for that in another of its name.
pub(super) fn encode_position(position: &Position) -> [u8; 16] {
    pair(position.topic_id.0, position.offset)
}

pub(super) fn decode_position(value: &[u8]) -> Result<Position, Malformed> {
    let mut fields = Fields(open(value)?);
    let position = Position { topic_id: TopicId(fields.u64()?), offset: fields.u64()? };
    fields.end(position)
}

/// The last commit of a task, without its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TaskHead {
    /// Number of the last commit.
    pub(super) sequence: u64,
    /// Number of the last commit that had a block, 0 if none did: where the chain of blocks ends.
    pub(super) last_block: u64,
}

impl TaskHead {
    pub(super) fn encode(&self) -> [u8; 16] {
        pair(self.sequence, self.last_block)
    }

    /// The last commit and its counters.
    pub(super) fn decode(value: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut fields = Fields(open(value)?);
        let head = Self { sequence: fields.u64()?, last_block: fields.u64()? };
        Ok((head, fields.0))
    }
}

/// What stands before the content of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockFront {
    /// The number of the commit whose block comes before this one, 0 before the first.
    pub(super) previous: u64,
    /// The epoch of the block's commit.
    pub(super) epoch: u64,
}

impl BlockFront {
    pub(super) fn encode(&self) -> [u8; 16] {
        pair(self.previous, self.epoch)
    }

    /// What stands before the block, and the block.
    pub(super) fn decode(value: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        let mut fields = Fields(open(value)?);
        let front = Self { previous: fields.u64()?, epoch: fields.u64()? };
        Ok((front, fields.0))
    }
}

/// A sealed number, see [`decode_number`].
pub(super) fn encode_number(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

fn pair(first: u64, second: u64) -> [u8; 16] {
    let mut content = [0; 16];
    content[..8].copy_from_slice(&first.to_le_bytes());
    content[8..].copy_from_slice(&second.to_le_bytes());
    content
}

/// What is left of a content that is read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Malformed::Content)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// The value, if nothing follows it.
    fn end<T>(&self, value: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(value) } else { Err(Malformed::Content) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer() -> ProducerState {
        let recent = (0..3).map(|i| Recent { base_sequence: i * 10, count: 10, base_offset: i as u64 * 10 });
        ProducerState { epoch: 4, recent: recent.collect() }
    }

    fn sealed(parts: &[&[u8]]) -> Vec<u8> {
        Sealer::default().seal(parts).to_vec()
    }

    #[test]
    fn values_come_back_as_they_were() {
        for records in [6, 2] {
            let info = PartitionInfo { start: 3, end: 9, records, bytes: 1 << 40 };
            assert_eq!(decode_partition(&sealed(&[&encode_partition(&info)])), Ok(info));
        }
        for horizon in [None, Some(-1)] {
            let progress = Progress { clean_to: 4, looked_to: 9, clean_bytes: 1 << 40, horizon, dense_from: 3 };
            assert_eq!(decode_progress(&sealed(&[&encode_progress(&progress)])), Ok(progress));
        }
        assert_eq!(decode_producer(&sealed(&[&encode_producer(&producer())])), Ok(producer()));
        assert_eq!(decode_number(&sealed(&[&encode_number(7)])), Ok(7));
        let position = Position { topic_id: TopicId(3), offset: 9 };
        assert_eq!(decode_position(&sealed(&[&encode_position(&position)])), Ok(position));
        let head = TaskHead { sequence: 5, last_block: 4 };
        assert_eq!(TaskHead::decode(&sealed(&[&head.encode(), b"usage"])), Ok((head, &b"usage"[..])));
        let front = BlockFront { previous: 8, epoch: 2 };
        assert_eq!(BlockFront::decode(&sealed(&[&front.encode(), b"block"])), Ok((front, &b"block"[..])));
        let topic = StoredTopic { id: TopicId(2), config: TopicConfig::with_partitions(3) };
        assert_eq!(StoredTopic::decode(&sealed(&[&topic.encode().unwrap()])), Ok(topic));
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let good = sealed(&[&encode_producer(&producer())]);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_producer(&bad), Err(Malformed::Checksum), "bit {bit}");
        }
    }

    #[test]
    fn a_value_that_is_cut_or_of_another_version_is_named() {
        assert_eq!(open(&[1, 2]), Err(Malformed::Content));
        assert_eq!(decode_number(&sealed(&[&[1, 2, 3]])), Err(Malformed::Content));
        assert_eq!(decode_number(&sealed(&[&[0; 9]])), Err(Malformed::Content));
        let mut newer = sealed(&[b"?"]);
        newer[0] = 2;
        let crc = checksum(&newer);
        newer[1..SEAL_BYTES].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(open(&newer), Err(Malformed::Version(2)));
    }

    /// What version 1 looks like on disk: these bytes must be read for ever.
    #[test]
    fn version_1_stays_readable() {
        let stored = [1, 0xe6, 0x25, 0x98, 0x92, 42, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(decode_number(&stored), Ok(42));
        // A partition as it was stored before there was compaction.
        let numbers: Vec<u8> = [3_u64, 9, 100].into_iter().flat_map(u64::to_le_bytes).collect();
        let info = PartitionInfo { start: 3, end: 9, records: 6, bytes: 100 };
        assert_eq!(decode_partition(&sealed(&[&numbers])), Ok(info));
        assert_eq!(encode_partition(&info), numbers);
    }
}
