//! An interval join of two topics, and lookups in a reference table.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use millstream::log::batch::{EncodeOptions, encode};
use millstream::record::Batch;

use crate::bench::Setup;
use crate::input::{Input, spread, time_of};
use crate::report::Report;

/// Keys of both sides. Each has ten rows a second and side, so a row finds one partner within [`UPPER_MS`].
const KEYS: u64 = 10_000;
const UPPER_MS: i64 = 100;

const JOIN: &str = r#"
name = "bench"
source = { topics = ["left", "right"] }
watermark = { drift = "1s" }
output = { topic = "out" }
[[steps]]
name = "join"
plugin = "join"
config = { by = { interval = { lower_ms = 0, upper_ms = 100 } } }
grants = ["table"]
"#;

/// Keys of the reference table: it has some 10 MB, as a table of customers may have.
const NAMES: u64 = 100_000;

const LOOK_UP: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[tables]]
name = "names"
topic = "names"
[[steps]]
name = "look-up"
plugin = "look-up"
lookup = ["names"]
"#;

pub async fn run(report: &mut Report, records: u64) -> anyhow::Result<()> {
    if report.wants("interval-join") {
        // What is joined is dearer than what is counted: an eighth of the records is enough to be measured.
        let sides = [0, 1].map(|side| Input::new(records / 16, move |at, batch| side_row(at, side, batch)));
        let [left, right] = &sides;
        let inputs = vec![("left", left.clone()), ("right", right.clone())];
        let setup = Setup { manifest: JOIN, plugins: &["join"], inputs, ..Setup::default() };
        let rate = setup.rate().await?;
        let native = 2.0 * left.native(|left| join(left, right))?;
        report.rate("interval-join", rate, "records/s", Some(native));
    }
    if report.wants("lookups") {
        let input = Input::new(records / 4, |at, batch| {
            batch.push(time_of(at), Some(name_key(spread(at, NAMES)).as_bytes()), Some(b"/shop/item"));
        });
        let names = Input::new(NAMES, |at, batch| {
            let name = format!("the name of number {at:060}");
            batch.push(0, Some(name_key(at).as_bytes()), Some(name.as_bytes()));
        });
        let (inputs, tables) = (vec![("in", input.clone())], vec![("names", names.clone())]);
        let setup = Setup { manifest: LOOK_UP, plugins: &["look-up"], inputs, tables, ..Setup::default() };
        let rate = setup.rate().await?;
        let mut table: HashMap<Vec<u8>, Vec<u8>, RandomState> = HashMap::default();
        for batch in names.decoded() {
            let batch = batch?;
            let entries = batch.keys.iter().zip(batch.values.iter());
            table.extend(entries.map(|(key, value)| (owned(key), owned(value))));
        }
        report.rate("lookups", rate, "records/s", Some(input.native(|input| look_up(input, &table))?));
    }
    Ok(())
}

fn side_row(at: u64, side: u64, batch: &mut Batch) {
    let key = format!("user-{:07}", spread(at + side * 12_345, KEYS));
    batch.push(time_of(at), Some(key.as_bytes()), Some(format!(r#"{{"row":{at}}}"#).as_bytes()));
}

fn name_key(number: u64) -> String {
    format!("customer-{number:07}")
}

fn owned(cell: Option<&[u8]>) -> Vec<u8> {
    cell.unwrap_or_default().to_vec()
}

/// Rows of a key that may still find a partner.
#[derive(Default)]
struct Waiting([VecDeque<(i64, Vec<u8>)>; 2]);

/// Takes batches of both sides in turn, keeps what may find a partner in a queue of its key and side, and encodes pairs.
fn join(left: &Input, right: &Input) -> anyhow::Result<u64> {
    let mut waiting: HashMap<Vec<u8>, Waiting, RandomState> = HashMap::default();
    let mut bytes = 0;
    for (left, right) in left.decoded().zip(right.decoded()) {
        let mut pairs = Batch::default();
        for (side, batch) in [left?, right?].into_iter().enumerate() {
            for ((&time, key), value) in batch.timestamps.iter().zip(batch.keys.iter()).zip(batch.values.iter()) {
                let Waiting(sides) = waiting.entry_ref(key.unwrap_or_default()).or_default();
                // Batches of both sides are of the same time, so nothing older than two intervals is waited for.
                for queue in &mut *sides {
                    while queue.front().is_some_and(|(other, _)| *other < time - 2 * UPPER_MS) {
                        queue.pop_front();
                    }
                }
                for (other, partner) in &sides[1 - side] {
                    let apart = if side == 0 { other - time } else { time - other };
                    if (0..=UPPER_MS).contains(&apart) {
                        let pair = [value.unwrap_or_default(), partner].concat();
                        pairs.push(time.max(*other), key, Some(&pair));
                    }
                }
                sides[side].push_back((time, owned(value)));
            }
        }
        bytes += encode(pairs.view(), &EncodeOptions::default()).len() as u64;
    }
    Ok(bytes)
}

/// Replaces values by those of a hash map, and encodes.
fn look_up(input: &Input, table: &HashMap<Vec<u8>, Vec<u8>, RandomState>) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for batch in input.decoded() {
        let (batch, mut found) = (batch?, Batch::default());
        for (&time, key) in batch.timestamps.iter().zip(batch.keys.iter()) {
            if let Some(name) = table.get(key.unwrap_or_default()) {
                found.push(time, key, Some(name));
            }
        }
        bytes += encode(found.view(), &EncodeOptions::default()).len() as u64;
    }
    Ok(bytes)
}
