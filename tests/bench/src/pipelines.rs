//! Whole pipelines: how many records a second one core carries.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream::catalog::Catalog;
use millstream::checkpoint::{Checkpoints, Store};
use millstream::ids::{PluginName, TenantId, TopicName, TopicPartition, default_tenant};
use millstream::log::batch::{EncodeOptions, decode, encode, set_base_offset};
use millstream::log::embedded::{EmbeddedConfig, EmbeddedLog};
use millstream::log::{Durability, Log, TopicConfig};
use millstream::pipeline::Pipelines;
use millstream::plugin::{Sandbox, SandboxConfig};
use millstream::record::Batch;

use crate::generator::{GeneratorLog, INPUT};
use crate::measure::{cpu_time, timed};
use crate::report::Report;

/// Records in one record batch of the input, as a busy producer sends them.
const BATCH_RECORDS: u64 = 4096;
/// Event time from one record to the next: a hundred thousand records a second.
const MICROS_A_RECORD: u64 = 10;

const FILTER: &str = r#"
name = "filter"
[source]
topics = ["in"]
[[steps]]
name = "filter"
plugin = "bench-guest"
[output]
topic = "out"
"#;

const COUNT: &str = r#"
name = "count"
[source]
topics = ["in"]
[[steps]]
name = "count"
plugin = "count"
window = { tumbling = "1m" }
[output]
topic = "out"
"#;

pub async fn run(report: &mut Report, records: u64) -> anyhow::Result<()> {
    if report.wants("stateless") {
        let input = Input::new(records, rows_of_100_bytes);
        let rate = generated(&input, FILTER, "bench-guest", true).await?;
        report.rate("stateless", rate, "records/s", Some(input.native(|input| input.filter(None))?));
    }
    if report.wants("log-to-log") {
        let input = Input::new(records, rows_of_100_bytes);
        let rate = log_to_log(&input).await?;
        let folder = tempfile::tempdir()?;
        let file = std::fs::File::create(folder.path().join("out"))?;
        report.rate("log-to-log", rate, "records/s", Some(input.native(|input| input.filter(Some(&file)))?));
    }
    for (name, keys) in [("keyed-10k", 10_000), ("keyed-1m", 1_000_000)] {
        if report.wants(name) {
            let input = Input::new(records, |at, batch| keyed_row(at, keys, batch));
            let rate = generated(&input, COUNT, "count", false).await?;
            report.rate(name, rate, "records/s", Some(input.native(Input::count)?));
        }
    }
    Ok(())
}

/// A sandbox whose compile worker is this binary.
pub fn sandbox(folder: &Path) -> anyhow::Result<Sandbox> {
    Ok(Sandbox::new(SandboxConfig::new(folder.join("artifacts")))?)
}

/// Record batches for a pipeline and for the native loop.
struct Input {
    batches: Vec<Bytes>,
    ends: Vec<u64>,
    records: u64,
}

fn rows_of_100_bytes(at: u64, batch: &mut Batch) {
    batch.push(at as i64, None, Some(&[at as u8; 100]));
}

/// A row whose key is spread evenly over all keys by a multiplicative step.
fn keyed_row(at: u64, keys: u64, batch: &mut Batch) {
    let key = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let time = at * MICROS_A_RECORD / 1000;
    batch.push(time as i64, Some(format!("user-{:07}", key % keys).as_bytes()), Some(b"/shop/item"));
}

impl Input {
    fn new(records: u64, row: impl Fn(u64, &mut Batch)) -> Self {
        let (mut batches, mut ends, mut batch) = (Vec::new(), Vec::new(), Batch::default());
        for base in (0..records).step_by(BATCH_RECORDS as usize) {
            let end = (base + BATCH_RECORDS).min(records);
            batch.clear();
            (base..end).for_each(|at| row(at, &mut batch));
            let mut encoded = encode(batch.view(), &EncodeOptions::default()).to_vec();
            set_base_offset(&mut encoded, base);
            batches.push(encoded.into());
            ends.push(end);
        }
        Self { batches, ends, records }
    }

    /// Records a second of a native loop.
    fn native(&self, work: impl Fn(&Self) -> anyhow::Result<u64>) -> anyhow::Result<f64> {
        let before = cpu_time()?;
        let result = work(self)?;
        let time = cpu_time()? - before;
        std::hint::black_box(result);
        Ok(self.records as f64 / time.as_secs_f64())
    }

    /// Decodes, filters, encodes, and writes to a file with a sync a micro-batch's worth.
    fn filter(&self, file: Option<&std::fs::File>) -> anyhow::Result<u64> {
        let mut written = 0;
        for batches in self.batches.chunks(16) {
            let mut kept = Batch::default();
            for encoded in batches {
                let mut batch = Batch::default();
                decode(encoded, 0, false, &mut batch)?;
                let rows = batch.timestamps.iter().zip(batch.keys.iter()).zip(batch.values.iter());
                for ((&timestamp, key), value) in rows {
                    if bench_guest::keep_even(value.unwrap_or_default()) {
                        kept.push(timestamp, key, value);
                    }
                }
            }
            let encoded = encode(kept.view(), &EncodeOptions::default());
            written += encoded.len() as u64;
            if let Some(mut file) = file {
                file.write_all(&encoded)?;
                file.sync_data()?;
            }
        }
        Ok(written)
    }

    /// Counts by minute and key in one hash map, and empties it minute by minute.
    fn count(&self) -> anyhow::Result<u64> {
        let mut windows: BTreeMap<i64, hashbrown::HashMap<Vec<u8>, u64, foldhash::fast::RandomState>> = BTreeMap::new();
        let mut results = 0;
        for encoded in &self.batches {
            let mut batch = Batch::default();
            decode(encoded, 0, false, &mut batch)?;
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
}

/// Records a CPU second of a pipeline fed from memory.
async fn generated(input: &Input, manifest: &str, plugin: &str, discards: bool) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let inner = embedded(folder.path(), 1)?;
    let (batches, ends) = (input.batches.clone(), input.ends.clone());
    let log = Arc::new(GeneratorLog::new(inner, batches, ends, discards));
    let pipelines = deploy(folder.path(), Arc::clone(&log) as Arc<dyn Log>, manifest, plugin).await?;
    let before = cpu_time()?;
    log.open();
    log.done().await;
    let used = cpu_time()? - before;
    pipelines.stop().await;
    Ok(input.records as f64 / used.as_secs_f64())
}

/// Records a CPU second from the embedded log to the embedded log.
async fn log_to_log(input: &Input) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let log = embedded(folder.path(), 1)?;
    let pipelines = deploy(folder.path(), Arc::clone(&log), FILTER, "bench-guest").await?;
    let tenant = default_tenant();
    let name = "filter".parse()?;
    pipelines.pause(&tenant, &name).await?;
    let at = TopicPartition { topic: INPUT.parse()?, partition: 0 };
    for batch in &input.batches {
        log.append(&tenant, &at, batch.clone()).await?;
    }
    let before = cpu_time()?;
    pipelines.resume(&tenant, &name).await?;
    while pipelines.show(&tenant, &name)?.inputs.first().is_none_or(|input| input.position < input.end) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let used = cpu_time()? - before;
    pipelines.stop().await;
    Ok(input.records as f64 / used.as_secs_f64())
}

fn embedded(folder: &Path, partitions: u32) -> anyhow::Result<Arc<dyn Log>> {
    let config = EmbeddedConfig { durability: Durability::Fsync, ..EmbeddedConfig::new(folder.join("log")) };
    let log = EmbeddedLog::open(config)?;
    let topic: TopicName = INPUT.parse()?;
    log.create_topic(&default_tenant(), &topic, TopicConfig::with_partitions(partitions))?;
    Ok(Arc::new(log))
}

async fn deploy(folder: &Path, log: Arc<dyn Log>, manifest: &str, plugin: &str) -> anyhow::Result<Pipelines> {
    let (sandbox, catalog) = (sandbox(folder)?, Catalog::open(folder.join("catalog"))?);
    let component = std::fs::read(harness::component(plugin)?)?;
    let certificate = sandbox.certify(&component).await?;
    let (tenant, name): (TenantId, PluginName) = (default_tenant(), plugin.parse()?);
    catalog.push_plugin(&tenant, &name, &certificate, &component)?;
    let checkpoints = Checkpoints::new(Store::open(&folder.join("checkpoints").display().to_string())?);
    let pipelines = Pipelines::open(log, sandbox, catalog, checkpoints).await?;
    let (applied, _) = timed(|| pipelines.apply(&tenant, manifest));
    let applied = applied.await?;
    anyhow::ensure!(applied.status.reason.is_none(), "{:?}", applied.status.reason);
    Ok(pipelines)
}
