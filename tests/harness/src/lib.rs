//! Runs the real server with real plugins: for end-to-end tests, the demo and the benchmarks.
//!
//! - [`Server`] owns a process and its data folder, kills and restarts it, and keeps its log: what is logged as a warning
//!   or an error fails the test unless the test expects it.
//! - [`Client`] speaks to it over HTTP, with types of its own: what it can read is what the interface promises.
//! - [`Producer`] sends each batch once, however often it must be sent.
//! - [`binary`] and [`component`] build what is run, on demand and once for all processes that ask at the same time.
//! - [`clicks`] makes a stream of page views together with the answer to it.
//!
//! Nothing here sleeps for a fixed time: [`until`] waits for a condition and gives up at a deadline.

mod artifacts;
pub mod clicks;
mod client;
mod log;
mod producer;
mod random;
mod server;
mod wait;

pub use artifacts::{binary, component, components, tenant_file, workspace};
pub use client::{CallError, Client, Partition, Record, Refusal, Topic, refusal};
pub use log::{Log, is_trouble};
pub use producer::Producer;
pub use random::Random;
pub use server::{Options, Server};
pub use wait::until;
