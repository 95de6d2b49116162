//! The state of a keyed step, by its kind.

use super::plan::Keyed;
use crate::state::{Keyed as KeyedState, Store, Windows};
use crate::time::Tumbling;

/// The state of one keyed step.
#[derive(Debug)]
pub(super) enum Held {
    /// Windows of a fixed grid that give one result each.
    Windows(Windows),
    /// Values, timers and tables of keys.
    Keyed(KeyedState),
}

impl Held {
    /// No state, of the kind that a step needs.
    pub(super) fn new(keyed: &Keyed) -> Self {
        match keyed {
            Keyed::Fold(fold) => {
                let tumbling = fold.windowing.plain_tumbling();
                Self::Windows(Windows::new(tumbling.unwrap_or_else(|| Tumbling::new(1, 0).expect("above zero"))))
            }
            Keyed::Process(_) => Self::Keyed(KeyedState::new()),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        match self {
            Self::Windows(windows) => windows,
            Self::Keyed(keyed) => keyed,
        }
    }

    pub(super) fn store_mut(&mut self) -> &mut dyn Store {
        match self {
            Self::Windows(windows) => windows,
            Self::Keyed(keyed) => keyed,
        }
    }
}
