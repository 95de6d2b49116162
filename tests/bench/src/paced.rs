//! Input that comes at an even pace, so that a pipeline commits a thousand times a second and a pause is seen as a gap
//! between two commits.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use millstream::record::Batch;

use crate::bench::{Bench, Setup};
use crate::input::{Input, keyed_row, time_of};

/// Records of a batch.
const BATCH_RECORDS: u64 = 256;
/// Time between two batches: 256,000 records a second, a sixth of what a core can carry with a million keys.
const PACE: Duration = Duration::from_millis(1);
/// How long input can be paced: more than any measurement takes.
const SECONDS: u64 = 20;

/// A count in a state value for each key.
const MANIFEST: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "tally"
plugin = "tally"
config = { every = 0 }
"#;

/// A pipeline with state for so many keys, and input to come.
#[derive(Debug)]
pub struct Paced {
    pub bench: Bench,
    /// Batches that are visible.
    visible: u64,
    batches: u64,
}

impl Paced {
    /// Fills the state.
    pub async fn with_keys(keys: u64) -> anyhow::Result<Self> {
        let filling = keys.next_multiple_of(BATCH_RECORDS);
        let records = filling + SECONDS * 1000 * BATCH_RECORDS;
        // First each key once, so that all of them have state.
        let input = Input::in_batches(records, BATCH_RECORDS, |at, batch| match at < filling {
            true => first_row(at % keys, batch),
            false => keyed_row(at, keys, batch),
        });
        let batches = input.batches.len() as u64;
        let inputs = vec![("in", input)];
        let setup = Setup { manifest: MANIFEST, plugins: &["tally"], inputs, ..Setup::default() };
        let mut paced = Self { bench: setup.start().await?, visible: 0, batches };
        paced.take(filling).await?;
        Ok(paced)
    }

    /// The manifest that runs, as it would be changed by a comment: another deployment that does the same.
    pub fn changed_manifest(&self) -> String {
        format!("# changed\n{MANIFEST}")
    }

    /// Lets it process so many more records, and waits until it has.
    pub async fn take(&mut self, records: u64) -> anyhow::Result<()> {
        self.visible += records.div_ceil(BATCH_RECORDS);
        anyhow::ensure!(self.visible <= self.batches, "the input is too short");
        self.bench.log.show(self.visible);
        self.bench.log.done().await;
        Ok(())
    }

    /// Does something while records come at the pace.
    pub async fn during<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let mut work = pin!(work);
        let mut pace = tokio::time::interval(PACE);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = pace.tick() => {
                    self.visible += 1;
                    anyhow::ensure!(self.visible <= self.batches, "the input is too short: it took over {SECONDS} s");
                    self.bench.log.show(self.visible);
                }
            }
        };
        self.bench.log.done().await;
        result
    }
}

fn first_row(key: u64, batch: &mut Batch) {
    batch.push(time_of(key), Some(format!("user-{key:07}").as_bytes()), Some(b"/shop/item"));
}
