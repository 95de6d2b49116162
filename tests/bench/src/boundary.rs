//! What crossing into the sandbox costs: a fresh instance a call, fuel and epochs on, rows of 100 bytes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use millstream::ids::default_tenant;
use millstream::plugin::{Grants, Owner, Transformer as _};
use millstream::record::{Batch, BatchRef};

use crate::measure::best_of;
use crate::report::Report;

/// Bytes of a row.
const ROW: usize = 100;

pub async fn run(report: &mut Report) -> anyhow::Result<()> {
    let sizes = [("boundary", 4096), ("boundary-256", 256), ("boundary-1", 1)];
    if !sizes.iter().any(|(name, _)| report.wants(name)) {
        return Ok(());
    }
    for (name, rows) in sizes {
        if !report.wants(name) {
            continue;
        }
        // A pool of its own: a slot that has served a large call clears what that one used at the end of each later call.
        let folder = tempfile::tempdir()?;
        let sandbox = crate::bench::sandbox(folder.path())?;
        let component = std::fs::read(harness::component("bench-guest")?)?;
        let owner =
            Owner { tenant: default_tenant(), pipeline: "bench".parse()?, step: "filter".parse()?, is_trial: false };
        let image = sandbox.image(&component, &serde_json::json!({}), owner, Grants::default()).await?;
        let batch = batch(rows);
        let calls = 200_000 / rows.max(16);
        let mut in_sandbox = Duration::MAX;
        for _ in 0..7 {
            let begin = Instant::now();
            for _ in 0..calls {
                black_box(image.transform(values_only(batch.view())).await?);
            }
            in_sandbox = in_sandbox.min(begin.elapsed());
        }
        let native = best_of(7, || {
            let begin = Instant::now();
            for _ in 0..calls {
                black_box(natively(black_box(&batch)));
            }
            begin.elapsed()
        });
        let per_record = |time: Duration| time.as_nanos() as f64 / (calls * rows) as f64;
        report.cost(name, per_record(in_sandbox), "ns/record", Some(per_record(native)));
    }
    Ok(())
}

/// What the guest's description says that it reads.
fn values_only(rows: BatchRef<'_>) -> BatchRef<'_> {
    BatchRef { timestamps: rows.timestamps, values: rows.values, ..BatchRef::default() }
}

/// The same filter over the same columns, as a person would write it by hand: which rows are kept.
fn natively(batch: &Batch) -> Vec<u32> {
    let values = (0..).zip(batch.values.iter());
    values.filter(|(_, value)| bench_guest::keep_even(value.unwrap_or_default())).map(|(row, _)| row).collect()
}

fn batch(rows: usize) -> Batch {
    let mut batch = Batch::default();
    for row in 0..rows {
        batch.push(row as i64, None, Some(&[row as u8; ROW]));
    }
    batch
}
