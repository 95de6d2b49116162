//! The timers of one key: by domain and id, and by time.

use std::collections::{BTreeMap, BTreeSet};

use crate::plugin::Domain;

/// Timers that are kept in a plain list. Most keys have one or two; past this a search through all costs more than a
/// tree.
const FEW: usize = 16;

/// A timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timer {
    /// What it is measured in.
    pub domain: Domain,
    /// When it is due.
    pub time: i64,
    /// What the plugin calls it.
    pub id: u64,
}

/// The timers of one key; of each domain and id there is one.
#[derive(Debug)]
pub(super) enum KeyTimers {
    Few(Vec<Timer>),
    Many { by_id: BTreeMap<(Domain, u64), i64>, by_time: BTreeSet<Timer> },
}

impl Default for KeyTimers {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl KeyTimers {
    /// Sets a timer, or replaces it.
    pub(super) fn set(&mut self, timer: Timer) {
        match self {
            Self::Few(timers) => {
                if let Some(old) = timers.iter_mut().find(|old| (old.domain, old.id) == (timer.domain, timer.id)) {
                    *old = timer;
                } else if timers.len() < FEW {
                    if timers.is_empty() {
                        timers.reserve_exact(1);
                    }
                    timers.push(timer);
                } else {
                    let by_id = timers.iter().map(|timer| ((timer.domain, timer.id), timer.time)).collect();
                    *self = Self::Many { by_id, by_time: timers.iter().copied().collect() };
                    self.set(timer);
                }
            }
            Self::Many { by_id, by_time } => {
                if let Some(time) = by_id.insert((timer.domain, timer.id), timer.time) {
                    by_time.remove(&Timer { time, ..timer });
                }
                by_time.insert(timer);
            }
        }
    }

    /// Removes a timer; whether it was there.
    pub(super) fn remove(&mut self, domain: Domain, id: u64) -> bool {
        match self {
            Self::Few(timers) => match timers.iter().position(|timer| (timer.domain, timer.id) == (domain, id)) {
                Some(at) => {
                    timers.swap_remove(at);
                    true
                }
                None => false,
            },
            Self::Many { by_id, by_time } => match by_id.remove(&(domain, id)) {
                Some(time) => by_time.remove(&Timer { domain, time, id }),
                None => false,
            },
        }
    }

    /// When a timer is due, if it is set.
    pub(super) fn get(&self, domain: Domain, id: u64) -> Option<i64> {
        match self {
            Self::Few(timers) => timers.iter().find(|timer| (timer.domain, timer.id) == (domain, id)).map(|t| t.time),
            Self::Many { by_id, .. } => by_id.get(&(domain, id)).copied(),
        }
    }

    /// When the first timer of a domain is due.
    pub(super) fn first(&self, domain: Domain) -> Option<i64> {
        match self {
            Self::Few(timers) => timers.iter().filter(|timer| timer.domain == domain).map(|timer| timer.time).min(),
            Self::Many { by_time, .. } => {
                let first = by_time.range(Timer { domain, time: i64::MIN, id: 0 }..).next();
                first.filter(|timer| timer.domain == domain).map(|timer| timer.time)
            }
        }
    }

    /// Appends the timers of a domain that are due at a time, by time and id.
    pub(super) fn due(&self, domain: Domain, until: i64, into: &mut Vec<Timer>) {
        match self {
            Self::Few(timers) => {
                let from = into.len();
                into.extend(timers.iter().filter(|timer| timer.domain == domain && timer.time <= until));
                into[from..].sort_unstable();
            }
            Self::Many { by_time, .. } => {
                let first = Timer { domain, time: i64::MIN, id: 0 };
                into.extend(by_time.range(first..=Timer { domain, time: until, id: u64::MAX }));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(timers) => timers.len(),
            Self::Many { by_id, .. } => by_id.len(),
        }
    }

    /// All of them, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Timer> {
        let (few, many) = match self {
            Self::Few(timers) => (Some(timers), None),
            Self::Many { by_time, .. } => (None, Some(by_time)),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten()).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_and_many_timers_are_the_same_map(
            changes in proptest::collection::vec((any::<bool>(), 0_u64..40, -50_i64..50, any::<bool>()), 0..200),
            until in -50_i64..50,
        ) {
            let (mut timers, mut model) = (KeyTimers::default(), BTreeMap::new());
            for (event, id, time, set) in changes {
                let domain = if event { Domain::Event } else { Domain::Processing };
                if set {
                    timers.set(Timer { domain, time, id });
                    model.insert((domain, id), time);
                } else {
                    prop_assert_eq!(timers.remove(domain, id), model.remove(&(domain, id)).is_some());
                }
                prop_assert_eq!(timers.get(domain, id), model.get(&(domain, id)).copied());
            }
            prop_assert_eq!(timers.len(), model.len());
            for domain in [Domain::Event, Domain::Processing] {
                let mut expected: Vec<_> = model.iter().map(|(&(domain, id), &time)| Timer { domain, time, id }).collect();
                expected.retain(|timer| timer.domain == domain);
                prop_assert_eq!(timers.first(domain), expected.iter().map(|timer| timer.time).min());
                expected.retain(|timer| timer.time <= until);
                expected.sort();
                let mut due = Vec::new();
                timers.due(domain, until, &mut due);
                prop_assert_eq!(due, expected);
            }
        }
    }
}
