//! What every log must do, whatever it is made of. Each backend runs all of it, through [`conformance!`].
//!
//! A case is given a fresh log. Where it says [`Subject::reopen`], a durable log is closed and opened again, and one that
//! is not goes on: what is expected afterwards is the same.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::batch::{self, Compression, EncodeOptions, Producer};
use super::{Block, Commit, Error, Log, Pending, Recovery, Result, TopicConfig};
use crate::error::Coded;
use crate::ids::{Offset, PipelineId, TenantId, TopicName, TopicPartition};
use crate::record::Batch;

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
            a_pipeline_recovers_from_its_base_and_the_deltas_after_it,
            a_forgotten_pipeline_begins_anew_and_its_outputs_stay,
            a_topic_is_made_once,
            a_topic_made_again_has_no_old_records,
            tenants_do_not_see_each_other,
            retention_by_size_removes_whole_old_batches,
            retention_by_time_never_removes_the_newest,
            a_producer_is_known_as_long_as_its_last_batch,
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

pub(crate) async fn offsets_are_dense(subject: &mut dyn Subject) {
    let at = at("t", 1);
    make(subject.log(), "t", 2);
    assert_eq!(append(subject.log(), &at, values(["a", "b"])).await, Ok((0, 2, false)));
    let two = run(&[values(["c"]), values(["d", "e", "f"])]);
    assert_eq!(append(subject.log(), &at, two).await, Ok((2, 6, false)));
    subject.reopen();
    assert_eq!(append(subject.log(), &at, values(["g"])).await, Ok((6, 7, false)));
    assert_eq!(everything(subject.log(), &at), ["a", "b", "c", "d", "e", "f", "g"]);
    let info = &subject.log().topics(&tenant()).unwrap()[&at.topic].partitions;
    assert_eq!((info[0].start, info[0].end, info[0].bytes), (0, 0, 0));
    let stored = subject.log().read(&tenant(), &at, 0, usize::MAX).unwrap();
    assert_eq!((info[1].start, info[1].end), (stored.start, stored.end));
    assert_eq!(info[1].bytes, stored.batches.iter().map(|batch| batch.len() as u64).sum::<u64>());
}

pub(crate) async fn a_read_from_the_middle_begins_with_the_batch_that_holds_it(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    let all: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    for batch in all.chunks(3) {
        append(subject.log(), &at, values(batch)).await.unwrap();
    }
    for _ in 0..2 {
        for from in 0..=30 {
            assert_eq!(read_all(subject.log(), &at, from, 200).unwrap(), &all[from as usize..], "from {from}");
        }
        let fetched = subject.log().read(&tenant(), &at, 4, 0).unwrap();
        assert_eq!(batch::verify(&fetched.batches[0]).unwrap().base_offset, 3);
        subject.reopen();
    }
}

pub(crate) async fn a_read_is_bounded_by_bytes_and_gives_at_least_one_batch(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    let one = values(["12345678"]);
    for _ in 0..5 {
        append(subject.log(), &at, one.clone()).await.unwrap();
    }
    for _ in 0..2 {
        for (bytes_max, batches) in [(0, 1), (one.len(), 1), (2 * one.len() - 1, 1), (3 * one.len(), 3), (1 << 20, 5)] {
            let fetched = subject.log().read(&tenant(), &at, 0, bytes_max).unwrap();
            assert_eq!(fetched.batches.len(), batches, "{bytes_max} bytes");
            assert_eq!((fetched.start, fetched.end), (0, 5));
        }
        subject.reopen();
    }
}

pub(crate) async fn a_read_outside_of_the_partition_is_refused(subject: &mut dyn Subject) {
    let at0 = at("t", 0);
    make(subject.log(), "t", 1);
    assert_eq!(subject.log().read(&tenant(), &at0, 0, 100).unwrap().batches, Vec::<Bytes>::new());
    append(subject.log(), &at0, values(["a"])).await.unwrap();
    assert_eq!(subject.log().read(&tenant(), &at0, 1, 100).unwrap().batches, Vec::<Bytes>::new());
    let outside = Error::OffsetOutOfRange { at: at0.clone(), offset: 2, start: 0, end: 1 };
    assert_eq!(subject.log().read(&tenant(), &at0, 2, 100), Err(outside));
    assert_eq!(code(subject.log().read(&tenant(), &at("t", 1), 0, 100)), "partition_not_found");
    assert_eq!(code(subject.log().read(&tenant(), &at("u", 0), 0, 100)), "topic_not_found");
}

pub(crate) async fn an_append_is_there_whole_or_not_at_all(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    let mut broken = values(["b"]).to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    assert_eq!(code(append(subject.log(), &at, run(&[values(["a"]), broken.into()])).await), "invalid_batch");
    assert_eq!(everything(subject.log(), &at), Vec::<String>::new());
    assert_eq!(append(subject.log(), &at, values(["c"])).await, Ok((0, 1, false)));
    subject.reopen();
    assert_eq!(everything(subject.log(), &at), ["c"]);
}

pub(crate) async fn what_is_no_batch_or_too_large_is_refused_with_its_code(subject: &mut dyn Subject) {
    let log = subject.log();
    let at = at("t", 0);
    make(log, "t", 1);
    assert_eq!(code(append(log, &at, Bytes::new()).await), "invalid_batch");
    assert_eq!(code(append(log, &at, Bytes::from_static(b"no batch")).await), "invalid_batch");
    let record = append(log, &at, values([vec![0; (1 << 20) + 1]])).await;
    let (size, limit) = ((1 << 20) + 1, 1 << 20);
    assert_eq!(record, Err(Error::TooLarge { at: at.clone(), what: "record", size, limit }));
    let many = values((0..9).map(|_| vec![0; 1 << 20]));
    let (size, limit) = (many.len() as u64, 8 << 20);
    assert_eq!(append(log, &at, many).await, Err(Error::TooLarge { at: at.clone(), what: "append", size, limit }));
    assert_eq!(append(log, &at, values([vec![b'a'; 1 << 20]])).await, Ok((0, 1, false)));
    assert_eq!(code(append(log, &self::at("t", 1), values(["a"])).await), "partition_not_found");
    assert_eq!(code(append(log, &self::at("u", 0), values(["a"])).await), "topic_not_found");
}

pub(crate) async fn a_batch_that_is_sent_again_is_written_once(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    append(subject.log(), &at, values(["x"])).await.unwrap();
    assert_eq!(append(subject.log(), &at, sent(9, 0, 0, 2)).await, Ok((1, 3, false)));
    assert_eq!(append(subject.log(), &at, sent(9, 0, 2, 1)).await, Ok((3, 4, false)));
    for _ in 0..2 {
        assert_eq!(append(subject.log(), &at, sent(9, 0, 0, 2)).await, Ok((1, 3, true)));
        assert_eq!(append(subject.log(), &at, sent(9, 0, 2, 1)).await, Ok((3, 4, true)));
        assert_eq!(everything(subject.log(), &at), ["x", "0", "1", "2"]);
        subject.reopen();
    }
    // Of two that are sent at once, one is the other's repetition.
    let (first, second) =
        tokio::join!(append(subject.log(), &at, sent(9, 0, 3, 1)), append(subject.log(), &at, sent(9, 0, 3, 1)));
    assert_eq!((first, second), (Ok((4, 5, false)), Ok((4, 5, true))));
    assert_eq!(append(subject.log(), &at, sent(8, 0, 3, 1)).await, Ok((5, 6, false)), "another producer");
}

pub(crate) async fn a_hole_in_the_sequence_is_refused(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    append(subject.log(), &at, sent(9, 0, 0, 2)).await.unwrap();
    subject.reopen();
    let hole = Error::OutOfOrderSequence { at: at.clone(), producer_id: 9, sequence: 3, expected: 2 };
    assert_eq!(append(subject.log(), &at, sent(9, 0, 3, 1)).await, Err(hole));
    assert_eq!(append(subject.log(), &at, sent(9, 0, 2, 1)).await, Ok((2, 3, false)));
}

pub(crate) async fn an_older_epoch_is_fenced(subject: &mut dyn Subject) {
    let at = at("t", 0);
    make(subject.log(), "t", 1);
    append(subject.log(), &at, sent(9, 1, 0, 1)).await.unwrap();
    append(subject.log(), &at, sent(9, 2, 0, 1)).await.unwrap();
    subject.reopen();
    let fenced = Error::ProducerFenced { at: at.clone(), producer_id: 9, epoch: 1, current: 2 };
    assert_eq!(append(subject.log(), &at, sent(9, 1, 1, 1)).await, Err(fenced));
    assert_eq!(code(append(subject.log(), &at, sent(9, 3, 1, 1)).await), "out_of_order_sequence");
    assert_eq!(append(subject.log(), &at, sent(9, 3, 0, 1)).await, Ok((2, 3, false)));
}

pub(crate) async fn a_commit_is_there_whole_or_not_at_all(subject: &mut dyn Subject) {
    let log = subject.log();
    make(log, "in", 1);
    make(log, "out", 2);
    append(log, &at("out", 0), values(["before"])).await.unwrap();
    let whole = Commit {
        positions: vec![(at("in", 0), 5)],
        outputs: vec![
            (at("out", 0), values(["a", "b"])),
            (at("out", 1), values(["c"])),
            (at("out", 0), run(&[values(["d"]), values(["e"])])),
        ],
        block: Block::Delta(Bytes::from_static(b"delta")),
        usage: Bytes::from_static(b"usage"),
        ..commit(7, 1)
    };
    for (bad, expected) in [
        ((at("gone", 0), values(["x"])), "topic_not_found"),
        ((at("out", 2), values(["x"])), "partition_not_found"),
        ((at("out", 1), Bytes::new()), "invalid_batch"),
        ((at("out", 1), Bytes::from_static(b"x")), "invalid_batch"),
    ] {
        let mut torn = whole.clone();
        torn.outputs.push(bad);
        assert_eq!(code(log.commit(&tenant(), torn).await), expected);
        assert_eq!(log.recover(&tenant(), PipelineId(7)), Ok(Recovery::default()));
        assert_eq!(everything(log, &at("out", 0)), ["before"]);
        assert_eq!(everything(log, &at("out", 1)), Vec::<String>::new());
    }
    assert_eq!(log.commit(&tenant(), whole).await.unwrap().base_offsets, [1, 0, 3]);
    for _ in 0..2 {
        let log = subject.log();
        assert_eq!(everything(log, &at("out", 0)), ["before", "a", "b", "d", "e"]);
        assert_eq!(everything(log, &at("out", 1)), ["c"]);
        let recovery = log.recover(&tenant(), PipelineId(7)).unwrap();
        let expected = Recovery {
            sequence: 1,
            positions: [(at("in", 0), 5)].into(),
            blocks: vec![Bytes::from_static(b"delta")],
            usage: Bytes::from_static(b"usage"),
        };
        assert_eq!(recovery, expected);
        subject.reopen();
    }
}

pub(crate) async fn of_two_writers_of_a_pipeline_one_loses(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    let with_output =
        |sequence, value: &str| Commit { outputs: vec![(at("out", 0), values([value]))], ..commit(7, sequence) };
    let first = subject.log().commit(&tenant(), with_output(1, "one"));
    let second = subject.log().commit(&tenant(), with_output(1, "other"));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.unwrap().base_offsets, [0]);
    assert_eq!(second, Err(Error::CommitConflict { pipeline: PipelineId(7), sequence: 1, last: 1 }));
    subject.reopen();
    for sequence in [0, 1, 3, u64::MAX] {
        assert_eq!(code(subject.log().commit(&tenant(), with_output(sequence, "x")).await), "commit_conflict");
    }
    subject.log().commit(&tenant(), with_output(2, "two")).await.unwrap();
    assert_eq!(code(subject.log().commit(&tenant(), commit(8, 2)).await), "commit_conflict");
    assert_eq!(everything(subject.log(), &at("out", 0)), ["one", "two"]);
}

pub(crate) async fn a_pipeline_recovers_from_its_base_and_the_deltas_after_it(subject: &mut dyn Subject) {
    let delta = |text: &'static str| Block::Delta(Bytes::from_static(text.as_bytes()));
    let base = |text: &'static str| Block::Base(Bytes::from_static(text.as_bytes()));
    let steps: [(Block, &[&str]); 8] = [
        (Block::None, &[]),
        (delta("d2"), &["d2"]),
        (Block::None, &["d2"]),
        (delta("d4"), &["d2", "d4"]),
        (base("b5"), &["b5"]),
        (delta(""), &["b5", ""]),
        (base("b7"), &["b7"]),
        (base("b8"), &["b8"]),
    ];
    for (sequence, (block, expected)) in (1..).zip(steps) {
        let positions = vec![(at("in", 0), sequence * 10), (at("in", sequence as u32), 1)];
        let usage = Bytes::from(sequence.to_string());
        let step = Commit { block, positions, usage: usage.clone(), ..commit(7, sequence) };
        subject.log().commit(&tenant(), step).await.unwrap();
        subject.reopen();
        let recovery = subject.log().recover(&tenant(), PipelineId(7)).unwrap();
        assert_eq!((recovery.sequence, recovery.usage), (sequence, usage));
        assert_eq!(recovery.blocks, expected);
        assert_eq!(recovery.positions.len() as u64, sequence + 1);
        assert_eq!(recovery.positions[&at("in", 0)], sequence * 10);
    }
    assert_eq!(subject.log().recover(&tenant(), PipelineId(6)), Ok(Recovery::default()));
}

pub(crate) async fn a_forgotten_pipeline_begins_anew_and_its_outputs_stay(subject: &mut dyn Subject) {
    make(subject.log(), "out", 1);
    for pipeline in [7, 8] {
        let full = Commit {
            positions: vec![(at("in", 0), 3)],
            outputs: vec![(at("out", 0), values([pipeline.to_string()]))],
            block: Block::Delta(Bytes::from_static(b"state")),
            ..commit(pipeline, 1)
        };
        subject.log().commit(&tenant(), full).await.unwrap();
    }
    subject.log().forget(&tenant(), PipelineId(7)).unwrap();
    subject.log().forget(&tenant(), PipelineId(7)).unwrap();
    subject.reopen();
    assert_eq!(subject.log().recover(&tenant(), PipelineId(7)), Ok(Recovery::default()));
    assert_eq!(subject.log().recover(&tenant(), PipelineId(8)).unwrap().sequence, 1);
    assert_eq!(everything(subject.log(), &at("out", 0)), ["7", "8"]);
    subject.log().commit(&tenant(), commit(7, 1)).await.unwrap();
    assert_eq!(subject.log().recover(&tenant(), PipelineId(7)).unwrap().blocks, Vec::<Bytes>::new());
}

pub(crate) async fn a_topic_is_made_once(subject: &mut dyn Subject) {
    let config = TopicConfig {
        partitions: 3,
        retention: Some(Duration::from_nanos(1_500_000_001)),
        retention_bytes: Some(u64::MAX),
    };
    subject.log().create_topic(&tenant(), &topic("t"), config.clone()).unwrap();
    subject.reopen();
    let log = subject.log();
    log.create_topic(&tenant(), &topic("t"), config.clone()).unwrap();
    let other = TopicConfig::with_partitions(3);
    assert_eq!(code(log.create_topic(&tenant(), &topic("t"), other)), "topic_conflict");
    for partitions in [0, super::PARTITIONS_MAX + 1] {
        let config = TopicConfig::with_partitions(partitions);
        assert_eq!(code(log.create_topic(&tenant(), &topic("u"), config)), "invalid_topic");
    }
    let topics = log.topics(&tenant()).unwrap();
    assert_eq!(topics.keys().collect::<Vec<_>>(), [&topic("t")]);
    assert_eq!(topics[&topic("t")].config, config);
    assert_eq!(topics[&topic("t")].partitions.len(), 3);
}

pub(crate) async fn a_topic_made_again_has_no_old_records(subject: &mut dyn Subject) {
    make(subject.log(), "t", 1);
    make(subject.log(), "u", 1);
    append(subject.log(), &at("t", 0), sent(9, 3, 0, 2)).await.unwrap();
    append(subject.log(), &at("u", 0), values(["kept"])).await.unwrap();
    let mut watch = subject.log().watch(&tenant(), &topic("t")).unwrap();
    watch.mark_unchanged();
    subject.log().delete_topic(&tenant(), &topic("t")).unwrap();
    assert!(watch.changed().await.is_err(), "the watch ends with the topic");
    assert_eq!(code(subject.log().delete_topic(&tenant(), &topic("t"))), "topic_not_found");
    assert_eq!(code(append(subject.log(), &at("t", 0), values(["x"])).await), "topic_not_found");
    assert_eq!(code(subject.log().watch(&tenant(), &topic("t"))), "topic_not_found");
    for _ in 0..2 {
        subject.reopen();
        make(subject.log(), "t", 1);
        assert_eq!(everything(subject.log(), &at("t", 0)), Vec::<String>::new());
    }
    // Nor does it know the producers of the old.
    assert_eq!(append(subject.log(), &at("t", 0), sent(9, 0, 0, 1)).await, Ok((0, 1, false)));
    assert_eq!(everything(subject.log(), &at("u", 0)), ["kept"]);
}

pub(crate) async fn tenants_do_not_see_each_other(subject: &mut dyn Subject) {
    let other: TenantId = "acme-2".parse().unwrap();
    make(subject.log(), "t", 1);
    append(subject.log(), &at("t", 0), values(["ours"])).await.unwrap();
    subject.log().commit(&tenant(), commit(7, 1)).await.unwrap();
    let log = subject.log();
    assert!(log.topics(&other).unwrap().is_empty());
    assert_eq!(code(log.read(&other, &at("t", 0), 0, 100)), "topic_not_found");
    assert_eq!(code(log.append(&other, &at("t", 0), values(["theirs"])).await), "topic_not_found");
    assert_eq!(code(log.delete_topic(&other, &topic("t"))), "topic_not_found");
    assert_eq!(code(log.watch(&other, &topic("t"))), "topic_not_found");
    let output = Commit { outputs: vec![(at("t", 0), values(["theirs"]))], ..commit(7, 1) };
    assert_eq!(code(log.commit(&other, output).await), "topic_not_found");
    assert_eq!(log.recover(&other, PipelineId(7)), Ok(Recovery::default()));
    log.forget(&other, PipelineId(7)).unwrap();
    log.create_topic(&other, &topic("t"), TopicConfig::with_partitions(1)).unwrap();
    log.append(&other, &at("t", 0), values(["theirs", "too"])).await.unwrap();
    log.commit(&other, commit(7, 1)).await.unwrap();
    subject.reopen();
    let log = subject.log();
    assert_eq!(everything(log, &at("t", 0)), ["ours"]);
    assert_eq!(log.topics(&other).unwrap()[&topic("t")].partitions[0].end, 2);
    log.delete_topic(&other, &topic("t")).unwrap();
    assert_eq!(everything(log, &at("t", 0)), ["ours"]);
    assert_eq!(log.recover(&tenant(), PipelineId(7)).unwrap().sequence, 1);
}

pub(crate) async fn retention_by_size_removes_whole_old_batches(subject: &mut dyn Subject) {
    let one = values(["aa", "bb"]);
    let config = TopicConfig { retention_bytes: Some(2 * one.len() as u64 + 1), ..TopicConfig::with_partitions(2) };
    subject.log().create_topic(&tenant(), &topic("t"), config).unwrap();
    for _ in 0..5 {
        append(subject.log(), &at("t", 1), one.clone()).await.unwrap();
    }
    append(subject.log(), &at("t", 0), values([vec![b'x'; 1000]])).await.unwrap();
    assert_eq!(subject.log().enforce_retention(0), Ok(3));
    assert_eq!(subject.log().enforce_retention(0), Ok(0));
    for _ in 0..2 {
        let log = subject.log();
        let info = log.topics(&tenant()).unwrap()[&topic("t")].partitions[1];
        assert_eq!((info.start, info.end, info.bytes), (6, 10, 2 * one.len() as u64));
        let trimmed = Error::OffsetOutOfRange { at: at("t", 1), offset: 5, start: 6, end: 10 };
        assert_eq!(log.read(&tenant(), &at("t", 1), 5, 100), Err(trimmed));
        assert_eq!(everything(log, &at("t", 1)).len(), 4);
        // Too large, but the newest.
        assert_eq!(everything(log, &at("t", 0)).len(), 1);
        subject.reopen();
    }
    assert_eq!(append(subject.log(), &at("t", 1), one.clone()).await, Ok((10, 12, false)));
}

pub(crate) async fn retention_by_time_never_removes_the_newest(subject: &mut dyn Subject) {
    let config = TopicConfig { retention: Some(Duration::from_millis(100)), ..TopicConfig::with_partitions(1) };
    subject.log().create_topic(&tenant(), &topic("t"), config).unwrap();
    for timestamp in [10, 50, 20, 90] {
        append(subject.log(), &at("t", 0), stamped([(0, "old"), (timestamp, "new")], None)).await.unwrap();
    }
    for (now, gone, start) in [(110, 0, 0), (111, 1, 2), (150, 0, 2), (151, 2, 6), (i64::MAX, 0, 6)] {
        assert_eq!(subject.log().enforce_retention(now), Ok(gone), "at {now}");
        subject.reopen();
        let info = subject.log().topics(&tenant()).unwrap()[&topic("t")].partitions[0];
        assert_eq!((info.start, info.end), (start, 8), "at {now}");
    }
    assert_eq!(everything(subject.log(), &at("t", 0)), ["old", "new"]);
}

pub(crate) async fn a_producer_is_known_as_long_as_its_last_batch(subject: &mut dyn Subject) {
    let config = TopicConfig { retention_bytes: Some(1), ..TopicConfig::with_partitions(1) };
    subject.log().create_topic(&tenant(), &topic("t"), config).unwrap();
    let at = at("t", 0);
    append(subject.log(), &at, sent(1, 0, 0, 1)).await.unwrap();
    append(subject.log(), &at, sent(2, 0, 0, 1)).await.unwrap();
    assert_eq!(subject.log().enforce_retention(0), Ok(1));
    for _ in 0..2 {
        assert_eq!(append(subject.log(), &at, sent(2, 0, 0, 1)).await, Ok((1, 2, true)));
        subject.reopen();
    }
    assert_eq!(append(subject.log(), &at, sent(1, 0, 40, 1)).await, Ok((2, 3, false)), "it may begin anywhere");
}

pub(crate) async fn watchers_wake_when_records_become_visible(subject: &mut dyn Subject) {
    let log = subject.log();
    make(log, "t", 1);
    make(log, "u", 1);
    let mut watch = log.watch(&tenant(), &topic("t")).unwrap();
    let other = log.watch(&tenant(), &topic("u")).unwrap();
    for sequence in 1..4 {
        let output = Commit { outputs: vec![(at("t", 0), values(["c"]))], ..commit(7, sequence) };
        let before = everything(log, &at("t", 0)).len();
        let woken = async {
            watch.changed().await.unwrap();
            assert!(everything(log, &at("t", 0)).len() > before, "what it woke for can be read");
        };
        let (_, committed) = tokio::join!(woken, log.commit(&tenant(), output));
        committed.unwrap();
        let (_, appended) =
            tokio::join!(async { watch.changed().await.unwrap() }, log.append(&tenant(), &at("t", 0), values(["a"])));
        appended.unwrap();
    }
    assert!(!other.has_changed().unwrap());
}

fn poll<T>(pending: &mut Pending<T>) -> Poll<Result<T>> {
    pin!(pending).poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) async fn writes_take_effect_in_the_order_of_their_first_polls(subject: &mut dyn Subject) {
    let log = subject.log();
    make(log, "t", 1);
    // Made in one order, polled in the other, awaited in a third.
    let mut writes: Vec<_> =
        (0..8).rev().map(|number: u32| log.append(&tenant(), &at("t", 0), values([number.to_string()]))).collect();
    let mut done = Vec::new();
    for write in writes.iter_mut().rev() {
        done.push(poll(write).is_ready());
    }
    for (write, done) in writes.into_iter().zip(done.into_iter().rev()) {
        if !done {
            write.await.unwrap();
        }
    }
    assert_eq!(everything(log, &at("t", 0)), ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

pub(crate) async fn a_dropped_write_is_there_whole_or_not_at_all(subject: &mut dyn Subject) {
    make(subject.log(), "t", 1);
    make(subject.log(), "u", 1);
    drop(subject.log().append(&tenant(), &at("t", 0), values(["never polled"])));
    for sequence in 1..20 {
        let last = subject.log().recover(&tenant(), PipelineId(7)).unwrap().sequence;
        let outputs = vec![(at("t", 0), values(["t"])), (at("u", 0), values(["u"]))];
        let mut dropped = subject.log().commit(&tenant(), Commit { outputs, ..commit(7, last + 1) });
        let _ = poll(&mut dropped);
        drop(dropped);
        // What follows shows what became of it.
        subject.log().commit(&tenant(), commit(8, sequence)).await.unwrap();
        let committed = subject.log().recover(&tenant(), PipelineId(7)).unwrap().sequence as usize;
        assert_eq!(everything(subject.log(), &at("t", 0)), vec!["t"; committed]);
        assert_eq!(everything(subject.log(), &at("u", 0)), vec!["u"; committed]);
    }
}
