//! The records of a batch, one after the other, borrowed from its content.

use super::{Header, Invalid, varint};

/// Fewest bytes of a record: one each for length, attributes, two deltas, two lengths and the number of headers.
const RECORD_BYTES_MIN: usize = 7;

/// One record as it stands in the batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// Its offset after the batch's base offset.
    pub(super) offset_delta: u32,
    /// Milliseconds after the batch's base timestamp.
    pub(super) timestamp_delta: i64,
    /// The key, if it is not null.
    pub(super) key: Option<&'a [u8]>,
    /// The value, if it is not null.
    pub(super) value: Option<&'a [u8]>,
    /// The number of headers and they themselves, not looked at.
    pub(super) headers: &'a [u8],
}

/// Walks over the records of a batch.
#[derive(Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
    index: u32,
    count: u32,
    /// The least offset that the next record may have, after the base offset, and the one after the greatest.
    deltas: std::ops::Range<u32>,
}

impl<'a> Records<'a> {
    /// Begins at the first record of an inflated content, which has room for as many as the header says.
    pub(super) fn new(header: &Header, content: &'a [u8]) -> Result<Self, Invalid> {
        if (content.len() / RECORD_BYTES_MIN) < header.count as usize {
            return Err(Invalid::Header("it has fewer bytes than its number of records needs"));
        }
        Ok(Self { rest: content, index: 0, count: header.count, deltas: 0..header.offsets })
    }

    /// The next record; the caller stops at the header's count.
    #[inline]
    pub(super) fn next_record(&mut self) -> Result<Record<'a>, Invalid> {
        let Some(length) = varint::take(&mut self.rest) else { return Err(self.invalid("its length is unreadable")) };
        if length < 0 || length as u64 > self.rest.len() as u64 {
            return Err(self.invalid("its length is more than there is"));
        }
        let (body, rest) = self.rest.split_at(length as usize);
        match parse(body, &self.deltas) {
            Ok(record) => {
                self.rest = rest;
                self.index += 1;
                self.deltas.start = record.offset_delta + 1;
                Ok(record)
            }
            Err(reason) => Err(self.invalid(reason)),
        }
    }

    /// Whether nothing follows the last record.
    pub(super) fn finish(&self) -> Result<(), Invalid> {
        if self.rest.is_empty() { Ok(()) } else { Err(Invalid::Header("bytes follow its last record")) }
    }

    /// The error of the record at hand.
    #[cold]
    pub(super) fn invalid(&self, reason: &'static str) -> Invalid {
        Invalid::Record { index: self.index, count: self.count, reason }
    }
}

#[inline]
fn parse<'a>(mut body: &'a [u8], deltas: &std::ops::Range<u32>) -> Result<Record<'a>, &'static str> {
    // The attributes of a record mean nothing yet.
    let (_, after) = body.split_first().ok_or("it is empty")?;
    body = after;
    let timestamp_delta = varint::take(&mut body).ok_or("its timestamp is unreadable")?;
    let offset_delta = varint::take(&mut body).ok_or("its offset is unreadable")?;
    // Where the batch covers as many offsets as it has records, this leaves each the one of its place.
    let offset_delta = u32::try_from(offset_delta).ok().filter(|delta| deltas.contains(delta));
    let offset_delta = offset_delta.ok_or("its offset is not one of the batch after that of the record before")?;
    let key = take_bytes(&mut body).ok_or("its key is longer than the record")?;
    let value = take_bytes(&mut body).ok_or("its value is longer than the record")?;
    if body.is_empty() {
        return Err("it has no number of headers");
    }
    Ok(Record { offset_delta, timestamp_delta, key, value, headers: body })
}

/// Takes a length and that many bytes; a length of −1 is a null.
#[inline]
fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint::take(from)?;
    if length == -1 {
        return Some(None);
    }
    let length = usize::try_from(length).ok()?;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(Some(bytes))
}

/// A record's headers: names and values.
pub(super) struct RecordHeaders<'a> {
    rest: &'a [u8],
    left: u64,
}

impl<'a> RecordHeaders<'a> {
    pub(super) fn new(mut bytes: &'a [u8]) -> Result<Self, &'static str> {
        let left = varint::take(&mut bytes).ok_or("its number of headers is unreadable")?;
        let left = u64::try_from(left).map_err(|_| "its number of headers is negative")?;
        // Each has at least two lengths.
        if left > bytes.len() as u64 / 2 {
            return Err("it has fewer bytes than its headers need");
        }
        Ok(Self { rest: bytes, left })
    }

    /// The next header, `None` after the last.
    #[expect(clippy::type_complexity, reason = "a name and a value that may be null")]
    pub(super) fn next_header(&mut self) -> Result<Option<(&'a [u8], Option<&'a [u8]>)>, &'static str> {
        if self.left == 0 {
            return if self.rest.is_empty() { Ok(None) } else { Err("bytes follow its last header") };
        }
        self.left -= 1;
        let name = take_bytes(&mut self.rest).flatten().ok_or("a header has no name")?;
        let value = take_bytes(&mut self.rest).ok_or("a header is longer than the record")?;
        Ok(Some((name, value)))
    }
}

/// Checks the headers of a record.
#[inline]
pub(super) fn check_headers(bytes: &[u8]) -> Result<(), &'static str> {
    // No headers, as nearly always.
    if bytes == [0] {
        return Ok(());
    }
    let mut headers = RecordHeaders::new(bytes)?;
    while headers.next_header()?.is_some() {}
    Ok(())
}
