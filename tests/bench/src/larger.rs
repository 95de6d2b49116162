//! State that is larger than its memory: the rows' keys are spread evenly, so most of them have to come from disk.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::bench::Setup;
use crate::input::{Input, keyed_row};
use crate::report::Report;

const MANIFEST: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "tally"
plugin = "tally"
config = { every = 0, pad_bytes = PAD }
"#;

/// Rows of each key.
const ROWS_A_KEY: u64 = 4;
/// Bytes of memory that a key takes with a count, and beside its pad.
const KEY_BYTES: u64 = 75;
/// The state is so many times as large as its memory.
const TIMES: u64 = 4;

pub async fn run(report: &mut Report, records: u64) -> anyhow::Result<()> {
    for (name, pad) in [("state-4x", 0), ("state-4x-100b", 100)] {
        if !report.wants(name) {
            continue;
        }
        let keys = records / ROWS_A_KEY;
        let input = Input::new(records, |at, batch| keyed_row(at, keys, batch));
        let manifest = MANIFEST.replace("PAD", &pad.to_string());
        let setup = Setup {
            manifest: &manifest,
            plugins: &["tally"],
            inputs: vec![("in", input.clone())],
            state_memory: Some((keys * (KEY_BYTES + pad) / TIMES) as usize),
            ..Setup::default()
        };
        let (rate, status) = setup.rate_and_status().await?;
        let (memory, keys) = (status.state_bytes, status.open_groups);
        let whole = keys * (KEY_BYTES + pad);
        anyhow::ensure!(whole >= (TIMES - 1) * memory, "{keys} keys of which {memory} bytes are in memory");
        report.rate(name, rate, "records/s", Some(input.native(|input| by_key(input, pad as usize))?));
    }
    Ok(())
}

/// Counts by key in one hash map, in memory, with as much beside each count.
fn by_key(input: &Input, pad: usize) -> anyhow::Result<u64> {
    let mut counts: HashMap<Vec<u8>, (u64, Vec<u8>), RandomState> = HashMap::default();
    for batch in input.decoded() {
        for key in batch?.keys.iter() {
            let (count, _) = counts.entry_ref(key.unwrap_or_default()).or_insert_with(|| (0, vec![b' '; pad]));
            *count += 1;
        }
    }
    Ok(counts.len() as u64)
}
