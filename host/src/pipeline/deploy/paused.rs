//! What a paused pipeline shows: what is committed, from the head of its commits alone. Its plugins are not loaded and its
//! state is not read back before it is resumed.

use std::sync::Arc;

use super::supervisor::EngineContext;
use crate::catalog::StoredPipeline;
use crate::ids::TopicPartition;
use crate::log::TopicInfo;
use crate::pipeline::Error;
use crate::pipeline::engine::machine::usage_of;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::WarmState;
use crate::pipeline::io::runner::{Progress, Runner, begin_of};
use crate::pipeline::io::shared::Shared;
use crate::pipeline::spec::{Spec, Start};
use crate::pipeline::status::State;
use crate::time::Input;

impl EngineContext {
    /// What a deployment has committed, as far as the head of its commits says it.
    pub(super) async fn committed(&self, stored: &StoredPipeline) -> Result<Progress, Error> {
        let spec: Spec = stored.manifest.parse()?;
        let topics = self.log.topics(&stored.tenant).await?;
        let head = self.head(&stored.tenant, stored.id)?;
        let mut progress = Progress { usage: usage_of(&spec.name, &head.usage)?, ..Progress::default() };
        let sources = spec.sources.iter().map(|topic| (topic, spec.start));
        let tables = spec.tables.values().map(|topic| (topic, Start::Earliest));
        for (topic, start) in sources.chain(tables) {
            // Of a topic that is not there, there is nothing to show.
            let Some(TopicInfo { id, partitions, .. }) = topics.get(topic) else { continue };
            for (partition, info) in (0..).zip(partitions) {
                let at = TopicPartition { topic: topic.clone(), partition };
                let known = head.positions.get(&at).filter(|known| known.topic_id == *id);
                let position = known.map_or_else(|| begin_of(start, info), |known| known.offset);
                progress.inputs.push((at, position, Input::default()));
            }
        }
        Ok(progress)
    }

    /// Gives places to the inputs of a paused pipeline that have none, and commits them: what arrives until it is resumed
    /// comes after "the latest".
    pub(super) async fn begin_paused(
        &self,
        stored: &StoredPipeline,
        plan: &Arc<Plan>,
        start: Start,
        warm: WarmState,
    ) -> Result<(), Error> {
        if plan.inputs.iter().all(|input| warm.positions.contains_key(input)) {
            return Ok(());
        }
        let task = stored.id.task();
        let epoch = self.log.fence(&stored.tenant, task).await?.epoch;
        let shown = Arc::new(Shared::new(State::Paused));
        Runner::open(task, epoch, Arc::clone(plan), start, Arc::clone(&self.log), shown, warm).await.map(drop)
    }
}
