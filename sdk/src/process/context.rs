//! What a plugin sees and does while a row or timer of a key is processed.

use std::borrow::Cow;

use super::queue::Op;
use super::timer::Timers;
use crate::answer::{Answer, Out};
use crate::error::Result;
use crate::lookup::{self, Lookup};
use crate::output::IntoRows;
use crate::state::Now;
use crate::table::Pending;

/// The key and the place at which a row or timer is processed, and all that can be done there but to change the state.
#[derive(Debug)]
pub struct Context<'a> {
    pub(super) answer: Answer<'a>,
    pub(super) tables: Pending,
    pub(super) ops: Vec<Op>,
    pub(super) place: CurrentRow<'a>,
}

/// Where a callback stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct CurrentRow<'a> {
    /// The number of the row or timer, by which the host knows where rows come from.
    pub(super) source: u32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) input: u16,
    pub(super) time: i64,
    /// Whether it is a row.
    pub(super) row: bool,
    pub(super) now: Now,
}

impl<'a> Context<'a> {
    /// The key; none for null.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.place.key
    }

    /// The key as text, with � for what is not UTF-8; none for null.
    pub fn key_text(&self) -> Option<Cow<'a, str>> {
        self.place.key.map(String::from_utf8_lossy)
    }

    /// The event time of the row, or the time of the timer.
    pub fn time(&self) -> i64 {
        self.place.time
    }

    /// The input by which the row came: the place of its topic among the pipeline's sources. 0 for timers.
    pub fn input(&self) -> u16 {
        self.place.input
    }

    /// The watermark at this place: no row at or below it is to be expected. None where nothing is known yet.
    ///
    /// For an event-time timer it is the time at which the timer fell due, whatever the watermark has become since: that
    /// can depend on other keys. For a processing-time timer there is none.
    pub fn watermark(&self) -> Option<i64> {
        self.place.now.watermark
    }

    /// Whether the row's event time is not above the watermark. Timers are never late.
    pub fn is_late(&self) -> bool {
        self.place.row && self.watermark().is_some_and(|watermark| self.place.time <= watermark)
    }

    /// The host's clock, in milliseconds since the Unix epoch: the same for all that is processed together.
    pub fn processing_time(&self) -> i64 {
        self.place.now.processing_time
    }

    /// Emits rows: a [`Row`](crate::Row), text, `Json<T>`, an `Option` or a `Vec` of them, ..
    pub fn emit(&mut self, rows: impl IntoRows) -> Result<()> {
        rows.emit(&mut self.out())
    }

    /// Where rows go, to write them cell by cell.
    pub fn out(&mut self) -> Out<'_, 'a> {
        self.answer.out(self.place.source)
    }

    /// Sets and deletes timers of the key.
    pub fn timers(&mut self) -> Timers<'_> {
        Timers { ops: &mut self.ops }
    }

    /// The reference table of that name.
    pub fn lookup<'n>(&self, name: &'n str) -> Lookup<'n> {
        lookup::table(name)
    }

    pub(crate) fn tables(&mut self) -> &mut Pending {
        &mut self.tables
    }
}
