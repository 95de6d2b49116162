//! The 61 bytes before the records.

use std::fmt;

use super::Invalid;
use crate::ids::Offset;

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;

/// Bytes before those that the length counts.
const PREFIX_BYTES: usize = 12;
/// Where the bytes under the CRC begin.
const CRC_FROM: usize = 21;
/// Attributes: timestamps are the time of the append, the same for all records.
const LOG_APPEND_TIME: i16 = 1 << 3;
/// Attributes: the base timestamp is the time after which deletions need not be kept.
const DELETE_HORIZON: i16 = 1 << 6;
/// Attributes: part of a Kafka transaction, or a marker of its end.
const TRANSACTIONAL_OR_CONTROL: i16 = 1 << 4 | 1 << 5;

/// How the records of a batch are compressed. The numbers are those of the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// Gzip.
    Gzip = 1,
    /// Snappy, raw or in the framing of `snappy-java`.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// Zstandard.
    Zstd = 4,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Who sent a batch, so that it is written once however often it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// The producer, 0 or more.
    pub id: i64,
    /// Which life of the producer, 0 or more: a newer one fences the older.
    pub epoch: i16,
    /// The number of the batch's first record among all that the producer sent to the partition, 0 or more.
    pub base_sequence: i32,
}

/// What a batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes of the whole batch, this header included.
    pub length: usize,
    /// Number of records, at least 1.
    pub count: u32,
    /// Number of offsets that the batch covers: as many as records, or more where compaction left some out.
    pub offsets: u32,
    /// How the records are compressed.
    pub compression: Compression,
    /// Whether all records have [`max_timestamp`](Self::max_timestamp) in place of their own.
    pub log_append_time: bool,
    /// The timestamp that the records' are relative to.
    pub base_timestamp: i64,
    /// The largest timestamp of the records: in a batch that was appended the true one, in another what its sender says.
    pub max_timestamp: i64,
    /// The time after which the deletions in it need not be kept, if the batch was compacted; the base timestamp then.
    pub delete_horizon: Option<i64>,
    /// Who sent it, if it is to be written once.
    pub producer: Option<Producer>,
}

/// The `N` bytes at a place that the caller has checked to be there.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

impl Header {
    /// Reads the header of the batch that begins here, all of which must be there; more may follow.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let present = bytes.len() as u64;
        if bytes.len() < HEADER_BYTES {
            return Err(Invalid::Short { needed: HEADER_BYTES as u64, present });
        }
        let magic = bytes[16] as i8;
        if magic != 2 {
            return Err(Invalid::Magic { magic });
        }
        let counted = i32::from_be_bytes(field(bytes, 8));
        let length = usize::try_from(counted).map_err(|_| Invalid::Header("its length is negative"))? + PREFIX_BYTES;
        if length < HEADER_BYTES {
            return Err(Invalid::Header("its length is less than that of its header"));
        }
        if length > bytes.len() {
            return Err(Invalid::Short { needed: length as u64, present });
        }
        let attributes = i16::from_be_bytes(field(bytes, 21));
        if attributes & TRANSACTIONAL_OR_CONTROL != 0 {
            return Err(Invalid::Header("it belongs to a Kafka transaction, which this log does not have"));
        }
        let compression = match attributes & 7 {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => return Err(Invalid::Header("its compression is unknown")),
        };
        let last_offset_delta = i32::from_be_bytes(field(bytes, 23));
        let count = i32::from_be_bytes(field(bytes, 57));
        if count < 1 {
            return Err(Invalid::Header("it has no records"));
        }
        if last_offset_delta < count - 1 || last_offset_delta == i32::MAX {
            return Err(Invalid::Header("its last offset does not follow from its number of records"));
        }
        let base_offset = u64::try_from(i64::from_be_bytes(field(bytes, 0)))
            .map_err(|_| Invalid::Header("its base offset is negative"))?;
        let base_timestamp = i64::from_be_bytes(field(bytes, 27));
        Ok(Self {
            base_offset,
            length,
            count: count as u32,
            offsets: last_offset_delta as u32 + 1,
            compression,
            log_append_time: attributes & LOG_APPEND_TIME != 0,
            base_timestamp,
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            delete_horizon: (attributes & DELETE_HORIZON != 0).then_some(base_timestamp),
            producer: producer(bytes)?,
        })
    }

    /// The timestamp of a record with this delta. A sender may say anything; what overflows is wrong, not dangerous.
    pub(super) fn timestamp(&self, delta: i64) -> i64 {
        if self.log_append_time { self.max_timestamp } else { self.base_timestamp.wrapping_add(delta) }
    }

    /// The offset after those that the batch covers.
    pub fn next_offset(&self) -> Offset {
        self.base_offset.saturating_add(u64::from(self.offsets))
    }

    /// Whether it is as a producer sends it: without gaps, and without what only compaction writes.
    pub fn is_as_produced(&self) -> bool {
        self.offsets == self.count && self.delete_horizon.is_none()
    }
}

fn producer(bytes: &[u8]) -> Result<Option<Producer>, Invalid> {
    let id = i64::from_be_bytes(field(bytes, 43));
    if id < 0 {
        return Ok(None);
    }
    let epoch = i16::from_be_bytes(field(bytes, 51));
    let base_sequence = i32::from_be_bytes(field(bytes, 53));
    if epoch < 0 || base_sequence < 0 {
        return Err(Invalid::Header("it has a producer without an epoch or a sequence"));
    }
    Ok(Some(Producer { id, epoch, base_sequence }))
}

/// Checks the CRC of a batch that has a whole header.
pub(super) fn check_crc(batch: &[u8]) -> Result<(), Invalid> {
    let stored = u32::from_be_bytes(field(batch, 17));
    let computed = crc32c::crc32c(&batch[CRC_FROM..]);
    if stored == computed { Ok(()) } else { Err(Invalid::Crc { stored, computed }) }
}

/// Writes the header in front of the records of a batch that has room for it, and the CRC over all.
pub(super) fn write(batch: &mut [u8], header: &Header) {
    let producer = header.producer.unwrap_or(Producer { id: -1, epoch: -1, base_sequence: -1 });
    let flag = |set: bool, flag: i16| if set { flag } else { 0 };
    let attributes = header.compression as i16
        | flag(header.log_append_time, LOG_APPEND_TIME)
        | flag(header.delete_horizon.is_some(), DELETE_HORIZON);
    let mut put = |at: usize, bytes: &[u8]| batch[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(header.base_offset as i64).to_be_bytes());
    put(8, &((header.length - PREFIX_BYTES) as i32).to_be_bytes());
    put(12, &(-1_i32).to_be_bytes());
    put(16, &[2]);
    put(21, &attributes.to_be_bytes());
    put(23, &(header.offsets as i32 - 1).to_be_bytes());
    put(27, &header.base_timestamp.to_be_bytes());
    put(35, &header.max_timestamp.to_be_bytes());
    put(43, &producer.id.to_be_bytes());
    put(51, &producer.epoch.to_be_bytes());
    put(53, &producer.base_sequence.to_be_bytes());
    put(57, &(header.count as i32).to_be_bytes());
    seal(batch);
}

/// Changes one field, and the CRC with it.
pub(super) fn set_max_timestamp(batch: &mut [u8], max_timestamp: i64) {
    batch[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    seal(batch);
}

/// Writes the CRC of what is there.
fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[17..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}
