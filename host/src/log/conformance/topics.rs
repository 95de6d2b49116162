//! Topics, tenants and retention.

use std::time::Duration;

use super::*;
use crate::log::{Cleanup, PARTITIONS_MAX};

pub(crate) async fn a_topic_is_made_once(subject: &mut dyn Subject) {
    let config = TopicConfig {
        partitions: 3,
        retention: Some(Duration::from_nanos(1_500_000_001)),
        retention_bytes: Some(u64::MAX),
        cleanup: Cleanup::CompactAndDelete,
        tombstone_retention: Some(Duration::from_millis(1)),
    };
    subject.log().create_topic(&tenant(), &topic("t"), config.clone()).await.unwrap();
    subject.reopen();
    let log = subject.log();
    log.create_topic(&tenant(), &topic("t"), config.clone()).await.unwrap();
    let other = TopicConfig::with_partitions(3);
    assert_eq!(code(log.create_topic(&tenant(), &topic("t"), other).await), "topic_conflict");
    for partitions in [0, PARTITIONS_MAX + 1] {
        let config = TopicConfig::with_partitions(partitions);
        assert_eq!(code(log.create_topic(&tenant(), &topic("u"), config).await), "invalid_topic");
    }
    let one = || TopicConfig::with_partitions(1);
    let kept = Some(Duration::from_secs(1));
    for config in [
        TopicConfig { cleanup: Cleanup::Compact, retention: kept, ..one() },
        TopicConfig { cleanup: Cleanup::Compact, retention_bytes: Some(1), ..one() },
        TopicConfig { tombstone_retention: kept, ..one() },
    ] {
        assert_eq!(code(log.create_topic(&tenant(), &topic("u"), config).await), "invalid_topic");
    }
    let topics = log.topics(&tenant()).await.unwrap();
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
    subject.log().delete_topic(&tenant(), &topic("t")).await.unwrap();
    assert!(watch.changed().await.is_err(), "the watch ends with the topic");
    assert_eq!(code(subject.log().delete_topic(&tenant(), &topic("t")).await), "topic_not_found");
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
    let epoch = fence(subject.log(), 7).await;
    subject.log().commit(&tenant(), commit(7, epoch, 1)).await.unwrap();
    let log = subject.log();
    assert!(log.topics(&other).await.unwrap().is_empty());
    assert_eq!(code(log.fetch(&other, &at("t", 0), 0, 100).await), "topic_not_found");
    assert_eq!(code(log.append(&other, &at("t", 0), values(["theirs"])).await), "topic_not_found");
    assert_eq!(code(log.delete_topic(&other, &topic("t")).await), "topic_not_found");
    assert_eq!(code(log.watch(&other, &topic("t"))), "topic_not_found");
    assert_eq!(code(log.commit(&other, commit(7, epoch, 1)).await), "fenced");
    let theirs = log.fence(&other, task(7)).await.unwrap().epoch;
    let output = Commit { outputs: vec![(at("t", 0), values(["theirs"]))], ..commit(7, theirs, 1) };
    assert_eq!(code(log.commit(&other, output).await), "topic_not_found");
    assert_eq!(log.head(&other, task(7)).unwrap().sequence, 0);
    log.forget(&other, task(7)).unwrap();
    assert_eq!(log.recover(&other, task(7)), Ok(empty(7)));
    log.create_topic(&other, &topic("t"), TopicConfig::with_partitions(1)).await.unwrap();
    log.append(&other, &at("t", 0), values(["theirs", "too"])).await.unwrap();
    let theirs = log.fence(&other, task(7)).await.unwrap().epoch;
    log.commit(&other, commit(7, theirs, 1)).await.unwrap();
    subject.reopen();
    let log = subject.log();
    assert_eq!(everything(log, &at("t", 0)), ["ours"]);
    assert_eq!(log.topics(&other).await.unwrap()[&topic("t")].partitions[0].end, 2);
    log.delete_topic(&other, &topic("t")).await.unwrap();
    assert_eq!(everything(log, &at("t", 0)), ["ours"]);
    assert_eq!(log.recover(&tenant(), task(7)).unwrap().head.sequence, 1);
}

pub(crate) async fn retention_by_size_removes_whole_old_batches(subject: &mut dyn Subject) {
    let one = values(["aa", "bb"]);
    let config = TopicConfig { retention_bytes: Some(2 * one.len() as u64 + 1), ..TopicConfig::with_partitions(2) };
    subject.log().create_topic(&tenant(), &topic("t"), config).await.unwrap();
    for _ in 0..5 {
        append(subject.log(), &at("t", 1), one.clone()).await.unwrap();
    }
    append(subject.log(), &at("t", 0), values([vec![b'x'; 1000]])).await.unwrap();
    assert_eq!(subject.enforce_retention(0), Ok(3));
    assert_eq!(subject.enforce_retention(0), Ok(0));
    for _ in 0..2 {
        let log = subject.log();
        let info = log.topics(&tenant()).await.unwrap()[&topic("t")].partitions[1];
        assert_eq!((info.start, info.end, info.bytes), (6, 10, 2 * one.len() as u64));
        let trimmed = Error::OffsetOutOfRange { at: at("t", 1), offset: 5, start: 6, end: 10 };
        assert_eq!(fetch(log, &at("t", 1), 5, 100), Err(trimmed));
        assert_eq!(everything(log, &at("t", 1)).len(), 4);
        // Too large, but the newest.
        assert_eq!(everything(log, &at("t", 0)).len(), 1);
        subject.reopen();
    }
    assert_eq!(append(subject.log(), &at("t", 1), one.clone()).await, Ok((10, 12, false)));
}

pub(crate) async fn retention_by_time_never_removes_the_newest(subject: &mut dyn Subject) {
    let config = TopicConfig { retention: Some(Duration::from_millis(100)), ..TopicConfig::with_partitions(1) };
    subject.log().create_topic(&tenant(), &topic("t"), config).await.unwrap();
    for timestamp in [10, 50, 20, 90] {
        append(subject.log(), &at("t", 0), stamped([(0, "old"), (timestamp, "new")], None)).await.unwrap();
    }
    for (now, gone, start) in [(110, 0, 0), (111, 1, 2), (150, 0, 2), (151, 2, 6), (i64::MAX, 0, 6)] {
        assert_eq!(subject.enforce_retention(now), Ok(gone), "at {now}");
        subject.reopen();
        let info = subject.log().topics(&tenant()).await.unwrap()[&topic("t")].partitions[0];
        assert_eq!((info.start, info.end), (start, 8), "at {now}");
    }
    assert_eq!(everything(subject.log(), &at("t", 0)), ["old", "new"]);
}
