//! A micro-batch that costs much is committed in part, and nobody can tell from the results.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::harness::{COUNTING, Driver};
use crate::pipeline::engine::work::{Work, WorkLimits};

const TRACKING: &str = r#"
name = "p"
[source]
topics = ["in"]
[[steps]]
name = "parse"
plugin = "parse"
outputs = { side = "side" }
[[steps]]
name = "track"
plugin = "track"
grants = ["table"]
[output]
topic = "out"
[dead-letters]
topic = "dead"
"#;

fn limited(slice_rows: usize, calls: u64) -> Work {
    Work::new(WorkLimits { calls, slice_rows, ..WorkLimits::default() }, Arc::default(), Box::new(|| 0))
}

fn outcome(driver: &Driver) -> Vec<Vec<String>> {
    let sorted = |topic| {
        let mut values = driver.values(topic);
        values.sort();
        values
    };
    ["out", "side", "dead"].map(sorted).to_vec()
}

/// Rows of two partitions in the order of time, among them such that transforms send elsewhere.
fn inputs() -> impl Strategy<Value = Vec<Vec<String>>> {
    let other = prop_oneof![6 => Just(""), 1 => Just("bad"), 1 => Just("side x"), 1 => Just("trap")];
    proptest::collection::vec((0_usize..2, 1_i64..9, "[ab]", other), 0..60).prop_map(|rows| {
        let (mut inputs, mut time) = (vec![Vec::new(), Vec::new()], 0);
        for (input, step, key, other) in rows {
            time += step;
            let row = if other.is_empty() { format!("{time} {key} s2@{}", time + 5) } else { other.to_owned() };
            inputs[input].push(row);
        }
        inputs
    })
}

proptest! {
    #[test]
    fn where_the_work_was_enough_cannot_be_seen(inputs in inputs(), rows in 1_usize..9, calls in 1_u64..4) {
        for manifest in [TRACKING, COUNTING] {
            let mut whole = Driver::new(manifest, &inputs);
            whole.finish().expect("the host is well");
            let mut cut = Driver::new(manifest, &inputs);
            cut.work = limited(rows, calls);
            cut.finish().expect("the host is well");
            prop_assert_eq!(outcome(&cut), outcome(&whole));
            let read = |driver: &mut Driver| {
                let usage = *driver.machine.usage_mut();
                (usage.records_in, usage.bytes_in, usage.dead_letters, usage.records_out)
            };
            prop_assert_eq!(read(&mut cut), read(&mut whole));
        }
    }
}

#[test]
fn a_micro_batch_that_takes_long_is_committed_in_part() {
    let rows: Vec<String> = (0..30_000).map(|n| format!("{n} k{}", n % 7)).collect();
    let mut driver = Driver::new(TRACKING, std::slice::from_ref(&rows));
    // Each look at the clock finds it a hundred milliseconds further on.
    let wall = AtomicU64::new(0);
    let elapsed = Box::new(move || wall.fetch_add(100, Ordering::Relaxed));
    driver.work = Work::new(WorkLimits::default(), Arc::default(), elapsed);
    driver.step(&[usize::MAX]).expect("the host is well");
    let first = driver.positions()[0];
    assert!((1..30_000).contains(&first), "{first} records are committed");
    let mut commits = 1;
    while driver.positions()[0] < 30_000 {
        driver.step(&[usize::MAX]).expect("the host is well");
        commits += 1;
    }
    driver.finish().expect("the host is well");
    assert!(commits > 5, "{commits} commits");
    let mut whole = Driver::new(TRACKING, &[rows]);
    whole.finish().expect("the host is well");
    assert_eq!(outcome(&driver), outcome(&whole));
}
