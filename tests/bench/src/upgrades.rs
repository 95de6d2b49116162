//! How long a pipeline with a million keys stands still while another deployment takes over, as records keep coming.

use std::time::Instant;

use millstream::ids::default_tenant;
use millstream::pipeline::Apply;

use crate::measure::millis;
use crate::paced::Paced;
use crate::report::Report;

const KEYS: u64 = 1_000_000;

pub async fn run(report: &mut Report) -> anyhow::Result<()> {
    if !report.wants("upgrade") {
        return Ok(());
    }
    let mut paced = Paced::with_keys(KEYS).await?;
    let (log, pipelines) = (paced.bench.log.clone(), paced.bench.pipelines.clone());
    let manifest = paced.changed_manifest();
    let (applied, took, gap) = paced
        .during(async {
            let begin = Instant::now();
            let applied = Box::pin(pipelines.apply(&default_tenant(), &manifest, Apply::default())).await?;
            let end = Instant::now();
            // The first commit of the new deployment ends the gap.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            Ok((applied, end - begin, log.longest_gap(begin, end)))
        })
        .await?;
    paced.bench.pipelines.stop().await;
    let pause_ms = applied.pause_ms.ok_or_else(|| anyhow::anyhow!("nothing was swapped"))?;
    report.cost("upgrade-pause", pause_ms, "ms", None);
    report.cost("upgrade-gap", millis(gap), "ms", None);
    report.cost("upgrade", millis(took), "ms", None);
    Ok(())
}
