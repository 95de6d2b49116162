//! Two streams, joined by windows.
//!
//! A row is kept once, however many windows it is in. One timer a key, for the first window that is still to come, shows
//! each window when it is complete. A window with very many results is shown in parts, each of which begins where the one
//! before ended.

use std::ops::RangeInclusive;

use super::{Arrival, Joined, Kind};
use crate::library::{Item, WINDOW_JOIN, timer_id};
use crate::state::{Ordered, Value};
use crate::{Context, Error, Result, State, Timer, Window};

/// More windows a row than this are a mistake, such as steps of a millisecond through a day.
const WINDOWS_PER_ROW_MAX: i64 = 1_000;

/// Joins rows of the same key that are in the same window: each left one with each right one.
///
/// Windows begin at multiples of their step, moved by the offset, and do not contain their end. The results of a window
/// are there when the watermark has reached its last millisecond, which is their event time. A row of which all windows
/// are complete is late.
///
/// ```
/// use millstream_sdk::library::join::{Joined, Kind, WindowJoin, WindowRows};
/// use millstream_sdk::prelude::*;
///
/// #[derive(Debug)]
/// struct Seen(WindowJoin);
///
/// /// What was clicked in the minute in which it was shown.
/// #[process]
/// impl Process for Seen {
///     type Config = NoConfig;
///     type Input<'a> = Text<'a>;
///     type State = WindowRows<String, String>;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Seen(WindowJoin::tumbling(Kind::Left, 60_000)?))
///     }
///
///     fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
///         let arrival = match ctx.input() {
///             0 => self.0.left(ctx, rows, row.to_owned()),
///             _ => self.0.right(ctx, rows, row.to_owned()),
///         };
///         if arrival.is_late() {
///             reject!("late", "the minute of the row is over");
///         }
///         Ok(())
///     }
///
///     fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
///         let emit = |ctx: &mut Context<'_>, window: &Window<'_>, joined: Joined<'_, String, String>| {
///             ctx.emit(format!("{} {:?} {:?}", window.start, joined.left, joined.right))
///         };
///         self.0.on_timer(ctx, rows, timer, emit).map(drop)
///     }
/// }
///
/// let join = testing::plugin::<Seen>("{}").expect("there is nothing to configure");
/// let mut run = testing::keyed(&join);
/// run.row_by(0, testing::Input::value("shown").key("ada").at(1_000));
/// run.row_by(1, testing::Input::value("clicked").key("ada").at(59_999));
/// run.row_by(0, testing::Input::value("shown").key("ada").at(60_000));
/// run.watermark(119_999);
/// assert_eq!(run.end().values(), [r#"0 Some("shown") Some("clicked")"#, r#"60000 Some("shown") None"#]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowJoin {
    kind: Kind,
    size: i64,
    step: i64,
    offset: i64,
    timer: u64,
}

/// What a [`WindowJoin`] keeps for a key.
#[derive(Debug, State)]
pub struct WindowRows<L: Item, R: Item> {
    left: Ordered<i64, L>,
    right: Ordered<i64, R>,
    /// How far the window that is being shown has come, if not all of it could be shown at once.
    shown: Value<Place>,
}

/// A place among the results of a window: of the left row and the right one of the next result among those of the window.
type Place = (u64, u64);

impl<L: Item, R: Item> Default for WindowRows<L, R> {
    fn default() -> Self {
        Self { left: Ordered::new(), right: Ordered::new(), shown: Value::default() }
    }
}

impl<L: Item, R: Item> WindowRows<L, R> {
    /// The first time of which there is a row.
    fn first_time(&self) -> Option<i64> {
        let left = self.left.first().map(|(&time, _)| time);
        let right = self.right.first().map(|(&time, _)| time);
        left.into_iter().chain(right).min()
    }
}

impl WindowJoin {
    /// A join in windows of that many milliseconds that follow each other.
    ///
    /// # Errors
    /// `bad-window`: a size of zero or less.
    pub fn tumbling(kind: Kind, size: i64) -> Result<Self> {
        Self::hopping(kind, size, size)
    }

    /// A join in windows of that many milliseconds, a new one of which begins with every `step`.
    ///
    /// # Errors
    /// `bad-window`: a size or step of zero or less, a step greater than the size, or more than 1,000 windows at a time.
    pub fn hopping(kind: Kind, size: i64, step: i64) -> Result<Self> {
        if size <= 0 || step <= 0 || step > size {
            let reason =
                format_args!("windows of {size} ms each {step} ms: both are above zero, the step not above the size");
            return Err(Error::new("bad-window", reason));
        }
        if size / step > WINDOWS_PER_ROW_MAX {
            let reason = format_args!(
                "windows of {size} ms each {step} ms: a row would be in {} of them, and {WINDOWS_PER_ROW_MAX} is the limit",
                size / step
            );
            return Err(Error::new("bad-window", reason));
        }
        Ok(Self { kind, size, step, offset: 0, timer: timer_id(WINDOW_JOIN, 0) })
    }

    /// Windows begin so many milliseconds after multiples of their step.
    pub fn offset(self, offset: i64) -> Self {
        Self { offset, ..self }
    }

    /// One of several window joins of a plugin, each of which has a number of its own; without this it is 0.
    pub fn numbered(self, number: u32) -> Self {
        Self { timer: timer_id(WINDOW_JOIN, number), ..self }
    }

    /// Takes a row of the left side.
    pub fn left<L: Item, R: Item>(&self, ctx: &mut Context<'_>, rows: &mut WindowRows<L, R>, row: L) -> Arrival {
        let arrival = self.arrive(ctx, rows);
        if arrival == Arrival::Taken {
            rows.left.insert(ctx.time(), row);
        }
        arrival
    }

    /// Takes a row of the right side.
    pub fn right<L: Item, R: Item>(&self, ctx: &mut Context<'_>, rows: &mut WindowRows<L, R>, row: R) -> Arrival {
        let arrival = self.arrive(ctx, rows);
        if arrival == Arrival::Taken {
            rows.right.insert(ctx.time(), row);
        }
        arrival
    }

    /// Takes a timer, and gives the results of the window that is complete to `emit`: all of them, or as many as are good
    /// for one call, after which the timer [goes on](Context::go_on). Returns whether it was the join's.
    ///
    /// # Errors
    /// Those of `emit`. They reject the timer, and the window has no more results than were given before. Its rows go when
    /// the key's next row has come.
    pub fn on_timer<L: Item, R: Item>(
        &self,
        ctx: &mut Context<'_>,
        rows: &mut WindowRows<L, R>,
        timer: Timer,
        emit: impl FnMut(&mut Context<'_>, &Window<'_>, Joined<'_, L, R>) -> Result<()>,
    ) -> Result<bool> {
        if !timer.is(self.timer) {
            return Ok(false);
        }
        // A window that would end after the end of time is complete there.
        let last = timer.time;
        let start = i64::try_from(self.next_end(i128::from(last)) - i128::from(self.size)).unwrap_or(i64::MIN);
        let from = rows.shown.get().copied().unwrap_or_default();
        if let Some(next) = self.show(ctx, rows, start..=last, from, emit)? {
            rows.shown.set(next);
            return ctx.go_on().map(|()| true);
        }
        rows.shown.clear();
        let gone = self.first_time_after(last);
        rows.left.remove(..gone);
        rows.right.remove(..gone);
        if last == i64::MAX {
            rows.left.clear();
            rows.right.clear();
        }
        if let Some(first) = rows.first_time() {
            ctx.timers().set(self.timer, self.next_last(first, Some(last)));
        }
        Ok(true)
    }

    /// Gives the results of one window from a place on to `emit`. Answers with the place to go on at, if there is more.
    fn show<L: Item, R: Item>(
        &self,
        ctx: &mut Context<'_>,
        rows: &WindowRows<L, R>,
        times: RangeInclusive<i64>,
        (from_left, from_right): Place,
        mut emit: impl FnMut(&mut Context<'_>, &Window<'_>, Joined<'_, L, R>) -> Result<()>,
    ) -> Result<Option<Place>> {
        let (start, time) = (*times.start(), *times.end());
        let window = Window { key: ctx.key(), start, end: time.saturating_add(1) };
        let right: Vec<&R> = rows.right.range(times.clone()).map(|(_, right)| right).collect();
        let mut lefts = (0_u64..).zip(rows.left.range(times).map(|(_, left)| left)).peekable();
        let any_left = lefts.peek().is_some();
        for (left_place, left) in lefts.skip_while(|&(place, _)| place < from_left) {
            let first = if left_place == from_left { from_right } else { 0 };
            for (right_place, right) in (0_u64..).zip(&right).skip_while(|&(place, _)| place < first) {
                if ctx.is_full() {
                    return Ok(Some((left_place, right_place)));
                }
                emit(ctx, &window, Joined { left: Some(left), right: Some(right), time })?;
            }
            if right.is_empty() && self.kind.keeps_left() {
                if ctx.is_full() {
                    return Ok(Some((left_place, 0)));
                }
                emit(ctx, &window, Joined { left: Some(left), right: None, time })?;
            }
        }
        if !any_left && self.kind.keeps_right() {
            for (place, right) in (0_u64..).zip(right).skip_while(|&(place, _)| place < from_right) {
                if ctx.is_full() {
                    return Ok(Some((0, place)));
                }
                emit(ctx, &window, Joined { left: None, right: Some(right), time })?;
            }
        }
        Ok(None)
    }

    /// Says whether a row is late; if not, the timer comes for its first window that is not complete. It is set already for
    /// the first row that is there.
    fn arrive<L: Item, R: Item>(&self, ctx: &mut Context<'_>, rows: &mut WindowRows<L, R>) -> Arrival {
        let time = ctx.time();
        self.recover(ctx, rows);
        let first = rows.first_time();
        let last = self.next_last(time, ctx.watermark());
        // Of the windows that contain the time, the last one begins within a step before it.
        let next_start = self.next_end(i128::from(time) + i128::from(self.size)) - i128::from(self.size);
        let end = next_start - i128::from(self.step) + i128::from(self.size);
        if i128::from(last) >= end {
            return Arrival::Late;
        }
        if first.is_none_or(|first| time < first) {
            ctx.timers().set(self.timer, last);
        }
        Arrival::Taken
    }

    /// Rows of windows that are complete are there only if a timer failed: they go, and the timer comes for those that stay.
    fn recover<L: Item, R: Item>(&self, ctx: &mut Context<'_>, rows: &mut WindowRows<L, R>) {
        let (Some(watermark), Some(first)) = (ctx.watermark(), rows.first_time()) else { return };
        let next = self.next_last(first, Some(watermark));
        if next == self.next_last(first, None) {
            return;
        }
        let start = i64::try_from(i128::from(next) + 1 - i128::from(self.size)).unwrap_or(i64::MIN);
        rows.left.remove(..start);
        rows.right.remove(..start);
        rows.shown.clear();
        if let Some(first) = rows.first_time() {
            ctx.timers().set(self.timer, self.next_last(first, Some(watermark)));
        }
    }

    /// The last millisecond of the first window that contains the time or comes after it, and is not complete.
    fn next_last(&self, time: i64, watermark: Option<i64>) -> i64 {
        let complete = watermark.map_or(i128::MIN, |watermark| i128::from(watermark) + 1);
        let last = self.next_end(i128::from(time).max(complete)) - 1;
        i64::try_from(last).unwrap_or(i64::MAX)
    }

    /// The first end of a window that is after the time.
    fn next_end(&self, time: i128) -> i128 {
        let (size, step, offset) = (i128::from(self.size), i128::from(self.step), i128::from(self.offset));
        time + step - (time - offset - size).rem_euclid(step)
    }

    /// The first time that is in a window which ends after `last`.
    fn first_time_after(&self, last: i64) -> i64 {
        let end = self.next_end(i128::from(last) + 1);
        i64::try_from(end - i128::from(self.size)).unwrap_or(i64::MIN)
    }
}
