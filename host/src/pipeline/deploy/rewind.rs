//! Letting a pipeline begin anew at an earlier place of its inputs, with empty state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::install::StagedDeployment;
use super::restore::Next;
use super::{Done, Operation, OperationKind, Pipelines};
use crate::catalog::StoredPipeline;
use crate::ids::{Offset, PartitionId, PipelineName, TenantId, TopicName, TopicPartition};
use crate::log::{self, Log, PartitionInfo, Position, TopicInfo, batch};
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::spec::Spec;
use crate::record::Batch;

/// Bytes that are read at once in the search for a time.
const READ_BYTES: usize = 4 << 20;

/// Where a pipeline is to begin anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Rewind {
    /// In each partition at the first record of this time or later, in milliseconds since the Unix epoch.
    ToTime(i64),
    /// At these places; in other partitions it goes on where it is.
    ToOffsets(Vec<StartOffset>),
}

/// A place in an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartOffset {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The next record to read.
    pub offset: Offset,
}

impl Pipelines {
    /// Rewinds a pipeline: its state begins empty. What it has is copied first, so that restoring the copy undoes it.
    pub fn rewind(&self, tenant: &TenantId, name: &PipelineName, rewind: Rewind) -> Result<Arc<Operation>, Error> {
        let entry = self.entry(tenant, name)?;
        let pipelines = self.clone();
        Ok(self.0.operations.begin(tenant, name, OperationKind::Rewind, async move |_| {
            let _changing = entry.changing.lock().await;
            let before = pipelines.current(&entry)?;
            let context = &pipelines.0.context;
            let spec: Spec = before.manifest.parse()?;
            let staged = StagedDeployment::new(context, &before.tenant, &before.name)?;
            let stored = StoredPipeline { id: staged.id, ..before.clone() };
            let plan = context.plan(&stored, &spec).await?;
            let live = pipelines.replay(&plan, staged.id, Carry::default()).await?;
            let topics = context.log.topics(&before.tenant)?;
            let stood = context.head(&before.tenant, before.id).map(|head| head.positions).unwrap_or_default();
            let stood = stood.into_iter().filter_map(|(at, position)| present(&topics, at, position));
            let found = places(&*context.log, &before.tenant, &topics, &spec, &rewind).await?;
            let positions = stood.chain(found).collect::<BTreeMap<_, _>>();
            let (positions, note) = (positions.into_iter().collect(), "before a rewind".to_owned());
            let (pipeline, next) = (stored.name.clone(), Next { stored, plan, staged, live, positions, note });
            let (undo, pause_ms) = pipelines.replace(Some(entry.clone()), Some(before), next).await?;
            Ok(Done { pipeline, checkpoint: None, undo, pause_ms, verified: None })
        }))
    }
}

/// A place as it is, or the start of the topic that has come in the place of its own. `None` if there is no such partition.
fn present(
    topics: &BTreeMap<TopicName, TopicInfo>,
    at: TopicPartition,
    position: Position,
) -> Option<(TopicPartition, Position)> {
    let topic = topics.get(&at.topic)?;
    let start = topic.partitions.get(at.partition as usize)?.start;
    let offset = if topic.id == position.topic_id { position.offset } else { start };
    Some((at, Position { topic_id: topic.id, offset }))
}

fn find<'a>(topics: &'a BTreeMap<TopicName, TopicInfo>, topic: &TopicName) -> Result<&'a TopicInfo, Error> {
    Ok(topics.get(topic).ok_or_else(|| log::Error::TopicNotFound { topic: topic.clone() })?)
}

impl StartOffset {
    /// The place, if the pipeline reads the topic and the partition has it.
    pub(super) fn place(
        &self,
        topics: &BTreeMap<TopicName, TopicInfo>,
        spec: &Spec,
    ) -> Result<(TopicPartition, Position), Error> {
        let Self { topic, partition, offset } = self;
        if !spec.sources.contains(topic) {
            return Err(Error::NotAnInput { name: spec.name.clone(), topic: topic.clone() });
        }
        let at = TopicPartition { topic: topic.clone(), partition: *partition };
        let TopicInfo { id: topic_id, partitions, .. } = find(topics, topic)?;
        let Some(&PartitionInfo { start, end, .. }) = partitions.get(*partition as usize) else {
            return Err(log::Error::PartitionNotFound { at, partitions: partitions.len() as u32 }.into());
        };
        if !(start..=end).contains(offset) {
            return Err(log::Error::OffsetOutOfRange { at, offset: *offset, start, end }.into());
        }
        Ok((at, Position { topic_id: *topic_id, offset: *offset }))
    }
}

/// Where the inputs are to be read from.
async fn places(
    log: &dyn Log,
    tenant: &TenantId,
    topics: &BTreeMap<TopicName, TopicInfo>,
    spec: &Spec,
    rewind: &Rewind,
) -> Result<Vec<(TopicPartition, Position)>, Error> {
    let mut places = Vec::new();
    match rewind {
        Rewind::ToTime(time) => {
            for topic in &spec.sources {
                let TopicInfo { id: topic_id, partitions, .. } = find(topics, topic)?;
                for (partition, info) in (0..).zip(partitions) {
                    let at = TopicPartition { topic: topic.clone(), partition };
                    let offset = first_at(log, tenant, &at, *info, *time).await?;
                    places.push((at, Position { topic_id: *topic_id, offset }));
                }
            }
        }
        Rewind::ToOffsets(asked) => {
            for asked in asked {
                places.push(asked.place(topics, spec)?);
            }
        }
    }
    Ok(places)
}

/// The first record of this time or later, by its place; the end, if there is none. Times need not ascend, so all batches
/// before it are looked at, by what their headers say.
async fn first_at(
    log: &dyn Log,
    tenant: &TenantId,
    at: &TopicPartition,
    info: PartitionInfo,
    time: i64,
) -> Result<Offset, Error> {
    let mut next = info.start;
    while next < info.end {
        let fetched = log.fetch(tenant, at, next, READ_BYTES).await?;
        if fetched.batches.is_empty() {
            break;
        }
        for bytes in fetched.batches {
            let invalid =
                |error: batch::Invalid| log::Error::InvalidBatch { at: at.clone(), reason: error.to_string() };
            let header = batch::Header::parse(&bytes).map_err(invalid)?;
            let first = header.base_offset.max(next);
            let mut rows = Batch::default();
            if header.max_timestamp >= time {
                batch::decode(&bytes, first, false, &mut rows).map_err(invalid)?;
                if let Some(row) = rows.timestamps.iter().position(|&stamp| stamp >= time) {
                    return Ok(first + row as u64);
                }
            }
            next = header.base_offset + u64::from(header.count);
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::default_tenant;
    use crate::log::batch::EncodeOptions;
    use crate::log::memory::MemoryLog;
    use crate::log::{RecordLog as _, TopicAdmin as _, TopicConfig};

    #[tokio::test]
    async fn a_time_is_found_at_the_first_record_that_is_not_before_it() {
        let log = MemoryLog::default();
        let (tenant, at) = (default_tenant(), TopicPartition { topic: "in".parse().expect("a name"), partition: 0 });
        log.create_topic(&tenant, &at.topic, TopicConfig::with_partitions(1)).expect("made");
        for times in [[10, 20, 15], [12, 30, 40], [50, 5, 60]] {
            let mut rows = Batch::default();
            times.iter().for_each(|&time| rows.push(time, None, Some(b"x")));
            let batches = batch::encode(rows.view(), &EncodeOptions::default());
            log.append(&tenant, &at, batches).await.expect("appended");
        }
        let info = log.topics(&tenant).expect("topics")[&at.topic].partitions[0];
        for (time, offset) in [(0, 0), (10, 0), (11, 1), (20, 1), (21, 4), (40, 5), (45, 6), (60, 8), (61, 9)] {
            assert_eq!(first_at(&log, &tenant, &at, info, time).await.expect("the log is well"), offset, "{time}");
        }
    }
}
