//! Topics that keep the newest record of each key.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::log::Cleanup;
use crate::log::batch::{Header, Offsets};

/// A record as it is read: offset, key and value.
pub(crate) type Keyed = (Offset, String, Option<String>);

/// For how long the topics here keep deletions.
const KEPT_MS: i64 = 100;

pub(crate) fn compacted(partitions: u32) -> TopicConfig {
    let tombstone_retention = Some(Duration::from_millis(KEPT_MS as u64));
    TopicConfig { cleanup: Cleanup::Compact, tombstone_retention, ..TopicConfig::with_partitions(partitions) }
}

/// A batch of these keys and values.
pub(crate) fn keyed(rows: &[(&str, Option<&str>)]) -> Bytes {
    let mut batch = Batch::default();
    for (key, value) in rows {
        batch.push(0, Some(key.as_bytes()), value.map(str::as_bytes));
    }
    batch::encode(batch.view(), &EncodeOptions::default())
}

/// Compacts until nothing is left to do, and answers how many records went.
pub(crate) fn compact(log: &dyn Cleaning, now_ms: i64) -> Result<u64> {
    let mut removed = 0;
    loop {
        let compacted = log.compact(now_ms)?;
        removed += compacted.removed;
        if !compacted.more {
            return Ok(removed);
        }
    }
}

/// All records from an offset on, read `bytes_max` at a time, with everything checked that a read promises.
pub(crate) fn read_keyed(log: &dyn Log, at: &TopicPartition, from: Offset, bytes_max: usize) -> Result<Vec<Keyed>> {
    let (mut rows, mut offsets) = (Batch::default(), Offsets::default());
    let mut next = from;
    loop {
        let fetched = fetch(log, at, next, bytes_max)?;
        assert_eq!(fetched.batches.is_empty(), next == fetched.end, "nothing is given at the end only");
        if fetched.batches.is_empty() {
            break;
        }
        for (place, batch) in fetched.batches.iter().enumerate() {
            let header = batch::verify(batch).unwrap();
            assert!(header.next_offset() > next && (place == 0 || header.base_offset >= next));
            assert!(header.count > 0);
            next = batch::decode_with_offsets(batch, next, false, &mut rows, &mut offsets).unwrap();
        }
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let records = offsets.iter().zip(rows.keys.iter().zip(rows.values.iter()));
    Ok(records.map(|(offset, (key, value))| (offset, text(key.unwrap()), value.map(text))).collect())
}

fn expect(subject: &mut dyn Subject, at: &TopicPartition, expected: &[(Offset, &str, Option<&str>)]) {
    let expected: Vec<Keyed> =
        expected.iter().map(|&(offset, key, value)| (offset, key.to_owned(), value.map(str::to_owned))).collect();
    for _ in 0..2 {
        for bytes_max in [0, usize::MAX] {
            assert_eq!(read_keyed(subject.log(), at, 0, bytes_max).as_ref(), Ok(&expected));
        }
        let info = now(subject.log().topics(&tenant())).unwrap()[&at.topic].partitions[at.partition as usize];
        let stored = fetch(subject.log(), at, info.start, usize::MAX).unwrap();
        assert_eq!(info.records, expected.len() as u64);
        assert_eq!(info.bytes, stored.batches.iter().map(|batch| batch.len() as u64).sum::<u64>());
        subject.reopen();
    }
}

/// Two partitions; the second one has two batches of two records, one of one and a newest one, eight records in all.
async fn filled(subject: &mut dyn Subject) -> TopicPartition {
    subject.log().create_topic(&tenant(), &topic("t"), compacted(2)).await.unwrap();
    let at = at("t", 1);
    for rows in [
        &[("a", Some("0")), ("b", Some("1"))][..],
        &[("a", Some("2")), ("c", Some("3"))],
        &[("b", Some("4"))],
        &[("a", Some("5")), ("d", Some("6")), ("d", Some("7"))],
    ] {
        append(subject.log(), &at, keyed(rows)).await.unwrap();
    }
    at
}

pub(crate) async fn compaction_keeps_the_newest_record_of_each_key_at_its_offset(subject: &mut dyn Subject) {
    let at = filled(subject).await;
    assert_eq!(compact(subject, 0), Ok(3));
    // The newest batch stays as it is, two records of a key and all.
    let left =
        [(3, "c", Some("3")), (4, "b", Some("4")), (5, "a", Some("5")), (6, "d", Some("6")), (7, "d", Some("7"))];
    expect(subject, &at, &left);
    assert_eq!(compact(subject, 0), Ok(0), "nothing is new");
    // It is no longer the newest now.
    assert_eq!(append(subject.log(), &at, keyed(&[("e", Some("8"))])).await, Ok((8, 9, false)));
    assert_eq!(append(subject.log(), &at, keyed(&[("b", Some("9"))])).await, Ok((9, 10, false)));
    assert_eq!(compact(subject, 0), Ok(2));
    let left =
        [(3, "c", Some("3")), (5, "a", Some("5")), (7, "d", Some("7")), (8, "e", Some("8")), (9, "b", Some("9"))];
    expect(subject, &at, &left);
    let info = subject.log().topics(&tenant()).await.unwrap()[&at.topic].partitions[1];
    assert_eq!((info.start, info.end, info.records), (0, 10, 5));
}

pub(crate) async fn a_read_from_a_gap_gives_what_is_behind_it(subject: &mut dyn Subject) {
    let at = filled(subject).await;
    compact(subject, 0).unwrap();
    for _ in 0..2 {
        // Batch 0 is gone; of the second, which covers 2 and 3, the first record is.
        let all = read_keyed(subject.log(), &at, 0, usize::MAX).unwrap();
        for from in 0..=8 {
            let behind: Vec<_> = all.iter().filter(|(offset, ..)| *offset >= from).cloned().collect();
            assert_eq!(read_keyed(subject.log(), &at, from, 0).as_ref(), Ok(&behind), "from {from}");
        }
        let first = fetch(subject.log(), &at, 0, 0).unwrap();
        let header = Header::parse(&first.batches[0]).unwrap();
        assert_eq!((first.start, header.base_offset, header.next_offset(), header.count), (0, 2, 4, 1));
        assert_eq!(code(fetch(subject.log(), &at, 9, 100)), "offset_out_of_range");
        subject.reopen();
    }
    // A batch may end in a gap, and hold nothing of what is asked for.
    let at = self::at("t", 0);
    append(subject.log(), &at, keyed(&[("a", Some("0")), ("b", Some("1")), ("c", Some("2"))])).await.unwrap();
    append(subject.log(), &at, keyed(&[("b", Some("3")), ("c", Some("4"))])).await.unwrap();
    append(subject.log(), &at, keyed(&[("d", Some("5"))])).await.unwrap();
    compact(subject, 0).unwrap();
    let behind = [(3, "b", Some("3")), (4, "c", Some("4")), (5, "d", Some("5"))];
    let behind: Vec<Keyed> = behind.map(|(offset, key, value)| (offset, key.into(), value.map(Into::into))).into();
    for from in [1, 2] {
        assert_eq!(read_keyed(subject.log(), &at, from, 0).as_ref(), Ok(&behind), "from {from}");
    }
}

pub(crate) async fn deletions_are_kept_for_their_time_and_then_go(subject: &mut dyn Subject) {
    subject.log().create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    let at = at("t", 0);
    for rows in [
        &[("a", Some("0")), ("b", Some("1"))][..],
        &[("a", None), ("c", Some("3"))],
        &[("b", None)],
        &[("d", Some("5"))],
    ] {
        append(subject.log(), &at, keyed(rows)).await.unwrap();
    }
    // The time begins when compaction meets them, whatever their timestamps are.
    assert_eq!(compact(subject, 1000), Ok(2));
    let kept = [(2, "a", None), (3, "c", Some("3")), (4, "b", None), (5, "d", Some("5"))];
    expect(subject, &at, &kept);
    assert_eq!(compact(subject, 1000 + KEPT_MS - 1), Ok(0));
    expect(subject, &at, &kept);
    assert_eq!(compact(subject, 1000 + KEPT_MS), Ok(2));
    expect(subject, &at, &[(3, "c", Some("3")), (5, "d", Some("5"))]);
    // A key may come again, and a deletion of nothing goes too.
    for rows in [[("a", Some("6"))], [("x", None)], [("y", Some("8"))]] {
        append(subject.log(), &at, keyed(&rows)).await.unwrap();
    }
    assert_eq!(compact(subject, 2000), Ok(0));
    assert_eq!(compact(subject, 3000), Ok(1));
    let kept = [(3, "c", Some("3")), (5, "d", Some("5")), (6, "a", Some("6")), (8, "y", Some("8"))];
    expect(subject, &at, &kept);
}

pub(crate) async fn compaction_waits_until_half_of_the_bytes_are_new(subject: &mut dyn Subject) {
    subject.log().create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    let at = at("t", 0);
    let large = "x".repeat(10_000);
    append(subject.log(), &at, keyed(&[("a", Some("0")), ("b", Some(&large))])).await.unwrap();
    append(subject.log(), &at, keyed(&[("a", Some("2"))])).await.unwrap();
    append(subject.log(), &at, keyed(&[("c", Some("3"))])).await.unwrap();
    assert_eq!(compact(subject, 0), Ok(1), "all was new");
    append(subject.log(), &at, keyed(&[("a", Some("4"))])).await.unwrap();
    append(subject.log(), &at, keyed(&[("c", Some("5"))])).await.unwrap();
    for _ in 0..2 {
        assert_eq!(compact(subject, 0), Ok(0), "too little is new");
        subject.reopen();
    }
    append(subject.log(), &at, keyed(&[("d", Some(&large))])).await.unwrap();
    assert_eq!(compact(subject, 0), Ok(2));
}

pub(crate) async fn other_topics_are_not_compacted(subject: &mut dyn Subject) {
    make(subject.log(), "t", 1);
    let at = at("t", 0);
    for value in ["0", "1", "2"] {
        append(subject.log(), &at, keyed(&[("a", Some(value))])).await.unwrap();
    }
    assert_eq!(compact(subject, i64::MAX), Ok(0));
    expect(subject, &at, &[(0, "a", Some("0")), (1, "a", Some("1")), (2, "a", Some("2"))]);
}

pub(crate) async fn a_record_without_a_key_is_refused_where_topics_are_compacted(subject: &mut dyn Subject) {
    subject.log().create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    make(subject.log(), "u", 1);
    let (log, at) = (subject.log(), at("t", 0));
    let mut rows = Batch::default();
    rows.push(0, Some(b"k"), None);
    // An empty key is one.
    rows.push(0, Some(b""), Some(b"v"));
    append(log, &at, batch::encode(rows.view(), &EncodeOptions::default())).await.unwrap();
    rows.push(0, None, Some(b"v"));
    let bad = batch::encode(rows.view(), &EncodeOptions::default());
    let epoch = fence(log, 7).await;
    let refused = Error::KeyRequired { at: at.clone(), index: 2 };
    let run = run(&[keyed(&[("k", None)]), bad.clone()]);
    assert_eq!(append(log, &at, run).await, Err(refused.clone()));
    let commit =
        Commit { outputs: vec![(self::at("u", 0), bad.clone()), (at.clone(), bad.clone())], ..commit(7, epoch, 1) };
    assert_eq!(log.commit(&tenant(), commit).await, Err(refused));
    assert_eq!(log.head(&tenant(), task(7)).unwrap().sequence, 0);
    append(log, &self::at("u", 0), bad).await.unwrap();
    expect(subject, &at, &[(0, "k", None), (1, "", Some("v"))]);
}

pub(crate) async fn a_batch_that_a_broker_compacted_is_refused(subject: &mut dyn Subject) {
    make(subject.log(), "t", 1);
    let rows = keyed(&[("a", Some("0")), ("b", None), ("c", Some("2"))]);
    let with_gap = batch::retain(&rows, 9, |seen| seen.offset != 1).unwrap();
    let with_horizon = batch::retain(&rows, 9, |_| true).unwrap();
    for (retained, removed) in [(with_gap, 1), (with_horizon, 0)] {
        let batch::Change::Rewritten(bytes) = retained.change else { panic!("{retained:?}") };
        assert_eq!(retained.removed, removed);
        assert_eq!(code(append(subject.log(), &at("t", 0), bytes.clone()).await), "invalid_batch");
        let epoch = fence(subject.log(), 7).await;
        let commit = Commit { outputs: vec![(at("t", 0), bytes)], ..commit(7, epoch, 1) };
        assert_eq!(code(subject.log().commit(&tenant(), commit).await), "invalid_batch");
    }
}

pub(crate) async fn a_compacted_batch_keeps_all_that_its_records_have(subject: &mut dyn Subject) {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    subject.log().create_topic(&tenant(), &topic("t"), compacted(codecs.len() as u32)).await.unwrap();
    let mut rows = Batch::default();
    for (number, key) in ["gone", "kept", "deleted", "kept too"].into_iter().enumerate() {
        let value = (key != "deleted").then(|| key.repeat(100));
        rows.push(50 - number as i64, Some(key.as_bytes()), value.as_deref().map(str::as_bytes));
        rows.headers.push_row([(&b"h"[..], Some(key.as_bytes())), (b"i", None)]);
    }
    for (partition, compression) in (0..).zip(codecs) {
        let at = at("t", partition);
        append(subject.log(), &at, keyed(&[("before", None)])).await.unwrap();
        let batch = batch::encode(rows.view(), &EncodeOptions { compression, producer: None });
        append(subject.log(), &at, batch).await.unwrap();
        append(subject.log(), &at, keyed(&[("gone", Some("0"))])).await.unwrap();
        append(subject.log(), &at, keyed(&[("other", Some("0"))])).await.unwrap();
        compact(subject, 1_000_000).unwrap();
        let fetched = fetch(subject.log(), &at, 0, usize::MAX).unwrap();
        let (mut left, mut offsets) = (Batch::default(), Offsets::default());
        let rewritten = fetched.batches.iter().find(|batch| Header::parse(batch).unwrap().count == 3).unwrap();
        let header = batch::validate(rewritten, &batch::Limits::default()).unwrap();
        batch::decode_with_offsets(rewritten, 0, true, &mut left, &mut offsets).unwrap();
        let (_, expected) = rows.view().split_at(1);
        assert_eq!(left, expected.to_owned(), "{compression}");
        let base = header.base_offset;
        assert_eq!(offsets.iter().collect::<Vec<_>>(), [base + 1, base + 2, base + 3]);
        assert_eq!((header.compression, header.max_timestamp, header.offsets), (compression, 49, 4));
        assert_eq!(header.delete_horizon, Some(1_000_000 + KEPT_MS));
        subject.reopen();
    }
}

pub(crate) async fn a_producer_is_known_though_its_records_were_compacted(subject: &mut dyn Subject) {
    subject.log().create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    let at = at("t", 0);
    let mut rows = Batch::default();
    rows.push(0, Some(b"a"), Some(b"0"));
    let producer = Some(Producer { id: 9, epoch: 0, base_sequence: 0 });
    let sent = batch::encode(rows.view(), &EncodeOptions { compression: Compression::None, producer });
    append(subject.log(), &at, sent.clone()).await.unwrap();
    for value in ["1", "2"] {
        append(subject.log(), &at, keyed(&[("a", Some(value))])).await.unwrap();
    }
    assert_eq!(compact(subject, 0), Ok(2));
    subject.reopen();
    assert_eq!(append(subject.log(), &at, sent).await, Ok((0, 1, true)));
    expect(subject, &at, &[(2, "a", Some("2"))]);
}

pub(crate) async fn retention_removes_compacted_batches_too(subject: &mut dyn Subject) {
    let one = keyed(&[("a", Some("0")), ("b", Some("0"))]);
    let config =
        TopicConfig { cleanup: Cleanup::CompactAndDelete, retention_bytes: Some(2 * one.len() as u64), ..compacted(1) };
    subject.log().create_topic(&tenant(), &topic("t"), config).await.unwrap();
    let at = at("t", 0);
    append(subject.log(), &at, one.clone()).await.unwrap();
    for rows in [[("c", Some("2")), ("a", Some("3"))], [("d", Some("4")), ("c", Some("5"))]] {
        append(subject.log(), &at, keyed(&rows)).await.unwrap();
    }
    append(subject.log(), &at, keyed(&[("e", Some("6"))])).await.unwrap();
    assert_eq!(compact(subject, 0), Ok(2));
    assert_eq!(subject.enforce_retention(0), Ok(2));
    let info = |log: &dyn Log| now(log.topics(&tenant())).unwrap()[&topic("t")].partitions[0];
    for _ in 0..2 {
        let info = info(subject.log());
        assert_eq!((info.start, info.end, info.records), (4, 7, 3));
        let left = read_keyed(subject.log(), &at, 4, 0).unwrap();
        let keys: Vec<_> = left.iter().map(|(offset, key, _)| (*offset, key.as_str())).collect();
        assert_eq!(keys, [(4, "d"), (5, "c"), (6, "e")]);
        assert_eq!(code(fetch(subject.log(), &at, 3, 100)), "offset_out_of_range");
        subject.reopen();
    }
    assert_eq!(append(subject.log(), &at, one).await, Ok((7, 9, false)));
}

/// What is done to a compacted partition, for [`holds_against_a_naive_model`].
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Appends keys, each with a value or a deletion.
    Append(Vec<(u8, bool)>),
    /// Lets this much time pass and does one piece of compaction.
    Compact(i64),
    /// Closes the log and opens it again.
    Reopen,
}

/// Does the steps, and after each reads from everywhere. The model keeps all that was ever appended, and says of what is
/// read: a record is as it was appended, at its offset, in order; the last one of a key is the newest of that key, unless
/// that was a deletion which has been kept for its time, and then there is none of the key at all.
pub(crate) async fn holds_against_a_naive_model(subject: &mut dyn Subject, steps: &[Step]) {
    subject.log().create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    let at = at("t", 0);
    let mut now_ms = 0;
    let mut appended: Vec<(String, Option<String>, i64)> = Vec::new();
    for step in steps {
        match step {
            Step::Append(rows) => {
                let base = appended.len();
                for (number, (key, is_deletion)) in rows.iter().enumerate() {
                    let value = (!is_deletion).then(|| (base + number).to_string());
                    appended.push((key.to_string(), value, now_ms));
                }
                let rows: Vec<_> =
                    appended[base..].iter().map(|(key, value, _)| (key.as_str(), value.as_deref())).collect();
                append(subject.log(), &at, keyed(&rows)).await.unwrap();
            }
            Step::Compact(passed_ms) => {
                now_ms += passed_ms;
                subject.compact(now_ms).unwrap();
            }
            Step::Reopen => subject.reopen(),
        }
        let mut newest: BTreeMap<&str, (Offset, bool, i64)> = BTreeMap::new();
        for (offset, (key, value, at_ms)) in (0..).zip(&appended) {
            newest.insert(key, (offset, value.is_none(), *at_ms));
        }
        let info = subject.log().topics(&tenant()).await.unwrap()[&topic("t")].partitions[0];
        assert_eq!((info.start, info.end), (0, appended.len() as u64));
        for from in 0..=info.end {
            let read = read_keyed(subject.log(), &at, from, if from % 2 == 0 { 0 } else { usize::MAX }).unwrap();
            assert!(read.iter().all(|(offset, ..)| *offset >= from) && read.is_sorted_by(|a, b| a.0 < b.0));
            for (offset, key, value) in &read {
                let (appended_key, appended_value, _) = &appended[*offset as usize];
                assert_eq!((key, value), (appended_key, appended_value), "at {offset}");
            }
            for (&key, &(offset, is_deletion, at_ms)) in newest.iter().filter(|(_, newest)| newest.0 >= from) {
                match read.iter().rev().find(|(_, read, _)| read == key) {
                    Some((last, ..)) => assert_eq!(*last, offset, "the last record of key {key} from {from} on"),
                    None => assert!(is_deletion && now_ms >= at_ms + KEPT_MS, "key {key} is lost from {from} on"),
                }
            }
            if from == 0 {
                assert_eq!(info.records, read.len() as u64);
            }
        }
    }
}
