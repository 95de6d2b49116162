//! Where a time is found.

use super::*;
use crate::ids::default_tenant;
use crate::log::batch::EncodeOptions;
use crate::log::memory::MemoryLog;
use crate::log::{Cleanup, RecordLog as _, TopicAdmin as _, TopicConfig};

/// A log with a topic of one partition that has batches of these keys and times.
async fn log_with(batches: &[&[(&str, i64)]], cleanup: Cleanup) -> (MemoryLog, TopicPartition) {
    let (log, at) = (MemoryLog::default(), TopicPartition { topic: "in".parse().expect("a name"), partition: 0 });
    let config = TopicConfig { cleanup, ..TopicConfig::with_partitions(1) };
    log.create_topic(&default_tenant(), &at.topic, config).await.expect("made");
    for batch in batches {
        let mut rows = Batch::default();
        batch.iter().for_each(|&(key, time)| rows.push(time, Some(key.as_bytes()), Some(b"x")));
        let batches = batch::encode(rows.view(), &EncodeOptions::default());
        log.append(&default_tenant(), &at, batches).await.expect("appended");
    }
    (log, at)
}

async fn info(log: &MemoryLog, at: &TopicPartition) -> PartitionInfo {
    log.topics(&default_tenant()).await.expect("topics")[&at.topic].partitions[0]
}

/// Where times are found, whatever is read at once: a batch that is larger is read whole.
async fn found(log: &MemoryLog, at: &TopicPartition, times: &[i64]) -> Vec<Offset> {
    let (tenant, mut found) = (&default_tenant(), Vec::new());
    let info = info(log, at).await;
    for &time in times {
        let search = |read_bytes| first_at(log, tenant, at, info, time, read_bytes);
        found.push(search(READ_BYTES).await.expect("the log is well"));
        assert_eq!(search(1).await.expect("the log is well"), found[found.len() - 1]);
    }
    found
}

#[tokio::test]
async fn a_time_is_found_at_the_first_record_that_is_not_before_it() {
    let batches: [&[_]; 3] =
        [&[("a", 10), ("b", 20), ("c", 15)], &[("a", 12), ("b", 30), ("c", 40)], &[("a", 50), ("b", 5), ("c", 60)]];
    let (log, at) = log_with(&batches, Cleanup::Delete).await;
    let times = [0, 10, 11, 20, 21, 40, 45, 60, 61];
    assert_eq!(found(&log, &at, &times).await, [0, 0, 1, 1, 4, 5, 6, 8, 9]);
}

#[tokio::test]
async fn in_a_compacted_topic_a_time_is_found_at_the_records_offset() {
    // Offsets 0 to 4, of which compaction leaves 3 and 4; then 5 to 9, of which it leaves 5 and 9; then 10.
    let batches: [&[_]; 3] = [
        &[("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5)],
        &[("d", 6), ("e", 7), ("e", 8), ("a", 9), ("e", 10)],
        &[("a", 11)],
    ];
    let (log, at) = log_with(&batches, Cleanup::Compact).await;
    let before = info(&log, &at).await.records;
    log.compact(0).expect("the log is well");
    assert!(info(&log, &at).await.records < before, "nothing was compacted, so there are no gaps");
    assert_eq!(found(&log, &at, &[0, 3, 4, 5, 6, 7, 10, 11, 12]).await, [3, 3, 3, 4, 5, 9, 9, 10, 11]);
}

#[tokio::test]
async fn what_retention_removes_meanwhile_is_passed_over() {
    let (log, at) = log_with(&[&[("a", 1)], &[("b", 2)], &[("c", 3)]], Cleanup::Delete).await;
    let stale = PartitionInfo { start: 0, ..info(&log, &at).await };
    let trimmed = TopicConfig { retention_bytes: Some(1), ..TopicConfig::with_partitions(1) };
    let (shorter, _) = log_with(&[], Cleanup::Delete).await;
    shorter.delete_topic(&default_tenant(), &at.topic).await.expect("deleted");
    shorter.create_topic(&default_tenant(), &at.topic, trimmed).await.expect("made");
    for time in 1..=3 {
        let mut rows = Batch::default();
        rows.push(time, Some(b"a"), Some(b"x"));
        let batches = batch::encode(rows.view(), &EncodeOptions::default());
        shorter.append(&default_tenant(), &at, batches).await.expect("appended");
    }
    assert_eq!(shorter.enforce_retention(100).expect("the log is well"), 2);
    assert_eq!(first_at(&shorter, &default_tenant(), &at, stale, 0, 1).await.expect("it goes on"), 2);
}

#[tokio::test]
async fn a_place_in_a_topic_that_was_made_again_becomes_the_start_of_the_new_one() {
    let log = MemoryLog::default();
    let (tenant, topic) = (default_tenant(), "in".parse::<TopicName>().expect("a name"));
    log.create_topic(&tenant, &topic, TopicConfig::with_partitions(2)).await.expect("made");
    let topics = log.topics(&tenant).await.expect("topics");
    let topic_id = topics[&topic].id;
    let at = |partition| TopicPartition { topic: topic.clone(), partition };
    let stood = Position { topic_id, offset: 7 };
    assert_eq!(present(&topics, at(1), stood), Some((at(1), stood)));
    log.delete_topic(&tenant, &topic).await.expect("it is there");
    log.create_topic(&tenant, &topic, TopicConfig::with_partitions(1)).await.expect("made");
    let topics = log.topics(&tenant).await.expect("topics");
    let start = Position { topic_id: topics[&topic].id, offset: 0 };
    assert_ne!(start.topic_id, topic_id);
    assert_eq!(present(&topics, at(0), stood), Some((at(0), start)));
    assert_eq!(present(&topics, at(1), stood), None, "it has no such partition any more");
}
