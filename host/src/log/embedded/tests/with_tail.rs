//! The suite with reads from the memory tail.

use super::Reopening;
use crate::log::conformance::conformance;

conformance!(Reopening::with_tail(1 << 20));
