//! What a checkpoint costs, by how much state there is and how much of it has changed since the one before; and how long
//! the pipeline stands still for it.

use std::io::Write;
use std::time::{Duration, Instant};

use millstream::ids::default_tenant;

use crate::bench::Bench;
use crate::measure::{best_of, millis};
use crate::paced::Paced;
use crate::report::Report;

/// How long the pipeline is watched before the checkpoint, to know its gaps without one.
const WATCHED: Duration = Duration::from_secs(1);
const MIB: f64 = 1024.0 * 1024.0;

pub async fn run(report: &mut Report) -> anyhow::Result<()> {
    for (name, keys) in [("checkpoint-10k", 10_000), ("checkpoint-1m", 1_000_000)] {
        if !report.wants(name) {
            continue;
        }
        let mut paced = Paced::with_keys(keys).await?;
        let bench = (paced.bench.log.clone(), paced.bench.pipelines.clone(), paced.bench.name.clone());
        let (log, pipelines, pipeline) = bench;
        // The first one has to copy everything, while records keep coming.
        let (calm, copying, operation) = paced
            .during(async {
                let begin = Instant::now();
                tokio::time::sleep(WATCHED).await;
                let middle = Instant::now();
                let operation = pipelines.savepoint(&default_tenant(), &pipeline, None)?;
                operation.ended(crate::bench::PATIENCE).await;
                // A commit that waits for it is a gap that ends after it.
                let end = Instant::now();
                tokio::time::sleep(WATCHED / 10).await;
                Ok((log.longest_gap(begin, middle), (log.longest_gap(middle, end), end - middle), operation))
            })
            .await?;
        let (gap, took) = copying;
        let taken = paced.bench.done(operation).await?;
        show(report, name, &paced.bench, taken.checkpoint, took).await?;
        report.cost(&format!("{name}-gap"), millis(gap), "ms", Some(millis(calm)));
        // What came while it was copied is not to be in the next one that is measured.
        paced.bench.done(paced.bench.pipelines.savepoint(&default_tenant(), &paced.bench.name, None)?).await?;
        // Of fewer keys a hundredth is less than a batch.
        let changes: &[u64] = if keys == 1_000_000 { &[1, 10] } else { &[] };
        for percent in changes {
            paced.take(keys * percent / 100).await?;
            let begin = Instant::now();
            let operation = paced.bench.pipelines.savepoint(&default_tenant(), &paced.bench.name, None)?;
            let taken = paced.bench.done(operation).await?;
            show(report, &format!("{name}-{percent}%"), &paced.bench, taken.checkpoint, begin.elapsed()).await?;
        }
        paced.bench.pipelines.stop().await;
    }
    Ok(())
}

/// Time and bytes of a checkpoint, beside writing as many bytes to a file.
async fn show(
    report: &mut Report,
    name: &str,
    bench: &Bench,
    id: Option<millstream::checkpoint::CheckpointId>,
    took: Duration,
) -> anyhow::Result<()> {
    let id = id.ok_or_else(|| anyhow::anyhow!("a savepoint has a name"))?;
    let manifest = bench.pipelines.checkpoint(&default_tenant(), &bench.name, id).await?;
    let bytes = vec![0x5a; manifest.written_bytes as usize];
    let folder = tempfile::tempdir()?;
    let mut failed = None;
    let native = best_of(3, || {
        let begin = Instant::now();
        let file = std::fs::File::create(folder.path().join("copy"));
        let written = file.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        failed = written.err();
        begin.elapsed()
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    report.cost(name, millis(took), "ms", Some(millis(native)));
    report.cost(&format!("{name}-written"), manifest.written_bytes as f64 / MIB, "MiB", None);
    report.cost(&format!("{name}-size"), manifest.bytes() as f64 / MIB, "MiB", None);
    Ok(())
}
