//! Making the calls of a chunk, following timers that set timers, and taking failed calls apart.
//!
//! A failed call had no effect, so it is made again in halves: first by keys, then a single key's rows and timers in
//! order, so that the second half sees what the first one left. What is alone and fails again is a dead letter, and the
//! key goes on as if it had not been there.

use std::collections::HashMap;
use std::ops::Range;

use super::call::Answered;
use super::chunk::Chunk;
use super::collect::{Collected, What};
use super::{KEY_TIMERS_MAX, NEVER, TIMER_CHAIN_MAX, TIMER_ROUNDS_MAX};
use crate::pipeline::engine::calls::{CALL_BYTES, CALL_ROWS};
use crate::pipeline::engine::dead_letter::Cause;
use crate::pipeline::engine::plan::Process;
use crate::pipeline::engine::steps::{Sink, Stop};
use crate::plugin::{Domain, Failure};
use crate::state::{Keyed, SlotId, Timer};

/// Timers of a key from which on it is worth to count those that are due before a call is made.
const MANY_TIMERS: usize = 16;

/// What one key has to do in a call.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) slot: SlotId,
    /// Its places among the grouped rows; empty if only timers are due.
    pub(super) rows: Range<u32>,
    /// Event-time timers are due up to here; none by [`NEVER`].
    pub(super) until: i64,
    /// At most this many timers fire.
    pub(super) most: u32,
    /// Whether processing-time timers fire.
    pub(super) clock: bool,
    /// Whether there is nothing more to do for the key but what this gives rise to.
    pub(super) last: bool,
}

/// Timers of one key that set timers which are due at once.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) until: i64,
    pub(super) clock: bool,
    /// The time that firing has come to: what is set for an earlier time counts as of this.
    pub(super) floor: i64,
    /// How many timers fire in a call of it: one, once a call with what timers set off has failed.
    most: u32,
    /// Whether its first timer goes on with what it emits.
    going_on: bool,
    rounds: u32,
    still: u32,
    at: i64,
}

/// What became of a call that need not be kept.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It was made, and its answer taken.
    Applied,
    /// A timer has more to emit than a call should. Nothing has changed.
    GoesOn,
    /// It failed. Nothing has changed.
    Failed,
}

/// The calls of a chunk.
#[derive(Debug)]
pub(super) struct Run<'a, 's> {
    pub(super) process: &'a Process,
    pub(super) state: &'a mut Keyed,
    pub(super) sink: &'a mut Sink<'s>,
    pub(super) chunk: &'a Chunk<'a>,
    pub(super) collected: Collected,
    pub(super) clock: i64,
    pub(super) chains: HashMap<SlotId, Chain>,
    /// Keys with timers that were set by the last calls and are due already.
    pub(super) pending: Vec<SlotId>,
    /// Keys whose timers changed.
    pub(super) stirred: Vec<SlotId>,
    pub(super) fired: usize,
    /// So many collected bytes are enough, if there is a bound: what is due then stays so.
    pub(super) enough: Option<usize>,
}

impl Chain {
    /// Counts a timer of the chain, due at that time.
    fn count(&mut self, time: i64) {
        self.rounds = self.rounds.saturating_add(1);
        self.still = if time > self.at { 0 } else { self.still.saturating_add(1) };
        self.at = self.at.max(time);
    }

    /// Takes note of a call: the times of timers that it set and fired, and whether it goes on having emitted something.
    pub(super) fn called(&mut self, fired: impl Iterator<Item = i64>, going_on: bool) {
        fired.for_each(|time| self.count(time));
        self.going_on = going_on;
    }
}

impl Unit {
    /// A key's timers that are due, without rows.
    pub(super) fn timers(slot: SlotId, until: i64, clock: bool) -> Self {
        Self { slot, rows: 0..0, until, most: u32::MAX, clock, last: true }
    }
}

impl<'a, 's> Run<'a, 's> {
    pub(super) fn new(
        process: &'a Process,
        state: &'a mut Keyed,
        sink: &'a mut Sink<'s>,
        chunk: &'a Chunk<'a>,
        collected: Collected,
        clock: i64,
    ) -> Self {
        Self {
            process,
            state,
            sink,
            chunk,
            collected,
            clock,
            chains: HashMap::new(),
            pending: Vec::new(),
            stirred: Vec::new(),
            fired: 0,
            enough: None,
        }
    }

    /// From now on, timers that set timers are followed only until so many bytes are collected.
    pub(super) fn stop_at(&mut self, bytes: usize) {
        self.enough = Some(bytes);
    }

    /// Units without rows that were called.
    pub(super) fn fired(&self) -> usize {
        self.fired
    }

    /// What was collected, and the keys whose timers changed.
    pub(super) fn end(self) -> (Collected, Vec<SlotId>) {
        (self.collected, self.stirred)
    }

    /// Does the units, and what they give rise to.
    pub(super) async fn all(&mut self, units: &[Unit]) -> Result<(), Stop> {
        self.units(units).await?;
        self.rest().await
    }

    /// Makes one call of all units, if that goes well at once.
    pub(super) async fn attempt(&mut self, units: &[Unit]) -> Result<Attempt, Stop> {
        match self.call(units, true).await? {
            Answered::Applied => Ok(Attempt::Applied),
            Answered::GoesOn => Ok(Attempt::GoesOn),
            Answered::Failed(failure) => self.sink.failure(&self.process.step, failure).map(|_| Attempt::Failed),
        }
    }

    /// Does what the calls so far gave rise to.
    pub(super) async fn rest(&mut self) -> Result<(), Stop> {
        while !self.pending.is_empty() && self.enough.is_none_or(|enough| self.collected.bytes() < enough) {
            let round = self.next_round();
            self.units(&round).await?;
        }
        Ok(())
    }

    /// The units of the keys with timers that were set and are due already.
    fn next_round(&mut self) -> Vec<Unit> {
        let mut units = Vec::with_capacity(self.pending.len());
        for slot in std::mem::take(&mut self.pending) {
            let Some(chain) = self.chains.get(&slot) else { continue };
            let unit = Unit { most: chain.most, ..Unit::timers(slot, chain.until, chain.clock) };
            if self.goes_on(slot, unit.until) {
                units.push(unit);
            }
        }
        units
    }

    /// Counts a round of a key's chain of timers. One that is endless ends here: what is due of it up to `until` becomes
    /// dead letters.
    fn goes_on(&mut self, slot: SlotId, until: i64) -> bool {
        let domain = if until > NEVER { Domain::Event } else { Domain::Processing };
        let first = self.state.first_timer(slot, domain).unwrap_or(NEVER);
        let Some(chain) = self.chains.get_mut(&slot) else { return true };
        if std::mem::take(&mut chain.going_on) {
            return true;
        }
        chain.count(first);
        // Those of one time may be many, and come one a round where calls with several of them fail.
        let still = if chain.most == 1 { TIMER_ROUNDS_MAX + KEY_TIMERS_MAX as u32 } else { TIMER_ROUNDS_MAX };
        let (rounds, reason) = if chain.still > still {
            (still, "without time moving on")
        } else if chain.rounds > TIMER_CHAIN_MAX {
            (TIMER_CHAIN_MAX, "before the watermark or clock was reached")
        } else {
            return true;
        };
        let reason = format!(
            "timers of this key set timers that were due at once, more than {rounds} times {reason}: set them for a later time"
        );
        let (mut due, clock) = (Vec::new(), chain.clock);
        if clock {
            self.state.due(slot, Domain::Processing, self.clock, &mut due);
        }
        self.state.due(slot, Domain::Event, until, &mut due);
        for timer in due {
            let cause = Cause { code: "limit_timer_rounds", reason: &reason, backtrace: &[] };
            self.drop_timer(slot, timer, cause);
        }
        false
    }

    async fn units(&mut self, units: &[Unit]) -> Result<(), Stop> {
        let mut rest = units;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(self.fitting(rest));
            rest = after;
            if let Answered::Failed(failure) = self.call(part, false).await? {
                let mut again = Vec::new();
                self.take_apart(part, failure, &mut again)?;
                while let Some(part) = again.pop() {
                    if let Some(before) = self.timers_before(&part) {
                        again.extend([part, before]);
                    } else if let Answered::Failed(failure) = self.call(&part, false).await? {
                        self.take_apart(&part, failure, &mut again)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many units from the first on make a call of good size. They are due up to the same time, and those of which one
    /// timer fires are alone.
    pub(super) fn fitting(&self, units: &[Unit]) -> usize {
        let Some(first) = units.first() else { return 0 };
        let (mut rows, mut bytes) = (0, 0);
        let fits = |unit: &&Unit| {
            if unit.until != first.until || unit.most != u32::MAX {
                return false;
            }
            rows += unit.rows.len().max(1) + self.timers_of(unit);
            bytes += self.state.payload(unit.slot);
            bytes += unit.rows.clone().map(|row| self.chunk.row_bytes(row)).sum::<usize>();
            // A chunk's rows are one call's, if their keys have little state and few timers.
            rows <= 2 * CALL_ROWS && bytes <= 2 * CALL_BYTES
        };
        units.iter().take_while(fits).count().max(1)
    }

    /// About how many timers fire in a unit: counted only where there are many.
    fn timers_of(&self, unit: &Unit) -> usize {
        match self.state.timers(unit.slot) {
            few @ 0..MANY_TIMERS => few,
            _ => self.due_of(unit).len(),
        }
    }

    /// Divides a failed call, or finds what is to blame.
    fn take_apart(&mut self, units: &[Unit], failure: Failure, again: &mut Vec<Vec<Unit>>) -> Result<(), Stop> {
        let failure = self.sink.failure(&self.process.step, failure)?;
        let [unit] = units else {
            let (first, second) = units.split_at(units.len() / 2);
            again.extend([second.to_vec(), first.to_vec()]);
            return Ok(());
        };
        let due = self.due_of(unit);
        let (start, end) = (unit.rows.start, unit.rows.end);
        let later = |rows: Range<u32>| Unit { rows, clock: false, ..unit.clone() };
        match unit.rows.len() {
            0 => {
                if let [timer] = due.as_slice()
                    && unit.most > 1
                    && timer.domain == Domain::Event
                    && timer.time < unit.until
                {
                    // What it set off in the call may be to blame.
                    self.chain(unit.slot, unit.until, unit.clock).most = 1;
                    again.push(vec![Unit { most: 1, ..unit.clone() }]);
                } else if let [timer] = due.as_slice() {
                    let cause = Cause::from(&failure);
                    self.drop_timer(unit.slot, *timer, cause);
                    self.sink.poisoned(&self.process.step, failure);
                    self.follow(unit, || NEVER);
                } else {
                    let first = Unit { most: (due.len() / 2) as u32, last: false, ..unit.clone() };
                    again.extend([vec![unit.clone()], vec![first]]);
                }
            }
            1 if due.is_empty() => {
                let what = What::Row(self.chunk.row(start));
                self.collected.letter(what, Cause::from(&failure));
                self.sink.poisoned(&self.process.step, failure);
                self.follow(unit, || NEVER);
            }
            1 => {
                let before = Unit { rows: 0..0, until: self.until_row(unit, start), last: false, ..unit.clone() };
                let alone = Unit { until: NEVER, last: false, ..later(start..end) };
                again.extend([vec![later(0..0)], vec![alone], vec![before]]);
            }
            rows => {
                let middle = start + rows as u32 / 2;
                let until = self.until_row(unit, middle - 1);
                let first = Unit { rows: start..middle, until, last: false, ..unit.clone() };
                again.extend([vec![later(middle..end)], vec![first]]);
            }
        }
        Ok(())
    }

    /// What of a unit is due by the watermark at the place of a grouped row.
    fn until_row(&self, unit: &Unit, place: u32) -> i64 {
        unit.until.min(self.chunk.grouped_marks()[place as usize])
    }

    /// The timers that have to fire before a row that is called alone, if there are any.
    fn timers_before(&mut self, part: &[Unit]) -> Option<Vec<Unit>> {
        let [unit] = part else { return None };
        if unit.rows.is_empty() || unit.until != NEVER {
            return None;
        }
        let until = self.chunk.grouped_marks()[unit.rows.start as usize];
        let due = until > NEVER && self.state.first_timer(unit.slot, Domain::Event).is_some_and(|first| first <= until);
        if !due {
            return None;
        }
        self.chain(unit.slot, until, false);
        self.goes_on(unit.slot, until).then(|| vec![Unit { last: false, ..Unit::timers(unit.slot, until, false) }])
    }

    /// The timers that fire in a unit, in order.
    pub(super) fn due_of(&self, unit: &Unit) -> Vec<Timer> {
        let mut due = Vec::new();
        self.due(unit, &mut due);
        due
    }

    /// Appends the timers that fire in a unit, in order.
    pub(super) fn due(&self, unit: &Unit, into: &mut Vec<Timer>) {
        let from = into.len();
        if unit.clock {
            self.state.due(unit.slot, Domain::Processing, self.clock, into);
        }
        if unit.until > NEVER {
            self.state.due(unit.slot, Domain::Event, unit.until, into);
        }
        into.truncate(from.saturating_add(unit.most as usize));
    }

    /// Notes a key as one that has timers due already, if it has. `reached` says to which event time
    /// its firing has come. Answers with the key's chain, if it has.
    pub(super) fn follow(&mut self, unit: &Unit, reached: impl FnOnce() -> i64) -> Option<&mut Chain> {
        // Rows before processing-time timers that they set: those wait for the next rows, or until all rows are done.
        let clock = unit.clock && self.chunk.rows.is_empty();
        let due = |domain, until| self.state.first_timer(unit.slot, domain).is_some_and(|first| first <= until);
        let by_event = unit.until > NEVER && due(Domain::Event, unit.until);
        let by_clock = clock && due(Domain::Processing, self.clock);
        if !by_event && !by_clock {
            return None;
        }
        if unit.last {
            self.pending.push(unit.slot);
        }
        let chain = self.chain(unit.slot, unit.until, clock);
        chain.floor = chain.floor.max(reached());
        Some(chain)
    }

    fn chain(&mut self, slot: SlotId, until: i64, clock: bool) -> &mut Chain {
        let chain = self.chains.entry(slot).or_insert(Chain {
            until,
            clock,
            floor: NEVER,
            most: u32::MAX,
            going_on: false,
            rounds: 0,
            still: 0,
            at: NEVER,
        });
        (chain.until, chain.clock) = (chain.until.max(until), clock);
        chain
    }

    /// Makes a timer a dead letter.
    fn drop_timer(&mut self, slot: SlotId, timer: Timer, cause: Cause<'_>) {
        self.state.remove_timer(slot, timer.domain, timer.id);
        self.stirred.push(slot);
        let place = self.place_of(slot, timer);
        self.collected.letter(What::Timer(place, slot, timer), cause);
    }

    /// The first row that comes after a timer, and the time by which it is ordered among other timers.
    pub(super) fn place_of(&self, slot: SlotId, timer: Timer) -> (u32, i64) {
        match timer.domain {
            Domain::Processing => (0, timer.time),
            Domain::Event => {
                let floor = self.chains.get(&slot).map_or(NEVER, |chain| chain.floor);
                let time = timer.time.max(floor);
                (self.chunk.reached(time), time)
            }
        }
    }
}
