//! Rows into keyed windows: which, and what results they cause.

use super::keys::KeyId;
use super::{KeyedWindowId, KeyedWindows, Program};
use crate::state::Now;
use crate::time::{Early, Hopping, Kind, Session, Window};

/// The window of kinds that do not end by time.
pub(super) const ALL: Window = Window::ALL;

/// Rows that have arrived, in columns.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// Their event times.
    pub times: &'a [i64],
    pub keys: &'a [Option<&'a [u8]>],
    /// Their hashes, by [`KeyedWindows::hash`].
    pub hashes: &'a [u32],
    /// For each the watermark that has been acted upon; `i64::MIN` for none.
    pub known: &'a [i64],
    /// For each the watermark by which it is late.
    pub late: &'a [i64],
    /// For each how long its session lasts, nothing above zero if it is in none; empty if all have the usual gap.
    pub gaps: &'a [i64],
    /// Processing time.
    pub clock: i64,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) number: u32,
    pub(super) time: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) hash: u32,
    pub(super) known: i64,
    pub(super) late: i64,
    pub(super) clock: i64,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is in a window, or in none because there is none for its time.
    In,
    /// All its windows are over.
    Late,
    /// Its windows would reach past the ends of time.
    Unassignable,
}

impl KeyedWindows {
    /// The hash by which a key is found.
    pub fn hash(&self, key: Option<&[u8]>) -> u32 {
        self.keys.hash(key)
    }

    /// Plans for rows from `from` on, in their order, and for what is due before each. Returns how many rows are planned:
    /// not all, if the program is full before.
    pub fn plan(&mut self, rows: &Arrived<'_>, from: usize, program: &mut Program) -> usize {
        self.find_free();
        for at in from..rows.times.len() {
            if program.is_full() || self.eager && !self.run_timers(rows.known[at], program) {
                return at;
            }
            let row = Row {
                number: at as u32,
                time: rows.times[at],
                key: rows.keys[at],
                hash: rows.hashes[at],
                known: rows.known[at],
                late: rows.late[at],
                clock: rows.clock,
            };
            match self.take(row, rows.gaps.get(at).copied(), program) {
                Taken::In => {}
                Taken::Late => program.late.push(row.number),
                Taken::Unassignable => program.unassignable.push(row.number),
            }
        }
        rows.times.len()
    }

    /// Plans what is due now, as far as there is room in the program.
    pub fn plan_due(&mut self, now: Now, program: &mut Program) {
        self.find_free();
        let watermark = now.watermark.time().unwrap_or(i64::MIN);
        if self.run_timers(watermark, program) {
            self.run_clocks(now.clock, watermark, program);
        }
    }

    fn take(&mut self, row: Row<'_>, gap: Option<i64>, program: &mut Program) -> Taken {
        match &self.windowing.kind {
            Kind::Tumbling(tumbling) => match tumbling.window_of(row.time) {
                Some(window) => self.put(row, std::iter::once(window), program),
                None => Taken::Unassignable,
            },
            Kind::Hopping(hopping) => self.hop(row, *hopping, program),
            Kind::Session(Session { gap_ms, .. }) => {
                match gap.unwrap_or(*gap_ms) {
                    // Whoever made the rows has dealt with one that says no possible gap.
                    ..=0 => Taken::In,
                    gap => self.extend(row, gap, program),
                }
            }
            Kind::Count { rows } => {
                let rows = *rows;
                self.count(row, rows, program)
            }
            Kind::Global => {
                let id = self.endless(row, program);
                self.give_early(id, row, program);
                Taken::In
            }
        }
    }

    fn hop(&mut self, row: Row<'_>, hopping: Hopping, program: &mut Program) -> Taken {
        let Some(mut windows) = hopping.windows_of(row.time) else { return Taken::Unassignable };
        let Some(first) = windows.next() else {
            // Between windows. A row that is late for where it is says so; the others are in no window by definition.
            let late = row.time.saturating_add(self.windowing.lateness_ms) <= row.late;
            return if late { Taken::Late } else { Taken::In };
        };
        if self.sliced.is_some() {
            if self.is_over(first, row.late) {
                return self.put_apart(row, windows, program);
            }
            return self.slice(row, hopping, program);
        }
        self.put(row, std::iter::once(first).chain(windows), program)
    }

    /// Puts a row into those of its windows that are not over.
    fn put(&mut self, row: Row<'_>, windows: impl Iterator<Item = Window>, program: &mut Program) -> Taken {
        let mut taken = Taken::Late;
        for window in windows {
            if self.is_over(window, row.late) {
                continue;
            }
            taken = Taken::In;
            let key = self.keys.number(row.hash, row.key);
            let id = self.keyed_window(key, window, 0);
            self.add(id, row.number, row.time, program);
            self.respond(id, row, program);
        }
        taken
    }

    /// What a row in a window causes: a new result at once if the window has ended, and else one to come.
    pub(super) fn respond(&mut self, id: KeyedWindowId, row: Row<'_>, program: &mut Program) {
        let window = self.slab[id as usize].meta.window;
        if window.last() <= row.known {
            self.fire(id, row.known, false, program);
            let cleanup = self.cleanup(window);
            self.arm(id, cleanup);
        } else {
            self.give_early(id, row, program);
        }
    }

    /// Gives an early result if enough rows came, or makes sure that one comes in time.
    fn give_early(&mut self, id: KeyedWindowId, row: Row<'_>, program: &mut Program) {
        match self.windowing.early {
            Some(Early::Rows(rows)) if self.slab[id as usize].meta.since >= rows => {
                self.fire(id, row.known, false, program);
                if !self.is_endless() {
                    self.expect(id, (row.known, row.time), row.clock);
                }
            }
            _ => self.expect(id, (row.known, row.time), row.clock),
        }
    }

    fn count(&mut self, row: Row<'_>, rows: u64, program: &mut Program) -> Taken {
        let id = self.endless(row, program);
        if self.slab[id as usize].meta.rows < rows {
            self.give_early(id, row, program);
            return Taken::In;
        }
        self.fire(id, row.known, true, program);
        let keyed_window = self.touch(id, program);
        (keyed_window.node, keyed_window.given) = (super::EMPTY, super::EMPTY);
        keyed_window.meta.rows = 0;
        keyed_window.meta.newest = i64::MIN;
        // An early result that was to come was of the window that is over.
        (keyed_window.meta.timer, keyed_window.meta.later) = (super::NEVER, super::NEVER);
        keyed_window.meta.set(super::GIVEN, false);
        Taken::In
    }

    /// Adds a row to the one keyed window of its key.
    fn endless(&mut self, row: Row<'_>, program: &mut Program) -> KeyedWindowId {
        let key: KeyId = self.keys.number(row.hash, row.key);
        let id = self.keyed_window(key, ALL, 0);
        self.add(id, row.number, row.time, program);
        id
    }
}
