//! What a step has on disk: where it is, and how keys and entries of tables are called there.
//!
//! ```text
//! value of a key      0, then the key
//! entry of a table    1, length of the key (u32), then the key, table (u32), the entry's key
//!
//! a key               0 for null; 1 and its bytes
//! ```
//!
//! Numbers have their greatest byte first, so that the entries of a table are together and in order.
//!
//! A disk that failed once is not used again: reads find nothing from then on, and the failure is checked at the end of
//! each micro-batch. So nothing that was computed without the disk is ever committed.

use std::sync::{Arc, OnceLock};

use crate::record::{Column, ColumnRef};
use crate::state::{Disks, Each, Spill, SpillError, Stretch};

/// What the values of keys begin with.
pub(super) const VALUES: u8 = 0;
/// What the entries of tables begin with.
pub(super) const ENTRIES: u8 = 1;

/// The disk of a step, once it has one.
#[derive(Debug, Default)]
pub(super) struct Disk {
    disks: Option<Arc<dyn Disks>>,
    own: OnceLock<Box<dyn Spill>>,
    failure: OnceLock<SpillError>,
}

impl Disk {
    pub(super) fn new(disks: Option<Arc<dyn Disks>>) -> Self {
        Self { disks, ..Self::default() }
    }

    /// Whether there is one, or one can be had.
    pub(super) fn is_there(&self) -> bool {
        self.disks.is_some() && self.failure.get().is_none()
    }

    /// Why it is not used any more.
    pub(super) fn failure(&self) -> Option<&SpillError> {
        self.failure.get()
    }

    pub(super) fn get(&self, keys: ColumnRef<'_>, found: &mut dyn FnMut(usize, &[u8])) {
        if let Some(own) = self.own.get() {
            self.note(own.get(keys, found));
        }
    }

    pub(super) fn scan(&self, range: Stretch<'_>, each: Each<'_>) {
        if let Some(own) = self.own.get() {
            self.note(own.scan(range, each));
        }
    }

    /// Writes entries; whether they are there.
    pub(super) fn write(&self, keys: &Column, values: &Column) -> bool {
        if keys.lengths.is_empty() {
            return true;
        }
        let Some(disks) = self.disks.as_ref().filter(|_| self.failure.get().is_none()) else { return false };
        if self.own.get().is_none() {
            match disks.provide() {
                Ok(provided) => {
                    // Another thread made one first, and it is just as empty.
                    let _ = self.own.set(provided);
                }
                Err(error) => {
                    self.note(Err(error));
                    return false;
                }
            }
        }
        self.own.get().is_some_and(|own| self.note(own.write(keys.view(), values.view())))
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.own.get().map_or(0, |own| own.bytes())
    }

    fn note(&self, result: Result<(), SpillError>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                // The first failure is the one to tell of.
                let _ = self.failure.set(error);
                false
            }
        }
    }
}

/// What the value of a key is called.
pub(super) fn value_name(key: Option<&[u8]>, into: &mut Vec<u8>) {
    into.push(VALUES);
    push_key(key, into);
}

/// The key of a value's name.
pub(super) fn key_of(name: &[u8]) -> Option<&[u8]> {
    match name {
        [_, 1, key @ ..] => Some(key),
        _ => None,
    }
}

/// What the names of a key's entries begin with.
pub(super) fn entries_of(key: Option<&[u8]>) -> Vec<u8> {
    let length = key.map_or(0, <[u8]>::len) as u32 + 1;
    let mut name = Vec::with_capacity(6 + length as usize);
    name.push(ENTRIES);
    name.extend_from_slice(&length.to_be_bytes());
    push_key(key, &mut name);
    name
}

/// A key, a table and an entry's key.
type Entry<'a> = (Option<&'a [u8]>, u32, &'a [u8]);

/// What an entry's name is of.
pub(super) fn entry_of(name: &[u8]) -> Option<Entry<'_>> {
    let (length, rest) = name.get(1..)?.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    let (table, entry) = rest.split_first_chunk::<4>()?;
    let key = match key {
        [1, key @ ..] => Some(key),
        _ => None,
    };
    Some((key, u32::from_be_bytes(*table), entry))
}

fn push_key(key: Option<&[u8]>, into: &mut Vec<u8>) {
    into.push(u8::from(key.is_some()));
    into.extend_from_slice(key.unwrap_or_default());
}

/// Names in ascending order, each once, with what stands beside the first of each.
pub(super) fn in_order<T>(mut named: Vec<(Vec<u8>, T)>) -> (Column, Vec<T>) {
    named.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
    named.dedup_by(|(later, _), (first, _)| later == first);
    let mut names = Column::default();
    let beside = named.into_iter().map(|(name, beside)| {
        names.push(Some(&name));
        beside
    });
    let beside = beside.collect();
    (names, beside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are_of() {
        for key in [None, Some(&b""[..]), Some(b"k")] {
            let mut name = Vec::new();
            value_name(key, &mut name);
            assert_eq!(key_of(&name), key);
            let name = [entries_of(key), 7_u32.to_be_bytes().to_vec(), b"e".to_vec()].concat();
            assert_eq!(entry_of(&name), Some((key, 7, &b"e"[..])));
        }
        assert_eq!(entry_of(&[ENTRIES, 0, 0, 0, 9, 1]), None);
    }

    #[test]
    fn names_are_put_in_order_and_each_is_there_once() {
        let named = vec![(b"b".to_vec(), 1), (b"a".to_vec(), 2), (b"a".to_vec(), 2)];
        assert_eq!(in_order(named), ([Some("a"), Some("b")].into_iter().collect(), vec![2, 1]));
    }
}
