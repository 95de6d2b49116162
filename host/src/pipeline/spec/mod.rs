//! The manifest of a pipeline: TOML, strict, and checked as far as it can be without asking what the server has.
//!
//! A [`Spec`] that exists is well formed: its names are names, its durations are positive, its steps have names of their
//! own. Whether its topics and plugins exist, and whether a plugin's world fits its place, is the plan's to say.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::error::{Coded, Kind};
use crate::ids::{PipelineName, PluginRef, StepName, TopicName};
use crate::names::nearest;
use crate::time::Windowing;

mod checkpoint;
mod loops;
mod steps;
mod topics;
mod watermark;
mod window;

use checkpoint::CheckpointTable;
pub use checkpoint::{CheckpointSpec, EVERY_MS_MIN as CHECKPOINT_EVERY_MS_MIN, KEEP_MAX as CHECKPOINTS_KEPT_MAX};
use loops::{Inputs, LoopTable};
pub use loops::{LoopSpec, ROUNDS_MAX};
use steps::Step;
pub(super) use watermark::AT_SOURCE;
use watermark::WatermarkTable;
pub use watermark::{After, WatermarkSpec};

/// Most steps in a pipeline: each costs an image and a call a micro-batch.
pub const STEPS_MAX: usize = 32;
/// Most source topics of a pipeline.
pub const SOURCES_MAX: usize = 32;
/// Most reference tables of a pipeline: each is held in memory.
pub const TABLES_MAX: usize = 16;

/// A pipeline as its manifest describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The pipeline's name.
    pub name: PipelineName,
    /// The topics it reads.
    pub sources: Vec<TopicName>,
    /// Which of them it writes too, and how often a row may come round by it.
    pub feedback: Option<LoopSpec>,
    /// Whether it begins at the oldest record or at the end, where it has not read before.
    pub start: Start,
    /// Whether it carries records' headers.
    pub headers: bool,
    /// How it knows what time it is in its inputs.
    pub watermark: WatermarkSpec,
    /// When it is copied to the checkpoint store.
    pub checkpoint: CheckpointSpec,
    /// The reference tables that its steps may be granted, by name.
    pub tables: BTreeMap<TopicName, TopicName>,
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
    /// The name that it had: its state is the step's that had it.
    pub was: Option<StepName>,
    /// The plugin it runs.
    pub plugin: PluginRef,
    /// The plugin's configuration.
    pub config: serde_json::Value,
    /// The source topics whose rows it takes; rows of others pass it by. All, if there are none.
    pub only: Vec<TopicName>,
    /// Where rows of outputs go, by the output's name, that do not go on to the next step.
    pub outputs: BTreeMap<String, Target>,
    /// For a step that folds: its windows and where late rows go.
    pub window: Option<WindowSpec>,
    /// Whether its plugin may keep tables of its own.
    pub table: bool,
    /// The reference tables that its plugin may read.
    pub lookups: Vec<TopicName>,
}

/// Where rows of an output go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To a topic.
    Topic(TopicName),
    /// Nowhere: the row's event time is the watermark of its partition from here on.
    Watermark,
    /// Nowhere: its partition is idle until its next row.
    Idle,
    /// Nowhere: its partition is not idle any more.
    Active,
}

/// The windows of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// How rows are put into windows, and when windows give results.
    pub windowing: Windowing,
    /// Where rows go whose window takes no more.
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
    #[serde(default)]
    checkpoint: CheckpointTable,
    #[serde(default)]
    tables: Vec<Table>,
    #[serde(rename = "loop")]
    feedback: Option<LoopTable>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Spanned<String>,
    topic: Spanned<String>,
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
        let watermark = self.watermark(&manifest.watermark)?;
        let checkpoint = self.checkpoint(&manifest.checkpoint)?;
        let tables = self.tables(&manifest.tables, &sources)?;
        let feedback = self.feedback(manifest.feedback.as_ref(), &sources)?;
        let inputs = Inputs { sources: &sources, tables: &tables, feedback: feedback.as_ref() };
        let steps = self.steps(&name, manifest.steps, &inputs, manifest.source.headers, &watermark)?;
        self.check_after(&manifest.watermark, &steps)?;
        let output: TopicName = self.parse(&manifest.output.topic)?;
        self.check_result(&manifest.output.topic, &output, "its output", &inputs)?;
        let (dead_letters, span) = match &manifest.dead_letters {
            Some(table) => (self.parse(&table.topic)?, &table.topic),
            None => (self.derived(&manifest.name, &format!("{name}.dead-letters"))?, &manifest.name),
        };
        self.check_own_loop(span, &dead_letters, "where its dead letters go", &inputs)?;
        if let (Some(table), Some(feedback)) = (&manifest.feedback, &feedback) {
            self.check_way_round(table, feedback, &steps, &output)?;
        }
        Ok(Spec {
            name,
            sources,
            feedback,
            start: manifest.source.start,
            headers: manifest.source.headers,
            watermark,
            checkpoint,
            tables,
            steps,
            output,
            dead_letters,
        })
    }

    fn tables(&self, tables: &[Table], sources: &[TopicName]) -> Result<BTreeMap<TopicName, TopicName>, ManifestError> {
        let mut named = BTreeMap::new();
        for table in tables {
            let (name, topic): (TopicName, TopicName) = (self.parse(&table.name)?, self.parse(&table.topic)?);
            if sources.contains(&topic) {
                let message = format!("topic `{topic}` is a source of this pipeline and cannot be its table too");
                return Err(self.at(&table.topic, message));
            }
            if named.values().any(|other| *other == topic) {
                return Err(self.at(&table.topic, format!("two tables are of topic `{topic}`")));
            }
            if named.insert(name.clone(), topic).is_some() {
                return Err(self.at(&table.name, format!("two tables are named `{name}`")));
            }
            if named.len() > TABLES_MAX {
                return Err(self.at(&table.name, format!("a pipeline has at most {TABLES_MAX} tables")));
            }
        }
        Ok(named)
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
    use crate::time::{Disorder, Early, Hopping, Kind, Mode, Session, Source as WatermarkSource, Tumbling};

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
        assert_eq!(spec.watermark.source, WatermarkSource::Disorder(Disorder { bound_ms: 30_000 }));
        assert_eq!(spec.start, Start::Earliest);
        assert_eq!(spec.steps[0].config["key"], "page");
        assert_eq!(spec.steps[0].outputs["unmatched"], Target::Topic("other".parse().expect("a name")));
        let window = spec.steps[1].window.as_ref().expect("views has windows");
        let minute = Tumbling::new(60_000, 0).expect("above zero");
        assert_eq!((window.windowing.plain_tumbling(), window.late.as_str()), (Some(minute), "page-views.late"));
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
            (r#""1m""#, r#""0s""#, "`0s` is too short: at least 1 ms"),
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
    fn every_kind_of_window_is_read() {
        let window = |table: &str| {
            let spec: Spec = GOOD.replace("{ tumbling = \"1m\" }", table).parse().expect("the manifest is good");
            spec.steps[1].window.clone().expect("views has windows").windowing
        };
        let hopping = window(r#"{ hopping = "10s", slide = "2s", offset = "-1s", lateness = "1m", early = "1s" }"#);
        assert_eq!(hopping.kind, Kind::Hopping(Hopping::new(10_000, 2000, -1000).expect("sound")));
        assert_eq!((hopping.lateness_ms, hopping.early), (60_000, Some(Early::Event(1000))));
        let session = window(r#"{ session = "30m", gap-header = "gap", results = "discarding", early-rows = 5 }"#);
        assert_eq!(session.kind, Kind::Session(Session { gap_ms: 1_800_000, gap_header: Some("gap".to_owned()) }));
        assert_eq!((session.mode, session.early), (Mode::Discarding, Some(Early::Rows(5))));
        assert_eq!(window("{ count = 100 }").kind, Kind::Count { rows: 100 });
        let global = window(r#"{ global = true, early = "1s", early-clock = "processing" }"#);
        assert_eq!((global.kind, global.early), (Kind::Global, Some(Early::Processing(1000))));
    }

    #[test]
    fn a_gap_header_that_nothing_can_give_is_refused() {
        let window = "{ session = \"30m\", gap-header = \"gap\" }";
        let text = GOOD.replace("{ tumbling = \"1m\" }", window);
        let first = text.find("[[steps]]").expect("it has steps");
        let second = first + 1 + text[first + 1..].find("[[steps]]").expect("it has two");
        let alone = format!("{}{}", &text[..first], &text[second..]);
        assert!(text.parse::<Spec>().is_ok(), "the step before may give it");
        let message = refused(&alone);
        assert!(message.contains("no row can have the header `gap`"), "{message}");
        let carried = alone.replacen("[source]\n", "[source]\nheaders = true\n", 1);
        assert!(carried.parse::<Spec>().is_ok(), "{carried}");
    }

    #[test]
    fn windows_that_make_no_sense_are_refused() {
        let cases = [
            (r#"{ tumbling = "1m", session = "1m" }"#, "a window is one of `tumbling`"),
            ("{ }", "a window is one of `tumbling`"),
            (r#"{ hopping = "10s" }"#, "a `hopping` window says its `slide`"),
            (r#"{ hopping = "1d", slide = "1ms" }"#, "each row would be in 86400000 windows, the limit is 10000"),
            (r#"{ tumbling = "1m", slide = "1s" }"#, "only a `hopping` window has a `slide`"),
            (r#"{ session = "1m", offset = "1s" }"#, "only `tumbling` and `hopping` windows have an `offset`"),
            (r#"{ count = 10, lateness = "1s" }"#, "no row is late for a window that does not end by time"),
            ("{ global = true }", "a `global` window never ends"),
            ("{ count = 0 }", "a number of rows is at least 1"),
            (r#"{ tumbling = "1m", early = "1s", early-rows = 1 }"#, "use one of `early` and `early-rows`"),
            (r#"{ tumbling = "1m", early-clock = "event" }"#, "`early-clock` says what `early` is measured in"),
            (r#"{ tumbling = "400000d" }"#, "is too long: at most a thousand years"),
            (r#"{ tumbling = "1m", offset = "later" }"#, "`later` is no offset"),
        ];
        for (table, expected) in cases {
            let message = refused(&GOOD.replace("{ tumbling = \"1m\" }", table));
            assert!(message.contains(expected), "{table}: {message}");
        }
    }

    #[test]
    fn tables_are_granted_by_the_names_that_the_manifest_gives_them() {
        let tables = "[[tables]]\nname = \"users\"\ntopic = \"user-profiles\"\n[[steps]]\nname = \"parse\"";
        let text = GOOD.replacen("[[steps]]\nname = \"parse\"", tables, 1);
        let with = |lookup: &str| text.replace("outputs = { unmatched = \"other\" }", lookup);
        let spec: Spec = with("lookup = [\"users\"]\ngrants = [\"table\"]").parse().expect("the manifest is good");
        assert_eq!((spec.steps[0].table, spec.steps[0].lookups[0].as_str()), (true, "users"));
        let message = refused(&with("lookup = [\"user\"]"));
        assert!(message.contains("table `user` is not in the manifest") && message.contains("`users`"), "{message}");
        assert!(refused(&with("grants = [\"network\"]")).contains("`network` cannot be granted"));
    }

    #[test]
    fn marks_are_routed_by_the_names_of_their_meaning() {
        let marked = GOOD.replace("disorder = \"30s\"", "punctuated = true");
        let text = marked.replace("{ unmatched = \"other\" }", "{ time = \"@watermark\", rest = \"@idle\" }");
        let spec: Spec = text.parse().expect("the manifest is good");
        assert_eq!(
            (&spec.steps[0].outputs["time"], &spec.steps[0].outputs["rest"]),
            (&Target::Watermark, &Target::Idle)
        );
        assert!(refused(&text.replace("@idle", "@end")).contains("`@end` is neither a topic nor one of `@watermark`"));
        assert!(refused(&marked.replace("\"other\"", "\"late\"")).contains("no step routes an output to `@watermark`"));
        assert!(refused(&text.replace("punctuated = true", "disorder = \"1s\"")).contains("`punctuated = true`"));
    }

    #[test]
    fn late_without_a_window_is_refused() {
        let text = GOOD.replace("outputs = { unmatched = \"other\" }", "late = \"x\"");
        assert!(refused(&text).contains("step `parse` has no `window`"));
    }
}
