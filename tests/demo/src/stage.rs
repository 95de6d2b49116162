//! What the demonstration needs: a server on a fresh folder, the tenant's topic, plugins and pipeline.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use harness::{Client, Options, Server};
use millstream::ids::TopicName;
use millstream::pipeline::spec::Spec;
use millstream::time::{Disorder, Source as WatermarkSource};

use crate::interrupt::Interrupt;
use crate::results::Results;
use crate::screen::Screen;

/// The pipeline that is shown.
const MANIFEST: &str = "tenants/web-shop/pipelines/page-views.toml";
/// Partitions of the click stream: enough to show several, each with one producer.
pub(crate) const PARTITIONS: u32 = 4;
/// The plugins that it needs.
const PLUGINS: [&str; 2] = ["parse-json", "count"];
/// How long anything may take that is waited for: so long only where something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The names that the manifest gives.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) pipeline: String,
    pub(crate) clicks: String,
    pub(crate) views: String,
    pub(crate) late: String,
    pub(crate) dead_letters: String,
}

/// Everything set up.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) names: Names,
    /// By how much clicks of a partition may be out of order, as the manifest says.
    pub(crate) disorder_ms: i64,
    pub(crate) results: Results,
}

impl Stage {
    /// Sets everything up, and says so step by step.
    pub(crate) fn set(screen: &mut Screen, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let manifest = std::fs::read_to_string(harness::workspace().join(MANIFEST)).context(MANIFEST)?;
        let spec: Spec = manifest.parse().context(MANIFEST)?;
        let names = names(&spec)?;

        let start = Instant::now();
        harness::binary()?;
        harness::components(&PLUGINS)?;
        interrupt.check()?;
        screen.step("plugins built to WebAssembly", start.elapsed())?;

        let start = Instant::now();
        // The harness would end the run where it drops a server that logged a warning; here the verdict says so.
        let server = Server::start_with(Options::expecting(&[""]))?;
        let client = server.client();
        interrupt.check()?;
        screen.step(&format!("server started, folder {}", server.folder().display()), start.elapsed())?;

        let start = Instant::now();
        client.create_topic(&names.clicks, PARTITIONS)?;
        client.push_plugins(&PLUGINS)?;
        interrupt.check()?;
        let pushed =
            format!("topic `{}` with {PARTITIONS} partitions made, plugins pushed: parse-json, count", names.clicks);
        screen.step(&pushed, start.elapsed())?;

        let start = Instant::now();
        client.apply(&manifest)?;
        interrupt.check()?;
        screen.step(&format!("pipeline `{}` deployed", names.pipeline), start.elapsed())?;

        let results = Results::new(&client, &names.views)?;
        let WatermarkSource::Disorder(Disorder { bound_ms: disorder_ms }) = spec.watermark.source else {
            bail!("the demo's watermarks come from event times");
        };
        Ok(Self { server, client, names, disorder_ms, results })
    }
}

fn names(spec: &Spec) -> anyhow::Result<Names> {
    let clicks = spec.sources.first().context("the manifest names a source")?;
    let window = spec.steps.iter().find_map(|step| step.window.as_ref()).context("the manifest has a window")?;
    let name = |topic: &TopicName| topic.as_str().to_owned();
    Ok(Names {
        pipeline: spec.name.as_str().to_owned(),
        clicks: name(clicks),
        views: name(&spec.output),
        late: name(&window.late),
        dead_letters: name(&spec.dead_letters),
    })
}
