//! Kafka record batches, format v2: the bytes in which records are appended, stored and read.
//!
//! ```text
//! 0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 CRC32C u32
//! 21 attributes i16 | 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64
//! 43 producer id i64 | 51 producer epoch i16 | 53 base sequence i32 | 57 count i32 | 61 records ..
//! ```
//!
//! Owns the format and nothing of the log: [`encode`] and [`decode`] go between batches and columns, [`validate`] is the
//! one gate for bytes that clients sent, [`split`] finds the batches in a run of them.
//!
//! - Every length is checked against what is there before it is used, and nothing is allocated by a number that a batch
//!   claims: hostile bytes give [`Invalid`], never a panic, and cost no more memory than [`Limits`] says.
//! - The CRC covers everything from the attributes on, so the base offset can be given without touching it.
//! - Kafka's transactions are not ours: transactional and control batches are refused.
//! - Offsets within a batch ascend. They have gaps only where compaction left records out ([`retain`]); whoever takes
//!   clients' batches refuses those ([`Header::is_as_produced`]).

mod codec;
mod decode;
mod encode;
mod header;
mod offsets;
mod records;
mod retain;
#[cfg(test)]
mod tests;
mod varint;

use bytes::Bytes;

use crate::ids::Offset;

pub use decode::{decode, decode_with_offsets};
pub use encode::{EncodeOptions, encode};
pub use header::{Compression, HEADER_BYTES, Header, Producer};
pub use offsets::Offsets;
pub use retain::{Change, Retained, Seen, retain, scan};

/// Most bytes of a stored batch's records when decompressed: what [`Limits`] says, and what compaction adds. It gives
/// timestamps another base, which takes up to nine bytes more of a record that has seven at least.
const INFLATED_STORED_BYTES_MAX: usize = (16 << 20) / 7 * 16;

/// What a batch may cost whoever looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of one record's key and value.
    pub record_bytes_max: usize,
    /// Most bytes of a batch's records when decompressed.
    pub inflated_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What Kafka's brokers take by default.
            record_bytes_max: 1 << 20,
            // Twice the largest append: a batch that compresses well passes, a bomb does not.
            inflated_bytes_max: 16 << 20,
        }
    }
}

/// Why bytes are no record batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Less than the batch says, or than a header needs.
    #[error("it is cut short: {needed} bytes are needed, {present} are there")]
    Short {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are there.
        present: u64,
    },
    /// A format other than v2.
    #[error("its magic is {magic}, only version 2 is taken")]
    Magic {
        /// The version byte.
        magic: i8,
    },
    /// The checksum is not that of the bytes.
    #[error("its CRC is {stored:#010x}, that of its bytes is {computed:#010x}")]
    Crc {
        /// The checksum in the header.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A header that no batch of ours can have.
    #[error("{0}")]
    Header(&'static str),
    /// A compressed content that cannot be inflated.
    #[error("its {codec} content cannot be read: {reason}")]
    Codec {
        codec: Compression,
        /// What the codec reported.
        reason: String,
    },
    /// More content than a batch may have.
    #[error("its content is more than {limit} bytes when decompressed")]
    Inflated {
        /// The most there may be.
        limit: usize,
    },
    /// A record that is not well formed.
    #[error("record {index} of {count}: {reason}")]
    Record {
        /// Its place in the batch, counted from 0.
        index: u32,
        /// How many the batch says there are.
        count: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A record with more bytes than one may have.
    #[error("record {index} has {size} bytes, the limit is {limit} bytes")]
    RecordTooLarge {
        /// Its place in the batch, counted from 0.
        index: u32,
        /// Bytes of its key and value.
        size: u64,
        /// The most there may be.
        limit: u64,
    },
}

/// What a whole batch is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// What it says of itself.
    pub header: Header,
    /// The largest timestamp of its records, whatever the header says.
    pub max_timestamp: i64,
    /// The place of the first record without a key, if there is one.
    pub without_key: Option<u32>,
}

/// Checks one whole batch: header, CRC, and each record within its content.
pub fn validate(batch: &[u8], limits: &Limits) -> Result<Header, Invalid> {
    inspect(batch, limits).map(|inspected| inspected.header)
}

/// The same, and what only a look at each record says.
pub fn inspect(batch: &[u8], limits: &Limits) -> Result<Inspected, Invalid> {
    let header = Header::parse(batch)?;
    if header.length != batch.len() {
        return Err(Invalid::Header("bytes follow its end"));
    }
    header::check_crc(batch)?;
    let content = codec::inflate(header.compression, &batch[HEADER_BYTES..], limits.inflated_bytes_max)?;
    let mut records = records::Records::new(&header, &content)?;
    let mut without_key = None;
    let mut max_timestamp = None;
    for index in 0..header.count {
        let record = records.next_record()?;
        max_timestamp = max_timestamp.max(Some(header.timestamp(record.timestamp_delta)));
        if record.key.is_none() && without_key.is_none() {
            without_key = Some(index);
        }
        records::check_headers(record.headers).map_err(|reason| records.invalid(reason))?;
        let size = (record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)) as u64;
        let limit = limits.record_bytes_max as u64;
        if size > limit {
            return Err(Invalid::RecordTooLarge { index, size, limit });
        }
    }
    records.finish()?;
    Ok(Inspected { header, max_timestamp: max_timestamp.unwrap_or(header.max_timestamp), without_key })
}

/// Writes the largest timestamp of its records into the header of a batch, and the CRC that it has then.
pub fn set_max_timestamp(batch: &mut [u8], max_timestamp: i64) {
    header::set_max_timestamp(batch, max_timestamp);
}

/// Checks that the bytes of a stored batch are those that were written.
pub fn verify(batch: &[u8]) -> Result<Header, Invalid> {
    let header = Header::parse(batch)?;
    if header.length != batch.len() {
        return Err(Invalid::Header("bytes follow its end"));
    }
    header::check_crc(batch)?;
    Ok(header)
}

/// The batches in a run of them, each with its header; ends after the first that is invalid. No more than the headers
/// is looked at.
pub fn split(mut batches: Bytes) -> impl Iterator<Item = Result<(Header, Bytes), Invalid>> {
    std::iter::from_fn(move || {
        if batches.is_empty() {
            return None;
        }
        let header = Header::parse(&batches);
        let rest = match &header {
            Ok(header) => batches.split_off(header.length),
            Err(_) => Bytes::new(),
        };
        let batch = std::mem::replace(&mut batches, rest);
        Some(header.map(|header| (header, batch)))
    })
}

/// Gives a batch its place. The CRC stays right: it does not cover the base offset.
pub fn set_base_offset(batch: &mut [u8], base: Offset) {
    batch[..8].copy_from_slice(&(base as i64).to_be_bytes());
}
