//! Joins two inputs by time, or rows with a table.
//!
//! What is joined how is the SDK's library's to know; here is what the configuration makes of it (`config`), and what
//! becomes of the results: both values side by side, as they came.

mod config;

use millstream_sdk::library::join::{Arrival, IntervalRows, Joined, Latest, Versions, WindowRows};
use millstream_sdk::prelude::*;
use millstream_sdk::serde_json::value::RawValue;

use config::Method;
pub use config::{Config, Join};

/// The place of the output `unmatched`.
const UNMATCHED: u16 = 1;
/// The place of the output `late`.
const LATE: u16 = 2;

/// What is kept for a key. Of the parts one is in use; each of the others takes a byte or two.
#[derive(Debug, Default, State)]
pub struct Kept {
    interval: IntervalRows<String, String>,
    window: WindowRows<String, String>,
    latest: Latest<String>,
    as_of: Versions<String, String>,
}

impl Kept {
    /// The rows of an interval join.
    pub fn interval(&self) -> &IntervalRows<String, String> {
        &self.interval
    }
}

/// The sides of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Joins two inputs by time, or rows with a table.
#[process(outputs(
    joined = "The values of both rows, as `left` and `right`; `null` for none.",
    unmatched = "The same for rows without a partner, where the configuration says `split`.",
    late = "Rows that came too late, as they came."
))]
impl Process for Join {
    type Config = Config;
    type Input<'a> = Option<Json<&'a RawValue>>;
    type State = Kept;

    fn new(config: Config) -> Result<Self> {
        Join::of(&config)
    }

    fn state(&self) -> Kept {
        let empty = Kept::default();
        match &self.method {
            Method::Interval(_) | Method::Window(_) => empty,
            Method::Latest(join) => Kept { latest: join.state(), ..empty },
            Method::AsOf(join) => Kept { as_of: join.state(), ..empty },
        }
    }

    fn on_row(&self, ctx: &mut Context<'_>, kept: &mut Kept, row: Self::Input<'_>) -> Result<()> {
        let side = self.side(ctx.input())?;
        let row = row.map(|Json(value)| value.get().to_owned());
        let arrival = match (&self.method, side) {
            (Method::Latest(join), Side::Right) => join.table_row(ctx, &mut kept.latest, row),
            (Method::AsOf(join), Side::Right) => join.table_row(ctx, &mut kept.as_of, row),
            (_, _) => {
                let Some(row) = row else { reject!("null-value", "the row has no value to join") };
                self.stream_row(ctx, kept, side, row)?
            }
        };
        if arrival.is_late() {
            ctx.out().pass_to(LATE);
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, kept: &mut Kept, timer: Timer) -> Result<()> {
        match &self.method {
            Method::Interval(join) => {
                join.on_timer(ctx, &mut kept.interval, timer, |ctx, joined| self.emit(ctx, None, joined))?;
            }
            Method::Window(join) => {
                let emit = |ctx: &mut Context<'_>, window: &Window<'_>, joined: Joined<'_, String, String>| {
                    self.emit(ctx, Some((window.start, window.end)), joined)
                };
                join.on_timer(ctx, &mut kept.window, timer, emit)?;
            }
            Method::Latest(_) => {}
            Method::AsOf(join) => {
                join.on_timer(ctx, &mut kept.as_of, timer, |ctx, time, row, table| {
                    self.looked_up(ctx, time, row, table)
                })?;
            }
        }
        Ok(())
    }
}

impl Join {
    fn side(&self, input: u16) -> Result<Side> {
        match input {
            input if input == self.left => Ok(Side::Left),
            input if input == self.right => Ok(Side::Right),
            other => {
                let (left, right) = (self.left, self.right);
                reject!(
                    "unknown-input",
                    "the row came by input {other}; the inputs are {left} (left) and {right} (right)"
                )
            }
        }
    }

    /// Takes a row that is no table's.
    fn stream_row(&self, ctx: &mut Context<'_>, kept: &mut Kept, side: Side, row: String) -> Result<Arrival> {
        match (&self.method, side) {
            (Method::Interval(join), Side::Left) => {
                join.left(ctx, &mut kept.interval, row, |ctx, joined| self.emit(ctx, None, joined))
            }
            (Method::Interval(join), Side::Right) => {
                join.right(ctx, &mut kept.interval, row, |ctx, joined| self.emit(ctx, None, joined))
            }
            (Method::Window(join), Side::Left) => Ok(join.left(ctx, &mut kept.window, row)),
            (Method::Window(join), Side::Right) => Ok(join.right(ctx, &mut kept.window, row)),
            (Method::Latest(join), _) => {
                self.looked_up(ctx, ctx.time(), &row, join.newest(&kept.latest))?;
                Ok(Arrival::Taken)
            }
            (Method::AsOf(join), _) => join
                .stream_row(ctx, &mut kept.as_of, row, |ctx, time, row, table| self.looked_up(ctx, time, row, table)),
        }
    }

    /// A left row and what the table has for it.
    fn looked_up(&self, ctx: &mut Context<'_>, time: i64, row: &String, table: Option<&String>) -> Result<()> {
        if table.is_none() && !self.kind.keeps_left() {
            return Ok(());
        }
        self.emit(ctx, None, Joined { left: Some(row), right: table, time })
    }

    /// Emits a result: `{"left":..,"right":..}`, before that the window if there is one.
    fn emit(
        &self,
        ctx: &mut Context<'_>,
        window: Option<(i64, i64)>,
        joined: Joined<'_, String, String>,
    ) -> Result<()> {
        let output = if self.split && !joined.is_pair() { UNMATCHED } else { 0 };
        let [left, right] = [joined.left, joined.right].map(|row| row.map_or("null", String::as_str));
        let mut out = ctx.out();
        let mut row = out.row();
        row.timestamp(joined.time).output(output);
        row.value_with(|value| {
            value.push(b'{');
            if let Some((start, end)) = window {
                value.extend_from_slice(format!(r#""start":{start},"end":{end},"#).as_bytes());
            }
            for part in [r#""left":"#, left, r#","right":"#, right, "}"] {
                value.extend_from_slice(part.as_bytes());
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
