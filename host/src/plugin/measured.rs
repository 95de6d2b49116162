//! Counters and gauges of a step's plugin. A call's updates count only if the call succeeded.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::Metric;
use super::limits::CallLimits;

/// The counters and gauges of a step, with a bounded number of names.
#[derive(Debug, Default)]
pub struct GuestMetrics {
    values: Mutex<BTreeMap<String, Metric>>,
}

impl GuestMetrics {
    /// All values by name.
    pub fn snapshot(&self) -> BTreeMap<String, Metric> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the updates of a call that succeeded.
    pub(super) fn apply(&self, updates: Updates, limits: &CallLimits) {
        if updates.0.is_empty() {
            return;
        }
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, update) in updates.0 {
            if values.contains_key(&name) || values.len() < limits.metric_names {
                update.into(values.entry(name).or_insert_with(|| update.zero()));
            }
        }
    }
}

/// The updates of one call.
#[derive(Debug, Default)]
pub(super) struct Updates(BTreeMap<String, Metric>);

impl Updates {
    /// Takes one update, if there is room for its name.
    pub(super) fn take(&mut self, limits: &CallLimits, name: &str, update: Metric) {
        if let Some(value) = self.0.get_mut(name) {
            update.into(value);
        } else if self.0.len() < limits.metric_names && is_name(name, limits) {
            self.0.insert(name.to_owned(), update);
        }
    }
}

fn is_name(name: &str, limits: &CallLimits) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= limits.metric_name_bytes && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_gauges_keep_the_last() {
        let limits = CallLimits::default();
        let metrics = GuestMetrics::default();
        for round in 1..=2 {
            let mut updates = Updates::default();
            updates.take(&limits, "rows", Metric::Counter(round));
            updates.take(&limits, "rows", Metric::Counter(10));
            updates.take(&limits, "depth", Metric::Gauge(round as f64));
            updates.take(&limits, "depth", Metric::Counter(5));
            metrics.apply(updates, &limits);
        }
        let expected = [("depth".to_owned(), Metric::Gauge(2.0)), ("rows".to_owned(), Metric::Counter(23))];
        assert_eq!(metrics.snapshot(), expected.into());
    }

    #[test]
    fn names_are_bounded_in_number_and_form() {
        let limits = CallLimits { metric_names: 2, metric_name_bytes: 3, ..CallLimits::default() };
        let metrics = GuestMetrics::default();
        for name in ["a", "four", "b c", "", "b", "c"] {
            let mut updates = Updates::default();
            updates.take(&limits, name, Metric::Counter(1));
            metrics.apply(updates, &limits);
        }
        assert_eq!(metrics.snapshot().into_keys().collect::<Vec<_>>(), ["a", "b"]);
    }
}
