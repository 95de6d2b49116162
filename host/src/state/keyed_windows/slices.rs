//! Overlapping windows made of slices: each row is added once, however many windows it is in.
//!
//! A slice is a stretch of time of which every window has all or nothing. A window's content is merged from its slices
//! when it gives a result. Where a window has many slices, sums of two, four, eight .. neighbouring slices are kept, at
//! places that are multiples of their size: a window is made of a few such sums, one or two of each size, and from one
//! window to the next almost all of them stay. So a window of `n` slices takes about `2 log n` merges, and each slice
//! one more. (Two stacks would take three merges, but a late row would cost all of them; and the order in which sums
//! are made would depend on when windows gave results, which for floating point can be seen.)
//!
//! A key has one keyed window more, its head, that stands for the next window to give a result and holds the key's only timer.
//! Rows that come when some of their windows are over already must not get into those, should they still wait for their
//! turn. Such rows are kept apart, by window.

use super::plan::{Row, Taken};
use super::program::NONE;
use super::{DIRTY, EMPTY, EXTRA, Fire, HEAD, KeyId, KeyedWindowId, KeyedWindows, NEVER, NodeId, Program, SUMMED};
use crate::time::{Hopping, Window};

/// Slices of a window up to which they are merged one by one: sums would take as much room as they save work.
const DIRECT_SLICES: i64 = 8;
/// More sizes than sums can have: a window has at most twenty thousand slices.
const LEVELS: u8 = 16;

/// A sum of neighbouring slices of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SumKey {
    key: KeyId,
    /// It is of two to the power of so many slices.
    level: u8,
    /// Its place among those of its size.
    index: i64,
}

/// What is kept of a sum.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) bytes: Option<Box<[u8]>>,
    /// Whether it still is what its slices have.
    pub(super) valid: bool,
    /// The plan that computes it, and where.
    run: u64,
    node: NodeId,
}

impl Sum {
    /// Whether it is what that plan computes there.
    pub(super) fn is_of(&self, run: u64, node: NodeId) -> bool {
        self.valid && self.run == run && self.node == node
    }
}

impl KeyedWindows {
    /// Adds a row to its slice. None of its windows is over for it.
    pub(super) fn slice(&mut self, row: Row<'_>, hopping: Hopping, program: &mut Program) -> Taken {
        let (Some(slice), Some(windows)) = (hopping.slice_of(row.time), hopping.windows_of(row.time)) else {
            return Taken::Unassignable;
        };
        let key = self.keys.number(row.hash, row.key);
        let keyed_windows = self.live;
        let id = self.keyed_window(key, slice, 0);
        let is_new = self.live > keyed_windows;
        let keyed_window = self.touch(id, program);
        let before = keyed_window.node;
        // A sum may span the place of a slice that was not there.
        if keyed_window.meta.is(SUMMED) || is_new {
            keyed_window.meta.set(SUMMED, false);
            self.forget_sums(key, hopping, slice);
        }
        let mut ended = windows.take_while(|window| window.last() <= row.known).peekable();
        if ended.peek().is_some() {
            program.seal(before);
        }
        self.add(id, row.number, row.time, program);
        let change = (before, self.slab[id as usize].node);
        let mut next = hopping.windows_of(row.time).and_then(|mut windows| windows.next());
        for window in ended {
            self.fire_window(key, window, row.known, Some(change), program);
            next = hopping.next(window);
        }
        let pending = next.filter(|window| window.contains(row.time));
        let over = hopping.last_window(slice).map_or(NEVER, |last| self.cleanup(last));
        self.head(key, pending, over, program);
        Taken::In
    }

    /// Adds a row to each of its windows that are not over for it, apart from the slices.
    pub(super) fn put_apart(
        &mut self,
        row: Row<'_>,
        windows: impl Iterator<Item = Window>,
        program: &mut Program,
    ) -> Taken {
        let mut taken = Taken::Late;
        for window in windows {
            if self.is_over(window, row.late) {
                continue;
            }
            let over = self.cleanup(window);
            taken = Taken::In;
            let key = self.keys.number(row.hash, row.key);
            let id = self.keyed_window(key, window, EXTRA);
            let before = self.touch(id, program).node;
            program.seal(before);
            self.add(id, row.number, row.time, program);
            let pending = if window.last() <= row.known {
                let change = (before, self.slab[id as usize].node);
                self.fire_window(key, window, row.known, Some(change), program);
                None
            } else {
                Some(window)
            };
            self.head(key, pending, over, program);
        }
        taken
    }

    /// Makes sure that a window gives a result at its end, and that what is over at a time goes.
    fn head(&mut self, key: KeyId, pending: Option<Window>, over: i64, program: &mut Program) {
        let id = match self.keys.head(key) {
            Some(id) => id,
            None => self.create(key, pending.unwrap_or(Window { start: 0, end: 1 }), HEAD),
        };
        let meta = self.slab[id as usize].meta;
        if let Some(window) = pending
            && (!meta.is(DIRTY) || window.end < meta.window.end)
        {
            let meta = &mut self.touch(id, program).meta;
            meta.window = window;
            meta.set(DIRTY, true);
            self.arm(id, window.last());
        }
        if over < self.slab[id as usize].meta.timer {
            self.touch(id, program);
            self.arm(id, over);
        }
    }

    /// Does what is due for a key: its window gives a result, what is over goes.
    pub(super) fn pop_head(&mut self, id: KeyedWindowId, time: i64, program: &mut Program) {
        let Some(hopping) = self.sliced else { return };
        let (key, meta) = (self.slab[id as usize].key, self.slab[id as usize].meta);
        let mut pending = meta.is(DIRTY).then_some(meta.window);
        if let Some(window) = pending.filter(|window| window.last() <= time) {
            self.fire_window(key, window, time.saturating_sub(1), None, program);
            pending = self.window_after(key, hopping, window);
            let meta = &mut self.slab[id as usize].meta;
            meta.window = pending.unwrap_or(window);
            meta.set(DIRTY, pending.is_some());
        }
        let mut next = pending.map_or(NEVER, Window::last);
        let all = (key, i64::MIN, i64::MIN)..=(key, i64::MAX, i64::MAX);
        while let Some((&(_, end, start), &slice)) = self.index.range(all.clone()).next() {
            let over = hopping.last_window(Window { start, end }).map_or(NEVER, |last| self.cleanup(last));
            if over > time {
                next = next.min(over);
                break;
            }
            if self.slab[slice as usize].meta.is(SUMMED) {
                self.forget_sums(key, hopping, Window { start, end });
            }
            program.count();
            self.remove(slice, program);
        }
        while let Some((&(_, end, start), &extra)) = self.extras.range(all.clone()).next() {
            let over = self.cleanup(Window { start, end });
            if over > time {
                next = next.min(over);
                break;
            }
            program.count();
            self.remove(extra, program);
        }
        if self.index.range(all.clone()).next().is_none() && self.extras.range(all).next().is_none() {
            self.remove(id, program);
        } else {
            self.arm(id, next);
        }
    }

    /// The first window of a key after one that has any rows.
    fn window_after(&self, key: KeyId, hopping: Hopping, window: Window) -> Option<Window> {
        let after = hopping.next(window)?;
        let to = (key, i64::MAX, i64::MAX);
        let slices = self.index.range((key, after.start.saturating_add(1), i64::MIN)..=to).next();
        let by_slices =
            slices.and_then(
                |(&(_, _, start), _)| {
                    if start < after.end { Some(after) } else { hopping.windows_of(start)?.next() }
                },
            );
        let apart = self.extras.range((key, window.end.saturating_add(1), i64::MIN)..=to).next();
        let apart = apart.map(|(&(_, end, start), _)| Window { start, end });
        by_slices.into_iter().chain(apart).min_by_key(|window| window.end)
    }

    /// Gives the result of a window: at its end, or once more because of a row that changed one of its keyed windows.
    fn fire_window(
        &mut self,
        key: KeyId,
        window: Window,
        place: i64,
        change: Option<(NodeId, NodeId)>,
        program: &mut Program,
    ) {
        let Some(hopping) = self.sliced else { return };
        let (mut at, to) = (hopping.slice_number(window.start), hopping.slice_number(window.end));
        let mut nodes = Vec::new();
        if to - at <= DIRECT_SLICES {
            let slices =
                self.index.range((key, window.start.saturating_add(1), i64::MIN)..=(key, window.end, i64::MAX));
            let slices: Vec<KeyedWindowId> = slices.map(|(_, &id)| id).collect();
            nodes.extend(slices.into_iter().map(|id| self.touch(id, program).node));
        } else {
            while at < to {
                let level = at.trailing_zeros().min((to - at).ilog2());
                nodes.push(self.sum(SumKey { key, level: level as u8, index: at >> level }, hopping, window, program));
                at += 1 << level;
            }
        }
        if let Some(&extra) = self.extras.get(&(key, window.end, window.start)) {
            nodes.push(self.touch(extra, program).node);
        }
        let node = program.merge_all(nodes, key, window);
        let (at_end, change) = (change.is_none(), change.unwrap_or((NONE, node)));
        program.fire(Fire { node, change, key, window, time: window.last(), place, at_end, again: !at_end });
    }

    /// What the slices of a sum have together.
    fn sum(&mut self, sum: SumKey, hopping: Hopping, window: Window, program: &mut Program) -> NodeId {
        let SumKey { key, level, index } = sum;
        if let Some(kept) = self.sums.get(&sum).filter(|kept| kept.valid) {
            return if kept.run == self.run { kept.node } else { self.kept_sum(sum, program) };
        }
        let (start, end) = (hopping.slice_start(index << level), hopping.slice_start((index + 1) << level));
        let mut slices = self.index.range((key, start.saturating_add(1), i64::MIN)..=(key, end, i64::MAX));
        let (first, last) = (slices.next().map(|(_, &id)| id), slices.next_back());
        match (first, last) {
            (None, _) => EMPTY,
            (Some(only), None) => self.touch(only, program).node,
            _ => {
                program.count();
                let half = |index| SumKey { key, level: level - 1, index };
                let left = self.sum(half(2 * index), hopping, window, program);
                let right = self.sum(half(2 * index + 1), hopping, window, program);
                let node = program.merge_all(vec![left, right], key, window);
                if left != EMPTY && right != EMPTY {
                    self.keep_sum(sum, node, (start, end), program);
                }
                node
            }
        }
    }

    /// The node of a sum that was kept by an earlier plan.
    fn kept_sum(&mut self, sum: SumKey, program: &mut Program) -> NodeId {
        let node = program.sum(sum);
        if let Some(kept) = self.sums.get_mut(&sum) {
            (kept.run, kept.node) = (self.run, node);
        }
        node
    }

    fn keep_sum(&mut self, sum: SumKey, node: NodeId, (start, end): (i64, i64), program: &mut Program) {
        let slices = self.index.range((sum.key, start.saturating_add(1), i64::MIN)..=(sum.key, end, i64::MAX));
        for id in slices.map(|(_, &id)| id).collect::<Vec<_>>() {
            if !self.slab[id as usize].meta.is(SUMMED) {
                self.touch(id, program).meta.set(SUMMED, true);
            }
        }
        program.keep(node);
        let kept = self.sums.entry(sum).or_default();
        (kept.valid, kept.run, kept.node) = (true, self.run, node);
        self.summed.push((sum, node));
    }

    /// Forgets the sums that a slice is part of. Their bytes stay until the plan is settled, which may use them.
    fn forget_sums(&mut self, key: KeyId, hopping: Hopping, slice: Window) {
        let number = hopping.slice_number(slice.start);
        for level in 1..=LEVELS {
            let sum = SumKey { key, level, index: number >> level };
            if let Some(kept) = self.sums.get_mut(&sum).filter(|kept| kept.valid) {
                kept.valid = false;
                self.forgotten.push(sum);
            }
        }
    }
}
