//! The state of a keyed step, by its kind.

use super::plan::Keyed;
use crate::state::{Keyed as KeyedState, Panes, Store, Windows};

/// The state of one keyed step.
#[derive(Debug)]
pub(super) enum Held {
    /// Windows of a fixed grid that give one result each.
    Windows(Windows),
    /// Values, timers and tables of keys.
    Keyed(KeyedState),
    /// Windows of all other kinds.
    Panes(Box<Panes>),
}

impl Held {
    /// No state, of the kind that a step needs.
    pub(super) fn new(keyed: &Keyed) -> Self {
        match keyed {
            Keyed::Fold(fold) => match fold.windowing.plain_tumbling() {
                Some(tumbling) => Self::Windows(Windows::new(tumbling)),
                None => Self::Panes(Box::new(Panes::new(fold.windowing.clone()))),
            },
            Keyed::Process(_) => Self::Keyed(KeyedState::new()),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        match self {
            Self::Windows(windows) => windows,
            Self::Keyed(keyed) => keyed,
            Self::Panes(panes) => &**panes,
        }
    }

    pub(super) fn store_mut(&mut self) -> &mut dyn Store {
        match self {
            Self::Windows(windows) => windows,
            Self::Keyed(keyed) => keyed,
            Self::Panes(panes) => &mut **panes,
        }
    }
}
