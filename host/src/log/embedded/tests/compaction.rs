//! Compaction of what is on the disk: in small pieces, through restarts and kills, beside damaged batches.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::keys::Entry;
use super::*;
use crate::log::conformance::{
    Step, at, compact, compacted, fetch, holds_against_a_naive_model, keyed, now, read_keyed, tenant, topic, values,
};
use crate::log::memory::MemoryLog;

const FOLDER: &str = "MILLSTREAM_TEST_COMPACT";
const APPENDED: &str = "appended ";
/// Kills, each in another place.
const ROUNDS: u32 = 8;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec((0..6_u8, prop::bool::weighted(0.3)), 1..5).prop_map(Step::Append),
        6 => prop_oneof![3 => Just(0), 1 => 0..150_i64].prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pieces of one batch, passes of few keys: every place in a pass is met by appends, reads and restarts.
    #[test]
    fn any_interleaving_keeps_the_newest_of_each_key(
        steps in vec(step(), 1..40),
        keys_max in 1..8_usize,
        slice_bytes in prop_oneof![Just(1), Just(300), Just(1 << 20)],
        tail_bytes in prop_oneof![Just(0), Just(400), Just(1 << 20)],
    ) {
        let compaction = CompactionLimits { keys_max, slice_bytes, write_bytes: 200 };
        let mut subject = Reopening::compacting(tail_bytes, compaction);
        wait(holds_against_a_naive_model(&mut subject, &steps));
        wait(holds_against_a_naive_model(&mut MemoryLog::default(), &steps));
    }
}

/// How compaction works in small pieces.
const SMALL: CompactionLimits = CompactionLimits { keys_max: 5, slice_bytes: 1, write_bytes: 1 };

#[tokio::test]
async fn more_keys_than_a_pass_notes_take_several_passes() {
    let mut results = Vec::new();
    for compaction in [SMALL, CompactionLimits::default()] {
        let subject = Reopening::compacting(0, compaction);
        let log = subject.log();
        log.create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
        for number in 0..200_u32 {
            let (key, value) = ((number * 7919 % 61).to_string(), number.to_string());
            log.append(&tenant(), &at("t", 0), keyed(&[(&key, Some(&value))])).await.unwrap();
        }
        compact(&subject, 0).unwrap();
        results.push(read_keyed(log, &at("t", 0), 0, usize::MAX).unwrap());
    }
    let [few, all] = &results[..] else { panic!("two results") };
    assert_eq!(all.len(), 61);
    // The passes end when less than half is dirty, so at most as many again are left.
    assert!(few.ends_with(all) && few.len() < 2 * 61, "{few:?}");
}

#[tokio::test]
async fn a_damaged_batch_is_named_stays_as_it_is_and_holds_no_other_partition_up() {
    let subject = Reopening::with_tail(0);
    let log = subject.log.as_ref().unwrap();
    log.create_topic(&tenant(), &topic("t"), compacted(2)).await.unwrap();
    for partition in [0, 1] {
        for value in ["0", "1", "2"] {
            log.append(&tenant(), &at("t", partition), keyed(&[("a", Some(value))])).await.unwrap();
        }
    }
    let key = Entry::Batch { topic: crate::ids::TopicId(1), partition: 0, base: 1 }.of(&tenant());
    let mut value = log.shared.store.get(&key).unwrap().unwrap();
    *value.last_mut().unwrap() ^= 1;
    let handle = log.shared.store.handle(key.entry.family());
    log.shared.store.database().put_cf(handle, key.bytes(), &value).unwrap();
    let Err(Error::Corrupt { what, .. }) = log.compact(0) else { panic!("it was not seen") };
    assert_eq!(what, "batch of `t/0` at or after offset 1");
    let removed = log.compact(0).map(|compacted| compacted.removed);
    assert_eq!(removed, Ok(2));
    assert_eq!(read_keyed(log, &at("t", 1), 0, 0).unwrap().len(), 1);
    assert_eq!(log.shared.store.get(&key).unwrap(), Some(value));
    assert_eq!(fetch(log, &at("t", 0), 0, 0).unwrap().batches.len(), 1);
}

#[tokio::test]
async fn a_batch_that_is_missing_behind_what_was_compacted_is_named() {
    let mut subject = Reopening::with_tail(0);
    let log = subject.log();
    log.create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    for value in 0..6 {
        log.append(&tenant(), &at("t", 0), keyed(&[("a", Some(&value.to_string()))])).await.unwrap();
        if value == 2 {
            assert_eq!(compact(&subject, 0), Ok(2));
        }
    }
    let store = &subject.log.as_ref().unwrap().shared.store;
    let key = Entry::Batch { topic: crate::ids::TopicId(1), partition: 0, base: 4 }.of(&tenant());
    store.database().delete_cf(store.handle(key.entry.family()), key.bytes()).unwrap();
    subject.reopen();
    let read = |from| fetch(subject.log(), &at("t", 0), from, usize::MAX);
    assert_eq!(read(0).unwrap().batches.len(), 2);
    let missing = Error::Corrupt { what: "batch of `t/0` at offset 4".to_owned(), reason: "it is missing".to_owned() };
    assert_eq!(read(4), Err(missing));
}

#[tokio::test]
async fn a_topic_that_is_deleted_in_the_middle_of_a_pass_is_gone() {
    let subject = Reopening::compacting(0, SMALL);
    let log = subject.log();
    log.create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    for value in ["0", "1", "2", "3"] {
        log.append(&tenant(), &at("t", 0), keyed(&[("a", Some(value))])).await.unwrap();
    }
    // Four batches are looked at, then the first one is removed.
    while read_keyed(log, &at("t", 0), 0, 0).unwrap().len() == 4 {
        assert!(subject.compact(0).unwrap().more);
    }
    log.delete_topic(&tenant(), &topic("t")).await.unwrap();
    log.create_topic(&tenant(), &topic("t"), TopicConfig::with_partitions(1)).await.unwrap();
    log.append(&tenant(), &at("t", 0), values(["new"])).await.unwrap();
    assert_eq!(compact(&subject, 0), Ok(0));
    assert_eq!(crate::log::conformance::read_all(log, &at("t", 0), 0, 0).unwrap(), ["new"]);
}

#[tokio::test]
async fn what_compaction_removes_is_given_back_to_the_disk() {
    const BATCH_BYTES: usize = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig { durability: Durability::Os, ..EmbeddedConfig::new(folder.path().join("log")) };
    let log = EmbeddedLog::open(config).unwrap();
    log.create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    let (value, small) = ("x".repeat(BATCH_BYTES / 4 * 3), "x".repeat(2000));
    let store = &log.shared.store;
    let handle = store.handle(keys::Family::Batches);
    for number in 0..120 {
        let (own, shared) = (format!("own {number}"), format!("shared {}", number % 3));
        log.append(&tenant(), &at("t", 0), keyed(&[(&own, Some(&small)), (&shared, Some(&value))])).await.unwrap();
        // A file goes when nothing in it lives. How much lies in the file of the newest batch, which stays, must not
        // depend on how fast the disk is: buffers that wait for it are written into one file.
        if number % 20 == 19 {
            store.database().flush_cf(handle).unwrap();
        }
    }
    let blobs = || store.database().property_int_value_cf(handle, "rocksdb.live-blob-file-size").unwrap().unwrap();
    assert!(blobs() > 80 << 20, "{} bytes", blobs());
    compact(&log, 0).unwrap();
    assert!(log.topics(&tenant()).await.unwrap()[&topic("t")].partitions[0].bytes < 4 << 20);
    // The file with the newest batch stays.
    assert!(blobs() < 20 << 20, "{} bytes", blobs());
}

/// Appends for ever and compacts beside it in small pieces. The key of a record is its offset modulo a prime, every fifth
/// is a deletion.
#[tokio::test]
#[ignore = "the process to be killed, which `a_kill_in_the_middle_of_compaction_loses_nothing` starts"]
async fn compacts_for_ever() {
    let compaction = CompactionLimits { keys_max: 7, slice_bytes: 500, write_bytes: 200 };
    let config = EmbeddedConfig { compaction, ..EmbeddedConfig::new(std::env::var_os(FOLDER).unwrap()) };
    let log = EmbeddedLog::open(config).unwrap();
    log.create_topic(&tenant(), &topic("t"), compacted(1)).await.unwrap();
    let mut next = log.topics(&tenant()).await.unwrap()[&topic("t")].partitions[0].end;
    loop {
        let (key, value) = ((next % 13).to_string(), next.to_string());
        let value = (!next.is_multiple_of(5)).then_some(value.as_str());
        log.append(&tenant(), &at("t", 0), keyed(&[(&key, value)])).await.unwrap();
        next += 1;
        writeln!(std::io::stdout(), "{APPENDED}{next}.").unwrap();
        log.compact(0).unwrap();
    }
}

#[test]
fn a_kill_in_the_middle_of_compaction_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "log::embedded::tests::compaction::compacts_for_ever", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path().join("log"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut acknowledged, mut count) = (0, 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            // The last line may be torn.
            let Some((_, number)) = line.split_once(APPENDED) else { continue };
            let Some(number) = number.strip_suffix('.') else { continue };
            acknowledged = number.parse::<u64>().unwrap();
            count += 1;
            if count == 20 + round * 7919 % 60 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let config = EmbeddedConfig { tail_bytes: 0, ..EmbeddedConfig::new(folder.path().join("log")) };
        let log = EmbeddedLog::open(config).unwrap();
        let info = now(log.topics(&tenant())).unwrap()[&topic("t")].partitions[0];
        assert!(info.end >= acknowledged);
        let read = read_keyed(&log, &at("t", 0), 0, usize::MAX).unwrap();
        assert_eq!(read.len() as u64, info.records);
        for (offset, key, value) in &read {
            assert_eq!(*key, (offset % 13).to_string());
            assert_eq!(*value, (!offset.is_multiple_of(5)).then(|| offset.to_string()));
        }
        // No time passes, so no deletion goes: the last thirteen offsets are the newest of each key.
        let newest: Vec<_> = (info.end.saturating_sub(13)..info.end).collect();
        let last: Vec<_> = read.iter().rev().take(newest.len()).rev().map(|(offset, ..)| *offset).collect();
        assert_eq!(last, newest);
        compact(&log, 0).unwrap();
        assert_eq!(read_keyed(&log, &at("t", 0), 0, 0).unwrap().iter().rev().take(13).count(), newest.len());
    }
}
