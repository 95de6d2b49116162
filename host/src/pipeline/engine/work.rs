//! How much a micro-batch may cost before what is done of it is committed.
//!
//! A step may take a microsecond for a row or a second. So a micro-batch is bounded by work done and not by records alone:
//! rows are passed to steps in slices, and after each slice the number of calls, the fuel and the wall-clock time are
//! compared with their limits. What is left is put back. Results do not depend on where a micro-batch is cut, so wall-clock
//! time may decide that; the engine itself reads no clock, its caller passes one in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Work that is all a micro-batch may do, in thousandths.
const WHOLE: u64 = 1000;
/// Share of it that a slice may cost so that the next one may be larger, and above which the next one is smaller.
const CHEAP: u64 = WHOLE / 20;
const DEAR: u64 = WHOLE / 5;
/// Rows of a pipeline's first slice, before it is known what a row costs.
const FIRST_ROWS: usize = 1 << 10;
/// Rows of the smallest slice: a call has costs of its own.
const LEAST_ROWS: usize = 1 << 4;
/// Rows of the largest slice: as many as a micro-batch usually has.
const MOST_ROWS: usize = 1 << 16;

/// What is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) struct WorkLimits {
    /// Calls of plugins.
    pub(in crate::pipeline) calls: u64,
    pub(in crate::pipeline) fuel: u64,
    /// Milliseconds of wall-clock time.
    pub(in crate::pipeline) wall_ms: u64,
    /// Rows of a slice at most.
    pub(in crate::pipeline) slice_rows: usize,
}

impl Default for WorkLimits {
    /// About half a second each: of small calls, of a guest that computes, of whatever else takes time.
    fn default() -> Self {
        Self { calls: 50_000, fuel: 1_000_000_000, wall_ms: 500, slice_rows: MOST_ROWS }
    }
}

/// What is counted while a micro-batch runs, for status requests.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Meter {
    step: AtomicUsize,
    calls: AtomicU64,
    fuel: AtomicU64,
}

impl Meter {
    /// Starts over.
    pub(in crate::pipeline) fn reset(&self) {
        self.enter(0);
        self.calls.store(0, Ordering::Relaxed);
        self.fuel.store(0, Ordering::Relaxed);
    }

    /// Notes that the step of this number, in the plan's order, is at work.
    pub(in crate::pipeline) fn enter(&self, step: usize) {
        self.step.store(step, Ordering::Relaxed);
    }

    /// Counts a call.
    pub(in crate::pipeline) fn called(&self, fuel: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
    }

    /// The step that is at work, and the calls of the micro-batch so far.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn seen(&self) -> (usize, u64) {
        (self.step.load(Ordering::Relaxed), self.calls.load(Ordering::Relaxed))
    }
}

/// Milliseconds since a micro-batch began.
pub(in crate::pipeline) type Elapsed = Box<dyn Fn() -> u64 + Send + Sync>;

/// What a micro-batch has done and may do.
pub(in crate::pipeline) struct Work {
    limits: WorkLimits,
    pub(in crate::pipeline) meter: Arc<Meter>,
    elapsed: Elapsed,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Work").field("limits", &self.limits).field("meter", &self.meter).finish_non_exhaustive()
    }
}

impl Default for Work {
    /// On a wall without a clock.
    fn default() -> Self {
        Self::new(WorkLimits::default(), Arc::default(), Box::new(|| 0))
    }
}

impl Work {
    /// Work within limits, measured by this meter and this clock.
    pub(in crate::pipeline) fn new(limits: WorkLimits, meter: Arc<Meter>, elapsed: Elapsed) -> Self {
        meter.reset();
        Self { limits, meter, elapsed }
    }

    /// How much is done, in thousandths of what is enough.
    fn spent(&self) -> u64 {
        let share = |spent: u64, of: u64| spent.saturating_mul(WHOLE) / of.max(1);
        let (calls, fuel) = (self.meter.calls.load(Ordering::Relaxed), self.meter.fuel.load(Ordering::Relaxed));
        let wall = share((self.elapsed)(), self.limits.wall_ms);
        share(calls, self.limits.calls).max(share(fuel, self.limits.fuel)).max(wall)
    }

    /// Begins a part of the micro-batch that may do as much as if there were no other.
    pub(in crate::pipeline) fn part(&self) -> Part<'_> {
        Part { work: self, base: self.spent() }
    }
}

/// A part of a micro-batch's work.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Part<'a> {
    work: &'a Work,
    base: u64,
}

impl Part<'_> {
    /// Whether it is enough.
    pub(in crate::pipeline) fn is_over(&self) -> bool {
        self.done() >= WHOLE
    }

    fn done(&self) -> u64 {
        self.work.spent().saturating_sub(self.base)
    }
}

/// How large the next slice is, by what the last one cost.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline) struct Pace {
    rows: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rows: FIRST_ROWS }
    }
}

impl Pace {
    /// Rows of the next slice, and the mark by which [`Pace::learn`] knows what it cost.
    pub(in crate::pipeline) fn next(self, part: &Part<'_>) -> (usize, u64) {
        (self.rows.min(part.work.limits.slice_rows).max(1), part.done())
    }

    /// Notes what a slice cost that began at a mark.
    pub(in crate::pipeline) fn learn(&mut self, part: &Part<'_>, mark: u64) {
        let cost = part.done().saturating_sub(mark);
        if cost < CHEAP {
            self.rows = (self.rows * 2).min(MOST_ROWS);
        } else if cost > DEAR {
            self.rows = (self.rows as u64 * DEAR / cost).max(LEAST_ROWS as u64) as usize;
        }
    }
}

/// How large the pieces are that a micro-batch is done in, by what they cost.
#[derive(Debug, Default)]
pub(super) struct Paces {
    /// Of records that transforms take.
    pub(super) transforms: Pace,
    /// Of rows that enter the first step with state.
    pub(super) rows: Pace,
    /// Of keys or windows that are due.
    pub(super) due: Pace,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(wall: &Arc<AtomicU64>) -> Work {
        let wall = Arc::clone(wall);
        Work::new(WorkLimits::default(), Arc::default(), Box::new(move || wall.load(Ordering::Relaxed)))
    }

    #[test]
    fn calls_fuel_and_the_wall_each_end_a_part_and_another_begins_anew() {
        let WorkLimits { calls, fuel, wall_ms, .. } = WorkLimits::default();
        let wall = Arc::default();
        let work = work(&wall);
        let part = work.part();
        (1..calls).for_each(|_| work.meter.called(0));
        assert!(!part.is_over());
        work.meter.called(0);
        assert!(part.is_over());
        let part = work.part();
        assert!(!part.is_over(), "it begins anew");
        work.meter.called(2 * fuel);
        assert!(part.is_over());
        let part = work.part();
        wall.store(3 * wall_ms, Ordering::Relaxed);
        assert!(part.is_over());
    }

    #[test]
    fn slices_grow_while_they_are_cheap_and_shrink_when_they_are_dear() {
        let wall = Arc::default();
        let (work, mut pace) = (work(&wall), Pace::default());
        let part = work.part();
        let slice = |pace: &mut Pace, ms: u64| {
            let (rows, mark) = pace.next(&part);
            wall.fetch_add(ms, Ordering::Relaxed);
            pace.learn(&part, mark);
            rows
        };
        assert_eq!([0; 8].map(|ms| slice(&mut pace, ms)), [1, 2, 4, 8, 16, 32, 64, 64].map(|times| times << 10));
        assert_eq!([50, 5000, 5_000_000, 0].map(|ms| slice(&mut pace, ms)), [1 << 16, 1 << 16, 1310, 16]);
    }
}
