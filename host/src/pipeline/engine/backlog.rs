//! No commit grows with the state: what rows of a micro-batch would set off is bounded before they are applied.
//!
//! What is due by the watermark at a row's place comes before the row, in the same commit. So if time jumps over very many
//! windows or timers, the rows behind the jump have to wait until those have fired, over as many commits without rows as it
//! takes. Where that is the micro-batch is split: cuts cannot be seen in results, so nothing else changes.
//!
//! What is not bounded: what rows of the micro-batch themselves open and bring to its end, and a jump between two rows that
//! a transform makes of one record, for a record is not divided.

use super::row_watermarks::RowWatermarksBuf;
use super::step_state::StepState;
use super::steps::Arrival;
use crate::plugin::Domain;
use crate::state::{Now, Store as _};
use crate::time::Watermark;

/// Rows of a micro-batch while a step has timers that go on. What is set and due between rows of one micro-batch cannot wait
/// for another commit: so few rows set off what has room in one.
const WIDE_ROWS: usize = 1 << 10;

/// How much of a micro-batch comes before a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SplitPoint {
    /// So many of its inputs whole,
    pub(in crate::pipeline) inputs: usize,
    /// and so many records of the next one.
    pub(in crate::pipeline) records: usize,
}

impl SplitPoint {
    const START: Self = Self { inputs: 0, records: 0 };
}

/// The event time by which, at some step, more than `most` windows or keys are due, as many as may be when rows come; the least
/// time if the clock says so.
pub(in crate::pipeline) fn backlog(states: &[StepState], now: Now, most: usize) -> Option<i64> {
    states.iter().filter_map(|state| state.backlog(now, most)).min()
}

/// Rows of an input, the records of what they come from where those are not the records themselves, and their places.
type Rows<'a> = (Arrival<'a>, Option<&'a [u32]>, RowWatermarksBuf);

/// Where rows have to wait, if some have. `before` is what is known before the first of them.
pub(in crate::pipeline) fn split_point(
    states: &[StepState],
    before: Now,
    rows: &[Rows<'_>],
    most: usize,
) -> Option<SplitPoint> {
    split_where_due(states, before, rows, most).or_else(|| split_wide(states, rows))
}

fn split_where_due(states: &[StepState], before: Now, rows: &[Rows<'_>], most: usize) -> Option<SplitPoint> {
    let until = rows.iter().filter_map(|(.., placed)| placed.view().known.last()).copied().max()?;
    let backlog = backlog(states, Now { watermark: before.watermark.max(Watermark::At(until)), ..before }, most)?;
    if backlog == i64::MIN || before.watermark.covers(backlog) {
        return Some(SplitPoint::START);
    }
    let behind = |(.., placed): &Rows<'_>| placed.view().known.iter().position(|&known| known >= backlog);
    let (inputs, row) = (0..).zip(rows).find_map(|(inputs, rows)| Some((inputs, behind(rows)?)))?;
    split_before(rows, inputs, row)
}

/// The split before a row, unless nothing would come before it.
fn split_before(rows: &[Rows<'_>], inputs: usize, row: usize) -> Option<SplitPoint> {
    let (arrival, through, _) = &rows[inputs];
    let origin = arrival.origins.of(row as u32);
    let record = through.map_or(origin, |records| records[origin as usize]);
    let split = SplitPoint { inputs, records: record as usize };
    (split != SplitPoint::START).then_some(split)
}

/// The split after so many rows that what they set off is one commit's, if a step has timers that go on.
fn split_wide(states: &[StepState], rows: &[Rows<'_>]) -> Option<SplitPoint> {
    if !states.iter().any(|state| matches!(state, StepState::Keyed(keyed) if keyed.pace.wide)) {
        return None;
    }
    let mut left = WIDE_ROWS;
    for (inputs, (arrival, ..)) in rows.iter().enumerate() {
        match left.checked_sub(arrival.rows.len()) {
            Some(rest) => left = rest,
            None => return split_before(rows, inputs, left),
        }
    }
    None
}

impl StepState {
    /// See [`backlog`].
    fn backlog(&self, now: Now, most: usize) -> Option<i64> {
        match self {
            Self::Windows(_) => None,
            Self::KeyedWindows(keyed_windows) => keyed_windows.backlog(now.watermark, most),
            Self::Keyed(keyed) if keyed.is_due(now) => keyed_backlog(keyed, now, most),
            Self::Keyed(_) => None,
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
