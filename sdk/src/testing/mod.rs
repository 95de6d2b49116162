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

mod input;
mod output;
mod run;

pub use input::Input;
pub(crate) use output::Said;
pub use output::{Emitted, Outcome, Rejected};
#[doc(hidden)]
pub use run::prepare;
pub use run::{FromConfig, fold, fold_merged, plugin, run};
