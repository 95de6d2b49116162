//! Stored bytes that are not what was written, and folders that are not free.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::format::{BlockFront, Sealer};
use super::super::keys::{Entry, Key};
use super::*;
use crate::ids::{TaskId, TopicId};
use crate::log::conformance::{at, commit, fence, fetch, now, place, read_all, task, tenant, topic, values};
use crate::log::{Block, Commit};

/// A topic of five batches, a pipeline of a base and two deltas, all on the disk alone.
async fn filled() -> Reopening {
    let subject = Reopening::with_tail(0);
    let log = subject.log();
    log.create_topic(&tenant(), &topic("t"), TopicConfig::with_partitions(1)).await.unwrap();
    for number in 0..5 {
        log.append(&tenant(), &at("t", 0), values([number.to_string()])).await.unwrap();
    }
    let epoch = fence(log, 7).await;
    let blocks = [&b"base"[..], b"delta", b"more"].map(Bytes::from_static);
    for (sequence, bytes) in (1..).zip(blocks) {
        let block = Block::Some { bytes, oldest: 1 };
        let positions = vec![(at("t", 0), place(1, sequence))];
        log.commit(&tenant(), Commit { block, positions, ..commit(7, epoch, sequence) }).await.unwrap();
    }
    subject
}

/// Changes what is stored under a key, behind the log's back: `None` removes it.
fn change(subject: &mut Reopening, entry: Entry, change: impl Fn(Vec<u8>) -> Option<Vec<u8>>) -> Key {
    let key = entry.of(&tenant());
    let store = &subject.log.as_ref().unwrap().shared.store;
    let value = store.get(&key).unwrap().unwrap();
    let handle = store.handle(key.entry.family());
    match change(value) {
        Some(value) => store.database().put_cf(handle, key.bytes(), value).unwrap(),
        None => store.database().delete_cf(handle, key.bytes()).unwrap(),
    }
    key
}

fn flip_last(mut value: Vec<u8>) -> Option<Vec<u8>> {
    *value.last_mut().unwrap() ^= 4;
    Some(value)
}

fn corrupt<T: std::fmt::Debug>(result: Result<T>) -> String {
    match result {
        Err(Error::Corrupt { what, reason }) => format!("{what}: {reason}"),
        other => panic!("{other:?}"),
    }
}

const BATCH: fn(Offset) -> Entry = |base| Entry::Batch { topic: TopicId(1), partition: 0, base };
const TASK: TaskId = task(7);
/// Where a record batch has the epoch of the partition's leader.
const LEADER_EPOCH: std::ops::Range<usize> = 12..16;

#[tokio::test]
async fn a_flipped_bit_in_a_batch_is_named_and_what_is_before_it_is_read() {
    let mut subject = filled().await;
    change(&mut subject, BATCH(3), flip_last);
    subject.reopen();
    let log = subject.log();
    assert_eq!(fetch(log, &at("t", 0), 0, usize::MAX).unwrap().batches.len(), 3);
    let error = corrupt(fetch(log, &at("t", 0), 3, usize::MAX));
    assert!(error.starts_with("batch of `t/0` at offset 3: its CRC is 0x"), "{error}");
    assert_eq!(read_all(log, &at("t", 0), 4, usize::MAX).unwrap(), ["4"]);
    // The server lives.
    log.append(&tenant(), &at("t", 0), values(["5"])).await.unwrap();
}

#[tokio::test]
async fn a_missing_or_misplaced_batch_is_named() {
    let mut subject = filled().await;
    let other = subject.log.as_ref().unwrap().shared.store.get(&BATCH(1).of(&tenant())).unwrap();
    change(&mut subject, BATCH(2), |_| None);
    change(&mut subject, BATCH(4), |_| other.clone());
    let read = |from| fetch(subject.log(), &at("t", 0), from, usize::MAX);
    assert_eq!(corrupt(read(2)), "batch of `t/0` at offset 2: it is missing");
    assert_eq!(read(0).unwrap().batches.len(), 2);
    assert_eq!(corrupt(read(4)), "batch of `t/0` at offset 4: it was written for another offset");
}

#[tokio::test]
async fn a_flipped_bit_in_what_a_pipeline_left_is_named() {
    for entry in [
        Entry::Epoch { task: TASK },
        Entry::Task { task: TASK },
        Entry::Position { task: TASK, topic: topic("t"), partition: 0 },
        Entry::Oldest { task: TASK },
        Entry::Block { task: TASK, sequence: 1 },
        Entry::Block { task: TASK, sequence: 3 },
    ] {
        let mut subject = filled().await;
        let key = change(&mut subject, entry, flip_last);
        subject.reopen();
        let expected = format!("{key}: its checksum is not that of its bytes");
        assert_eq!(corrupt(subject.log().recover(&tenant(), TASK)), expected);
    }
}

#[tokio::test]
async fn what_is_cut_off_or_changed_is_named_wherever_it_is() {
    let mut subject = filled().await;
    for entry in [
        BATCH(3),
        Entry::Task { task: TASK },
        Entry::Position { task: TASK, topic: topic("t"), partition: 0 },
        Entry::Block { task: TASK, sequence: 2 },
    ] {
        let is_batch = matches!(entry, Entry::Batch { .. });
        let good = subject.log.as_ref().unwrap().shared.store.get(&entry.clone().of(&tenant())).unwrap().unwrap();
        for place in 0..good.len() {
            let mut flipped = good.clone();
            flipped[place] ^= 1;
            // A batch's checksum covers neither itself nor what is before it, of which nobody reads the leader's epoch.
            let unread = is_batch && LEADER_EPOCH.contains(&place);
            let damaged = [Some(good[..place].to_vec()), (!unread).then_some(flipped)];
            for bytes in damaged.into_iter().flatten() {
                let key = change(&mut subject, entry.clone(), |_| Some(bytes.clone()));
                let name = if is_batch { "batch of `t/0` at offset 3".to_owned() } else { key.to_string() };
                let error = match is_batch {
                    true => corrupt(fetch(subject.log(), &at("t", 0), 3, usize::MAX)),
                    false => corrupt(subject.log().recover(&tenant(), TASK)),
                };
                assert!(error.starts_with(&name), "byte {place} of {key}: {error}");
            }
        }
        change(&mut subject, entry, |_| Some(good.clone()));
    }
    assert_eq!(subject.log().recover(&tenant(), TASK).unwrap().blocks.len(), 3);
}

#[tokio::test]
async fn a_missing_block_is_named_wherever_it_was() {
    for (sequence, expected) in [
        (1, "block 2 of task 7/0 of tenant `acme`: it follows block 1, which is missing"),
        (2, "block 3 of task 7/0 of tenant `acme`: it follows block 2, which is missing"),
        (3, "block 3 of task 7/0 of tenant `acme`: it is missing"),
    ] {
        let mut subject = filled().await;
        change(&mut subject, Entry::Block { task: TASK, sequence }, |_| None);
        assert_eq!(corrupt(subject.log().recover(&tenant(), TASK)), expected);
    }
}

/// Whatever lets an older run write: what it wrote is not taken for what the newer one knows.
#[tokio::test]
async fn a_block_of_a_run_that_was_fenced_before_is_named() {
    let mut subject = filled().await;
    let epoch = fence(subject.log(), 7).await;
    let block = Block::Some { bytes: Bytes::from_static(b"new"), oldest: 0 };
    subject.log().commit(&tenant(), Commit { block, ..commit(7, epoch, 4) }).await.unwrap();
    let newer = |_| Some(Sealer::default().seal(&[&BlockFront { previous: 2, epoch: 9 }.encode(), b"more"]).to_vec());
    change(&mut subject, Entry::Block { task: TASK, sequence: 3 }, newer);
    let error = corrupt(subject.log().recover(&tenant(), TASK));
    assert_eq!(
        error,
        "block 4 of task 7/0 of tenant `acme`: it is of epoch 2, which 9 had fenced: that of the block before it"
    );
}

#[tokio::test]
async fn a_flipped_bit_in_a_topic_is_named_at_the_start() {
    for entry in [Entry::Topic { name: topic("t") }, Entry::Partition { topic: TopicId(1), partition: 0 }] {
        let mut subject = filled().await;
        let key = change(&mut subject, entry, flip_last);
        drop(subject.log.take());
        let expected = format!("{key}: its checksum is not that of its bytes");
        assert_eq!(corrupt(EmbeddedLog::open(subject.config.clone())), expected);
    }
}

/// The files of the database with that ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("rocksdb")).unwrap();
    let all = entries.map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect()
}

fn flip_in_file(path: &Path, at: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[tokio::test]
async fn a_write_ahead_log_that_is_broken_in_the_middle_does_not_lose_records_in_silence() {
    let mut subject = filled().await;
    drop(subject.log.take());
    let [log] = &files(&subject.config.folder, "log")[..] else { panic!("one write-ahead log") };
    let middle = std::fs::metadata(log).unwrap().len() / 2;
    flip_in_file(log, middle);
    let error = corrupt(EmbeddedLog::open(subject.config.clone()));
    assert!(error.starts_with("the write-ahead log of `") && error.contains("were acknowledged"), "{error}");
}

#[tokio::test]
async fn a_flipped_bit_in_a_blob_file_is_named() {
    let mut subject = Reopening::with_tail(0);
    let log = subject.log();
    log.create_topic(&tenant(), &topic("t"), TopicConfig::with_partitions(1)).await.unwrap();
    log.append(&tenant(), &at("t", 0), values([vec![b'x'; 100_000]])).await.unwrap();
    let store = &subject.log.as_ref().unwrap().shared.store;
    store.database().flush_cf(store.handle(BATCH(0).family())).unwrap();
    drop(subject.log.take());
    let [blobs] = &files(&subject.config.folder, "blob")[..] else { panic!("one blob file") };
    flip_in_file(blobs, 50_000);
    subject.reopen();
    let error = corrupt(fetch(subject.log(), &at("t", 0), 0, 100));
    assert!(error.starts_with("batch of `t/0` at offset 0: "), "{error}");
}

#[test]
fn a_second_server_on_a_folder_is_refused() {
    let mut subject = Reopening::with_tail(0);
    let folder = subject.config.folder.display().to_string();
    let second = EmbeddedLog::open(subject.config.clone()).map(drop);
    assert_eq!(second, Err(Error::FolderInUse { folder }));
    subject.reopen();
    now(subject.log().create_topic(&tenant(), &topic("t"), TopicConfig::with_partitions(1))).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let subject = Reopening::with_tail(0);
    let file = subject.config.folder.join("lock");
    let error = EmbeddedLog::open(EmbeddedConfig::new(&file)).map(drop).unwrap_err();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_closed_log_answers_what_waited_and_refuses_what_comes() {
    let subject = filled().await;
    let waits = subject.log().append(&tenant(), &at("t", 0), values(["last"]));
    let log = subject.log.as_ref().unwrap();
    let waits = tokio::spawn(waits);
    while log.topics(&tenant()).await.unwrap()[&topic("t")].partitions[0].end == 5 {
        tokio::task::yield_now().await;
    }
    log.close();
    assert_eq!(waits.await.unwrap().map(|appended| appended.base_offset), Ok(5));
    assert_eq!(log.append(&tenant(), &at("t", 0), values(["x"])).await, Err(Error::Closed));
    assert_eq!(log.delete_topic(&tenant(), &topic("t")).await, Err(Error::Closed));
    assert_eq!(read_all(log, &at("t", 0), 5, 100).unwrap(), ["last"]);
}
