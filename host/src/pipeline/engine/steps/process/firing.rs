//! Timers that fire because time moves on, without rows.
//!
//! They fire in rounds, in the order of time and key, so that a commit may end after any of them. A round is one call: the
//! keys that are due next, each up to a time before which no other key is due. A call that fails, or in which a timer has
//! more to emit than one call should, is made again with fewer keys, down to one; so what one timer gives over many calls
//! and commits comes before all that is later, whatever it is.

use super::chunk::Chunk;
use super::collect::Collected;
use super::run::{Attempt, Run, Unit};
use super::{NEVER, number, slots};
use crate::pipeline::engine::arrival::{Arrival, Emission};
use crate::pipeline::engine::dead_letter::Source;
use crate::pipeline::engine::plan::Process;
use crate::pipeline::engine::rows::Origins;
use crate::pipeline::engine::steps::{GROUP_BYTES, Sink, Stop, spend};
use crate::plugin::Domain;
use crate::record::BatchRef;
use crate::state::{FIRING_KEYS, Keyed, Now, SlotId};

/// Fires the next timers that are due, at most those of `left` keys, which counts down with what they emit: by the clock
/// first, then by the watermark in the order of time and key. What they emit is later than what was emitted before.
pub(in crate::pipeline) async fn on_watermark(
    process: &Process,
    state: &mut Keyed,
    now: Now,
    left: &mut usize,
    sink: &mut Sink<'_>,
) -> Result<Option<Emission>, Stop> {
    let before = number(state.held_watermark(now.watermark));
    let mut popped = state.pop_due(Domain::Processing, now.clock, FIRING_KEYS.min(*left));
    let by_clock = !popped.is_empty();
    let reached = number(now.watermark);
    let most = state.pace.keys.min(*left);
    if !by_clock && reached > NEVER {
        popped = state.pop_due(Domain::Event, reached, most);
    }
    if popped.is_empty() {
        state.settle();
        state.pace.caught_up = true;
        return Ok(None);
    }
    let chunk = Chunk::empty(reached);
    let mut run = Run::new(process, state, sink, &chunk, Collected::new(before), now.clock);
    let (result, pace) = if by_clock {
        let units: Vec<Unit> = popped.iter().map(|&(_, slot)| Unit::timers(slot, NEVER, true)).collect();
        (run.all(&units).await, None)
    } else {
        let mut round = Round { popped: &popped, more: popped.len() == most, reached, narrowed: None };
        (round.run(&mut run, *left * GROUP_BYTES).await, Some(round.narrowed.unwrap_or(most)))
    };
    let fired = run.fired();
    let (collected, stirred) = run.end();
    slots(popped).into_iter().chain(stirred).for_each(|slot| state.update(slot));
    state.settle();
    if let Some(keys) = pace {
        state.pace.keys = (2 * keys).clamp(1, FIRING_KEYS);
    }
    result?;
    let nothing = BatchRef::default();
    let source = Source::Derived { rows: nothing, windows: &[], rounds: &[] };
    let from = Arrival { rows: nothing, origins: Origins::From(0), source, source_partition: 0, input: 0 };
    let mut emission = Emission::default();
    let bytes = collected.bytes();
    collected.end(&process.step, state, from, sink, &mut emission);
    spend(left, fired, bytes);
    state.pace.caught_up &= *left > 0;
    Ok(Some(emission))
}

/// Keys that are due, in the order of time and key.
struct Round<'p> {
    popped: &'p [(i64, SlotId)],
    /// Whether there may be more keys that are due.
    more: bool,
    reached: i64,
    /// How many keys it finished, if not all.
    narrowed: Option<usize>,
}

impl Round<'_> {
    /// Makes one call, of as many keys as can be. What a single key has to emit goes on until there is so much of it.
    async fn run(&mut self, run: &mut Run<'_, '_>, bytes: usize) -> Result<(), Stop> {
        let mut keys = self.popped.len();
        loop {
            let units = self.units(keys);
            let fitting = run.fitting(&units);
            if fitting < units.len() {
                keys = fitting;
                self.narrowed = Some(keys);
                continue;
            }
            if units.len() == 1 {
                run.stop_at(bytes);
                return run.all(&units).await;
            }
            keys = match run.attempt(&units).await? {
                Attempt::Applied => return run.rest().await,
                Attempt::GoesOn => 1,
                Attempt::Failed => units.len() / 2,
            };
            self.narrowed = Some(keys);
        }
    }

    /// The first keys, each up to the same time: none fires a timer that comes after the first one of a key that is not
    /// among them.
    fn units(&self, keys: usize) -> Vec<Unit> {
        let popped = &self.popped[..keys];
        let all = |popped: &[(i64, SlotId)], until| {
            popped.iter().map(|&(_, slot)| Unit::timers(slot, until, false)).collect()
        };
        let whole = keys == self.popped.len() && !self.more;
        match popped.last() {
            Some(&(last, _)) if !whole => match popped.partition_point(|&(time, _)| time < last) {
                // Of those at the last time there may be more.
                0 => all(popped, last),
                earlier => all(&popped[..earlier], last - 1),
            },
            _ => all(popped, self.reached),
        }
    }
}
