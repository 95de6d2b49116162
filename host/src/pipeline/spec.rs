//! The manifest of a pipeline: TOML, strict, and checked as far as it can be without asking what the server has.
//!
//! A [`Spec`] that exists is well formed: its names are names, its durations are positive, its steps have names of their
//! own. Whether its topics and plugins exist, and whether a plugin's world fits its place, is the plan's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::error::{Coded, Kind};
use crate::ids::{PipelineName, PluginRef, StepName, TopicName};
use crate::names::nearest;
use crate::time::{Disorder, Tumbling};

/// Most steps in a pipeline: each costs an image and a call a micro-batch.
pub const STEPS_MAX: usize = 32;
/// Most source topics of a pipeline.
pub const SOURCES_MAX: usize = 32;

/// A pipeline as its manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The pipeline's name.
    pub name: PipelineName,
    /// The topics it reads.
    pub sources: Vec<TopicName>,
    /// Whether it begins at the oldest record or at the end, where it has not read before.
    pub start: Start,
    /// Whether it carries records' headers.
    pub headers: bool,
    /// By how much rows of one partition may be out of order.
    pub disorder: Disorder,
    /// Its steps, in order, at least one.
    pub steps: Vec<StepSpec>,
    /// Where results go.
    pub output: TopicName,
    /// Where rows go that no step could process.
    pub dead_letters: TopicName,
}

/// Where a pipeline begins in an input it has not read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At the oldest record.
    #[default]
    Earliest,
    /// After the newest record.
    Latest,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepSpec {
    /// Its name, of its own in the pipeline.
    pub name: StepName,
    /// The plugin it runs.
    pub plugin: PluginRef,
    /// The plugin's configuration.
    pub config: serde_json::Value,
    /// Where rows of outputs other than the first go, by the output's name.
    pub outputs: BTreeMap<String, TopicName>,
    /// For a step that folds: its windows and where late rows go.
    pub window: Option<WindowSpec>,
}

/// The windows of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// How rows are put into windows.
    pub tumbling: Tumbling,
    /// Where rows go whose window is complete.
    pub late: TopicName,
}

/// What is wrong with a manifest, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("manifest, line {line}, column {column}: {message}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct ManifestError {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl Coded for ManifestError {
    fn code(&self) -> &'static str {
        "invalid_manifest"
    }
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    name: Spanned<String>,
    source: Source,
    #[serde(default)]
    watermark: WatermarkTable,
    steps: Spanned<Vec<Step>>,
    output: OutputTable,
    dead_letters: Option<OutputTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    topics: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    start: Start,
    #[serde(default)]
    headers: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WatermarkTable {
    disorder: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: Spanned<String>,
    plugin: Spanned<String>,
    config: Option<toml::Table>,
    #[serde(default)]
    outputs: BTreeMap<String, Spanned<String>>,
    window: Option<Spanned<WindowTable>>,
    late: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowTable {
    tumbling: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputTable {
    topic: Spanned<String>,
}

impl FromStr for Spec {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let source = Text(text);
        let manifest: Manifest = toml::from_str(text).map_err(|error| source.syntax(&error))?;
        source.spec(manifest)
    }
}

/// The manifest's text, to say where something is.
struct Text<'a>(&'a str);

impl Text<'_> {
    fn spec(&self, manifest: Manifest) -> Result<Spec, ManifestError> {
        let name: PipelineName = self.parse(&manifest.name)?;
        let topics = manifest.source.topics;
        if topics.get_ref().is_empty() || topics.get_ref().len() > SOURCES_MAX {
            let count = topics.get_ref().len();
            return Err(self.at(&topics, format!("a pipeline reads 1 to {SOURCES_MAX} topics, this one {count}")));
        }
        let mut sources = Vec::new();
        for topic in topics.get_ref() {
            let name = self.parse(topic)?;
            if sources.contains(&name) {
                return Err(self.at(topic, format!("topic `{name}` is named twice")));
            }
            sources.push(name);
        }
        let bound_ms = match &manifest.watermark.disorder {
            Some(text) => self.duration(text)?,
            None => 0,
        };
        let steps = self.steps(&name, manifest.steps)?;
        let output: TopicName = self.parse(&manifest.output.topic)?;
        if sources.contains(&output) {
            let message = format!("topic `{output}` is a source of this pipeline and cannot be its output");
            return Err(self.at(&manifest.output.topic, message));
        }
        let dead_letters = match &manifest.dead_letters {
            Some(table) => self.parse(&table.topic)?,
            None => self.derived(&manifest.name, &format!("{name}.dead-letters"))?,
        };
        Ok(Spec {
            name,
            sources,
            start: manifest.source.start,
            headers: manifest.source.headers,
            disorder: Disorder { bound_ms },
            steps,
            output,
            dead_letters,
        })
    }

    fn steps(&self, pipeline: &PipelineName, steps: Spanned<Vec<Step>>) -> Result<Vec<StepSpec>, ManifestError> {
        let count = steps.get_ref().len();
        if count == 0 || count > STEPS_MAX {
            return Err(self.at(&steps, format!("a pipeline has 1 to {STEPS_MAX} steps, this one {count}")));
        }
        let mut names = BTreeSet::new();
        let mut specs = Vec::with_capacity(count);
        for step in steps.into_inner() {
            let name: StepName = self.parse(&step.name)?;
            if !names.insert(name.clone()) {
                return Err(self.at(&step.name, format!("two steps are named `{name}`")));
            }
            specs.push(self.step(pipeline, name, step)?);
        }
        Ok(specs)
    }

    fn step(&self, pipeline: &PipelineName, name: StepName, step: Step) -> Result<StepSpec, ManifestError> {
        let plugin = self.parse(&step.plugin)?;
        let config = match step.config {
            Some(table) => serde_json::to_value(table)
                .map_err(|error| self.at(&step.name, format!("config of `{name}`: {error}")))?,
            None => serde_json::Value::Object(serde_json::Map::new()),
        };
        let mut outputs = BTreeMap::new();
        for (output, topic) in &step.outputs {
            outputs.insert(output.clone(), self.parse(topic)?);
        }
        let window = match (&step.window, &step.late) {
            (Some(window), late) => {
                let size = &window.get_ref().tumbling;
                let tumbling = Tumbling::new(self.duration(size)?)
                    .ok_or_else(|| self.at(size, "a window is at least 1 millisecond long".to_owned()))?;
                let late = match late {
                    Some(late) => self.parse(late)?,
                    None => self.derived(&step.name, &format!("{pipeline}.late"))?,
                };
                Some(WindowSpec { tumbling, late })
            }
            (None, Some(late)) => {
                return Err(self.at(late, format!("step `{name}` has no `window`, so no row can be late for it")));
            }
            (None, None) => None,
        };
        Ok(StepSpec { name, plugin, config, outputs, window })
    }

    fn parse<T>(&self, text: &Spanned<String>) -> Result<T, ManifestError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        text.get_ref().parse().map_err(|error: T::Err| self.at(text, error.to_string()))
    }

    /// A topic name made from the pipeline's, which may be too long for it.
    fn derived(&self, from: &Spanned<String>, name: &str) -> Result<TopicName, ManifestError> {
        name.parse().map_err(|error: crate::ids::InvalidName| self.at(from, error.to_string()))
    }

    fn duration(&self, text: &Spanned<String>) -> Result<i64, ManifestError> {
        duration_ms(text.get_ref()).ok_or_else(|| {
            let message = format!("`{}` is no duration", text.get_ref());
            ManifestError {
                hint: Some("write a whole number and a unit, such as 500ms, 30s, 1m, 2h or 1d".to_owned()),
                ..self.at(text, message)
            }
        })
    }

    fn at<T>(&self, value: &Spanned<T>, message: String) -> ManifestError {
        let (line, column) = self.place(value.span().start);
        ManifestError { line, column, message, hint: None }
    }

    fn syntax(&self, error: &toml::de::Error) -> ManifestError {
        let (line, column) = self.place(error.span().map_or(0, |span| span.start));
        let message = error.message().to_owned();
        ManifestError { line, column, hint: nearest_of_message(&message), message }
    }

    fn place(&self, byte: usize) -> (usize, usize) {
        let before = self.0.get(..byte).unwrap_or(self.0);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

/// A duration such as `500ms`, `30s`, `1m`, `2h` or `1d`, in milliseconds.
pub fn duration_ms(text: &str) -> Option<i64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// For serde's ``unknown field `x`, expected one of `a`, `b` ``: the expected name nearest to what was written.
fn nearest_of_message(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next()?;
    if !message.starts_with("unknown ") {
        return None;
    }
    let nearest = nearest(written, quoted)?;
    Some(format!("did you mean `{nearest}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "page-views"

[source]
topics = ["clicks"]

[watermark]
disorder = "30s"

[[steps]]
name = "parse"
plugin = "parse-json"
config = { key = "page", timestamp = "time" }
outputs = { unmatched = "other" }

[[steps]]
name = "views"
plugin = "count"
window = { tumbling = "1m" }

[output]
topic = "views-per-minute"
"#;

    fn refused(text: &str) -> String {
        text.parse::<Spec>().map_err(|error| error.to_string()).expect_err("the manifest is wrong")
    }

    #[test]
    fn a_manifest_becomes_a_spec_with_its_defaults() {
        let spec: Spec = GOOD.parse().expect("the manifest is good");
        assert_eq!(spec.dead_letters.as_str(), "page-views.dead-letters");
        assert_eq!(spec.disorder, Disorder { bound_ms: 30_000 });
        assert_eq!(spec.start, Start::Earliest);
        assert_eq!(spec.steps[0].config["key"], "page");
        assert_eq!(spec.steps[0].outputs["unmatched"].as_str(), "other");
        let window = spec.steps[1].window.as_ref().expect("views has windows");
        assert_eq!((window.tumbling.size_ms(), window.late.as_str()), (60_000, "page-views.late"));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_the_nearest_name() {
        let text = GOOD.replace("disorder", "disordr");
        let message = refused(&text);
        assert!(message.starts_with("manifest, line 8, column 1: unknown field `disordr`"), "{message}");
        assert!(message.ends_with("(did you mean `disorder`?)"), "{message}");
    }

    #[test]
    fn every_value_that_is_wrong_is_refused_where_it_stands() {
        let cases = [
            (r#"topics = ["clicks"]"#, "topics = []", "line 5, column 10: a pipeline reads 1 to 32 topics, this one 0"),
            (r#""clicks""#, r#""a", "a""#, "line 5, column 16: topic `a` is named twice"),
            (r#""1m""#, r#""1 minute""#, "column 23: `1 minute` is no duration"),
            (r#""1m""#, r#""0s""#, "a window is at least 1 millisecond long"),
            (r#""30s""#, r#""99999999999999999999d""#, "is no duration"),
            (r#"name = "views""#, r#"name = "parse""#, "two steps are named `parse`"),
            (r#"name = "page-views""#, r#"name = "Page""#, "line 2, column 8: pipeline `Page` may only have"),
            (r#""views-per-minute""#, r#""clicks""#, "is a source of this pipeline and cannot be its output"),
            (r#""count""#, r#""count@sha256:12""#, "is not `sha256:` and 64 hexadecimal digits"),
            (r#"plugin = "count""#, r#"plugin = "#, "line 18, column"),
        ];
        for (from, to, expected) in cases {
            let message = refused(&GOOD.replace(from, to));
            assert!(message.contains(expected), "{to}: {message}");
        }
    }

    #[test]
    fn late_without_a_window_is_refused() {
        let text = GOOD.replace("outputs = { unmatched = \"other\" }", "late = \"x\"");
        assert!(refused(&text).contains("step `parse` has no `window`"));
    }
}
