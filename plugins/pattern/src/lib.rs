//! Finds events of a key that follow one another, such as three payments over 1000 within five minutes.
//!
//! What matches is the SDK's library's to know. Here is what the configuration makes of it (`config`), what is kept of a
//! row (`event`), and what a match looks like.

mod config;
mod event;

use std::borrow::Cow;

use millstream_sdk::expression::{Expression, Names, Reader};
use millstream_sdk::fields::Chosen;
use millstream_sdk::library::pattern::{Events, Found, Matcher, Matching};
use millstream_sdk::prelude::*;

pub use config::Config;
use event::Event;

/// The place of the output `timed-out`.
const TIMED_OUT: u16 = 1;
/// The place of the output `late`.
const LATE: u16 = 2;
/// The place of the output `overflow`.
const OVERFLOW: u16 = 3;

/// The plugin.
#[derive(Debug)]
pub struct PatternRows {
    matcher: Matcher<Event>,
    conditions: Vec<Expression>,
    reader: Reader,
    /// The chosen fields: their paths, and their places among what is read.
    fields: Vec<String>,
    places: Vec<usize>,
}

/// A match, or what there was of one.
#[derive(Debug, Serialize)]
struct Report<'m> {
    key: Option<Cow<'m, str>>,
    /// The first event's time.
    start: i64,
    /// The last event's time.
    end: i64,
    events: Vec<Taken<'m>>,
}

/// An event of a match.
#[derive(Debug, Serialize)]
struct Taken<'m> {
    stage: &'m str,
    time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Chosen<'m>>,
}

/// A key that began anew.
#[derive(Debug, Serialize)]
struct Overflowed<'m> {
    key: Option<Cow<'m, str>>,
    time: i64,
    limit: &'static str,
    value: usize,
    used: usize,
}

/// Finds events of a key that follow one another.
#[process(outputs(
    matched = "One row a match: its key, the times of its first and last event, and each event with stage and fields.",
    "timed-out" = "The same for what began and for which time ran out.",
    late = "Rows that came too late, as they came.",
    overflow = "One row a key that had too many partial matches and began anew: the limit, its value and the use."
))]
impl Process for PatternRows {
    type Config = Config;
    type Input<'a> = Option<&'a [u8]>;
    type State = Matching<Event>;

    fn new(config: Config) -> Result<Self> {
        let mut names = Names::default();
        let made = config.make(&mut names)?;
        let fields = config.fields;
        Fields::new(&fields)?;
        let places = fields.iter().map(|path| names.field(path)).collect::<Result<_>>()?;
        Ok(Self { matcher: made.matcher, conditions: made.conditions, reader: names.reader()?, fields, places })
    }

    fn on_row(&self, ctx: &mut Context<'_>, matching: &mut Self::State, value: Option<&[u8]>) -> Result<()> {
        let row = self.reader.read(ctx.key(), value, ctx.time())?;
        let event = Event::of(&row, &self.conditions, &self.places)?;
        if self.matcher.on_row(ctx, matching, event)?.is_late() {
            ctx.out().pass_to(LATE);
        }
        Ok(())
    }

    fn on_timer(&self, ctx: &mut Context<'_>, matching: &mut Self::State, timer: Timer) -> Result<()> {
        let report = |ctx: &mut Context<'_>, found: Found<'_, Event>| match found {
            Found::Match(events) => self.emit(ctx, 0, &events),
            Found::TimedOut(events) => self.emit(ctx, TIMED_OUT, &events),
            Found::Overflow(overflow) => {
                let (key, time) = (ctx.key_text(), ctx.time());
                let (limit, value, used) = (overflow.limit, overflow.value, overflow.used);
                metrics::counter("overflows").add(1);
                ctx.emit(Row::json(&Overflowed { key, time, limit, value, used })?.to(OVERFLOW))
            }
        };
        self.matcher.on_timer(ctx, matching, timer, report).map(drop)
    }
}

impl PatternRows {
    fn emit(&self, ctx: &mut Context<'_>, output: u16, events: &Events<'_, Event>) -> Result<()> {
        let taken = events.iter().map(|(stage, time, event)| {
            let chosen = Chosen { paths: &self.fields, values: &event.fields };
            Taken { stage, time, fields: (!self.fields.is_empty()).then_some(chosen) }
        });
        let report = Report { key: ctx.key_text(), start: events.start(), end: events.end(), events: taken.collect() };
        ctx.emit(Row::json(&report)?.to(output))
    }
}

#[cfg(test)]
mod tests;
