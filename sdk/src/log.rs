//! Lines for the plugin's log: `log::info!("{count} rows")`, with the levels error, warn, info, debug and trace.
//!
//! The host shortens or drops what is over its limits. A line a row is a line too many: count instead.

pub use crate::{__debug as debug, __error as error, __info as info, __trace as trace, __warn as warn};

/// Something that stops the plugin from doing its work.
pub const ERROR: u8 = 1;
/// Something that should not be.
pub const WARN: u8 = 2;
/// Something worth knowing.
pub const INFO: u8 = 3;
/// Something that helps to find a mistake.
pub const DEBUG: u8 = 4;
/// Everything else.
pub const TRACE: u8 = 5;

/// Writes a line of that level. The macros of this module are the usual way.
pub fn write(level: u8, message: std::fmt::Arguments<'_>) {
    match message.as_str() {
        Some(message) => crate::host::log(level, message),
        None => crate::host::log(level, &message.to_string()),
    }
}

/// Logs an error: arguments as in [`format!`].
#[macro_export]
#[doc(hidden)]
macro_rules! __error {
    ($($message:tt)+) => { $crate::log::write($crate::log::ERROR, ::core::format_args!($($message)+)) };
}

/// Logs a warning: arguments as in [`format!`].
#[macro_export]
#[doc(hidden)]
macro_rules! __warn {
    ($($message:tt)+) => { $crate::log::write($crate::log::WARN, ::core::format_args!($($message)+)) };
}

/// Logs a line of information: arguments as in [`format!`].
#[macro_export]
#[doc(hidden)]
macro_rules! __info {
    ($($message:tt)+) => { $crate::log::write($crate::log::INFO, ::core::format_args!($($message)+)) };
}

/// Logs a line for finding mistakes: arguments as in [`format!`].
#[macro_export]
#[doc(hidden)]
macro_rules! __debug {
    ($($message:tt)+) => { $crate::log::write($crate::log::DEBUG, ::core::format_args!($($message)+)) };
}

/// Logs a line of detail: arguments as in [`format!`].
#[macro_export]
#[doc(hidden)]
macro_rules! __trace {
    ($($message:tt)+) => { $crate::log::write($crate::log::TRACE, ::core::format_args!($($message)+)) };
}
