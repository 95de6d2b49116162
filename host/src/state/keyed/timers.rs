//! The timers of all keys.
//!
//! What is due is found in the order of time, then key, without looking at keys that have nothing due.

use super::key_timers::{KeyTimers, Timer};
use super::schedule::{Keys, Schedule};
use super::slots::{SlotId, Slots};
use crate::plugin::Domain;

/// The domains, each at the place of its number.
pub(super) const DOMAINS: [Domain; 2] = [Domain::Event, Domain::Processing];

/// The timers of all keys.
#[derive(Debug, Default)]
pub(super) struct Timers {
    kept: Vec<Kept>,
    free: Vec<u32>,
    schedules: [Schedule; 2],
    count: usize,
}

/// The timers of one key, and where it is entered in the schedules: one cache line, as each row of a key that sets a timer
/// has to look at it.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Kept {
    timers: KeyTimers,
    entered: [Option<i64>; 2],
}

/// The keys as one schedule sees them.
struct View<'a> {
    kept: &'a mut [Kept],
    slots: &'a Slots,
    domain: Domain,
}

impl View<'_> {
    fn kept(&self, id: SlotId) -> Option<&Kept> {
        self.kept.get(self.slots.timers(id)? as usize)
    }
}

impl Keys for View<'_> {
    fn entered(&self, id: SlotId) -> Option<i64> {
        self.kept(id)?.entered[self.domain as usize]
    }

    fn enter(&mut self, id: SlotId, at: Option<i64>) {
        if let Some(place) = self.slots.timers(id) {
            self.kept[place as usize].entered[self.domain as usize] = at;
        }
    }

    fn first(&self, id: SlotId) -> Option<i64> {
        self.kept(id)?.timers.first(self.domain)
    }

    fn sort_descending(&self, ids: &mut [SlotId]) {
        ids.sort_unstable_by(|&left, &right| self.slots.key(right).cmp(&self.slots.key(left)));
    }
}

impl Timers {
    /// Sets or replaces a timer of a key. [`Timers::update`] makes it known.
    pub(super) fn set(&mut self, slots: &mut Slots, id: SlotId, timer: Timer) {
        let at = match slots.timers(id) {
            Some(at) => at,
            None => {
                let at = self.free.pop().unwrap_or_else(|| {
                    self.kept.push(Kept::default());
                    (self.kept.len() - 1) as u32
                });
                slots.set_timers(id, Some(at));
                at
            }
        };
        let timers = &mut self.kept[at as usize].timers;
        let before = timers.len();
        timers.set(timer);
        self.count += timers.len() - before;
    }

    /// Removes a timer of a key; whether it was there.
    pub(super) fn remove(&mut self, slots: &Slots, id: SlotId, domain: Domain, timer: u64) -> bool {
        let Some(at) = slots.timers(id) else { return false };
        let removed = self.kept[at as usize].timers.remove(domain, timer);
        self.count -= usize::from(removed);
        removed
    }

    /// Makes changes of a key's timers known: where it is due first, or that it has none.
    pub(super) fn update(&mut self, slots: &mut Slots, id: SlotId) {
        let Some(at) = slots.timers(id) else { return };
        let none_left = self.kept[at as usize].timers.len() == 0;
        for domain in DOMAINS {
            let mut view = View { kept: &mut self.kept, slots, domain };
            let schedule = &mut self.schedules[domain as usize];
            if none_left { schedule.leave(id, &mut view) } else { schedule.update(id, &mut view) }
        }
        if none_left {
            self.kept[at as usize] = Kept::default();
            self.free.push(at);
            slots.set_timers(id, None);
        }
    }

    /// Takes out the next keys that have a timer due, at most `most`. Each has to be brought back by [`Timers::update`].
    pub(super) fn pop(&mut self, slots: &Slots, domain: Domain, until: i64, most: usize) -> Vec<(i64, SlotId)> {
        let mut popped = Vec::new();
        let mut view = View { kept: &mut self.kept, slots, domain };
        self.schedules[domain as usize].pop(until, most, &mut view, &mut popped);
        popped
    }

    /// The time at which, in order of time, more than `most` keys have a timer due by `until`.
    pub(super) fn backlog(&self, slots: &Slots, domain: Domain, until: i64, most: usize) -> Option<i64> {
        self.schedules[domain as usize].backlog(until, most, |id, at| {
            let kept = &self.kept[slots.timers(id)? as usize];
            kept.timers.first(domain).filter(|_| kept.entered[domain as usize] == Some(at))
        })
    }

    /// Makes [`Timers::first`] exact.
    pub(super) fn settle(&mut self, slots: &Slots) {
        for domain in DOMAINS {
            self.schedules[domain as usize].settle(&mut View { kept: &mut self.kept, slots, domain });
        }
    }

    /// The time before which nothing of a domain is due.
    pub(super) fn first(&self, domain: Domain) -> Option<i64> {
        self.schedules[domain as usize].first()
    }

    /// The timers of a key.
    pub(super) fn of(&self, slots: &Slots, id: SlotId) -> Option<&KeyTimers> {
        slots.timers(id).map(|at| &self.kept[at as usize].timers)
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        let schedules: usize = self.schedules.iter().map(Schedule::bytes).sum();
        // A timer is in a list of its own or in two trees with half-filled nodes; both come to about twice its size.
        self.kept.len() * size_of::<Kept>() + self.count * 2 * size_of::<Timer>() + schedules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_key_is_one_cache_line() {
        assert_eq!(size_of::<Kept>(), 64);
    }
}
