//! What a micro-batch takes: whatever has arrived, bounded by records and bytes, from every partition in turn.

use std::ops::Range;

use crate::ids::{Offset, TopicId};
use crate::log::batch::{Offsets, decode_with_offsets};
use crate::log::{self, Fetched, Log, Position};
use crate::pipeline::engine::backlog::SplitPoint;
use crate::pipeline::engine::machine::{CAREFUL_RECORDS, Input};
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::error::Error;
use crate::record::Batch;

/// Records a micro-batch takes before it stops taking more. Enough that what a commit costs is shared by many, little
/// enough that a commit comes every few milliseconds under load.
const RECORDS: usize = 1 << 16;
/// Bytes of record batches a micro-batch takes before it stops taking more, for the same reason.
const BYTES: usize = 8 << 20;

/// The positions of a pipeline in its inputs.
#[derive(Debug)]
pub(in crate::pipeline) struct Intake {
    positions: Vec<Offset>,
    /// The topics that these are places in.
    topic_ids: Vec<TopicId>,
    /// Records to take; below [`RECORDS`] after failed calls, and then at most.
    limit: usize,
    /// The input to begin with, so that a busy partition does not starve the others.
    first: usize,
    /// The ends of the tables' partitions when the pipeline was started: no row is taken before these are read.
    tables_to: Vec<Offset>,
    /// Whether rows have their turn before tables, because tables had the last one.
    rows_first: bool,
}

/// What was taken from one input.
#[derive(Debug, Default)]
struct Read {
    records: Batch,
    offsets: Offsets,
    /// Bytes of the record batches.
    bytes: usize,
}

/// How much a micro-batch is to take. What was taken is the same in the end, however it was split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// What has arrived, in the amounts that serve best.
    Arrived,
    /// No more than so many records.
    Records(usize),
    /// No more than so many records of each partition, in the order of the sources and their partitions; of those that
    /// are not listed, none.
    Each(Vec<usize>),
}

impl Take {
    /// No more than so many records of one partition.
    const fn of(&self, input: usize) -> usize {
        match self {
            Self::Arrived => usize::MAX,
            Self::Records(most) => *most,
            Self::Each(most) if input < most.len() => most.as_slice()[input],
            Self::Each(_) => 0,
        }
    }

    /// No more than so many records altogether.
    const fn altogether(&self) -> usize {
        match self {
            Self::Records(most) => *most,
            Self::Arrived | Self::Each(_) => usize::MAX,
        }
    }
}

/// What was taken.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Taken {
    /// Records by input, none of them empty, in the plan's order.
    pub(in crate::pipeline) inputs: Vec<Input>,
    /// Inputs that were read to their end and had nothing.
    pub(in crate::pipeline) quiet: Vec<usize>,
    /// Records that were removed before they could be read.
    pub(in crate::pipeline) trimmed: u64,
}

impl Intake {
    /// Goes on from these positions. `tables_to` are the ends of the tables' partitions.
    pub(in crate::pipeline) fn new(positions: Vec<Position>, tables_to: Vec<Offset>) -> Self {
        let topic_ids = positions.iter().map(|position| position.topic_id).collect();
        let positions = positions.into_iter().map(|position| position.offset).collect();
        Self { positions, topic_ids, limit: RECORDS, first: 0, tables_to, rows_first: false }
    }

    /// One that takes few records at a time, as after failed calls.
    #[cfg(test)]
    pub(in crate::pipeline) fn careful(positions: Vec<Position>, limit: usize) -> Self {
        Self { limit, ..Self::new(positions, Vec::new()) }
    }

    /// The next record to read of each input, in the plan's order.
    pub(in crate::pipeline) fn positions(&self) -> &[Offset] {
        &self.positions
    }

    /// The same as a commit says it.
    pub(in crate::pipeline) fn places(&self) -> impl Iterator<Item = Position> {
        let places = self.positions.iter().zip(&self.topic_ids);
        places.map(|(&offset, &topic_id)| Position { topic_id, offset })
    }

    /// Puts what was taken back, to take it again in small numbers.
    pub(in crate::pipeline) fn retreat(&mut self, inputs: &[Input]) {
        for taken in inputs {
            // There are no inputs without records.
            self.positions[taken.input] = taken.offsets.first().unwrap_or(self.positions[taken.input]);
        }
        self.limit = CAREFUL_RECORDS;
    }

    /// Puts back what comes behind a split, to take it again.
    pub(in crate::pipeline) fn put_back(&mut self, inputs: &mut Vec<Input>, split: SplitPoint) {
        if split.records > 0
            && let Some(last) = inputs.get_mut(split.inputs)
        {
            last.truncate(split.records);
            self.positions[last.input] = last.offsets.next().unwrap_or(self.positions[last.input]);
        }
        for taken in inputs.drain((split.inputs + usize::from(split.records > 0)).min(inputs.len())..) {
            self.positions[taken.input] = taken.offsets.first().unwrap_or(self.positions[taken.input]);
        }
    }

    /// Takes more again after a micro-batch without failed calls.
    pub(in crate::pipeline) fn advance(&mut self, calls_failed: bool) {
        if !calls_failed {
            self.limit = (self.limit * 2).min(RECORDS);
        }
    }

    /// Takes what has arrived. An input that is too far `ahead` of others waits.
    ///
    /// A pipeline that keeps up is answered from the log's memory, at once. What a pipeline that is behind wants may be on a
    /// cold disk: the log waits for that elsewhere, and this thread runs other tasks meanwhile.
    pub(in crate::pipeline) async fn take(
        &mut self,
        plan: &Plan,
        log: &dyn Log,
        take: &Take,
        is_ahead: impl Fn(usize) -> bool + Send + Sync,
    ) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        let (sources, all) = (0..plan.sources.len(), plan.inputs.len());
        // Tables and rows never share a micro-batch: one whose calls fail can then be taken apart, and none sees a table
        // that is ahead of what is committed.
        if !std::mem::take(&mut self.rows_first) {
            self.take_of(sources.end..all, plan, log, &is_ahead, take, &mut taken).await?;
            if !taken.inputs.is_empty() {
                let behind = |(position, end): (&Offset, &Offset)| position < end;
                self.rows_first = !self.positions[sources.end..].iter().zip(&self.tables_to).any(behind);
                return Ok(taken);
            }
        }
        self.take_of(sources.clone(), plan, log, &is_ahead, take, &mut taken).await?;
        if taken.inputs.is_empty() {
            self.take_of(sources.end..all, plan, log, &is_ahead, take, &mut taken).await?;
        }
        Ok(taken)
    }

    async fn take_of(
        &mut self,
        inputs: Range<usize>,
        plan: &Plan,
        log: &dyn Log,
        is_ahead: &(impl Fn(usize) -> bool + Send + Sync),
        take: &Take,
        taken: &mut Taken,
    ) -> Result<(), Error> {
        let limit = self.limit.min(take.altogether());
        let (mut records, mut bytes) = (0, 0);
        let count = inputs.len();
        for turn in 0..count {
            if records >= limit || bytes >= BYTES {
                self.first = (self.first + turn) % count;
                break;
            }
            let input = inputs.start + (self.first + turn) % count;
            let most = take.of(input).min(limit - records);
            if most == 0 || is_ahead(input) {
                continue;
            }
            let share = (BYTES - bytes) / (count - turn);
            let read = self.take_one(plan, log, input, most, share, &mut taken.trimmed).await?;
            if read.records.is_empty() {
                taken.quiet.push(input);
            } else {
                records += read.records.len();
                bytes += read.bytes;
                taken.inputs.push(Input { input, offsets: read.offsets, records: read.records });
            }
        }
        taken.inputs.sort_unstable_by_key(|input| input.input);
        Ok(())
    }

    /// Takes from one input: at least one record if there is one, and the position goes behind what was taken.
    async fn take_one(
        &mut self,
        plan: &Plan,
        log: &dyn Log,
        input: usize,
        records_max: usize,
        bytes_max: usize,
        trimmed: &mut u64,
    ) -> Result<Read, Error> {
        let mut read = Read::default();
        // Where compaction removed what was left of a batch, the next record is in a batch behind it.
        while read.records.is_empty() {
            let fetched = self.fetch(plan, log, input, bytes_max, trimmed).await?;
            for encoded in &fetched.batches {
                if read.records.len() >= records_max {
                    break;
                }
                self.decode(plan, input, encoded, &mut read)?;
            }
            if self.positions[input] >= fetched.end {
                break;
            }
        }
        // A limit that was lowered is kept to the record; the usual one only says when to stop.
        if records_max < RECORDS && read.records.len() > records_max {
            let (first, _) = read.records.view().split_at(records_max);
            read.records = first.to_owned();
            read.offsets.truncate(records_max);
            self.positions[input] = read.offsets.next().unwrap_or(self.positions[input]);
        }
        Ok(read)
    }

    async fn fetch(
        &mut self,
        plan: &Plan,
        log: &dyn Log,
        input: usize,
        bytes_max: usize,
        trimmed: &mut u64,
    ) -> Result<Fetched, Error> {
        let at = &plan.inputs[input];
        let fetched = match log.fetch(&plan.tenant, at, self.positions[input], bytes_max).await {
            Err(log::Error::OffsetOutOfRange { offset, start, .. }) if offset < start => {
                tracing::warn!(pipeline = %plan.name, input = %at, lost = start - offset, "retention removed records that were not read yet");
                *trimmed += start - offset;
                self.positions[input] = start;
                log.fetch(&plan.tenant, at, start, bytes_max).await?
            }
            other => other?,
        };
        if fetched.topic_id != self.topic_ids[input] {
            return Err(plan.recreated(&at.topic, self.topic_ids[input], fetched.topic_id));
        }
        Ok(fetched)
    }

    fn decode(&mut self, plan: &Plan, input: usize, encoded: &[u8], into: &mut Read) -> Result<(), Error> {
        let position = &mut self.positions[input];
        let decoded = decode_with_offsets(encoded, *position, plan.headers, &mut into.records, &mut into.offsets);
        let next = decoded.map_err(|error| log::Error::Corrupt {
            what: format!("record batch of `{}`", plan.inputs[input]),
            reason: error.to_string(),
        })?;
        *position = next.max(*position);
        into.bytes += encoded.len();
        Ok(())
    }
}
