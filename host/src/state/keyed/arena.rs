//! Bytes end to end, for what does not fit into a slot.

/// Wasted bytes below which tidying up costs more than it gives.
const WASTE_MIN: usize = 1 << 20;

/// Bytes end to end, some of which nobody uses any more.
#[derive(Debug, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    wasted: usize,
}

impl Arena {
    /// Appends bytes; where they are.
    pub(super) fn push(&mut self, bytes: &[u8]) -> u64 {
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// Writes over what is there.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        self.bytes[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub(super) fn get(&self, at: u64, length: usize) -> &[u8] {
        &self.bytes[at as usize..at as usize + length]
    }

    /// Notes that so many bytes are of no use any more.
    pub(super) fn waste(&mut self, bytes: usize) {
        self.wasted += bytes;
    }

    /// Whether more than half of it is waste, so that moving the rest together is paid for by what was wasted.
    pub(super) fn is_untidy(&self) -> bool {
        self.wasted > WASTE_MIN && self.wasted > self.bytes.len() / 2
    }

    /// An empty arena that the rest fits into.
    pub(super) fn successor(&self) -> Self {
        Self { bytes: Vec::with_capacity(self.bytes.len() - self.wasted), wasted: 0 }
    }

    /// Bytes that somebody uses.
    pub(super) fn used(&self) -> usize {
        self.bytes.len() - self.wasted
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}
