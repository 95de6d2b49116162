//! Places in the topics that there are, told from places in topics that had their names before.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Plan;
use crate::ids::{TopicId, TopicName, TopicPartition};
use crate::log::{Position, TopicInfo};
use crate::pipeline::error::Error;

impl Plan {
    /// Refuses places in inputs that are of other topics than there are now. Of a topic that is not there, nothing is checked.
    pub(in crate::pipeline) fn same_topics<'a>(
        &self,
        places: impl IntoIterator<Item = (&'a TopicPartition, &'a Position)>,
        topics: &BTreeMap<TopicName, TopicInfo>,
    ) -> Result<(), Error> {
        let inputs: BTreeSet<&TopicPartition> = self.inputs.iter().collect();
        for (at, place) in places.into_iter().filter(|(at, _)| inputs.contains(at)) {
            if let Some(present) = topics.get(&at.topic).filter(|topic| topic.id != place.topic_id) {
                return Err(self.recreated(&at.topic, place.topic_id, present.id));
            }
        }
        Ok(())
    }

    /// The error of a place in a topic that is gone.
    pub(in crate::pipeline) fn recreated(&self, topic: &TopicName, known: TopicId, present: TopicId) -> Error {
        Error::TopicRecreated { name: self.name.clone(), topic: topic.clone(), known, present }
    }
}
