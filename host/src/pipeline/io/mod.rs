//! What moves records between the log and the engine: the intake reads, the runner applies and commits.

pub(super) mod activity;
mod ahead;
mod follow;
pub(super) mod intake;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "the endless loop is the server's"))]
pub(super) mod runner;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "what a pipeline shows is asked for by the server"))]
pub(super) mod shared;
