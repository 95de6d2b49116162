//! Rows and timers of keys, in the order that each key is to see.
//!
//! Rows are taken in chunks, and with a chunk all timers that are due by the watermark at its last row. Within a chunk
//! keys are independent: a call has rows grouped by key, each group with the key's state and due timers. What the calls
//! emit is put into one order, that of the rows, with each timer before the first row at whose place the watermark has
//! reached it. So neither how rows are cut nor how keys are put together can be seen in the results.
//!
//! `chunk` groups rows, `run` makes the calls and takes failed ones apart, `call` is one of them, `collect` puts what
//! they emitted into order.

mod call;
mod chunk;
mod collect;
mod run;

use self::chunk::{Chunk, Grouping};
use self::collect::Collected;
use self::run::{Run, Unit};
use super::{Arrival, Sink, Stop};
use crate::pipeline::engine::calls::{CALL_BYTES, CALL_ROWS};
use crate::pipeline::engine::dead_letter::Source;
use crate::pipeline::engine::flow::Emission;
use crate::pipeline::engine::plan::Process;
use crate::pipeline::engine::row_watermarks::RowWatermarks;
use crate::pipeline::engine::rows::Origins;
use crate::plugin::Domain;
use crate::record::BatchRef;
use crate::state::{Keyed, Now, SlotId};
use crate::time::Watermark;

/// Timers that one key may have. Past this a key is a queue of its own, which tables are for.
pub(in crate::pipeline) const KEY_TIMERS_MAX: usize = 10_000;
/// How often timers of one key may set timers that are due at once, without time moving on. A plugin that does so more
/// often does so for ever.
pub(in crate::pipeline) const TIMER_ROUNDS_MAX: u32 = 1_000;
/// How often timers of one key may set timers that are due at once, with time moving on: once a second for a day that
/// passes at once. A second or so of calls, past which other keys have waited long enough.
pub(in crate::pipeline) const TIMER_CHAIN_MAX: u32 = 100_000;
/// Keys whose timers fire in one go when nothing but time moves on.
const FIRING_KEYS: usize = 8192;

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
        let chunk = Chunk::new(&process.step, rows, known, reached, arrival.input, state, &mut grouping);
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
        let from = Arrival { rows, origins: arrival.origins.skip(at), ..arrival };
        collected.end(&process.step, state, from, sink, &mut emission);
        at += rows.len();
    }
    Ok((!emission.rows.is_empty()).then_some(emission))
}

/// Fires the next timers that are due, at most those of `left` keys, which counts down: by the clock first, then by the
/// watermark in the order of time and key. What they emit is later than what was emitted before.
pub(in crate::pipeline) async fn on_watermark(
    process: &Process,
    state: &mut Keyed,
    now: Now,
    left: &mut usize,
    sink: &mut Sink<'_>,
) -> Result<Option<Emission>, Stop> {
    let most = FIRING_KEYS.min(*left);
    let before = number(state.held_watermark(now.watermark));
    let mut popped = state.pop_due(Domain::Processing, now.clock, most);
    let by_clock = !popped.is_empty();
    let reached = number(now.watermark);
    if !by_clock && reached > NEVER {
        popped = state.pop_due(Domain::Event, reached, most);
    }
    if popped.is_empty() {
        state.settle();
        return Ok(None);
    }
    let units = if by_clock {
        popped.iter().map(|&(_, slot)| Unit::timers(slot, NEVER, true)).collect()
    } else {
        due_units(state, &popped, most, reached)
    };
    let chunk = Chunk::empty(reached);
    let mut run = Run::new(process, state, sink, &chunk, Collected::new(before), now.clock);
    let result = run.all(&units).await;
    *left = left.saturating_sub(run.fired());
    let (collected, stirred) = run.end();
    slots(popped).into_iter().chain(stirred).for_each(|slot| state.update(slot));
    state.settle();
    result?;
    let nothing = BatchRef::default();
    let source = Source::Derived { rows: nothing, windows: &[] };
    let from = Arrival { rows: nothing, origins: Origins::From(0), source, source_partition: 0, input: 0 };
    let mut emission = Emission::default();
    collected.end(&process.step, state, from, sink, &mut emission);
    Ok(Some(emission))
}

/// Units of keys that are due, in order. If there may be more keys, none fires a timer that comes after the last of them:
/// that is for the next time.
fn due_units(state: &Keyed, popped: &[(i64, SlotId)], most: usize, watermark: i64) -> Vec<Unit> {
    let last = popped.last().filter(|_| popped.len() == most);
    let until = |slot: SlotId| match last {
        None => watermark,
        Some(&(time, last)) if state.key(slot) <= state.key(last) => time,
        Some(&(time, _)) => time - 1,
    };
    popped.iter().map(|&(_, slot)| Unit::timers(slot, until(slot), false)).collect()
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
