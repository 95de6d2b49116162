//! Times to live: what the time is for a part of the state, and how long its entries have.

use std::cell::Cell;

use crate::process::Domain;

/// How long an entry lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ttl {
    milliseconds: i64,
    domain: Domain,
    on_read: bool,
}

impl Ttl {
    /// So many milliseconds of event time since it was written.
    pub fn event_time(milliseconds: u64) -> Self {
        Self::new(milliseconds, Domain::EventTime)
    }

    /// So many milliseconds of processing time since it was written.
    pub fn processing_time(milliseconds: u64) -> Self {
        Self::new(milliseconds, Domain::ProcessingTime)
    }

    /// Reading an entry gives it a new time, too.
    pub fn refreshed_on_read(self) -> Self {
        Self { on_read: true, ..self }
    }

    fn new(milliseconds: u64, domain: Domain) -> Self {
        Self { milliseconds: i64::try_from(milliseconds).unwrap_or(i64::MAX), domain, on_read: false }
    }
}

/// In how many steps at most what was written within a time to live is cleaned up.
const CLEAN_UP_STEPS: i64 = 256;

/// What the time is while a row or timer is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The event time at which things are written; none if nothing is known.
    pub event_time: Option<i64>,
    /// The watermark; none if nothing is known.
    pub watermark: Option<i64>,
    /// The host's clock.
    pub processing_time: i64,
}

/// The end of an entry's life that has none yet.
pub(super) const UNSET: i64 = i64::MAX;

/// The end of an entry's life, and what it was before it was changed by reading.
#[derive(Debug, Clone, Default)]
pub(super) struct End {
    at: Cell<i64>,
    /// In which callback it was last changed by reading, and what it was before that.
    before: Cell<(u64, i64)>,
}

impl End {
    pub(super) fn at(time: i64) -> Self {
        Self { at: Cell::new(time), before: Cell::default() }
    }

    pub(super) fn get(&self) -> i64 {
        self.at.get()
    }

    pub(super) fn set(&self, time: i64) {
        self.at.set(time);
    }

    /// Gives the entry a new time where reading does that.
    #[inline]
    pub(super) fn read(&self, life: &Life) {
        if life.ttl.is_some_and(|ttl| ttl.on_read) {
            if self.before.get().0 != life.callback {
                self.before.set((life.callback, self.at.get()));
            }
            self.at.set(life.renewed(self.at.get()));
        }
    }

    /// Takes back what reading changed in this callback.
    pub(super) fn undo(&self, life: &Life) {
        let (callback, before) = self.before.get();
        if callback != 0 && callback == life.callback {
            self.at.set(before);
            self.before.set((0, 0));
        }
    }
}

/// A part's time to live and what the time is for it.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) ttl: Option<Ttl>,
    /// When entries are written, if that is known.
    stamp: Option<i64>,
    /// What has ended by this time is gone.
    clock: Option<i64>,
    /// Counts the callbacks, from 1, where entries have ends.
    callback: u64,
    /// The earliest end that was written in this callback; [`UNSET`] if none was.
    written: Cell<i64>,
    /// No entry ends before this.
    bound: Cell<i64>,
    /// Whether there are entries without an end.
    unset: Cell<bool>,
}

impl Life {
    pub(super) const fn new(ttl: Option<Ttl>) -> Self {
        Self {
            ttl,
            stamp: None,
            clock: None,
            callback: 0,
            written: Cell::new(UNSET),
            bound: Cell::new(UNSET),
            unset: Cell::new(false),
        }
    }

    /// Takes note of the time. Returns whether entries are to be gone through, by [`judge`](Self::judge).
    #[inline]
    pub(super) fn begin(&mut self, now: &Now) -> bool {
        self.callback += 1;
        self.written.set(UNSET);
        let Some(ttl) = self.ttl else { return false };
        (self.stamp, self.clock) = match ttl.domain {
            Domain::EventTime => (now.event_time, now.watermark),
            Domain::ProcessingTime => (Some(now.processing_time), Some(now.processing_time)),
        };
        self.unset.get() || self.clock.is_some_and(|clock| self.bound.get() <= clock)
    }

    /// Goes through the ends of all entries: `each` calls back with each of them, and drops the entry if the answer is
    /// false.
    pub(super) fn judge(&self, each: impl FnOnce(&mut dyn FnMut(&End) -> bool)) {
        self.bound.set(UNSET);
        self.unset.set(false);
        each(&mut |end| {
            if end.get() == UNSET {
                end.set(self.renewed(UNSET));
            }
            let stays = self.clock.is_none_or(|clock| end.get() > clock);
            if stays {
                self.bound.set(self.bound.get().min(end.get()));
            }
            stays
        });
    }

    /// The end of an entry that is written now, and of which the end was `end` or [`UNSET`].
    pub(super) fn renewed(&self, end: i64) -> i64 {
        let Some(ttl) = self.ttl else { return UNSET };
        let Some(stamp) = self.stamp else {
            self.unset.set(self.unset.get() || end == UNSET);
            return end;
        };
        let new = stamp.saturating_add(ttl.milliseconds).min(UNSET - 1);
        let end = if end == UNSET { new } else { new.max(end) };
        self.written.set(self.written.get().min(end));
        self.bound.set(self.bound.get().min(end));
        end
    }

    /// Whether reading an entry gives it a new time.
    #[inline]
    pub(super) fn renews_by_reading(&self) -> bool {
        self.ttl.is_some_and(|ttl| ttl.on_read)
    }

    /// Whether a life with this end is over.
    pub(super) fn has_ended(&self, end: i64) -> bool {
        end != UNSET && self.clock.is_some_and(|clock| end <= clock)
    }

    /// When to clean up, if the first entry ends at `end`.
    ///
    /// What has ended is not seen any more, whether it was cleaned up or not. So entries that end shortly after one another
    /// are cleaned up together, in 256 steps in their time to live: after a leap of the watermark that is soon done.
    pub(super) fn clean_up_at(&self, end: i64) -> i64 {
        let step = self.ttl.map_or(0, |ttl| ttl.milliseconds / CLEAN_UP_STEPS);
        self.clock.map_or(end, |clock| end.max(clock.saturating_add(step)))
    }

    /// Takes note of an entry that was there before, at the end of a reading or of taking changes back.
    pub(super) fn found(&self, end: i64) {
        self.bound.set(self.bound.get().min(end));
        self.unset.set(self.unset.get() || (self.ttl.is_some() && end == UNSET));
    }

    /// No entry is there any more, or none has been read yet.
    pub(super) fn none_left(&self) {
        self.bound.set(UNSET);
        self.unset.set(false);
    }

    pub(super) fn undo(&self) {
        self.written.set(UNSET);
    }

    pub(super) fn written(&self, domain: Domain) -> Option<i64> {
        Some(self.written.get()).filter(|&end| end != UNSET && self.counts_in(domain))
    }

    /// Whether the part's entries live in that domain.
    pub(super) fn counts_in(&self, domain: Domain) -> bool {
        self.ttl.is_some_and(|ttl| ttl.domain == domain)
    }
}
