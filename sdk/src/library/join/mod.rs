//! Joins: rows of two inputs that belong together.
//!
//! | | rows belong together if | result | keeps |
//! |---|---|---|---|
//! | [`IntervalJoin`] | the time between them is within bounds | at once, when the second one comes | rows that may yet find a partner |
//! | [`WindowJoin`] | they are in the same window | when the window is complete | the rows of open windows |
//! | [`LatestJoin`] | the table's row is the newest that has come | at once | one table row a key |
//! | [`AsOfJoin`] | the table's row is the newest that is not after the stream's | when the watermark passes the stream's row | the versions and the rows that wait |
//!
//! Both inputs have the same key: re-key the streams before the join. The watermark is the lowest of all inputs, so none
//! of them makes rows of another one late. The input that a row came from is [`Context::input`](crate::Context::input).
//!
//! # What a row that is kept costs
//!
//! Rows are kept in the key's state, 8 bytes and the row itself each (and 4 for the length of a text). While these are few,
//! the state is read and written with every call in which the key has a row or a timer: measured natively, rows of 100
//! bytes, one new row a call, 10 kept rows cost 1.1 µs and 100 kept rows 4.7 µs. A side of more than 16 KiB goes on in
//! pages by itself ([`state`](crate::state#size)), and a row then costs what it finds. Still, what is kept has to be
//! somewhere: project rows before they are joined, take bounds no wider than needed, and re-key by something finer.

mod as_of;
mod interval;
mod latest;
mod window;

pub use super::arrival::Arrival;
pub use as_of::{AsOfJoin, Versions};
pub use interval::{IntervalJoin, IntervalRows};
pub use latest::{Latest, LatestJoin};
pub use window::{WindowJoin, WindowRows};

use crate::config;

/// Which rows without a partner are in the result.
#[config]
#[derive(Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// None.
    #[default]
    Inner,
    /// Those of the left side.
    Left,
    /// Those of the right side.
    Right,
    /// Those of both sides.
    Full,
}

impl Kind {
    /// Whether rows of the left side are in the result without a partner.
    pub fn keeps_left(self) -> bool {
        matches!(self, Self::Left | Self::Full)
    }

    /// Whether rows of the right side are in the result without a partner.
    pub fn keeps_right(self) -> bool {
        matches!(self, Self::Right | Self::Full)
    }
}

/// A result: two rows that belong together, or one that has no partner.
#[derive(Debug, PartialEq, Eq)]
pub struct Joined<'a, L, R> {
    /// The row of the left side.
    pub left: Option<&'a L>,
    /// The row of the right side.
    pub right: Option<&'a R>,
    /// The event time of the result.
    pub time: i64,
}

impl<L, R> Clone for Joined<'_, L, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<L, R> Copy for Joined<'_, L, R> {}

impl<L, R> Joined<'_, L, R> {
    /// Whether it is two rows.
    pub fn is_pair(&self) -> bool {
        self.left.is_some() && self.right.is_some()
    }
}

#[cfg(test)]
mod tests;
