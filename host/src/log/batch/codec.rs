//! Compression of a batch's records.
//!
//! Inflating is bounded: no more than the limit is ever produced, and no buffer is sized by what the compressed bytes
//! claim beyond it.

use std::borrow::Cow;
use std::io::{Read, Write};

use super::{Compression, Invalid};

/// What `snappy-java` writes before its blocks: a magic of eight bytes, two versions of four.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
/// Content in one block, as `snappy-java` cuts it.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// More than snappy can expand: three bytes copy at most 64.
const SNAPPY_EXPANSION_MAX: usize = 24;
/// 16 MiB, as much as a content may have: a frame may ask for 128 MiB. Enough for all levels up to 19.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// The records as they are without compression.
pub(super) fn inflate(codec: Compression, content: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, Invalid> {
    let failed = |error: std::io::Error| Invalid::Codec { codec, reason: error.to_string() };
    let inflated = match codec {
        Compression::None => return Ok(Cow::Borrowed(content)),
        Compression::Gzip => read_within(flate2::read::MultiGzDecoder::new(content), limit).map_err(failed)?,
        Compression::Lz4 => read_within(lz4_flex::frame::FrameDecoder::new(content), limit).map_err(failed)?,
        Compression::Zstd => inflate_zstd(content, limit).map_err(failed)?,
        Compression::Snappy => inflate_snappy(content, limit).map_err(|reason| Invalid::Codec { codec, reason })?,
    };
    inflated.map(Cow::Owned).ok_or(Invalid::Inflated { limit })
}

/// All that the reader gives, `None` if that is more than the limit.
fn read_within(reader: impl Read, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut inflated = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut inflated)?;
    Ok((inflated.len() <= limit).then_some(inflated))
}

fn inflate_zstd(content: &[u8], limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(content)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_within(decoder, limit)
}

fn inflate_snappy(content: &[u8], limit: usize) -> Result<Option<Vec<u8>>, String> {
    let mut inflated = Vec::new();
    if !content.starts_with(&XERIAL_MAGIC) {
        return Ok(inflate_snappy_block(content, limit, &mut inflated)?.then_some(inflated));
    }
    let mut rest = content.get(XERIAL_HEADER_BYTES..).ok_or("its frame is cut short")?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or("the length of a block is cut short")?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| "a block has a negative length")?;
        let (block, after) = after.split_at_checked(length).ok_or("a block is cut short")?;
        if !inflate_snappy_block(block, limit, &mut inflated)? {
            return Ok(None);
        }
        rest = after;
    }
    Ok(Some(inflated))
}

/// Appends a block's content; false if all would be more than the limit.
fn inflate_snappy_block(block: &[u8], limit: usize, into: &mut Vec<u8>) -> Result<bool, String> {
    let size = snap::raw::decompress_len(block).map_err(|error| error.to_string())?;
    if size > block.len().saturating_mul(SNAPPY_EXPANSION_MAX) {
        return Err("a block says it is larger than it can be".to_owned());
    }
    let before = into.len();
    if size > limit - before {
        return Ok(false);
    }
    into.resize(before + size, 0);
    let written =
        snap::raw::Decoder::new().decompress(block, &mut into[before..]).map_err(|error| error.to_string())?;
    into.truncate(before + written);
    Ok(true)
}

/// Compresses what follows the first `from` bytes of a batch where that makes it smaller, and answers how it is now.
pub(super) fn compress(codec: Compression, batch: &mut Vec<u8>, from: usize) -> Compression {
    let compressed = deflate(codec, &batch[from..]).filter(|compressed| compressed.len() < batch.len() - from);
    let Some(compressed) = compressed else { return Compression::None };
    batch.truncate(from);
    batch.extend_from_slice(&compressed);
    codec
}

/// The records compressed; `None` where the codec is none or fails, so that they are written as they are.
pub(super) fn deflate(codec: Compression, content: &[u8]) -> Option<Vec<u8>> {
    match codec {
        Compression::None => None,
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(content).ok()?;
            encoder.finish().ok()
        }
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(content).ok()?;
            encoder.finish().ok()
        }
        Compression::Zstd => zstd::bulk::compress(content, zstd::DEFAULT_COMPRESSION_LEVEL).ok(),
        Compression::Snappy => deflate_snappy(content),
    }
}

/// In the framing of `snappy-java`, which is what Kafka's own clients read.
fn deflate_snappy(content: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = snap::raw::Encoder::new();
    let mut compressed = Vec::with_capacity(XERIAL_HEADER_BYTES + content.len() / 2);
    compressed.extend_from_slice(&XERIAL_MAGIC);
    compressed.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
    for block in content.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(block).ok()?;
        compressed.extend_from_slice(&(block.len() as i32).to_be_bytes());
        compressed.extend_from_slice(&block);
    }
    Some(compressed)
}
