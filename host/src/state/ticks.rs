//! Numbers that tell whether a slot was marked in this turn.
//!
//! A mark is the number of the turn in which it was made, four bytes of a slot's cache line. A busy step uses up
//! these numbers after some weeks. Then every mark has to be cleared once, or a slot that was last marked under the same
//! number would count as marked now.

/// What a slot is marked with that was never marked: the number of no turn.
pub(super) const UNMARKED: u32 = 0;

/// The number of a turn: a call, or a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks(u32);

impl Ticks {
    /// The first turn.
    pub(super) const FIRST: Self = Self(1);
    /// Before the first turn.
    pub(super) const NONE: Self = Self(UNMARKED);

    /// The number of this turn.
    pub(super) const fn now(self) -> u32 {
        self.0
    }

    /// Begins the next turn. `clear` clears all marks; it is called when the numbers start over.
    pub(super) fn advance(&mut self, clear: impl FnOnce()) {
        self.0 = match self.0.checked_add(1) {
            Some(next) => next,
            None => {
                clear();
                Self::FIRST.0
            }
        };
    }

    /// This many turns before the numbers start over.
    #[cfg(test)]
    pub(super) const fn before_end(turns: u32) -> Self {
        Self(u32::MAX - turns)
    }
}
