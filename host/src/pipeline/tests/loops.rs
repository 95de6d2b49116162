//! Rows that come round: exactly once whatever happens, a bounded number of times, and no reason to wait.

use std::collections::BTreeMap;

use super::guests::count;
use super::harness::THRESHOLDS;
use super::rounds::going;
use crate::ids::{Digest, TopicName, TopicPartition};
use crate::log::partition_of;
use crate::pipeline::driver::{Crash, Driver};
use crate::pipeline::engine::plan::Loaded;
use crate::pipeline::spec::StepSpec;
use crate::pipeline::{Error, Take};
use crate::plugin::Grants;
use crate::record::{Batch, BatchRef};

mod graph;

use graph::GRAPH;

const COUNTDOWN: &str = r#"
name = "p"
[source]
topics = ["in", "again"]
[loop]
topic = "again"
rounds = 9
[[steps]]
name = "countdown"
plugin = "countdown"
outputs = { again = "again" }
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a name")
}

fn load(step: &StepSpec, _: Grants) -> Result<Loaded, Error> {
    let name = step.plugin.name.as_str();
    let guest = if step.window.is_some() { count() } else { going(name) };
    Ok(Loaded { digest: Digest::of(name.as_bytes()), guest })
}

fn driver(manifest: &str, partitions: u32) -> Driver {
    let partitions = |topic: &TopicName| if topic.as_str() == "dead" { 1 } else { partitions };
    Driver::with_thresholds(manifest, partitions, load, THRESHOLDS).expect("the manifest is good")
}

fn put(driver: &mut Driver, topic: &str, partition: u32, rows: BatchRef<'_>) {
    driver.feed(&TopicPartition { topic: name(topic), partition }, rows).expect("the topic is there");
}

/// Feeds values, each to the partition of its second word.
fn feed(driver: &mut Driver, topic: &str, values: &[&str]) {
    let partitions = driver.topics().expect("the log answers")[&name(topic)].config.partitions;
    for value in values {
        let key = value.split(' ').nth(1).expect("two words");
        let mut row = Batch::default();
        row.push(0, Some(key.as_bytes()), Some(value.as_bytes()));
        put(driver, topic, partition_of(key.as_bytes(), partitions), row.view());
    }
}

fn run(driver: &mut Driver, take: &Take) {
    let mut steps = 0;
    while driver.step(take).expect("the host is well") {
        steps += 1;
        assert!(steps < 10_000, "it comes to no end");
    }
}

/// Does so many micro-batches, if there is so much to do.
fn steps(driver: &mut Driver, take: &Take, most: usize) {
    let mut left = most;
    while left > 0 && driver.step(take).expect("the host is well") {
        left -= 1;
    }
}

type Headers = BTreeMap<String, String>;

/// Keys, values and headers of all rows of a topic.
fn rows(driver: &Driver, topic: &str) -> Vec<(String, String, Headers)> {
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    let of_partition = |batch: &Batch| {
        let headers = batch.headers.view().rows().chain(std::iter::repeat_with(Vec::new));
        let named = |(name, value): (&[u8], Option<&[u8]>)| (text(Some(name)), text(value));
        let headers = headers.map(|headers| headers.into_iter().map(named).collect());
        let pairs = batch.keys.iter().map(text).zip(batch.values.iter().map(text));
        pairs.zip(headers).map(|((key, value), headers)| (key, value, headers)).collect::<Vec<_>>()
    };
    driver.read(&name(topic)).expect("the topic is there").iter().flat_map(of_partition).collect()
}

/// The values of a topic, in order.
fn values(driver: &Driver, topic: &str) -> Vec<String> {
    let mut values: Vec<String> = rows(driver, topic).into_iter().map(|(_, value, _)| value).collect();
    values.sort();
    values
}

fn round(headers: &Headers) -> u32 {
    headers["millstream.round"].parse().expect("a number")
}

/// What comes of rows `TIME KEY N`.
fn counted_down(values: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    for value in values {
        let (key, left) = value.rsplit_once(' ').expect("words");
        all.extend((0..=left.parse::<u32>().expect("a number")).map(|left| format!("{key} {left}")));
    }
    all.sort();
    all
}

const ROWS: [&str; 6] = ["1 a 3", "2 b 0", "3 c 7", "3 a 1", "4 d 2", "9 b 5"];
const CRASHES: [Crash; 3] = [Crash::Idle, Crash::BeforeCommit, Crash::AfterCommit];

#[test]
fn rows_go_round_exactly_once_wherever_a_commit_is_cut_off() {
    for (partitions, size) in [(1, 1), (1, 3), (4, 1), (4, 5), (4, 100)] {
        for crash in CRASHES {
            let mut driver = driver(COUNTDOWN, partitions);
            feed(&mut driver, "in", &ROWS);
            let take = Take::Records(size);
            let mut crashes = 0;
            while driver.crash(crash, &take).expect("it starts again") | driver.step(&take).expect("the host is well") {
                crashes += 1;
                assert!(crashes < 1000, "it comes to no end");
            }
            let what = format!("{crash:?} {partitions} {size}");
            assert_eq!(values(&driver, "out"), counted_down(&ROWS), "{what}");
            assert!(rows(&driver, "out").iter().all(|(_, _, headers)| headers.is_empty()), "{what}");
            assert!(values(&driver, "dead").is_empty(), "{what}");
            // Each record says how often its row has come round, and comes to the partition of its key.
            let again = rows(&driver, "again");
            assert_eq!(again.len(), values(&driver, "out").len() - ROWS.len(), "{what}");
            for (key, value, headers) in again {
                let began = |row: &&&str| {
                    let (start, left) = row.rsplit_once(' ').expect("words");
                    let left: u32 = left.parse().expect("a number");
                    left >= round(&headers) && value == format!("{start} {}", left - round(&headers))
                };
                assert!(ROWS.iter().any(|row| began(&row)), "{what}: {key} {value} {headers:?}");
            }
        }
    }
}

#[test]
fn going_back_in_mid_loop_counts_no_row_twice() {
    for (partitions, size) in [(1, 1), (1, 4), (4, 2)] {
        let take = Take::Records(size);
        for at in 0..16 {
            let mut driver = driver(COUNTDOWN, partitions);
            feed(&mut driver, "in", &ROWS);
            steps(&mut driver, &take, at);
            let (checkpoint, then) = (driver.checkpoint().expect("the log answers"), values(&driver, "out"));
            // It goes on, or nearly not.
            steps(&mut driver, &take, 3 * (at % 4));
            let mut expected = values(&driver, "out");
            driver.restore(checkpoint.clone()).expect("it can be restored");
            steps(&mut driver, &take, at % 3);
            // A restart on the way does not mistake what is on its way for what is not of its history.
            driver.crash(CRASHES[at % 3], &take).expect("it starts again");
            run(&mut driver, &take);
            // What was written to the output since stays there; all that comes behind the checkpoint comes once more.
            let mut rest = counted_down(&ROWS);
            then.iter().for_each(|value| {
                drop(rest.remove(rest.iter().position(|of| of == value).expect("it is one of them")))
            });
            expected.extend(rest);
            expected.sort();
            assert_eq!(values(&driver, "out"), expected, "{partitions} {size} {at}");
            // And back once more, over both.
            driver.restore(checkpoint).expect("it can be restored");
            run(&mut driver, &take);
            assert_eq!(
                values(&driver, "out").len(),
                expected.len() + counted_down(&ROWS).len() - then.len(),
                "{partitions} {size} {at}"
            );
        }
    }
}

#[test]
fn what_would_go_round_once_too_often_is_a_dead_letter() {
    for plugin in ["countdown", "forging"] {
        let manifest = COUNTDOWN
            .replace("rounds = 9", "rounds = 2")
            .replace("plugin = \"countdown\"", &format!("plugin = \"{plugin}\""));
        for headers in [true, false] {
            let manifest = manifest.replace("topics =", &format!("headers = {headers}\ntopics ="));
            let mut driver = driver(&manifest, 1);
            feed(&mut driver, "in", &["1 a 5", "2 b 2", "3 c 3"]);
            run(&mut driver, &Take::Arrived);
            let expected = ["1 a 3", "1 a 4", "1 a 5", "2 b 0", "2 b 1", "2 b 2", "3 c 1", "3 c 2", "3 c 3"];
            assert_eq!(values(&driver, "out"), expected, "{plugin}");
            let letters = rows(&driver, "dead");
            let said: Vec<_> = letters.iter().map(|(key, value, _)| (key.as_str(), value.as_str())).collect();
            assert_eq!(said, [("a", "1 a 2"), ("c", "3 c 0")], "{plugin}");
            for (_, _, headers) in &letters {
                let field = |name: &str| headers[&format!("millstream.{name}")].as_str();
                assert_eq!((field("code"), field("output"), field("pipeline")), ("loop_rounds", "again", "p"));
                assert_eq!(
                    field("reason"),
                    "the row was to go round by topic `again` in round 3, the limit of `rounds` is 2"
                );
            }
            assert_eq!(driver.status().expect("a status").usage.dead_letters, 2);
        }
    }
}

/// A row of somebody else with a header that is the host's.
fn foreign(value: &str, round: Option<&str>) -> Batch {
    let mut row = Batch::default();
    row.push(0, Some(b"x"), Some(value.as_bytes()));
    row.headers.push_row([(&b"millstream.round"[..], round.map(str::as_bytes))]);
    row
}

#[test]
fn a_header_of_somebody_else_neither_begins_anew_nor_goes_on_for_ever() {
    // What it cannot have written ends the row's way; what it can have written shortens it.
    let cases = [
        (Some("0"), 0, Some("loop_round_unknown")),
        (Some("-1"), 0, Some("loop_round_unknown")),
        (Some("4294967295"), 0, Some("loop_round_unknown")),
        (Some("18446744073709551616"), 0, Some("loop_round_unknown")),
        (Some("one"), 0, Some("loop_round_unknown")),
        (None, 0, Some("loop_round_unknown")),
        (Some("9"), 0, Some("loop_rounds")),
        (Some("700"), 0, Some("loop_rounds")),
        (Some("7"), 2, Some("loop_rounds")),
        (Some("5"), 3, None),
    ];
    for (header, rounds, code) in cases {
        let mut driver = driver(COUNTDOWN, 1);
        put(&mut driver, "again", 0, foreign("1 x 3", header).view());
        // Elsewhere such a header says nothing.
        put(&mut driver, "in", 0, foreign("2 y 1", header).view());
        run(&mut driver, &Take::Arrived);
        let reached = (3 - rounds..=3).map(|left| format!("1 x {left}"));
        let expected: Vec<_> = reached.chain(["2 y 0".to_owned(), "2 y 1".to_owned()]).collect();
        assert_eq!(values(&driver, "out"), expected, "{header:?}");
        let codes: Vec<_> =
            rows(&driver, "dead").iter().map(|(_, _, headers)| headers["millstream.code"].clone()).collect();
        assert_eq!(codes, Vec::from_iter(code.map(str::to_owned)), "{header:?}");
    }
    // One without it begins there as anywhere.
    let mut driver = driver(COUNTDOWN, 1);
    feed(&mut driver, "again", &["1 x 3"]);
    run(&mut driver, &Take::Arrived);
    assert_eq!(values(&driver, "out"), counted_down(&["1 x 3"]));
}

#[test]
fn of_a_timer_no_round_is_known() {
    let manifest = COUNTDOWN.replace("plugin = \"countdown\"", "plugin = \"ring\"");
    let mut driver = driver(&manifest, 1);
    for time in [1, 50] {
        let mut row = Batch::default();
        row.push(time, Some(b"k"), Some(time.to_string().as_bytes()));
        put(&mut driver, "in", 0, row.view());
    }
    run(&mut driver, &Take::Arrived);
    let letters = rows(&driver, "dead");
    let [(key, value, headers)] = letters.as_slice() else { panic!("one timer is due: {letters:?}") };
    assert_eq!(
        (key.as_str(), value.as_str(), headers["millstream.code"].as_str()),
        ("k", "rung", "loop_round_unknown")
    );
    assert!(headers["millstream.reason"].contains("it comes from a timer"), "{headers:?}");
    assert_eq!((values(&driver, "out"), values(&driver, "again")), (vec!["1".to_owned(), "50".to_owned()], Vec::new()));
}

/// Windows behind the loop: its rows count in them, and it is not waited for.
#[test]
fn windows_close_by_the_other_sources_alone() {
    let windowed = COUNTDOWN.replace(
        "[output]",
        "[[steps]]\nname = \"count\"\nplugin = \"count\"\nwindow = { tumbling = \"10ms\" }\nlate = \"late\"\n[output]",
    );
    for watermark in ["disorder = \"0ms\"", "disorder = \"0ms\"\nidle = \"1m\"", "disorder = \"0ms\"\ndrift = \"5ms\""]
    {
        for partitions in [1, 4] {
            let manifest = windowed.replace("[loop]", &format!("[watermark]\n{watermark}\n[loop]"));
            let mut driver = driver(&manifest, partitions);
            // One key, so that the other partitions have nothing: they are told to be quiet.
            for partition in 0..partitions {
                let at = TopicPartition { topic: name("in"), partition };
                if partition != partition_of(b"a", partitions) {
                    driver.mark(&at, crate::time::Mark::Idle).expect("it is a source");
                }
            }
            feed(&mut driver, "in", &["1 a 2", "5 a 1"]);
            run(&mut driver, &Take::Arrived);
            feed(&mut driver, "in", &["30 a 0"]);
            run(&mut driver, &Take::Arrived);
            let what = format!("{watermark} {partitions}");
            assert_eq!(values(&driver, "out"), ["a 0 5"], "{what}");
            assert_eq!(driver.status().expect("a status").watermark, Some(29), "{what}");
            // What comes round when its window is over is late like any other row.
            feed(&mut driver, "in", &["30 a 1", "60 a 0"]);
            run(&mut driver, &Take::Arrived);
            assert_eq!(
                (values(&driver, "out"), values(&driver, "late")),
                (vec!["a 0 5".to_owned(), "a 30 2".to_owned()], vec!["30 a 0".to_owned()]),
                "{what}"
            );
        }
    }
}

fn windowed(watermark: &str) -> String {
    COUNTDOWN.replace("[loop]", &format!("[watermark]\n{watermark}\n[loop]")).replace(
        "[output]",
        "[[steps]]\nname = \"count\"\nplugin = \"count\"\nwindow = { session = \"10ms\" }\n[output]",
    )
}

fn position(driver: &Driver, input: usize) -> u64 {
    driver.status().expect("a status").inputs[input].position
}

/// A loop with much to read, or nothing, is no input that others wait for.
#[test]
fn others_advance_as_if_there_were_no_loop() {
    let mut driver = driver(&windowed("disorder = \"0ms\""), 1);
    feed(&mut driver, "in", &["1 a 7"; 8]);
    driver.step(&Take::Arrived).expect("the host is well");
    feed(&mut driver, "in", &["1000 a 0"]);
    driver.step(&Take::Records(2)).expect("the host is well");
    assert_eq!((position(&driver, 0), position(&driver, 1)), (9, 1), "it waits for rows that come round");
    // Nor do those wait that are far ahead of a source which has more.
    let mut driver = self::driver(&windowed("disorder = \"0ms\""), 1);
    feed(&mut driver, "in", &["1000 a 1"]);
    driver.step(&Take::Arrived).expect("the host is well");
    feed(&mut driver, "in", &["1 b 0", "2 b 0", "3 b 0"]);
    driver.step(&Take::Records(2)).expect("the host is well");
    assert_eq!(position(&driver, 1), 1);
}

#[test]
fn drift_is_measured_between_the_others() {
    let mut driver = driver(&windowed("disorder = \"0ms\"\ndrift = \"5ms\""), 2);
    let feed = |driver: &mut Driver, partition, values: &[&str]| {
        let mut rows = Batch::default();
        values.iter().for_each(|value| rows.push(0, Some(b"k"), Some(value.as_bytes())));
        put(driver, "in", partition, rows.view());
    };
    feed(&mut driver, 0, &["1 a 1"]);
    feed(&mut driver, 1, &["1 a 0"]);
    run(&mut driver, &Take::Arrived);
    // The one by which it comes to be ahead is the last that is taken, whatever has come round meanwhile.
    feed(&mut driver, 0, &["3 a 1", "100 a 1", "101 a 0", "102 a 0"]);
    run(&mut driver, &Take::Arrived);
    assert_eq!((position(&driver, 0), position(&driver, 1)), (3, 1));
    feed(&mut driver, 1, &["100 a 0"]);
    run(&mut driver, &Take::Arrived);
    assert_eq!((position(&driver, 0), position(&driver, 1)), (5, 2));
}

#[test]
fn a_loop_that_has_run_dry_commits_nothing() {
    for (manifest, topic, values) in [(COUNTDOWN, "in", &ROWS[..]), (GRAPH, "edges", &["a b", "b c"])] {
        let manifest = manifest.replace("[loop]", "[watermark]\nidle = \"1s\"\ndrift = \"1s\"\n[loop]");
        let mut driver = driver(&manifest, 4);
        feed(&mut driver, topic, values);
        run(&mut driver, &Take::Arrived);
        driver.set_clock(10_000);
        run(&mut driver, &Take::Arrived);
        let commits = driver.status().expect("a status").usage.commits;
        for clock in [20_000, 1_000_000] {
            driver.set_clock(clock);
            run(&mut driver, &Take::Arrived);
        }
        // The partitions that others write to fall idle once; those of the loop do not count.
        let after = driver.status().expect("a status").usage.commits;
        assert!(after - commits <= 1, "{} commits of nothing", after - commits);
        assert_eq!(driver.next_clock(), None, "it would wake for nothing");
        driver.crash(Crash::Idle, &Take::Arrived).expect("it starts again");
        run(&mut driver, &Take::Arrived);
        assert!(driver.status().expect("a status").usage.commits - after <= 1);
    }
}
