//! Going on under other times: when results come, and for how long windows stay open.
//!
//! Timers of open windows were set by the manifest that was deployed then. They are set again, so that no window waits for
//! a time that no longer comes, or gives a result that the manifest no longer asks for.

use super::due::Timers;
use super::{DIRTY, HEAD, KeyedWindowId, KeyedWindows, LIVE, NEVER, next_multiple};
use crate::state::Now;
use crate::time::{Early, Window, Windowing};

impl KeyedWindows {
    /// Whether a window takes no more by this watermark. One that was over when windows began to stay open for longer stays
    /// over: what it had is gone.
    pub(super) fn is_over(&self, window: Window, watermark: i64) -> bool {
        self.cleanup(window) <= watermark || window.last() <= self.over_until
    }

    /// Notes that windows had another description until now. Nothing may have been planned since the last plan
    /// was settled. What changes is not noted for the next block: all has to be written.
    pub fn retime(&mut self, before: &Windowing, now: Now) {
        let watermark = now.watermark.time().unwrap_or(i64::MIN);
        if self.windowing.lateness_ms > before.lateness_ms {
            self.over_until = self.over_until.max(watermark.saturating_sub(before.lateness_ms));
        }
        // Windows in slices have no early results.
        if self.windowing.early == before.early || self.sliced.is_some() {
            return;
        }
        (self.timers, self.clocks) = (Timers::default(), Timers::default());
        for id in 0..self.slab.len() as KeyedWindowId {
            let meta = &mut self.slab[id as usize].meta;
            if meta.is(LIVE) && !meta.is(HEAD) {
                (meta.timer, meta.later, meta.clock) = (NEVER, NEVER, NEVER);
                self.set_timers(id, watermark, now.clock);
            }
        }
    }

    /// Sets the timers of a keyed window that has none. Where it has rows that no result has had, the next early result
    /// comes at the first multiple from now on.
    fn set_timers(&mut self, id: KeyedWindowId, watermark: i64, clock: i64) {
        let meta = self.slab[id as usize].meta;
        let end = if self.is_endless() { NEVER } else { meta.window.last() };
        if end <= watermark {
            self.arm(id, self.cleanup(meta.window));
            return;
        }
        self.arm(id, end);
        match self.windowing.early {
            Some(Early::Event(every_ms)) if meta.is(DIRTY) => {
                // While there is no watermark, rows say what time it may be.
                let from = if watermark == i64::MIN { meta.newest } else { watermark };
                self.arm(id, end.min(next_multiple(from, every_ms)));
            }
            Some(Early::Processing(every_ms)) if meta.is(DIRTY) => {
                let due = next_multiple(clock, every_ms);
                self.slab[id as usize].meta.clock = due;
                self.clocks.insert(due, id);
            }
            _ => {}
        }
    }
}
