//! A pipeline that reads what it writes: refused, unless `[loop]` bounds the rounds. Loops over several pipelines are for
//! the server to see, which knows them all.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{ManifestError, StepSpec, Target, Text};
use crate::ids::TopicName;

/// Most rounds of a loop. A way of ten thousand records is long; past that, something turns in circles.
pub const ROUNDS_MAX: u32 = 10_000;

/// A topic that a pipeline both writes and reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopSpec {
    /// The topic.
    pub topic: TopicName,
    /// In how many rounds a row may go by it, one at least.
    pub rounds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoopTable {
    topic: Spanned<String>,
    rounds: Spanned<i64>,
}

/// What a pipeline reads.
pub(super) struct Inputs<'a> {
    pub(super) sources: &'a [TopicName],
    pub(super) tables: &'a BTreeMap<TopicName, TopicName>,
    pub(super) feedback: Option<&'a LoopSpec>,
}

impl Text<'_> {
    /// The loop that a manifest allows.
    pub(super) fn feedback(
        &self,
        table: Option<&LoopTable>,
        sources: &[TopicName],
    ) -> Result<Option<LoopSpec>, ManifestError> {
        let Some(table) = table else { return Ok(None) };
        let topic: TopicName = self.parse(&table.topic)?;
        if !sources.contains(&topic) {
            let message = format!("topic `{topic}` is no source of this pipeline, so no row comes round by it");
            let hint = Some("name it in the `topics` of `source` too".to_owned());
            return Err(ManifestError { hint, ..self.at(&table.topic, message) });
        }
        if sources.len() == 1 {
            let message = format!(
                "topic `{topic}` is the only source: rows that come round begin in another one, which says what time it is"
            );
            return Err(self.at(&table.topic, message));
        }
        match u32::try_from(*table.rounds.get_ref()) {
            Ok(rounds @ 1..=ROUNDS_MAX) => Ok(Some(LoopSpec { topic, rounds })),
            _ => {
                let rounds = table.rounds.get_ref();
                Err(self.at(&table.rounds, format!("a loop has 1 to {ROUNDS_MAX} rounds, this one {rounds}")))
            }
        }
    }

    /// Where results go: to no topic that the pipeline reads, but for that of its loop.
    pub(super) fn check_result(
        &self,
        span: &Spanned<String>,
        topic: &TopicName,
        what: &str,
        inputs: &Inputs<'_>,
    ) -> Result<(), ManifestError> {
        if inputs.feedback.is_some_and(|feedback| feedback.topic == *topic) {
            return Ok(());
        }
        let hint = |error: ManifestError| {
            let allowed = inputs.sources.contains(topic) && inputs.feedback.is_none();
            let hint = format!("if rows are to come round, bound it: `loop = {{ topic = \"{topic}\", rounds = 16 }}`");
            ManifestError { hint: allowed.then_some(hint), ..error }
        };
        self.check_own_loop(span, topic, what, inputs).map_err(hint)
    }

    /// A pipeline that read what it writes would never come to an end. What it writes is not its table either: a table is
    /// what others say.
    pub(super) fn check_own_loop(
        &self,
        span: &Spanned<String>,
        topic: &TopicName,
        what: &str,
        inputs: &Inputs<'_>,
    ) -> Result<(), ManifestError> {
        let read_as = match inputs.sources.contains(topic) {
            true => "a source",
            false if inputs.tables.values().any(|table| table == topic) => "a table",
            false => return Ok(()),
        };
        Err(self.at(span, format!("topic `{topic}` is {read_as} of this pipeline and cannot be {what}")))
    }

    /// Whether rows go round at all, and each comes of one row: then its round is one more than that row's.
    pub(super) fn check_way_round(
        &self,
        table: &LoopTable,
        feedback: &LoopSpec,
        steps: &[StepSpec],
        output: &TopicName,
    ) -> Result<(), ManifestError> {
        let topic = &feedback.topic;
        let writes = |step: &StepSpec| step.outputs.values().any(|to| matches!(to, Target::Topic(to) if to == topic));
        let last = match output == topic {
            true => Some(steps.len()),
            false => steps.iter().rposition(writes).map(|last| last + 1),
        };
        let Some(last) = last else {
            let message = format!("nothing is written to topic `{topic}`, so no row comes round by it");
            let hint = Some("name it as the `output`, or in the `outputs` of a step".to_owned());
            return Err(ManifestError { hint, ..self.at(&table.topic, message) });
        };
        match steps.iter().take(last).find(|step| step.window.is_some()) {
            None => Ok(()),
            Some(step) => {
                let message = format!(
                    "step `{}` has windows and rows go to topic `{topic}` behind it: a result of many rows has no round that could be counted",
                    step.name
                );
                let hint =
                    Some("write to it from a step before, or give the step a plugin of world `process`".to_owned());
                Err(ManifestError { hint, ..self.at(&table.topic, message) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spec;
    use super::super::tests::{GOOD, refused};
    use super::LoopSpec;

    #[test]
    fn a_pipeline_that_would_read_what_it_writes_is_refused_at_each_exit() {
        let cases = [
            ("topic = \"views-per-minute\"", "topic = \"clicks\"", "its output"),
            ("unmatched = \"other\"", "unmatched = \"clicks\"", "where output `unmatched` of step `parse` goes"),
            ("\"1m\" }", "\"1m\" }\nlate = \"clicks\"", "where late rows of step `views` go"),
            ("[[steps]]", "[dead-letters]\ntopic = \"clicks\"\n[[steps]]", "where its dead letters go"),
        ];
        for (from, to, what) in cases {
            let message = refused(&GOOD.replacen(from, to, 1));
            let expected = format!("topic `clicks` is a source of this pipeline and cannot be {what}");
            assert!(message.contains(&expected), "{message}");
            let may_go_round = !what.contains("late rows") && !what.contains("dead letters");
            assert_eq!(message.ends_with("`loop = { topic = \"clicks\", rounds = 16 }`)"), may_go_round, "{message}");
        }
        // Topics whose names the manifest does not say are seen too.
        for topic in ["page-views.late", "page-views.dead-letters"] {
            let message = refused(&GOOD.replace("clicks", topic));
            assert!(message.contains(&format!("topic `{topic}` is a source of this pipeline")), "{message}");
        }
    }

    const LOOP: &str = r#"
name = "page-views"
source = { topics = ["clicks", "again"] }
output = { topic = "views-per-minute" }
loop = { topic = "again", rounds = 3 }

[[steps]]
name = "parse"
plugin = "parse-json"
outputs = { unmatched = "again" }

[[steps]]
name = "views"
plugin = "count"
window = { tumbling = "1m" }
"#;

    #[test]
    fn a_loop_is_allowed_with_a_bound_and_for_results_only() {
        let spec: Spec = LOOP.parse().expect("the manifest is good");
        let topic = "again".parse().expect("a name");
        assert_eq!(spec.feedback, Some(LoopSpec { topic, rounds: 3 }));
        let as_output = LOOP.replace("\"views-per-minute\"", "\"again\"").replace("window = { tumbling = \"1m\" }", "");
        assert!(as_output.parse::<Spec>().is_ok());
        let cases = [
            (", rounds = 3", "", "missing field `rounds`"),
            ("rounds = 3", "rounds = 0", "a loop has 1 to 10000 rounds, this one 0"),
            ("rounds = 3", "rounds = 10001", "a loop has 1 to 10000 rounds, this one 10001"),
            ("rounds = 3", "rounds = -1", "this one -1"),
            (", \"again\"", "", "topic `again` is no source of this pipeline"),
            ("\"clicks\", ", "", "topic `again` is the only source"),
            (
                "= \"again\" }\n\n[[steps]]\nname = \"views",
                "= \"x\" }\n\n[[steps]]\nname = \"views",
                "nothing is written to topic `again`",
            ),
            ("\"views-per-minute\"", "\"again\"", "step `views` has windows and rows go to topic `again` behind it"),
            ("\"count\"", "\"count\"\noutputs = { a = \"again\" }", "step `views` has windows"),
            (
                "\"views-per-minute\"",
                "\"clicks\"",
                "topic `clicks` is a source of this pipeline and cannot be its output",
            ),
            ("\"1m\" }", "\"1m\" }\nlate = \"again\"", "cannot be where late rows of step `views` go"),
            ("\n[[steps]]", "\n[dead-letters]\ntopic = \"again\"\n[[steps]]", "cannot be where its dead letters go"),
        ];
        for (from, to, expected) in cases {
            assert!(LOOP.contains(from), "{from}");
            let message = refused(&LOOP.replacen(from, to, 1));
            assert!(message.contains(expected), "{message}");
        }
    }
}
