//! Write plugins for Millstream.
//!
//! A plugin is one function over a record, or a struct with a trait: [`Transform`] (rows in, rows out), [`Aggregate`]
//! (the rows of a key and window are folded into one result) or [`Process`] (state and timers of its own for each key).
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! #[config]
//! struct Config {
//!     /// Orders below this amount are dropped.
//!     minimum: u64,
//! }
//!
//! #[derive(Deserialize, Serialize)]
//! #[serde(crate = "millstream_sdk::serde")]
//! struct Order {
//!     customer: String,
//!     amount: u64,
//! }
//!
//! /// Keeps large orders and keys them by customer.
//! #[transform]
//! fn large_orders(config: &Config, Json(order): Json<Order>) -> Option<Row> {
//!     (order.amount >= config.minimum).then(|| Row::same().key(order.customer))
//! }
//!
//! let plugin = testing::plugin::<LargeOrders>(r#"{"minimum": 100}"#).expect("the configuration fits");
//! let out = testing::run(&plugin, [r#"{"customer":"ada","amount":120}"#, r#"{"customer":"bob","amount":5}"#, "?"]);
//! assert_eq!(out.rows[0].key_text(), "ada");
//! assert_eq!(out.rejected[0].code, "invalid-json");
//! ```
//!
//! # What the host guarantees and expects
//!
//! Rows come in batches, many a call; where a batch is cut is not for a plugin to see. An instance serves one call: what
//! `new` made of the configuration is there, and nothing that an earlier call left. So plugins are `Sync` values that no
//! call changes, and results are the same whenever they are computed.
//!
//! # Layers
//!
//! - [`transform`](macro@transform) on a function; parameters say what is read ([`input`]), the return type what is
//!   emitted ([`output`]).
//! - [`Transform::record`] and [`Aggregate::add`]: the same, with a struct that is prepared once.
//! - [`Process::on_row`] and [`Process::on_timer`]: what a key sees, in order, with its [`state`], its timers, tables and
//!   named outputs ([`process`](mod@process)). Joins and the like need not be written again ([`library`]).
//! - [`Transform::batch`] and [`Aggregate::add_batch`]: the columns themselves ([`batch`], [`answer`]).
//!
//! The exports that the host calls exist on `wasm32` only. Natively the plugin is an ordinary library: call its function,
//! or run it over rows with [`testing`].
//!
//! # Testing whole pipelines
//!
//! With the feature `driver`, `testing::TestDriver` runs a pipeline from its manifest, with its plugins compiled natively,
//! on the engine of the server: rows go in, results, late rows and dead letters come out, time and crashes are the test's
//! to command, and `check_cuts` shows that no result depends on how the input was cut. The feature `wasm` lets it run
//! components in the sandbox, too.
//!
//! ```toml
//! [dev-dependencies]
//! millstream-sdk = { version = "0.1", features = ["driver"] }
//! ```

#![deny(missing_docs)]

// The macros name this crate by its name, in its own tests and examples too.
extern crate self as millstream_sdk;

pub mod accumulator;
pub mod aggregate;
pub mod answer;
pub mod batch;
mod bounds;
pub mod collections;
pub mod columns;
pub mod config;
pub mod describe;
pub mod error;
mod export;
pub mod expression;
pub mod fields;
mod fold;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(any(test, all(target_arch = "wasm32", feature = "allocator")))]
mod heap;
mod host;
pub mod input;
pub mod library;
pub mod log;
pub mod lookup;
pub mod metrics;
pub mod migrate;
pub mod output;
pub mod prelude;
pub mod process;
mod row;
pub mod state;
pub mod table;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;
pub mod transform;

pub use accumulator::Accumulator;
pub use aggregate::{Aggregate, Window};
pub use answer::{Answer, Out};
pub use batch::{Batch, Record};
pub use config::NoConfig;
pub use describe::{Output, Reads};
pub use error::{Error, Result};
pub use fields::Fields;
pub use input::{Bytes, EventTime, FromRecord, Json, Key, Text};
pub use migrate::{Migrate, Raw};
pub use millstream_sdk_macros::{Accumulator, State, aggregate, config, process, transform};
pub use output::IntoRows;
pub use process::{Context, Domain, Process, Timer};
pub use row::{OutputId, Row};
pub use state::{List, Map, Ordered, State, Ttl, Value};
pub use table::{Table, TableKey};
pub use transform::Transform;
pub use {schemars, serde, serde_json};
