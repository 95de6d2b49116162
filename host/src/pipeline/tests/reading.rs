//! A backlog gives what the live stream gave: the same rows, whatever the number of partitions, the order of the topics'
//! names and the cuts, and while it is read, inputs advance together.

use proptest::prelude::*;

use super::harness::load;
use crate::ids::TopicPartition;
use crate::pipeline::Take;
use crate::pipeline::driver::{Crash, Driver};
use crate::record::Batch;

const STEPS: [&str; 8] = [
    "plugin = \"track\"\ngrants = [\"table\"]\noutputs = { side = \"side\" }",
    "plugin = \"collect\"\nlate = \"late\"\nwindow = { tumbling = \"20ms\" }",
    "plugin = \"collect\"\nlate = \"late\"\nwindow = { tumbling = \"20ms\", lateness = \"15ms\", early = \"7ms\" }",
    "plugin = \"collect\"\nlate = \"late\"\nwindow = { hopping = \"40ms\", slide = \"9ms\", lateness = \"9ms\" }",
    "plugin = \"collect\"\nlate = \"late\"\nwindow = { session = \"9ms\" }",
    "plugin = \"collect\"\nlate = \"late\"\nwindow = { session = \"9ms\", lateness = \"20ms\", results = \"discarding\" }",
    "plugin = \"collect\"\nlate = \"late\"\nwindow = { count = 3 }",
    "plugin = \"collect\"\nlate = \"late\"\nwindow = { global = true, early-rows = 4 }",
];

fn manifest(topics: &[&str], watermark: &str, step: &str) -> String {
    format!(
        r#"
name = "p"
source = {{ topics = {topics:?} }}
watermark = {{ {watermark} }}
[[steps]]
name = "parse"
plugin = "parse"
outputs = {{ side = "aside" }}
[[steps]]
name = "state"
{step}
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#
    )
}

/// A row, and by which of the inputs it comes.
type Row = (usize, String);

/// A pipeline over topics of so many partitions.
fn driver(manifest: &str, partitions: u32) -> Driver {
    let of = |topic: &crate::ids::TopicName| if topic.as_str().starts_with("in") { partitions } else { 1 };
    Driver::new(manifest, of, load).expect("the manifest is good")
}

fn feed(driver: &mut Driver, rows: &[Row], inputs: &[TopicPartition]) {
    for (number, at) in inputs.iter().enumerate() {
        let mut batch = Batch::default();
        let of_input = rows.iter().filter(|(input, _)| input % inputs.len() == number);
        of_input.for_each(|(_, text)| batch.push(0, Some(b"k"), Some(text.as_bytes())));
        driver.feed(at, batch.view()).expect("the log takes it");
    }
}

/// What came of it: values of each topic. Dead letters and side outputs of transforms are of no partition's order.
fn outcome(driver: &Driver) -> Vec<Vec<String>> {
    let read = |topic: &str| {
        let topic = topic.parse().expect("a name");
        let Ok(partitions) = driver.read(&topic) else { return Vec::new() };
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let mut values: Vec<String> = partitions.iter().flat_map(|batch| batch.values.iter().map(text)).collect();
        values.sort();
        values
    };
    ["out", "side", "late", "aside", "dead"].map(read).to_vec()
}

/// The inputs by the names of their topics, so that rows come by the same ones whatever the order of the names.
fn inputs(driver: &Driver) -> Vec<TopicPartition> {
    let mut inputs = driver.inputs().to_vec();
    inputs.sort();
    inputs
}

fn live(manifest: &str, partitions: u32, rows: &[Row]) -> Vec<Vec<String>> {
    let mut driver = driver(manifest, partitions);
    let inputs = inputs(&driver);
    for row in rows {
        feed(&mut driver, std::slice::from_ref(row), &inputs);
        driver.run(&Take::Arrived).expect("the host is well");
    }
    outcome(&driver)
}

fn backlog(manifest: &str, partitions: u32, rows: &[Row], take: &Take, crashes: bool) -> Vec<Vec<String>> {
    let mut driver = driver(manifest, partitions);
    let inputs = inputs(&driver);
    feed(&mut driver, rows, &inputs);
    let mut crash = [Crash::BeforeCommit, Crash::AfterCommit, Crash::Idle].into_iter().cycle();
    while driver.step(take).expect("the host is well") {
        if crashes && let Some(crash) = crash.next() {
            driver.crash(crash, take).expect("it starts again");
        }
    }
    outcome(&driver)
}

/// Rows in the order of their times, with timers, and records of which nothing comes to the step with state among them.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let action = prop_oneof![4 => Just(String::new()), 2 => (1_u64..6, 1_i64..40).prop_map(|(id, in_ms)| format!("{id} {in_ms}"))];
    let other = prop_oneof![8 => Just(""), 1 => Just("bad"), 1 => Just("side x"), 1 => Just("drop")];
    proptest::collection::vec((0_usize..8, 1_i64..9, "[ab]", action, other), 0..70).prop_map(|rows| {
        let mut time = 0;
        let row = |(number, (input, step, key, action, other)): (usize, (usize, i64, String, String, &str))| {
            time += step;
            let timer = action.split_once(' ').map(|(id, in_ms)| (id.to_owned(), in_ms.parse::<i64>().unwrap_or(1)));
            let text = match (other, timer) {
                ("", None) => format!("{time} {key} - #{number}"),
                ("", Some((id, in_ms))) => format!("{time} {key} s{id}@{}", time + in_ms),
                (other, _) => other.to_owned(),
            };
            (input, text)
        };
        rows.into_iter().enumerate().map(row).collect()
    })
}

/// The tracker knows no words but its actions.
fn for_step(step: &str, rows: &[Row]) -> Vec<Row> {
    let tracked = step.contains("track");
    let text = |text: &String| match text.split_once(" - #") {
        Some((row, _)) if tracked => row.to_owned(),
        _ => text.clone(),
    };
    rows.iter().map(|(input, row)| (*input, text(row))).collect()
}

proptest! {
    #[test]
    fn a_backlog_gives_what_the_live_stream_gave(
        rows in rows(), step in 0..STEPS.len(), partitions in 1_u32..5, topics in 1_usize..3, n in 8_usize..60, crashes in any::<bool>()
    ) {
        let names = [&["in-a"][..], &["in-a", "in-b"]][topics - 1];
        let mut turned = names.to_vec();
        turned.reverse();
        let rows = for_step(STEPS[step], &rows);
        for names in [names, &turned] {
            let manifest = manifest(names, "disorder = \"0ms\"", STEPS[step]);
            let live = live(&manifest, partitions, &rows);
            for (take, crashes) in [(Take::Arrived, false), (Take::Records(n), crashes)] {
                let backlog = backlog(&manifest, partitions, &rows, &take, crashes);
                prop_assert_eq!(&backlog, &live, "{:?}, {:?}", names, take);
            }
        }
    }
}

/// `dense` and `sparse` rows of one key over the same ten thousand seconds.
fn uneven(dense: i64, sparse: i64) -> Vec<Row> {
    let rows = |input: usize, count: i64| (0..count).map(move |n| (input, format!("{} a", n * 10_000_000 / count)));
    rows(0, dense).chain(rows(1, sparse)).collect()
}

#[test]
fn inputs_of_a_backlog_advance_together_whatever_their_density_and_the_order_of_their_names() {
    const SPARSE: i64 = 400;
    for names in [["in-a", "in-b"], ["in-b", "in-a"]] {
        let mut driver = driver(&manifest(&names, "disorder = \"1s\"", STEPS[0]), 1);
        let inputs = inputs(&driver);
        feed(&mut driver, &uneven(150_000, SPARSE), &inputs);
        let mut steps = 0;
        while driver.step(&Take::Arrived).expect("the host is well") {
            steps += 1;
            let inputs = driver.status().expect("a status").inputs;
            let furthest = inputs.iter().filter_map(|input| input.newest).max().expect("something is read");
            for input in inputs.iter().filter(|input| input.position < input.end) {
                let spread = furthest - input.newest.expect("all are read");
                assert!(spread <= 1_000 + 10_000_000 / SPARSE, "{names:?}: {spread} ms apart after {steps} steps");
            }
        }
        assert!(steps <= 12, "micro-batches are as large as ever: {steps}");
    }
}

#[test]
fn drift_bounds_a_backlog_to_the_record() {
    let mut driver = driver(&manifest(&["in-a", "in-b"], "disorder = \"0ms\", drift = \"5s\"", STEPS[0]), 1);
    let inputs = inputs(&driver);
    let mut rows = uneven(10_000, 0);
    rows.push((1, "20000 a".to_owned()));
    feed(&mut driver, &rows, &inputs);
    driver.run(&Take::Arrived).expect("the host is well");
    let newest: Vec<_> = driver.status().expect("a status").inputs.iter().map(|input| input.newest).collect();
    assert_eq!(newest, [Some(26_000), Some(20_000)], "the record that is more than the drift ahead is the last one");
    feed(&mut driver, &[(1, "90000 a".to_owned())], &inputs);
    driver.run(&Take::Arrived).expect("the host is well");
    let newest: Vec<_> = driver.status().expect("a status").inputs.iter().map(|input| input.newest).collect();
    assert_eq!(newest, [Some(96_000), Some(90_000)]);
}
