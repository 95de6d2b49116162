//! A stream, joined with the newest row of a table that has come.

use super::Arrival;
use crate::Context;
use crate::library::Item;
use crate::state::{Ttl, Value};

/// What a [`LatestJoin`] keeps for a key: the table's row with its event time, none for one that was deleted.
pub type Latest<T> = Value<(i64, Option<T>)>;

/// Gives the newest row of a table that has come so far. Rows of the stream need not wait, and none is late.
///
/// ```
/// use millstream_sdk::library::join::{Latest, LatestJoin};
/// use millstream_sdk::prelude::*;
///
/// #[derive(Debug)]
/// struct Priced(LatestJoin);
///
/// /// Orders with the price of the day.
/// #[process]
/// impl Process for Priced {
///     type Config = NoConfig;
///     type Input<'a> = Option<Text<'a>>;
///     type State = Latest<String>;
///
///     fn new(_: NoConfig) -> Result<Self> {
///         Ok(Priced(LatestJoin::new()))
///     }
///
///     fn state(&self) -> Latest<String> {
///         self.0.state()
///     }
///
///     fn on_row(&self, ctx: &mut Context<'_>, latest: &mut Latest<String>, row: Option<Text<'_>>) -> Result<()> {
///         if ctx.input() == 1 {
///             if self.0.table_row(ctx, latest, row.map(|Text(price)| price.to_owned())).is_late() {
///                 reject!("outdated", "there is a newer price");
///             }
///             return Ok(());
///         }
///         ctx.emit(self.0.newest(latest).map(|price| format!("for {price}")))
///     }
/// }
///
/// let join = testing::plugin::<Priced>("{}").expect("there is nothing to configure");
/// let mut run = testing::keyed(&join);
/// run.row_by(1, testing::Input::value("12 €").key("books").at(2_000));
/// run.row_by(1, testing::Input::value("11 €").key("books").at(1_000));
/// run.row_by(0, testing::Input::value("order").key("books").at(1_500));
/// let out = run.end();
/// assert_eq!((out.values(), out.codes()), (vec!["for 12 €".to_owned()], vec!["outdated"]));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatestJoin {
    by_arrival: bool,
    ttl: Option<Ttl>,
}

impl LatestJoin {
    /// The newest row is the one with the latest event time; of those at the same time, the one that came last.
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest row is the one that came last, whatever its event time.
    pub fn by_arrival(self) -> Self {
        Self { by_arrival: true, ..self }
    }

    /// Rows of the table are forgotten after a time.
    pub fn ttl(self, ttl: Ttl) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// The state of a key that has none, for [`Process::state`](crate::Process::state).
    pub fn state<T: Item>(&self) -> Latest<T> {
        self.ttl.map_or_else(Latest::new, |ttl| Latest::new().ttl(ttl))
    }

    /// Takes a row of the table; none deletes. It is late if there is a newer one.
    pub fn table_row<T: Item>(&self, ctx: &Context<'_>, latest: &mut Latest<T>, row: Option<T>) -> Arrival {
        let time = ctx.time();
        if !self.by_arrival && latest.get().is_some_and(|&(newest, _)| time < newest) {
            return Arrival::Late;
        }
        match row {
            // Where no event time has to be held against others, nothing need be known of what is not there.
            None if self.by_arrival => latest.clear(),
            row => latest.set((time, row)),
        }
        Arrival::Taken
    }

    /// The newest row of the table.
    pub fn newest<'s, T: Item>(&self, latest: &'s Latest<T>) -> Option<&'s T> {
        latest.get().and_then(|(_, row)| row.as_ref())
    }
}
