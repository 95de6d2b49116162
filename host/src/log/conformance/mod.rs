//! What every log must do, whatever it is made of. Each backend runs all of it, through [`conformance!`].
//!
//! A case is given a fresh log. Where it says [`Subject::reopen`], a durable log is closed and opened again, and one that
//! is not goes on: what is expected afterwards is the same.

mod commits;
mod compaction;
mod producers;
mod records;
mod timing;
mod topics;

use bytes::Bytes;

use super::batch::{self, Compression, EncodeOptions, Producer};
use super::{Block, Commit, Error, Head, Log, Recovery, Result, TopicConfig};
use crate::error::Coded;
use crate::ids::{Offset, PipelineId, TenantId, TopicName, TopicPartition};
use crate::record::Batch;

pub(crate) use self::{commits::*, compaction::*, producers::*, records::*, timing::*, topics::*};

/// A log under test.
pub(crate) trait Subject {
    /// The log as it is now.
    fn log(&self) -> &dyn Log;
    /// Closes it and opens it again, if that is possible.
    fn reopen(&mut self);
}

/// Runs all cases on what an expression makes, each as a test of its own.
macro_rules! conformance {
    ($subject:expr) => {
        $crate::log::conformance::conformance!(@each $subject;
            offsets_are_dense,
            a_read_from_the_middle_begins_with_the_batch_that_holds_it,
            a_read_is_bounded_by_bytes_and_gives_at_least_one_batch,
            a_read_outside_of_the_partition_is_refused,
            an_append_is_there_whole_or_not_at_all,
            what_is_no_batch_or_too_large_is_refused_with_its_code,
            a_batch_that_is_sent_again_is_written_once,
            a_hole_in_the_sequence_is_refused,
            an_older_epoch_is_fenced,
            a_commit_is_there_whole_or_not_at_all,
            of_two_writers_of_a_pipeline_one_loses,
            a_pipeline_recovers_from_the_blocks_that_are_still_needed,
            blocks_are_read_back_from_any_on_and_as_far_as_wanted,
            a_forgotten_pipeline_begins_anew_and_its_outputs_stay,
            a_topic_is_made_once,
            a_topic_made_again_has_no_old_records,
            tenants_do_not_see_each_other,
            retention_by_size_removes_whole_old_batches,
            retention_by_time_never_removes_the_newest,
            a_producer_is_known_as_long_as_its_last_batch,
            compaction_keeps_the_newest_record_of_each_key_at_its_offset,
            a_read_from_a_gap_gives_what_is_behind_it,
            deletions_are_kept_for_their_time_and_then_go,
            compaction_waits_until_half_of_the_bytes_are_new,
            other_topics_are_not_compacted,
            a_record_without_a_key_is_refused_where_topics_are_compacted,
            a_batch_that_a_broker_compacted_is_refused,
            a_compacted_batch_keeps_all_that_its_records_have,
            a_producer_is_known_though_its_records_were_compacted,
            retention_removes_compacted_batches_too,
            watchers_wake_when_records_become_visible,
            writes_take_effect_in_the_order_of_their_first_polls,
            a_dropped_write_is_there_whole_or_not_at_all,
        );
    };
    (@each $subject:expr; $($case:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            $crate::log::conformance::$case(&mut $subject).await;
        })*
    };
}
pub(crate) use conformance;

pub(crate) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

pub(crate) fn topic(name: &str) -> TopicName {
    name.parse().unwrap()
}

pub(crate) fn at(name: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic(name), partition }
}

/// A batch of these values, each with its place as timestamp.
pub(crate) fn values<T: AsRef<[u8]>>(values: impl IntoIterator<Item = T>) -> Bytes {
    stamped(values.into_iter().enumerate().map(|(place, value)| (place as i64, value)), None)
}

fn stamped<T: AsRef<[u8]>>(values: impl IntoIterator<Item = (i64, T)>, producer: Option<Producer>) -> Bytes {
    let mut rows = Batch::default();
    for (timestamp, value) in values {
        rows.push(timestamp, None, Some(value.as_ref()));
    }
    batch::encode(rows.view(), &EncodeOptions { compression: Compression::None, producer })
}

fn sent(id: i64, epoch: i16, base_sequence: i32, count: i32) -> Bytes {
    let values = (base_sequence..base_sequence + count).map(|sequence| (0, sequence.to_string()));
    stamped(values, Some(Producer { id, epoch, base_sequence }))
}

fn run(batches: &[Bytes]) -> Bytes {
    batches.concat().into()
}

/// All values from an offset on, read `bytes_max` at a time, with everything checked that a read promises.
pub(crate) fn read_all(log: &dyn Log, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Vec<String>> {
    let mut rows = Batch::default();
    let mut next = from;
    loop {
        let fetched = log.read(&tenant(), at, next, bytes_max)?;
        if fetched.batches.is_empty() {
            assert_eq!(next, fetched.end, "nothing is given at the end only");
            break;
        }
        for (place, batch) in fetched.batches.iter().enumerate() {
            let header = batch::verify(batch).unwrap();
            assert!(if place == 0 { header.base_offset <= next } else { header.base_offset == next });
            next = batch::decode(batch, next, false, &mut rows).unwrap();
        }
    }
    Ok(rows.values.iter().map(|value| String::from_utf8_lossy(value.unwrap()).into_owned()).collect())
}

fn everything(log: &dyn Log, at: &TopicPartition) -> Vec<String> {
    let start = log.topics(&tenant()).unwrap()[&at.topic].partitions[at.partition as usize].start;
    read_all(log, at, start, usize::MAX).unwrap()
}

fn make(log: &dyn Log, name: &str, partitions: u32) {
    log.create_topic(&tenant(), &topic(name), TopicConfig::with_partitions(partitions)).unwrap();
}

async fn append(log: &dyn Log, at: &TopicPartition, batches: Bytes) -> Result<(Offset, Offset, bool)> {
    let appended = log.append(&tenant(), at, batches).await?;
    Ok((appended.base_offset, appended.next_offset, appended.duplicate))
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code()
}

/// A commit that does nothing but count.
pub(crate) fn commit(pipeline: u64, sequence: u64) -> Commit {
    Commit {
        pipeline: PipelineId(pipeline),
        sequence,
        positions: Vec::new(),
        outputs: Vec::new(),
        block: Block::None,
        usage: Bytes::new(),
    }
}
