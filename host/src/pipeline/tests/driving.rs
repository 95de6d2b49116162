//! The driver: crashes, marks, checkpoints.

use super::harness::{COUNTING, THRESHOLDS, load};
use crate::error::Coded;
use crate::ids::{TopicName, TopicPartition};
use crate::pipeline::Take;
use crate::pipeline::driver::{Checkpoint, Crash, Driver};
use crate::record::Batch;
use crate::time::Mark;

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a name")
}

fn at(partition: u32) -> TopicPartition {
    TopicPartition { topic: name("in"), partition }
}

fn driver(manifest: &str, values: &[&str]) -> Driver {
    let mut driver = Driver::with_thresholds(manifest, |_| 1, load, THRESHOLDS).expect("the manifest is good");
    feed(&mut driver, values);
    driver
}

fn feed(driver: &mut Driver, values: &[&str]) {
    let mut batch = Batch::default();
    values.iter().for_each(|value| batch.push(0, None, Some(value.as_bytes())));
    driver.feed(&at(0), batch.view()).expect("the topic is there");
}

fn values(driver: &Driver, topic: &str) -> Vec<String> {
    let read = driver.read(&name(topic)).expect("the topic is there");
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    read.iter().flat_map(|batch| batch.values.iter().map(text).collect::<Vec<_>>()).collect()
}

const ROWS: [&str; 9] = ["1 a", "2 b", "bad", "11 a", "3 a", "22 b", "twice", "41 a", "2 a"];

#[test]
fn a_crash_at_any_point_of_any_micro_batch_changes_nothing() {
    let mut whole = driver(COUNTING, &ROWS);
    whole.run(&Take::Arrived).expect("the host is well");
    assert_eq!(values(&whole, "late"), ["twice", "twice", "2 a"]);
    for crash in [Crash::Idle, Crash::BeforeCommit, Crash::AfterCommit] {
        for size in 1..4 {
            let mut broken = driver(COUNTING, &ROWS);
            let take = Take::Records(size);
            let mut crashes = 0;
            while broken.crash(crash, &take).expect("it starts again") | broken.step(&take).expect("the host is well") {
                crashes += 1;
            }
            assert!(crashes > 1, "{crash:?} {size}");
            for topic in ["out", "late", "side", "dead"] {
                assert_eq!(values(&broken, topic), values(&whole, topic), "{crash:?} {size} {topic}");
            }
            let (broken, whole) = (broken.status().expect("a status"), whole.status().expect("a status"));
            let counted = |usage: crate::pipeline::status::Usage| (usage.records_in, usage.late, usage.windows_closed);
            assert_eq!(counted(broken.usage), counted(whole.usage), "{crash:?} {size}");
        }
    }
}

#[test]
fn rows_that_wait_for_what_is_due_before_them_are_taken_once() {
    let manifest = COUNTING.replace("{ tumbling = \"10ms\" }", "{ tumbling = \"10ms\", lateness = \"500ms\" }");
    let mut rows: Vec<String> = (0..40).map(|key| format!("{} k{key:02}", key % 7)).collect();
    rows.extend(["99 x", "bad", "3 k07", "trap", "200 x", "4 k08", "300 x"].map(str::to_owned));
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let counted = |driver: &Driver| {
        let usage = driver.status().expect("a status").usage;
        (usage.records_in, usage.windows_closed, usage.windows_updated, usage.dead_letters)
    };
    let mut singly = driver(&manifest, &rows);
    singly.run(&Take::Records(1)).expect("the host is well");
    assert_eq!(counted(&singly), (47, 42, 2, 2));
    for crash in [Crash::Idle, Crash::BeforeCommit, Crash::AfterCommit] {
        let mut whole = driver(&manifest, &rows);
        assert!(whole.step(&Take::Records(40)).expect("it is well"));
        while whole.crash(crash, &Take::Arrived).expect("it starts again")
            | whole.step(&Take::Arrived).expect("it is well")
        {}
        assert!(whole.status().expect("a status").usage.commits >= 3, "{crash:?}: some rows waited");
        for topic in ["out", "late", "dead"] {
            assert_eq!(values(&whole, topic), values(&singly, topic), "{crash:?} {topic}");
        }
        assert_eq!(counted(&whole), counted(&singly), "{crash:?}");
    }
}

#[test]
fn a_lost_answer_of_a_commit_leaves_what_was_committed() {
    for (crash, read, written) in [(Crash::BeforeCommit, 0, 0), (Crash::AfterCommit, 5, 1)] {
        let mut driver = driver(COUNTING, &["1 a", "2 a", "99 a", "bad", "bad"]);
        assert!(driver.crash(crash, &Take::Arrived).expect("it starts again"));
        let status = driver.status().expect("a status");
        assert_eq!((status.inputs[0].position, values(&driver, "out").len()), (read, written), "{crash:?}");
        assert_eq!(status.usage.records_in, read);
    }
}

#[test]
fn a_mark_moves_event_time_where_no_record_does() {
    let mut driver = driver(COUNTING, &["1 a", "12 a"]);
    driver.run(&Take::Arrived).expect("the host is well");
    assert_eq!(values(&driver, "out"), Vec::<String>::new());
    driver.mark(&at(0), Mark::Watermark(8)).expect("the partition is there");
    assert_eq!(driver.status().expect("a status").watermark, Some(8));
    assert_eq!(values(&driver, "out"), Vec::<String>::new());
    driver.mark(&at(0), Mark::Watermark(9)).expect("the partition is there");
    assert_eq!(values(&driver, "out"), ["a 0 1"]);
    driver.crash(Crash::Idle, &Take::Arrived).expect("it starts again");
    feed(&mut driver, &["7 a"]);
    driver.run(&Take::Arrived).expect("the host is well");
    assert_eq!(values(&driver, "late"), ["7 a"], "the mark is remembered");
    assert_eq!(driver.mark(&at(1), Mark::Idle).expect_err("one partition").code(), "partition_not_found");
}

#[test]
fn a_checkpoint_is_restored_in_place_and_elsewhere() {
    let mut first = driver(COUNTING, &["1 a", "2 a"]);
    first.run(&Take::Records(1)).expect("the host is well");
    let bytes = first.checkpoint().expect("a checkpoint").to_bytes();
    let checkpoint = || Checkpoint::from_bytes(&bytes).expect("our own bytes");
    feed(&mut first, &["3 a", "99 a"]);
    first.run(&Take::Arrived).expect("the host is well");
    assert_eq!(values(&first, "out"), ["a 0 3"]);
    first.restore(checkpoint()).expect("it is its own");
    assert_eq!(first.status().expect("a status").inputs[0].position, 2);
    first.run(&Take::Arrived).expect("the host is well");
    assert_eq!(values(&first, "out"), ["a 0 3", "a 0 3"]);

    let mut other = driver(COUNTING, &["99 a"]);
    let error = other.restore(checkpoint()).expect_err("there is one record only");
    assert_eq!(error.code(), "offset_out_of_range");
    other.restore(checkpoint().without_positions()).expect("the manifest is the same");
    other.run(&Take::Arrived).expect("the host is well");
    assert_eq!(values(&other, "out"), ["a 0 2"]);

    let mut strange = driver(&COUNTING.replace("10ms", "20ms"), &["1 a"]);
    let error = strange.restore(checkpoint().without_positions()).expect_err("the window is another");
    assert_eq!(error.code(), "state_conflict");
    strange.run(&Take::Arrived).expect("it is as it was");
    assert_eq!(strange.status().expect("a status").open_groups, 1);
}

#[test]
fn a_change_that_cannot_take_over_leaves_the_pipeline_as_it_was() {
    let mut driver = driver(COUNTING, &["1 a"]);
    driver.run(&Take::Arrived).expect("the host is well");
    let error = driver.change(&COUNTING.replace("10ms", "20ms"), |_| 1, load).expect_err("the window is another");
    assert_eq!(error.code(), "state_conflict");
    driver.change(&COUNTING.replace("\"side\"", "\"aside\""), |_| 1, load).expect("a new topic is all");
    feed(&mut driver, &["side x", "99 a"]);
    driver.run(&Take::Arrived).expect("the host is well");
    assert_eq!(
        (values(&driver, "out"), values(&driver, "aside")),
        (vec!["a 0 1".to_owned()], vec!["side x".to_owned()])
    );
}

#[test]
fn a_failed_step_leaves_the_pipeline_at_its_last_commit() {
    let mut driver = driver(COUNTING, &["1 a", "host"]);
    assert!(driver.step(&Take::Records(1)).expect("the first row is good"));
    assert!(driver.step(&Take::Arrived).is_err());
    let status = driver.status().expect("a status");
    assert_eq!((status.inputs[0].position, status.open_groups), (1, 1));
}
