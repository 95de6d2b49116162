//! Counts by key: in windows of a minute, and in a state value for each key.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::bench::Setup;
use crate::input::{Input, keyed_row};
use crate::report::Report;

const WINDOWS: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "1m" }
"#;

const VALUES: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "tally"
plugin = "tally"
config = { every = 0 }
"#;

pub async fn run(report: &mut Report, records: u64) -> anyhow::Result<()> {
    for (windows, values, keys) in [("keyed-10k", "process-10k", 10_000), ("keyed-1m", "process-1m", 1_000_000)] {
        if !report.wants(windows) && !report.wants(values) {
            continue;
        }
        let input = Input::new(records, |at, batch| keyed_row(at, keys, batch));
        let setup = |manifest, plugins| {
            let inputs = vec![("in", input.clone())];
            Setup { manifest, plugins, inputs, ..Setup::default() }
        };
        if report.wants(windows) {
            let rate = setup(WINDOWS, &["count"]).rate().await?;
            report.rate(windows, rate, "records/s", Some(input.native(by_minute)?));
        }
        if report.wants(values) {
            let rate = setup(VALUES, &["tally"]).rate().await?;
            report.rate(values, rate, "records/s", Some(input.native(by_key)?));
        }
    }
    Ok(())
}

/// Counts by minute and key in one hash map a minute, which is dropped when the minute is over.
fn by_minute(input: &Input) -> anyhow::Result<u64> {
    let mut windows: BTreeMap<i64, HashMap<Vec<u8>, u64, RandomState>> = BTreeMap::new();
    let mut results = 0;
    for batch in input.decoded() {
        let batch = batch?;
        for (time, key) in batch.timestamps.iter().zip(batch.keys.iter()) {
            let window = windows.entry(time - time.rem_euclid(60_000)).or_default();
            *window.entry_ref(key.unwrap_or_default()).or_default() += 1;
        }
        let newest = batch.timestamps.last().copied().unwrap_or_default();
        while windows.first_key_value().is_some_and(|(start, _)| start + 60_000 <= newest) {
            results += windows.pop_first().map_or(0, |(_, window)| window.len() as u64);
        }
    }
    Ok(results)
}

/// Counts by key in one hash map.
fn by_key(input: &Input) -> anyhow::Result<u64> {
    let mut counts: HashMap<Vec<u8>, u64, RandomState> = HashMap::default();
    for batch in input.decoded() {
        for key in batch?.keys.iter() {
            *counts.entry_ref(key.unwrap_or_default()).or_default() += 1;
        }
    }
    Ok(counts.len() as u64)
}
