//! What the log takes: the checks before a write and the placing of batches, the same for every backend that stores them.

use bytes::{Bytes, BytesMut};

use super::batch::{self, Header, Inspected, Invalid};
use super::{Block, Commit, Error, Result, TopicConfig};
use crate::ids::{Offset, TopicName, TopicPartition};

/// What the log takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What a single batch may hold.
    pub batch: batch::Limits,
    /// Most bytes of one append.
    pub append_bytes_max: usize,
    /// Most bytes of one commit: its outputs, its block and its counters.
    pub commit_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch: batch::Limits::default(),
            // A group of the writer holds several; clients of Kafka send 1 MiB at most unless told otherwise.
            append_bytes_max: 8 << 20,
            // A block may hold the whole state of a pipeline, which RocksDB must take as one value of less than 4 GiB.
            commit_bytes_max: 1 << 30,
        }
    }
}

/// Refuses what no topic can be.
pub(super) fn check_topic(topic: &TopicName, config: &TopicConfig) -> Result<()> {
    match config.fault() {
        None => Ok(()),
        Some(reason) => Err(Error::InvalidTopic { topic: topic.clone(), reason }),
    }
}

/// Batches that were checked.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// The header of each.
    pub(super) headers: Vec<Header>,
    /// The largest timestamp of the records of each.
    max_timestamps: Vec<i64>,
    /// The place of the first record without a key in its batch, if one was met.
    without_key: Option<u32>,
}

/// What a look at the records of a batch gave.
struct Found {
    max_timestamp: i64,
    without_key: Option<u32>,
}

impl Checked {
    /// Refuses records without a key where the topic needs one of each.
    pub(super) fn fit(&self, at: &TopicPartition, config: &TopicConfig) -> Result<()> {
        match self.without_key {
            Some(index) if config.cleanup.compacts() => Err(Error::KeyRequired { at: at.clone(), index }),
            _ => Ok(()),
        }
    }
}

/// Checks producers' batches down to each record, and gives them back as they are to be stored: with the largest timestamp
/// that their records have, for retention goes by that. Whether the topic takes them is seen by [`Checked::fit`].
pub(super) fn check_append(at: &TopicPartition, batches: Bytes, limits: &Limits) -> Result<(Bytes, Checked)> {
    if batches.len() > limits.append_bytes_max {
        let (size, limit) = (batches.len() as u64, limits.append_bytes_max as u64);
        return Err(Error::TooLarge { at: at.clone(), what: "append", size, limit });
    }
    let mut checked = check(at, &batches, |header, batch| {
        // As a broker of Kafka does: a sender cannot know when the log appends a record.
        if header.log_append_time {
            return Err(Invalid::Header(
                "it has log-append-time timestamps: send it with the timestamps of its records",
            ));
        }
        let Inspected { max_timestamp, without_key, .. } = batch::inspect(batch, &limits.batch)?;
        Ok(Found { max_timestamp, without_key })
    })?;
    Ok((correct(batches, &mut checked), checked))
}

/// Puts what was found into the headers that say something else.
fn correct(batches: Bytes, checked: &mut Checked) -> Bytes {
    let is_right = |(header, found): (&Header, &i64)| header.max_timestamp == *found;
    if checked.headers.iter().zip(&checked.max_timestamps).all(is_right) {
        return batches;
    }
    let mut bytes = batches.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let mut rest = &mut bytes[..];
    for (header, &found) in checked.headers.iter_mut().zip(&checked.max_timestamps) {
        let (batch, after) = std::mem::take(&mut rest).split_at_mut(header.length);
        if header.max_timestamp != found {
            batch::set_max_timestamp(batch, found);
            header.max_timestamp = found;
        }
        rest = after;
    }
    bytes.freeze()
}

/// Checks batches that this process made: that they are whole and, if the topic needs it, that each record has a key.
pub(super) fn check_output(at: &TopicPartition, batches: &Bytes, config: &TopicConfig) -> Result<Vec<Header>> {
    let checked = check(at, batches, |header, batch| {
        let (mut without_key, mut index) = (None, 0);
        if config.cleanup.compacts() {
            batch::scan(batch, |seen| {
                if seen.key.is_none() && without_key.is_none() {
                    without_key = Some(index);
                }
                index += 1;
            })?;
        }
        // This process computed it from the records.
        Ok(Found { max_timestamp: header.max_timestamp, without_key })
    })?;
    checked.fit(at, config)?;
    Ok(checked.headers)
}

/// Splits batches and looks at each.
fn check(
    at: &TopicPartition,
    batches: &Bytes,
    look: impl Fn(&Header, &[u8]) -> std::result::Result<Found, Invalid>,
) -> Result<Checked> {
    if batches.is_empty() {
        return Err(Error::InvalidBatch { at: at.clone(), reason: "there are no bytes".to_owned() });
    }
    let refused = |invalid| match invalid {
        Invalid::RecordTooLarge { size, limit, .. } => Error::TooLarge { at: at.clone(), what: "record", size, limit },
        invalid => Error::InvalidBatch { at: at.clone(), reason: invalid.to_string() },
    };
    let mut checked = Checked::default();
    for batch in batch::split(batches.clone()) {
        let (header, bytes) = batch.map_err(refused)?;
        let Found { max_timestamp, without_key } = look(&header, &bytes).map_err(refused)?;
        if !header.is_as_produced() {
            return Err(refused(Invalid::Header(
                "it was compacted by a broker: send its records in a batch of their own",
            )));
        }
        checked.without_key = checked.without_key.or(without_key);
        checked.headers.push(header);
        checked.max_timestamps.push(max_timestamp);
    }
    Ok(checked)
}

/// Refuses a commit that is too large to be written at once.
pub(super) fn check_commit(commit: &Commit, limits: &Limits) -> Result<()> {
    let outputs: usize = commit.outputs.iter().map(|(_, batches)| batches.len()).sum();
    let size = outputs + commit.block.len() + commit.usage.len();
    if size > limits.commit_bytes_max {
        let (size, limit) = (size as u64, limits.commit_bytes_max as u64);
        return Err(Error::CommitTooLarge { task: commit.task, size, limit });
    }
    Ok(())
}

impl Block {
    /// Bytes of the block.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Some { bytes, .. } => bytes.len(),
        }
    }
}

/// A batch with its place in a partition.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// Offset of its first record.
    pub(super) base: Offset,
    /// Offset after those that it covers.
    pub(super) next: Offset,
    /// Its bytes, with that base offset.
    pub(super) bytes: Bytes,
}

/// Gives batches their offsets from `base` on, in place where nobody else holds the bytes. `headers` are theirs.
pub(super) fn place(batches: Bytes, headers: &[Header], base: Offset) -> Vec<Placed> {
    let mut bytes = batches.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let mut next = base;
    let mut from = 0;
    for header in headers {
        batch::set_base_offset(&mut bytes[from..], next);
        from += header.length;
        next += u64::from(header.count);
    }
    let mut rest = bytes.freeze();
    let mut next = base;
    let placed = headers.iter().map(|header| {
        let base = next;
        next += u64::from(header.count);
        Placed { base, next, bytes: rest.split_to(header.length) }
    });
    placed.collect()
}
