//! The table `watermark`.

use serde::Deserialize;
use toml::Spanned;

use super::{ManifestError, Text};
use crate::time::{Disorder, Source};

/// How a pipeline knows what time it is in its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkSpec {
    /// What watermarks are made of.
    pub source: Source,
    /// After how many milliseconds without records a partition holds nothing any more.
    pub idle_ms: Option<i64>,
    /// How far a partition may be ahead of the slowest, in milliseconds, before it waits.
    pub drift_ms: Option<i64>,
    /// How far event times may be ahead of the clock, in milliseconds, before they are not believed.
    pub ahead_ms: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct WatermarkTable {
    disorder: Option<Spanned<String>>,
    punctuated: Option<Spanned<bool>>,
    idle: Option<Spanned<String>>,
    drift: Option<Spanned<String>>,
    ahead: Option<Spanned<String>>,
}

impl Text<'_> {
    pub(super) fn watermark(&self, table: &WatermarkTable) -> Result<WatermarkSpec, ManifestError> {
        let punctuated = table.punctuated.as_ref().is_some_and(|punctuated| *punctuated.get_ref());
        let source = match &table.disorder {
            Some(disorder) if punctuated => {
                let message = "use one of `disorder` and `punctuated`: marks say themselves how late rows may be";
                return Err(self.at(disorder, message.to_owned()));
            }
            _ if punctuated => Source::Marks,
            Some(disorder) => Source::Disorder(Disorder { bound_ms: self.length(disorder, 0)? }),
            None => Source::Disorder(Disorder { bound_ms: 0 }),
        };
        let length = |text: &Option<Spanned<String>>| text.as_ref().map(|text| self.length(text, 1)).transpose();
        Ok(WatermarkSpec {
            source,
            idle_ms: length(&table.idle)?,
            drift_ms: length(&table.drift)?,
            ahead_ms: length(&table.ahead)?,
        })
    }
}
