//! What a micro-batch takes: whatever has arrived, bounded by records and bytes.
//!
//! Where a step has state, inputs are read by event time: from each so much that they advance together, from those first
//! that have come to the oldest event time. The intake does not know event times, which plugins may make of values. It
//! learns from the engine, which takes of a micro-batch what is in time and puts the rest back, how many records of each
//! input that is. So nothing depends on what it learns but how much is read ahead. Where no step has state it reads one
//! partition after the other, in turn.

use std::ops::Range;

use super::ahead::Ahead;
use super::follow::follow;
use crate::ids::{Offset, TopicId};
use crate::log::batch::{Offsets, decode_with_offsets};
use crate::log::{self, Fetched, Log, Position};
use crate::pipeline::engine::gather::slice;
use crate::pipeline::engine::machine::{CAREFUL_RECORDS, Input, SplitPoint};
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::rounds;
use crate::pipeline::error::Error;
use crate::record::Batch;

/// Records a micro-batch takes before it stops taking more. Enough that what a commit costs is shared by many, little
/// enough that a commit comes every few milliseconds under load.
const RECORDS: usize = 1 << 16;
/// Bytes of record batches a micro-batch takes before it stops taking more, for the same reason.
const BYTES: usize = 8 << 20;
/// Bytes of records that are read ahead, over all inputs. More are forgotten, and read again when it is their turn.
const AHEAD_BYTES: usize = 32 << 20;
/// Records of an input that are taken at least, if nothing else bounds them, though fewer were in time: it may go faster
/// now.
const SHARE_MIN: usize = 64;

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
    /// What was read of each input and not taken.
    ahead: Vec<Ahead>,
    /// Where each input ended when it was last read.
    ends: Vec<Offset>,
    /// Records of each input to take at most, because those behind them were too far ahead of another input.
    shares: Vec<usize>,
}

/// What was taken from one input.
#[derive(Debug, Default)]
struct Read {
    records: Batch,
    offsets: Offsets,
    /// Bytes of the record batches, or of the records where those were read before.
    bytes: usize,
    /// Whether it was looked for records at all.
    asked: bool,
}

/// How much a micro-batch is to take. Results do not depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// What has arrived, in the amounts that serve best.
    Arrived,
    /// No more than this many records.
    Records(usize),
    /// No more than this many records of each partition, in the order of the sources and their partitions; of those that
    /// are not listed, none.
    Each(Vec<usize>),
}

impl Take {
    /// No more than this many records of one partition.
    const fn of(&self, input: usize) -> usize {
        match self {
            Self::Arrived => usize::MAX,
            Self::Records(most) => *most,
            Self::Each(most) if input < most.len() => most.as_slice()[input],
            Self::Each(_) => 0,
        }
    }

    /// No more than this many records altogether.
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
    /// Inputs that were not looked at, because they are too far ahead of others.
    pub(in crate::pipeline) held: Vec<usize>,
    /// Records that were removed before they could be read.
    pub(in crate::pipeline) trimmed: u64,
}

impl Intake {
    /// Goes on from these positions. `tables_to` are the ends of the tables' partitions.
    pub(in crate::pipeline) fn new(positions: Vec<Position>, tables_to: Vec<Offset>) -> Self {
        let topic_ids = positions.iter().map(|position| position.topic_id).collect();
        let positions: Vec<Offset> = positions.into_iter().map(|position| position.offset).collect();
        let ahead = positions.iter().map(|_| Ahead::default()).collect();
        let (ends, shares) = (vec![0; positions.len()], vec![RECORDS; positions.len()]);
        Self { positions, topic_ids, limit: RECORDS, first: 0, tables_to, rows_first: false, ahead, ends, shares }
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
            self.ahead[taken.input].clear();
        }
        self.limit = CAREFUL_RECORDS;
    }

    /// Puts back what comes behind a split, to take it again.
    pub(in crate::pipeline) fn put_back(&mut self, inputs: &[Input], split: &SplitPoint) {
        for (taken, &records) in inputs.iter().zip(&split.records) {
            let (input, all) = (taken.input, taken.records.len());
            if records == all {
                continue;
            }
            let mut offsets = Offsets::default();
            offsets.append(&taken.offsets, records..all);
            let next = std::mem::replace(&mut self.positions[input], taken.offsets.of(records));
            self.ahead[input].push_front(slice(taken.records.view(), records..all), offsets, next);
            if records > 0 {
                self.shares[input] = (2 * records).clamp(SHARE_MIN, RECORDS);
            }
        }
        self.forget_surplus();
    }

    /// Takes more from inputs again if everything taken from them was in time.
    pub(in crate::pipeline) fn widen(&mut self, inputs: &[Input]) {
        for taken in inputs {
            let share = &mut self.shares[taken.input];
            if taken.records.len() >= *share {
                *share = (*share * 2).min(RECORDS);
            }
        }
    }

    fn forget_surplus(&mut self) {
        if self.ahead.iter().map(Ahead::bytes).sum::<usize>() > AHEAD_BYTES {
            self.ahead.iter_mut().for_each(Ahead::clear);
        }
    }

    /// Takes more again after a micro-batch without failed calls.
    pub(in crate::pipeline) fn advance(&mut self, calls_failed: bool) {
        if !calls_failed {
            self.limit = (self.limit * 2).min(RECORDS);
        }
    }

    /// Takes what has arrived. An input that is too far ahead of others waits; `reached` is the event time that an input
    /// has come to.
    ///
    /// A pipeline that keeps up is answered from the log's memory, at once. What a pipeline that is behind wants may be on a
    /// cold disk: the log waits for that elsewhere, and this thread runs other tasks meanwhile.
    pub(in crate::pipeline) async fn take(
        &mut self,
        plan: &Plan,
        log: &dyn Log,
        take: &Take,
        is_ahead: impl Fn(usize) -> bool + Send + Sync,
        reached: impl Fn(usize) -> Option<i64> + Send + Sync,
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
        if plan.is_timed() {
            let asked = sources.clone().filter(|&input| take.of(input) > 0);
            let (held, mut turns): (Vec<usize>, Vec<usize>) = asked.partition(|&input| is_ahead(input));
            taken.held = held;
            turns.sort_by_key(|&input| reached(input));
            self.take_in_time(&turns, plan, log, take, &mut taken).await?;
        } else {
            self.take_of(sources.clone(), plan, log, &is_ahead, take, &mut taken).await?;
        }
        if taken.inputs.is_empty() {
            self.take_of(sources.end..all, plan, log, &is_ahead, take, &mut taken).await?;
        }
        Ok(taken)
    }

    /// Takes from inputs in this order: what there is to take is shared among those that have it.
    async fn take_in_time(
        &mut self,
        turns: &[usize],
        plan: &Plan,
        log: &dyn Log,
        take: &Take,
        taken: &mut Taken,
    ) -> Result<(), Error> {
        let limit = self.limit.min(take.altogether());
        let (mut records, mut bytes) = (0, 0);
        let mut reads: Vec<Read> = turns.iter().map(|_| Read::default()).collect();
        let mut open: Vec<usize> = (0..turns.len()).collect();
        while !open.is_empty() && records < limit && bytes < BYTES {
            let (share, bytes_share) = (((limit - records) / open.len()).max(1), (BYTES - bytes) / open.len());
            let mut next = Vec::with_capacity(open.len());
            for &turn in &open {
                let (input, read) = (turns[turn], &mut reads[turn]);
                let of_input = take.of(input).min(self.shares[input]).saturating_sub(read.records.len());
                let most = share.min(of_input).min(limit.saturating_sub(records));
                if most == 0 || bytes >= BYTES {
                    continue;
                }
                let before = (read.records.len(), read.bytes);
                self.take_more(plan, log, input, most, bytes_share, read, &mut taken.trimmed).await?;
                read.asked = true;
                records += read.records.len() - before.0;
                bytes += read.bytes - before.1;
                if self.has_more(input) {
                    next.push(turn);
                }
            }
            // What is left is not worth another read of each input: the next micro-batch takes it.
            if next.len() == open.len() && records > limit / 2 {
                break;
            }
            open = next;
        }
        for (&input, read) in turns.iter().zip(reads) {
            if !read.records.is_empty() {
                let more = !matches!(take, Take::Each(_)) && self.has_more(input);
                taken.inputs.push(of_input(plan, input, read.offsets, read.records, more));
            } else if read.asked {
                taken.quiet.push(input);
            }
        }
        taken.inputs.sort_unstable_by_key(|input| input.input);
        taken.quiet.sort_unstable();
        self.forget_surplus();
        Ok(())
    }

    /// Whether records of an input were there, when it was last read, that are not taken yet.
    fn has_more(&self, input: usize) -> bool {
        !self.ahead[input].is_empty() || self.positions[input] < self.ends[input]
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
            if most == 0 {
                continue;
            }
            if is_ahead(input) {
                taken.held.push(input);
                continue;
            }
            let share = (BYTES - bytes) / (count - turn);
            let read = self.take_one(plan, log, input, most, share, &mut taken.trimmed).await?;
            if read.records.is_empty() {
                taken.quiet.push(input);
            } else {
                records += read.records.len();
                bytes += read.bytes;
                let more = self.has_more(input);
                taken.inputs.push(of_input(plan, input, read.offsets, read.records, more));
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
        self.take_more(plan, log, input, records_max, bytes_max, &mut read, trimmed).await?;
        Ok(read)
    }

    /// Takes so many more from one input, one at least if there is one, and the position goes behind what was taken.
    #[expect(clippy::too_many_arguments, reason = "what to read, how much, and what to note of it")]
    async fn take_more(
        &mut self,
        plan: &Plan,
        log: &dyn Log,
        input: usize,
        records_max: usize,
        bytes_max: usize,
        read: &mut Read,
        trimmed: &mut u64,
    ) -> Result<(), Error> {
        let before = read.records.len();
        let enough = before.saturating_add(records_max);
        if let Some(position) = self.ahead[input].take(records_max, &mut read.records, &mut read.offsets) {
            self.positions[input] = position;
            read.bytes += slice(read.records.view(), before..read.records.len()).payload_bytes();
        }
        let from_log = read.records.len();
        while read.records.len() < enough {
            let fetched = self.fetch(plan, log, input, bytes_max, trimmed).await?;
            self.ends[input] = fetched.end;
            for encoded in &fetched.batches {
                if read.records.len() >= enough {
                    break;
                }
                self.decode(plan, input, encoded, read)?;
            }
            // Where compaction removed what was left of a batch, the next record is in a batch behind it.
            if read.records.len() > from_log || self.positions[input] >= fetched.end {
                break;
            }
        }
        // A limit that was lowered is kept to the record; the usual one only says when to stop.
        if records_max < RECORDS && read.records.len() > enough {
            let mut offsets = Offsets::default();
            offsets.append(&read.offsets, enough..read.records.len());
            let surplus = slice(read.records.view(), enough..read.records.len());
            let next = std::mem::replace(&mut self.positions[input], read.offsets.of(enough));
            self.ahead[input].push_back(surplus, offsets, next);
            read.records.truncate(enough);
            read.offsets.truncate(enough);
        }
        Ok(())
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
        let position = &mut self.positions[input];
        let read = |position| log.fetch(&plan.tenant, at, position, bytes_max);
        let (fetched, lost) = match follow(position, trimmed, read).await {
            // Who reads a topic that was made again asks for what the new one never had.
            Err(error @ log::Error::OffsetOutOfRange { .. }) => {
                let found = log.topic(&plan.tenant, &at.topic).await?.id;
                let before = self.topic_ids[input];
                return Err(if found == before { error.into() } else { plan.recreated(&at.topic, before, found) });
            }
            other => other?,
        };
        if lost > 0 {
            tracing::warn!(pipeline = %plan.name, input = %at, lost, "retention removed records that were not read yet");
        }
        if fetched.topic_id != self.topic_ids[input] {
            return Err(plan.recreated(&at.topic, self.topic_ids[input], fetched.topic_id));
        }
        Ok(fetched)
    }

    fn decode(&mut self, plan: &Plan, input: usize, encoded: &[u8], into: &mut Read) -> Result<(), Error> {
        let position = &mut self.positions[input];
        // Of what comes round, the header says how often it has.
        let headers = plan.headers || plan.is_feedback(input);
        let decoded = decode_with_offsets(encoded, *position, headers, &mut into.records, &mut into.offsets);
        let next = decoded.map_err(|error| log::Error::Corrupt {
            what: format!("record batch of `{}`", plan.inputs[input]),
            reason: error.to_string(),
        })?;
        *position = next.max(*position);
        into.bytes += encoded.len();
        Ok(())
    }
}

/// What was taken of an input.
fn of_input(plan: &Plan, input: usize, offsets: Offsets, mut records: Batch, more: bool) -> Input {
    if !plan.is_feedback(input) {
        rounds::hide(&mut records);
    }
    Input { input, offsets, records, came_round: None, more }
}
