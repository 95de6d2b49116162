//! The table `watermark`.

use serde::Deserialize;
use toml::Spanned;

use super::{ManifestError, StepSpec, Text};
use crate::ids::StepName;
use crate::names::nearest;
use crate::time::{Disorder, Source};

/// How `after` names the records themselves. No step can have such a name.
pub(in crate::pipeline) const AT_SOURCE: &str = "@source";

/// How a pipeline knows what time it is in its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkSpec {
    /// What watermarks are made of.
    pub source: Source,
    /// Which rows they are made of.
    pub after: After,
    /// After how many milliseconds without records a partition holds nothing any more.
    pub idle_ms: Option<i64>,
    /// How far a partition may be ahead of the slowest, in milliseconds, before it waits.
    pub drift_ms: Option<i64>,
    /// How far event times may be ahead of the clock, in milliseconds, before they are rejected as implausible.
    pub ahead_ms: Option<i64>,
}

/// Where event time is final: every row that passes here moves the watermark, whatever becomes of it behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum After {
    /// Behind the last transform, where the first step with state begins.
    #[default]
    Transforms,
    /// In the records, before any step.
    Source,
    /// Behind this transform.
    Step(StepName),
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct WatermarkTable {
    disorder: Option<Spanned<String>>,
    punctuated: Option<Spanned<bool>>,
    after: Option<Spanned<String>>,
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
            after: self.after(table, source)?,
            idle_ms: length(&table.idle)?,
            drift_ms: length(&table.drift)?,
            ahead_ms: length(&table.ahead)?,
        })
    }

    fn after(&self, table: &WatermarkTable, source: Source) -> Result<After, ManifestError> {
        match &table.after {
            None => Ok(After::Transforms),
            Some(after) if source == Source::Marks => {
                let message = "use one of `after` and `punctuated`: marks say themselves what time it is";
                Err(self.at(after, message.to_owned()))
            }
            Some(after) if after.get_ref() == AT_SOURCE => Ok(After::Source),
            Some(after) if after.get_ref().starts_with('@') => {
                let message = format!("`{}` is neither a step nor `{AT_SOURCE}`", after.get_ref());
                Err(self.at(after, message))
            }
            Some(after) => Ok(After::Step(self.parse(after)?)),
        }
    }

    /// Whether `after` names a step that there is. Whether that is in a place for it, plugins decide.
    pub(super) fn check_after(&self, table: &WatermarkTable, steps: &[StepSpec]) -> Result<(), ManifestError> {
        let Some(after) = table.after.as_ref().filter(|after| after.get_ref() != AT_SOURCE) else { return Ok(()) };
        if steps.iter().any(|step| step.name.as_str() == after.get_ref()) {
            return Ok(());
        }
        let first_with_state = steps.iter().position(|step| step.window.is_some()).unwrap_or(steps.len());
        let names = std::iter::once(AT_SOURCE).chain(steps[..first_with_state].iter().map(|step| step.name.as_str()));
        let nearest = nearest(after.get_ref(), names.clone());
        let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
        Err(ManifestError {
            hint: nearest.map(|nearest| format!("did you mean `{nearest}`?")),
            ..self.at(after, format!("there is no step `{}`: `after` is one of {}", after.get_ref(), names.join(", ")))
        })
    }
}
