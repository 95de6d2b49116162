//! A backlog gives what the live stream gave, whatever partitions and topics the rows are in and wherever micro-batches are
//! cut: the plugins of this repository, compiled in, on rows that are out of order by no more than `disorder`.

use count::Count;
use dedupe::DedupeRows;
use harness::Random;
use join::Join;
use millstream_sdk::testing::{Crash, Input, Setup, TestDriver};
use pattern::PatternRows;
use sessionize::Sessionize;
use top_n::TopN;

/// How far rows are out of order, and what the manifests say of it.
const DISORDER_MS: i64 = 50;
/// Rows of a run.
const ROWS: i64 = 120;

/// A step, and what it must not depend on.
struct Case {
    name: &'static str,
    /// The step beside its name.
    step: &'static str,
    /// Whether it joins two topics; the step then has `LEFT` and `RIGHT` for their places.
    joins: bool,
}

const CASES: &[Case] = &[
    Case {
        name: "join by windows",
        step: r#"plugin = "join", config = { left = LEFT, right = RIGHT, by = { window = { size_ms = 200 } }, kind = "full" }"#,
        joins: true,
    },
    Case {
        name: "join by an interval",
        step: r#"plugin = "join", config = { left = LEFT, right = RIGHT, by = { interval = { lower_ms = -60, upper_ms = 90 } } }"#,
        joins: true,
    },
    Case {
        name: "left join by an interval",
        step: r#"plugin = "join", config = { left = LEFT, right = RIGHT, by = { interval = { lower_ms = 0, upper_ms = 40 } }, kind = "left" }"#,
        joins: true,
    },
    Case {
        name: "as-of join",
        step: r#"plugin = "join", config = { left = LEFT, right = RIGHT, by = { as_of = { max_age_ms = 100 } }, kind = "left" }"#,
        joins: true,
    },
    Case {
        name: "pattern",
        step: r#"plugin = "pattern", config = { stages = [{ name = "low", where = "n < 5" }, { name = "high", where = "n >= 5", times = 2 }], within_ms = 400, skip = "past_last", fields = ["id"] }"#,
        joins: false,
    },
    Case { name: "dedupe", step: r#"plugin = "dedupe", config = { ttl_ms = 300, fields = ["n"] }"#, joins: false },
    Case {
        name: "sessionize",
        step: r#"plugin = "sessionize", config = { gap_ms = 70, fields = ["id"], funnel = [{ name = "low", where = "n < 5" }, { name = "high", where = "n >= 5" }] }"#,
        joins: false,
    },
    Case {
        name: "top-n",
        step: r#"plugin = "top-n", config = { field = "n", count = 3 }, window = { tumbling = "200ms" }"#,
        joins: false,
    },
    Case { name: "count in sessions", step: r#"plugin = "count", window = { session = "70ms" }"#, joins: false },
    Case {
        name: "count in windows",
        step: r#"plugin = "count", window = { hopping = "200ms", slide = "50ms" }"#,
        joins: false,
    },
];

impl Case {
    /// The pipeline over these topics, each in so many partitions.
    fn setup(&self, topics: &[&str], partitions: u32) -> Setup {
        let place = |topic: &str| topics.iter().position(|other| *other == topic).unwrap_or_default().to_string();
        let step = self.step.replace("LEFT", &place("left")).replace("RIGHT", &place("right"));
        let manifest = format!(
            "name = \"p\"\nsource = {{ topics = {topics:?} }}\nwatermark = {{ disorder = \"{DISORDER_MS}ms\" }}\n\
             steps = [{{ name = \"step\", {step} }}]\noutput = {{ topic = \"out\" }}\n"
        );
        let setup = TestDriver::of(&manifest)
            .plugin::<Count>("count")
            .plugin::<DedupeRows>("dedupe")
            .plugin::<Join>("join")
            .plugin::<PatternRows>("pattern")
            .plugin::<Sessionize>("sessionize")
            .plugin::<TopN>("top-n");
        topics.iter().fold(setup, |setup, topic| setup.partitions(topic, partitions))
    }
}

/// A row, and the topic it comes by if there are two.
#[derive(Debug, Clone)]
struct Row {
    topic: &'static str,
    input: Input,
}

/// Rows in the order in which they come: each at a time of its own, and none further behind one before it than is allowed.
fn rows(seed: u64) -> Vec<Row> {
    let mut random = Random::new(seed);
    let mut moments: Vec<(i64, i64)> =
        (0..ROWS).map(|number| (number * 7 + random.below(DISORDER_MS as u64 - 10) as i64, number * 7)).collect();
    moments.sort_unstable();
    let row = |(number, (_, time)): (usize, &(i64, i64))| {
        let key = ["a", "b", "c", "d", "e"][random.below(5) as usize];
        let value = format!(r#"{{"id":{number},"n":{}}}"#, random.below(10));
        let topic = if random.below(2) == 0 { "left" } else { "right" };
        Row { topic, input: Input::value(value).key(key).at(*time) }
    };
    moments.iter().enumerate().map(row).collect()
}

/// How rows are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One after the other, each processed before the next comes.
    Live,
    /// All of them before the first is processed.
    Backlog,
    /// The same, in micro-batches of so many.
    Cut(usize),
    /// The same, with a crash in each.
    Crashing(usize),
}

const WAYS: [Way; 5] = [Way::Live, Way::Backlog, Way::Cut(33), Way::Cut(8), Way::Crashing(17)];

/// What a pipeline gives for rows, sorted.
fn results(case: &Case, topics: &[&str], partitions: u32, way: Way, rows: &[Row]) -> Vec<String> {
    let mut driver =
        case.setup(topics, partitions).start().unwrap_or_else(|refused| panic!("{}: {refused}", case.name));
    if let Way::Cut(records) | Way::Crashing(records) = way {
        driver.batch_size(records);
    }
    for Row { topic, input } in rows {
        driver.queue(if case.joins { topic } else { topics[0] }, [input.clone()]);
        if way == Way::Live {
            driver.run();
        }
    }
    if let Way::Crashing(_) = way {
        while driver.crash(Crash::AfterCommit) | driver.crash(Crash::BeforeCommit) | driver.step() {}
    }
    driver.run();
    driver.end();
    let letters = driver.dead_letters();
    assert!(letters.is_empty(), "{} {way:?}: {} dead letters, {:?}", case.name, letters.len(), letters.first());
    let row =
        |row: &millstream_sdk::testing::TopicRow| format!("{} {} {}", row.key_text(), row.timestamp, row.value_text());
    let mut results: Vec<_> = driver.all("out").iter().map(row).collect();
    results.sort_unstable();
    results
}

#[test]
fn a_backlog_gives_what_the_live_stream_gave() {
    for case in CASES {
        let orders: &[&[&str]] = if case.joins { &[&["left", "right"], &["right", "left"]] } else { &[&["in"]] };
        for seed in 1..=2 {
            let rows = rows(seed);
            let expected = results(case, orders[0], 1, Way::Live, &rows);
            assert!(expected.len() > 5, "{}: only {} results", case.name, expected.len());
            for (order, partitions) in orders.iter().flat_map(|order| [1, 2, 4].map(|partitions| (*order, partitions)))
            {
                for way in WAYS {
                    let found = results(case, order, partitions, way, &rows);
                    let differing = found.iter().zip(&expected).find(|(found, expected)| found != expected);
                    assert!(
                        found == expected,
                        "{}, seed {seed}, {order:?} in {partitions} partitions, {way:?}: {} results instead of {}, {differing:?}",
                        case.name,
                        found.len(),
                        expected.len()
                    );
                }
            }
        }
    }
}

/// So few events may wait that a backlog must keep its partitions abreast, or most are rejected.
#[test]
fn a_pattern_with_room_for_four_events_finds_ten_matches_live_and_in_a_backlog() {
    let manifest = r#"
name = "p"
source = { topics = ["in"] }
steps = [{ name = "step", plugin = "pattern", config = { stages = [{ name = "any", where = "id >= 0", times = 2 }], events_max = 4, skip = "past_last" } }]
output = { topic = "out" }
"#;
    let setup = TestDriver::of(manifest).plugin::<PatternRows>("pattern").partitions("in", 2);
    for live in [true, false] {
        for records in [usize::MAX, 2, 3, 7] {
            let mut driver = setup.start().unwrap_or_else(|refused| panic!("{refused}"));
            driver.batch_size(records);
            let row = |number: i64| Input::value(r#"{"id":1}"#).key("k").at(number * 1_000);
            for number in 0..10 {
                for partition in 0..2 {
                    driver.queue_to("in", partition, [row(number * 2 + i64::from(partition))]);
                    if live {
                        driver.run();
                    }
                }
            }
            driver.end();
            let found = (driver.all("out").len(), driver.dead_letters().len());
            assert_eq!(found, (10, 0), "live: {live}, {records} records at a time");
        }
    }
}
