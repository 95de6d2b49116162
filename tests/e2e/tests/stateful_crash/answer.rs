//! All that can be seen of the pipelines when they have read everything.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, ensure};
use harness::{Client, Record};
use millstream::pipeline::status::Usage;
use serde_json::Value;

use crate::pipelines::{OUTPUTS, PIPELINES};

/// A record without its offset: in which order those of different keys come depends on how batches are cut.
type Row = (u32, i64, Option<String>, Option<String>, Vec<(String, Option<String>)>);

/// See the module.
#[derive(Debug)]
pub struct Answer {
    /// What is in each output, sorted.
    outputs: BTreeMap<&'static str, Vec<Row>>,
    /// Counters, watermark, and keys with state of each pipeline.
    pipelines: BTreeMap<&'static str, (Usage, Option<i64>, u64)>,
}

impl Answer {
    pub fn read(client: &Client) -> anyhow::Result<Self> {
        let mut outputs = BTreeMap::new();
        for topic in OUTPUTS {
            let mut rows: Vec<Row> = client.all_records(topic)?.into_iter().map(row).collect();
            rows.sort();
            outputs.insert(*topic, rows);
        }
        let mut pipelines = BTreeMap::new();
        for (name, _) in PIPELINES {
            let status = client.pipeline(name)?;
            // How many commits there were, and so how many calls and how much fuel, depends on how batches are cut; and so
            // does how many timers count as fired: also those that a row of the same call moves before they can.
            let usage = Usage { commits: 0, failed_calls: 0, fuel: 0, ..status.usage };
            ensure!(usage.dead_letters == 0 && status.usage.failed_calls == 0, "`{name}`: {:?}", status.usage);
            pipelines.insert(*name, (usage, status.watermark, status.open_groups));
            let listed: Value = client.get(&format!("/v1/pipelines/{name}/checkpoints"))?;
            for checkpoint in listed["items"].as_array().context("a list of checkpoints")? {
                ensure!(checkpoint["error"].is_null(), "`{name}` has a checkpoint that cannot be read: {checkpoint:#}");
            }
        }
        Ok(Self { outputs, pipelines })
    }

    /// Whether another answer is this one.
    pub fn compare(&self, found: &Self) -> anyhow::Result<()> {
        for (topic, expected) in &self.outputs {
            let found = &found.outputs[topic];
            ensure!(!expected.is_empty() || *topic == "pairs-late", "`{topic}` has nothing: it shows nothing");
            if found != expected {
                let (lost, doubled) = (without(expected, found), without(found, expected));
                let some = |rows: &[Row]| rows.iter().take(5).cloned().collect::<Vec<_>>();
                anyhow::bail!(
                    "`{topic}` has {} rows, not {}: {} are missing, such as {:?}; {} are too many, such as {:?}",
                    found.len(),
                    expected.len(),
                    lost.len(),
                    some(&lost),
                    doubled.len(),
                    some(&doubled)
                );
            }
        }
        ensure!(found.pipelines == self.pipelines, "counted {:#?}, not {:#?}", found.pipelines, self.pipelines);
        Ok(())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self.outputs.iter().map(|(topic, rows)| format!("{} {topic}", rows.len())).collect();
        write!(f, "{}", counts.join(", "))
    }
}

fn row(record: Record) -> Row {
    (record.partition, record.timestamp, record.key, record.value, record.headers)
}

/// Sorted rows that the others, sorted too, have fewer of.
fn without(rows: &[Row], others: &[Row]) -> Vec<Row> {
    let mut others = others.iter().peekable();
    let mut left = Vec::new();
    for row in rows {
        while others.next_if(|other| *other < row).is_some() {}
        if others.next_if(|other| *other == row).is_none() {
            left.push(row.clone());
        }
    }
    left
}
