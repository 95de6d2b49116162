//! How long it takes to put a pipeline back to a checkpoint of much state.

use std::path::Path;
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use millstream::ids::default_tenant;
use millstream::pipeline::Restore;

use crate::bench::Setup;
use crate::input::{Input, time_of};
use crate::measure::{millis, timed};
use crate::report::Report;

/// Bytes of a key's state: with the key and what the host keeps beside it, a KiB.
const VALUE_BYTES: u64 = 960;

const MANIFEST: &str = r#"
name = "bench"
source = { topics = ["in"] }
output = { topic = "out" }
[[steps]]
name = "tally"
plugin = "tally"
config = { every = 0, pad_bytes = 960 }
"#;

/// Memory that holds all of the state.
const IN_MEMORY: usize = 2 << 30;

pub async fn run(report: &mut Report, mib: u64) -> anyhow::Result<()> {
    if !report.wants("restore") {
        return Ok(());
    }
    let keys = mib * 1024;
    let input = Input::new(keys, |at, batch| {
        batch.push(time_of(at), Some(format!("user-{at:07}").as_bytes()), None);
    });
    let setup = Setup {
        manifest: MANIFEST,
        plugins: &["tally"],
        inputs: vec![("in", input)],
        state_memory: Some(IN_MEMORY),
        ..Setup::default()
    };
    let bench = setup.start().await?;
    bench.log.open();
    bench.log.done().await;
    let state = bench.status().await?.state_bytes;
    anyhow::ensure!(state >= keys * VALUE_BYTES, "the state has {state} bytes");
    let tenant = default_tenant();
    let taken = bench.done(bench.pipelines.savepoint(&tenant, &bench.name, None)?).await?;
    let checkpoint = taken.checkpoint.ok_or_else(|| anyhow::anyhow!("a savepoint has a name"))?;
    let begin = Instant::now();
    let restore = Restore { checkpoint, into: None, manifest: None, to_offsets: Vec::new() };
    let restored = bench.done(bench.pipelines.restore(&tenant, &bench.name, restore)?).await?;
    bench.ready().await?;
    let took = begin.elapsed();
    anyhow::ensure!(bench.status().await?.state_bytes >= keys * VALUE_BYTES, "the state is not all there");
    bench.pipelines.stop().await;
    let (counted, native) = timed(|| read(bench.folder.path(), keys));
    anyhow::ensure!(counted? == keys as usize, "the native loop has other keys");
    report.cost("restore", millis(took), "ms", Some(millis(native)));
    report.cost("restore-state", state as f64 / (1024.0 * 1024.0), "MiB", None);
    report.cost("restore-pause", restored.pause_ms.unwrap_or_default(), "ms", None);
    Ok(())
}

/// Reads the files of the checkpoints, and puts as many values as there are keys into a hash map.
fn read(folder: &Path, keys: u64) -> anyhow::Result<usize> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder.join("checkpoints/default/bench/chunks"))? {
        bytes += std::hint::black_box(std::fs::read(file?.path())?).len();
    }
    anyhow::ensure!(bytes as u64 >= keys * VALUE_BYTES, "the chunks have {bytes} bytes");
    let mut values: HashMap<Vec<u8>, Vec<u8>, RandomState> = HashMap::default();
    for key in 0..keys {
        values.insert(format!("user-{key:07}").into_bytes(), vec![b' '; VALUE_BYTES as usize]);
    }
    Ok(std::hint::black_box(values).len())
}
