//! Bytes end to end, for what does not fit into a slot.

use super::Stored;

/// Wasted bytes below which tidying up costs more than it gives.
const WASTE_MIN: usize = 1 << 20;

/// Bytes end to end, some of which are no longer used.
#[derive(Debug, Default)]
pub(in crate::state) struct Arena {
    bytes: Vec<u8>,
    wasted: usize,
}

impl Arena {
    /// Appends bytes; where they are.
    pub(in crate::state) fn push(&mut self, bytes: &[u8]) -> u64 {
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// Writes over what is there.
    pub(in crate::state) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.bytes[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub(in crate::state) fn get(&self, at: u64, length: usize) -> &[u8] {
        &self.bytes[at as usize..at as usize + length]
    }

    /// Notes that so many bytes are no longer used.
    pub(in crate::state) fn waste(&mut self, bytes: usize) {
        self.wasted += bytes;
    }

    /// Whether more than half of it is waste, so that moving the rest together is paid for by what was wasted.
    pub(in crate::state) fn is_untidy(&self) -> bool {
        self.wasted > WASTE_MIN && self.wasted > self.bytes.len() / 2
    }

    /// Moves what is used together, and so gives the waste back. All that is stored here has to be named.
    pub(in crate::state) fn tidy<'a, const N: usize>(&mut self, stored: impl Iterator<Item = &'a mut Stored<N>>) {
        let mut tidied = Self { bytes: Vec::with_capacity(self.used()), wasted: 0 };
        stored.for_each(|stored| stored.relocate(self, &mut tidied));
        *self = tidied;
    }

    /// Bytes in use.
    pub(in crate::state) fn used(&self) -> usize {
        self.bytes.len() - self.wasted
    }

    #[cfg(test)]
    pub(in crate::state) fn len(&self) -> usize {
        self.bytes.len()
    }
}
