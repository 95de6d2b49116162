//! A pipeline that is measured: within this process, on an embedded log, fed from memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millstream::catalog::{Catalog, FileCatalog};
use millstream::checkpoint::{Checkpoints, Store};
use millstream::environment::System;
use millstream::ids::{PipelineName, TopicName, TopicPartition, default_tenant};
use millstream::log::embedded::{EmbeddedConfig, EmbeddedLog};
use millstream::log::{Durability, Log, TopicConfig};
use millstream::pipeline::status::{PipelineStatus, State};
use millstream::pipeline::{Apply, Done, Operation, Pipelines, Thresholds};
use millstream::plugin::{Sandbox, SandboxConfig};
use millstream::spill::Folder;
use millstream::state::{Room, STATE_MEMORY};
use tempfile::TempDir;

use crate::generator::GeneratorLog;
use crate::input::Input;
use crate::measure::cpu_time;

/// How long anything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A pipeline and what it reads.
#[derive(Debug, Default)]
pub struct Setup<'a> {
    /// The manifest; the pipeline is named `bench`.
    pub manifest: &'a str,
    /// Packages of the plugins that it names.
    pub plugins: &'a [&'a str],
    /// Topics that are generated, with what is in them.
    pub inputs: Vec<(&'a str, Input)>,
    /// Topics of which the pipeline reads all before it is measured.
    pub tables: Vec<(&'a str, Input)>,
    /// Whether nothing that it commits is written.
    pub discards: bool,
    /// Memory that its state may take, if not as much as usual.
    pub state_memory: Option<usize>,
}

/// A pipeline that runs. Nothing of its inputs is visible yet.
#[derive(Debug)]
pub struct Bench {
    pub log: Arc<GeneratorLog>,
    pub pipelines: Pipelines,
    pub name: PipelineName,
    pub folder: TempDir,
}

impl Setup<'_> {
    /// Deploys it.
    pub async fn start(self) -> anyhow::Result<Bench> {
        let folder = tempfile::tempdir()?;
        let inner = embedded(folder.path())?;
        let tenant = default_tenant();
        for (name, input) in &self.tables {
            let at = TopicPartition { topic: name.parse()?, partition: 0 };
            inner.create_topic(&tenant, &at.topic, TopicConfig::with_partitions(1)).await?;
            for batch in &input.batches {
                inner.append(&tenant, &at, batch.clone()).await?;
            }
        }
        let mut inputs = Vec::new();
        for (name, input) in self.inputs {
            let topic: TopicName = name.parse()?;
            inner.create_topic(&tenant, &topic, TopicConfig::with_partitions(1)).await?;
            inputs.push((topic, input));
        }
        let log = Arc::new(GeneratorLog::new(inner, &tenant, inputs, self.discards).await?);
        let pipelines =
            deploy(folder.path(), Arc::clone(&log) as Arc<dyn Log>, self.manifest, self.plugins, self.state_memory)
                .await?;
        let bench = Bench { log, pipelines, name: "bench".parse()?, folder };
        bench.ready().await?;
        Ok(bench)
    }

    /// Records a CPU second, all of its inputs together.
    pub async fn rate(self) -> anyhow::Result<f64> {
        Ok(self.rate_and_status().await?.0)
    }

    /// The same, and what can be seen of the pipeline at the end.
    pub async fn rate_and_status(self) -> anyhow::Result<(f64, PipelineStatus)> {
        let records: u64 = self.inputs.iter().map(|(_, input)| input.records).sum();
        let bench = self.start().await?;
        let before = cpu_time()?;
        bench.log.open();
        bench.log.done().await;
        let used = cpu_time()? - before;
        let status = bench.status().await?;
        bench.pipelines.stop().await;
        Ok((records as f64 / used.as_secs_f64(), status))
    }
}

impl Bench {
    pub async fn status(&self) -> anyhow::Result<PipelineStatus> {
        Ok(self.pipelines.show(&default_tenant(), &self.name).await?)
    }

    /// Waits until it runs and has read its tables.
    pub async fn ready(&self) -> anyhow::Result<()> {
        loop {
            let status = self.status().await?;
            let behind = status.inputs.iter().any(|input| input.position < input.end);
            if status.state == State::Running && !behind {
                return Ok(());
            }
            anyhow::ensure!(status.reason.is_none(), "{:?}", status.reason);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for an operation.
    pub async fn done(&self, operation: Arc<Operation>) -> anyhow::Result<Done> {
        operation.ended(PATIENCE).await;
        let outcome = operation.outcome().ok_or_else(|| anyhow::anyhow!("it takes longer than {PATIENCE:?}"))?;
        outcome.result.map_err(|error| anyhow::anyhow!("{error}"))
    }
}

/// A sandbox whose compile worker is this binary.
pub fn sandbox(folder: &Path) -> anyhow::Result<Sandbox> {
    Ok(Sandbox::new(SandboxConfig::new(folder.join("artifacts")))?)
}

/// A log that syncs.
pub fn embedded(folder: &Path) -> anyhow::Result<Arc<dyn Log>> {
    let config = EmbeddedConfig { durability: Durability::Fsync, ..EmbeddedConfig::new(folder.join("log")) };
    Ok(Arc::new(EmbeddedLog::open(config)?))
}

/// Lets a pipeline run on a log.
pub async fn deploy(
    folder: &Path,
    log: Arc<dyn Log>,
    manifest: &str,
    plugins: &[&str],
    state_memory: Option<usize>,
) -> anyhow::Result<Pipelines> {
    let sandbox = sandbox(folder)?;
    let catalog: Arc<dyn Catalog> = Arc::new(FileCatalog::open(folder.join("catalog"))?);
    let tenant = default_tenant();
    for plugin in plugins {
        let component = std::fs::read(harness::component(plugin)?)?;
        let certificate = sandbox.certify(&component).await?;
        catalog.push_plugin(&tenant, &plugin.parse()?, certificate, component.into()).await?;
    }
    let checkpoints = Checkpoints::new(Store::open(&folder.join("checkpoints").display().to_string())?);
    let disks = Folder::open(folder.join("spill"))?;
    let room = Room { memory: state_memory.unwrap_or(STATE_MEMORY), disks: Some(Arc::new(disks)) };
    let (thresholds, system) = (Thresholds::default(), Arc::new(System));
    let pipelines = Pipelines::open(log, Arc::new(sandbox), catalog, checkpoints, room, thresholds, system).await?;
    let applied = pipelines.apply(&tenant, manifest, Apply::default()).await?;
    anyhow::ensure!(applied.status.reason.is_none(), "{:?}", applied.status.reason);
    Ok(pipelines)
}
