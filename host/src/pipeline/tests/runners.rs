//! Runners of one task: which one may commit, and which topic it goes on in.

use std::sync::Arc;

use super::harness::{COUNTING, Driver, TASK, plan, wait};
use crate::error::Coded;
use crate::ids::{TopicName, default_tenant};
use crate::log::batch::{EncodeOptions, encode};
use crate::log::memory::MemoryLog;
use crate::log::{CommitLog as _, Fenced, Log, RecordLog as _, TopicAdmin as _, TopicConfig};
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::io::intake::Take;
use crate::pipeline::io::runner::Runner;
use crate::pipeline::io::shared::Shared;
use crate::pipeline::spec::{Spec, Start};
use crate::pipeline::status::State;
use crate::record::Batch;

fn topic() -> TopicName {
    "in".parse().expect("a name")
}

/// A log with the topics of a counting pipeline and these records.
fn log(values: &[&str]) -> Arc<MemoryLog> {
    Driver::new(COUNTING, &[values.iter().map(|&value| value.to_owned()).collect()]).log
}

fn open(log: &Arc<MemoryLog>) -> Result<Runner, Error> {
    let spec: Spec = COUNTING.parse().expect("the manifest is good");
    let plan = plan(log, &spec)?;
    let shared = Arc::new(Shared::new(State::Running));
    let Fenced { epoch, .. } = wait(log.fence(&default_tenant(), TASK))?;
    let warm = Runner::replay(TASK, &plan, Carry::default(), &**log)?;
    wait(Runner::open(TASK, epoch, plan, Start::Earliest, Arc::clone(log) as Arc<dyn Log>, shared, warm))
}

fn append(log: &MemoryLog, value: &str) {
    let mut batch = Batch::default();
    batch.push(0, Some(b"k"), Some(value.as_bytes()));
    let at = crate::ids::TopicPartition { topic: topic(), partition: 0 };
    wait(log.append(&default_tenant(), &at, encode(batch.view(), &EncodeOptions::default()))).expect("it is taken");
}

fn make_again(log: &MemoryLog) {
    wait(log.delete_topic(&default_tenant(), &topic())).expect("it is there");
    wait(log.create_topic(&default_tenant(), &topic(), TopicConfig::with_partitions(1))).expect("it is gone");
}

#[test]
fn of_two_runners_of_a_task_the_older_commits_no_more() {
    let log = log(&["1 a"]);
    let mut older = open(&log).expect("it opens");
    assert!(wait(older.step(&Take::Arrived, 0)).expect("it commits"));
    append(&log, "2 b");
    let mut newer = open(&log).expect("it opens");
    let error = wait(older.step(&Take::Arrived, 0)).expect_err("it is fenced");
    assert_eq!((error.code(), error.kind().retry()), ("fenced", false));
    assert_eq!(
        log.head(&default_tenant(), TASK).expect("the log answers").sequence,
        2,
        "the first one says where it begins"
    );
    assert!(wait(newer.step(&Take::Arrived, 0)).expect("it commits"));
    let head = log.head(&default_tenant(), TASK).expect("the log answers");
    assert_eq!((head.sequence, head.positions.values().map(|place| place.offset).collect::<Vec<_>>()), (3, vec![2]));
    // Also where it has not committed yet, so that its number would be the next.
    drop(newer);
    let mut third = open(&log).expect("it opens");
    log.forget(&default_tenant(), TASK).expect("the log answers");
    append(&log, "3 c");
    assert_eq!(wait(third.step(&Take::Arrived, 0)).expect_err("its state is deleted").code(), "fenced");
}

#[test]
fn a_place_in_a_topic_is_none_in_one_that_was_made_again_under_its_name() {
    let log = log(&["1 a", "2 b"]);
    let mut runner = open(&log).expect("it opens");
    assert!(wait(runner.step(&Take::Arrived, 0)).expect("it commits"));
    let known = wait(log.topic(&default_tenant(), &topic())).expect("it is there").id;
    make_again(&log);
    let present = wait(log.topic(&default_tenant(), &topic())).expect("it is there").id;
    // As many records as before: the offset alone would fit.
    (0..3).for_each(|_| append(&log, "3 c"));
    for error in [
        wait(runner.step(&Take::Arrived, 0)).expect_err("it is another topic"),
        open(&log).map(drop).expect_err("it is another topic"),
    ] {
        assert_eq!(error.code(), "topic_recreated");
        let text = error.to_string();
        for part in ["`in`", &format!("id {known}"), &format!("id {present}"), "pipeline rewind p", "restore p"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert_eq!(log.head(&default_tenant(), TASK).expect("the log answers").sequence, 2);
}
