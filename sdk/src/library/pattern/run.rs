//! What is kept for a key: events, and the partial matches that have taken some of them.

use std::ops::Bound;

use crate::library::Item;
use crate::{Accumulator, Map, State, Value};

/// What names an event of a key: its time, and its place among those of that time.
pub(super) type Id = (i64, u32);

/// A partial match, or one that is complete and waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Accumulator)]
pub(super) struct Run {
    /// The events that it has taken, each with its stage.
    pub(super) taken: Vec<(Id, u8)>,
    /// How many of them are of the last one's stage.
    pub(super) count: u32,
    /// The steps that are still open, as bits, in the order of its place's.
    pub(super) open: u32,
}

impl Run {
    /// Nothing has been taken.
    pub(super) const EMPTY: Self = Self { taken: Vec::new(), count: 0, open: 0 };

    /// The first event.
    pub(super) fn start(&self) -> Option<Id> {
        self.taken.first().map(|&(id, _)| id)
    }

    /// The last event.
    pub(super) fn last(&self) -> Option<Id> {
        self.taken.last().map(|&(id, _)| id)
    }

    /// The stage of the last event.
    pub(super) fn stage(&self) -> Option<u8> {
        self.taken.last().map(|&(_, stage)| stage)
    }

    /// This one with an event more.
    pub(super) fn with(&self, id: Id, stage: u8) -> Self {
        let mut taken = Vec::with_capacity(self.taken.len() + 1);
        taken.extend_from_slice(&self.taken);
        taken.push((id, stage));
        let count = if self.stage() == Some(stage) { self.count + 1 } else { 1 };
        Self { taken, count, open: 0 }
    }
}

/// What a [`Matcher`](super::Matcher) keeps for a key.
#[derive(Debug, State)]
pub struct Matching<E: Item> {
    /// Events that wait for the watermark, and those that partial matches have taken.
    pub(super) events: Map<Id, E>,
    pub(super) runs: Value<Vec<Run>>,
    /// Matches that wait for what began before them.
    pub(super) complete: Value<Vec<Run>>,
}

impl<E: Item> Default for Matching<E> {
    fn default() -> Self {
        Self { events: Map::new(), runs: Value::new(), complete: Value::new() }
    }
}

impl<E: Item> Matching<E> {
    /// How many events are kept.
    pub fn events(&self) -> usize {
        self.events.len()
    }

    /// How many partial matches there are.
    pub fn partial_matches(&self) -> usize {
        self.runs.get().map_or(0, Vec::len)
    }

    /// The time of the first event that waits for the watermark.
    ///
    /// What has been matched and is still there was taken, and nothing comes after the last one taken and before the
    /// watermark.
    pub(super) fn first_waiting(&self) -> Option<i64> {
        let runs = [&self.runs, &self.complete].into_iter().filter_map(Value::get).flatten();
        let last_taken = runs.filter_map(Run::last).max();
        let after = last_taken.map_or(Bound::Unbounded, Bound::Excluded);
        let mut waiting = self.events.range::<Id>((after, Bound::Unbounded));
        waiting.next().map(|(&(time, _), _)| time)
    }
}
