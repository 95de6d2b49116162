//! State of pipelines: what is held in memory between commits, and the delta blocks that it is rebuilt from.
//!
//! State is a view of the log. A commit appends one block with the new value of everything that changed, as absolute
//! values; applying a block twice changes nothing. Nothing here does I/O, but for the disk that a step of many keys may be
//! given to keep there what memory has no room for.

use crate::time::Watermark;

mod block;
mod groups;
mod keyed;
pub mod keyed_windows;
mod reference;
mod slots;
mod spill;
mod summary;
mod ticks;
mod windows;

pub use block::{BlockError, Reader, Writer};
pub use keyed::{CallTables, FIRING_KEYS, KeyGroups, Keyed, SlotId, SomeValues, Timer};
pub use keyed_windows::KeyedWindows;
pub use reference::Reference;
#[cfg(test)]
pub(crate) use spill::memory::{MemoryDisk, MemoryDisks};
pub use spill::{Disks, Each, Room, STATE_MEMORY, Spill, SpillError, Stretch};
pub use summary::Summary;
pub use windows::{CallGroups, Due, WindowAssignment, WindowValues, Windows};

/// What time it is for a step: in event time and by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The watermark.
    pub watermark: Watermark,
    /// Processing time, which never goes back.
    pub clock: i64,
}

/// The state of one step between commits.
pub trait Store: Send + std::fmt::Debug {
    /// Whether something is due: a window to close, a timer to fire.
    fn is_due(&self, now: Now) -> bool;

    /// When the clock next makes something due.
    fn next_clock(&self) -> Option<i64>;

    /// The watermark that rows from here may rely on: the input's, held back while what is due waits for its turn.
    fn output_watermark(&self, input: Watermark) -> Watermark;

    /// How many keys, or keys and windows, have state.
    fn len(&self) -> usize;

    /// Whether there is no state.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory in use.
    fn bytes(&self) -> usize;

    /// Brings about so many bytes of what is used least to disk, where there is one; how many it were. Nothing may have
    /// changed since the last block.
    fn spill(&mut self, bytes: usize) -> usize {
        let _ = bytes;
        0
    }

    /// Bytes that are on disk.
    fn bytes_on_disk(&self) -> u64 {
        0
    }

    /// Why the disk is of no use any more, if it failed: what was computed since must not be committed.
    fn failure(&self) -> Option<&SpillError> {
        None
    }

    /// Whether anything changed since the last block.
    fn is_changed(&self) -> bool;

    /// Writes what changed since the last block, and begins anew to note changes. On top it writes about `rewrite` bytes
    /// of what did not change, going round: so blocks before a round are not needed after it. Answers whether a round
    /// came to its end with this block.
    fn write_block(&mut self, writer: &mut Writer, rewrite: usize) -> bool;

    /// Writes all of the state, and begins anew to note changes. Where a round of rewriting stands does not matter: it is
    /// over, and the next one begins at the beginning.
    fn write_whole(&mut self, writer: &mut Writer);

    /// What there is in short, so that whoever reads a whole block back knows whether it is all there.
    fn summary(&self) -> Summary;

    /// Applies a block that `write_block` or `write_whole` wrote; the latter to a store without state. Values are absolute: a block
    /// applied twice changes nothing.
    fn read_block(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError>;
}
