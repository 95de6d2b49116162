//! What is due by the watermark or by the clock.

use std::collections::BTreeMap;

use super::plan::ALL;
use super::{DIRTY, GIVEN, HEAD, KeyedWindowId, KeyedWindows, LIVE, NEVER, Program, next_multiple};
use crate::time::{Early, Watermark};

/// Bytes of an entry in the map of timers, with the list that it holds.
const BUCKET_BYTES: usize = 80;

/// Timers of keyed windows. One that its keyed window does not know any more counts for nothing.
#[derive(Debug, Default)]
pub(super) struct Timers {
    buckets: BTreeMap<i64, Vec<KeyedWindowId>>,
    /// The time whose timers are being dealt with.
    now: i64,
    /// What is left of them, the last one first.
    left: Vec<KeyedWindowId>,
    entries: usize,
}

impl Timers {
    pub(super) fn insert(&mut self, time: i64, keyed_window: KeyedWindowId) {
        self.buckets.entry(time).or_default().push(keyed_window);
        self.entries += 1;
    }

    /// The first time at which there may be a timer.
    fn first(&self) -> Option<i64> {
        if !self.left.is_empty() {
            return Some(self.now);
        }
        self.buckets.first_key_value().map(|(&time, _)| time)
    }

    /// The first time at which there is a timer that counts. The others before it are gone with the next commit: they are
    /// many only after blocks were read, each of which may have another timer of a keyed window.
    fn first_that(&self, counts: impl Fn(KeyedWindowId, i64) -> bool) -> Option<i64> {
        if self.left.iter().any(|&id| counts(id, self.now)) {
            return Some(self.now);
        }
        let due = self.buckets.iter().find(|(time, ids)| ids.iter().any(|&id| counts(id, **time)));
        due.map(|(&time, _)| time)
    }

    /// Puts what is left back, to be sorted again.
    pub(super) fn put_back(&mut self) {
        if !self.left.is_empty() {
            self.buckets.entry(self.now).or_default().append(&mut self.left);
        }
    }

    /// The time by which more than this many count, up to a time.
    fn backlog(&self, until: i64, most: usize, counts: impl Fn(KeyedWindowId, i64) -> bool) -> Option<i64> {
        if self.entries <= most {
            return None;
        }
        let left = Some((&self.now, &self.left)).filter(|(now, _)| **now <= until);
        let mut count = 0;
        let mut exceeds = |time: i64, ids: &[KeyedWindowId]| {
            count += ids.iter().filter(|&&id| counts(id, time)).count();
            count > most
        };
        let due = left.into_iter().chain(self.buckets.range(..=until)).find(|(time, ids)| exceeds(**time, ids));
        due.map(|(&time, _)| time)
    }

    pub(super) fn bytes(&self) -> usize {
        self.buckets.len() * BUCKET_BYTES + self.entries * size_of::<KeyedWindowId>()
    }
}

impl KeyedWindows {
    /// Does what is due by a watermark; whether there was room for all of it.
    pub(super) fn run_timers(&mut self, watermark: i64, program: &mut Program) -> bool {
        while self.timers.first().is_some_and(|first| first <= watermark) {
            if program.is_full() {
                return false;
            }
            self.pull(false);
            let time = self.timers.now;
            while let Some(id) = self.timers.left.pop() {
                self.timers.entries -= 1;
                program.due += 1;
                program.count();
                // A plan that was settled since they were taken out may have done away with it.
                let meta = &self.slab[id as usize].meta;
                if meta.is(LIVE) && meta.timer == time {
                    self.pop(id, time, program);
                }
                if program.is_full() {
                    break;
                }
            }
        }
        true
    }

    /// Gives the early results that are due by the clock; whether there was room for all of them.
    pub(super) fn run_clocks(&mut self, clock: i64, place: i64, program: &mut Program) -> bool {
        while self.clocks.first().is_some_and(|first| first <= clock) {
            if program.is_full() {
                return false;
            }
            self.pull(true);
            let time = self.clocks.now;
            while let Some(id) = self.clocks.left.pop() {
                self.clocks.entries -= 1;
                program.due += 1;
                program.count();
                let meta = &self.slab[id as usize].meta;
                if meta.is(LIVE) && meta.clock == time {
                    let is_dirty = meta.is(DIRTY);
                    self.touch(id, program).meta.clock = NEVER;
                    if is_dirty {
                        self.fire(id, place, false, program);
                    }
                }
                if program.is_full() {
                    break;
                }
            }
        }
        true
    }

    /// When the first keyed window is due by the watermark.
    pub(super) fn first_timer(&self) -> Option<i64> {
        self.timers.first_that(|id, time| self.is_set(id, time))
    }

    /// Whether a keyed window knows of its timer.
    fn is_set(&self, id: KeyedWindowId, time: i64) -> bool {
        let meta = &self.slab[id as usize].meta;
        meta.is(LIVE) && meta.timer == time
    }

    /// When the first keyed window is due by the clock.
    pub(super) fn first_clock(&self) -> Option<i64> {
        self.clocks.first_that(|id, time| {
            let meta = &self.slab[id as usize].meta;
            meta.is(LIVE) && meta.clock == time
        })
    }

    /// The event time by which more than this many keyed windows are due before rows that come, if the watermark covers it.
    pub fn backlog(&self, watermark: Watermark, most: usize) -> Option<i64> {
        if self.eager { self.timers.backlog(watermark.time()?, most, |id, time| self.is_set(id, time)) } else { None }
    }

    /// Takes out the timers of the first time, those that count, in the order of windows and keys.
    fn pull(&mut self, by_clock: bool) {
        let timers = if by_clock { &mut self.clocks } else { &mut self.timers };
        if !timers.left.is_empty() {
            return;
        }
        let Some((time, mut due)) = timers.buckets.pop_first() else { return };
        timers.entries -= due.len();
        let (slab, keys) = (&self.slab, &self.keys);
        due.retain(|&id| {
            let meta = &slab[id as usize].meta;
            meta.is(LIVE) && time == if by_clock { meta.clock } else { meta.timer }
        });
        // Keys mostly share a beginning, so eight bytes after it decide almost every comparison without looking further.
        let key = |id: KeyedWindowId| keys.key(slab[id as usize].key);
        let shared = shared_beginning(due.iter().filter_map(|&id| key(id)));
        let decisive = |id: KeyedWindowId| {
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(key(id).map_or(&[][..], |key| &key[shared..])).for_each(|(into, &byte)| *into = byte);
            let window = slab[id as usize].meta.window;
            (window.end, window.start, u64::from_be_bytes(bytes), id)
        };
        let mut order: Vec<_> = due.drain(..).map(decisive).collect();
        order.sort_unstable_by(|left, right| {
            let (left_id, right_id) = (left.3, right.3);
            let by_window = (right.0, right.1, right.2).cmp(&(left.0, left.1, left.2));
            by_window.then_with(|| (key(right_id), right_id).cmp(&(key(left_id), left_id)))
        });
        due.extend(order.into_iter().map(|(.., id)| id));
        due.dedup();
        timers.entries += due.len();
        (timers.now, timers.left) = (time, due);
    }

    fn pop(&mut self, id: KeyedWindowId, time: i64, program: &mut Program) {
        let meta = &mut self.touch(id, program).meta;
        meta.timer = NEVER;
        let (window, dirty, given) = (meta.window, meta.is(DIRTY), meta.is(GIVEN));
        if meta.is(HEAD) {
            self.pop_head(id, time, program);
            return;
        }
        let (place, cleanup) = (time.saturating_sub(1), self.cleanup(window));
        if window == ALL || time < window.last() {
            let end = if window == ALL { NEVER } else { window.last() };
            match self.windowing.early {
                Some(Early::Event(every_ms)) if dirty && time.rem_euclid(every_ms) == 0 => {
                    self.fire(id, place, false, program);
                    self.arm(id, end);
                }
                Some(Early::Event(every_ms)) if dirty => self.arm(id, end.min(next_multiple(time, every_ms))),
                _ => self.arm(id, end),
            }
            return;
        }
        if time == window.last() {
            if dirty {
                self.fire(id, place, true, program);
            } else {
                program.ended += u64::from(given);
            }
        }
        if time >= cleanup {
            self.remove(id, program);
        } else {
            self.arm(id, cleanup);
        }
    }
}

/// How many bytes all keys have in common at their beginning.
fn shared_beginning<'a>(mut keys: impl Iterator<Item = &'a [u8]>) -> usize {
    let Some(first) = keys.next() else { return 0 };
    keys.fold(first.len(), |shared, key| first[..shared].iter().zip(key).take_while(|(a, b)| a == b).count())
}
