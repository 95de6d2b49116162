//! No result depends on where micro-batches were cut, on how partitions came together, or on restarts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::harness::{COUNTING, Driver};

/// What the pipeline must come to, computed the simple way: rows partition by partition, each judged by what came before
/// it in its partition, windows closed at the end by the least watermark.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    out: Vec<String>,
    late: Vec<String>,
    side: Vec<String>,
    dead: usize,
}

fn expected(inputs: &[Vec<String>]) -> Expected {
    let mut expected = Expected::default();
    let mut counts: BTreeMap<(i64, String), u64> = BTreeMap::new();
    let mut watermarks = Vec::new();
    for values in inputs {
        let mut newest: Option<i64> = None;
        for value in values {
            let (first, key) = value.split_once(' ').unwrap_or((value, ""));
            let Ok(time) = first.parse::<i64>() else {
                match first {
                    "bad" | "trap" => expected.dead += 1,
                    "side" => expected.side.push(value.clone()),
                    _ => {}
                }
                continue;
            };
            let start = time.div_euclid(10) * 10;
            if newest.is_some_and(|newest| start + 9 < newest - 5) {
                expected.late.push(value.clone());
                continue;
            }
            newest = newest.max(Some(time));
            match key {
                "bad" | "trap" => expected.dead += 1,
                _ => *counts.entry((start, key.to_owned())).or_default() += 1,
            }
        }
        watermarks.push(newest.map(|newest| newest - 6));
    }
    let watermark = watermarks.into_iter().min().flatten();
    for ((start, key), count) in counts {
        if watermark.is_some_and(|watermark| start + 9 <= watermark) {
            expected.out.push(format!("{key} {start} {count}"));
        }
    }
    expected.late.sort();
    expected.side.sort();
    expected
}

fn actual(driver: &Driver) -> Expected {
    let sorted = |topic| {
        let mut values = driver.values(topic);
        values.sort();
        values
    };
    // Results come in one order, by window and key; rows of several partitions in the side topics may alternate.
    Expected {
        out: driver.values("out"),
        late: sorted("late"),
        side: sorted("side"),
        dead: driver.dead_letters().len(),
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => (-20_i64..100, "[abc]").prop_map(|(time, key)| format!("{time} {key}")),
        1 => (0_i64..100).prop_map(|time| format!("{time} bad")),
        1 => (0_i64..100).prop_map(|time| format!("{time} trap")),
        1 => Just("bad".to_owned()),
        1 => Just("trap".to_owned()),
        1 => "side [abc]",
        1 => Just("drop".to_owned()),
    ]
}

proptest! {
    #[test]
    fn results_do_not_depend_on_cuts_partitions_or_restarts(
        inputs in proptest::collection::vec(proptest::collection::vec(value(), 0..60), 1..4),
        steps in proptest::collection::vec((proptest::collection::vec(0_usize..12, 3), any::<bool>()), 0..20),
    ) {
        let expected = expected(&inputs);
        let mut whole = Driver::new(COUNTING, &inputs);
        whole.finish().expect("nothing fails the host");
        prop_assert_eq!(&actual(&whole), &expected);

        let mut cut = Driver::new(COUNTING, &inputs);
        for (take, crash) in steps {
            cut.step(&take[..inputs.len()]).expect("nothing fails the host");
            if crash {
                cut = cut.crash(COUNTING);
            }
        }
        cut.finish().expect("nothing fails the host");
        prop_assert_eq!(&actual(&cut), &expected);
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let inputs = [(0..500).map(|n| format!("{} k{}", n * 7 % 200, n % 13)).collect::<Vec<_>>()];
    let run = || {
        let mut driver = Driver::new(COUNTING, &inputs);
        format!("{:?}", driver.apply(&[usize::MAX]).expect("nothing fails the host"))
    };
    let first = run();
    assert_eq!(run(), first);
    assert!(first.contains("block: Some {"), "state is part of it: {first}");
}
