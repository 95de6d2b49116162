//! What the end-to-end tests share: counts as they stand in an output topic, and producing lines; real data (`real`),
//! and running pipelines over them in several ways (`ways`).

pub mod real;
pub mod ways;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use harness::{Client, Producer, Record};
use millstream::record::Batch;

/// How long anything may take that a test waits for. Never what is measured: only how long a failure takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Counts of windows: key (none for rows without) and start of the window.
pub type Counts = BTreeMap<(Option<String>, i64), u64>;

/// Reads the results of the plugin `count`, each window of a key once.
pub fn counts(records: &[Record]) -> anyhow::Result<Counts> {
    let mut counts = Counts::new();
    for record in records {
        let value = record.json()?;
        let key = value["key"].as_str().map(str::to_owned);
        let start = value["start"].as_i64().context("a result has a start")?;
        let count = value["count"].as_u64().context("a result has a count")?;
        anyhow::ensure!(record.key == key, "{record:?}: the record's key is the window's");
        let before = counts.insert((key, start), count);
        anyhow::ensure!(before.is_none(), "{record:?}: this window was completed before");
    }
    Ok(counts)
}

/// Sends lines to the partitions of a topic in turn, in batches, each partition's in order. What is at place `i` of
/// `lines` goes to partition `i % partitions`.
pub fn send_lines<L: AsRef<[u8]>>(client: &Client, topic: &str, partitions: u32, lines: &[L]) -> anyhow::Result<()> {
    /// Rows of a batch: a prime, so that batches end anywhere.
    const ROWS: usize = 997;
    for partition in 0..partitions {
        let mut producer = Producer::new(client.clone(), topic, partition, i64::from(partition));
        let own: Vec<&L> = lines.iter().skip(partition as usize).step_by(partitions as usize).collect();
        for chunk in own.chunks(ROWS) {
            let mut batch = Batch::default();
            for line in chunk {
                batch.push(0, None, Some(line.as_ref()));
            }
            producer.send(&batch)?;
        }
    }
    Ok(())
}
