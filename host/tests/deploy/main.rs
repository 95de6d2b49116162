//! The service that keeps pipelines alive, with compiled plugins and a log whose commits can be held up: what is asked of
//! it at once, what it stops, and what it goes on with.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod failing;
mod gated;
#[path = "../sandbox/guests.rs"]
#[expect(dead_code, reason = "the guests of the sandbox's own tests, of which these need a few")]
mod guests;
mod intents;
mod loops;
mod names;
mod places;
mod replays;
mod rewinds;
mod server;
mod stops;
mod swaps;
mod topics;
