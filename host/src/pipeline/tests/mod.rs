//! Pipelines on the in-memory log with native guests: what is computed here is computed again by simple means.

mod compacted;
mod cuts;
mod driving;
mod formats;
mod guests;
mod harness;
mod migrating;
mod model;
mod process;
mod sessions;
mod sift;
mod stages;
mod timed_after;
mod timed_cuts;
mod tracker;
mod trouble;
mod whole;
mod wide;
mod windows;
