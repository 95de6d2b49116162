//! Where pages are kept: in the host, beside the key's state, under the number of the part and that of the page.
//!
//! The host gives every keyed plugin this place, and nobody has to grant it. What is large is cut into chunks, so that an
//! entry may be larger than what the host takes for one.

use crate::columns::Column;
use crate::host;

/// Bytes of a chunk: a quarter of what the host takes as one value.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes that are asked for or handed over at once: a quarter of what the host takes and gives in one call.
const CALL_BYTES: usize = 2 << 20;

/// The pages of a part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSpace {
    /// The key's place in the call.
    pub(super) group: u32,
    /// The part's place among those of the state.
    pub(super) part: u32,
}

impl PageSpace {
    fn key(self, page: u32, chunk: usize) -> [u8; 12] {
        let mut key = [0; 12];
        let (part, rest) = key.split_at_mut(4);
        let (number, last) = rest.split_at_mut(4);
        part.copy_from_slice(&self.part.to_be_bytes());
        number.copy_from_slice(&page.to_be_bytes());
        last.copy_from_slice(&u32::try_from(chunk).unwrap_or(u32::MAX).to_be_bytes());
        key
    }

    /// Reads pages whose numbers and sizes are known.
    ///
    /// # Panics
    /// If the host does not have them: no row is to blame, so the call fails.
    pub(super) fn read(self, pages: &[(u32, usize)]) -> Vec<Vec<u8>> {
        let mut read: Vec<Vec<u8>> = pages.iter().map(|&(_, bytes)| Vec::with_capacity(bytes)).collect();
        let (mut keys, mut of, mut asked) = (Column::default(), Vec::new(), 0);
        for (place, &(page, bytes)) in pages.iter().enumerate() {
            for chunk in 0..bytes.div_ceil(CHUNK_BYTES) {
                keys.push(Some(&self.key(page, chunk)));
                of.push(place);
                asked += CHUNK_BYTES.min(bytes);
                if asked >= CALL_BYTES {
                    self.fetch(&std::mem::take(&mut keys), &std::mem::take(&mut of), &mut read);
                    asked = 0;
                }
            }
        }
        self.fetch(&keys, &of, &mut read);
        for (&(page, bytes), read) in pages.iter().zip(&read) {
            assert!(
                read.len() == bytes,
                "page {page} of part {} of the key's state has {} bytes, and {bytes} were written",
                self.part,
                read.len()
            );
        }
        read
    }

    fn fetch(self, keys: &Column, of: &[usize], into: &mut [Vec<u8>]) {
        if of.is_empty() {
            return;
        }
        let found = match host::pages_get(&vec![self.group; of.len()], keys) {
            Ok(found) => found,
            Err(message) => panic!("the host did not give pages of the key's state: {message}"),
        };
        for (&place, chunk) in of.iter().zip(found.cells()) {
            if let (Some(page), Some(bytes)) = (into.get_mut(place), chunk.bytes()) {
                page.extend_from_slice(bytes);
            }
        }
    }
}

/// Pages on their way to the host.
#[derive(Debug)]
pub(super) struct Puts {
    space: PageSpace,
    keys: Column,
    values: Column,
}

impl Puts {
    pub(super) fn new(space: PageSpace) -> Self {
        Self { space, keys: Column::default(), values: Column::default() }
    }

    /// Writes a page over one that had so many bytes.
    pub(super) fn write(&mut self, page: u32, bytes: &[u8], before: usize) {
        let mut chunks = 0;
        for (chunk, bytes) in bytes.chunks(CHUNK_BYTES).enumerate() {
            self.put(page, chunk, Some(bytes));
            chunks = chunk + 1;
        }
        for chunk in chunks..before.div_ceil(CHUNK_BYTES) {
            self.put(page, chunk, None);
        }
    }

    /// Deletes a page that had so many bytes.
    pub(super) fn delete(&mut self, page: u32, before: usize) {
        self.write(page, &[], before);
    }

    fn put(&mut self, page: u32, chunk: usize, bytes: Option<&[u8]>) {
        self.keys.push(Some(&self.space.key(page, chunk)));
        self.values.push(bytes);
        if self.values.bytes.len() >= CALL_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let (keys, values) = (std::mem::take(&mut self.keys), std::mem::take(&mut self.values));
        if keys.is_empty() {
            return;
        }
        if let Err(message) = host::pages_put(&vec![self.space.group; keys.len()], keys, values) {
            // The rows are done and cannot be rejected any more: the call fails, and the host finds the row.
            panic!("the host did not take pages of the key's state: {message}");
        }
    }

    /// Hands over what is left.
    pub(super) fn end(mut self) {
        self.flush();
    }
}
