//! No commit grows with the state: what rows of a micro-batch would set off is bounded before they are applied.
//!
//! What is due by the watermark at a row's place is done before the row, in the same commit. So if time jumps over very
//! many windows or timers, the rows behind the jump wait until those have fired, over as many commits without rows as that
//! takes. They are put back: results do not depend on where a micro-batch is cut, so nothing else changes.
//!
//! What is not bounded: what rows of the micro-batch themselves open and bring to its end, and a jump between two rows that
//! a transform makes of one record, for a record is not divided.

use super::step_state::StepState;
use crate::plugin::Domain;
use crate::state::{Now, Store as _};

/// Rows of a micro-batch while a step has timers that go on. What is set and due between rows of one micro-batch cannot wait
/// for another commit: so few rows set off what has room in one.
const WIDE_ROWS: usize = 1 << 10;

/// The event time by which, at some step, more than `most` windows or keys are due, as many as may be when rows come; the least
/// time if the clock says so.
pub(in crate::pipeline) fn backlog(states: &[StepState], now: Now, most: usize) -> Option<i64> {
    states.iter().filter_map(|state| state.backlog(now, most)).min()
}

/// How many rows of a micro-batch may come: few, if a step has timers that go on.
pub(in crate::pipeline) fn rows_max(states: &[StepState]) -> usize {
    let wide = |state: &StepState| matches!(state, StepState::Keyed(_, keyed) if keyed.pace.wide);
    if states.iter().any(wide) { WIDE_ROWS } else { usize::MAX }
}

impl StepState {
    /// See [`backlog`].
    fn backlog(&self, now: Now, most: usize) -> Option<i64> {
        match self {
            Self::Windows(..) => None,
            Self::KeyedWindows(_, keyed_windows) => keyed_windows.backlog(now.watermark, most),
            Self::Keyed(_, keyed) if keyed.is_due(now) => keyed_backlog(keyed, now, most),
            Self::Keyed(..) => None,
        }
    }
}

/// The event time by which more keys than that are due; the least time if the clock says so.
fn keyed_backlog(keyed: &crate::state::Keyed, now: Now, most: usize) -> Option<i64> {
    let backlog = |domain, until, most| if keyed.len() > most { keyed.backlog(domain, until, most) } else { None };
    if backlog(Domain::Processing, now.clock, most).is_some() {
        return Some(i64::MIN);
    }
    // What one commit left of a timer comes before any row, in commits of its own.
    let most = if keyed.pace.caught_up && !keyed.pace.wide { most } else { 0 };
    backlog(Domain::Event, now.watermark.time()?, most)
}
