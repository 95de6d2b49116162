//! The suite with all reads from the disk.

use super::Reopening;
use crate::log::conformance::conformance;

conformance!(Reopening::with_tail(0));
