//! Pipelines on the in-memory log with native guests: what is computed here is computed again by simple means.

mod changes;
mod compacted;
mod cuts;
mod driving;
mod formats;
mod guests;
pub(super) mod harness;
mod idle;
mod loops;
mod migrating;
mod model;
mod process;
mod reading;
mod rounds;
mod runners;
mod sessions;
mod sift;
mod stages;
mod timed_after;
mod timed_cuts;
mod tracker;
#[cfg(feature = "server")]
mod trials;
mod trouble;
mod whole;
mod wide;
mod windows;
mod work;
