//! The timers of one key: by domain and id, and by time.

use std::collections::{BTreeMap, BTreeSet};

use crate::plugin::Domain;

/// Timers that are kept in a plain list; past this a search through all costs more than a tree.
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
#[derive(Debug, Default)]
pub(super) enum KeyTimers {
    #[default]
    None,
    /// What most keys have. It lies where the key's mark is, so that it costs no further look into memory.
    One(Timer),
    Few(Vec<Timer>),
    /// Elsewhere, so that the keys with one timer are not larger for it.
    Many(Box<Many>),
}

/// Timers past the few.
#[derive(Debug, Default)]
pub(super) struct Many {
    by_id: BTreeMap<(Domain, u64), i64>,
    by_time: BTreeSet<Timer>,
}

impl KeyTimers {
    /// The timers, if they are few enough to be in a list.
    fn list(&self) -> Option<&[Timer]> {
        match self {
            Self::None => Some(&[]),
            Self::One(timer) => Some(std::slice::from_ref(timer)),
            Self::Few(timers) => Some(timers),
            Self::Many(_) => None,
        }
    }

    /// Sets a timer, or replaces it.
    pub(super) fn set(&mut self, timer: Timer) {
        let same = |old: &Timer| (old.domain, old.id) == (timer.domain, timer.id);
        match self {
            Self::None => *self = Self::One(timer),
            Self::One(old) if same(old) => *old = timer,
            Self::One(old) => *self = Self::Few(vec![*old, timer]),
            Self::Few(timers) => {
                if let Some(old) = timers.iter_mut().find(|old| same(old)) {
                    *old = timer;
                } else if timers.len() < FEW {
                    timers.push(timer);
                } else {
                    let by_id = timers.iter().map(|timer| ((timer.domain, timer.id), timer.time)).collect();
                    *self = Self::Many(Box::new(Many { by_id, by_time: timers.iter().copied().collect() }));
                    self.set(timer);
                }
            }
            Self::Many(many) => {
                if let Some(time) = many.by_id.insert((timer.domain, timer.id), timer.time) {
                    many.by_time.remove(&Timer { time, ..timer });
                }
                many.by_time.insert(timer);
            }
        }
    }

    /// Removes a timer; whether it was there.
    pub(super) fn remove(&mut self, domain: Domain, id: u64) -> bool {
        let same = |timer: &Timer| (timer.domain, timer.id) == (domain, id);
        match self {
            Self::One(timer) if same(timer) => {
                *self = Self::None;
                true
            }
            Self::None | Self::One(_) => false,
            Self::Few(timers) => match timers.iter().position(same) {
                Some(at) => {
                    timers.swap_remove(at);
                    true
                }
                None => false,
            },
            Self::Many(many) => match many.by_id.remove(&(domain, id)) {
                Some(time) => many.by_time.remove(&Timer { domain, time, id }),
                None => false,
            },
        }
    }

    /// When a timer is due, if it is set.
    pub(super) fn get(&self, domain: Domain, id: u64) -> Option<i64> {
        match self {
            Self::Many(many) => many.by_id.get(&(domain, id)).copied(),
            few => few.list()?.iter().find(|timer| (timer.domain, timer.id) == (domain, id)).map(|timer| timer.time),
        }
    }

    /// When the first timer of a domain is due.
    pub(super) fn first(&self, domain: Domain) -> Option<i64> {
        match self {
            Self::Many(many) => {
                let first = many.by_time.range(Timer { domain, time: i64::MIN, id: 0 }..).next();
                first.filter(|timer| timer.domain == domain).map(|timer| timer.time)
            }
            few => few.list()?.iter().filter(|timer| timer.domain == domain).map(|timer| timer.time).min(),
        }
    }

    /// Appends the timers of a domain that are due at a time, by time and id.
    pub(super) fn due(&self, domain: Domain, until: i64, into: &mut Vec<Timer>) {
        match self {
            Self::Many(many) => {
                let first = Timer { domain, time: i64::MIN, id: 0 };
                into.extend(many.by_time.range(first..=Timer { domain, time: until, id: u64::MAX }));
            }
            few => {
                let from = into.len();
                let timers = few.list().unwrap_or_default().iter();
                into.extend(timers.filter(|timer| timer.domain == domain && timer.time <= until));
                into[from..].sort_unstable();
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Many(many) => many.by_id.len(),
            few => few.list().map_or(0, <[Timer]>::len),
        }
    }

    /// All of them, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Timer> {
        let many = match self {
            Self::Many(many) => Some(&many.by_time),
            _ => None,
        };
        self.list().into_iter().flatten().chain(many.into_iter().flatten()).copied()
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
