//! What every log must do, whatever it is made of. Each backend runs all of it, through [`conformance!`].
//!
//! A case is given a fresh log. Where it says [`Subject::reopen`], a durable log is closed and opened again, and one that
//! is not goes on: what is expected afterwards is the same.

mod commits;
mod compaction;
mod fencing;
mod producers;
mod records;
mod timing;
mod topics;

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;

use super::batch::{self, Compression, EncodeOptions, Producer};
use super::{Block, Commit, Compacted, Error, Fetched, Head, Log, Pending, Position, Recovery, Result, TopicConfig};
use crate::error::Coded;
use crate::ids::{Offset, PipelineId, TaskId, TenantId, TopicId, TopicName, TopicPartition};
use crate::record::Batch;

pub(crate) use self::{commits::*, compaction::*, fencing::*, producers::*, records::*, timing::*, topics::*};

/// How old records leave a log, which is not in the contract: each that stores them itself has its own way.
pub(crate) trait Cleaning {
    /// Removes what exceeds its topic's retention; answers how many batches went.
    fn enforce_retention(&self, now_ms: i64) -> Result<u64>;
    /// Does a piece of the work of compaction.
    fn compact(&self, now_ms: i64) -> Result<Compacted>;
}

/// A log under test.
pub(crate) trait Subject: Cleaning {
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
            the_largest_timestamp_of_a_batch_is_that_of_its_records,
            timestamps_that_only_a_log_may_give_are_refused,
            a_batch_that_is_sent_again_is_written_once,
            a_hole_in_the_sequence_is_refused,
            an_older_epoch_is_fenced,
            a_commit_is_there_whole_or_not_at_all,
            of_two_writers_of_a_task_one_loses,
            a_fence_gives_a_greater_epoch_and_what_was_committed_before,
            a_commit_of_another_epoch_is_refused_and_leaves_nothing,
            a_fence_takes_its_place_in_the_order_of_writes,
            a_writer_that_is_fenced_while_it_commits_knows_what_it_has_written,
            a_task_that_is_forgotten_or_was_never_fenced_takes_no_commit,
            the_tasks_of_a_pipeline_are_apart,
            a_topic_has_an_id_of_its_own,
            a_task_recovers_from_the_blocks_that_are_still_needed,
            blocks_are_read_back_from_any_on_and_as_far_as_wanted,
            a_forgotten_task_begins_anew_and_its_outputs_stay,
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
            changes_of_topics_have_their_place_in_the_order_of_writes,
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

/// Waits for an answer on this thread, be it one of a runtime's or not.
pub(crate) fn now<T>(pending: Pending<T>) -> Result<T> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    // Within a runtime, a task that has done much is to yield to others first, which this thread would never do.
    let mut pending = std::pin::pin!(tokio::task::unconstrained(pending));
    loop {
        match pending.as_mut().poll(&mut context) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// What is fetched of a partition of the tenant.
pub(crate) fn fetch(log: &dyn Log, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Fetched> {
    now(log.fetch(&tenant(), at, from, bytes_max))
}

fn run(batches: &[Bytes]) -> Bytes {
    batches.concat().into()
}

/// All values from an offset on, read `bytes_max` at a time, with everything checked that a read promises.
pub(crate) fn read_all(log: &dyn Log, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Vec<String>> {
    let mut rows = Batch::default();
    let mut next = from;
    loop {
        let fetched = fetch(log, at, next, bytes_max)?;
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
    let start = now(log.topics(&tenant())).unwrap()[&at.topic].partitions[at.partition as usize].start;
    read_all(log, at, start, usize::MAX).unwrap()
}

fn make(log: &dyn Log, name: &str, partitions: u32) {
    now(log.create_topic(&tenant(), &topic(name), TopicConfig::with_partitions(partitions))).unwrap();
}

async fn append(log: &dyn Log, at: &TopicPartition, batches: Bytes) -> Result<(Offset, Offset, bool)> {
    let appended = log.append(&tenant(), at, batches).await?;
    Ok((appended.base_offset, appended.next_offset, appended.duplicate))
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code()
}

pub(crate) const fn task(pipeline: u64) -> TaskId {
    PipelineId(pipeline).task()
}

/// A place in a topic that need not be there.
pub(crate) const fn place(topic: u64, offset: Offset) -> Position {
    Position { topic_id: TopicId(topic), offset }
}

/// What there is of a task that never was.
pub(crate) fn empty(pipeline: u64) -> Recovery {
    Recovery { head: Head::empty(task(pipeline)), blocks: Vec::new() }
}

/// The new epoch of a task.
pub(crate) async fn fence(log: &dyn Log, pipeline: u64) -> u64 {
    log.fence(&tenant(), task(pipeline)).await.unwrap().epoch
}

/// A commit that does nothing but count.
pub(crate) fn commit(pipeline: u64, epoch: u64, sequence: u64) -> Commit {
    Commit {
        task: task(pipeline),
        epoch,
        sequence,
        positions: Vec::new(),
        outputs: Vec::new(),
        block: Block::None,
        usage: Bytes::new(),
    }
}
