//! Windows of every kind: what each key has in each of its windows, and when that gives results.
//!
//! A keyed window is a key's content of one window. Rows change keyed windows in three steps, so that the guest is called for all keys
//! at once: [`KeyedWindows::plan`] decides by times and keys what becomes of rows and of what is due, and writes a [`Program`];
//! whoever called it computes the program's values; [`KeyedWindows::settle`] takes them in, or [`KeyedWindows::undo`] makes it as if
//! nothing had been planned.
//!
//! # When a window gives results
//! - Kinds that may give more than one result of a window, or whose windows rows may still change after their end, do
//!   what is due before each row, by the watermark at its place ([`KeyedWindows::is_eager`]). The others can wait until the
//!   micro-batch is over, because no row can touch what is due.
//! - Results come in the order of what caused them: the time that was due, or the row; then by the window's end and
//!   start, then by key. No cut of micro-batches can change that.
//!
//! # Invariants
//! - A keyed window has at most one timer that counts, at or before the next moment at which something is due for it. One that
//!   comes too early does nothing but set the next.
//! - Sessions of a key that are still open never overlap.
//! - A keyed window keeps its number in blocks for as long as it lives.

mod blocks;
mod due;
mod keys;
mod migrate;
mod plan;
mod program;
mod retime;
mod sessions;
mod settle;
mod slices;
mod values;

use std::collections::{BTreeMap, HashMap};

pub use self::keys::KeyId;
pub use self::migrate::KeyedWindowValues;
pub use self::plan::Arrived;
pub use self::program::{EMPTY, Fire, NodeId, Origin, Program};
pub use self::slices::SumKey;
pub use self::values::Values;

use self::due::Timers;
use self::keys::Keys;
use self::program::NONE;
use self::slices::Sum;
use crate::time::{Early, Hopping, Kind, Mode, Window, Windowing};

/// A keyed window's number.
pub type KeyedWindowId = u32;

/// The time of a timer that is none.
const NEVER: i64 = i64::MAX;
/// Bytes of an entry in the index of keyed windows: its key and value, and the share of a node that is not filled.
const INDEX_ENTRY_BYTES: usize = 36;

/// The keyed windows of one step.
#[derive(Debug)]
pub struct KeyedWindows {
    windowing: Windowing,
    /// The windows whose rows are kept by slice.
    sliced: Option<Hopping>,
    eager: bool,
    keys: Keys,
    slab: Vec<KeyedWindow>,
    free: Vec<KeyedWindowId>,
    /// Whether blocks were read since `free` was made.
    was_read: bool,
    /// Keyed windows that hold rows of windows, by key, end and start.
    index: BTreeMap<(KeyId, i64, i64), KeyedWindowId>,
    /// Where rows are kept by slice: keyed windows with the rows that came when some of their windows were over already.
    extras: BTreeMap<(KeyId, i64, i64), KeyedWindowId>,
    /// Sums of many slices. They can be computed again at any time, so no block has them.
    sums: HashMap<SumKey, Sum>,
    timers: Timers,
    /// The same by the clock.
    clocks: Timers,
    /// The number of the plan that is being made.
    run: u64,
    /// Keyed windows that this plan has touched, as they were; nothing, if it made them.
    touched: Vec<(KeyedWindowId, Option<Meta>)>,
    /// Sums that this plan computes, to be kept.
    summed: Vec<(SumKey, NodeId)>,
    /// Sums whose slices have changed.
    forgotten: Vec<SumKey>,
    /// Numbers commits, so that a keyed window knows whether it changed in this one.
    commit: u64,
    /// Keyed windows that changed since the last block.
    changed: Vec<KeyedWindowId>,
    /// Keyed windows that went since the last block.
    gone: Vec<KeyedWindowId>,
    /// The keyed window from which the next block rewrites.
    cursor: usize,
    /// How many keyed windows live.
    live: usize,
    /// Bytes of all values and kept sums.
    value_bytes: usize,
    /// Windows up to this time are over, however long windows stay open now.
    over_until: i64,
}

/// What is known of a keyed window beside its content.
#[derive(Debug, Clone, Copy)]
struct Meta {
    window: Window,
    /// Its timer; [`NEVER`] for none.
    timer: i64,
    /// A later timer that is set as well.
    later: i64,
    /// Its timer by the clock.
    clock: i64,
    /// Rows in it, where windows are counted.
    rows: u64,
    /// Rows since its last result.
    since: u64,
    /// The newest event time of its rows.
    newest: i64,
    flags: u16,
}

/// It is in use.
const LIVE: u16 = 1;
/// It has taken rows since its last result.
const DIRTY: u16 = 2;
/// It has given a result.
const GIVEN: u16 = 4;
/// It stands for the next window of its key.
const HEAD: u16 = 8;
/// It has rows of one window whose other windows were over.
const EXTRA: u16 = 16;
/// It is part of a kept sum.
const SUMMED: u16 = 32;
/// Its content is what it was at its last result, because every row since then was rejected or none came. Planning knows
/// nothing of rejections, so that a plan for many rows is what plans for few come to.
const SAME: u16 = 128;
/// A session that ends exactly where this one begins becomes one with it: a row at its beginning came while such a session
/// was open by that row's own partition.
const JOINS: u16 = 256;

impl Meta {
    fn new(window: Window, flags: u16) -> Self {
        let (timer, later, clock) = (NEVER, NEVER, NEVER);
        Self { window, timer, later, clock, rows: 0, since: 0, newest: i64::MIN, flags: flags | LIVE }
    }

    fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn set(&mut self, flag: u16, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }
}

#[derive(Debug)]
struct KeyedWindow {
    key: KeyId,
    meta: Meta,
    value: Option<Box<[u8]>>,
    /// The last plan that touched it, and what it has there: its content, and that of its last result.
    run: u64,
    node: NodeId,
    given: NodeId,
    /// The last commit in which it changed.
    commit: u64,
}

impl KeyedWindows {
    /// No keyed windows.
    pub fn new(windowing: Windowing) -> Self {
        let sliced = match &windowing.kind {
            Kind::Hopping(hopping) if windowing.is_sliced() => Some(*hopping),
            _ => None,
        };
        let eager = windowing.lateness_ms > 0
            || windowing.early.is_some()
            || matches!(windowing.kind, Kind::Count { .. } | Kind::Global);
        Self {
            windowing,
            sliced,
            eager,
            keys: Keys::default(),
            slab: Vec::new(),
            free: Vec::new(),
            was_read: false,
            index: BTreeMap::new(),
            extras: BTreeMap::new(),
            sums: HashMap::new(),
            timers: Timers::default(),
            clocks: Timers::default(),
            run: 1,
            touched: Vec::new(),
            summed: Vec::new(),
            forgotten: Vec::new(),
            commit: 1,
            changed: Vec::new(),
            gone: Vec::new(),
            cursor: 0,
            live: 0,
            value_bytes: 0,
            over_until: i64::MIN,
        }
    }

    /// Whether what is due must be done before the rows at whose places it is.
    pub fn is_eager(&self) -> bool {
        self.eager
    }

    /// The key of a number.
    pub fn key(&self, id: KeyId) -> Option<&[u8]> {
        self.keys.key(id)
    }

    /// What a keyed window or a kept sum has.
    pub fn stored(&self, origin: Origin) -> Option<&[u8]> {
        match origin {
            Origin::Stored(keyed_window) => self.slab[keyed_window as usize].value.as_deref(),
            Origin::Sum(sum) => self.sums.get(&sum)?.bytes.as_deref(),
            _ => None,
        }
    }

    /// The last moment at which a window may change; its content goes when the watermark reaches it.
    fn cleanup(&self, window: Window) -> i64 {
        window.last().saturating_add(self.windowing.lateness_ms)
    }

    fn is_endless(&self) -> bool {
        matches!(self.windowing.kind, Kind::Count { .. } | Kind::Global)
    }

    /// Makes a keyed window.
    fn create(&mut self, key: KeyId, window: Window, flags: u16) -> KeyedWindowId {
        let keyed_window = KeyedWindow {
            key,
            meta: Meta::new(window, flags),
            value: None,
            run: self.run,
            node: EMPTY,
            given: EMPTY,
            commit: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slab[id as usize] = keyed_window;
                id
            }
            None => {
                self.slab.push(keyed_window);
                self.slab.len() as KeyedWindowId - 1
            }
        };
        self.live += 1;
        self.keys.retain(key);
        self.touched.push((id, None));
        self.enter_index(id);
        id
    }

    /// Takes a keyed window into the plan, with what it has.
    fn touch(&mut self, id: KeyedWindowId, program: &mut Program) -> &mut KeyedWindow {
        let keyed_window = &mut self.slab[id as usize];
        if keyed_window.run != self.run {
            keyed_window.run = self.run;
            self.touched.push((id, Some(keyed_window.meta)));
            keyed_window.node = if keyed_window.value.is_some() { program.stored(id) } else { EMPTY };
            keyed_window.given = if keyed_window.meta.is(SAME) { keyed_window.node } else { NONE };
        }
        keyed_window
    }

    /// The keyed window of a window, made if it is new.
    fn keyed_window(&mut self, key: KeyId, window: Window, flags: u16) -> KeyedWindowId {
        if let Some(near) = self.keys.near(key) {
            let KeyedWindow { key: of, meta, .. } = &self.slab[near as usize];
            if *of == key && meta.window == window && meta.flags & (LIVE | HEAD | EXTRA) == flags | LIVE {
                return near;
            }
        }
        let index = if flags & EXTRA != 0 { &self.extras } else { &self.index };
        let id = match index.get(&(key, window.end, window.start)) {
            Some(&id) => id,
            None => self.create(key, window, flags),
        };
        self.keys.set_near(key, id);
        id
    }

    /// Takes a keyed window away. Its number is free when the plan is settled.
    fn remove(&mut self, id: KeyedWindowId, program: &mut Program) {
        self.touch(id, program);
        self.leave_index(id);
        let keyed_window = &mut self.slab[id as usize];
        keyed_window.meta.set(LIVE, false);
        keyed_window.node = EMPTY;
    }

    fn enter_index(&mut self, id: KeyedWindowId) {
        let KeyedWindow { key, meta, .. } = &self.slab[id as usize];
        if meta.is(HEAD) {
            self.keys.set_head(*key, Some(id));
            return;
        }
        let index = if meta.is(EXTRA) { &mut self.extras } else { &mut self.index };
        index.insert((*key, meta.window.end, meta.window.start), id);
    }

    fn leave_index(&mut self, id: KeyedWindowId) {
        let KeyedWindow { key, meta, .. } = &self.slab[id as usize];
        if meta.is(HEAD) {
            self.keys.set_head(*key, None);
            return;
        }
        let index = if meta.is(EXTRA) { &mut self.extras } else { &mut self.index };
        index.remove(&(*key, meta.window.end, meta.window.start));
    }

    /// Adds a row to what a keyed window has.
    fn add(&mut self, id: KeyedWindowId, row: u32, time: i64, program: &mut Program) {
        let keyed_window = self.touch(id, program);
        keyed_window.node = program.add(keyed_window.node, row);
        keyed_window.meta.rows += 1;
        keyed_window.meta.since += 1;
        keyed_window.meta.newest = keyed_window.meta.newest.max(time);
        keyed_window.meta.set(DIRTY, true);
    }

    /// Gives a result of what a keyed window has.
    fn fire(&mut self, id: KeyedWindowId, place: i64, at_end: bool, program: &mut Program) {
        let (endless, discards) = (self.is_endless(), self.windowing.mode == Mode::Discarding);
        let is_global = self.windowing.kind == Kind::Global;
        let keyed_window = self.touch(id, program);
        let KeyedWindow { key, node, given, meta, .. } = *keyed_window;
        let time = if endless { meta.newest } else { meta.window.last() };
        let again = meta.is(GIVEN);
        if discards {
            keyed_window.node = EMPTY;
            keyed_window.meta.newest = i64::MIN;
        }
        keyed_window.given = keyed_window.node;
        keyed_window.meta.since = 0;
        keyed_window.meta.set(DIRTY, false);
        // A window that never ends and forgets what it gave may be away until its next row, which is a first one then.
        keyed_window.meta.set(GIVEN, !(discards && is_global));
        program.fire(Fire { node, change: (given, node), key, window: meta.window, time, place, at_end, again });
    }

    /// Sets the timer of a keyed window, if it has none that is earlier.
    fn arm(&mut self, id: KeyedWindowId, time: i64) {
        let meta = &mut self.slab[id as usize].meta;
        if time >= meta.timer {
            return;
        }
        if meta.timer == NEVER && meta.later <= time {
            meta.timer = std::mem::replace(&mut meta.later, NEVER);
            return;
        }
        meta.later = meta.later.min(meta.timer);
        meta.timer = time;
        self.timers.insert(time, id);
    }

    /// Makes sure that a keyed window that took a row of that time gives a result in time.
    fn expect(&mut self, id: KeyedWindowId, (known, time): (i64, i64), clock: i64) {
        let Meta { window, since, .. } = self.slab[id as usize].meta;
        let is_given = self.slab[id as usize].meta.is(GIVEN);
        let end = if self.is_endless() { NEVER } else { window.last() };
        match self.windowing.early {
            // Its first row says from when on multiples count; it is behind them once there was a result.
            Some(Early::Event(every_ms)) if is_given => self.arm(id, end.min(next_multiple(known, every_ms))),
            Some(Early::Event(every_ms)) if since == 1 => {
                self.arm(id, end.min(next_multiple(known.max(time), every_ms)))
            }
            Some(Early::Processing(every_ms)) => {
                self.arm(id, end);
                let meta = &mut self.slab[id as usize].meta;
                if meta.clock == NEVER {
                    meta.clock = next_multiple(clock, every_ms);
                    self.clocks.insert(meta.clock, id);
                }
            }
            _ => self.arm(id, end),
        }
    }
}

/// The first multiple after a time.
fn next_multiple(time: i64, of: i64) -> i64 {
    time.div_euclid(of).saturating_add(1).saturating_mul(of)
}

#[cfg(test)]
mod tests;
