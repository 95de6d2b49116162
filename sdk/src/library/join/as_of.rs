//! A stream, joined with a table as it was at the time of the stream's row.
//!
//! The table's rows are kept as versions: one for each of its times. Those that no row to come can ask for go when the
//! key is next seen, so this costs no timers. Rows of the stream that wait have one timer a key, for the first of them.

use super::Arrival;
use crate::library::{AS_OF_JOIN, Item, timer_id};
use crate::state::{Ordered, Ttl, Value};
use crate::{Context, Result, State, Timer};

/// Gives the newest row of a table that is not after the stream's row.
///
/// A row of the stream waits until the watermark has reached its time, so that the table's rows up to then have come; it
/// can be told not to. A row is late if the watermark is past it by more than the retention: what was there then is not
/// known any more. A row of the table is late if no row that is not late can ask for it: there is a newer one for all of
/// them, or it is too old.
///
/// ```
/// use millstream_sdk::library::join::{AsOfJoin, Versions};
/// use millstream_sdk::prelude::*;
///
/// #[derive(Debug)]
/// struct Weather(AsOfJoin);
///
/// /// Flights with the weather at the time.
/// #[process(outputs(flights = "Flights with their weather.", late = "Rows that came too late."))]
/// impl Process for Weather {
///     type Config = NoConfig;
///     type Input<'a> = Text<'a>;
///     type State = Versions<String, String>;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Weather(AsOfJoin::new().max_age(7_200_000)))
///     }
///
///     fn state(&self) -> Self::State {
///         self.0.state()
///     }
///
///     fn on_row(&self, ctx: &mut Context<'_>, versions: &mut Self::State, Text(row): Text<'_>) -> Result<()> {
///         let arrival = match ctx.input() {
///             0 => self.0.stream_row(ctx, versions, row.to_owned(), emit)?,
///             _ => self.0.table_row(ctx, versions, Some(row.to_owned())),
///         };
///         ctx.emit(arrival.is_late().then(|| Row::same().to("late")))
///     }
///
///     fn on_timer(&self, ctx: &mut Context<'_>, versions: &mut Self::State, timer: Timer) -> Result<()> {
///         self.0.on_timer(ctx, versions, timer, emit).map(drop)
///     }
/// }
///
/// fn emit(ctx: &mut Context<'_>, time: i64, flight: &String, weather: Option<&String>) -> Result<()> {
///     ctx.emit(Row::text(format!("{flight}: {}", weather.map_or("unknown", String::as_str))).at(time))
/// }
///
/// let join = testing::plugin::<Weather>("{}").expect("there is nothing to configure");
/// let mut run = testing::keyed(&join);
/// run.row_by(0, testing::Input::value("BA 117").key("LHR").at(5_000));
/// run.row_by(1, testing::Input::value("rain").key("LHR").at(4_000));
/// run.row_by(1, testing::Input::value("sun").key("LHR").at(6_000));
/// run.watermark(6_000);
/// assert_eq!(run.end().values(), ["BA 117: rain"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOfJoin {
    retention: i64,
    max_age: Option<i64>,
    waits: bool,
    timer: u64,
}

/// What an [`AsOfJoin`] keeps for a key.
#[derive(Debug, State)]
pub struct Versions<S: Item, T: Item> {
    /// The table's rows by their times; none for deleted.
    versions: Ordered<i64, Option<T>>,
    waiting: Ordered<i64, S>,
    /// How many of the rows that need not wait any longer have been given, if not all of them could be at once.
    given: Value<u64>,
}

impl<S: Item, T: Item> Default for Versions<S, T> {
    fn default() -> Self {
        Self { versions: Ordered::new(), waiting: Ordered::new(), given: Value::new() }
    }
}

impl<S: Item, T: Item> Versions<S, T> {
    /// How many rows of the table are kept, and how many of the stream wait.
    pub fn sizes(&self) -> (usize, usize) {
        (self.versions.len(), self.waiting.len())
    }
}

impl Default for AsOfJoin {
    fn default() -> Self {
        Self::new()
    }
}

impl AsOfJoin {
    /// A join that waits, keeps nothing for rows below the watermark, and takes a row of the table however old it is.
    pub fn new() -> Self {
        Self { retention: 0, max_age: None, waits: true, timer: timer_id(AS_OF_JOIN, 0) }
    }

    /// Rows of the stream can come so many milliseconds below the watermark.
    pub fn retention(self, milliseconds: u64) -> Self {
        Self { retention: i64::try_from(milliseconds).unwrap_or(i64::MAX), ..self }
    }

    /// A row of the table counts for so many milliseconds after its time, and is forgotten when it cannot count any more.
    /// Without this the newest one of each key is kept for good.
    pub fn max_age(self, milliseconds: u64) -> Self {
        Self { max_age: Some(i64::try_from(milliseconds).unwrap_or(i64::MAX)), ..self }
    }

    /// Rows of the stream do not wait: they get the newest row of the table that has come by then.
    pub fn at_once(self) -> Self {
        Self { waits: false, ..self }
    }

    /// One of several as-of joins of a plugin, each of which has a number of its own; without this it is 0.
    pub fn numbered(self, number: u32) -> Self {
        Self { timer: timer_id(AS_OF_JOIN, number), ..self }
    }

    /// The state of a key that has none, for [`Process::state`](crate::Process::state).
    pub fn state<S: Item, T: Item>(&self) -> Versions<S, T> {
        let Some(age) = self.max_age else { return Versions::default() };
        // A version of time `t` counts for rows at `t + age` still, which are not late while the watermark is up to
        // `t + age + retention`.
        let milliseconds = age.saturating_add(self.retention).saturating_add(1).unsigned_abs();
        Versions { versions: Ordered::new().ttl(Ttl::event_time(milliseconds)), ..Versions::default() }
    }

    /// Takes a row of the table; none deletes. One of the same time replaces the one before.
    pub fn table_row<S: Item, T: Item>(
        &self,
        ctx: &Context<'_>,
        versions: &mut Versions<S, T>,
        row: Option<T>,
    ) -> Arrival {
        let time = ctx.time();
        let versions = &mut versions.versions;
        if let Some(horizon) = self.horizon(ctx.watermark()) {
            let newest = versions.range(..=horizon).next_back().map(|(&newest, _)| newest);
            let too_old = self.max_age.is_some_and(|age| time.saturating_add(age) < horizon);
            if too_old || newest.is_some_and(|newest| time < newest) {
                return Arrival::Late;
            }
        }
        versions.remove(time..=time);
        versions.insert(time, row);
        self.forget(versions, ctx.watermark());
        Arrival::Taken
    }

    /// Takes a row of the stream. `emit` gets it now or later: its time, the row, and the table's row.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn stream_row<S: Item, T: Item>(
        &self,
        ctx: &mut Context<'_>,
        versions: &mut Versions<S, T>,
        row: S,
        mut emit: impl FnMut(&mut Context<'_>, i64, &S, Option<&T>) -> Result<()>,
    ) -> Result<Arrival> {
        let (time, watermark) = (ctx.time(), ctx.watermark());
        if self.horizon(watermark).is_some_and(|horizon| time < horizon) {
            return Ok(Arrival::Late);
        }
        self.forget(&mut versions.versions, watermark);
        self.recover(ctx, versions);
        if !self.waits || watermark.is_some_and(|watermark| time <= watermark) {
            emit(ctx, time, &row, self.as_of(&versions.versions, time))?;
            return Ok(Arrival::Taken);
        }
        if versions.waiting.first().is_none_or(|(&first, _)| time < first) {
            ctx.timers().set(self.timer, time);
        }
        versions.waiting.insert(time, row);
        Ok(Arrival::Taken)
    }

    /// Takes a timer, and gives the rows that need not wait any longer to `emit`: all of them, or as many as are good for one
    /// call, after which the timer [goes on](Context::go_on). Returns whether it was the join's.
    ///
    /// # Errors
    /// Those of `emit`. They reject the timer with the rows that it was for; those go when the next row of the key's stream
    /// has come.
    pub fn on_timer<S: Item, T: Item>(
        &self,
        ctx: &mut Context<'_>,
        versions: &mut Versions<S, T>,
        timer: Timer,
        mut emit: impl FnMut(&mut Context<'_>, i64, &S, Option<&T>) -> Result<()>,
    ) -> Result<bool> {
        if !timer.is(self.timer) {
            return Ok(false);
        }
        let given = versions.given.get().copied().unwrap_or(0);
        for (place, (&time, row)) in (0..).zip(versions.waiting.range(..=timer.time)).skip_while(|&(at, _)| at < given)
        {
            if ctx.is_full() {
                versions.given.set(place);
                return ctx.go_on().map(|()| true);
            }
            emit(ctx, time, row, self.as_of(&versions.versions, time))?;
        }
        versions.given.clear();
        versions.waiting.remove(..=timer.time);
        self.forget(&mut versions.versions, Some(timer.time));
        if let Some((&first, _)) = versions.waiting.first() {
            ctx.timers().set(self.timer, first);
        }
        Ok(true)
    }

    /// Rows that wait for a time that has come are there only if a timer failed: they go, and the timer comes for the others.
    fn recover<S: Item, T: Item>(&self, ctx: &mut Context<'_>, versions: &mut Versions<S, T>) {
        let Some(watermark) = ctx.watermark() else { return };
        if versions.waiting.first().is_none_or(|(&first, _)| first > watermark) {
            return;
        }
        versions.waiting.remove(..=watermark);
        versions.given.clear();
        if let Some((&first, _)) = versions.waiting.first() {
            ctx.timers().set(self.timer, first);
        }
    }

    /// Rows of the stream before this time are late.
    fn horizon(&self, watermark: Option<i64>) -> Option<i64> {
        watermark.map(|watermark| watermark.saturating_sub(self.retention))
    }

    /// The newest row that is not after the time, nor too old for it.
    fn as_of<'v, T: Item>(&self, versions: &'v Ordered<i64, Option<T>>, time: i64) -> Option<&'v T> {
        let (&of, row) = versions.range(..=time).next_back()?;
        let counts = self.max_age.is_none_or(|age| of >= time.saturating_sub(age));
        row.as_ref().filter(|_| counts)
    }

    /// Removes the versions that no row which is not late can ask for: those before the newest of the horizon.
    fn forget<T: Item>(&self, versions: &mut Ordered<i64, Option<T>>, watermark: Option<i64>) {
        let newest = self.horizon(watermark).and_then(|horizon| versions.range(..=horizon).next_back());
        if let Some(&newest) = newest.map(|(time, _)| time) {
            versions.remove(..newest);
        }
    }
}
