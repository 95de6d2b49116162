//! Topics that are compacted by key, as inputs and as outputs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::harness::{Driver, plan};
use crate::error::Coded;
use crate::ids::{Offset, TopicName, TopicPartition, default_tenant};
use crate::log::batch::{EncodeOptions, encode};
use crate::log::memory::MemoryLog;
use crate::log::{Cleanup, Position, RecordLog as _, TopicAdmin as _, TopicConfig};
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::io::intake::{Intake, Take};
use crate::pipeline::spec::Spec;
use crate::record::Batch;

/// Parses, no more.
const PARSING: &str = r#"
name = "p"
[source]
topics = ["in"]
[[steps]]
name = "parse"
plugin = "parse"
outputs = { side = "side" }
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a name")
}

/// A log with the pipeline's topics, of which these are compacted.
fn log(compacted: &[&str]) -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::default());
    for topic in ["in", "out", "side", "late", "dead"] {
        let cleanup = if compacted.contains(&topic) { Cleanup::Compact } else { Cleanup::Delete };
        let config = TopicConfig { cleanup, ..TopicConfig::with_partitions(1) };
        wait(log.create_topic(&default_tenant(), &name(topic), config)).expect("it is new");
    }
    log
}

/// Appends a batch of keys and values to the input.
fn append(log: &MemoryLog, rows: &[(&str, &str)]) {
    let mut batch = Batch::default();
    rows.iter().for_each(|(key, value)| batch.push(0, Some(key.as_bytes()), Some(value.as_bytes())));
    let at = TopicPartition { topic: name("in"), partition: 0 };
    let encoded = encode(batch.view(), &EncodeOptions::default());
    wait(log.append(&default_tenant(), &at, encoded)).expect("the log takes it");
}

fn spec() -> Spec {
    PARSING.parse().expect("the manifest is good")
}

/// Offsets and keys of what is taken, until nothing is left.
fn taken(intake: &mut Intake, plan: &Plan, log: &MemoryLog) -> Vec<(Offset, String)> {
    let mut all = Vec::new();
    loop {
        let taken = wait(intake.take(plan, log, &Take::Arrived, |_| false, |_| None)).expect("the log answers");
        let [input] = taken.inputs.as_slice() else { return all };
        let keys = input.records.keys.iter();
        let keys = keys.map(|key| String::from_utf8_lossy(key.unwrap_or_default()).into_owned());
        all.extend(input.offsets.iter().zip(keys));
    }
}

#[test]
fn what_compaction_left_is_taken_from_every_position_with_its_offsets() {
    let log = log(&["in"]);
    for keys in [&["a", "b", "c"][..], &["b", "c", "d"], &["x"], &["d", "x"], &["e"]] {
        append(&log, &keys.iter().map(|key| (*key, "1 k")).collect::<Vec<_>>());
    }
    log.compact(0).expect("it can be compacted");
    let plan = plan(&log, &spec()).expect("the plan is good");
    let topic_id = wait(log.topic(&default_tenant(), &plan.inputs[0].topic)).expect("it is there").id;
    let place = |offset| Position { topic_id, offset };
    let left = [(0, "a"), (3, "b"), (4, "c"), (7, "d"), (8, "x"), (9, "e")];
    for from in 0..=10 {
        let behind = left.iter().filter(|(offset, _)| *offset >= from);
        let expected: Vec<_> = behind.map(|&(offset, key)| (offset, key.to_owned())).collect();
        for limit in [1, 2, 1 << 16] {
            let mut intake = Intake::careful(vec![place(from)], limit);
            assert_eq!(taken(&mut intake, &plan, &log), expected, "from {from}, {limit} at a time");
            assert_eq!(intake.positions(), [10]);
        }
    }
    // What is put back is taken again.
    let mut intake = Intake::new(vec![place(1)], Vec::new());
    let first = wait(intake.take(&plan, &*log, &Take::Arrived, |_| false, |_| None)).expect("the log answers");
    intake.retreat(&first.inputs);
    assert_eq!(intake.positions(), [3]);
    assert_eq!(taken(&mut intake, &plan, &log).len(), 5);
}

#[test]
fn a_dead_letter_names_the_true_offset_of_a_row_among_gaps() {
    let log = log(&["in"]);
    append(&log, &[("a", "1 gone"), ("b", "2 gone"), ("c", "bad")]);
    append(&log, &[("a", "3 kept"), ("d", "trap"), ("b", "4 kept")]);
    append(&log, &[("e", "bad")]);
    assert_eq!(log.compact(0).map(|compacted| compacted.removed), Ok(2));
    let mut driver = Driver::on(log, &spec());
    driver.finish().expect("the host is well");
    let of = |letter: BTreeMap<String, String>| (letter["offset"].clone(), letter["code"].clone());
    let mut letters: Vec<_> = driver.dead_letters().into_iter().map(of).collect();
    letters.sort();
    let expected = [("2", "no-time"), ("4", "trap_unreachable"), ("6", "no-time")];
    assert_eq!(letters, expected.map(|(offset, code)| (offset.to_owned(), code.to_owned())));
    assert_eq!(driver.values("out"), ["3 kept", "4 kept"]);
}

#[test]
fn a_row_without_a_key_for_a_compacted_topic_is_a_dead_letter_and_the_others_are_written() {
    for compacted in [&["out"][..], &["side"], &[]] {
        let log = log(compacted);
        append(&log, &[("k", "1 a"), ("k", "keyless"), ("k", "side b"), ("k", "2 c")]);
        let mut driver = Driver::on(log, &spec());
        driver.finish().expect("the host is well");
        assert_eq!(driver.values("side"), ["side b"]);
        let letters = driver.dead_letters();
        if compacted != ["out"] {
            assert_eq!(driver.values("out"), ["1 a", "keyless", "2 c"]);
            assert!(letters.is_empty());
            continue;
        }
        assert_eq!(driver.values("out"), ["1 a", "2 c"]);
        assert_eq!(driver.values("dead"), ["keyless"]);
        let fields = ["pipeline", "code", "output"].map(|field| letters[0][field].as_str());
        assert_eq!(fields, ["p", "key_required", "out"]);
        let usage = *driver.machine.usage_mut();
        assert_eq!((usage.records_out, usage.dead_letters), (3, 1));
    }
}

/// Windows of every kind for which a row can be late.
const WINDOWS: [&str; 6] = [
    "tumbling = \"10ms\"",
    "tumbling = \"10ms\", lateness = \"5ms\"",
    "tumbling = \"10ms\", early-rows = 50",
    "hopping = \"10ms\", slide = \"5ms\"",
    "hopping = \"10ms\", slide = \"5ms\", early-rows = 50",
    "session = \"10ms\"",
];

/// Counts in windows.
fn counting(window: &str) -> String {
    let step = format!("[[steps]]\nname = \"count\"\nplugin = \"count\"\nwindow = {{ {window} }}\nlate = \"late\"\n");
    PARSING.replace("[output]", &format!("{step}[output]"))
}

fn codes(driver: &Driver) -> Vec<String> {
    driver.dead_letters().into_iter().map(|letter| letter["code"].clone()).collect()
}

#[test]
fn a_late_row_without_a_key_for_a_compacted_topic_is_a_dead_letter_whatever_the_windows() {
    for window in WINDOWS {
        let log = log(&["late"]);
        append(&log, &[("k", "200 a"), ("k", "keyless"), ("k", "2 b"), ("k", "400 z")]);
        let spec: Spec = counting(window).parse().expect("the manifest is good");
        let mut driver = Driver::on(log, &spec);
        driver.finish().expect("the log takes what is committed");
        assert_eq!(
            (driver.values("late"), driver.values("dead")),
            (vec!["2 b".to_owned()], vec!["keyless".to_owned()])
        );
        assert_eq!(codes(&driver), ["key_required"], "{window}");
        let usage = *driver.machine.usage_mut();
        assert_eq!((usage.late, usage.dead_letters), (2, 1), "{window}");
    }
}

#[test]
fn a_result_without_a_key_for_a_compacted_topic_is_a_dead_letter_whatever_the_windows() {
    for window in WINDOWS.into_iter().chain(["count = 1", "global = true, early-rows = 1"]) {
        let log = log(&["out"]);
        append(&log, &[("k", "keyless"), ("k", "3 a"), ("k", "400 z")]);
        let spec: Spec = counting(window).parse().expect("the manifest is good");
        let mut driver = Driver::on(log, &spec);
        driver.finish().expect("the log takes what is committed");
        let codes = codes(&driver);
        assert!(!codes.is_empty() && codes.iter().all(|code| code == "key_required"), "{window}: {codes:?}");
        assert!(driver.pairs("out").iter().all(|(key, _)| !key.is_empty()) && !driver.values("out").is_empty());
    }
}

#[test]
fn a_row_without_a_key_of_a_process_for_a_compacted_topic_is_a_dead_letter() {
    let log = log(&["out"]);
    append(&log, &[("k", "keyless"), ("k", "3 a")]);
    let step = "[[steps]]\nname = \"track\"\nplugin = \"track\"\ngrants = [\"table\"]\n[output]";
    let spec: Spec = PARSING.replace("[output]", step).parse().expect("the manifest is good");
    let mut driver = Driver::on(log, &spec);
    driver.finish().expect("the log takes what is committed");
    assert_eq!((codes(&driver), driver.values("out").len()), (vec!["key_required".to_owned()], 1));
}

#[test]
fn dead_letters_cannot_go_to_a_compacted_topic() {
    let refused = plan(&log(&["dead"]), &spec()).expect_err("dead letters may have no key");
    assert_eq!(refused.code(), "dead_letters_compacted");
    assert!(refused.to_string().contains("topic `dead`"), "{refused}");
}
