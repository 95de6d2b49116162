//! The state of a keyed step, by its kind, with the step that it is of: so no state meets a step of another kind.

use std::sync::Arc;

use super::plan::{Fold, Keyed, Process};
use crate::record::Column;
use crate::state::keyed_windows::KeyedWindowValues;
use crate::state::{Keyed as KeyedState, KeyedWindows, Room, SomeValues, Store, WindowValues, Windows};

/// Most bytes of state of one pipeline that are in memory. Values and tables of keys go to disk long before it; windows,
/// timers and reference tables stay.
pub(in crate::pipeline) const STATE_BYTES_MAX: u64 = 2 << 30;
/// Most bytes of state of one pipeline that are on disk: a quarter of an hour of reading back, after a crash.
pub(in crate::pipeline) const STATE_DISK_BYTES_MAX: u64 = 64 << 30;

/// The state of one keyed step.
#[derive(Debug)]
pub(in crate::pipeline) enum StepState {
    /// Windows of a fixed grid that give one result each.
    Windows(Arc<Fold>, Windows),
    /// Values, timers and tables of keys.
    Keyed(Arc<Process>, Box<KeyedState>),
    /// Windows of all other kinds.
    KeyedWindows(Arc<Fold>, Box<KeyedWindows>),
}

impl StepState {
    /// No state, of the kind that a step needs.
    pub(in crate::pipeline) fn new(keyed: &Keyed, room: &Room) -> Self {
        match keyed {
            Keyed::Fold(fold) => match fold.windowing.plain_tumbling() {
                Some(tumbling) => Self::Windows(Arc::clone(fold), Windows::new(tumbling)),
                None => {
                    let windows = KeyedWindows::new(fold.windowing.clone());
                    Self::KeyedWindows(Arc::clone(fold), Box::new(windows))
                }
            },
            Keyed::Process(process) => Self::Keyed(Arc::clone(process), Box::new(KeyedState::new(room.disks.clone()))),
        }
    }

    /// The same state as that of a step of another plan; none if it is of another kind.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn rebind(self, keyed: &Keyed) -> Option<Self> {
        match (self, keyed) {
            (Self::Windows(_, windows), Keyed::Fold(fold)) => Some(Self::Windows(Arc::clone(fold), windows)),
            (Self::KeyedWindows(_, windows), Keyed::Fold(fold)) => Some(Self::KeyedWindows(Arc::clone(fold), windows)),
            (Self::Keyed(_, state), Keyed::Process(process)) => Some(Self::Keyed(Arc::clone(process), state)),
            _ => None,
        }
    }

    pub(in crate::pipeline) fn store(&self) -> &dyn Store {
        match self {
            Self::Windows(_, windows) => windows,
            Self::Keyed(_, keyed) => &**keyed,
            Self::KeyedWindows(_, keyed_windows) => &**keyed_windows,
        }
    }

    pub(in crate::pipeline) fn store_mut(&mut self) -> &mut dyn Store {
        match self {
            Self::Windows(_, windows) => windows,
            Self::Keyed(_, keyed) => &mut **keyed,
            Self::KeyedWindows(_, keyed_windows) => &mut **keyed_windows,
        }
    }

    /// The next values that plugins wrote, as many as a call should have, from that place on; (0, 0) is the first.
    pub(in crate::pipeline) fn values_from(&self, place: (usize, u32)) -> Option<Values> {
        match self {
            Self::Windows(_, windows) => windows.values_from(place).map(Values::Windows),
            Self::Keyed(_, keyed) => keyed.values_from(place.1).map(Values::Keyed),
            Self::KeyedWindows(_, keyed_windows) => keyed_windows.values_from(place.1).map(Values::KeyedWindows),
        }
    }

    /// Replaces values that were given, by as many; null drops one.
    pub(in crate::pipeline) fn replace_values(&mut self, values: &Values, column: &Column) {
        match (self, values) {
            (Self::Windows(_, windows), Values::Windows(values)) => windows.replace_values(values, column),
            (Self::Keyed(_, keyed), Values::Keyed(values)) => keyed.replace_values(&values.slots, column),
            (Self::KeyedWindows(_, keyed_windows), Values::KeyedWindows(values)) => {
                keyed_windows.replace_values(values, column)
            }
            _ => {}
        }
    }
}

/// Some values of a step's state.
#[derive(Debug)]
pub(in crate::pipeline) enum Values {
    Windows(WindowValues),
    Keyed(SomeValues),
    KeyedWindows(KeyedWindowValues),
}

impl Values {
    /// The values, none of them null.
    pub(in crate::pipeline) fn column(&self) -> &Column {
        match self {
            Self::Windows(values) => &values.column,
            Self::Keyed(values) => &values.column,
            Self::KeyedWindows(values) => &values.column,
        }
    }

    /// The place at which those after begin.
    pub(in crate::pipeline) fn next(&self) -> (usize, u32) {
        match self {
            Self::Windows(values) => values.next,
            Self::Keyed(values) => (0, values.next),
            Self::KeyedWindows(values) => (0, values.next),
        }
    }
}
