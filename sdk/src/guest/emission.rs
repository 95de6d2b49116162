//! Rows that are handed over while a call runs.

use super::bindings::lifecycle::millstream::plugin::emission as host;
use super::convert;
use crate::answer::Rows;

/// Hands over rows, of which none are left; the memory that they were in is.
pub(crate) fn emit(rows: &mut Rows) {
    let handed = convert::rows(std::mem::take(rows));
    host::emit(&handed);
    *rows = convert::emptied(handed);
}

/// Takes back all but the first of the rows that were handed over.
pub(crate) fn keep(rows: u64) {
    host::keep(rows);
}

/// Notes that a group's first timer goes on.
pub(super) fn go_on(group: u32) {
    host::go_on(group);
}
