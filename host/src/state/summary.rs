//! What a store has, in short: how many entries, and a digest of them.
//!
//! A block that is marked whole carries the summary of each store, taken from the state and not from what was
//! written. A reader of the block compares the two: what is missing, or there twice, is an error and not a smaller state.

use sha2::{Digest as _, Sha256};

/// How many entries a store has, and a digest of them. Neither depends on the order or on the place (memory, disk) in
/// which a store has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// How many entries there are: windows of keys, values, timers, entries of tables.
    pub entries: u64,
    /// The sum of the entries' digests.
    pub digest: u128,
}

impl Summary {
    /// Counts an entry. Which numbers and bytes an entry of a kind has is the same everywhere; kinds that share a store
    /// differ in the first number.
    pub(super) fn add(&mut self, numbers: &[i64], bytes: &[Option<&[u8]>]) {
        let mut hasher = Sha256::new();
        numbers.iter().for_each(|number| hasher.update(number.to_le_bytes()));
        for bytes in bytes {
            hasher.update(bytes.map_or(-1, |bytes| bytes.len() as i64).to_le_bytes());
            hasher.update(bytes.unwrap_or_default());
        }
        let digest: [u8; 32] = hasher.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        self.entries += 1;
        self.digest = self.digest.wrapping_add(u128::from_le_bytes(half));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entry = (&'static [i64], &'static [Option<&'static [u8]>]);

    fn of(entries: &[Entry]) -> Summary {
        let mut summary = Summary::default();
        entries.iter().for_each(|(numbers, bytes)| summary.add(numbers, bytes));
        summary
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let (one, other): (Entry, Entry) = ((&[1], &[Some(b"a"), None]), (&[1], &[Some(b"b"), Some(b"")]));
        assert_eq!(of(&[one, other]), of(&[other, one]));
        let different: [&[Entry]; 6] = [
            &[one],
            &[one, one],
            &[one, other, other],
            &[one, (&[2], &[Some(b"b"), Some(b"")])],
            &[one, (&[1], &[Some(b"b"), None])],
            &[one, (&[1], &[Some(b""), Some(b"b")])],
        ];
        for entries in different {
            assert_ne!(of(entries), of(&[one, other]), "{entries:?}");
        }
    }
}
