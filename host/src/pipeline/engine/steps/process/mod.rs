//! Rows and timers of keys, in the order that each key is to see.
//!
//! Rows are taken in chunks, and with a chunk all timers that are due by the watermark at its last row. Within a chunk
//! keys are independent: a call has rows grouped by key, each group with the key's state and due timers. What the calls
//! emit is put into one order, that of the rows, with each timer before the first row at whose place the watermark has
//! reached it. So neither how rows are cut nor how keys are put together can be seen in the results.
//!
//! `chunk` groups rows, `run` makes the calls and takes failed ones apart, `call` is one of them, `collect` puts what
//! they emitted into order. `firing` is what happens when only time moves on.

mod call;
mod chunk;
mod collect;
mod firing;
mod run;

pub(in crate::pipeline) use self::firing::on_watermark;

use self::chunk::{Chunk, Grouping};
use self::collect::Collected;
use self::run::{Run, Unit};
use super::{Sink, Stop};
use crate::pipeline::engine::arrival::{Arrival, Emission};
use crate::pipeline::engine::calls::{CALL_BYTES, CALL_ROWS};
use crate::pipeline::engine::plan::Process;
use crate::pipeline::engine::row_watermarks::RowWatermarks;
use crate::plugin::Domain;
use crate::state::{Keyed, SlotId};
use crate::time::Watermark;

/// Timers that one key may have. Past this a key is a queue of its own, which tables are for.
pub(in crate::pipeline) const KEY_TIMERS_MAX: usize = 10_000;
/// How often timers of one key may set timers that are due at once, without time moving on. A plugin that does so more
/// often does so for ever.
pub(in crate::pipeline) const TIMER_ROUNDS_MAX: u32 = 1_000;
/// How often timers of one key may set timers that are due at once, with time moving on: once a second for a day that
/// passes at once. A second or so of calls, past which other keys have waited long enough.
pub(in crate::pipeline) const TIMER_CHAIN_MAX: u32 = 100_000;

/// No event time: nothing is due by it.
const NEVER: i64 = i64::MIN;

/// Processes rows, and the timers that are due by the watermarks at their places or by the clock.
pub(in crate::pipeline) async fn process_batch(
    process: &Process,
    state: &mut Keyed,
    clock: i64,
    arrival: Arrival<'_>,
    places: RowWatermarks<'_>,
    sink: &mut Sink<'_>,
) -> Result<Option<Emission>, Stop> {
    let mut emission = Emission::default();
    let (mut rest, mut at, mut reached) = (arrival.rows, 0, NEVER);
    let mut grouping = Grouping::default();
    while !rest.is_empty() {
        let (rows, after) = rest.split_at(rest.rows_within(CALL_ROWS, CALL_BYTES));
        rest = after;
        let known = &places.known[at..at + rows.len()];
        let from = Arrival { rows, origins: arrival.origins.skip(at), ..arrival };
        let chunk = Chunk::new(&process.step, rows, known, reached, from.inputs(), state, &mut grouping);
        reached = chunk.watermark;
        let before = number(state.held_watermark(watermark(chunk.before())));
        let mut popped = slots(state.pop_due(Domain::Processing, clock, usize::MAX));
        if reached > NEVER {
            popped.extend(slots(state.pop_due(Domain::Event, reached, usize::MAX)));
        }
        let mut units = chunk.units(&grouping.groups.slots);
        for &slot in &popped {
            if state.enlist(slot) {
                units.push(Unit::timers(slot, reached, true));
            }
        }
        let collected = Collected::new(before);
        let mut run = Run::new(process, state, sink, &chunk, collected, clock);
        let result = run.all(&units).await;
        let (collected, stirred) = run.end();
        popped.into_iter().chain(stirred).for_each(|slot| state.update(slot));
        result?;
        collected.end(&process.step, state, from, sink, &mut emission);
        at += rows.len();
    }
    Ok((!emission.rows.is_empty()).then_some(emission))
}

/// The least time stands for no watermark: it says as little.
fn number(watermark: Watermark) -> i64 {
    watermark.time().unwrap_or(NEVER)
}

fn watermark(number: i64) -> Watermark {
    if number == NEVER { Watermark::None } else { Watermark::At(number) }
}

fn slots(popped: Vec<(i64, SlotId)>) -> Vec<SlotId> {
    popped.into_iter().map(|(_, slot)| slot).collect()
}
