//! Windows of all kinds against the model, however micro-batches are cut and wherever the process dies.

use proptest::prelude::*;

use super::harness::{Driver, THRESHOLDS};
use super::model::{Model, Row};
use crate::pipeline::spec::Spec;
use crate::plugin::Metric;
use crate::time::Windowing;

/// Collects rows in windows, with so much disorder and these keys of the table `window`.
fn manifest(disorder_ms: i64, window: &str) -> String {
    format!(
        r#"
name = "p"
[source]
topics = ["in"]
[watermark]
disorder = "{disorder_ms}ms"
[[steps]]
name = "parse"
plugin = "parse"
[[steps]]
name = "collect"
plugin = "collect"
window = {{ {window} }}
late = "late"
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#
    )
}

fn windowing(manifest: &str) -> Windowing {
    let spec: Spec = manifest.parse().expect("the manifest is good");
    spec.steps.into_iter().find_map(|step| step.window).expect("a step has windows").windowing
}

fn expected(manifest: &str, disorder_ms: i64, rows: &[Row]) -> Model {
    let mut model = Model::new(windowing(manifest));
    let mut newest: Option<i64> = None;
    for (number, row) in rows.iter().enumerate() {
        model.advance(newest.map(|newest| newest - disorder_ms - 1));
        model.row(number, row);
        newest = newest.max(Some(row.time));
    }
    model.advance(newest.map(|newest| newest - disorder_ms - 1));
    model
}

fn assert_outcome(how: &str, driver: &Driver, model: &Model, rows: &[Row]) {
    assert_eq!(driver.timed("out"), model.out, "{how}");
    let late: Vec<String> = model.late.iter().map(|&number| rows[number].text(number)).collect();
    assert_eq!(driver.values("late"), late, "{how}");
}

/// Cuts and crashes: how many rows each micro-batch takes, and whether the process dies after it.
fn run(manifest: &str, rows: &[Row], cuts: &[(usize, bool)]) -> Driver {
    let texts = rows.iter().enumerate().map(|(number, row)| row.text(number)).collect();
    let mut driver = Driver::new(manifest, &[texts]);
    for &(take, crash) in cuts {
        driver.step(&[take]).expect("nothing fails the host");
        if crash {
            driver = driver.crash(manifest);
        }
    }
    driver.finish().expect("nothing fails the host");
    driver
}

fn kind() -> impl Strategy<Value = String> {
    let offset =
        prop_oneof![2 => Just(String::new()), 1 => (-9_i64..9).prop_map(|ms| format!(", offset = \"{ms}ms\""))];
    prop_oneof![
        2 => (1_i64..30, offset.clone()).prop_map(|(size, offset)| format!("tumbling = \"{size}ms\"{offset}")),
        3 => (1_i64..60, 1_i64..20, offset)
            .prop_map(|(size, slide, offset)| format!("hopping = \"{size}ms\", slide = \"{slide}ms\"{offset}")),
        3 => (1_i64..30).prop_map(|gap| format!("session = \"{gap}ms\", gap-header = \"gap\"")),
        1 => (1_u64..5).prop_map(|rows| format!("count = {rows}")),
        1 => Just("global = true".to_owned()),
    ]
}

fn window() -> impl Strategy<Value = String> {
    let early = prop_oneof![
        2 => Just(String::new()),
        1 => (1_i64..40).prop_map(|ms| format!(", early = \"{ms}ms\"")),
        1 => (1_u64..4).prop_map(|rows| format!(", early-rows = {rows}")),
    ];
    (kind(), prop_oneof![Just(0), 0_i64..40], early, any::<bool>()).prop_map(|(kind, lateness, early, discards)| {
        let timed = !kind.starts_with("count") && !kind.starts_with("global");
        let lateness = if timed { format!(", lateness = \"{lateness}ms\"") } else { String::new() };
        let early = if kind.starts_with("global") && early.is_empty() { ", early-rows = 2" } else { &early };
        format!("{kind}{lateness}{early}{}", if discards { ", results = \"discarding\"" } else { "" })
    })
}

fn row() -> impl Strategy<Value = Row> {
    let gap = prop_oneof![2 => Just(None), 1 => (1_i64..40).prop_map(Some)];
    let rejected = prop_oneof![7 => Just(false), 1 => Just(true)];
    (-30_i64..120, prop_oneof![Just('a'), Just('b'), Just('c')], gap, rejected)
        .prop_map(|(time, key, gap, rejected)| Row { time, key, gap, rejected })
}

/// Rows of which most are roughly in order.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    (proptest::collection::vec((row(), 0_i64..30), 0..60), any::<bool>()).prop_map(|(mut rows, in_order)| {
        if in_order {
            rows.sort_by_key(|(row, disorder)| row.time + disorder);
        }
        rows.into_iter().map(|(row, _)| row).collect()
    })
}

proptest! {
    #[test]
    fn windows_are_what_the_model_says_however_batches_are_cut(
        window in window(),
        disorder in 0_i64..30,
        rows in rows(),
        cuts in proptest::collection::vec((0_usize..9, any::<bool>()), 0..20),
    ) {
        let manifest = manifest(disorder, &window);
        let model = expected(&manifest, disorder, &rows);
        assert_outcome("whole", &run(&manifest, &rows, &[]), &model, &rows);
        assert_outcome("cut", &run(&manifest, &rows, &cuts), &model, &rows);
        let one_by_one = vec![(1, false); rows.len()];
        assert_outcome("one by one", &run(&manifest, &rows, &one_by_one), &model, &rows);
    }
}

proptest! {
    /// What a second step makes of the results of a first one, early and late ones among them.
    #[test]
    fn results_of_results_do_not_depend_on_cuts(
        first in window(),
        second in window(),
        disorder in 0_i64..30,
        rows in rows(),
        cuts in proptest::collection::vec((0_usize..9, any::<bool>()), 0..20),
    ) {
        let again = format!("[[steps]]\nname = \"again\"\nplugin = \"collect\"\nlate = \"late\"\nwindow = {{ {second} }}\n[output]");
        let manifest = manifest(disorder, &first).replace("[output]", &again);
        let whole = run(&manifest, &rows, &[]);
        let cut = run(&manifest, &rows, &cuts);
        prop_assert_eq!(whole.timed("out"), cut.timed("out"));
        let sorted = |driver: &Driver| {
            let mut late = driver.values("late");
            late.sort();
            late
        };
        prop_assert_eq!(sorted(&whole), sorted(&cut), "the late rows of two steps in one topic");
    }
}

proptest! {
    /// Windows of one result have in them what each partition's own order says, rows that break it included.
    #[test]
    fn overlapping_windows_do_not_depend_on_how_partitions_come_together(
        size in 1_i64..60,
        slide in 1_i64..20,
        disorder in 0_i64..30,
        inputs in proptest::collection::vec(rows(), 2..4),
        cuts in proptest::collection::vec((proptest::collection::vec(0_usize..9, 3), any::<bool>()), 0..20),
    ) {
        let manifest = manifest(disorder, &format!("hopping = \"{size}ms\", slide = \"{slide}ms\""));
        let text = |(number, row): (usize, &Row)| row.text(number);
        let texts: Vec<Vec<String>> = inputs.iter().map(|rows| rows.iter().enumerate().map(text).collect()).collect();
        let mut whole = Driver::new(&manifest, &texts);
        whole.finish().expect("nothing fails the host");
        let mut cut = Driver::new(&manifest, &texts);
        for (take, crash) in cuts {
            cut.step(&take[..inputs.len()]).expect("nothing fails the host");
            if crash {
                cut = cut.crash(&manifest);
            }
        }
        cut.finish().expect("nothing fails the host");
        prop_assert_eq!(whole.timed("out"), cut.timed("out"));
        prop_assert_eq!(whole.values("late").len(), cut.values("late").len());
    }
}

/// What the guest was called for so often: `add`, `merge` or `finish`.
fn calls(driver: &Driver, kind: &str) -> u64 {
    match driver.metrics("collect")[kind] {
        Metric::Counter(calls) => calls,
        Metric::Gauge(_) => unreachable!("it counts"),
    }
}

fn texts(rows: &[&str]) -> Vec<Vec<String>> {
    vec![rows.iter().map(|row| (*row).to_owned()).collect()]
}

/// Windows of every kind that takes another way through the code.
const KINDS: [&str; 8] = [
    "tumbling = \"20ms\", lateness = \"30ms\"",
    "tumbling = \"20ms\", early = \"7ms\", results = \"discarding\"",
    "hopping = \"40ms\", slide = \"2ms\", lateness = \"9ms\"",
    "hopping = \"40ms\", slide = \"9ms\", lateness = \"9ms\", results = \"discarding\"",
    "session = \"4ms\"",
    "session = \"4ms\", lateness = \"20ms\"",
    "count = 3",
    "global = true, early-rows = 4",
];

#[test]
fn a_failure_among_many_rows_leaves_the_windows_as_if_it_had_been_rejected() {
    for window in KINDS {
        let manifest = manifest(3, window);
        let row = |n: i64, word: &str| {
            let word = if n % 300 == 2 { word } else { "" };
            format!("{} {} - {word} #{n}", n / 8 + n * 7 % 11, ["a", "b", "c"][n as usize % 3])
        };
        let rows = |word: &str| vec![(0..1000).map(|n| row(n, word)).collect::<Vec<_>>()];
        let mut trapped = Driver::new(&manifest, &rows("trap"));
        trapped.finish().expect("the host is well");
        assert!(trapped.retreats > 0, "{window}");
        let mut rejected = Driver::new(&manifest, &rows("reject"));
        rejected.finish().expect("the host is well");
        assert_eq!(
            (trapped.timed("out"), trapped.values("late").len()),
            (rejected.timed("out"), rejected.values("late").len()),
            "{window}"
        );
        let letters = (trapped.dead_letters().len(), rejected.dead_letters().len());
        assert!(letters.0 == letters.1 && (1..=4).contains(&letters.0), "{window}: {letters:?}");
        assert!(!trapped.values("out").is_empty(), "{window}");
    }
}

#[test]
fn a_merge_that_fails_is_a_dead_letter_with_key_and_window_and_the_earlier_part_stays() {
    let mut driver = Driver::new(
        &manifest(20, "session = \"10ms\""),
        &texts(&["0 a - #0", "15 a - #torn", "8 a - #8", "90 b - #90"]),
    );
    driver.step(&[2]).expect("the host is well");
    driver.finish().expect("the host is well");
    assert_eq!(driver.values("out"), ["a [0 25) #0,#8"]);
    let letters = driver.dead_letters();
    let field = |name: &str| letters.iter().map(|letter| letter[name].as_str()).collect::<Vec<_>>();
    assert_eq!(
        (field("code"), field("window-start"), field("window-end")),
        (vec!["trap_unreachable"], vec!["0"], vec!["25"])
    );
    assert_eq!(driver.values("dead"), ["#torn"]);
}

#[test]
fn early_results_come_when_the_clock_passes_a_multiple() {
    let manifest = manifest(0, "tumbling = \"1s\", early = \"10ms\", early-clock = \"processing\"");
    let mut driver = Driver::new(&manifest, &texts(&["1 a - #0", "2 b - #1", "3 a - #2", "2000 c - #3"]));
    let mut step = |clock: i64, take: usize, results: &[&str]| {
        driver.clock = clock;
        let had = driver.values("out").len();
        driver.step(&[take]).expect("the host is well");
        assert_eq!(driver.values("out")[had..], *results, "at {clock}");
        driver.machine.next_clock()
    };
    assert_eq!(step(5, 1, &[]), Some(10));
    assert_eq!(step(12, 1, &["a [0 1000) #0"]), Some(20));
    assert_eq!(step(20, 0, &["b [0 1000) #1"]), None);
    assert_eq!(step(31, 1, &[]), Some(40));
    assert_eq!(step(32, 1, &["a [0 1000) #0,#2"]), Some(40), "b has nothing new since its early result");
}

#[test]
fn early_results_by_event_time_begin_with_the_first_multiple_after_the_first_row() {
    let manifest = manifest(10, "tumbling = \"1s\", early = \"10ms\"");
    let rows = ["13 a - #0", "14 b - #1", "25 a - #2", "31 b - #3", "32 a - #4", "41 c - #5", "9 d - #6", "62 e - #7"];
    let mut driver = Driver::new(&manifest, &texts(&rows));
    let mut step = || {
        let had = driver.values("out").len();
        driver.step(&[1]).expect("the host is well");
        driver.values("out").split_off(had)
    };
    let nothing: [&str; 0] = [];
    assert_eq!(step(), nothing, "the first watermark, 2 ms, passes no multiple after 13 ms");
    assert_eq!(step(), nothing);
    assert_eq!(step(), nothing, "14 ms passes 10 ms, which the first row is behind");
    assert_eq!(step(), ["a [0 1000) #0,#2", "b [0 1000) #1,#3"], "20 ms");
    assert_eq!(step(), nothing);
    assert_eq!(step(), ["a [0 1000) #0,#2,#4"], "30 ms, though the row is later: it is not the first");
    assert_eq!(step(), nothing, "a first row behind the watermark");
    assert_eq!(step(), ["d [0 1000) #6", "c [0 1000) #5"], "40 ms, and then 50 ms");
}

#[test]
fn a_row_that_says_an_impossible_gap_is_a_dead_letter() {
    let manifest = manifest(0, "session = \"10ms\", gap-header = \"gap\"");
    let rows =
        ["0 a 50 #0", "1 b -5 #1", "2 b x #2", "3 b 0 #3", "4 b 9223372036854775807 #4", "5 b - #5", "99 c - #6"];
    let mut driver = Driver::new(&manifest, &texts(&rows));
    driver.finish().expect("the host is well");
    assert_eq!(driver.values("out"), ["b [5 15) #5", "a [0 50) #0"]);
    let codes: Vec<_> = driver.dead_letters().iter().map(|letter| letter["code"].clone()).collect();
    assert_eq!(codes, ["invalid_gap", "invalid_gap", "invalid_gap", "timestamp_out_of_range"]);
}

#[test]
fn windows_near_the_ends_of_time_fire_and_those_past_them_are_dead_letters() {
    let (first, last) = (i64::MIN + 1, i64::MAX - 1);
    for (window, results, letters) in [
        ("tumbling = \"1s\", lateness = \"5s\"", 1, 2),
        ("hopping = \"1s\", slide = \"10ms\", lateness = \"365000d\"", 100, 2),
        ("session = \"365000d\"", 2, 1),
        ("tumbling = \"1ms\", early = \"365000d\"", 2, 0),
        ("count = 1", 3, 0),
    ] {
        let rows = [format!("{first} a - #0"), "0 b - #1".to_owned(), format!("{last} c - #2")];
        let mut driver = Driver::new(&manifest(0, window), &[rows.to_vec()]);
        driver.finish().expect("the host is well");
        assert_eq!((driver.values("out").len(), driver.dead_letters().len()), (results, letters), "{window}");
    }
}

#[test]
fn rows_that_give_results_one_by_one_cost_a_call_each_at_most() {
    let rows: Vec<String> = (0..20_000).map(|n| format!("{n} a - #{n}")).collect();
    let mut driver = Driver::new(&manifest(0, "global = true, early-rows = 1, results = \"discarding\""), &[rows]);
    driver.finish().expect("the host is well");
    assert_eq!(driver.values("out").len(), 20_000);
    let called = (calls(&driver, "add"), calls(&driver, "finish"));
    assert!(called.0 <= 1000 && called.1 <= 1000, "what forgets its rows is added to in one go: {called:?}");
}

#[test]
fn a_window_of_very_many_slices_takes_few_merges() {
    // A day of minutes, sixty rows of one key a day after the first are in one window more each.
    let minute = 60_000;
    let mut rows: Vec<String> = (0..1440).map(|n| format!("{} a - #{n}", n * minute)).collect();
    rows.extend((1440..1500).map(|n| format!("{} a - #{n}", n * minute)));
    let mut driver = Driver::new(&manifest(0, "hopping = \"1d\", slide = \"1m\""), &[rows]);
    driver.step(&[1440]).expect("the host is well");
    let before = calls(&driver, "merge");
    let mut merges = Vec::new();
    for _ in 0..60 {
        let had = calls(&driver, "merge");
        driver.step(&[1]).expect("the host is well");
        merges.push(calls(&driver, "merge") - had);
    }
    assert!(before > 0 && merges.iter().sum::<u64>() < 60 * 22, "two for each size of sum, at most: {merges:?}");
    let last = driver.values("out").pop().expect("there are results");
    assert_eq!((last.matches('#').count(), last.contains("#59,"), last.contains("#1499")), (1440, true, false));
}

#[test]
fn ten_thousand_windows_of_a_row_are_counted_as_state() {
    let rows: Vec<String> = (0..5).map(|n| format!("{n} a - #{n}")).collect();
    let manifest = manifest(60_000, "hopping = \"10s\", slide = \"1ms\", early-rows = 1000");
    let mut driver = Driver::new(&manifest, &[rows]);
    driver.step(&[usize::MAX]).expect("the host is well");
    assert_eq!(driver.machine.open_groups(), 10_004);
    let bytes = driver.machine.state_bytes();
    assert!((1_000_000..4_000_000).contains(&bytes), "{bytes} bytes");
    let crashed = driver.crash(&manifest);
    assert_eq!(crashed.machine.open_groups(), 10_004);
}

#[test]
fn a_jump_over_very_many_windows_inside_a_batch_fires_them_over_several_commits() {
    let keys = 5000;
    let mut rows: Vec<String> = (0..keys).map(|key| format!("{} {key:06} - #0", key % 2)).collect();
    rows.extend(["50 x - #jump", "5 000007 - #again", "51 x - #1"].map(str::to_owned));
    let manifest = manifest(0, "tumbling = \"10ms\", lateness = \"60ms\"");
    let mut driver = Driver::new(&manifest, &[rows]);
    driver.step(&[keys]).expect("the host is well");
    let (mut steps, mut most) = (0, 0);
    while driver.machine.is_due(0) || driver.positions()[0] < keys as u64 + 3 {
        let before = driver.machine.usage.windows_closed;
        driver.step(&[usize::MAX]).expect("the host is well");
        most = most.max(driver.machine.usage.windows_closed - before);
        steps += 1;
    }
    assert_eq!((steps, most), (6, THRESHOLDS.closing_groups as u64));
    assert!(driver.cuts > 0);
    let first = (0..keys).map(|key| format!("{key:06} [0 10) #0"));
    let again = "000007 [0 10) #0,#again".to_owned();
    assert!(
        driver.values("out") == first.chain([again]).collect::<Vec<_>>(),
        "each once, before the row behind the jump"
    );
    assert_eq!(driver.machine.usage.records_in, keys as u64 + 3);
}

#[test]
fn results_behind_which_very_many_windows_wait_come_when_those_have_fired() {
    // The first step gives a result for each time; the second has a window open for each of very many keys.
    let keys = 2500;
    let mut rows: Vec<String> = (0..keys).map(|key| format!("0 {key:06} - #0")).collect();
    rows.extend(["5 x - #1", "40 x - #2", "90 x - #3", "200 x - #4"].map(str::to_owned));
    let again = "[[steps]]\nname = \"again\"\nplugin = \"collect\"\nlate = \"late\"\nwindow = { tumbling = \"20ms\", lateness = \"1ms\" }\n[output]";
    let manifest = manifest(0, "tumbling = \"2ms\"").replace("[output]", again);
    let mut driver = Driver::new(&manifest, &[rows]);
    driver.step(&[keys]).expect("the host is well");
    let (mut steps, mut most) = (0, 0);
    while driver.machine.is_due(0) || driver.positions()[0] < keys as u64 + 4 {
        let before = driver.machine.usage.windows_closed;
        driver.step(&[usize::MAX]).expect("the host is well");
        most = most.max(driver.machine.usage.windows_closed - before);
        steps += 1;
        assert!(steps < 20, "it comes to an end");
    }
    // As much as may fire in a commit at each of the two steps, and few more.
    assert!(most <= 2 * THRESHOLDS.closing_groups as u64 + 16, "{most}");
    let first = (0..keys).map(|key| format!("{key:06} [0 20) #0"));
    let last = ["x [0 20) #1", "x [40 60) #2", "x [80 100) #3"].map(str::to_owned);
    assert!(driver.values("out") == first.chain(last).collect::<Vec<_>>(), "each once, in the order of time");
}

#[test]
fn a_restart_makes_nothing_due_again() {
    let clock = "tumbling = \"20ms\", early = \"7ms\", early-clock = \"processing\"";
    for window in KINDS.into_iter().chain([clock]) {
        let manifest = manifest(3, window);
        let rows = (0..60).map(|n| format!("{n} {} - #{n}", ["a", "b", "c"][n % 3])).collect();
        let mut driver = Driver::new(&manifest, &[rows]);
        while driver.positions()[0] < 60 {
            driver.step(&[1]).expect("the host is well");
            driver.clock += 1;
        }
        driver.finish().expect("the host is well");
        let next = driver.machine.next_clock();
        let crashed = driver.crash(&manifest);
        assert!(!crashed.machine.is_due(crashed.clock), "{window}");
        assert_eq!(crashed.machine.next_clock(), next, "{window}");
    }
}
