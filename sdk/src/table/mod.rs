//! State of a key that is too large for one value: tables of entries in the order of their keys.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! /// The rows of a sensor by their event time.
//! const READINGS: Table<i64, f64> = Table::new(0);
//!
//! #[derive(Debug)]
//! struct Mean;
//!
//! /// Gives the mean of the minute before each reading.
//! #[process]
//! impl Process for Mean {
//!     type Config = NoConfig;
//!     type Input<'a> = Json<f64>;
//!     type State = ();
//!
//!     fn new(_: NoConfig) -> Result<Self> {
//!         Ok(Mean)
//!     }
//!
//!     fn on_row(&self, ctx: &mut Context<'_>, _: &mut (), Json(reading): Json<f64>) -> Result<()> {
//!         let now = ctx.time();
//!         READINGS.put(ctx, &now, &reading);
//!         READINGS.delete_range(ctx, ..now - 60_000);
//!         let minute = READINGS.range(ctx, now - 60_000..=now, usize::MAX)?;
//!         let sum: f64 = minute.iter().map(|(_, reading)| reading).sum();
//!         ctx.emit(Json(sum / minute.len() as f64))
//!     }
//! }
//!
//! let mut run = testing::keyed(&Mean);
//! run.row(testing::Input::value("1").at(0));
//! run.row(testing::Input::value("3").at(60_000));
//! run.row(testing::Input::value("5").at(120_000));
//! assert_eq!(run.end().values(), ["1.0", "2.0", "4.0"]);
//! ```
//!
//! What is written is kept in the guest until the call ends, and a row that is rejected takes its writes with it. The
//! pipeline must grant tables to the plugin.

mod key;
mod pending;

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

pub use key::TableKey;
pub(crate) use pending::Pending;

use crate::accumulator::Accumulator;
use crate::error::Result;
use crate::process::Context;

/// A table of the plugin. Each key of the stream has entries of its own in it, which no other key sees.
///
/// It is a name and holds nothing: make it a constant.
pub struct Table<K, V> {
    number: u32,
    types: PhantomData<fn(K) -> V>,
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Table").field(&self.number).finish()
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Table<K, V> {}

impl<K, V> Table<K, V> {
    /// The plugin's table of that number, counted from 0.
    pub const fn new(number: u32) -> Self {
        Self { number, types: PhantomData }
    }
}

impl<K: TableKey, V: Accumulator> Table<K, V> {
    /// The value of a key.
    ///
    /// # Errors
    /// The host refuses, with the code `table`; so in all functions that read.
    pub fn get(&self, ctx: &mut Context<'_>, key: &K) -> Result<Option<V>> {
        Ok(self.get_many(ctx, std::slice::from_ref(key))?.pop().flatten())
    }

    /// The values of many keys, in their order, with one call of the host.
    pub fn get_many(&self, ctx: &mut Context<'_>, keys: &[K]) -> Result<Vec<Option<V>>> {
        let keys: Vec<Vec<u8>> = keys.iter().map(key_bytes).collect();
        let values = ctx.tables().get(self.number, &keys)?;
        Ok(values.iter().map(|value| value.as_deref().map(|bytes| self.value(bytes))).collect())
    }

    /// Sets the value of a key.
    pub fn put(&self, ctx: &mut Context<'_>, key: &K, value: &V) {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        ctx.tables().put(self.number, key_bytes(key), Some(bytes));
    }

    /// Sets the values of many keys.
    pub fn put_many<'e>(&self, ctx: &mut Context<'_>, entries: impl IntoIterator<Item = (&'e K, &'e V)>)
    where
        K: 'e,
        V: 'e,
    {
        entries.into_iter().for_each(|(key, value)| self.put(ctx, key, value));
    }

    /// Deletes a key.
    pub fn delete(&self, ctx: &mut Context<'_>, key: &K) {
        ctx.tables().put(self.number, key_bytes(key), None);
    }

    /// Deletes the keys in the bounds.
    pub fn delete_range(&self, ctx: &mut Context<'_>, bounds: impl RangeBounds<K>) {
        let (start, end) = byte_bounds(&bounds);
        ctx.tables().delete_range(self.number, start, end);
    }

    /// The entries whose keys are in the bounds, the smallest first, `limit` of them at most.
    pub fn range(&self, ctx: &mut Context<'_>, bounds: impl RangeBounds<K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.read_range(ctx, &bounds, limit, false)
    }

    /// The entries whose keys are in the bounds, the greatest first, `limit` of them at most.
    pub fn range_backwards(
        &self,
        ctx: &mut Context<'_>,
        bounds: impl RangeBounds<K>,
        limit: usize,
    ) -> Result<Vec<(K, V)>> {
        self.read_range(ctx, &bounds, limit, true)
    }

    fn read_range(
        &self,
        ctx: &mut Context<'_>,
        bounds: &impl RangeBounds<K>,
        limit: usize,
        backwards: bool,
    ) -> Result<Vec<(K, V)>> {
        let (start, end) = byte_bounds(bounds);
        let entries = ctx.tables().range(self.number, start, end, limit, backwards)?;
        Ok(entries.iter().map(|(key, value)| (self.key(key), self.value(value))).collect())
    }

    fn key(&self, mut bytes: &[u8]) -> K {
        let size = bytes.len();
        match K::decode(&mut bytes) {
            Some(key) if bytes.is_empty() => key,
            _ => self.unreadable(size, "key", std::any::type_name::<K>()),
        }
    }

    fn value(&self, mut bytes: &[u8]) -> V {
        let size = bytes.len();
        match V::decode(&mut bytes) {
            Some(value) if bytes.is_empty() => value,
            _ => self.unreadable(size, "value", std::any::type_name::<V>()),
        }
    }

    /// As with state: no row is to blame, so the call fails.
    #[cold]
    fn unreadable(&self, size: usize, what: &str, wanted: &str) -> ! {
        panic!("a {what} of {size} bytes in table {} is no `{wanted}`: another version wrote it", self.number)
    }
}

fn key_bytes(key: &impl TableKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    bytes
}

/// The bounds over the bytes: from the first one (inclusive) to the last one (exclusive; none for no end).
///
/// No key's bytes begin with another one's, so the bytes with a zero behind them are between a key and the next.
fn byte_bounds<K: TableKey>(bounds: &impl RangeBounds<K>) -> (Vec<u8>, Option<Vec<u8>>) {
    let after = |key: &K| {
        let mut bytes = key_bytes(key);
        bytes.push(0);
        bytes
    };
    let start = match bounds.start_bound() {
        Bound::Included(first) => key_bytes(first),
        Bound::Excluded(before) => after(before),
        Bound::Unbounded => Vec::new(),
    };
    let end = match bounds.end_bound() {
        Bound::Included(last) => Some(after(last)),
        Bound::Excluded(end) => Some(key_bytes(end)),
        Bound::Unbounded => None,
    };
    (start, end)
}
