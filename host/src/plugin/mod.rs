//! Plugins: code of tenants, run in a sandbox.
//!
//! This module owns everything that knows WebAssembly; nothing outside of it uses the engine. To the rest of the host a
//! step's code is a [`Guest`]: rows in, an answer or a [`Failure`] out, no memory between calls.

#[cfg(feature = "sandbox")]
mod bindings;
#[cfg(feature = "sandbox")]
mod cache;
#[cfg(feature = "sandbox")]
mod call;
#[cfg(feature = "sandbox")]
mod check;
#[cfg(feature = "sandbox")]
mod code;
#[cfg(feature = "sandbox")]
mod compile;
#[cfg(feature = "sandbox")]
mod ctx;
#[cfg(feature = "sandbox")]
mod describe;
#[cfg(feature = "sandbox")]
mod emission;
#[cfg(feature = "sandbox")]
mod engine;
#[cfg_attr(not(feature = "sandbox"), expect(dead_code, reason = "made by the sandbox"))]
mod error;
#[cfg_attr(not(feature = "sandbox"), expect(dead_code, reason = "made by the sandbox"))]
mod failure;
#[cfg(feature = "sandbox")]
mod grant;
mod guest;
#[cfg(feature = "sandbox")]
mod host;
mod limits;
#[cfg(feature = "sandbox")]
mod lines;
#[cfg(feature = "sandbox")]
mod linker;
#[cfg(feature = "sandbox")]
mod measured;
#[cfg(feature = "sandbox")]
mod memory;
mod metric;
#[cfg(feature = "sandbox")]
mod prescan;
#[cfg(feature = "sandbox")]
mod reach;
#[cfg(feature = "sandbox")]
mod sandbox;
#[cfg(feature = "sandbox")]
mod ticker;
#[cfg(feature = "sandbox")]
mod wasi;
#[cfg(feature = "sandbox")]
mod wasi_state;
#[cfg(feature = "sandbox")]
mod wire;
#[cfg(feature = "sandbox")]
mod worker;

use std::fmt;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

#[cfg(feature = "sandbox")]
pub use self::call::Image;
#[cfg(feature = "sandbox")]
pub use self::compile::run_worker;
pub use self::error::{Check, Error};
pub use self::failure::{Code as FailureCode, Trap};
#[cfg(feature = "sandbox")]
pub use self::grant::Grant;
pub use self::guest::{Aggregator, Call, Guest, Migrator, Plugin, Processor, Stateful, Transformer};
pub use self::limits::{CallLimits, CompileLimits, ComponentLimits, Limits};
#[cfg(feature = "sandbox")]
pub use self::lines::Owner;
#[cfg(feature = "sandbox")]
pub use self::measured::GuestMetrics;
pub use self::metric::Metric;
#[cfg(feature = "sandbox")]
pub use self::sandbox::{Certificate, GuestLoader, Loading, Sandbox, SandboxConfig};
#[cfg(feature = "sandbox")]
pub use self::worker::WORKER_COMMAND;
use crate::record::{BatchRef, Column, ColumnRef, Headers};

/// The length in an [`Emitted`] column that stands for the source row's key or value.
pub const AS_SOURCE: i32 = -2;

/// What a plugin can do, by the world it is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Rows in, rows out.
    Transform,
    /// Folds rows into windows.
    Aggregate,
    /// State and timers of its own for each key.
    Process,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transform => "transform",
            Self::Aggregate => "aggregate",
            Self::Process => "process",
        })
    }
}

/// What a plugin says that it takes and gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The world it is made for.
    pub world: World,
    /// What it does, in a sentence.
    pub summary: String,
    /// JSON Schema of its configuration.
    pub config_schema: String,
    /// The columns it reads; the others need not be sent.
    pub reads: Reads,
    /// Its outputs, at least one; a row's output is an index into this list.
    pub outputs: Vec<Output>,
}

/// Columns that a plugin reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// The rows' keys.
    pub keys: bool,
    /// The rows' values.
    pub values: bool,
    /// The rows' headers.
    pub headers: bool,
}

/// One way out of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The name by which a pipeline routes it.
    pub name: String,
    /// What leaves here, in a sentence.
    pub summary: String,
}

/// The answer of a call, with what the call cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Called<T> {
    pub answer: T,
    /// Fuel that the call used.
    pub fuel: u64,
}

/// A step's answer to rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Rows that it handed over before it answered, in pieces. They come before `emitted`.
    pub early: Vec<Emitted>,
    /// What it emits with its answer.
    pub emitted: Emitted,
    /// What it rejects.
    pub rejected: Rejected,
}

/// Rows that leave a step, in the order of their source rows. What is unchanged is not there: see each column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emitted {
    /// The input row each row comes from, never descending.
    pub source_rows: Vec<u32>,
    /// The output each row leaves by; empty if all leave by output 0.
    pub outputs: Vec<u16>,
    /// Event times; empty if all are the source rows'.
    pub timestamps: Vec<i64>,
    /// Keys; a length of [`AS_SOURCE`] is the source row's key; empty if all are the source rows'.
    pub keys: Column,
    /// Values; a length of [`AS_SOURCE`] is the source row's value; empty if all are the source rows'.
    pub values: Column,
    /// Headers; not carried if all are the source rows'.
    pub headers: Headers,
}

/// Input rows that a step could not process, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejected {
    /// The input rows.
    pub rows: Vec<u32>,
    /// A short stable code for each, UTF-8.
    pub codes: Column,
    /// What is wrong with each, UTF-8.
    pub reasons: Column,
}

/// Rows to fold, each with the group it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Contribution<'a> {
    /// What has been accumulated for each group of this call; null where nothing has.
    pub groups: ColumnRef<'a>,
    /// The group of each row: an index into `groups`.
    pub row_groups: &'a [u32],
    pub rows: BatchRef<'a>,
}

/// What folding gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    /// The accumulators of all groups of the call, in their order.
    pub groups: Column,
    /// Rows that could not be added.
    pub rejected: Rejected,
}

/// Windows that are complete.
#[derive(Debug, Clone, Copy)]
pub struct Closed<'a> {
    /// Their accumulators.
    pub groups: ColumnRef<'a>,
    pub keys: ColumnRef<'a>,
    /// First millisecond of each.
    pub starts: &'a [i64],
    /// First millisecond after each.
    pub ends: &'a [i64],
}

/// What timers and clocks are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Domain {
    /// Event time: what watermarks say.
    Event = 0,
    /// Processing time: the clock.
    Processing = 1,
}

/// Timers, in columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timers {
    /// The group each belongs to.
    pub groups: Vec<u32>,
    /// What the plugin calls each.
    pub ids: Vec<u64>,
    /// When each is due, in milliseconds since the Unix epoch.
    pub times: Vec<i64>,
    /// What each is measured in, as in the contract: the number of a [`Domain`].
    pub domains: Vec<u8>,
}

/// Changes to timers, in columns; per group, domain and id the last one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimerChanges {
    pub timers: Timers,
    /// 1 sets the timer, 0 deletes it.
    pub sets: Vec<u8>,
}

/// Rows and due timers of many keys. The contract's `work`, where each field is explained.
#[derive(Debug, Clone)]
pub struct Work<'a> {
    /// How many rows each group has.
    pub group_rows: &'a [u32],
    /// The rows, group after group.
    pub rows: BatchRef<'a>,
    /// The input that each row came from; empty if all came from input 0.
    pub inputs: &'a [u16],
    /// The watermark at the place of each row, `i64::MIN` for none; empty if it is `watermark` for all.
    pub row_watermarks: &'a [i64],
    /// The groups' keys, none of them twice.
    pub keys: ColumnRef<'a>,
    /// The groups' state; null for none.
    pub state: ColumnRef<'a>,
    /// The groups' due timers, in the order of groups and, within one, of time.
    pub due: &'a Timers,
    /// The watermark after the last row; `i64::MIN` for none.
    pub watermark: i64,
    /// Processing time of the micro-batch.
    pub processing_time: i64,
    /// The groups' tables, for a plugin that was granted them or whose state goes on in pages.
    pub tables: Option<SharedTables>,
}

/// What processing gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Rows that it handed over before it answered, in pieces. They come before `emitted`.
    pub early: Vec<Emitted>,
    /// What it emits with its answer. A source row is one of the call, from there on a timer of `due`, from there on one of `fired`;
    /// source rows come in any order.
    pub emitted: Emitted,
    /// What it rejects.
    pub rejected: Rejected,
    /// The groups' new state: null for none, a length of [`AS_SOURCE`] for unchanged.
    pub state: Column,
    /// Timers to set and delete.
    pub timers: TimerChanges,
    /// Timers that were set and fired in this call.
    pub fired: Timers,
    /// Groups whose first timer has more to emit: it fires again before anything else of the key.
    pub going_on: Vec<u32>,
}

impl Answer {
    /// All that it emits, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &Emitted> {
        self.early.iter().chain([&self.emitted])
    }
}

impl Done {
    /// All that it emits, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &Emitted> {
        self.early.iter().chain([&self.emitted])
    }
}

/// The table in which the state of keys goes on that does not ride in their values. A plugin's own tables have lower numbers.
pub const PAGES_TABLE: u32 = u32::MAX;

/// The tables of a call, shared with it while it runs.
pub type SharedTables = Arc<Mutex<dyn Tables>>;

/// Ordered entries of the groups of a call. What is put is seen by later reads of the call; whoever made the call keeps
/// it or forgets it. An error is for the guest, and changes nothing.
pub trait Tables: Send + fmt::Debug {
    /// The value of each key; null where there is none. `groups` and `keys` have the same length.
    fn get(&mut self, table: u32, groups: &[u32], keys: ColumnRef<'_>) -> Result<Column, String>;

    /// Sets the value of each key; null deletes it.
    fn put(&mut self, table: u32, groups: &[u32], keys: ColumnRef<'_>, values: ColumnRef<'_>) -> Result<(), String>;

    /// Keys and values of a group's entries in a range, at most `limit`; fewer only if there are no more. The range's
    /// start is before its end.
    fn range(&mut self, table: u32, group: u32, range: TableRange<'_>, limit: u32) -> Result<(Column, Column), String>;

    /// Deletes a group's entries in a range; how many there were. Whoever calls bounds what the other functions move, but
    /// not what is deleted: an implementation refuses what is too much at once.
    fn delete_range(&mut self, table: u32, group: u32, range: TableRange<'_>) -> Result<u64, String>;
}

/// A range of the keys of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRange<'a> {
    /// The first key.
    pub start: &'a [u8],
    /// The first key after it; empty if it goes on to the last.
    pub end: &'a [u8],
    /// Whether the greatest come first.
    pub backwards: bool,
}

/// Reference tables that a step may read. They change between calls only.
pub trait Lookups: Send + Sync + fmt::Debug {
    /// The value of each key in the table of that name, null where there is none; `None` if no such table is granted.
    fn get(&self, name: &str, keys: ColumnRef<'_>) -> Option<Column>;
}

/// What a deployment allows a plugin beyond what every plugin has.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// Tables of its own for each key.
    pub table: bool,
    /// Reference tables.
    pub lookups: Option<Arc<dyn Lookups>>,
}

/// A call that gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// The stable code, such as `trap_unreachable` or `limit_fuel`.
    pub code: &'static str,
    /// What happened, with the limit, its value and the use where one was exceeded.
    pub message: String,
    /// Where in the guest, innermost frame first; empty if the guest was not running.
    pub backtrace: Vec<String>,
    /// Fuel that the call is charged: all it was given.
    pub fuel: u64,
    /// Whether the rows may be to blame. A failure of the host is retried as it is, not taken apart.
    pub guest: bool,
}
