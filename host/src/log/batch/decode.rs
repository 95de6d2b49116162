//! From a batch to columns.

use super::records::{RecordHeaders, Records};
use super::{HEADER_BYTES, Header, INFLATED_STORED_BYTES_MAX, Invalid, Offsets, codec};
use crate::ids::Offset;
use crate::record::{Batch, Column};

/// Appends the records of one batch from offset `from` on to the columns, and answers the offset after those that the
/// batch covers. There may be no record: where compaction left the last ones out, nothing follows `from`.
/// `into.headers` grows only if `headers` is asked for. After an error the columns are as they were.
///
/// The CRC is not looked at: what is read from a log has been checked by it.
pub fn decode(batch: &[u8], from: Offset, headers: bool, into: &mut Batch) -> Result<Offset, Invalid> {
    decode_with_offsets(batch, from, headers, into, &mut Offsets::default())
}

/// The same, with the offset of each record.
pub fn decode_with_offsets(
    batch: &[u8],
    from: Offset,
    headers: bool,
    into: &mut Batch,
    offsets: &mut Offsets,
) -> Result<Offset, Invalid> {
    let header = Header::parse(batch)?;
    let content = &batch[HEADER_BYTES..header.length];
    let content = codec::inflate(header.compression, content, INFLATED_STORED_BYTES_MAX)?;
    let (before, offsets_before) = (Sizes::of(into), offsets.len());
    let appended = append(&header, &content, from, headers, into, offsets);
    if appended.is_err() {
        offsets.truncate(offsets_before);
        before.restore(into);
    }
    appended.map(|()| header.next_offset())
}

fn append(
    header: &Header,
    content: &[u8],
    from: Offset,
    headers: bool,
    into: &mut Batch,
    offsets: &mut Offsets,
) -> Result<(), Invalid> {
    let mut records = Records::new(header, content)?;
    let count = header.count as usize;
    into.timestamps.reserve(count);
    into.keys.lengths.reserve(count);
    into.values.lengths.reserve(count);
    into.values.bytes.reserve(content.len());
    let is_dense = header.offsets == header.count;
    let skipped = from.saturating_sub(header.base_offset);
    if is_dense {
        let skipped = skipped.min(count as u64);
        offsets.extend(header.base_offset + skipped, count - skipped as usize);
    }
    for _ in 0..header.count {
        let record = records.next_record()?;
        if u64::from(record.offset_delta) < skipped {
            continue;
        }
        if !is_dense {
            offsets.push(header.base_offset + u64::from(record.offset_delta));
        }
        into.timestamps.push(header.timestamp(record.timestamp_delta));
        into.keys.push(record.key);
        into.values.push(record.value);
        if headers {
            push_headers(record.headers, into).map_err(|reason| records.invalid(reason))?;
        }
    }
    records.finish()
}

fn push_headers(bytes: &[u8], into: &mut Batch) -> Result<(), &'static str> {
    let before = into.headers.names.len();
    let mut headers = RecordHeaders::new(bytes)?;
    while let Some((name, value)) = headers.next_header()? {
        into.headers.names.push(Some(name));
        into.headers.values.push(value);
    }
    into.headers.counts.push((into.headers.names.len() - before) as u32);
    Ok(())
}

/// How long the columns were, to take back what was appended.
struct Sizes {
    rows: usize,
    keys: usize,
    values: usize,
    header_rows: usize,
    names: (usize, usize),
    header_values: (usize, usize),
}

impl Sizes {
    fn of(batch: &Batch) -> Self {
        Self {
            rows: batch.len(),
            keys: batch.keys.bytes.len(),
            values: batch.values.bytes.len(),
            header_rows: batch.headers.counts.len(),
            names: (batch.headers.names.len(), batch.headers.names.bytes.len()),
            header_values: (batch.headers.values.len(), batch.headers.values.bytes.len()),
        }
    }

    fn restore(&self, batch: &mut Batch) {
        let cut = |column: &mut Column, rows, bytes| {
            column.lengths.truncate(rows);
            column.bytes.truncate(bytes);
        };
        batch.timestamps.truncate(self.rows);
        cut(&mut batch.keys, self.rows, self.keys);
        cut(&mut batch.values, self.rows, self.values);
        batch.headers.counts.truncate(self.header_rows);
        cut(&mut batch.headers.names, self.names.0, self.names.1);
        cut(&mut batch.headers.values, self.header_values.0, self.header_values.1);
    }
}
