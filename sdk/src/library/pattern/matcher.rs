//! A pattern at work: events in, timers, and what is found.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::advance::{Left, Progress};
use super::events::Events;
use super::plan::Plan;
use super::run::{Id, Matching, Run};
use super::skip::SkipTo;
use crate::library::Item;
use crate::library::arrival::Arrival;
use crate::{Context, Error, Result, Timer};

/// What a [`Matcher`] finds.
#[derive(Debug)]
pub enum Found<'m, E> {
    /// A match.
    Match(Events<'m, E>),
    /// A partial match for which time has run out.
    TimedOut(Events<'m, E>),
    /// There were more partial matches than may be: all of the key's are gone, and it starts over.
    Overflow(Overflow),
}

/// A limit that a key's partial matches have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow {
    /// Its name.
    pub limit: &'static str,
    /// Its value.
    pub value: usize,
    /// How many there would have been.
    pub used: usize,
}

/// The most of what a key may keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) partial_matches: usize,
}

impl Limits {
    /// Events wait for the watermark, and how many there are is the input's to say: their number has no limit of its own.
    ///
    /// 16,384 partial matches are far more than a key of a sound pattern has, and each event goes through all of them.
    pub(super) const DEFAULT: Self = Self { events: usize::MAX, partial_matches: 16_384 };
    /// Partial matches of the mean length 32, 24 bytes an event in memory, are 12 MiB where there are 16,384 of them.
    const MEAN_LENGTH: usize = 32;

    /// The limit that these have passed.
    fn passed(self, runs: &[Run], complete: &[Run]) -> Option<Overflow> {
        let used = runs.len() + complete.len();
        if used > self.partial_matches {
            return Some(Overflow { limit: "partial_matches_max", value: self.partial_matches, used });
        }
        let value = self.partial_matches * Self::MEAN_LENGTH;
        let used = runs.iter().chain(complete).map(|run| run.taken.len()).sum();
        (used > value).then_some(Overflow { limit: "partial_match_events_max", value, used })
    }
}

/// Finds a [`Pattern`](super::Pattern) in the events of each key.
#[derive(Debug)]
pub struct Matcher<E> {
    pub(super) plan: Plan<E>,
    pub(super) skip: SkipTo,
    pub(super) limits: Limits,
    pub(super) timer: u64,
}

impl<E: Item> Matcher<E> {
    /// Takes an event, to be matched when the watermark reaches its time.
    ///
    /// # Errors
    /// `too-many-events`: the key's events would be more than [`Pattern::events_max`](super::Pattern::events_max).
    pub fn on_row(&self, ctx: &mut Context<'_>, matching: &mut Matching<E>, event: E) -> Result<Arrival> {
        if ctx.is_late() {
            return Ok(Arrival::Late);
        }
        if !self.plan.concerns(&event) {
            return Ok(Arrival::Taken);
        }
        let (time, kept) = (ctx.time(), matching.events.len());
        if kept >= self.limits.events {
            let reason = format_args!(
                "the key keeps {kept} events for the pattern, and `events_max` is {}: they wait for the watermark, or \
                 for partial matches that `within` would end",
                self.limits.events
            );
            return Err(Error::new("too-many-events", reason));
        }
        match self.next(matching) {
            // A timer that failed is not there any more, and this brings it back.
            Some(next) if ctx.watermark() >= Some(next) => ctx.timers().set(self.timer, next),
            Some(next) if time >= next => {}
            _ => ctx.timers().set(self.timer, time),
        }
        let last = matching.events.range((time, 0)..=(time, u32::MAX)).next_back();
        let number = last.map_or(0, |(&(_, number), _)| number + 1);
        matching.events.insert((time, number), event);
        Ok(Arrival::Taken)
    }

    /// Takes a timer, and gives what is found to `emit`. Returns whether it was the matcher's.
    ///
    /// [`Context::time`] is then the time at which it is found: that of the match's last event, or later if the match had
    /// to wait for others ([`Skip`](super::Skip)) or for the end of its time.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn on_timer(
        &self,
        ctx: &mut Context<'_>,
        matching: &mut Matching<E>,
        timer: Timer,
        mut emit: impl FnMut(&mut Context<'_>, Found<'_, E>) -> Result<()>,
    ) -> Result<bool> {
        if !timer.is(self.timer) {
            return Ok(false);
        }
        let [runs, complete] = [&matching.runs, &matching.complete].map(|part| part.get().cloned().unwrap_or_default());
        let mut progress = Progress { plan: &self.plan, skip: self.skip, runs, complete, changed: false };
        let mut first = matching.first_waiting();
        // Events that were matched and that no partial match has taken.
        let mut idle = Vec::new();
        loop {
            let next = [first, progress.next_end()].into_iter().flatten().min();
            let Some(now) = next.filter(|&now| now <= timer.time) else { break };
            for left in progress.time(now) {
                emit(ctx, self.found(matching, &left))?;
            }
            // Of that time there may be events that have been matched, but then none that waits.
            let waiting = (first == Some(now)).then(|| matching.events.range((now, 0)..=(now, u32::MAX)));
            for (&id, event) in waiting.into_iter().flatten() {
                for left in progress.event(id, event, &matching.events) {
                    emit(ctx, self.found(matching, &left))?;
                }
                if let Some(overflow) = self.limits.passed(&progress.runs, &progress.complete) {
                    progress.runs.clear();
                    progress.complete.clear();
                    emit(ctx, Found::Overflow(overflow))?;
                }
                idle.push(id);
            }
            let later = (Bound::Excluded((now, u32::MAX)), Bound::Unbounded);
            first = matching.events.range::<Id>(later).next().map(|(&(time, _), _)| time);
        }
        let Progress { runs, complete, changed, .. } = progress;
        if changed {
            let taken: BTreeSet<Id> =
                runs.iter().chain(&complete).flat_map(|run| &run.taken).map(|&(id, _)| id).collect();
            let matched = matching.events.range(..=(timer.time, u32::MAX)).map(|(&id, _)| id);
            idle = matched.filter(|id| !taken.contains(id)).collect();
            keep(&mut matching.runs, runs);
            keep(&mut matching.complete, complete);
        }
        for id in idle {
            matching.events.remove(&id);
        }
        if let Some(next) = self.next(matching) {
            ctx.timers().set(self.timer, next);
        }
        Ok(true)
    }

    /// When something happens next: the first waiting event, or the first end of a partial match.
    fn next(&self, matching: &Matching<E>) -> Option<i64> {
        let runs = matching.runs.get().into_iter().flatten();
        let end = runs.filter_map(|run| self.plan.end(run)).min();
        [matching.first_waiting(), end].into_iter().flatten().min()
    }

    fn found<'m>(&'m self, matching: &'m Matching<E>, left: &'m Left) -> Found<'m, E> {
        let events = |run| Events::new(&self.plan.stages, &matching.events, run);
        match left {
            Left::Match(run) => Found::Match(events(run)),
            Left::TimedOut(run) => Found::TimedOut(events(run)),
        }
    }
}

/// Sets a part of the state, which takes no room if there is nothing in it.
fn keep(part: &mut crate::Value<Vec<Run>>, runs: Vec<Run>) {
    if runs.is_empty() { part.clear() } else { part.set(runs) }
}
