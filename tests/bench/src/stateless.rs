//! Pipelines without state: from memory to a sink that discards, and from log to log.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use millstream::ids::{TopicPartition, default_tenant};
use millstream::log::TopicConfig;
use millstream::log::batch::{EncodeOptions, encode};
use millstream::record::Batch;

use crate::bench::{Setup, deploy, embedded};
use crate::input::Input;
use crate::measure::cpu_time;
use crate::report::Report;

const FILTER: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "filter"
plugin = "bench-guest"
"#;

pub async fn run(report: &mut Report, records: u64) -> anyhow::Result<()> {
    if report.wants("stateless") {
        let input = Input::new(records, row_of_100_bytes);
        let inputs = vec![("in", input.clone())];
        let setup = Setup { manifest: FILTER, plugins: &["bench-guest"], inputs, discards: true, ..Setup::default() };
        report.rate("stateless", setup.rate().await?, "records/s", Some(input.native(|input| filter(input, None))?));
    }
    if report.wants("log-to-log") {
        let input = Input::new(records, row_of_100_bytes);
        let rate = log_to_log(&input).await?;
        let folder = tempfile::tempdir()?;
        let file = std::fs::File::create(folder.path().join("out"))?;
        report.rate("log-to-log", rate, "records/s", Some(input.native(|input| filter(input, Some(&file)))?));
    }
    Ok(())
}

fn row_of_100_bytes(at: u64, batch: &mut Batch) {
    batch.push(at as i64, None, Some(&[at as u8; 100]));
}

/// Decodes, filters, encodes, and writes to a file with a sync a micro-batch's worth.
fn filter(input: &Input, file: Option<&std::fs::File>) -> anyhow::Result<u64> {
    let (mut written, mut kept, mut batches) = (0, Batch::default(), 0);
    for batch in input.decoded() {
        let batch = batch?;
        let rows = batch.timestamps.iter().zip(batch.keys.iter()).zip(batch.values.iter());
        for ((&timestamp, key), value) in rows {
            if bench_guest::keep_even(value.unwrap_or_default()) {
                kept.push(timestamp, key, value);
            }
        }
        batches += 1;
        if batches % 16 == 0 || batches == input.batches.len() {
            let encoded = encode(kept.view(), &EncodeOptions::default());
            written += encoded.len() as u64;
            if let Some(mut file) = file {
                file.write_all(&encoded)?;
                file.sync_data()?;
            }
            kept.clear();
        }
    }
    Ok(written)
}

/// Records a CPU second from the embedded log to the embedded log.
async fn log_to_log(input: &Input) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let log = embedded(folder.path())?;
    let tenant = default_tenant();
    let at = TopicPartition { topic: "in".parse()?, partition: 0 };
    log.create_topic(&tenant, &at.topic, TopicConfig::with_partitions(1)).await?;
    let pipelines = deploy(folder.path(), Arc::clone(&log), FILTER, &["bench-guest"], None).await?;
    let name = "bench".parse()?;
    pipelines.pause(&tenant, &name).await?;
    for batch in &input.batches {
        log.append(&tenant, &at, batch.clone()).await?;
    }
    let before = cpu_time()?;
    pipelines.resume(&tenant, &name).await?;
    while pipelines.show(&tenant, &name).await?.inputs.first().is_none_or(|input| input.position < input.end) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let used = cpu_time()? - before;
    pipelines.stop().await;
    Ok(input.records as f64 / used.as_secs_f64())
}
