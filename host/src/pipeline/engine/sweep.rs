//! Which blocks are still needed.
//!
//! A block holds what changed, so the state is spread over all blocks there ever were. The sweep lets the old ones go: each
//! block also rewrites a piece of the state that did not change, going round. Everything that is live when a round ends
//! was written since it began, so no block before that is needed. No commit grows with the state, and what is written on
//! top is in proportion to what changes.

use std::collections::VecDeque;

use super::thresholds::Thresholds;

/// Nothing is rewritten before blocks are this many times as large as the state.
const KEPT_RATIO: usize = 2;
/// Bytes rewritten for each byte that changed: a round is over when half the state has changed, and blocks stay below
/// about four times the state.
const REWRITE_RATIO: usize = 2;
/// The same where most of the state is on disk: reading it costs more than what changes, and the log's room is cheap.
/// Blocks stay below about seven times the state.
const REWRITE_PART_ON_DISK: usize = 2;

/// How far the sweep has come.
#[derive(Debug)]
pub(in crate::pipeline) struct Sweep {
    thresholds: Thresholds,
    /// Numbers and sizes of the blocks that are needed.
    kept: VecDeque<(u64, usize)>,
    kept_bytes: usize,
    /// The first block of the round, while there is one.
    began: Option<u64>,
    /// The store whose turn it is.
    store: usize,
    /// Bytes of changes in the last block.
    changed: usize,
    rewriting: usize,
}

/// What a block is to rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) struct Turn {
    /// The store that rewrites.
    pub(in crate::pipeline) store: usize,
    /// How many bytes; none, if it is 0.
    pub(in crate::pipeline) rewrite: usize,
}

impl Sweep {
    /// No blocks yet.
    pub(in crate::pipeline) fn new(thresholds: Thresholds) -> Self {
        let kept = VecDeque::new();
        Self { thresholds, kept, kept_bytes: 0, began: None, store: 0, changed: 0, rewriting: 0 }
    }

    /// Notes a block that was read back.
    pub(in crate::pipeline) fn read(&mut self, number: u64, bytes: usize) {
        self.kept.push_back((number, bytes));
        self.kept_bytes += bytes;
    }

    /// What the next block, of this number, is to rewrite when the state has so many bytes in memory and on disk.
    pub(in crate::pipeline) fn turn(&mut self, number: u64, in_memory: usize, on_disk: usize) -> Turn {
        let due = self.kept_bytes > self.thresholds.kept_bytes.max((in_memory + on_disk).saturating_mul(KEPT_RATIO));
        if self.began.is_none() && due {
            (self.began, self.store) = (Some(number), 0);
        }
        self.rewriting = match self.began {
            Some(_) if on_disk > in_memory => (self.changed / REWRITE_PART_ON_DISK).max(self.thresholds.rewrite_bytes),
            Some(_) => self.changed.saturating_mul(REWRITE_RATIO).max(self.thresholds.rewrite_bytes),
            None => 0,
        };
        self.changed = 0;
        Turn { store: self.store, rewrite: self.rewriting }
    }

    /// Notes what a store wrote into the block, what it rewrote included.
    pub(in crate::pipeline) fn wrote(&mut self, bytes: usize) {
        self.changed += bytes;
    }

    /// Notes the finished block; `ended` says that the store whose turn it was has gone round. Returns the oldest
    /// block that is still needed.
    pub(in crate::pipeline) fn end_turn(&mut self, number: u64, bytes: usize, ended: bool, stores: usize) -> u64 {
        self.changed = self.changed.saturating_sub(self.rewriting);
        self.read(number, bytes);
        if ended {
            self.store += 1;
        }
        if let Some(began) = self.began
            && self.store >= stores
        {
            while let Some(&(first, bytes)) = self.kept.front()
                && first < began
            {
                self.kept_bytes -= bytes;
                self.kept.pop_front();
            }
            self.began = None;
        }
        self.kept.front().map_or(0, |&(first, _)| first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes blocks of so many bytes of changes over a state of so many; answers the most bytes that were kept.
    fn write(sweep: &mut Sweep, blocks: u64, changed: usize, state: usize, on_disk: usize) -> usize {
        let mut swept = 0;
        let mut most = 0;
        for number in 1..=blocks {
            let turn = sweep.turn(number, state - on_disk, on_disk);
            let rewritten = turn.rewrite.min(state - swept);
            swept += rewritten;
            let ended = turn.rewrite > 0 && swept == state;
            if ended {
                swept = 0;
            }
            sweep.wrote(changed + rewritten);
            let oldest = sweep.end_turn(number, changed + rewritten, ended, 1);
            assert!(oldest <= number);
            most = most.max(sweep.kept_bytes);
        }
        most
    }

    #[test]
    fn what_is_kept_is_in_proportion_to_the_state() {
        let state = 100 << 20;
        let most = write(&mut Sweep::new(Thresholds::default()), 3000, 1 << 20, state, 0);
        assert!(most > 2 * state && most < 5 * state, "{} MiB", most >> 20);
        let most = write(&mut Sweep::new(Thresholds::default()), 6000, 1 << 20, state, state - 1);
        assert!(most > 4 * state && most < 8 * state, "{} MiB", most >> 20);
    }

    #[test]
    fn a_small_state_is_rewritten_at_once_and_rarely() {
        let mut sweep = Sweep::new(Thresholds::default());
        let most = write(&mut sweep, 100_000, 1000, 10_000, 0);
        assert!(most < Thresholds::default().kept_bytes + (1 << 20), "{most}");
        assert!(sweep.kept.len() < 10_000);
    }

    #[test]
    fn a_round_ends_when_all_stores_have_gone_round() {
        let mut sweep = Sweep::new(Thresholds::default());
        sweep.read(1, Thresholds::default().kept_bytes + 1);
        assert_eq!(sweep.turn(2, 0, 0), Turn { store: 0, rewrite: Thresholds::default().rewrite_bytes });
        assert_eq!(sweep.end_turn(2, 10, true, 2), 1, "the second store may need it");
        assert_eq!(sweep.turn(3, 0, 0).store, 1);
        assert_eq!(sweep.end_turn(3, 10, false, 2), 1);
        assert_eq!(sweep.turn(4, 0, 0).store, 1);
        assert_eq!(sweep.end_turn(4, 10, true, 2), 2);
        assert_eq!(sweep.turn(5, 0, 0).rewrite, 0, "there is little to keep now");
    }
}
