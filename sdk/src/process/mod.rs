//! Plugins with state and timers of their own for each key.
//!
//! ```
//! use millstream_sdk::prelude::*;
//!
//! #[config]
//! struct Config {
//!     /// A visitor is gone after so many milliseconds without a click.
//!     gap_ms: i64,
//! }
//!
//! #[derive(Debug, Default, State)]
//! struct Visit {
//!     clicks: Value<u64>,
//!     pages: Map<String, u64>,
//! }
//!
//! const GONE: u64 = 1;
//!
//! #[derive(Debug)]
//! struct Visits {
//!     gap_ms: i64,
//! }
//!
//! /// Counts the clicks of each visit.
//! #[process]
//! impl Process for Visits {
//!     type Config = Config;
//!     type Input<'a> = Text<'a>;
//!     type State = Visit;
//!
//!     fn new(config: Config) -> Result<Self> {
//!         Ok(Self { gap_ms: config.gap_ms })
//!     }
//!
//!     fn on_row(&self, ctx: &mut Context<'_>, visit: &mut Visit, Text(page): Text<'_>) -> Result<()> {
//!         *visit.clicks.or_default() += 1;
//!         *visit.pages.or_default(page.to_owned()) += 1;
//!         let gone = ctx.time() + self.gap_ms;
//!         ctx.timers().set(GONE, gone);
//!         Ok(())
//!     }
//!
//!     fn on_timer(&self, ctx: &mut Context<'_>, visit: &mut Visit, _: Timer) -> Result<()> {
//!         let clicks = visit.clicks.take().unwrap_or_default();
//!         ctx.emit(format!("{clicks} clicks on {} pages", visit.pages.len()))?;
//!         visit.pages.clear();
//!         Ok(())
//!     }
//! }
//!
//! let visits = testing::plugin::<Visits>(r#"{"gap_ms": 100}"#).expect("the configuration fits");
//! let mut run = testing::keyed(&visits);
//! run.row(testing::Input::value("/home").key("ada").at(1_000));
//! run.row(testing::Input::value("/shop").key("ada").at(1_050));
//! assert_eq!(run.timers("ada")[0].time, 1_150);
//! run.watermark(1_150);
//! let out = run.end();
//! assert_eq!(out.values(), ["2 clicks on 2 pages"]);
//! assert_eq!((out.rows[0].key_text(), out.rows[0].timestamp), ("ada".to_owned(), 1_150));
//! ```

mod call;
mod context;
mod queue;
mod timer;

use std::fmt::Debug;

#[doc(hidden)]
pub use call::{Done, DueTimers, TimerChanges, Work, process};
pub use context::Context;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use timer::{CLEAN_UP, timer_of};
pub use timer::{Domain, LIBRARY_IDS, PLUGIN_IDS, Timer, Timers};

use crate::config::Config;
use crate::describe::{ONE_OUTPUT, Output, Reads};
use crate::error::Result;
use crate::input::FromRecord;
use crate::state::State;

/// A plugin that keeps state for each key and sees the key's rows and timers in order.
///
/// Put [`#[process]`](macro@crate::process) on the `impl`: its doc comment becomes the summary, and the plugin is
/// exported.
///
/// # Order
///
/// A key's rows come in the order of their partition. An event-time timer fires before the key's first row at whose place
/// the watermark has reached it, timers among themselves by time, then id. Nothing else can be seen: not where batches
/// are cut, nor which keys a call is about. So a timer sees as watermark its own time, not what the watermark has become.
///
/// An error from a row or a timer rejects it: it becomes a dead letter with the error's code and reason, and state, tables,
/// timers and rows are as if it had not been. A timer that was rejected is gone; what is to be tried again has to be set
/// again by a later row or timer.
///
/// # How much
///
/// A row may emit as many rows as it likes: they go out in pieces, and are limited to 32 MiB. So are those of a timer, and a
/// timer that has more can [go on](Context::go_on) in further calls and commits.
pub trait Process: Debug + Sized + Send + Sync + 'static {
    /// What the plugin does, in a sentence.
    const SUMMARY: &'static str;
    /// Where rows leave.
    const OUTPUTS: &'static [Output] = ONE_OUTPUT;
    /// The columns that the plugin reads: those of its input. Keys come once a group and need not be asked for.
    const READS: Reads = <Self::Input<'static> as FromRecord<'static>>::READS.without_keys();

    /// The configuration; [`NoConfig`](crate::NoConfig) for none.
    type Config: Config;
    /// What is taken of each record. Where inputs differ, take the [`Record`](crate::Record) and read it by
    /// [`Context::input`].
    type Input<'a>: FromRecord<'a>;
    /// What is kept for each key; `()` for nothing.
    type State: State;

    /// Prepares the plugin. Runs once, at deploy; an error refuses the deployment with its reason.
    fn new(config: Self::Config) -> Result<Self>;

    /// The state of a key that has none: here go times to live that come from the configuration.
    fn state(&self) -> Self::State {
        Self::State::default()
    }

    /// Processes a row of the key.
    fn on_row(&self, ctx: &mut Context<'_>, state: &mut Self::State, input: Self::Input<'_>) -> Result<()>;

    /// Processes a timer of the key that has fallen due. Rows emitted here need a value of their own; their key and event
    /// time are, if not set, the timer's.
    fn on_timer(&self, ctx: &mut Context<'_>, state: &mut Self::State, timer: Timer) -> Result<()> {
        let _ = (ctx, state, timer);
        Ok(())
    }
}
