//! Windows that are not tumbling: hopping and sessions, counts by key.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use millstream::record::Batch;

use crate::bench::Setup;
use crate::input::{Input, keyed_row, spread, time_of};
use crate::report::Report;

/// Keys of the hopping windows.
const KEYS: u64 = 10_000;
const SIZE_MS: i64 = 10_000;
const SLIDE_MS: i64 = 2_000;

const HOPPING: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "count"
plugin = "count"
window = { hopping = "10s", slide = "2s" }
"#;

/// Users that are there at the same time.
const USERS_AT_ONCE: u64 = 1_000;
/// Rows after which other users come: each has 20 of them, over 200 ms.
const ROWS_OF_A_CROWD: u64 = 20 * USERS_AT_ONCE;
/// Users in all.
const USERS: u64 = 100_000;
const GAP_MS: i64 = 1_000;

const SESSIONS: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "count"
plugin = "count"
window = { session = "1s" }
"#;

pub async fn run(report: &mut Report, records: u64) -> anyhow::Result<()> {
    if report.wants("hopping") {
        let input = Input::new(records, |at, batch| keyed_row(at, KEYS, batch));
        let inputs = vec![("in", input.clone())];
        let setup = Setup { manifest: HOPPING, plugins: &["count"], inputs, ..Setup::default() };
        report.rate("hopping", setup.rate().await?, "records/s", Some(input.native(hopping)?));
    }
    if report.wants("sessions") {
        let input = Input::new(records, session_row);
        let inputs = vec![("in", input.clone())];
        let setup = Setup { manifest: SESSIONS, plugins: &["count"], inputs, ..Setup::default() };
        report.rate("sessions", setup.rate().await?, "records/s", Some(input.native(sessions)?));
    }
    Ok(())
}

fn session_row(at: u64, batch: &mut Batch) {
    let crowd = at / ROWS_OF_A_CROWD * USERS_AT_ONCE % USERS;
    let key = format!("user-{:07}", crowd + spread(at, USERS_AT_ONCE));
    batch.push(time_of(at), Some(key.as_bytes()), Some(b"/shop/item"));
}

type Counts = HashMap<Vec<u8>, u64, RandomState>;

/// Counts by slide and key, and adds the slides of each window up when it is over.
fn hopping(input: &Input) -> anyhow::Result<u64> {
    let mut slices: BTreeMap<i64, Counts> = BTreeMap::new();
    let (mut results, mut end) = (0, SLIDE_MS);
    for batch in input.decoded() {
        let batch = batch?;
        for (time, key) in batch.timestamps.iter().zip(batch.keys.iter()) {
            let slice = slices.entry(time - time.rem_euclid(SLIDE_MS)).or_default();
            *slice.entry_ref(key.unwrap_or_default()).or_default() += 1;
        }
        let newest = batch.timestamps.last().copied().unwrap_or_default();
        while end <= newest {
            let mut window = Counts::default();
            for (key, count) in slices.range(end - SIZE_MS..end).flat_map(|(_, slice)| slice) {
                *window.entry_ref(key.as_slice()).or_default() += count;
            }
            results += window.len() as u64;
            slices.remove(&(end - SIZE_MS));
            end += SLIDE_MS;
        }
    }
    Ok(results)
}

/// Keeps the last time and the count of each key; a row after the gap ends the session before it.
fn sessions(input: &Input) -> anyhow::Result<u64> {
    let mut open: HashMap<Vec<u8>, (i64, u64), RandomState> = HashMap::default();
    let mut results = 0;
    for batch in input.decoded() {
        let batch = batch?;
        for (&time, key) in batch.timestamps.iter().zip(batch.keys.iter()) {
            let (last, rows) = open.entry_ref(key.unwrap_or_default()).or_insert((time, 0));
            if time - *last >= GAP_MS {
                results += 1;
                *rows = 0;
            }
            (*last, *rows) = (time, *rows + 1);
        }
    }
    Ok(results + open.len() as u64)
}
