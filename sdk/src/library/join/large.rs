//! Interval joins of keys with thousands of rows.
//!
//! Rows are in tables, by their time and a number that tells those of one time apart; the state has no more than the next
//! number and the time of the timer. What a row costs is what it finds, not what is kept.

use super::{Arrival, IntervalJoin, Joined};
use crate::library::Item;
use crate::state::Value;
use crate::{Context, Result, State, Table, Timer};

/// The place of a row in its table: its time, and a number.
type RowKey = (i64, u64);

/// An [`IntervalJoin`] that keeps its rows in tables, which the pipeline must grant.
///
/// ```
/// use millstream_sdk::library::join::{IntervalJoin, Joined, Kind, LargeIntervalJoin, LargeIntervalRows};
/// use millstream_sdk::prelude::*;
///
/// #[derive(Debug)]
/// struct Near(LargeIntervalJoin<String, String>);
///
/// /// Readings of two sensors within a second of each other.
/// #[process]
/// impl Process for Near {
///     type Config = NoConfig;
///     type Input<'a> = Text<'a>;
///     type State = LargeIntervalRows;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Near(LargeIntervalJoin::new(IntervalJoin::new(Kind::Inner, -1_000..=1_000)?, 0)))
///     }
///
///     fn on_row(&self, ctx: &mut Context<'_>, rows: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
///         let arrival = match ctx.input() {
///             0 => self.0.left(ctx, rows, &row.to_owned(), near)?,
///             _ => self.0.right(ctx, rows, &row.to_owned(), near)?,
///         };
///         if arrival.is_late() {
///             reject!("late", "the other sensor is past that time");
///         }
///         Ok(())
///     }
///
///     fn on_timer(&self, ctx: &mut Context<'_>, rows: &mut Self::State, timer: Timer) -> Result<()> {
///         self.0.on_timer(ctx, rows, timer, near).map(drop)
///     }
/// }
///
/// fn near(ctx: &mut Context<'_>, joined: Joined<'_, String, String>) -> Result<()> {
///     ctx.emit(Row::text(format!("{:?} {:?}", joined.left, joined.right)).at(joined.time))
/// }
///
/// let join = testing::plugin::<Near>("{}").expect("there is nothing to configure");
/// let mut run = testing::keyed(&join);
/// run.row_by(0, testing::Input::value("1.5").at(1_000));
/// run.row_by(1, testing::Input::value("2.5").at(2_000));
/// assert_eq!(run.table_entries(), 2);
/// run.watermark(3_000);
/// assert_eq!(run.table_entries(), 0);
/// assert_eq!(run.end().values(), [r#"Some("1.5") Some("2.5")"#]);
/// ```
#[derive(Debug)]
pub struct LargeIntervalJoin<L, R> {
    join: IntervalJoin,
    left: Side<L>,
    right: Side<R>,
}

/// What a [`LargeIntervalJoin`] keeps for a key besides its rows.
#[derive(Debug, Default, State)]
pub struct LargeIntervalRows {
    /// The number of the next row.
    next: Value<u64>,
    /// When the timer is due; none if there are no rows.
    timer: Value<i64>,
}

/// The tables of one side.
#[derive(Debug)]
struct Side<T> {
    rows: Table<RowKey, T>,
    /// Rows without a partner, where such rows are in the result.
    lonely: Table<RowKey, ()>,
}

impl<T: Item> Side<T> {
    fn found(&self, ctx: &mut Context<'_>, first: i64, last: i64) {
        self.lonely.delete_range(ctx, (first, 0)..=(last, u64::MAX));
    }

    fn insert(&self, ctx: &mut Context<'_>, place: RowKey, row: &T, lonely: bool) {
        self.rows.put(ctx, &place, row);
        if lonely {
            self.lonely.put(ctx, &place, &());
        }
    }

    /// Removes the rows up to that time, and answers with those without a partner, if such rows are in the result.
    fn remove(&self, ctx: &mut Context<'_>, last: i64, keeps: bool) -> Result<Vec<(i64, T)>> {
        let gone = ..=(last, u64::MAX);
        let mut lonely = Vec::new();
        if keeps {
            let places: Vec<RowKey> =
                self.lonely.range(ctx, gone, usize::MAX)?.into_iter().map(|(place, ())| place).collect();
            let rows = self.rows.get_many(ctx, &places)?;
            lonely.extend(places.iter().zip(rows).filter_map(|(&(time, _), row)| Some((time, row?))));
            self.lonely.delete_range(ctx, gone);
        }
        self.rows.delete_range(ctx, gone);
        Ok(lonely)
    }

    fn first_time(&self, ctx: &mut Context<'_>) -> Result<Option<i64>> {
        Ok(self.rows.range(ctx, .., 1)?.first().map(|&((time, _), _)| time))
    }
}

impl<L: Item, R: Item> LargeIntervalJoin<L, R> {
    /// The join with its rows in tables, of which it takes the one of that number and the three after it.
    pub const fn new(join: IntervalJoin, first_table: u32) -> Self {
        let left = Side { rows: Table::new(first_table), lonely: Table::new(first_table + 2) };
        let right = Side { rows: Table::new(first_table + 1), lonely: Table::new(first_table + 3) };
        Self { join, left, right }
    }

    /// Takes a row of the left side, and gives its partners to `emit`.
    ///
    /// # Errors
    /// Those of `emit`, and those of tables.
    pub fn left(
        &self,
        ctx: &mut Context<'_>,
        rows: &mut LargeIntervalRows,
        row: &L,
        mut emit: impl FnMut(&mut Context<'_>, Joined<'_, L, R>) -> Result<()>,
    ) -> Result<Arrival> {
        let Some(partners) = self.join.partners_of_left(ctx) else { return Ok(Arrival::Late) };
        let (first, last) = partners.into_inner();
        let time = ctx.time();
        let found = self.right.rows.range(ctx, (first, 0)..=(last, u64::MAX), usize::MAX)?;
        for ((other, _), right) in &found {
            emit(ctx, Joined { left: Some(row), right: Some(right), time: time.max(*other) })?;
        }
        if !found.is_empty() && self.join.kind().keeps_right() {
            self.right.found(ctx, first, last);
        }
        let place = self.take(ctx, rows, self.join.left_reach());
        self.left.insert(ctx, place, row, found.is_empty() && self.join.kind().keeps_left());
        Ok(Arrival::Taken)
    }

    /// Takes a row of the right side, and gives its partners to `emit`.
    ///
    /// # Errors
    /// Those of `emit`, and those of tables.
    pub fn right(
        &self,
        ctx: &mut Context<'_>,
        rows: &mut LargeIntervalRows,
        row: &R,
        mut emit: impl FnMut(&mut Context<'_>, Joined<'_, L, R>) -> Result<()>,
    ) -> Result<Arrival> {
        let Some(partners) = self.join.partners_of_right(ctx) else { return Ok(Arrival::Late) };
        let (first, last) = partners.into_inner();
        let time = ctx.time();
        let found = self.left.rows.range(ctx, (first, 0)..=(last, u64::MAX), usize::MAX)?;
        for ((other, _), left) in &found {
            emit(ctx, Joined { left: Some(left), right: Some(row), time: time.max(*other) })?;
        }
        if !found.is_empty() && self.join.kind().keeps_left() {
            self.left.found(ctx, first, last);
        }
        let place = self.take(ctx, rows, self.join.right_reach());
        self.right.insert(ctx, place, row, found.is_empty() && self.join.kind().keeps_right());
        Ok(Arrival::Taken)
    }

    /// Takes a timer, lets go of rows, and gives those without a partner to `emit`. Answers whether it was the join's.
    ///
    /// # Errors
    /// Those of `emit`, and those of tables.
    pub fn on_timer(
        &self,
        ctx: &mut Context<'_>,
        rows: &mut LargeIntervalRows,
        timer: Timer,
        mut emit: impl FnMut(&mut Context<'_>, Joined<'_, L, R>) -> Result<()>,
    ) -> Result<bool> {
        if !timer.is(self.join.timer()) {
            return Ok(false);
        }
        let kind = self.join.kind();
        if let Some(last) = super::interval::last_to_go(timer.time, self.join.left_reach()) {
            for (time, row) in &self.left.remove(ctx, last, kind.keeps_left())? {
                emit(ctx, Joined { left: Some(row), right: None, time: *time })?;
            }
        }
        if let Some(last) = super::interval::last_to_go(timer.time, self.join.right_reach()) {
            for (time, row) in &self.right.remove(ctx, last, kind.keeps_right())? {
                emit(ctx, Joined { left: None, right: Some(row), time: *time })?;
            }
        }
        let left = self.left.first_time(ctx)?.map(|time| time.saturating_add(self.join.left_reach()));
        let right = self.right.first_time(ctx)?.map(|time| time.saturating_add(self.join.right_reach()));
        match left.into_iter().chain(right).min() {
            Some(end) => self.set_timer(ctx, rows, self.join.next_after(timer.time, end)),
            None => {
                rows.timer.clear();
                rows.next.clear();
            }
        }
        Ok(true)
    }

    /// Gives a row its place, and sees to it that the timer comes when it has to go.
    fn take(&self, ctx: &mut Context<'_>, rows: &mut LargeIntervalRows, reach: i64) -> RowKey {
        let end = ctx.time().saturating_add(reach);
        if rows.timer.get().is_none_or(|&due| end < due) {
            self.set_timer(ctx, rows, end);
        }
        let next = rows.next.or_default();
        *next += 1;
        (ctx.time(), *next)
    }

    fn set_timer(&self, ctx: &mut Context<'_>, rows: &mut LargeIntervalRows, time: i64) {
        rows.timer.set(time);
        ctx.timers().set(self.join.timer(), time);
    }
}
