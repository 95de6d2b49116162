//! The events that a match or a partial match has taken.

use super::plan::Stage;
use super::run::{Id, Run};
use crate::Map;

/// The events that a match or a partial match has taken, in order.
#[derive(Debug)]
pub struct Events<'m, E> {
    stages: &'m [Stage<E>],
    events: &'m Map<Id, E>,
    run: &'m Run,
}

impl<'m, E> Events<'m, E> {
    pub(super) fn new(stages: &'m [Stage<E>], events: &'m Map<Id, E>, run: &'m Run) -> Self {
        Self { stages, events, run }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.run.taken.len()
    }

    /// Whether there is none, as for the condition of a first stage.
    pub fn is_empty(&self) -> bool {
        self.run.taken.is_empty()
    }

    /// Each event with its stage's name and its time.
    pub fn iter(&self) -> impl Iterator<Item = (&'m str, i64, &'m E)> + use<'m, E> {
        let (stages, events) = (self.stages, self.events);
        self.run.taken.iter().filter_map(move |(id, stage)| {
            let stage = stages.get(usize::from(*stage))?;
            Some((stage.name.as_str(), id.0, events.get(id)?))
        })
    }

    /// The events of a stage with their times; none if it was left out or there is no such stage.
    pub fn of<'n>(&self, stage: &'n str) -> impl Iterator<Item = (i64, &'m E)> + use<'m, 'n, E> {
        self.iter().filter(move |(name, ..)| *name == stage).map(|(_, time, event)| (time, event))
    }

    /// The last event.
    pub fn last(&self) -> Option<&'m E> {
        self.events.get(&self.run.last()?)
    }

    /// The first event's time; 0 without any.
    pub fn start(&self) -> i64 {
        self.run.start().map_or(0, |(time, _)| time)
    }

    /// The last event's time; 0 without any.
    pub fn end(&self) -> i64 {
        self.run.last().map_or(0, |(time, _)| time)
    }
}
