//! The state of a keyed step, by its kind.

use super::plan::Keyed;
use crate::record::Column;
use crate::state::panes::PaneValues;
use crate::state::{Keyed as KeyedState, Panes, Room, SomeValues, Store, WindowValues, Windows};

/// The state of one keyed step.
#[derive(Debug)]
pub(super) enum Held {
    /// Windows of a fixed grid that give one result each.
    Windows(Windows),
    /// Values, timers and tables of keys.
    Keyed(Box<KeyedState>),
    /// Windows of all other kinds.
    Panes(Box<Panes>),
}

impl Held {
    /// No state, of the kind that a step needs.
    pub(super) fn new(keyed: &Keyed, room: &Room) -> Self {
        match keyed {
            Keyed::Fold(fold) => match fold.windowing.plain_tumbling() {
                Some(tumbling) => Self::Windows(Windows::new(tumbling)),
                None => Self::Panes(Box::new(Panes::new(fold.windowing.clone()))),
            },
            Keyed::Process(_) => Self::Keyed(Box::new(KeyedState::new(room.disks.clone()))),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        match self {
            Self::Windows(windows) => windows,
            Self::Keyed(keyed) => &**keyed,
            Self::Panes(panes) => &**panes,
        }
    }

    pub(super) fn store_mut(&mut self) -> &mut dyn Store {
        match self {
            Self::Windows(windows) => windows,
            Self::Keyed(keyed) => &mut **keyed,
            Self::Panes(panes) => &mut **panes,
        }
    }

    /// The next values that plugins wrote, as many as a call should have, from that place on; (0, 0) is the first.
    pub(super) fn values_from(&self, place: (usize, u32)) -> Option<Values> {
        match self {
            Self::Windows(windows) => windows.values_from(place).map(Values::Windows),
            Self::Keyed(keyed) => keyed.values_from(place.1).map(Values::Keyed),
            Self::Panes(panes) => panes.values_from(place.1).map(Values::Panes),
        }
    }

    /// Replaces values that were given, by as many; null drops one.
    pub(super) fn replace_values(&mut self, values: &Values, column: &Column) {
        match (self, values) {
            (Self::Windows(windows), Values::Windows(values)) => windows.replace_values(values, column),
            (Self::Keyed(keyed), Values::Keyed(values)) => keyed.replace_values(&values.slots, column),
            (Self::Panes(panes), Values::Panes(values)) => panes.replace_values(values, column),
            _ => {}
        }
    }
}

/// Some values of a step's state.
#[derive(Debug)]
pub(super) enum Values {
    Windows(WindowValues),
    Keyed(SomeValues),
    Panes(PaneValues),
}

impl Values {
    /// The values, none of them null.
    pub(super) fn column(&self) -> &Column {
        match self {
            Self::Windows(values) => &values.column,
            Self::Keyed(values) => &values.column,
            Self::Panes(values) => &values.column,
        }
    }

    /// The place at which those after begin.
    pub(super) fn next(&self) -> (usize, u32) {
        match self {
            Self::Windows(values) => values.next,
            Self::Keyed(values) => (0, values.next),
            Self::Panes(values) => (0, values.next),
        }
    }
}
