//! State of pipelines: what is held in memory between commits, and the delta blocks that it is rebuilt from.
//!
//! State is a view of the log. A commit appends one block with the new value of everything that changed, as absolute
//! values; applying a block twice changes nothing. Nothing here does I/O.

mod block;
mod groups;
mod windows;

pub use block::{BlockError, Reader, Writer};

pub use windows::{CallGroups, Due, Place, Windows};
