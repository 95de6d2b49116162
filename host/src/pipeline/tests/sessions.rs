//! Sessions over several partitions: which rows are in one does not depend on how the partitions came together.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::harness::Driver;

/// Sessions with a usual gap of 10 ms.
fn manifest(disorder_ms: i64, lateness_ms: i64) -> String {
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
window = {{ session = "10ms", gap-header = "gap", lateness = "{lateness_ms}ms" }}
late = "late"
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#
    )
}

/// The values that the guests read rows from. A last row, of a key of its own, brings every session to its end.
fn texts(rows: &[(i64, char, Option<i64>)], partition: usize) -> Vec<String> {
    let text = |(number, (time, key, gap)): (usize, &(i64, char, Option<i64>))| {
        let gap = gap.map_or("-".to_owned(), |gap| gap.to_string());
        format!("{time} {key} {gap} #{:03}", number + 100 * partition)
    };
    rows.iter().enumerate().map(text).chain([format!("10000 z - #{partition}99")]).collect()
}

/// The key, session and rows of the last result that each row is in.
fn sessions(driver: &Driver) -> BTreeMap<String, String> {
    let mut last = BTreeMap::new();
    for value in driver.values("out") {
        let (session, rows) = value.rsplit_once(' ').expect("a result names its rows");
        // In which order rows came is not in question.
        let mut rows: Vec<_> = rows.split(',').collect();
        rows.sort_unstable();
        let result = format!("{session} {}", rows.join(","));
        rows.iter().for_each(|row| drop(last.insert((*row).to_owned(), result.clone())));
    }
    last
}

/// Takes so many rows of each partition at a time, then all that is left.
fn run(manifest: &str, inputs: &[Vec<String>], takes: &[(Vec<usize>, bool)]) -> Driver {
    let mut driver = Driver::new(manifest, inputs);
    for (take, crash) in takes {
        driver.step(&take[..inputs.len()]).expect("nothing fails the host");
        if *crash {
            driver = driver.crash(manifest);
        }
    }
    driver.finish().expect("nothing fails the host");
    driver
}

#[test]
fn a_session_that_was_over_for_a_rows_partition_is_so_whichever_came_first() {
    let manifest = manifest(0, 0);
    let inputs = [texts(&[(10, 'x', None), (10, 'a', None)], 0), texts(&[(0, 'a', None)], 1)];
    for takes in [[vec![2, 0], vec![0, 1]], [vec![0, 1], vec![2, 0]]] {
        let takes = takes.map(|take| (take, false));
        let driver = run(&manifest, &inputs, &takes);
        let of_a: Vec<_> = driver.values("out").into_iter().filter(|value| value.starts_with('a')).collect();
        assert_eq!(of_a, ["a [0 10) #100", "a [10 20) #001"], "{takes:?}");
    }
}

#[test]
fn a_session_that_was_open_for_a_rows_partition_is_one_with_it_whichever_came_first() {
    let manifest = manifest(0, 0);
    // The row of `a` is the first of its partition: nothing is over for it.
    let inputs = [texts(&[(10, 'a', None)], 0), texts(&[(0, 'a', None)], 1)];
    for takes in [[vec![1, 0], vec![0, 1]], [vec![0, 1], vec![1, 0]]] {
        let takes = takes.map(|take| (take, true));
        let driver = run(&manifest, &inputs, &takes);
        let of_a: Vec<_> = driver.values("out").into_iter().filter(|value| value.starts_with('a')).collect();
        let whole = of_a.len() == 1 && of_a[0].starts_with("a [0 20) ");
        assert!(whole, "{takes:?}: {of_a:?}");
    }
}

/// Rows that keep a disorder.
fn in_order(disorder_ms: i64) -> impl Strategy<Value = Vec<(i64, char, Option<i64>)>> {
    let gap = prop_oneof![3 => Just(None), 1 => (1_i64..30).prop_map(Some)];
    let row = (-30_i64..90, prop_oneof![Just('a'), Just('b')], gap);
    proptest::collection::vec(row, 0..25).prop_map(move |mut rows| {
        // Roughly ascending: what is left breaks nothing.
        rows.sort_by_key(|(time, ..)| time.div_euclid(8));
        let mut newest = i64::MIN;
        rows.retain(|(time, ..)| {
            let keeps = *time >= newest.saturating_sub(disorder_ms);
            newest = if keeps { newest.max(*time) } else { newest };
            keeps
        });
        rows
    })
}

proptest! {
    #[test]
    fn sessions_do_not_depend_on_how_partitions_come_together(
        (disorder, inputs) in prop_oneof![Just(0_i64), 1_i64..20].prop_flat_map(|disorder| {
            (Just(disorder), proptest::collection::vec(in_order(disorder), 2..4))
        }),
        lateness in prop_oneof![Just(0_i64), 1_i64..20],
        one in proptest::collection::vec((proptest::collection::vec(0_usize..4, 3), any::<bool>()), 0..30),
        other in proptest::collection::vec((proptest::collection::vec(0_usize..4, 3), any::<bool>()), 0..30),
    ) {
        let manifest = manifest(disorder, lateness);
        let inputs: Vec<_> = inputs.iter().enumerate().map(|(partition, rows)| texts(rows, partition)).collect();
        let (one, other) = (run(&manifest, &inputs, &one), run(&manifest, &inputs, &other));
        prop_assert_eq!(sessions(&one), sessions(&other));
        prop_assert!(one.values("late").is_empty() && other.values("late").is_empty());
    }
}
