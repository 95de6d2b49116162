//! The binary as people and scripts use it: every command against a real server, where it succeeds and where it fails.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod api;
mod changes;
mod pipelines;
mod plugins;
mod program;
mod serve;
mod topics;
