//! Two streams, joined by the time between their rows.
//!
//! A row is kept until the watermark has reached the last time at which a partner can come, and one timer a key, for the
//! first row that has to go, sees to that. Rows without a partner are named in a list of their own, so that finding one
//! does not rewrite the row.

use std::ops::{Bound, RangeBounds, RangeInclusive};

use super::{Arrival, Joined, Kind};
use crate::library::{INTERVAL_JOIN, Item, timer_id};
use crate::state::{Map, Ordered};
use crate::{Context, Error, Result, State, Timer};

/// Rows leave in steps of this part of the interval's width, where they are many: 256 steps are soon done when the
/// watermark leaps, and no row stays for much longer than it has to.
const STEPS: u64 = 256;

/// Joins rows of the same key where the right row's time minus the left row's time is within bounds.
///
/// A pair is there as soon as its second row comes, with the later one's time. A row below the watermark is late. A row
/// without a partner is there, if the [`Kind`] says so, once the watermark says that none can come; its event time is its
/// own, so steps behind the join that have windows need as much lateness as the interval is wide.
///
/// ```
/// use millstream_sdk::library::join::{IntervalJoin, IntervalRows, Kind};
/// use millstream_sdk::prelude::*;
///
/// #[derive(Debug)]
/// struct Paid(IntervalJoin);
///
/// /// Orders that were paid within an hour.
/// #[process(outputs(paid = "Orders and their payments.", late = "Rows that came too late."))]
/// impl Process for Paid {
///     type Config = NoConfig;
///     type Input<'a> = Text<'a>;
///     type State = IntervalRows<String, String>;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Paid(IntervalJoin::new(Kind::Inner, 0..=3_600_000)?))
///     }
///
///     fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
///         let arrival = match ctx.input() {
///             0 => self.0.left(ctx, rows, row.to_owned(), paid)?,
///             _ => self.0.right(ctx, rows, row.to_owned(), paid)?,
///         };
///         ctx.emit(arrival.is_late().then(|| Row::same().to("late")))
///     }
///
///     fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
///         self.0.on_timer(ctx, rows, timer, paid).map(drop)
///     }
/// }
///
/// use millstream_sdk::library::join::Joined;
/// fn paid(ctx: &mut Context<'_>, joined: Joined<'_, String, String>) -> Result<()> {
///     ctx.emit(Row::text(format!("{:?} {:?}", joined.left, joined.right)).at(joined.time))
/// }
///
/// let join = testing::plugin::<Paid>("{}").expect("there is nothing to configure");
/// let mut run = testing::keyed(&join);
/// run.row_by(0, testing::Input::value("books").key("ada").at(1_000));
/// run.row_by(1, testing::Input::value("12 €").key("ada").at(5_000));
/// run.watermark(3_601_000);
/// assert_eq!(run.keys(), 0);
/// assert_eq!(run.end().values(), [r#"Some("books") Some("12 €")"#]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalJoin {
    kind: Kind,
    lower: i64,
    upper: i64,
    timer: u64,
}

/// What an [`IntervalJoin`] keeps for a key.
#[derive(Debug, State)]
pub struct IntervalRows<L: Item, R: Item> {
    left: Side<L>,
    right: Side<R>,
}

/// The rows of one side.
#[derive(Debug, State)]
struct Side<T: Item> {
    rows: Ordered<i64, T>,
    /// Rows without a partner, where such rows are in the result: their time, and their place among those of that time.
    lonely: Map<(i64, u32), ()>,
}

impl<L: Item, R: Item> Default for IntervalRows<L, R> {
    fn default() -> Self {
        Self { left: Side::default(), right: Side::default() }
    }
}

impl<T: Item> Default for Side<T> {
    fn default() -> Self {
        Self { rows: Ordered::new(), lonely: Map::new() }
    }
}

impl<L: Item, R: Item> IntervalRows<L, R> {
    /// The rows of the left side that are kept, with their times.
    pub fn left(&self) -> impl Iterator<Item = (i64, &L)> {
        self.left.rows.iter().map(|(&time, row)| (time, row))
    }

    /// The rows of the right side that are kept, with their times.
    pub fn right(&self) -> impl Iterator<Item = (i64, &R)> {
        self.right.rows.iter().map(|(&time, row)| (time, row))
    }
}

impl<T: Item> Side<T> {
    /// When the first row has to go, each staying for so long after its time.
    fn first_end(&self, reach: i64) -> Option<i64> {
        self.rows.first().map(|(time, _)| time.saturating_add(reach))
    }

    fn insert(&mut self, time: i64, row: T, lonely: bool) {
        if lonely {
            let place = self.rows.get(&time).count();
            self.lonely.insert((time, u32::try_from(place).unwrap_or(u32::MAX)), ());
        }
        self.rows.insert(time, row);
    }

    /// The rows of these times have found a partner.
    fn found(&mut self, times: &RangeInclusive<i64>) {
        self.lonely.remove_range((*times.start(), 0)..=(*times.end(), u32::MAX));
    }

    /// Gives the rows up to that time that have no partner, or as many of them as are good for one call. Returns whether
    /// that was all: then the rows of that time are gone.
    fn give(
        &mut self,
        ctx: &mut Context<'_>,
        last: i64,
        mut emit: impl FnMut(&mut Context<'_>, i64, &T) -> Result<()>,
    ) -> Result<bool> {
        let mut next = None;
        {
            // The rows up to that time, in the order of the others, so that each is passed once however many are of one time.
            let mut rows = self.rows.range(..=last).map(|(&time, row)| (time, row)).peekable();
            let (mut of, mut passed) = (None, 0);
            for (&(time, place), ()) in self.lonely.range(..=(last, u32::MAX)) {
                if ctx.is_full() {
                    next = Some((time, place));
                    break;
                }
                while rows.next_if(|&(row_time, _)| row_time < time).is_some() {}
                if of != Some(time) {
                    (of, passed) = (Some(time), 0);
                }
                while passed < place && rows.next_if(|&(row_time, _)| row_time == time).is_some() {
                    passed += 1;
                }
                if let Some((_, row)) = rows.next_if(|&(row_time, _)| row_time == time && passed == place) {
                    passed += 1;
                    emit(ctx, time, row)?;
                }
            }
        }
        // Places count the rows of a time, so the rows stay until the last one of them has been given.
        if let Some(next) = next {
            self.lonely.remove_range(..next);
            return Ok(false);
        }
        self.remove(last);
        Ok(true)
    }

    /// Removes the rows up to that time.
    fn remove(&mut self, last: i64) {
        self.lonely.remove_range(..=(last, u32::MAX));
        self.rows.remove(..=last);
    }
}

impl IntervalJoin {
    /// A join of rows where the right row's time minus the left row's time, in milliseconds, is within the bounds.
    ///
    /// # Errors
    /// `bad-interval`: bounds that nothing is within, or no bounds.
    pub fn new(kind: Kind, bounds: impl RangeBounds<i64>) -> Result<Self> {
        let lower = match bounds.start_bound() {
            Bound::Included(&lower) => Some(lower),
            Bound::Excluded(&below) => below.checked_add(1),
            Bound::Unbounded => None,
        };
        let upper = match bounds.end_bound() {
            Bound::Included(&upper) => Some(upper),
            Bound::Excluded(&above) => above.checked_sub(1),
            Bound::Unbounded => None,
        };
        match (lower, upper) {
            (Some(lower), Some(upper)) if lower <= upper && lower != i64::MIN => {
                Ok(Self { kind, lower, upper, timer: timer_id(INTERVAL_JOIN, 0) })
            }
            (Some(lower), Some(upper)) => {
                let reason = format_args!("no time between two rows is from {lower} ms to {upper} ms");
                Err(Error::new("bad-interval", reason))
            }
            _ => Err(Error::new("bad-interval", "the time between two rows needs a lower and an upper bound")),
        }
    }

    /// One of several interval joins of a plugin, each of which has a number of its own; without this it is 0.
    pub fn numbered(self, number: u32) -> Self {
        Self { timer: timer_id(INTERVAL_JOIN, number), ..self }
    }

    /// Takes a row of the left side, and gives its partners to `emit`.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn left<L: Item, R: Item>(
        &self,
        ctx: &mut Context<'_>,
        rows: &mut IntervalRows<L, R>,
        row: L,
        mut emit: impl FnMut(&mut Context<'_>, Joined<'_, L, R>) -> Result<()>,
    ) -> Result<Arrival> {
        let Some(partners) = self.partners_of_left(ctx) else { return Ok(Arrival::Late) };
        let time = ctx.time();
        self.recover(ctx, rows);
        let mut lonely = self.kind.keeps_left();
        for (&other, right) in rows.right.rows.range(partners.clone()) {
            lonely = false;
            emit(ctx, Joined { left: Some(&row), right: Some(right), time: time.max(other) })?;
        }
        rows.right.found(&partners);
        self.wake(ctx, rows, time.saturating_add(self.left_reach()));
        rows.left.insert(time, row, lonely);
        Ok(Arrival::Taken)
    }

    /// Takes a row of the right side, and gives its partners to `emit`.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn right<L: Item, R: Item>(
        &self,
        ctx: &mut Context<'_>,
        rows: &mut IntervalRows<L, R>,
        row: R,
        mut emit: impl FnMut(&mut Context<'_>, Joined<'_, L, R>) -> Result<()>,
    ) -> Result<Arrival> {
        let Some(partners) = self.partners_of_right(ctx) else { return Ok(Arrival::Late) };
        let time = ctx.time();
        self.recover(ctx, rows);
        let mut lonely = self.kind.keeps_right();
        for (&other, left) in rows.left.rows.range(partners.clone()) {
            lonely = false;
            emit(ctx, Joined { left: Some(left), right: Some(&row), time: time.max(other) })?;
        }
        rows.left.found(&partners);
        self.wake(ctx, rows, time.saturating_add(self.right_reach()));
        rows.right.insert(time, row, lonely);
        Ok(Arrival::Taken)
    }

    /// Takes a timer, lets go of rows, and gives those without a partner to `emit`: all of them, or as many as are good for
    /// one call, after which the timer [goes on](Context::go_on). Returns whether it was the join's.
    ///
    /// # Errors
    /// Those of `emit`. They reject the timer with the rows that it was for; those go when a row of the key comes after
    /// they had to go.
    pub fn on_timer<L: Item, R: Item>(
        &self,
        ctx: &mut Context<'_>,
        rows: &mut IntervalRows<L, R>,
        timer: Timer,
        mut emit: impl FnMut(&mut Context<'_>, Joined<'_, L, R>) -> Result<()>,
    ) -> Result<bool> {
        if !timer.is(self.timer) {
            return Ok(false);
        }
        let left = |ctx: &mut Context<'_>, time, row: &L| emit(ctx, Joined { left: Some(row), right: None, time });
        let mut whole = match last_to_go(timer.time, self.left_reach()) {
            Some(last) => rows.left.give(ctx, last, left)?,
            None => true,
        };
        let right = |ctx: &mut Context<'_>, time, row: &R| emit(ctx, Joined { left: None, right: Some(row), time });
        if whole && let Some(last) = last_to_go(timer.time, self.right_reach()) {
            whole = rows.right.give(ctx, last, right)?;
        }
        if !whole {
            return ctx.go_on().map(|()| true);
        }
        if let Some(end) = self.first_end(rows) {
            ctx.timers().set(self.timer, self.next_after(timer.time, end));
        }
        Ok(true)
    }

    /// The times of a left row's partners; none if the row is late.
    fn partners_of_left(&self, ctx: &Context<'_>) -> Option<RangeInclusive<i64>> {
        self.partners(ctx, self.lower, self.upper)
    }

    /// The times of a right row's partners; none if the row is late.
    fn partners_of_right(&self, ctx: &Context<'_>) -> Option<RangeInclusive<i64>> {
        self.partners(ctx, -self.upper, -self.lower)
    }

    /// When the timer is to come after `now` if the first row has to go at `end`.
    fn next_after(&self, now: i64, end: i64) -> i64 {
        end.max(now.saturating_add(self.step()))
    }

    /// For how long rows may stay after they had to go, so that many go together.
    fn step(&self) -> i64 {
        i64::try_from(self.upper.abs_diff(self.lower) / STEPS).unwrap_or(i64::MAX)
    }

    /// Rows that had to go more than a step before the watermark are there only if a timer failed: they go, and the timer
    /// comes for the others.
    fn recover<L: Item, R: Item>(&self, ctx: &mut Context<'_>, rows: &mut IntervalRows<L, R>) {
        let (Some(watermark), Some(end)) = (ctx.watermark(), self.first_end(rows)) else { return };
        if end.saturating_add(self.step()) >= watermark {
            return;
        }
        // A row that came at the watermark may have to go at it, and its timer has yet to come.
        let passed = watermark.saturating_sub(1);
        if let Some(last) = last_to_go(passed, self.left_reach()) {
            rows.left.remove(last);
        }
        if let Some(last) = last_to_go(passed, self.right_reach()) {
            rows.right.remove(last);
        }
        if let Some(end) = self.first_end(rows) {
            ctx.timers().set(self.timer, end);
        }
    }

    fn partners(&self, ctx: &Context<'_>, lower: i64, upper: i64) -> Option<RangeInclusive<i64>> {
        let time = ctx.time();
        let on_time = ctx.watermark().is_none_or(|watermark| time >= watermark);
        on_time.then(|| time.saturating_add(lower)..=time.saturating_add(upper))
    }

    /// For how long a row of the left side is kept after its time. None is kept for less than to its own time.
    fn left_reach(&self) -> i64 {
        self.upper.max(0)
    }

    /// For how long a row of the right side is kept after its time.
    fn right_reach(&self) -> i64 {
        (-self.lower).max(0)
    }

    fn first_end<L: Item, R: Item>(&self, rows: &IntervalRows<L, R>) -> Option<i64> {
        let ends = [rows.left.first_end(self.left_reach()), rows.right.first_end(self.right_reach())];
        ends.into_iter().flatten().min()
    }

    /// Makes sure that the timer comes when the new row has to go. It is set for the first one of those that are there.
    fn wake<L: Item, R: Item>(&self, ctx: &mut Context<'_>, rows: &IntervalRows<L, R>, end: i64) {
        if self.first_end(rows).is_none_or(|first| end < first) {
            ctx.timers().set(self.timer, end);
        }
    }
}

/// The time of the last rows that have to go at `now`, staying for so long after their times; none if none can.
fn last_to_go(now: i64, reach: i64) -> Option<i64> {
    // At the end of time everything goes, also what would have stayed beyond it.
    if now == i64::MAX { Some(now) } else { now.checked_sub(reach) }
}
