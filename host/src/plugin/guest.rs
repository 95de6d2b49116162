//! A step's code as the engine calls it: a [`Guest`] of one of three worlds, each with the functions of that world only.
//!
//! # Contract
//! - Calls are independent: the same arguments give the same answer, whatever was called before.
//! - An answer has been checked: rows and outputs that it names exist, columns are consistent and within limits.
//! - A failed call had no effect at all but the fuel it is charged.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Answer, Called, Closed, Contribution, Description, Done, Failure, Folded, Metric, Work};
use crate::record::{BatchRef, Column, ColumnRef};

/// A call of a guest.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = Result<Called<T>, Failure>> + Send + 'a>>;

/// A step's code with its configuration, ready to be called any number of times, also at once.
#[derive(Debug, Clone)]
pub enum Guest {
    /// Rows in, rows out.
    Transform(Arc<dyn Transformer>),
    /// Folds rows into windows.
    Aggregate(Arc<dyn Aggregator>),
    /// State and timers of its own for each key.
    Process(Arc<dyn Processor>),
}

impl Guest {
    /// The guest as what it has in common with those of other worlds.
    pub fn plugin(&self) -> Arc<dyn Plugin> {
        match self {
            Self::Transform(guest) => Arc::clone(guest) as Arc<dyn Plugin>,
            Self::Aggregate(guest) => Arc::clone(guest) as Arc<dyn Plugin>,
            Self::Process(guest) => Arc::clone(guest) as Arc<dyn Plugin>,
        }
    }
}

/// What guests of all worlds have.
pub trait Plugin: Send + Sync + fmt::Debug {
    /// What the plugin takes and gives.
    fn description(&self) -> &Description;

    /// Counters and gauges that the plugin has kept since it was loaded, by name. For people: nothing depends on them.
    fn metrics(&self) -> BTreeMap<String, Metric> {
        BTreeMap::new()
    }
}

/// A guest of the world `transform`.
pub trait Transformer: Plugin {
    /// Rows in, rows out.
    fn transform<'a>(&'a self, rows: BatchRef<'a>) -> Call<'a, Answer>;
}

/// A guest with state, which another version may have written.
pub trait Stateful: Plugin {
    /// How state of another version becomes this one's before it reads it; none if it reads such state as it is.
    fn migrator(&self) -> Option<&dyn Migrator> {
        None
    }
}

/// A guest that takes over the state of other versions.
pub trait Migrator: Send + Sync {
    /// Turns state values or accumulators that the version `from` wrote into this version's; null drops one. The outer
    /// result is the call's, the inner one the guest's: an error is its reason to refuse.
    fn migrate<'a>(&'a self, from: &'a str, state: ColumnRef<'a>) -> Call<'a, Result<Column, String>>;
}

/// A guest of the world `aggregate`.
pub trait Aggregator: Stateful {
    /// Folds rows into the accumulators of their groups.
    fn add<'a>(&'a self, rows: Contribution<'a>) -> Call<'a, Folded>;

    /// Merges accumulators of the same key, pair by pair; those of `left` are the earlier. None is null.
    fn merge<'a>(&'a self, left: ColumnRef<'a>, right: ColumnRef<'a>) -> Call<'a, Column>;

    /// Makes result rows of complete windows. Keys and values of the answer's rows may be
    /// [`AS_SOURCE`](super::AS_SOURCE) only for keys.
    fn finish<'a>(&'a self, windows: Closed<'a>) -> Call<'a, Answer>;
}

/// A guest of the world `process`.
pub trait Processor: Stateful {
    /// Processes rows and due timers of many keys.
    fn process<'a>(&'a self, work: Work<'a>) -> Call<'a, Done>;

    /// Whether state of keys may go on in pages, so that calls of `process` need tables that nobody granted.
    fn has_pages(&self) -> bool {
        false
    }
}
