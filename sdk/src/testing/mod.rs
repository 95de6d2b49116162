//! Runs a plugin over rows natively, as the host would: for the plugin's own tests.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! /// Drops empty lines.
//! #[transform]
//! fn not_empty(line: &str) -> bool {
//!     metrics::counter("lines").add(1);
//!     !line.is_empty()
//! }
//!
//! let plugin = testing::plugin::<NotEmpty>("{}").expect("there is nothing to configure");
//! let out = testing::run(&plugin, ["a", "", "b"]);
//! assert_eq!(out.values(), ["a", "b"]);
//! assert_eq!(out.counters["lines"], 3);
//! ```

pub use crate::bounds::Bounds;

#[cfg(feature = "driver")]
mod driver;
mod input;
mod keyed;
#[cfg(feature = "driver")]
#[doc(hidden)]
pub mod native;
mod output;
mod run;
mod store;

pub use crate::state::{StateBounds, with_state_bounds};
#[cfg(feature = "driver")]
pub use driver::{Crash, DeadLetter, Drivable, Refused, Setup, TestDriver, TopicRow};
pub use input::Input;
pub use keyed::{FROM_TIMER, Keyed, keyed};
pub(crate) use output::Reported;
pub use output::{Emitted, Outcome, Rejected};
pub use run::{FromConfig, fold, fold_merged, plugin, run, state};
#[doc(hidden)]
pub use run::{migrate_accumulator, migrate_state, prepare};
#[cfg(test)]
pub(crate) use store::MemoryTables;
pub use store::lookup;
#[doc(hidden)]
pub use store::{Lookups, Tables, with_lookups, with_tables};
pub(crate) use store::{lookup_many, pages_get, pages_put, table_delete_range, table_get, table_put, table_range};
