//! Event time: windows and watermarks. Pure: nothing here reads a clock, does I/O or keeps what it is not handed.
//!
//! Times are `i64` milliseconds since the Unix epoch. A watermark `W` says that no row at or before `W` is to be
//! expected; a window `[start, end)` is complete when `W >= end - 1`.

mod processing;
mod watermark;
mod watermarks;
mod window;
mod windowing;

pub use processing::ProcessingClock;
pub use watermark::{Disorder, Watermark};
pub use watermarks::{Input, Mark, Source, Watermarks};
pub use window::{HOPS_MAX, Hopping, Tumbling, Window};
pub use windowing::{Early, Kind, Mode, Session, Windowing};
