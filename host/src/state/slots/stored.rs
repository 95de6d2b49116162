//! Bytes in a slot, if they are few, and in an arena, if they are more.

use super::Arena;
use crate::record::NULL;

/// The length of what is not there at all, not even as a null.
const VACANT: i32 = -2;

/// Bytes or a null. Up to `N` of them, 16 at least, lie here; of more than that, where they are in an arena, and how much
/// room they have there.
#[derive(Debug, Clone)]
#[repr(C)]
pub(in crate::state) struct Stored<const N: usize> {
    length: i32,
    bytes: [u8; N],
}

impl<const N: usize> Default for Stored<N> {
    /// A null.
    fn default() -> Self {
        const { assert!(N >= 16, "a place and a room take 16 bytes") };
        Self { length: NULL, bytes: [0; N] }
    }
}

impl<const N: usize> Stored<N> {
    /// The bytes; none of a null.
    pub(in crate::state) fn get<'a>(&'a self, arena: &'a Arena) -> Option<&'a [u8]> {
        let length = usize::try_from(self.length).ok()?;
        Some(if length <= N { &self.bytes[..length] } else { arena.get(self.place(), length) })
    }

    /// Whether it is a null.
    pub(in crate::state) fn is_null(&self) -> bool {
        self.length == NULL
    }

    /// How many bytes there are; 0 of a null.
    pub(in crate::state) fn len(&self) -> usize {
        self.length.max(0) as usize
    }

    /// Replaces what is there.
    pub(in crate::state) fn set(&mut self, value: Option<&[u8]>, arena: &mut Arena) {
        let room = self.spilled();
        match value {
            Some(bytes) if bytes.len() <= N => {
                arena.waste(room);
                self.bytes[..bytes.len()].copy_from_slice(bytes);
            }
            Some(bytes) if bytes.len() <= room => arena.write(self.place(), bytes),
            Some(bytes) => {
                arena.waste(room);
                self.spill(arena.push(bytes), bytes.len());
            }
            None => arena.waste(room),
        }
        self.length = value.map_or(NULL, |bytes| bytes.len() as i32);
    }

    /// Notes that nothing is here, until something is set.
    pub(in crate::state) fn vacate(&mut self, arena: &mut Arena) {
        self.set(None, arena);
        self.length = VACANT;
    }

    /// Whether nothing is here.
    pub(in crate::state) fn is_vacant(&self) -> bool {
        self.length == VACANT
    }

    /// How much room it has in the arena; 0 if it lies here.
    pub(in crate::state) fn spilled(&self) -> usize {
        if self.length > N as i32 { word(&self.bytes[8..16]) as usize } else { 0 }
    }

    /// Moves what is in one arena to another.
    pub(super) fn relocate(&mut self, from: &Arena, to: &mut Arena) {
        if self.length > N as i32 {
            let length = self.len();
            self.spill(to.push(from.get(self.place(), length)), length);
        }
    }

    fn place(&self) -> u64 {
        word(&self.bytes[..8])
    }

    fn spill(&mut self, at: u64, room: usize) {
        self.bytes[..8].copy_from_slice(&at.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&(room as u64).to_le_bytes());
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}
