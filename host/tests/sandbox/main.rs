//! The sandbox end to end: what an upload must be, what a call may do, and that the server outlives both.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod calls;
mod guests;
mod hostile;
mod lines;
mod lookups;
mod pages;
mod pieces;
mod process_guests;
mod processes;
mod stores;
mod stubs;
mod tables;
mod uploads;
