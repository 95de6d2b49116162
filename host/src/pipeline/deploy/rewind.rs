//! Restarting a pipeline at an earlier position of its inputs, with empty state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::install::StagedDeployment;
use super::restore::{Begin, Next};
use super::{Done, Operation, OperationKind, Pipelines};
use crate::catalog::StoredPipeline;
use crate::ids::{Offset, PartitionId, PipelineName, TenantId, TopicName, TopicPartition};
use crate::log::batch::Offsets;
use crate::log::{self, Log, PartitionInfo, Position, TopicInfo, batch};
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::WarmState;
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
    pub topic: TopicName,
    pub partition: PartitionId,
    /// The next record to read.
    pub offset: Offset,
}

impl Pipelines {
    /// Rewinds a pipeline: its state begins empty but for its reference tables. What it has is copied first, so that
    /// restoring the copy undoes it.
    pub fn rewind(&self, tenant: &TenantId, name: &PipelineName, rewind: Rewind) -> Result<Arc<Operation>, Error> {
        self.entry(tenant, name)?;
        let (pipelines, of, asked) = (self.clone(), tenant.clone(), name.clone());
        Ok(self.0.operations.begin(tenant, name, OperationKind::Rewind, async move |_| {
            let _reserved = pipelines.0.names.reserve(&of, &asked).await;
            let entry = pipelines.entry(&of, &asked)?;
            let before = entry.stored();
            let context = &pipelines.0.context;
            let spec = entry.spec()?;
            let staged = StagedDeployment::new(context, &before.tenant, &before.name).await?;
            let stored = StoredPipeline { id: staged.id, ..before.clone() };
            let plan = context.plan(&stored, &spec).await?;
            let live = context.replay(&plan, staged.id, Carry::default()).await?;
            let topics = context.log.topics(&before.tenant).await?;
            let found = places(&*context.log, &before.tenant, &topics, &spec, &rewind).await?;
            let (begin, note) = (Begin::Rewound(found), "before a rewind".to_owned());
            let (pipeline, next) = (stored.name.clone(), Next { stored, plan, staged, live, begin, note });
            let (undo, pause_ms) = pipelines.replace(Some(entry.clone()), Some(before), next).await?;
            Ok(Done { pipeline, checkpoint: None, undo, pause_ms, verified: None })
        }))
    }
}

impl Pipelines {
    /// Brings the reference tables of what ran before to a plan: what it had in memory, or else what its commits say.
    pub(super) async fn bring_tables(
        &self,
        before: &StoredPipeline,
        plan: &Arc<Plan>,
        ran: &mut Option<Box<WarmState>>,
    ) -> Result<(), Error> {
        if plan.tables.is_empty() {
            return Ok(());
        }
        // Without its tables it is of no use any more: if the rewind fails, it is read back.
        match ran.take() {
            Some(ran) if ran.machine.plan.references.give(&plan.references) => Ok(()),
            // Tables are the plan's; the rest of what is read back is dropped.
            _ => self.0.context.replay(plan, before.id, Carry::default()).await.map(drop),
        }
    }
}

/// A place as it is, or the start of the topic that has come in the place of its own. `None` if there is no such partition.
pub(super) fn present(
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
    /// The table of which this is the topic, if it is that of one. A table is read from the beginning of its topic, so no
    /// other place is one to begin at.
    pub(super) fn of_table<'a>(
        &self,
        topics: &BTreeMap<TopicName, TopicInfo>,
        spec: &'a Spec,
    ) -> Result<Option<&'a TopicName>, Error> {
        let Some((table, _)) = spec.tables.iter().find(|(_, topic)| **topic == self.topic) else { return Ok(None) };
        let (at, PartitionInfo { start, .. }) = self.partition(find(topics, &self.topic)?)?;
        if self.offset != start {
            return Err(log::Error::OffsetOutOfRange { at, offset: self.offset, start, end: start }.into());
        }
        Ok(Some(table))
    }

    fn partition(&self, topic: &TopicInfo) -> Result<(TopicPartition, PartitionInfo), Error> {
        let at = TopicPartition { topic: self.topic.clone(), partition: self.partition };
        match topic.partitions.get(self.partition as usize) {
            Some(&info) => Ok((at, info)),
            None => Err(log::Error::PartitionNotFound { at, partitions: topic.partitions.len() as u32 }.into()),
        }
    }

    /// The place, if the pipeline reads the topic and the partition has it.
    pub(super) fn place(
        &self,
        topics: &BTreeMap<TopicName, TopicInfo>,
        spec: &Spec,
    ) -> Result<(TopicPartition, Position), Error> {
        let Self { topic, offset, .. } = self;
        if !spec.sources.contains(topic) {
            return Err(Error::NotAnInput { name: spec.name.clone(), topic: topic.clone() });
        }
        let topic = find(topics, topic)?;
        let (at, PartitionInfo { start, end, .. }) = self.partition(topic)?;
        if !(start..=end).contains(offset) {
            return Err(log::Error::OffsetOutOfRange { at, offset: *offset, start, end }.into());
        }
        Ok((at, Position { topic_id: topic.id, offset: *offset }))
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
                    let offset = first_at(log, tenant, &at, *info, *time, READ_BYTES).await?;
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
    read_bytes: usize,
) -> Result<Offset, Error> {
    let mut next = info.start;
    while next < info.end {
        let fetched = match log.fetch(tenant, at, next, read_bytes).await {
            // Retention removed the records meanwhile; they cannot be read again.
            Err(log::Error::OffsetOutOfRange { offset, start, .. }) if offset < start => {
                next = start;
                continue;
            }
            fetched => fetched?,
        };
        if fetched.batches.is_empty() {
            break;
        }
        for bytes in fetched.batches {
            let invalid =
                |error: batch::Invalid| log::Error::InvalidBatch { at: at.clone(), reason: error.to_string() };
            let header = batch::Header::parse(&bytes).map_err(invalid)?;
            if header.max_timestamp >= time {
                let (mut rows, mut offsets) = (Batch::default(), Offsets::default());
                batch::decode_with_offsets(&bytes, next, false, &mut rows, &mut offsets).map_err(invalid)?;
                if let Some(row) = rows.timestamps.iter().position(|&stamp| stamp >= time) {
                    return Ok(offsets.of(row));
                }
            }
            // Where records were compacted, a batch covers more offsets than it has records.
            next = header.next_offset().max(next);
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests;
