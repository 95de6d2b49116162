//! Rows on their way to topics: collected by partition while a micro-batch runs, encoded as record batches at its end.
//!
//! There is one way out for each kind of row: [`Outputs::result`], [`Outputs::late`] and [`Outputs::dead_letter`]. Each
//! looks at what its topic takes, so none of them can make the log refuse a commit. Nothing else adds rows.

use bytes::Bytes;

use super::dead_letter::without_key;
use super::gather::gather;
use super::plan::{Plan, TargetTopic, TopicId};
use super::rounds;
use crate::ids::{PartitionId, TopicPartition};
use crate::log::batch::{EncodeOptions, encode};
use crate::log::partition_of;
use crate::pipeline::status::Usage;
use crate::record::{Batch, BatchRef, NULL};

/// Bytes of keys and values in one record batch. Larger batches are read no faster, and a reader that wants one record
/// fetches a whole batch.
const RECORD_BATCH_BYTES: usize = 1 << 20;
/// Records in one record batch, for the same reason.
const RECORD_BATCH_ROWS: usize = 1 << 16;

/// Rows for the topics of a plan.
#[derive(Debug)]
pub(in crate::pipeline) struct Outputs {
    topics: Vec<Vec<Batch>>,
}

impl Outputs {
    pub(in crate::pipeline) fn new(topics: &[TargetTopic]) -> Self {
        let batches = |topic: &TargetTopic| (0..topic.partitions).map(|_| Batch::default()).collect();
        Self { topics: topics.iter().map(batches).collect() }
    }

    /// Writes results of steps to a topic.
    pub(in crate::pipeline) fn result(
        &mut self,
        plan: &Plan,
        usage: &mut Usage,
        topic: TopicId,
        rows: BatchRef<'_>,
        source_partition: PartitionId,
    ) {
        let (records, bytes) = self.write(plan, usage, topic, rows, source_partition);
        usage.records_out += records;
        usage.bytes_out += bytes;
    }

    /// Writes rows that came too late to a topic.
    pub(in crate::pipeline) fn late(
        &mut self,
        plan: &Plan,
        usage: &mut Usage,
        topic: TopicId,
        rows: BatchRef<'_>,
        source_partition: PartitionId,
    ) {
        usage.late += rows.len() as u64;
        self.write(plan, usage, topic, rows, source_partition);
    }

    /// Writes a dead letter. Their topic takes rows without a key: the plan makes sure of it.
    pub(in crate::pipeline) fn dead_letter(
        &mut self,
        plan: &Plan,
        usage: &mut Usage,
        letter: BatchRef<'_>,
        source_partition: PartitionId,
    ) {
        usage.dead_letters += letter.len() as u64;
        self.extend(plan.dead_letters, letter, source_partition);
    }

    /// Writes rows to a topic, those without a key to the dead letters if the topic needs one. Returns how many records
    /// and bytes of them the topic got.
    fn write(
        &mut self,
        plan: &Plan,
        usage: &mut Usage,
        topic: TopicId,
        rows: BatchRef<'_>,
        source_partition: PartitionId,
    ) -> (u64, u64) {
        let target = &plan.topics[topic];
        if !target.needs_key || !rows.keys.lengths.contains(&NULL) {
            self.extend(topic, rows, source_partition);
            return (rows.len() as u64, rows.payload_bytes() as u64);
        }
        let (keyless, keyed): (Vec<u32>, Vec<u32>) =
            (0..rows.len() as u32).partition(|&row| rows.keys.lengths[row as usize] == NULL);
        for row in keyless {
            let letter = without_key(plan, &target.name, gather(rows, &[row]).view());
            self.dead_letter(plan, usage, letter.view(), source_partition);
        }
        let rest = gather(rows, &keyed);
        self.extend(topic, rest.view(), source_partition);
        (rest.len() as u64, rest.payload_bytes() as u64)
    }

    /// Adds rows to a topic, each to the partition of its key; a row without key stays in the partition that it came from, as
    /// far as there are as many.
    fn extend(&mut self, topic: TopicId, rows: BatchRef<'_>, source_partition: PartitionId) {
        let partitions = &mut self.topics[topic];
        if let [only] = partitions.as_mut_slice() {
            extend(only, rows);
            return;
        }
        let count = partitions.len() as u32;
        let mut headers = rows.headers.rows();
        for ((&timestamp, key), value) in rows.timestamps.iter().zip(rows.keys.iter()).zip(rows.values.iter()) {
            let partition = key.map_or(source_partition % count, |key| partition_of(key, count));
            let batch = &mut partitions[partition as usize];
            batch.push(timestamp, key, value);
            if let Some(headers) = headers.next() {
                pad_headers(batch, 1);
                batch.headers.push_row(headers);
            } else {
                pad_headers_if_carried(batch);
            }
        }
    }

    /// Whether there are no rows.
    pub(in crate::pipeline) fn is_empty(&self) -> bool {
        self.topics.iter().flatten().all(Batch::is_empty)
    }

    /// Appends all rows of another, which is for the same topics.
    pub(in crate::pipeline) fn append(&mut self, other: &Self) {
        let batches = self.topics.iter_mut().flatten().zip(other.topics.iter().flatten());
        batches.filter(|(_, rows)| !rows.is_empty()).for_each(|(batch, rows)| extend(batch, rows.view()));
    }

    /// Forgets all rows.
    pub(in crate::pipeline) fn clear(&mut self) {
        self.topics.iter_mut().flatten().for_each(Batch::clear);
    }

    /// The rows as record batches, in the order of topics and partitions; none are left. Those of one topic may be told by
    /// which commit they are written.
    pub(in crate::pipeline) fn encode(
        &mut self,
        topics: &[TargetTopic],
        told: Option<(TopicId, &str)>,
    ) -> Vec<(TopicPartition, Bytes)> {
        let options = EncodeOptions::default();
        let mut encoded = Vec::new();
        for (number, (partitions, topic)) in self.topics.iter_mut().zip(topics).enumerate() {
            for (partition, batch) in (0..).zip(partitions) {
                if let Some((_, writing)) = told.filter(|(topic, _)| *topic == number) {
                    batch.headers = rounds::with_writing(batch.headers.view(), writing);
                }
                let mut rest = batch.view();
                while !rest.is_empty() {
                    let (rows, after) = rest.split_at(rest.rows_within(RECORD_BATCH_ROWS, RECORD_BATCH_BYTES));
                    let at = TopicPartition { topic: topic.name.clone(), partition };
                    encoded.push((at, encode(rows, &options)));
                    rest = after;
                }
                batch.clear();
            }
        }
        encoded
    }
}

/// Appends rows to others, either of which may have headers.
pub(in crate::pipeline) fn extend(batch: &mut Batch, rows: BatchRef<'_>) {
    batch.timestamps.extend_from_slice(rows.timestamps);
    batch.keys.extend(rows.keys);
    batch.values.extend(rows.values);
    if rows.headers.counts.is_empty() {
        pad_headers_if_carried(batch);
    } else {
        pad_headers(batch, rows.len());
        batch.headers.extend(rows.headers);
    }
}

/// Gives the rows before the last `new` ones, if they have none, no headers each: one topic may take rows of both kinds.
fn pad_headers(batch: &mut Batch, new: usize) {
    batch.headers.counts.resize(batch.timestamps.len() - new, 0);
}

fn pad_headers_if_carried(batch: &mut Batch) {
    if batch.headers.are_carried() {
        pad_headers(batch, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::decode;
    use crate::record::Headers;

    fn topic(partitions: u32) -> Vec<TargetTopic> {
        vec![TargetTopic { name: "out".parse().expect("a name"), partitions, needs_key: false }]
    }

    fn decoded(outputs: &mut Outputs, topics: &[TargetTopic]) -> Vec<(PartitionId, Batch)> {
        let decode_one = |(at, bytes): (TopicPartition, Bytes)| {
            let mut batch = Batch::default();
            decode(&bytes, 0, true, &mut batch).expect("our own batch");
            (at.partition, batch)
        };
        outputs.encode(topics, None).into_iter().map(decode_one).collect()
    }

    #[test]
    fn rows_go_to_the_partition_of_their_key_and_keep_their_order() {
        let topics = topic(3);
        let mut outputs = Outputs::new(&topics);
        let mut rows = Batch::default();
        for time in 0..100_i64 {
            rows.push(time, Some(format!("key-{}", time % 7).as_bytes()), Some(b"v"));
        }
        rows.push(100, None, None);
        outputs.extend(0, rows.view(), 5);
        let batches = decoded(&mut outputs, &topics);
        assert_eq!(batches.iter().map(|(_, batch)| batch.len()).sum::<usize>(), 101);
        for (partition, batch) in batches {
            assert!(batch.timestamps.is_sorted());
            for key in batch.keys.iter() {
                assert_eq!(partition, key.map_or(2, |key| partition_of(key, 3)));
            }
        }
        assert!(outputs.encode(&topics, None).is_empty(), "rows are written once");
    }

    #[test]
    fn rows_with_and_without_headers_share_a_topic() {
        for partitions in [1, 2] {
            let topics = topic(partitions);
            let mut outputs = Outputs::new(&topics);
            let mut plain = Batch::default();
            plain.push(1, Some(b"a"), Some(b"1"));
            let mut with = plain.clone();
            with.headers.push_row([(&b"h"[..], Some(&b"x"[..]))]);
            for rows in [&plain, &with, &plain] {
                outputs.extend(0, rows.view(), 0);
            }
            let batches = decoded(&mut outputs, &topics);
            let [(_, batch)] = batches.as_slice() else { panic!("one key, one partition: {batches:?}") };
            let expected = Headers {
                counts: vec![0, 1, 0],
                names: [Some("h")].into_iter().collect(),
                values: [Some("x")].into_iter().collect(),
            };
            assert_eq!(batch.headers, expected);
        }
    }

    #[test]
    fn many_rows_become_several_record_batches() {
        let topics = topic(1);
        let mut outputs = Outputs::new(&topics);
        let mut rows = Batch::default();
        for time in 0..30 {
            rows.push(time, None, Some(&[7; 100_000]));
        }
        outputs.extend(0, rows.view(), 0);
        let batches = decoded(&mut outputs, &topics);
        assert_eq!(batches.iter().map(|(_, batch)| batch.len()).collect::<Vec<_>>(), [10, 10, 10]);
    }
}
