//! Which matches are left out once one was found.
//!
//! With a skip, matches are found in the order of their first events: one that is complete waits while a partial match
//! that began before it can still become one, because that one would decide.

use super::run::{Id, Run};

/// Which matches are left out once one was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// None: every match is found.
    #[default]
    NoSkip,
    /// Those that begin with the same event.
    ToNext,
    /// Those that begin before it ends or with its last event, so that matches do not overlap.
    PastLast,
    /// Those that begin before its first event of this stage. If it has none, none.
    ToFirst(String),
    /// Those that begin before its last event of this stage. If it has none, none.
    ToLast(String),
}

/// A skip with the place of its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SkipTo {
    None,
    Next,
    PastLast,
    First(u8),
    Last(u8),
}

impl SkipTo {
    /// Whether a match or partial match that begins with `start` is left out after `found`.
    fn leaves_out(self, found: &Run, start: Id) -> bool {
        let of = |stage| found.taken.iter().filter(move |&&(_, taken)| taken == stage).map(|&(id, _)| id);
        match self {
            Self::None => false,
            Self::Next => found.start().is_some_and(|first| start <= first),
            Self::PastLast => found.last().is_some_and(|last| start <= last),
            Self::First(stage) => of(stage).next().is_some_and(|first| start < first),
            Self::Last(stage) => of(stage).next_back().is_some_and(|last| start < last),
        }
    }

    /// Takes the matches out of `complete` that no partial match can come before, and leaves out what each of them does.
    pub(super) fn release(self, runs: &mut Vec<Run>, complete: &mut Vec<Run>) -> Vec<Run> {
        if self == Self::None {
            return std::mem::take(complete);
        }
        let mut released = Vec::new();
        // Of those that begin with one event, the first one in the list was complete first.
        while let Some((place, start)) =
            complete.iter().enumerate().map(|(place, run)| (place, run.start())).min_by_key(|&(_, start)| start)
        {
            if runs.iter().any(|run| run.start() < start) {
                break;
            }
            let found = complete.remove(place);
            let stays = |run: &Run| run.start().is_none_or(|start| !self.leaves_out(&found, start));
            runs.retain(stays);
            complete.retain(stays);
            released.push(found);
        }
        released
    }
}
