//! Parts to build a [`Process`](crate::Process) of.
//!
//! A part is a value that is made of the configuration and never changes, and what it keeps for a key: one more part of
//! the plugin's [`State`](crate::State). The plugin hands rows and timers on to it, and says in a closure what becomes of
//! what it finds; so parts can be combined, and put under conditions.
//!
//! - [`join`]: two streams by the time between their rows or by windows, and a stream with a table.
//! - [`dedupe`]: rows that have come before.
//! - [`last_n`]: the last rows of a key.
//! - [`pattern`]: events of a key that follow one another.
//! - [`rate`]: how fast a number changes.
//!
//! They keep what they need in the key's state. While that is small it is read and written whole whenever the key is seen;
//! where it is not, it goes on in pages by itself ([`state`](crate::state#size)).

use std::fmt::Debug;

use crate::accumulator::Accumulator;
use crate::process::PLUGIN_IDS;

mod arrival;
pub mod dedupe;
pub mod join;
pub mod last_n;
pub mod pattern;
pub mod rate;

/// What a part can keep of a row. Everything that is an [`Accumulator`] and can be shown.
pub trait Item: Accumulator + Debug {}
impl<T: Accumulator + Debug> Item for T {}

/// The parts that set timers. Their numbers are in the ids of timers that are kept, so they stay as they are.
const INTERVAL_JOIN: u64 = 0;
const WINDOW_JOIN: u64 = 1;
const AS_OF_JOIN: u64 = 2;
const PATTERN: u64 = 3;

/// The id of a timer of a part: a plugin may have many parts of a kind, which it numbers.
const fn timer_id(part: u64, number: u32) -> u64 {
    PLUGIN_IDS + (part << 32) + number as u64
}
