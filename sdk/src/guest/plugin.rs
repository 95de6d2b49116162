//! What every plugin exports, where its value lives between `init` and a call, and the functions of the host.

use std::cell::RefCell;
use std::sync::OnceLock;

use super::bindings::lifecycle::millstream::plugin::{log as host_log, metrics, types};
use crate::config::{self, Config};
use crate::describe::{Output, Reads};

/// A plugin with the place where `init` puts it. The macros implement it: a generic type has no static of its own.
pub trait Plugin: Sized + 'static {
    /// The place.
    fn slot() -> &'static OnceLock<Self>;

    /// The plugin that `init` made.
    fn get() -> &'static Self {
        Self::slot().get().expect("the host calls `init` before anything else")
    }
}

pub(super) fn describe<C: Config>(summary: &str, reads: Reads, outputs: &[Output]) -> types::Description {
    types::Description {
        summary: summary.to_owned(),
        config_schema: config::schema::<C>(),
        reads: reads.names().map(str::to_owned).collect(),
        outputs: outputs
            .iter()
            .map(|output| types::Output { name: output.name.to_owned(), summary: output.summary.to_owned() })
            .collect(),
    }
}

/// Makes the plugin and readies the instance of which every call starts from a copy.
pub(super) fn init<P: Plugin, C: Config>(config: &str, new: impl FnOnce(C) -> crate::Result<P>) -> Result<(), String> {
    std::panic::set_hook(Box::new(|panic| host_log::write(crate::log::ERROR, &panic.to_string())));
    let plugin = new(config::parse(config)?).map_err(|error| error.to_string())?;
    P::slot().set(plugin).map_err(|_| "`init` has run already".to_owned())?;
    reserve_memory();
    flush_metrics();
    Ok(())
}

/// Grows the memory ahead of the calls: growing it in each of them would cost more than the rows.
fn reserve_memory() {
    #[cfg(feature = "allocator")]
    crate::heap::reserve();
    // Any other allocator keeps what it is given back.
    #[cfg(not(feature = "allocator"))]
    drop(std::hint::black_box(Vec::<u8>::with_capacity(3 << 20)));
}

pub(crate) fn log(level: u8, message: &str) {
    host_log::write(level, message);
}

thread_local! {
    static COUNTERS: RefCell<Vec<(&'static str, u64)>> = const { RefCell::new(Vec::new()) };
    static GAUGES: RefCell<Vec<(&'static str, f64)>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn add_to_counter(name: &'static str, value: u64) {
    COUNTERS.with_borrow_mut(|counters| match counters.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum += value,
        None => counters.push((name, value)),
    });
}

pub(crate) fn set_gauge(name: &'static str, value: f64) {
    GAUGES.with_borrow_mut(|gauges| match gauges.iter_mut().find(|(known, _)| *known == name) {
        Some((_, last)) => *last = value,
        None => gauges.push((name, value)),
    });
}

/// Hands the metrics of the call to the host.
pub(super) fn flush_metrics() {
    COUNTERS.with_borrow_mut(|counters| counters.drain(..).for_each(|(name, sum)| metrics::add(name, sum)));
    GAUGES.with_borrow_mut(|gauges| gauges.drain(..).for_each(|(name, last)| metrics::set(name, last)));
}
