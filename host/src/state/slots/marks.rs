//! What a slot took part in.

use crate::state::ticks::UNMARKED;

/// The last call and the last commit of a slot, by the numbers of their turns: see [`ticks`](crate::state::ticks).
#[derive(Debug, Clone)]
#[repr(C)]
pub(in crate::state) struct Marks {
    /// The last call this slot took part in, and its group number there.
    call: u32,
    group: u32,
    /// The last commit in which this slot changed.
    commit: u32,
}

impl Default for Marks {
    fn default() -> Self {
        Self { call: UNMARKED, group: 0, commit: UNMARKED }
    }
}

impl Marks {
    /// The group number of the slot in a call, if it has one already.
    pub(in crate::state) fn group_in(&self, call: u32) -> Option<u32> {
        (self.call == call).then_some(self.group)
    }

    /// Gives the slot its group number in a call.
    pub(in crate::state) fn set_group(&mut self, call: u32, group: u32) {
        self.call = call;
        self.group = group;
    }

    /// Whether the slot took part in a call after the one of that number.
    pub(in crate::state) fn is_used_since(&self, call: u32) -> bool {
        self.call > call
    }

    /// Notes that the slot changed in a commit; whether it had not yet.
    pub(in crate::state) fn change(&mut self, commit: u32) -> bool {
        std::mem::replace(&mut self.commit, commit) != commit
    }

    /// Whether the slot changed in a commit.
    pub(in crate::state) fn is_changed(&self, commit: u32) -> bool {
        self.commit == commit
    }

    /// Clears the mark of the call.
    pub(in crate::state) fn clear_call(&mut self) {
        self.call = UNMARKED;
    }

    /// Clears the mark of the commit.
    pub(in crate::state) fn clear_commit(&mut self) {
        self.commit = UNMARKED;
    }
}
