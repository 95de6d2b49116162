//! What a user asks for, drawn from the seed.

use std::fmt;

use crate::machine::{Machine, Trouble};
use crate::manifest::SOURCES;

/// Something that is done.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Appends records to a source.
    Produce(usize, u64),
    /// Makes a pipeline, or changes it.
    Apply(String),
    /// Stops one.
    Pause(String),
    /// Lets it go on.
    Resume(String),
    /// Removes it.
    Delete(String),
    /// Takes a checkpoint.
    Savepoint(String),
    /// Puts it back to one of its checkpoints.
    Restore(String),
    /// Makes another pipeline from one of its checkpoints.
    Fork(String, String),
    /// Lets it begin anew at an offset of some partition.
    RewindToOffset(String),
    /// Lets it begin anew at a time.
    RewindToTime(String),
    /// Takes back its last upgrade.
    RollBack(String),
    /// Waits.
    Rest(u64),
    /// Sets the clock.
    Jump(i64),
    /// Makes the machine do better or worse.
    Trouble(Trouble),
    /// Compacts what can be.
    Compact,
    /// Deletes a source and makes it again.
    Recreate(usize),
    /// Deploys two pipelines that pass on to one another.
    Ring,
}

/// What a simulation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Whether two things are asked for at once.
    pub concurrent: bool,
    /// Whether calls, commits and stores take seconds now and then.
    pub slow: bool,
    /// Whether the disk of catalog and checkpoints is full now and then.
    pub full: bool,
    /// Whether commits fail now and then, before they are written or after.
    pub failing: bool,
    /// Whether pipelines are let begin anew.
    pub rewinds: bool,
    /// Whether checkpoints are restored, forked, and upgrades rolled back.
    pub restores: bool,
    /// Whether topics are deleted and made again.
    pub recreates: bool,
    /// Whether files of the catalog are lost with the power.
    pub losses: bool,
}

impl Range {
    /// All that there is.
    pub const ALL: Self = Self {
        concurrent: true,
        slow: true,
        full: true,
        failing: true,
        rewinds: true,
        restores: true,
        recreates: true,
        losses: true,
    };
}

impl Operation {
    /// Draws one. `names` are the pipelines that there may be.
    pub fn draw(machine: &Machine, range: Range, names: &[String]) -> Self {
        let name = || names[machine.below(names.len() as u64) as usize].clone();
        loop {
            let drawn = match machine.below(36) {
                0..11 => Self::Produce(machine.below(SOURCES.len() as u64) as usize, 1 + machine.below(12)),
                11..15 => Self::Apply(name()),
                15 | 16 => Self::Pause(name()),
                17 | 18 => Self::Resume(name()),
                19 => Self::Delete(name()),
                20 | 21 => Self::Savepoint(name()),
                22 | 23 if range.restores => Self::Restore(name()),
                24 if range.restores => Self::Fork(name(), format!("f{}", machine.below(2))),
                25 | 26 if range.restores => Self::RollBack(name()),
                27 if range.rewinds => Self::RewindToOffset(name()),
                28 if range.rewinds => Self::RewindToTime(name()),
                29 | 30 => Self::Rest([1, 50, 1000, 20_000][machine.below(4) as usize]),
                31 => Self::Jump(machine.below(100_000) as i64 - 50_000),
                32 if range.slow || range.full || range.failing => Self::Trouble(Trouble {
                    slow: range.slow && machine.one_in(2),
                    files_fail: if range.full { [0, 0, 5, 20][machine.below(4) as usize] } else { 0 },
                    commits_fail: if range.failing { [0, 0, 4][machine.below(3) as usize] } else { 0 },
                }),
                33 => Self::Compact,
                34 if range.recreates && machine.one_in(2) => {
                    Self::Recreate(machine.below(SOURCES.len() as u64) as usize)
                }
                35 if machine.one_in(3) => Self::Ring,
                _ => continue,
            };
            return drawn;
        }
    }

    /// The pipeline that it changes, if it changes one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Apply(name)
            | Self::Pause(name)
            | Self::Resume(name)
            | Self::Delete(name)
            | Self::Savepoint(name)
            | Self::Restore(name)
            | Self::Fork(_, name)
            | Self::RewindToOffset(name)
            | Self::RewindToTime(name)
            | Self::RollBack(name) => Some(name),
            Self::Produce(..)
            | Self::Rest(_)
            | Self::Jump(_)
            | Self::Trouble(_)
            | Self::Compact
            | Self::Recreate(_)
            | Self::Ring => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
