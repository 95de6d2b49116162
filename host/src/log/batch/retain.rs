//! Looking at the records of a stored batch one by one, and leaving some of them out.
//!
//! What is left keeps its offsets: the batch covers as many as before, with gaps, as Kafka's format v2 has it. Base
//! offset, producer and codec stay; the largest timestamp becomes that of what is left.
//!
//! A batch in which deletions are left gets a horizon, a time after which they need not be kept: as in Kafka, it stands
//! where the base timestamp was, marked by an attribute, and the records' timestamps are relative to it. So who only
//! reads records need not know of it.

use bytes::Bytes;

use super::encode::{Front, put};
use super::records::Records;
use super::{HEADER_BYTES, Header, INFLATED_STORED_BYTES_MAX, Invalid, codec, header, varint};
use crate::ids::Offset;

/// A record as whoever decides over it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    pub offset: Offset,
    pub key: Option<&'a [u8]>,
    /// Whether its value is null: it says that there is nothing under its key any more.
    pub is_deletion: bool,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// How its bytes changed.
    pub change: Change,
    /// Records that were left out.
    pub removed: u32,
    /// The time after which the deletions that are left need not be kept, if any are.
    pub horizon: Option<i64>,
}

/// How the bytes of a batch changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Not at all.
    Unchanged,
    /// To these.
    Rewritten(Bytes),
    /// No record is left.
    Emptied,
}

/// Calls `each` with the records of one stored batch, in order.
pub fn scan(batch: &[u8], mut each: impl FnMut(Seen<'_>)) -> Result<Header, Invalid> {
    let header = Header::parse(batch)?;
    let content = inflate(&header, batch)?;
    let mut records = Records::new(&header, &content)?;
    for _ in 0..header.count {
        let record = records.next_record()?;
        each(Seen {
            offset: header.base_offset + u64::from(record.offset_delta),
            key: record.key,
            is_deletion: record.value.is_none(),
        });
    }
    records.finish()?;
    Ok(header)
}

/// Leaves those records of one stored batch out for which `keep` answers false. If deletions are left and the batch has no
/// horizon, it gets this one.
pub fn retain(batch: &[u8], horizon: i64, mut keep: impl FnMut(Seen<'_>) -> bool) -> Result<Retained, Invalid> {
    let (mut kept, mut deletions) = (Vec::new(), false);
    let header = scan(batch, |seen| {
        let keeps = keep(seen);
        deletions |= keeps && seen.is_deletion;
        kept.push(keeps);
    })?;
    let count = kept.iter().filter(|&&keeps| keeps).count() as u32;
    let removed = header.count - count;
    let horizon = deletions.then(|| header.delete_horizon.unwrap_or(horizon));
    let change = match count {
        0 => Change::Emptied,
        _ if removed == 0 && horizon.is_none_or(|horizon| header.delete_horizon == Some(horizon)) => Change::Unchanged,
        _ => Change::Rewritten(rewrite(&header, batch, &kept, horizon)?),
    };
    Ok(Retained { change, removed, horizon })
}

fn inflate<'a>(header: &Header, batch: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, Invalid> {
    codec::inflate(header.compression, &batch[HEADER_BYTES..header.length], INFLATED_STORED_BYTES_MAX)
}

/// The batch with the records that are kept, at least one.
fn rewrite(old: &Header, batch: &[u8], kept: &[bool], horizon: Option<i64>) -> Result<Bytes, Invalid> {
    let content = inflate(old, batch)?;
    let mut new = Vec::with_capacity(HEADER_BYTES + content.len());
    new.resize(HEADER_BYTES, 0);
    let mut records = Records::new(old, &content)?;
    let mut base_timestamp = horizon;
    let mut max_timestamp = None;
    let mut count = 0;
    for &keeps in kept {
        let record = records.next_record()?;
        if !keeps {
            continue;
        }
        let timestamp = old.base_timestamp.wrapping_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(Some(timestamp));
        let delta = timestamp.wrapping_sub(*base_timestamp.get_or_insert(timestamp));
        let (value, value_length) = (record.value.unwrap_or_default(), record.value.map_or(-1, |v| v.len() as i64));
        let key_bytes = record.key.unwrap_or_default();
        let after = key_bytes.len() + varint::size(value_length) + value.len() + record.headers.len();
        let front = Front::new(delta, record.offset_delta as usize, record.key, after);
        new.extend_from_slice(front.bytes());
        new.extend_from_slice(key_bytes);
        put(&mut new, value_length);
        new.extend_from_slice(value);
        new.extend_from_slice(record.headers);
        count += 1;
    }
    let compression = codec::compress(old.compression, &mut new, HEADER_BYTES);
    let header = Header {
        length: new.len(),
        count,
        compression,
        base_timestamp: base_timestamp.unwrap_or(old.base_timestamp),
        // The time of an append is the batch's, whatever its records say.
        max_timestamp: if old.log_append_time { old.max_timestamp } else { max_timestamp.unwrap_or_default() },
        delete_horizon: horizon,
        ..*old
    };
    header::write(&mut new, &header);
    Ok(Bytes::from(new))
}
