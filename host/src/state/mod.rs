//! State of pipelines: what is held in memory between commits, and the delta blocks that it is rebuilt from.
//!
//! State is a view of the log. A commit appends one block with the new value of everything that changed. Values are
//! absolute, so applying a block twice changes nothing. Nothing here does I/O, except to the disk that a step with many
//! keys may be given for what does not fit in memory.

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

    /// Moves about this many of the least recently used bytes to disk, if there is one, and returns how many it moved.
    /// Nothing may have changed since the last block.
    fn spill(&mut self, bytes: usize) -> usize {
        let _ = bytes;
        0
    }

    /// Bytes that are on disk.
    fn bytes_on_disk(&self) -> u64 {
        0
    }

    /// Why the disk failed, if it did: what was computed since must not be committed.
    fn failure(&self) -> Option<&SpillError> {
        None
    }

    /// Whether anything changed since the last block.
    fn is_changed(&self) -> bool;

    /// Writes what changed since the last block, and starts over to note changes. On top it writes about `rewrite` bytes
    /// of what did not change, going round: so blocks before a round are not needed after it. Returns whether a round
    /// ended with this block.
    fn write_block(&mut self, writer: &mut Writer, rewrite: usize) -> bool;

    /// Writes all of the state, and starts over to note changes. A round of rewriting
    /// that is under way ends here, and the next one starts at the beginning.
    fn write_whole(&mut self, writer: &mut Writer);

    /// A summary of the state, so that a reader of a whole block can check that the block is complete.
    fn summary(&self) -> Summary;

    /// Applies a block that `write_block` or `write_whole` wrote; the latter to a store without state. Values are absolute: a block
    /// applied twice changes nothing.
    fn read_block(&mut self, reader: &mut Reader<'_>) -> Result<(), BlockError>;
}
