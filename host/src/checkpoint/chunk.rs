//! Chunks: blocks with their numbers, one after the other, so that thousands of small blocks are a few objects.
//!
//! ```text
//! "mscp" version u8, then for each block: number u64, length u32, bytes      numbers are little-endian
//! ```
//!
//! A chunk has no checksum of its own: whoever names it knows its length and the digest of its bytes.

use bytes::{Buf, Bytes};

use super::manifest::Chunk;
use crate::ids::Digest;

/// A chunk is closed when it has so many bytes: enough that a store's cost for each object does not matter, few enough to
/// be held. A block that is larger is a chunk by itself.
pub const CHUNK_BYTES: usize = 4 << 20;

const MAGIC: &[u8; 5] = b"mscp\x01";

/// A chunk that is being filled.
#[derive(Debug, Default)]
pub(super) struct Filling {
    bytes: Vec<u8>,
    first: u64,
    last: u64,
}

impl Filling {
    /// Adds a block behind the others.
    pub(super) fn push(&mut self, number: u64, block: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(MAGIC);
            self.first = number;
        }
        self.last = number;
        self.bytes.extend_from_slice(&number.to_le_bytes());
        // A commit, and so its block, is far smaller than 4 GiB.
        self.bytes.extend_from_slice(&(block.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(block);
    }

    /// Whether it is to be closed.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES
    }

    /// What has been filled, if anything; the next one begins.
    pub(super) fn close(&mut self) -> Option<(Chunk, Bytes)> {
        let bytes = std::mem::take(&mut self.bytes);
        let chunk = Chunk { digest: Digest::of(&bytes), bytes: bytes.len() as u64, first: self.first, last: self.last };
        (!bytes.is_empty()).then(|| (chunk, Bytes::from(bytes)))
    }
}

/// The blocks of a chunk whose digest is right.
pub(super) fn blocks(chunk: &Chunk, mut bytes: Bytes) -> Result<Vec<(u64, Bytes)>, &'static str> {
    if !bytes.starts_with(MAGIC) {
        return Err("it does not begin as a chunk does");
    }
    bytes.advance(MAGIC.len());
    let mut blocks: Vec<(u64, Bytes)> = Vec::new();
    while !bytes.is_empty() {
        if bytes.len() < 12 {
            return Err("it ends within the front of a block");
        }
        let (number, length) = (bytes.get_u64_le(), bytes.get_u32_le() as usize);
        if bytes.len() < length {
            return Err("it ends within a block");
        }
        if blocks.last().is_some_and(|&(before, _)| before >= number) {
            return Err("its blocks are not in order");
        }
        blocks.push((number, bytes.split_to(length)));
    }
    let ends = (blocks.first().map(|block| block.0), blocks.last().map(|block| block.0));
    if ends == (Some(chunk.first), Some(chunk.last)) { Ok(blocks) } else { Err("its blocks have other numbers") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(blocks: &[(u64, &[u8])]) -> (Chunk, Bytes) {
        let mut filling = Filling::default();
        blocks.iter().for_each(|(number, block)| filling.push(*number, block));
        filling.close().expect("there are blocks")
    }

    #[test]
    fn blocks_come_back_as_they_were_put_in() {
        let (chunk, bytes) = filled(&[(3, b"abc"), (4, b""), (9, b"d")]);
        assert_eq!((chunk.first, chunk.last, chunk.bytes), (3, 9, bytes.len() as u64));
        let expected = [(3, "abc"), (4, ""), (9, "d")].map(|(number, block)| (number, Bytes::from(block)));
        assert_eq!(blocks(&chunk, bytes), Ok(expected.to_vec()));
        assert!(Filling::default().close().is_none());
    }

    #[test]
    fn a_chunk_is_full_at_its_size_and_a_large_block_is_one() {
        let mut filling = Filling::default();
        filling.push(1, &[0; 100]);
        assert!(!filling.is_full());
        filling.push(2, &vec![0; CHUNK_BYTES]);
        assert!(filling.is_full());
    }

    #[test]
    fn what_is_not_put_together_as_a_chunk_is_said() {
        let (chunk, bytes) = filled(&[(3, b"abc"), (4, b"d")]);
        for end in 0..bytes.len() {
            assert!(blocks(&chunk, bytes.slice(..end)).is_err(), "cut at {end}");
        }
        let (_, others) = filled(&[(3, b"abc"), (5, b"d")]);
        assert_eq!(blocks(&chunk, others), Err("its blocks have other numbers"));
        let (chunk, swapped) = filled(&[(4, b"abc"), (3, b"d")]);
        assert_eq!(blocks(&chunk, swapped), Err("its blocks are not in order"));
    }

    /// What version 1 looks like: these bytes must be read for ever.
    #[test]
    fn version_1_stays_readable() {
        let stored = b"mscp\x01\x07\0\0\0\0\0\0\0\x02\0\0\0hi";
        let (chunk, bytes) = filled(&[(7, b"hi")]);
        assert_eq!(bytes, stored[..]);
        assert_eq!(blocks(&chunk, Bytes::from_static(stored)), Ok(vec![(7, Bytes::from_static(b"hi"))]));
    }
}
