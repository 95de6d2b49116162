//! Sessions of a key: rows that follow one another within a gap, and how far each session came in a funnel.
//!
//! `sessions` holds those that have not ended, `config` what is asked for; here is when they end and what they look like.

mod config;
mod sessions;

use std::borrow::Cow;

use millstream_sdk::expression::Row as RowFields;
use millstream_sdk::fields::Chosen;
use millstream_sdk::prelude::*;

pub use config::{Config, Sessionize};
use sessions::Ended;
pub use sessions::Sessions;

/// The place of the output `late`.
const LATE: u16 = 1;
/// The timer for the end of the first session.
const END: u64 = 0;

/// A session that has ended.
#[derive(Debug, Serialize)]
struct Report<'s> {
    key: Option<Cow<'s, str>>,
    start: i64,
    end: i64,
    duration_ms: u64,
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Chosen<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Chosen<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    funnel: Option<Funnel<'s>>,
}

/// How far a session came.
#[derive(Debug, Serialize)]
struct Funnel<'s> {
    /// How many steps it took.
    reached: usize,
    steps: Vec<Step<'s>>,
}

/// A step, and when it was taken.
#[derive(Debug, Serialize)]
struct Step<'s> {
    name: &'s str,
    time: Option<i64>,
}

/// Sessions of a key by a gap, and how far each came in a funnel.
#[process(outputs(
    sessions = "One row a session: key, start, end, duration_ms, events, first and last fields, funnel.",
    late = "Rows that came too late, as they came."
))]
impl Process for Sessionize {
    type Config = Config;
    type Input<'a> = Option<&'a [u8]>;
    type State = Sessions;

    fn new(config: Config) -> Result<Self> {
        Self::of(config)
    }

    fn on_row(&self, ctx: &mut Context<'_>, sessions: &mut Sessions, value: Option<&[u8]>) -> Result<()> {
        let row = self.reader.read(ctx.key(), value, ctx.time())?;
        let time = ctx.time();
        let around = sessions.around(time, self.gap);
        if around.is_empty() && ctx.watermark().is_some_and(|watermark| sessions::end(time, self.gap) <= watermark) {
            ctx.out().pass_to(LATE);
            return Ok(());
        }
        let steps = self.steps(&row)?;
        let kept = sessions.steps();
        if let Some(max) = self.funnel_rows_max.filter(|&max| steps != 0 && kept >= max) {
            reject!("too-many-funnel-rows", "the key keeps {kept} rows of the funnel, and `funnel_rows_max` is {max}");
        }
        let end_before = sessions.first_end(self.gap);
        let values = self.places.iter().map(|&place| row.field(place).map(str::to_owned)).collect();
        let start = sessions.add(time, values, &around);
        if steps != 0 {
            sessions.add_step(start, time, steps);
        }
        self.wake(ctx, sessions, end_before);
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, sessions: &mut Sessions, timer: Timer) -> Result<()> {
        while let Some(Ended { start, session, steps }) = sessions.take_ended(timer.time, self.gap) {
            let chosen = |values| (!self.fields.is_empty()).then_some(Chosen { paths: &self.fields, values });
            let report = Report {
                key: ctx.key_text(),
                start,
                end: session.last,
                duration_ms: session.last.abs_diff(start),
                events: session.events,
                first: chosen(&session.first_values),
                last: chosen(&session.last_values),
                funnel: (!self.funnel.is_empty()).then(|| self.funnel(&steps)),
            };
            ctx.emit(Row::json(&report)?)?;
        }
        self.wake(ctx, sessions, None);
        Ok(())
    }
}

impl Sessionize {
    /// The steps that a row can be, as bits.
    fn steps(&self, row: &RowFields<'_>) -> Result<u32> {
        let mut steps = 0;
        for (bit, (_, condition)) in self.funnel.iter().enumerate() {
            steps |= u32::from(row.fulfils(condition)?) << bit;
        }
        Ok(steps)
    }

    /// How far a session with these rows came: each step is the first row that can be it after the step before.
    fn funnel(&self, rows: &[(i64, u32)]) -> Funnel<'_> {
        let mut times = Vec::new();
        for &(time, steps) in rows {
            if times.len() < self.funnel.len() && steps >> times.len() & 1 != 0 {
                times.push(time);
            }
        }
        let steps = self.funnel.iter().enumerate();
        let steps = steps.map(|(place, (name, _))| Step { name, time: times.get(place).copied() });
        Funnel { reached: times.len(), steps: steps.collect() }
    }

    /// Sets the timer for the end of the first session, if it is not set for that.
    fn wake(&self, ctx: &mut Context<'_>, sessions: &Sessions, set: Option<i64>) {
        match sessions.first_end(self.gap) {
            Some(end) if set != Some(end) => ctx.timers().set(END, end),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
