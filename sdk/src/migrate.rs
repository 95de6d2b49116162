//! State that another version of a plugin wrote.
//!
//! A plugin whose state changes its shape implements [`Migrate`] and says so: `#[process(migrate)]` or
//! `#[aggregate(migrate)]`. Without, the host hands over state as it is: it does not know what is in it. What cannot be
//! read fails the rows of its key; what another layout wrote and can be read by chance is taken for what it seems to be.
//!
//! ```
//! use millstream_sdk::prelude::*;
//! use millstream_sdk::Migrate;
//!
//! #[derive(Debug, Default, Clone, Accumulator)]
//! struct Sum {
//!     count: u64,
//!     sum: f64,
//! }
//!
//! #[derive(Debug)]
//! struct Sums;
//!
//! /// Sums up numbers.
//! #[aggregate(migrate)]
//! impl Aggregate for Sums {
//!     type Config = NoConfig;
//!     type Input<'a> = Json<f64>;
//!     type Accumulator = Sum;
//!     type Output = String;
//!
//!     fn new(_: NoConfig) -> Result<Self> {
//!         Ok(Sums)
//!     }
//!
//!     fn add(&self, sum: &mut Sum, Json(number): Json<f64>) -> Result<()> {
//!         *sum = Sum { count: sum.count + 1, sum: sum.sum + number };
//!         Ok(())
//!     }
//!
//!     fn merge(&self, earlier: &mut Sum, later: Sum) {
//!         *earlier = Sum { count: earlier.count + later.count, sum: earlier.sum + later.sum };
//!     }
//!
//!     fn finish(&self, _: &Window<'_>, sum: &Sum) -> Result<String> {
//!         Ok(format!("{} in {}", sum.sum, sum.count))
//!     }
//! }
//!
//! impl Migrate for Sums {
//!     /// Version 1 did not count.
//!     type Old = f64;
//!     type New = Sum;
//!
//!     fn migrate(&self, _written_by: &str, sum: f64) -> Result<Option<Sum>> {
//!         Ok(Some(Sum { count: 0, sum }))
//!     }
//! }
//! ```

use crate::accumulator::Accumulator;
use crate::aggregate::Aggregate;
use crate::columns::{Cell, Column};
use crate::error::{Error, Result};
use crate::process::{Domain, Process};
use crate::state::{Kept, Now, Reader, State, Writer, decode_kept, encode_whole};

/// A plugin that takes over state that another version wrote.
pub trait Migrate {
    /// What the other version kept: for a [`Process`] a [`State`], for an [`Aggregate`] an [`Accumulator`]. [`Raw`] is
    /// both, where versions differ or the other one was not written with this SDK.
    type Old;
    /// What this version keeps, or [`Raw`].
    type New;

    /// Turns what was kept for a key into what this version keeps; none drops it. `written_by` is the digest of the version
    /// that wrote it. An error refuses the upgrade with its reason.
    fn migrate(&self, written_by: &str, old: Self::Old) -> Result<Option<Self::New>>;
}

/// State as bytes, whatever they mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Raw(pub Vec<u8>);

impl Accumulator for Raw {
    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.0);
    }
    fn decode(from: &mut &[u8]) -> Option<Self> {
        Some(Self(std::mem::take(from).to_vec()))
    }
}

impl State for Raw {
    const RAW: bool = true;

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    fn encode(&mut self, writer: &mut Writer<'_>) {
        Accumulator::encode(self, writer.into);
    }
    fn decode(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        *self = Accumulator::decode(&mut reader.from)?;
        Some(())
    }
    fn begin(&mut self, _: &Now) {}
    fn undo(&mut self) {}
    fn written(&self, _: Domain) -> Option<i64> {
        None
    }
    fn lives(&self, _: Domain) -> bool {
        false
    }
    fn earliest(&self, _: Domain) -> Option<i64> {
        None
    }
}

/// Turns state of another version into this one's, in columns.
pub(crate) fn states<P>(plugin: &P, written_by: &str, old: &Column) -> Result<Column, String>
where
    P: Process + Migrate<Old: State, New: State>,
{
    each(old, |bytes, into| {
        let old = decode_kept(P::Old::default(), 0, bytes).map_err(|message| Error::new("state", message))?;
        if old.paged {
            let reason = "the state of a key is so large that it goes on in pages, which `migrate` cannot read: let the new \
                          version read what the old one wrote, or keep it under other parts";
            return Err(Error::new("state-in-pages", reason));
        }
        let Some(state) = plugin.migrate(written_by, old.state)? else { return Ok(false) };
        if state.is_empty() {
            return Ok(false);
        }
        // Timers are as they were: one that finds nothing to clean up does nothing. What is too large for the column goes
        // on in pages with the first call that has the key.
        encode_whole(&mut Kept { state, clean_up: old.clean_up, paged: false }, into);
        Ok(true)
    })
}

/// Turns accumulators of another version into this one's, in columns.
pub(crate) fn accumulators<P>(plugin: &P, written_by: &str, old: &Column) -> Result<Column, String>
where
    P: Aggregate + Migrate<Old: Accumulator, New: Accumulator>,
{
    each(old, |mut bytes, into| {
        let size = bytes.len();
        let old = P::Old::decode(&mut bytes).filter(|_| bytes.is_empty()).ok_or_else(|| {
            let wanted = std::any::type_name::<P::Old>();
            Error::new("accumulator", format_args!("an accumulator of {size} bytes is no `{wanted}`"))
        })?;
        let new = plugin.migrate(written_by, old)?;
        new.iter().for_each(|new| new.encode(into));
        Ok(new.is_some())
    })
}

fn each(old: &Column, mut turn: impl FnMut(&[u8], &mut Vec<u8>) -> Result<bool>) -> Result<Column, String> {
    let mut new = Column::with_capacity(old.len(), old.bytes.len());
    let mut bytes = Vec::new();
    for cell in old.cells() {
        bytes.clear();
        let stays = match cell {
            Cell::Bytes(old) => turn(old, &mut bytes).map_err(|error| error.to_string())?,
            Cell::Null | Cell::Same => false,
        };
        new.push(stays.then_some(bytes.as_slice()));
    }
    Ok(new)
}
