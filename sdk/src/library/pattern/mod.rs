//! Events of a key that follow one another: "three payments over 1000 within five minutes".
//!
//! ```
//! use std::time::Duration;
//!
//! use millstream_sdk::library::pattern::{Found, Matcher, Pattern, Skip, Matching};
//! use millstream_sdk::prelude::*;
//!
//! #[derive(Debug, Deserialize, Serialize)]
//! #[serde(crate = "millstream_sdk::serde")]
//! struct Payment {
//!     amount: u64,
//! }
//!
//! #[derive(Debug)]
//! struct Alarm(Matcher<Json<Payment>>);
//!
//! /// Cards with three large payments within five minutes.
//! #[process(outputs(alarms = "One row a match.", late = "Payments that came too late."))]
//! impl Process for Alarm {
//!     type Config = NoConfig;
//!     type Input<'a> = Json<Payment>;
//!     type State = Matching<Json<Payment>>;
//!
//!     fn new(_: NoConfig) -> Result<Self> {
//!         let large = Pattern::begin("large", |Json(payment): &Json<Payment>| payment.amount > 1000);
//!         Ok(Alarm(large.times(3).within(Duration::from_mins(5)).skip(Skip::PastLast).build()?))
//!     }
//!
//!     fn on_row(&self, ctx: &mut Context<'_>, matching: &mut Self::State, payment: Json<Payment>) -> Result<()> {
//!         let arrival = self.0.on_row(ctx, matching, payment)?;
//!         ctx.emit(arrival.is_late().then(|| Row::same().to("late")))
//!     }
//!
//!     fn on_timer(&self, ctx: &mut Context<'_>, matching: &mut Self::State, timer: Timer) -> Result<()> {
//!         let alarm = |ctx: &mut Context<'_>, found: Found<'_, Json<Payment>>| {
//!             let Found::Match(events) = found else { return Ok(()) };
//!             let total: u64 = events.of("large").map(|(_, Json(payment))| payment.amount).sum();
//!             ctx.emit(format!("{total} since {}", events.start()))
//!         };
//!         self.0.on_timer(ctx, matching, timer, alarm).map(drop)
//!     }
//! }
//!
//! let alarm = testing::plugin::<Alarm>("{}").expect("the pattern makes sense");
//! let mut run = testing::keyed(&alarm);
//! for (time, amount) in [(20_000, 1_500), (0, 2_000), (10_000, 5), (30_000, 1_001)] {
//!     run.row(testing::Input::value(format!(r#"{{"amount":{amount}}}"#)).key("ada").at(time));
//! }
//! run.watermark(29_999);
//! assert!(run.rows().is_empty(), "a match is there when the watermark has reached its last event");
//! run.watermark(30_000);
//! assert_eq!(run.end().values(), ["4501 since 0"]);
//! ```
//!
//! # What matches
//!
//! A [`Pattern`] is a sequence of stages. Events are kept until the watermark reaches them and then matched in the order
//! of their times, those of the same time in the order in which they came; an event that is not above the watermark when
//! it comes is late and takes no part.
//!
//! An event that fulfils a stage's condition is taken by every partial match that waits for that stage, and begins a new
//! one if it can be the first. How taken events may lie apart, a [`Contiguity`] says, for each stage and for the
//! repetitions within one. Each way to take events is a match of its own; [`Skip`] says which of them are left out once
//! one was found.
//!
//! [`Pattern::within`] bounds the time from the first event to the last, which is below it. A partial match times out when
//! the watermark reaches the first event's time plus that bound.
//!
//! # What it costs
//!
//! Events are kept once, however many partial matches share them, and only if they fulfil a condition of the pattern or
//! the pattern has a strict stage. Partial matches multiply with [`Contiguity::Any`] and with open ends such as
//! `at_least`: their number is bounded, and a key that passes the bound starts over ([`Found::Overflow`]).
//!
//! A key's state belongs to the pattern that made it: a version with other stages needs a name of its own for it, or a
//! [`Migrate`](crate::Migrate).

mod advance;
mod build;
mod events;
mod matcher;
mod plan;
mod run;
mod skip;

pub use super::arrival::Arrival;
pub use build::{Pattern, Times};
pub use events::Events;
pub use matcher::{Found, Matcher, Overflow};
pub use plan::Contiguity;
pub use run::Matching;
pub use skip::Skip;

#[cfg(test)]
mod tests;
