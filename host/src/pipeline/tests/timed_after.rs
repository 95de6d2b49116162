//! Event time that is final before the last transform: rows that later ones drop move the watermark.

use super::harness::{Driver, load};
use crate::error::Coded;
use crate::ids::{TopicName, TopicPartition};
use crate::pipeline::Take;
use crate::pipeline::driver::{self, Crash};
use crate::record::Batch;
use crate::time::Watermark;

/// Spreads, sifts, then counts in windows of 10 ms with 5 ms of disorder. Times past 500 ms are ahead of the clock.
pub(super) const SIFTING: &str = r#"
name = "p"
[source]
topics = ["in"]
[watermark]
disorder = "5ms"
ahead = "500ms"
after = "spread"
[[steps]]
name = "spread"
plugin = "spread"
outputs = { away = "side" }
[[steps]]
name = "sift"
plugin = "sift"
outputs = { side = "side", sleep = "@idle", wake = "@active" }
[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "10ms" }
late = "late"
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

/// The same with event time read where it is unless the manifest says otherwise.
pub(super) fn as_before() -> String {
    SIFTING.replace("after = \"spread\"\n", "")
}

fn driver(manifest: &str, partitions: &[&[&str]]) -> Driver {
    let inputs: Vec<Vec<String>> =
        partitions.iter().map(|values| values.iter().map(|value| (*value).to_owned()).collect()).collect();
    Driver::new(manifest, &inputs)
}

fn whole(manifest: &str, partitions: &[&[&str]]) -> Driver {
    let mut driver = driver(manifest, partitions);
    driver.finish().expect("nothing fails the host");
    driver
}

#[test]
fn a_row_closes_windows_whatever_becomes_of_it_behind_the_place() {
    for deed in ["gone", "refused", "trap", "side", "back"] {
        let closing = format!("25 b {deed}");
        let rows = ["1 a", closing.as_str()];
        assert!(whole(SIFTING, &[&rows]).values("out").contains(&"a 0 1".to_owned()), "{deed}");
        assert!(whole(&as_before(), &[&rows]).values("out").is_empty(), "{deed}");
    }
    for deed in ["lost", "away"] {
        let before = format!("25 b {deed}");
        assert!(whole(SIFTING, &[&["1 a", &before]]).values("out").is_empty(), "{deed} does not come to the place");
    }
}

#[test]
fn what_dropped_rows_said_survives_a_crash() {
    let mut driver = driver(SIFTING, &[&["1 a", "25 b gone", "2 a"]]);
    driver.step(&[2]).expect("nothing fails the host");
    assert_eq!(driver.machine.watermark(), Watermark::At(19));
    let mut driver = driver.crash(SIFTING);
    assert_eq!(driver.machine.watermark(), Watermark::At(19));
    driver.finish().expect("nothing fails the host");
    assert_eq!((driver.values("out"), driver.values("late")), (vec!["a 0 1".to_owned()], vec!["2 a".to_owned()]));
}

#[test]
fn no_row_is_late_by_what_it_came_from() {
    let driver = whole(SIFTING, &[&["45 a back"]]);
    assert!(driver.values("late").is_empty(), "its own time at the place is no reason");
    let driver = whole(SIFTING, &[&["45 a gone;20 a;45 a back;99 b"]]);
    assert_eq!(driver.values("late"), ["20 a", "45 a back"], "rows of its record that stood before it are one");
    let driver = whole(SIFTING, &[&["20 a twin;45 a gone"]]);
    assert!(driver.values("late").is_empty(), "what stands behind it is none");
}

#[test]
fn a_time_that_is_not_believed_moves_nothing() {
    for time in [i64::MIN, 501, i64::MAX] {
        let strange = format!("{time} b gone");
        let driver = whole(SIFTING, &[&["20 a", &strange, "14 a"]]);
        assert_eq!(driver.machine.watermark(), Watermark::At(14), "{time}");
        let strange = format!("{time} b");
        let driver = whole(SIFTING, &[&["20 a", &strange, "14 a"]]);
        assert_eq!((driver.machine.watermark(), driver.dead_letters().len()), (Watermark::At(14), 1), "{time}");
    }
}

#[test]
fn dead_letters_behind_the_place_are_of_their_records() {
    let driver = whole(SIFTING, &[&["1 a lost;2 b", "3 c;4 d refused", "5 e;6 f trap", "7 g;900 bad;8 bad"]]);
    let letters = driver.dead_letters();
    let mut offsets: Vec<_> =
        letters.iter().map(|letter| (letter["offset"].as_str(), letter["code"].as_str())).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [("1", "refused"), ("2", "trap_unreachable"), ("3", "no-count"), ("3", "timestamp_ahead")]);
    let texts = driver.values("dead");
    assert!(texts.contains(&"5 e;6 f trap".to_owned()), "{texts:?}");
}

#[test]
fn marks_stand_by_their_records_among_rows_that_are_dropped() {
    let woken = driver(SIFTING, &[&["10 a sleep", "20 b gone"], &["100 c"]]);
    let asleep = driver(SIFTING, &[&["20 b gone", "10 a sleep"], &["100 c"]]);
    let roused = driver(SIFTING, &[&["10 a sleep", "10 a lost;20 b lost;15 a wake"], &["100 c"]]);
    for (mut driver, expected) in [(woken, 14), (asleep, 94), (roused, 9)] {
        for cut in [[1, 0], [1, 0], [0, 1]] {
            driver.step(&cut).expect("nothing fails the host");
        }
        assert_eq!(driver.machine.watermark(), Watermark::At(expected), "row by row");
    }
    let woken = whole(SIFTING, &[&["10 a sleep", "20 b gone"], &["100 c"]]);
    let asleep = whole(SIFTING, &[&["20 b gone", "10 a sleep"], &["100 c"]]);
    assert_eq!((woken.machine.watermark(), asleep.machine.watermark()), (Watermark::At(14), Watermark::At(94)));
}

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a name")
}

fn fed(manifest: &str, topics: &[(&str, &[(i64, &str)])]) -> driver::Driver {
    let mut driver = driver::Driver::new(manifest, |_| 1, load).expect("the manifest is good");
    feed(&mut driver, topics);
    driver
}

fn feed(driver: &mut driver::Driver, topics: &[(&str, &[(i64, &str)])]) {
    for (topic, records) in topics {
        let mut batch = Batch::default();
        records.iter().for_each(|(time, value)| batch.push(*time, None, Some(value.as_bytes())));
        let at = TopicPartition { topic: name(topic), partition: 0 };
        driver.feed(&at, batch.view()).expect("the topic is there");
    }
    driver.run(&Take::Arrived).expect("the host is well");
}

fn watermark(driver: &driver::Driver) -> Option<i64> {
    driver.status().expect("a status").watermark
}

#[test]
fn event_time_may_be_final_in_the_records() {
    let manifest = SIFTING.replace("\"spread\"\n[[", "\"@source\"\n[[");
    let driver = fed(&manifest, &[("in", &[(10, "3 a"), (60, "99 b lost"), (50, "40 c;400 c")])]);
    assert_eq!(watermark(&driver), Some(54));
    assert_eq!(driver.read(&name("late")).expect("it is there")[0].len(), 1, "40 c came when 54 was known");
}

#[test]
fn rows_that_pass_the_place_by_have_their_final_time_there() {
    let manifest = SIFTING
        .replace("[\"in\"]", "[\"in\", \"plain\"]")
        .replace("plugin = \"spread\"", "plugin = \"spread\"\nonly = [\"in\"]");
    let driver = fed(&manifest, &[("in", &[(0, "90 a gone")]), ("plain", &[(30, "0 b"), (70, "0 b gone")])]);
    assert_eq!(watermark(&driver), Some(64), "the record of `plain` that is dropped by `sift` moves it");
    assert_eq!(driver.status().expect("a status").open_groups, 0);
    // Where no step behind the place takes them either, rows that pass and rows that arrive are the same.
    let manifest = manifest.replace("plugin = \"sift\"", "plugin = \"sift\"\nonly = [\"in\"]");
    let driver = fed(&manifest, &[("in", &[(0, "90 a gone")]), ("plain", &[(30, "0 b"), (70, "0 b gone")])]);
    assert_eq!(watermark(&driver), Some(64));
    assert_eq!(driver.status().expect("a status").open_groups, 1);
}

#[test]
fn a_pipeline_goes_on_when_the_place_is_changed() {
    let mut driver = fed(&as_before(), &[("in", &[(0, "20 a"), (0, "70 b gone")])]);
    assert_eq!(watermark(&driver), Some(14));
    driver.change(SIFTING, |_| 1, load).expect("the state fits");
    assert_eq!(watermark(&driver), Some(14));
    feed(&mut driver, &[("in", &[(0, "40 b gone")])]);
    assert_eq!(watermark(&driver), Some(34));
    driver.change(&as_before(), |_| 1, load).expect("the state fits");
    driver.crash(Crash::Idle, &Take::Arrived).expect("it starts again");
    assert_eq!(watermark(&driver), Some(34), "it never goes back");
}

#[test]
fn a_place_that_makes_no_sense_is_refused() {
    let refusal = |manifest: &str| driver::Driver::new(manifest, |_| 1, load).expect_err("it makes no sense");
    let after = |place: &str| SIFTING.replace("after = \"spread\"", &format!("after = \"{place}\""));
    let error = refusal(&after("count"));
    assert_eq!(error.code(), "after_misplaced");
    assert!(error.to_string().contains("no transform before `count`, the first step with state"), "{error}");
    assert!(error.to_string().ends_with("name one of `@source`, `spread`, `sift`"), "{error}");
    let behind = "[[steps]]\nname = \"more\"\nplugin = \"parse\"\n[output]";
    let error = refusal(&after("more").replace("[output]", behind));
    assert_eq!(error.code(), "after_misplaced");
    let track = "plugin = \"track\"\ngrants = [\"table\"]\n";
    let counting = "plugin = \"count\"\nwindow = { tumbling = \"10ms\" }\nlate = \"late\"\n";
    let error = refusal(&after("count").replace(counting, track));
    assert_eq!(error.code(), "after_misplaced", "a step with state of its own is no transform either");
    let stateless = SIFTING.replace(&format!("[[steps]]\nname = \"count\"\n{counting}"), "");
    let error = refusal(&stateless);
    assert_eq!(error.code(), "after_misplaced");
    assert!(error.to_string().contains("no step has state"), "{error}");
    for (place, expected) in [
        ("sprad", "there is no step `sprad`: `after` is one of `@source`, `spread`, `sift` (did you mean `spread`?)"),
        ("source", "did you mean `@source`?"),
        ("@sink", "line 8, column 9: `@sink` is neither a step nor `@source`"),
        ("Sift", "may only have"),
    ] {
        let error = refusal(&after(place));
        assert_eq!(error.code(), "invalid_manifest", "{place}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let punctuated = SIFTING.replace("disorder = \"5ms\"", "punctuated = true").replace("@idle", "@watermark");
    assert!(refusal(&punctuated).to_string().contains("use one of `after` and `punctuated`"));
}
