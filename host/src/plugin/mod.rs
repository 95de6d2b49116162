//! Plugins: code of tenants, run in a sandbox.
//!
//! This module owns everything that knows WebAssembly; nothing outside of it names the engine. To the rest of the host a
//! step's code is a [`Guest`]: rows in, an answer or a [`Failure`] out, no memory between calls.

mod bindings;
mod cache;
mod call;
mod check;
mod code;
mod compile;
mod ctx;
mod describe;
mod engine;
mod error;
mod failure;
mod host;
mod limits;
mod memory;
mod prescan;
mod sandbox;
mod ticker;
mod wasi;
mod wire;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

pub use self::call::Image;
pub use self::compile::run_worker;
pub use self::error::{Check, Error};
pub use self::failure::{Code as FailureCode, Trap};
pub use self::host::log::Owner;
pub use self::host::metrics::{GuestMetrics, Metric};
pub use self::limits::{CallLimits, CompileLimits, ComponentLimits, Limits};
pub use self::sandbox::{Certificate, Sandbox, SandboxConfig};
pub use self::worker::WORKER_COMMAND;
use crate::record::{BatchRef, Column, ColumnRef, Headers};

/// The length in an [`Emitted`] column that stands for the source row's key or value.
pub const AS_SOURCE: i32 = -2;

/// A call of a guest.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<Called<T>, Failure>> + Send + 'a>>;

/// A step's code with its configuration, ready to be called any number of times, also at once.
///
/// # Contract
/// - Calls are independent: the same arguments give the same answer, whatever was called before.
/// - An answer has been checked: rows and outputs that it names exist, columns are consistent and within limits.
/// - A failed call had no effect at all but the fuel it is charged.
pub trait Guest: Send + Sync + fmt::Debug {
    /// What the plugin takes and gives.
    fn description(&self) -> &Description;

    /// Counters and gauges that the plugin has kept since it was loaded, by name. For people: nothing depends on them.
    fn metrics(&self) -> BTreeMap<String, Metric>;

    /// Rows in, rows out.
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer>;

    /// Folds rows into the accumulators of their groups.
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded>;

    /// Makes result rows of complete windows. Keys and values of the answer's rows may be [`AS_SOURCE`] only for keys.
    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer>;
}

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
    /// The answer.
    pub answer: T,
    /// Fuel that the call used.
    pub fuel: u64,
}

/// A step's answer to rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it emits.
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
    /// The rows.
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
    /// Their keys.
    pub keys: ColumnRef<'a>,
    /// First millisecond of each.
    pub starts: &'a [i64],
    /// First millisecond after each.
    pub ends: &'a [i64],
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
