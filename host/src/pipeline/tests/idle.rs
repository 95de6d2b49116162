//! A pipeline that has nothing to do commits nothing, whatever it is made of.

use super::harness::load;
use crate::ids::{TopicName, TopicPartition};
use crate::pipeline::Take;
use crate::pipeline::driver::Driver;
use crate::record::Batch;

/// More commits than any of these pipelines needs for a few rows.
const COMMITS_MAX: u64 = 60;

/// What rests: a name for people, what the manifest's `watermark` says, and its steps.
const PIPELINES: [(&str, &str, &str); 13] = [
    ("transform", "", ""),
    ("tumbling", "", "window = { tumbling = \"10ms\" }"),
    ("idle", "idle = \"40ms\"", "window = { tumbling = \"10ms\" }"),
    ("drift", "drift = \"5ms\"", "window = { tumbling = \"10ms\" }"),
    ("drift and idle", "drift = \"5ms\"\nidle = \"40ms\"", "window = { tumbling = \"10ms\" }"),
    ("lateness", "idle = \"40ms\"", "window = { tumbling = \"10ms\", lateness = \"20ms\" }"),
    ("early by time", "idle = \"40ms\"", "window = { tumbling = \"100ms\", early = \"5ms\" }"),
    ("early by the clock", "", "window = { tumbling = \"100ms\", early = \"5ms\", early-clock = \"processing\" }"),
    ("global by the clock", "", "window = { global = true, early = \"5ms\", early-clock = \"processing\" }"),
    ("hopping", "idle = \"40ms\"", "window = { hopping = \"20ms\", slide = \"5ms\" }"),
    ("sessions", "drift = \"5ms\"\nidle = \"40ms\"", "window = { session = \"10ms\" }"),
    ("count", "", "window = { count = 3 }"),
    ("process", "drift = \"5ms\"\nidle = \"40ms\"", "grants = [\"table\"]"),
];

fn manifest(watermark: &str, step: &str) -> String {
    let work = match step {
        "" => String::new(),
        process if process.starts_with("grants") => {
            format!("[[steps]]\nname = \"work\"\nplugin = \"track\"\n{process}\n")
        }
        window => format!("[[steps]]\nname = \"work\"\nplugin = \"count\"\n{window}\n"),
    };
    format!(
        "name = \"p\"\nsource = {{ topics = [\"in\"] }}\noutput = {{ topic = \"out\" }}\n[watermark]\n{watermark}\n\
         [[tables]]\nname = \"users\"\ntopic = \"users\"\n[[steps]]\nname = \"parse\"\nplugin = \"parse\"\nlookup = [\"users\"]\n{work}"
    )
}

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a name")
}

fn feed(driver: &mut Driver, topic: &str, partition: u32, value: &str) {
    let mut rows = Batch::default();
    rows.push(0, Some(b"k"), Some(value.as_bytes()));
    driver.feed(&TopicPartition { topic: name(topic), partition }, rows.view()).expect("the topic is there");
}

/// Does what there is to do.
fn settle(driver: &mut Driver, what: &str) {
    for _ in 0..COMMITS_MAX {
        if !driver.step(&Take::Arrived).expect("the host is well") {
            return;
        }
    }
    panic!("{what}: it does not come to rest");
}

fn commits(driver: &Driver) -> u64 {
    driver.status().expect("a status").usage.commits
}

fn started(watermark: &str, step: &str) -> Driver {
    Driver::new(&manifest(watermark, step), |topic| if topic.as_str() == "in" { 3 } else { 1 }, load)
        .expect("the manifest is good")
}

#[test]
fn whatever_a_pipeline_is_made_of_it_comes_to_rest_and_then_commits_nothing() {
    for (what, watermark, step) in PIPELINES {
        let mut driver = started(watermark, step);
        feed(&mut driver, "users", 0, "somebody");
        for (partition, value) in [(0, "1 a s1@30"), (1, "2 b p5@25"), (0, "500 a"), (1, "9 b"), (0, "510 c")] {
            // Only a process reads what is behind the key.
            let value = if what == "process" { value } else { value.split(" s").next().unwrap_or_default() };
            let value = if what == "process" { value } else { value.split(" p").next().unwrap_or_default() };
            feed(&mut driver, "in", partition, value);
            settle(&mut driver, what);
        }
        for clock in (0..500).step_by(5) {
            driver.set_clock(clock);
            settle(&mut driver, what);
        }
        let rested = commits(&driver);
        assert!((1..=COMMITS_MAX).contains(&rested), "{what}: {rested} commits");
        for clock in (500..3000).step_by(50) {
            driver.set_clock(clock);
            let next = driver.next_clock();
            assert!(!driver.step(&Take::Arrived).expect("the host is well"), "{what} at {clock}: due at {next:?}");
        }
        let next = driver.next_clock();
        assert!(next.is_none_or(|next| next > driver.clock()), "{what} would wake for nothing at {next:?}");
        assert_eq!(commits(&driver), rested, "{what}");
    }
}

#[test]
fn a_partition_that_is_held_back_is_not_committed_for_while_another_trickles() {
    let mut driver = started("drift = \"5ms\"\nidle = \"40ms\"", "window = { tumbling = \"10ms\" }");
    for (partition, value) in [(0, "1 a"), (0, "1000 a"), (1, "1 b"), (2, "1 c")] {
        feed(&mut driver, "in", partition, value);
        settle(&mut driver, "before");
    }
    // The first partition has been read to its end, and waits from here on for the others, which are slow but not idle.
    for (at, clock) in (0..11_i64).zip((30..).step_by(30)) {
        driver.set_clock(clock);
        let before = commits(&driver);
        for partition in 1..3 {
            feed(&mut driver, "in", partition, &format!("{} b", 2 + at));
        }
        settle(&mut driver, "a trickle");
        let next = driver.next_clock();
        assert!(next.is_none_or(|next| next > clock), "it would wake for nothing: {next:?} at {clock}");
        assert!(commits(&driver) - before <= 2, "row {at}: {} commits", commits(&driver) - before);
    }
    // What arrives where it is held back waits, and is taken when the others have caught up.
    feed(&mut driver, "in", 0, "1001 a");
    settle(&mut driver, "held back");
    assert_eq!(driver.status().expect("a status").inputs[0].position, 2);
    for partition in 1..3 {
        feed(&mut driver, "in", partition, "1000 b");
    }
    settle(&mut driver, "caught up");
    assert_eq!(driver.status().expect("a status").inputs[0].position, 3);
}
