//! Counters and gauges of the plugin: `metrics::counter("skipped").add(1)`.
//!
//! In the guest they are summed up and handed to the host at the end of the call: counting a row costs no host call.

/// A number that only grows.
#[derive(Debug, Clone, Copy)]
pub struct Counter(&'static str);

/// A number that goes up and down.
#[derive(Debug, Clone, Copy)]
pub struct Gauge(&'static str);

/// The counter of that name.
pub const fn counter(name: &'static str) -> Counter {
    Counter(name)
}

/// The gauge of that name.
pub const fn gauge(name: &'static str) -> Gauge {
    Gauge(name)
}

impl Counter {
    /// Adds to the counter.
    pub fn add(self, value: u64) {
        crate::host::add_to_counter(self.0, value);
    }
}

impl Gauge {
    /// Sets the gauge.
    pub fn set(self, value: f64) {
        crate::host::set_gauge(self.0, value);
    }
}
