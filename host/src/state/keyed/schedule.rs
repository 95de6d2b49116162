//! Which keys have something due, in the order of time.
//!
//! A key is entered at the time of its first timer. When that timer moves to a later time, which is what most timers do
//! ("ten minutes after the last row"), the entry stays where it is and moves when it is reached: so setting such a timer
//! again costs nothing here. An entry counts if the key says that it is entered at this very time.

use std::collections::{BTreeMap, BinaryHeap};

use super::slots::SlotId;

/// Entries that no longer count are cleared away when they are more than the others, and not before there are so many.
const STALE_MIN: usize = 1024;

/// Keys by the time of their first timer of one domain.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    buckets: BTreeMap<i64, Bucket>,
    /// Entries in all buckets.
    entries: usize,
    /// Keys that are entered.
    entered: usize,
}

#[derive(Debug, Default)]
struct Bucket {
    ids: Vec<SlotId>,
    /// Whether the ids are in order, the greatest key first: they leave from the end.
    sorted: bool,
}

/// What a schedule asks of the keys.
pub(super) trait Keys {
    /// Where the key is entered.
    fn entered(&self, id: SlotId) -> Option<i64>;
    /// Notes where the key is entered now.
    fn enter(&mut self, id: SlotId, at: Option<i64>);
    /// When its first timer is due.
    fn first(&self, id: SlotId) -> Option<i64>;
    /// Sorts slots by key, the greatest first.
    fn sort_descending(&self, ids: &mut [SlotId]);
}

impl Schedule {
    /// Enters a key at the time of its first timer, unless it is entered before that already.
    pub(super) fn update(&mut self, id: SlotId, keys: &mut impl Keys) {
        let Some(first) = keys.first(id) else { return };
        match keys.entered(id) {
            Some(at) if at <= first => return,
            Some(_) => {}
            None => self.entered += 1,
        }
        self.push(first, id, keys);
        if self.entries > 2 * self.entered + STALE_MIN {
            self.clear_away(keys);
        }
    }

    /// Notes that a key has no timers any more.
    pub(super) fn leave(&mut self, id: SlotId, keys: &mut impl Keys) {
        if keys.entered(id).is_some() {
            keys.enter(id, None);
            self.entered -= 1;
        }
    }

    /// Takes out the next keys that are due at a time, at most `most`, with the times of their first timers: in the order
    /// of time, then key.
    pub(super) fn pop(&mut self, until: i64, most: usize, keys: &mut impl Keys, into: &mut Vec<(i64, SlotId)>) {
        let from = into.len();
        while into.len() - from < most
            && let Some(mut bucket) = self.buckets.first_entry().filter(|bucket| *bucket.key() <= until)
        {
            let (time, Bucket { ids, sorted }) = (*bucket.key(), bucket.get_mut());
            if !*sorted {
                let before = ids.len();
                ids.retain(|&id| keys.entered(id) == Some(time));
                self.entries -= before - ids.len();
                keys.sort_descending(ids);
                *sorted = true;
            }
            let Some(id) = ids.pop() else {
                bucket.remove();
                continue;
            };
            self.entries -= 1;
            if keys.entered(id) != Some(time) {
                continue;
            }
            keys.enter(id, None);
            match keys.first(id) {
                Some(first) if first == time => {
                    self.entered -= 1;
                    into.push((time, id));
                }
                Some(later) => self.push(later, id, keys),
                None => self.entered -= 1,
            }
        }
    }

    /// Makes sure that the first entry counts, so that [`Schedule::first`] is exact.
    pub(super) fn settle(&mut self, keys: &mut impl Keys) {
        while let Some(mut bucket) = self.buckets.first_entry() {
            let time = *bucket.key();
            let Some(&id) = bucket.get().ids.last() else {
                bucket.remove();
                continue;
            };
            let counts = keys.entered(id) == Some(time);
            let first = keys.first(id);
            if counts && first == Some(time) {
                return;
            }
            bucket.get_mut().ids.pop();
            self.entries -= 1;
            if counts {
                keys.enter(id, None);
                match first {
                    Some(later) => self.push(later, id, keys),
                    None => self.entered -= 1,
                }
            }
        }
    }

    /// The time of the first entry: nothing is due before it.
    pub(super) fn first(&self) -> Option<i64> {
        self.buckets.keys().next().copied()
    }

    /// The time at which, in order of time, more than `most` keys are due by `until`. `first` says when the first timer of a
    /// key is due, if the key is entered at that time.
    ///
    /// As long as there are not more entries than that up to `until`, nothing is asked of the keys.
    pub(super) fn backlog(&self, until: i64, most: usize, first: impl Fn(SlotId, i64) -> Option<i64>) -> Option<i64> {
        let due = || self.buckets.range(..=until);
        let mut entries = due().scan(0, |sum, (_, bucket)| {
            *sum += bucket.ids.len();
            Some(*sum)
        });
        if self.entries <= most || !entries.any(|entries| entries > most) {
            return None;
        }
        // The first times at which keys are due, one more than `most`, with the last of them on top.
        let mut times = BinaryHeap::new();
        let mut ids = Vec::new();
        for (&entered, bucket) in due() {
            // No timer is due before the time at which its key is entered.
            if times.len() > most && times.peek().is_some_and(|&last| last <= entered) {
                break;
            }
            ids.clear();
            ids.extend(bucket.ids.iter().filter_map(|&id| Some((id, first(id, entered)?))));
            // A key that left a bucket and came back is in it twice.
            ids.sort_unstable();
            ids.dedup();
            for &(_, time) in ids.iter().filter(|(_, time)| *time <= until) {
                times.push(time);
                if times.len() > most.saturating_add(1) {
                    times.pop();
                }
            }
        }
        times.pop().filter(|_| times.len() == most)
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        // A bucket is an allocation, a header and its share of a tree node.
        self.entries * size_of::<SlotId>() + self.buckets.len() * 64
    }

    fn push(&mut self, at: i64, id: SlotId, keys: &mut impl Keys) {
        keys.enter(id, Some(at));
        let bucket = self.buckets.entry(at).or_default();
        bucket.ids.push(id);
        bucket.sorted = bucket.ids.len() == 1;
        self.entries += 1;
    }

    fn clear_away(&mut self, keys: &impl Keys) {
        self.entries = 0;
        self.buckets.retain(|&time, bucket| {
            bucket.ids.retain(|&id| keys.entered(id) == Some(time));
            // A key that left a bucket and came back is in it twice.
            bucket.ids.sort_unstable();
            bucket.ids.dedup();
            bucket.sorted = bucket.ids.len() < 2;
            bucket.ids.shrink_to_fit();
            self.entries += bucket.ids.len();
            !bucket.ids.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys are their numbers; each has one timer at most.
    #[derive(Debug, Default)]
    struct Plain(BTreeMap<SlotId, (Option<i64>, Option<i64>)>);

    impl Keys for Plain {
        fn entered(&self, id: SlotId) -> Option<i64> {
            self.0.get(&id).and_then(|(entered, _)| *entered)
        }

        fn enter(&mut self, id: SlotId, at: Option<i64>) {
            self.0.entry(id).or_default().0 = at;
        }

        fn first(&self, id: SlotId) -> Option<i64> {
            self.0.get(&id).and_then(|(_, first)| *first)
        }

        fn sort_descending(&self, ids: &mut [SlotId]) {
            ids.sort_unstable_by(|left, right| right.cmp(left));
        }
    }

    #[test]
    fn moving_timers_do_not_pile_up() {
        let (mut schedule, mut keys) = (Schedule::default(), Plain::default());
        for round in 0..100_000 {
            keys.0.entry(7).or_default().1 = Some(200_000 - round);
            schedule.update(7, &mut keys);
        }
        assert!(schedule.entries < 3 * STALE_MIN, "{} entries for one key", schedule.entries);
        assert!(schedule.buckets.len() < 3 * STALE_MIN);
    }

    #[test]
    fn keys_are_looked_at_only_where_there_may_be_a_crowd() {
        let (mut schedule, mut keys) = (Schedule::default(), Plain::default());
        for id in 0..10 {
            keys.0.entry(id).or_default().1 = Some(i64::from(id / 2));
            schedule.update(id, &mut keys);
        }
        let asked = std::cell::Cell::new(0);
        let backlog = |until, most| {
            let backlog = schedule.backlog(until, most, |id, _| {
                asked.set(asked.get() + 1);
                keys.first(id)
            });
            (backlog, asked.take())
        };
        assert_eq!(backlog(9, 10), (None, 0));
        assert_eq!(backlog(1, 4), (None, 0));
        assert_eq!(backlog(2, 4), (Some(2), 6));
        assert_eq!(backlog(9, 4), (Some(2), 6), "not those after the backlog");
    }

    #[test]
    fn timers_that_moved_away_make_no_crowd() {
        let (mut schedule, mut keys) = (Schedule::default(), Plain::default());
        for id in 0..10 {
            keys.0.entry(id).or_default().1 = Some(5);
            schedule.update(id, &mut keys);
            keys.0.entry(id).or_default().1 = Some(100 + i64::from(id));
            schedule.update(id, &mut keys);
        }
        let backlog =
            |until| schedule.backlog(until, 3, |id, at| keys.first(id).filter(|_| keys.entered(id) == Some(at)));
        assert_eq!((backlog(50), backlog(102), backlog(103), backlog(200)), (None, None, Some(103), Some(103)));
    }

    proptest! {
        #[test]
        fn keys_come_in_the_order_of_their_first_timers(
            changes in proptest::collection::vec((0_u32..8, proptest::option::of(0_i64..20), 0_i64..20, 0_usize..4), 0..100),
        ) {
            let (mut schedule, mut keys) = (Schedule::default(), Plain::default());
            for (id, timer, until, most) in changes {
                keys.0.entry(id).or_default().1 = timer;
                match timer {
                    Some(_) => schedule.update(id, &mut keys),
                    None => schedule.leave(id, &mut keys),
                }
                let mut expected: Vec<_> = keys.0.iter().filter_map(|(&id, (_, first))| Some(((*first)?, id))).collect();
                expected.sort_unstable();
                schedule.settle(&mut keys);
                prop_assert_eq!(schedule.first(), expected.first().map(|(time, _)| *time));
                expected.retain(|(time, _)| *time <= until);
                let backlog = schedule.backlog(until, most, |id, at| keys.first(id).filter(|_| keys.entered(id) == Some(at)));
                prop_assert_eq!(backlog, expected.get(most).map(|(time, _)| *time));
                expected.truncate(most);
                let mut popped = Vec::new();
                schedule.pop(until, most, &mut keys, &mut popped);
                prop_assert_eq!(&popped, &expected);
                popped.iter().for_each(|&(_, id)| schedule.update(id, &mut keys));
                prop_assert_eq!(schedule.entered, keys.0.values().filter(|(entered, _)| entered.is_some()).count());
            }
        }
    }
}
