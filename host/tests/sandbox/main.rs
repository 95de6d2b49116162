//! The sandbox end to end: what an upload must be, what a call may do, and that the server outlives both.

mod calls;
mod guests;
mod hostile;
mod lines;
mod stubs;
mod uploads;
