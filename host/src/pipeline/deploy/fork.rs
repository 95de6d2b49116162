//! The manifest of a fork: the same pipeline under another name, which writes to topics of its own.
//!
//! Two pipelines must not write to the same topic by accident, so every topic that the manifest names to write to gets
//! the new name in front; those that are derived from the pipeline's name follow it anyway. Who wants other topics
//! gives a manifest.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::checkpoint::Deployment;
use crate::ids::{PipelineName, TopicName};
use crate::pipeline::Error;
use crate::pipeline::spec::Spec;

impl Deployment {
    /// The manifest of this deployment for a pipeline of another name.
    pub(super) fn manifest_for(&self, name: &PipelineName) -> Result<String, Error> {
        let spec: Spec = self.manifest.parse()?;
        let unreadable =
            |error: &dyn std::fmt::Display| Error::CannotFork { name: name.clone(), reason: error.to_string() };
        let mut manifest: Table = self.manifest.parse().map_err(|error: toml::de::Error| unreadable(&error))?;
        manifest.insert("name".to_owned(), Value::String(name.to_string()));
        let round: BTreeSet<TopicName> = spec.feedback.iter().map(|feedback| feedback.topic.clone()).collect();
        for (key, value) in &mut manifest {
            match key.as_str() {
                "output" | "dead-letters" | "dead_letters" | "loop" => rename(value, &spec.targets(), name),
                // What comes round to the fork is what it writes itself.
                "source" => rename(value, &round, name),
                "steps" => {
                    let steps = value.as_array_mut().into_iter().flatten().filter_map(Value::as_table_mut);
                    for (_, value) in steps.flatten().filter(|(key, _)| matches!(key.as_str(), "late" | "outputs")) {
                        rename(value, &spec.targets(), name);
                    }
                    let steps = value.as_array_mut().into_iter().flatten().filter_map(Value::as_table_mut);
                    steps.filter_map(|step| step.get_mut("only")).for_each(|only| rename(only, &round, name));
                }
                _ => {}
            }
        }
        let manifest = toml::to_string(&manifest).map_err(|error| unreadable(&error))?;
        let forked: Spec = manifest.parse()?;
        match forked.targets().intersection(&spec.targets()).next() {
            None => Ok(manifest),
            Some(topic) => {
                Err(Error::SharedTarget { topic: topic.clone(), name: name.clone(), other: self.pipeline.clone() })
            }
        }
    }
}

/// Puts a name in front of all topics that are written to.
fn rename(value: &mut Value, targets: &BTreeSet<TopicName>, name: &PipelineName) {
    match value {
        Value::String(text) if targets.iter().any(|topic| topic.as_str() == text) => *text = format!("{name}.{text}"),
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, targets, name)),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| rename(value, targets, name)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PipelineId, default_tenant};

    #[test]
    fn a_fork_reads_the_same_and_writes_to_topics_of_its_own() {
        let manifest = r#"
name = "views"
source = { topics = ["clicks"] }
output = { topic = "views" }

[[steps]]
name = "parse"
plugin = "parse"
config = { topic = "views", late = "views" }
outputs = { other = "rest" }

[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "1m" }
late = "too-late"
"#;
        let before: Spec = manifest.parse().expect("a manifest");
        let deployment = Deployment {
            tenant: default_tenant(),
            pipeline: before.name.clone(),
            id: PipelineId(1),
            manifest: manifest.to_owned(),
            digests: Default::default(),
        };
        let forked = deployment.manifest_for(&"what-if".parse().expect("a name")).expect("it can be forked");
        let forked: Spec = forked.parse().expect("a manifest");
        assert_eq!(forked.sources, before.sources);
        assert_eq!(forked.steps[0].config, before.steps[0].config, "what a plugin is told is its own");
        let targets: Vec<_> = forked.targets().into_iter().map(String::from).collect();
        assert_eq!(targets, ["what-if.dead-letters", "what-if.rest", "what-if.too-late", "what-if.views"]);
    }

    #[test]
    fn a_fork_has_a_loop_of_its_own() {
        let manifest = r#"
name = "graph"
source = { topics = ["edges", "merges"] }
loop = { topic = "merges", rounds = 16 }
output = { topic = "least" }

[[steps]]
name = "link"
plugin = "link"
only = ["edges", "merges"]

[[steps]]
name = "unite"
plugin = "unite"
outputs = { again = "merges" }
"#;
        let deployment = Deployment {
            tenant: default_tenant(),
            pipeline: "graph".parse().expect("a name"),
            id: PipelineId(1),
            manifest: manifest.to_owned(),
            digests: Default::default(),
        };
        let forked = deployment.manifest_for(&"what-if".parse().expect("a name")).expect("it can be forked");
        let forked: Spec = forked.parse().expect("a manifest");
        let names = |topics: &[TopicName]| topics.iter().map(|topic| topic.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&forked.sources), ["edges", "what-if.merges"]);
        assert_eq!(names(&forked.steps[0].only), ["edges", "what-if.merges"]);
        assert!(forked.goes_round(&"what-if.merges".parse().expect("a name")));
    }
}
