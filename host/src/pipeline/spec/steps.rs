//! The tables `steps`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::loops::Inputs;
use super::window::WindowTable;
use super::{ManifestError, STEPS_MAX, StepSpec, Target, Text, WatermarkSpec, WindowSpec};
use crate::ids::{PipelineName, StepName, TopicName};
use crate::names::nearest;
use crate::time::Source;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    name: Spanned<String>,
    was: Option<Spanned<String>>,
    plugin: Spanned<String>,
    config: Option<toml::Table>,
    #[serde(default)]
    only: Vec<Spanned<String>>,
    #[serde(default)]
    outputs: BTreeMap<String, Spanned<String>>,
    window: Option<Spanned<WindowTable>>,
    late: Option<Spanned<String>>,
    #[serde(default)]
    grants: Vec<Spanned<String>>,
    #[serde(default)]
    lookup: Vec<Spanned<String>>,
}

impl Text<'_> {
    pub(super) fn steps(
        &self,
        pipeline: &PipelineName,
        steps: Spanned<Vec<Step>>,
        inputs: &Inputs<'_>,
        headers: bool,
        watermark: &WatermarkSpec,
    ) -> Result<Vec<StepSpec>, ManifestError> {
        let count = steps.get_ref().len();
        if count == 0 || count > STEPS_MAX {
            return Err(self.at(&steps, format!("a pipeline has 1 to {STEPS_MAX} steps, this one {count}")));
        }
        let span = steps.span();
        self.check_former_names(steps.get_ref())?;
        let mut names = BTreeSet::new();
        let mut specs = Vec::with_capacity(count);
        for step in steps.into_inner() {
            let name: StepName = self.parse(&step.name)?;
            if !names.insert(name.clone()) {
                return Err(self.at(&step.name, format!("two steps are named `{name}`")));
            }
            let gap_header = step.window.as_ref().and_then(|window| window.get_ref().gap_header.as_ref());
            if let Some(header) = gap_header.filter(|_| specs.is_empty() && !headers) {
                let header_name = header.get_ref();
                let message = format!(
                    "no row can have the header `{header_name}`: say `headers = true` in `source`, or let a step before give it"
                );
                return Err(self.at(header, message));
            }
            specs.push(self.step(pipeline, name, step, inputs, watermark)?);
        }
        let marks = specs.iter().flat_map(|spec| spec.outputs.values()).any(|target| *target == Target::Watermark);
        if watermark.source == Source::Marks && !marks {
            let message = "the watermark is `punctuated`, but no step routes an output to `@watermark`";
            return Err(self.at(&Spanned::new(span, ()), message.to_owned()));
        }
        Ok(specs)
    }

    fn step(
        &self,
        pipeline: &PipelineName,
        name: StepName,
        step: Step,
        inputs: &Inputs<'_>,
        watermark: &WatermarkSpec,
    ) -> Result<StepSpec, ManifestError> {
        let plugin = self.parse(&step.plugin)?;
        let was = step.was.as_ref().map(|was| self.parse(was)).transpose()?;
        let config = match step.config {
            Some(table) => serde_json::to_value(table)
                .map_err(|error| self.at(&step.name, format!("config of `{name}`: {error}")))?,
            None => serde_json::Value::Object(serde_json::Map::new()),
        };
        let mut outputs = BTreeMap::new();
        for (output, target) in &step.outputs {
            let to = self.target(target, watermark)?;
            if let Target::Topic(topic) = &to {
                let what = format!("where output `{output}` of step `{name}` goes");
                self.check_result(target, topic, &what, inputs)?;
            }
            outputs.insert(output.clone(), to);
        }
        let window = match (&step.window, &step.late) {
            (Some(window), late) => {
                let windowing = self.windowing(window)?;
                let (late, span) = match late {
                    Some(late) => (self.parse(late)?, late),
                    None => (self.derived(&step.name, &format!("{pipeline}.late"))?, &step.name),
                };
                self.check_own_loop(span, &late, &format!("where late rows of step `{name}` go"), inputs)?;
                Some(WindowSpec { windowing, late })
            }
            (None, Some(late)) => {
                return Err(self.at(late, format!("step `{name}` has no `window`, so no row can be late for it")));
            }
            (None, None) => None,
        };
        let only = self.known(&step.only, inputs.sources.iter(), "topic", "a source of the pipeline")?;
        let lookups = self.known(&step.lookup, inputs.tables.keys(), "table", "in the manifest's `tables`")?;
        let mut table = false;
        for grant in &step.grants {
            if grant.get_ref() != "table" {
                let message = format!("`{}` cannot be granted: `table` can, and tables by `lookup`", grant.get_ref());
                return Err(self.at(grant, message));
            }
            table = true;
        }
        Ok(StepSpec { name, was, plugin, config, only, outputs, window, table, lookups })
    }

    /// Whether the former names of steps are unambiguous.
    fn check_former_names(&self, steps: &[Step]) -> Result<(), ManifestError> {
        let mut former = BTreeSet::new();
        for was in steps.iter().filter_map(|step| step.was.as_ref()) {
            let name = was.get_ref();
            if steps.iter().any(|step| step.name.get_ref() == name) {
                return Err(self.at(was, format!("no step can have been `{name}`, which is a step of this manifest")));
            }
            if !former.insert(name) {
                return Err(self.at(was, format!("two steps say that they were `{name}`")));
            }
        }
        Ok(())
    }

    fn target(&self, target: &Spanned<String>, watermark: &WatermarkSpec) -> Result<Target, ManifestError> {
        let mark = match target.get_ref().as_str() {
            "@watermark" if watermark.source != Source::Marks => {
                let message = "watermarks come from event times here: say `punctuated = true` in `watermark`";
                return Err(self.at(target, message.to_owned()));
            }
            "@watermark" => Target::Watermark,
            "@idle" => Target::Idle,
            "@active" => Target::Active,
            other if other.starts_with('@') => {
                let message = format!("`{other}` is neither a topic nor one of `@watermark`, `@idle`, `@active`");
                return Err(self.at(target, message));
            }
            _ => Target::Topic(self.parse(target)?),
        };
        Ok(mark)
    }

    /// Names that must be among those known.
    fn known<'a>(
        &self,
        names: &[Spanned<String>],
        known: impl Iterator<Item = &'a TopicName> + Clone,
        what: &str,
        place: &str,
    ) -> Result<Vec<TopicName>, ManifestError> {
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let parsed: TopicName = self.parse(name)?;
            if !known.clone().any(|known| *known == parsed) {
                let nearest = nearest(parsed.as_str(), known.map(TopicName::as_str));
                return Err(ManifestError {
                    hint: nearest.map(|nearest| format!("did you mean `{nearest}`?")),
                    ..self.at(name, format!("{what} `{parsed}` is not {place}"))
                });
            }
            found.push(parsed);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spec;
    use super::super::tests::{GOOD, refused};
    use crate::ids::StepName;

    #[test]
    fn former_names_are_those_of_no_other_step() {
        let with = |was: &str| GOOD.replace("name = \"views\"\n", &format!("name = \"views\"\nwas = \"{was}\"\n"));
        let spec: Spec = with("count").parse().expect("the manifest is good");
        assert_eq!(spec.steps[1].was.as_ref().map(StepName::as_str), Some("count"));
        assert!(refused(&with("parse")).contains("no step can have been `parse`"));
        let both = with("count").replace("name = \"parse\"\n", "name = \"parse\"\nwas = \"count\"\n");
        assert!(refused(&both).contains("two steps say that they were `count`"));
    }
}
