//! The topics of a manifest.

use std::collections::BTreeSet;

use super::{Spec, Target};
use crate::ids::TopicName;

impl Spec {
    /// The topics it writes to, each once.
    pub fn targets(&self) -> BTreeSet<TopicName> {
        let mut targets = BTreeSet::from([self.output.clone(), self.dead_letters.clone()]);
        for step in &self.steps {
            targets.extend(step.window.iter().map(|window| window.late.clone()));
            targets.extend(step.outputs.values().filter_map(|target| match target {
                Target::Topic(topic) => Some(topic.clone()),
                Target::Watermark | Target::Idle | Target::Active => None,
            }));
        }
        targets
    }

    /// Whether its rows come round by a topic.
    pub fn goes_round(&self, topic: &TopicName) -> bool {
        self.feedback.as_ref().is_some_and(|feedback| feedback.topic == *topic)
    }

    /// Whether a topic has to be there before the pipeline: one that it reads and that others write.
    #[cfg(feature = "server")]
    pub(in crate::pipeline) fn needs(&self, topic: &TopicName) -> bool {
        let is_read = self.sources.contains(topic) || self.tables.values().any(|table| table == topic);
        is_read && !self.goes_round(topic)
    }

    /// All topics that it reads or writes.
    pub fn topics(&self) -> BTreeSet<TopicName> {
        let mut topics = self.targets();
        topics.extend(self.sources.iter().chain(self.tables.values()).cloned());
        topics
    }
}
