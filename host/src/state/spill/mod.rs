//! The disk below the memory of keyed state: what a step keeps there, and who provides it.
//!
//! What is on disk is a cache that happens to be larger than memory. The truth is the log's blocks; so nothing here is
//! synced, a crash may lose all of it, and a machine that cannot read or write it any more is rebuilt from the log.

#[cfg(test)]
pub(crate) mod memory;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::{Coded, Kind};
use crate::record::ColumnRef;

/// Bytes of memory that the state of a pipeline may take before what is used least goes to disk: room for millions of
/// small values, and for some pipelines of that size on one host.
pub const STATE_MEMORY: usize = 512 << 20;

/// How much memory the state of a pipeline may take, and where the rest goes.
#[derive(Debug, Clone)]
pub struct Room {
    /// Bytes that all steps together may take.
    pub memory: usize,
    /// Who provides disks; without, all state stays in memory.
    pub disks: Option<Arc<dyn Disks>>,
}

impl Default for Room {
    fn default() -> Self {
        Self { memory: STATE_MEMORY, disks: None }
    }
}

/// Provides disks.
pub trait Disks: Send + Sync + fmt::Debug {
    /// An empty disk. Dropping it gives its space back.
    fn provide(&self) -> Result<Box<dyn Spill>, SpillError>;
}

/// Called with an entry until it has seen enough.
pub type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Ordered entries on disk.
pub trait Spill: Send + Sync + fmt::Debug {
    /// Calls `found` with the place of each of `keys` that has an entry, and its value. The keys are in ascending order
    /// and differ.
    fn get(&self, keys: ColumnRef<'_>, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), SpillError>;

    /// Sets the entries of keys; null deletes one. Later changes of a key count.
    fn write(&self, keys: ColumnRef<'_>, values: ColumnRef<'_>) -> Result<(), SpillError>;

    /// Calls `each` with the entries of a range, in order.
    fn scan(&self, range: Stretch<'_>, each: Each<'_>) -> Result<(), SpillError>;

    /// About how many bytes it takes.
    fn bytes(&self) -> u64;
}

/// A range of entries.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    /// The first key.
    pub from: &'a [u8],
    /// The first key after it.
    pub to: &'a [u8],
    /// Whether the greatest come first.
    pub backwards: bool,
}

/// A disk that does not do what it is for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state on disk: {doing} failed: {reason}")]
pub struct SpillError {
    /// What was to be done.
    pub doing: &'static str,
    /// What the system reported.
    pub reason: String,
    /// Whether there is no room left.
    pub full: bool,
}

impl Coded for SpillError {
    fn code(&self) -> &'static str {
        if self.full { "state_disk_full" } else { "state_disk_failed" }
    }

    fn kind(&self) -> Kind {
        if self.full { Kind::StorageFull } else { Kind::Unavailable }
    }
}
