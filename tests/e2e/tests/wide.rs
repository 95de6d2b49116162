//! Rows and timers that give more results than one answer should have, with the plugins of this workspace, compiled in and
//! as components.

use millstream_sdk::testing::{Input, Setup, TestDriver, TopicRow};

/// A join of the topics `left` and `right`, and its configuration.
fn join(config: &str) -> String {
    format!(
        r#"
name = "wide"
[source]
topics = ["left", "right"]
[watermark]
disorder = "0s"
[[steps]]
name = "join"
plugin = "join"
config = {config}
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#
    )
}

/// The plugin of a step, compiled in and as a component.
fn both(manifest: &str) -> [Setup; 2] {
    // It is what compiles.
    harness::binary().expect("the server can be built");
    let native = TestDriver::of(manifest).plugin::<join::Join>("join").plugin::<top_n::TopN>("top-n");
    [native, component(manifest)]
}

fn component(manifest: &str) -> Setup {
    harness::binary().expect("the server can be built");
    let plugin = if manifest.contains("top-n") { "top-n" } else { "join" };
    TestDriver::of(manifest).component(plugin, harness::component(plugin).expect("it can be built"))
}

fn started(setup: &Setup) -> TestDriver {
    setup.start().unwrap_or_else(|refused| panic!("{refused}"))
}

fn rows(key: &str, count: i64, time: impl Fn(i64) -> i64) -> Vec<Input> {
    (0..count).map(|number| Input::value(number.to_string()).key(key).at(time(number))).collect()
}

/// What came out, in order, when there are no dead letters.
fn results(driver: &mut TestDriver) -> Vec<TopicRow> {
    driver.end();
    assert_eq!(driver.dead_letters(), []);
    driver.all("out")
}

/// One key with very many rows of each side, and one with few.
fn feed(driver: &mut TestDriver, wide: (i64, i64), narrow: (i64, i64)) {
    for (key, (left, right)) in [("wide", wide), ("narrow", narrow)] {
        driver.queue("left", rows(key, left, |_| 1_000));
        driver.queue("right", rows(key, right, |_| 1_000));
    }
    driver.run();
    // Rows behind the window, with which it is complete.
    driver.feed("left", rows("later", 1, |_| 70_000));
    driver.feed("right", rows("later", 1, |_| 200_000));
}

#[test]
fn a_window_join_gives_every_pair() {
    let manifest = join(r#"{ by = { window = { size_ms = 60000 } } }"#);
    for setup in both(&manifest) {
        let mut driver = started(&setup);
        feed(&mut driver, (40, 40), (1, 5));
        let results = results(&mut driver);
        assert_eq!(results.len(), 1_605);
        let wide: Vec<_> = results.iter().filter(|row| row.key_text() == "wide").map(TopicRow::json).collect();
        let pair = |row: &serde_json::Value| (row["left"].as_i64(), row["right"].as_i64());
        let pairs = (0..40).flat_map(|left| (0..40).map(move |right| (Some(left), Some(right))));
        assert!(wide.iter().map(pair).eq(pairs), "every pair is there once, in order");
    }
}

#[test]
fn rows_without_a_partner_all_leave_at_once() {
    let manifest = join(r#"{ by = { interval = { lower_ms = 0, upper_ms = 10 } }, kind = "left" }"#);
    for setup in both(&manifest) {
        let mut driver = started(&setup);
        feed(&mut driver, (1_500, 0), (5, 0));
        assert_eq!(results(&mut driver).iter().filter(|row| row.timestamp == 1_000).count(), 1_505);
    }
}

#[test]
fn rows_of_one_time_all_get_what_a_table_had() {
    let manifest = join(r#"{ by = { as_of = {} }, kind = "left" }"#);
    for setup in both(&manifest) {
        let mut driver = started(&setup);
        feed(&mut driver, (1_300, 1), (5, 1));
        assert_eq!(results(&mut driver).iter().filter(|row| row.timestamp == 1_000).count(), 1_305);
    }
}

#[test]
fn the_tops_of_all_groups_of_a_window_are_there() {
    let manifest = r#"
name = "tops"
[source]
topics = ["in"]
[watermark]
disorder = "0s"
[[steps]]
name = "top"
plugin = "top-n"
config = { field = "x", count = 100, group = "g" }
window = { tumbling = "1m" }
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;
    for setup in both(manifest) {
        let mut driver = started(&setup);
        let row = |number: i64| Input::value(format!(r#"{{"x":{number},"g":{}}}"#, number % 20)).key("k").at(1_000);
        driver.feed("in", (0..2_500).map(row));
        let results = results(&mut driver);
        assert_eq!(results.len(), 2_000);
        let ranks = results.iter().map(|row| row.json()["rank"].as_i64());
        assert!(ranks.eq((0..20).flat_map(|_| 1..=100).map(Some)));
    }
}

/// More than a call, a commit or the memory of a plugin may have: 1,000 × 1,000 pairs are 67 MiB.
#[test]
fn a_join_of_very_many_rows_of_a_key_is_whole() {
    let manifest = join(r#"{ by = { window = { size_ms = 60000 } } }"#);
    let mut driver = started(&component(&manifest));
    feed(&mut driver, (1_000, 1_000), (1, 5));
    let usage = driver.status().usage;
    assert_eq!(usage.failed_calls, 0, "a timer that goes on needs no call that fails");
    assert_eq!(results(&mut driver).len(), 1_000_005);
}

/// An as-of join whose table comes last costs about what it costs when the table comes first: all that waited for it is
/// done in few calls, which read the state once.
#[test]
fn an_as_of_join_costs_about_the_same_whichever_side_comes_first() {
    let manifest = join(r#"{ by = { as_of = {} } }"#);
    let fuel = |order: [&str; 2]| {
        let mut driver = started(&component(&manifest));
        for topic in order {
            if topic == "left" {
                driver.feed(topic, rows("k", 4_000, |number| 1_000 + number * 60_000));
            } else {
                driver.queue(topic, rows("k", 1, |_| 500));
                // Time moves on by another key's rows.
                driver.queue(topic, rows("other", 40, |number| 1_000 + number * 6_000_000));
                driver.run();
            }
        }
        driver.feed("right", rows("k", 1, |_| 300_000_000));
        driver.feed("left", rows("k", 1, |_| 300_000_000));
        assert_eq!(results(&mut driver).len(), 4_001);
        driver.status().usage.fuel
    };
    let (table_first, stream_first) = (fuel(["right", "left"]), fuel(["left", "right"]));
    assert!(stream_first <= 2 * table_first, "{stream_first} fuel with the stream first, {table_first} otherwise");
    assert!(table_first <= 2 * stream_first, "{table_first} fuel with the table first, {stream_first} otherwise");
}
