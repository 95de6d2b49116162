//! From columns to a batch.

use bytes::Bytes;

use super::header::{self, Compression, HEADER_BYTES, Header, Producer};
use super::{codec, varint};
use crate::record::{BatchRef, ColumnRef, HeadersRef, NULL, Rows};

/// How a batch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncodeOptions {
    /// How its records are compressed; where that makes them no smaller they stay as they are.
    pub compression: Compression,
    /// Who sends it, if it is to be written once.
    pub producer: Option<Producer>,
}

/// Writes rows as one batch with base offset 0. No rows are no batch: no bytes.
///
/// The rows' bytes must stay below 2 GiB; whoever cuts micro-batches keeps far below that.
pub fn encode(rows: BatchRef<'_>, options: &EncodeOptions) -> Bytes {
    let (Some(&base_timestamp), Some(&max_timestamp)) = (rows.timestamps.first(), rows.timestamps.iter().max()) else {
        return Bytes::new();
    };
    let mut batch = Vec::with_capacity(HEADER_BYTES + content_bytes_max(&rows, base_timestamp));
    batch.resize(HEADER_BYTES, 0);
    match rows.headers.counts.is_empty() {
        true => write_plain(&mut batch, &rows, base_timestamp),
        false => write_with_headers(&mut batch, &rows, base_timestamp),
    }
    let compression = codec::compress(options.compression, &mut batch, HEADER_BYTES);
    let header = Header {
        base_offset: 0,
        length: batch.len(),
        count: rows.len() as u32,
        offsets: rows.len() as u32,
        compression,
        log_append_time: false,
        base_timestamp,
        max_timestamp,
        delete_horizon: None,
        producer: options.producer,
    };
    header::write(&mut batch, &header);
    Bytes::from(batch)
}

/// Bytes that the records take at most: each counted as if all its numbers were the longest of their column, which is a
/// few bytes a record too much and costs no look at the single record.
fn content_bytes_max(rows: &BatchRef<'_>, base_timestamp: i64) -> usize {
    let longest = |column: ColumnRef<'_>| i64::from(column.lengths.iter().copied().max().unwrap_or(NULL));
    let least = rows.timestamps.iter().copied().min().unwrap_or(base_timestamp);
    let most = rows.timestamps.iter().copied().max().unwrap_or(base_timestamp);
    let delta = |timestamp: i64| varint::size(timestamp.wrapping_sub(base_timestamp));
    let headers = rows.headers.names.bytes.len()
        + rows.headers.values.bytes.len()
        + rows.headers.names.len() * 2 * varint::size(i64::from(i32::MAX));
    let numbers = 1
        + delta(least).max(delta(most))
        + varint::size(rows.len() as i64)
        + varint::size(longest(rows.keys))
        + varint::size(longest(rows.values))
        + varint::size(rows.headers.counts.iter().copied().max().unwrap_or(0).into());
    let body = longest(rows.keys).max(0) + longest(rows.values).max(0) + numbers as i64 + headers as i64;
    rows.len() * (varint::size(body) + numbers) + rows.payload_bytes() + headers
}

/// Bytes before the value of a record whose key is short: what is gathered on the stack and written at once.
const FRONT_BYTES: usize = 5 * varint::BYTES_MAX + 1;

/// The numbers of a record before its key, in front of which its length goes.
pub(super) struct Front {
    bytes: [u8; FRONT_BYTES],
    length: usize,
}

impl Front {
    /// `after` is the number of bytes of the record after its key's length.
    #[inline]
    pub(super) fn new(delta: i64, index: usize, key: Option<&[u8]>, after: usize) -> Self {
        let key_length = key.map_or(-1, |key| key.len() as i64);
        let body = 1 + varint::size(delta) + varint::size(index as i64) + varint::size(key_length) + after;
        let mut bytes = [0; FRONT_BYTES];
        let mut length = varint::put(&mut bytes, body as i64);
        // The attributes of a record, which mean nothing yet.
        length += 1;
        length += varint::put(&mut bytes[length..], delta);
        length += varint::put(&mut bytes[length..], index as i64);
        length += varint::put(&mut bytes[length..], key_length);
        Self { bytes, length }
    }

    /// The bytes of the numbers.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn write_plain(out: &mut Vec<u8>, rows: &BatchRef<'_>, base_timestamp: i64) {
    for (index, ((&timestamp, key), value)) in
        rows.timestamps.iter().zip(rows.keys.iter()).zip(rows.values.iter()).enumerate()
    {
        let value_length = value.map_or(-1, |value| value.len() as i64);
        let (key_bytes, value_bytes) = (key.unwrap_or_default(), value.unwrap_or_default());
        let after = key_bytes.len() + varint::size(value_length) + value_bytes.len() + 1;
        let front = Front::new(timestamp.wrapping_sub(base_timestamp), index, key, after);
        out.extend_from_slice(front.bytes());
        out.extend_from_slice(key_bytes);
        put(out, value_length);
        out.extend_from_slice(value_bytes);
        out.push(0);
    }
}

fn write_with_headers(out: &mut Vec<u8>, rows: &BatchRef<'_>, base_timestamp: i64) {
    let mut headers = HeaderRows::new(rows.headers);
    let mut written = Vec::new();
    for (index, ((&timestamp, key), value)) in
        rows.timestamps.iter().zip(rows.keys.iter()).zip(rows.values.iter()).enumerate()
    {
        written.clear();
        headers.write_next(&mut written);
        let value_length = value.map_or(-1, |value| value.len() as i64);
        let (key_bytes, value_bytes) = (key.unwrap_or_default(), value.unwrap_or_default());
        let after = key_bytes.len() + varint::size(value_length) + value_bytes.len() + written.len();
        let front = Front::new(timestamp.wrapping_sub(base_timestamp), index, key, after);
        out.extend_from_slice(front.bytes());
        out.extend_from_slice(key_bytes);
        put(out, value_length);
        out.extend_from_slice(value_bytes);
        out.extend_from_slice(&written);
    }
}

/// The headers of the rows, row by row, as they stand in a record.
struct HeaderRows<'a> {
    counts: std::slice::Iter<'a, u32>,
    names: Rows<'a>,
    values: Rows<'a>,
}

impl<'a> HeaderRows<'a> {
    fn new(headers: HeadersRef<'a>) -> Self {
        Self { counts: headers.counts.iter(), names: headers.names.iter(), values: headers.values.iter() }
    }

    fn write_next(&mut self, out: &mut Vec<u8>) {
        let count = self.counts.next().copied().unwrap_or(0);
        put(out, i64::from(count));
        for (name, value) in self.names.by_ref().zip(self.values.by_ref()).take(count as usize) {
            let name = name.unwrap_or_default();
            put(out, name.len() as i64);
            out.extend_from_slice(name);
            put(out, value.map_or(-1, |value| value.len() as i64));
            out.extend_from_slice(value.unwrap_or_default());
        }
    }
}

#[inline]
pub(super) fn put(out: &mut Vec<u8>, value: i64) {
    let mut bytes = [0; varint::BYTES_MAX];
    let length = varint::put(&mut bytes, value);
    out.extend_from_slice(&bytes[..length]);
}
