//! The functions that the host grants to plugins. Natively, a recorder and the stores of `testing` stand in for it.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::guest::{
    add_to_counter, log, lookup, pages_get, pages_put, set_gauge, table_delete_range, table_get, table_put, table_range,
};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::{
    lookup_many as lookup, pages_get, pages_put, table_delete_range, table_get, table_put, table_range,
};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use recorder::{add_to_counter, log, set_gauge, take};

#[cfg(not(target_arch = "wasm32"))]
mod recorder {
    //! Keeps what a plugin says, thread by thread, until a test takes it.

    use std::cell::RefCell;
    use std::mem;

    use crate::testing::Reported;

    thread_local!(static REPORTED: RefCell<Reported> = RefCell::default());

    pub(crate) fn log(level: u8, message: &str) {
        REPORTED.with_borrow_mut(|reported| reported.logs.push((level, message.to_owned())));
    }

    pub(crate) fn add_to_counter(name: &'static str, value: u64) {
        REPORTED.with_borrow_mut(|reported| *reported.counters.entry(name.to_owned()).or_default() += value);
    }

    pub(crate) fn set_gauge(name: &'static str, value: f64) {
        REPORTED.with_borrow_mut(|reported| reported.gauges.insert(name.to_owned(), value));
    }

    pub(crate) fn take() -> Reported {
        REPORTED.with_borrow_mut(mem::take)
    }
}
