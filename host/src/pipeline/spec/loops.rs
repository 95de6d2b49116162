//! A pipeline that reads what it writes. Loops over several pipelines are for the server to see, which knows them all.

use std::collections::BTreeMap;

use toml::Spanned;

use super::{ManifestError, Text};
use crate::ids::TopicName;

impl Text<'_> {
    /// A pipeline that read what it writes would never come to an end. What it writes is not its table either: a table is
    /// what others say.
    pub(super) fn check_own_loop(
        &self,
        span: &Spanned<String>,
        topic: &TopicName,
        what: &str,
        sources: &[TopicName],
        tables: &BTreeMap<TopicName, TopicName>,
    ) -> Result<(), ManifestError> {
        let read_as = match sources.contains(topic) {
            true => "a source",
            false if tables.values().any(|table| table == topic) => "a table",
            false => return Ok(()),
        };
        Err(self.at(span, format!("topic `{topic}` is {read_as} of this pipeline and cannot be {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spec;

    const GOOD: &str = r#"
name = "page-views"
source = { topics = ["clicks"] }
output = { topic = "views-per-minute" }

[[steps]]
name = "parse"
plugin = "parse-json"
outputs = { unmatched = "other" }

[[steps]]
name = "views"
plugin = "count"
window = { tumbling = "1m" }
"#;

    fn refused(text: &str) -> String {
        text.parse::<Spec>().map_err(|error| error.to_string()).expect_err("the manifest is wrong")
    }

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
            assert!(message.ends_with(&expected), "{message}");
        }
        // Topics whose names the manifest does not say are seen too.
        for topic in ["page-views.late", "page-views.dead-letters"] {
            let message = refused(&GOOD.replace("clicks", topic));
            assert!(message.contains(&format!("topic `{topic}` is a source of this pipeline")), "{message}");
        }
    }
}
