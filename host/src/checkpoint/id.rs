//! What a checkpoint is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::PipelineId;

/// The name of a checkpoint, of its own within its pipeline: the deployment, the commit up to which it goes, and, where
/// several were taken of the same commit, which one: `7-1042`, `7-1042-2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CheckpointId {
    /// The deployment that it is of.
    pub deployment: PipelineId,
    /// Its last commit.
    pub commit: u64,
    /// Counted from 1.
    pub copy: u32,
}

/// A text that no checkpoint is called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no checkpoint's name: names are like `7-1042` or `7-1042-2`")]
pub struct InvalidId(String);

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.deployment, self.commit)?;
        if self.copy > 1 { write!(f, "-{}", self.copy) } else { Ok(()) }
    }
}

impl FromStr for CheckpointId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut parts = text.split('-');
        let mut number = || parts.next().map(str::parse::<u64>);
        let read = match (number(), number(), number(), number()) {
            (Some(Ok(deployment)), Some(Ok(commit)), copy, None) => {
                let copy = copy.unwrap_or(Ok(1)).ok().and_then(|copy| u32::try_from(copy).ok());
                copy.map(|copy| Self { deployment: PipelineId(deployment), commit, copy })
            }
            _ => None,
        };
        // One name for each: no signs, no zeros in front.
        read.filter(|id| id.to_string() == text)
            .ok_or_else(|| InvalidId(text.chars().take(80).flat_map(char::escape_default).collect()))
    }
}

impl TryFrom<String> for CheckpointId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<CheckpointId> for String {
    fn from(id: CheckpointId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written_and_there_is_one_for_each() {
        for text in ["7-1042", "7-1042-2", "0-0"] {
            assert_eq!(text.parse::<CheckpointId>().map(|id| id.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "7", "7-", "7-1-1", "7-1-0", "07-1", "+7-1", "7-1-2-3", "a-1", "7-1-4294967296", "../7-1"] {
            text.parse::<CheckpointId>().expect_err(text);
        }
    }

    #[test]
    fn later_checkpoints_come_later() {
        let ids: Vec<CheckpointId> = ["7-9", "7-9-2", "7-10", "12-1"].map(|text| text.parse().expect("a name")).into();
        assert!(ids.is_sorted());
    }
}
