//! No commit grows with the state: what rows of a micro-batch would set off is bounded before they are applied.
//!
//! What is due by the watermark at a row's place comes before the row, in the same commit. So if time jumps over very many
//! windows or timers, the rows behind the jump have to wait until those have fired, over as many commits without rows as it
//! takes. Where that is the micro-batch is cut: cuts cannot be seen in results, so nothing else changes.
//!
//! What is not bounded: what rows of the micro-batch themselves open and bring to its end, and a jump between two rows that
//! a transform makes of one record, for a record is not divided.

use super::held::Held;
use super::place::Placed;
use super::steps::Arrival;
use crate::plugin::Domain;
use crate::state::{Now, Store as _};
use crate::time::Watermark;

/// Windows or keys of one step that may be due when rows come. As many as fire in a commit when nothing comes; in tests
/// few, so that whatever is tested is tested with such cuts.
pub(super) const CROWD_MAX: usize = if cfg!(test) { 8 } else { super::flow::CLOSING_GROUPS_MAX };

/// How much of a micro-batch comes before a crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// So many of its inputs whole,
    pub(super) inputs: usize,
    /// and so many records of the next one.
    pub(super) records: usize,
}

impl Cut {
    const NOTHING: Self = Self { inputs: 0, records: 0 };
}

/// The event time by which, at some step, more is due than may be when rows come; the least time if the clock says so.
pub(super) fn crowd(held: &[Held], now: Now) -> Option<i64> {
    held.iter().filter_map(|held| held.crowd(now, CROWD_MAX)).min()
}

/// Rows of an input, the records of what they come from where those are not the records themselves, and their places.
type Rows<'a> = (Arrival<'a>, Option<&'a [u32]>, Placed);

/// Where rows have to wait, if some have. `before` is what is known before the first of them.
pub(super) fn cut(held: &[Held], before: Now, rows: &[Rows<'_>]) -> Option<Cut> {
    let until = rows.iter().filter_map(|(.., placed)| placed.view().known.last()).copied().max()?;
    let crowd = crowd(held, Now { watermark: before.watermark.max(Watermark::At(until)), ..before })?;
    if crowd == i64::MIN || before.watermark.covers(crowd) {
        return Some(Cut::NOTHING);
    }
    let behind = |(.., placed): &Rows<'_>| placed.view().known.iter().position(|&known| known >= crowd);
    let (inputs, row) = (0..).zip(rows).find_map(|(inputs, rows)| Some((inputs, behind(rows)?)))?;
    let (arrival, through, _) = &rows[inputs];
    let origin = arrival.origins.of(row as u32);
    let record = through.map_or(origin, |records| records[origin as usize]);
    let cut = Cut { inputs, records: record as usize };
    (cut != Cut::NOTHING).then_some(cut)
}

impl Held {
    /// See [`crowd`].
    fn crowd(&self, now: Now, most: usize) -> Option<i64> {
        match self {
            Self::Windows(_) => None,
            Self::Panes(panes) => panes.crowd(now.watermark, most),
            Self::Keyed(keyed) if keyed.len() > most && keyed.is_due(now) => keyed_crowd(keyed, now, most),
            Self::Keyed(_) => None,
        }
    }
}

/// The event time by which more keys than that are due; the least time if the clock says so.
fn keyed_crowd(keyed: &crate::state::Keyed, now: Now, most: usize) -> Option<i64> {
    let by_clock = keyed.crowd(Domain::Processing, now.clock, most).map(|_| i64::MIN);
    by_clock.or_else(|| keyed.crowd(Domain::Event, now.watermark.time()?, most))
}
