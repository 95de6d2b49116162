//! Pipelines of several stages, and windows of very many keys.

use super::harness::{COUNTING, Driver, THRESHOLDS};

/// Counts in windows of 10 ms, then counts how many counts there were in windows of 100 ms.
fn two_stages() -> String {
    let second = "[[steps]]\nname = \"again\"\nplugin = \"count\"\nwindow = { tumbling = \"100ms\" }\n[output]";
    COUNTING.replace("[output]", second)
}

#[test]
fn results_of_one_window_are_rows_of_the_next() {
    let rows: Vec<String> = [1, 2, 11, 55, 99, 101, 230, 250].iter().map(|time| format!("{time} a")).collect();
    let manifest = two_stages();
    let mut whole = Driver::new(&manifest, std::slice::from_ref(&rows));
    whole.finish().expect("the host is well");
    assert_eq!(whole.values("out"), ["a 0 4", "a 100 1"]);
    let mut cut = Driver::new(&manifest, std::slice::from_ref(&rows));
    for _ in &rows {
        cut.step(&[1]).expect("the host is well");
        cut = cut.crash(&manifest);
    }
    cut.finish().expect("the host is well");
    assert_eq!(cut.values("out"), whole.values("out"));
}

#[test]
fn a_window_of_very_many_keys_closes_over_several_commits_and_restarts() {
    let keys = 2500;
    let mut rows: Vec<String> = (0..keys).map(|key| format!("1 {key:06}")).collect();
    rows.push("99 end".to_owned());
    let mut driver = Driver::new(COUNTING, &[rows]);
    driver.step(&[usize::MAX]).expect("the host is well");
    assert_eq!((driver.values("out").len(), driver.machine.is_due(0)), (THRESHOLDS.closing_groups, true));
    let mut driver = driver.crash(COUNTING);
    assert!(driver.machine.is_due(0), "what is left closes without new records");
    driver.finish().expect("the host is well");
    let expected: Vec<String> = (0..keys).map(|key| format!("{key:06} 0 1")).collect();
    assert!(driver.values("out") == expected, "every key once, in order");
}

#[test]
fn a_pipeline_without_windows_passes_rows_on() {
    let manifest = COUNTING.split("[[steps]]\nname = \"count\"").next().unwrap_or_default().to_owned()
        + "[output]\ntopic = \"out\"\n[dead-letters]\ntopic = \"dead\"\n";
    let rows = ["1 a", "side x", "drop", "twice b", "bad"].map(str::to_owned);
    let mut driver = Driver::new(&manifest, &[rows.to_vec()]);
    driver.finish().expect("the host is well");
    assert_eq!(driver.values("out"), ["1 a", "twice b", "twice b"]);
    assert_eq!(driver.values("side"), ["side x"]);
    let usage = *driver.machine.usage_mut();
    assert_eq!((usage.records_in, usage.records_out, usage.dead_letters, usage.unrouted), (5, 4, 1, 0));
}
