//! `[checkpoint]`: how often a pipeline is copied to the checkpoint store, and how many copies are kept.

use serde::Deserialize;
use toml::Spanned;

use super::{ManifestError, Text};

/// Shortest time between two checkpoints by the clock.
pub const EVERY_MS_MIN: i64 = 1000;
/// Most checkpoints of a kind that are kept by themselves.
pub const KEEP_MAX: u32 = 1000;
/// How many are kept where the manifest does not say.
const KEEP: u32 = 5;

/// When checkpoints are taken and which are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointSpec {
    /// The time between two, in milliseconds; without it none is taken by the clock.
    pub every_ms: Option<i64>,
    /// How many of each kind are kept, savepoints aside.
    pub keep: u32,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckpointTable {
    every: Option<Spanned<String>>,
    keep: Option<Spanned<u32>>,
}

impl Text<'_> {
    pub(super) fn checkpoint(&self, table: &CheckpointTable) -> Result<CheckpointSpec, ManifestError> {
        let every_ms = match &table.every {
            Some(every) => {
                let ms = self.duration(every)?;
                if ms < EVERY_MS_MIN {
                    let message = format!("checkpoints are {EVERY_MS_MIN} ms apart or more, these {ms} ms");
                    return Err(self.at(every, message));
                }
                Some(ms)
            }
            None => None,
        };
        let keep = match &table.keep {
            Some(keep) if (1..=KEEP_MAX).contains(keep.get_ref()) => *keep.get_ref(),
            Some(keep) => {
                let message = format!("1 to {KEEP_MAX} checkpoints are kept, not {}", keep.get_ref());
                return Err(self.at(keep, message));
            }
            None => KEEP,
        };
        Ok(CheckpointSpec { every_ms, keep })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spec;
    use super::*;

    fn parsed(checkpoint: &str) -> Result<CheckpointSpec, String> {
        let text = format!(
            "name = \"a\"\nsource = {{ topics = [\"b\"] }}\noutput = {{ topic = \"c\" }}\n{checkpoint}\n[[steps]]\nname = \"d\"\nplugin = \"d\"\n"
        );
        text.parse::<Spec>().map(|spec| spec.checkpoint).map_err(|error| error.to_string())
    }

    #[test]
    fn checkpoints_by_the_clock_are_taken_only_where_asked_for() {
        assert_eq!(parsed(""), Ok(CheckpointSpec { every_ms: None, keep: 5 }));
        let asked = parsed("checkpoint = { every = \"1m\", keep = 3 }");
        assert_eq!(asked, Ok(CheckpointSpec { every_ms: Some(60_000), keep: 3 }));
    }

    #[test]
    fn what_cannot_be_kept_is_refused_where_it_stands() {
        for (text, expected) in [
            (
                "checkpoint = { every = \"10ms\" }",
                "line 4, column 24: checkpoints are 1000 ms apart or more, these 10 ms",
            ),
            ("checkpoint = { keep = 0 }", "line 4, column 23: 1 to 1000 checkpoints are kept, not 0"),
            ("checkpoint = { every = \"often\" }", "`often` is no duration"),
        ] {
            let message = parsed(text).expect_err(text);
            assert!(message.contains(expected), "{message}");
        }
    }
}
