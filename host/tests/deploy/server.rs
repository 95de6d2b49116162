//! A server without its HTTP interface, that can be restarted on what it has stored.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use millstream::catalog::{Catalog, FileCatalog};
use millstream::checkpoint::{Checkpoints, Store};
use millstream::environment::System;
use millstream::ids::{PipelineName, TopicName, TopicPartition, default_tenant};
use millstream::log::batch::{EncodeOptions, decode, encode};
use millstream::log::{RecordLog as _, TopicAdmin as _, TopicConfig};
use millstream::pipeline::status::{PipelineStatus, State};
use millstream::pipeline::{Apply, Done, Error, Operation, Pipelines, Thresholds};
use millstream::plugin::Sandbox;
use millstream::record::Batch;
use millstream::state::{Room, STATE_MEMORY};
use tempfile::TempDir;

use crate::failing::FailingFiles;
use crate::gated::GatedLog;
use crate::guests::{IDENTITY, Transform, sandbox};

/// How long a test waits for what must come; a test that fails takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) folder: TempDir,
    pub(crate) log: Arc<GatedLog>,
    pub(crate) files: Arc<FailingFiles>,
    pub(crate) sandbox: Sandbox,
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) pipelines: Pipelines,
}

pub(crate) fn name(text: &str) -> PipelineName {
    text.parse().unwrap()
}

pub(crate) fn topic(text: &str) -> TopicName {
    text.parse().unwrap()
}

/// A manifest that passes rows of one topic on to another by a plugin.
pub(crate) fn manifest(name: &str, plugin: &str, source: &str, output: &str) -> String {
    format!(
        "name = \"{name}\"\n[source]\ntopics = [\"{source}\"]\n[[steps]]\nname = \"step\"\nplugin = \"{plugin}\"\n\
         [output]\ntopic = \"{output}\"\n"
    )
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

async fn open(
    folder: &TempDir,
    files: &Arc<FailingFiles>,
    log: &Arc<GatedLog>,
    sandbox: &Sandbox,
) -> (Arc<dyn Catalog>, Pipelines) {
    let catalog = FileCatalog::open_on(Arc::clone(files) as _, Arc::new(System), folder.path().join("catalog"));
    let catalog: Arc<dyn Catalog> = Arc::new(catalog.unwrap());
    let store = folder.path().join("checkpoints").display().to_string();
    let checkpoints = Checkpoints::new(Store::open(&store).unwrap());
    let room = Room { memory: STATE_MEMORY, disks: None };
    let opened = Pipelines::open(
        Arc::clone(log) as _,
        Arc::new(sandbox.clone()),
        Arc::clone(&catalog),
        checkpoints,
        room,
        Thresholds::default(),
        Arc::new(System),
    )
    .await;
    (catalog, opened.unwrap())
}

impl Server {
    /// A server with the plugins `pass` (rows as they are), `again` (the same in other bytes) and `spin` (never answers),
    /// which makes so many calls at once.
    pub(crate) async fn new(calls: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = sandbox(&folder.path().join("artifacts"), |config| {
            config.calls = calls;
            // A guest may compute for minutes.
            (config.limits.call.fuel_base, config.limits.call.ticks) = (u64::MAX >> 8, 600_000);
        });
        let log = Arc::new(GatedLog::new());
        let files = Arc::default();
        let (catalog, pipelines) = open(&folder, &files, &log, &sandbox).await;
        let server = Self { folder, log, files, sandbox, catalog, pipelines };
        server.push("pass", &Transform::default().component()).await;
        server.push("again", &Transform::doing(&format!("(nop) {IDENTITY}")).component()).await;
        server.push("spin", &Transform::doing("(loop $ever (br $ever)) unreachable").component()).await;
        server
    }

    /// Ends all that runs, and begins again with what is stored.
    pub(crate) async fn restart(&mut self) {
        self.pipelines.stop().await;
        (self.catalog, self.pipelines) = open(&self.folder, &self.files, &self.log, &self.sandbox).await;
    }

    /// Loses the file of a pipeline. It is missed at the next start.
    pub(crate) fn lose(&self, pipeline: &str) {
        let file = format!("catalog/tenants/default/pipelines/{pipeline}.json");
        std::fs::remove_file(self.folder.path().join(file)).unwrap();
    }

    pub(crate) async fn push(&self, plugin: &str, component: &[u8]) {
        let certificate = self.sandbox.certify(component).await.unwrap();
        let (name, component) = (plugin.parse().unwrap(), component.to_vec().into());
        self.catalog.push_plugin(&default_tenant(), &name, certificate, component).await.unwrap();
    }

    pub(crate) async fn create(&self, name: &str, partitions: u32) {
        let config = TopicConfig::with_partitions(partitions);
        self.pipelines.create_topic(&default_tenant(), &topic(name), config).await.unwrap();
    }

    /// Without a trial: some guests of these tests answer once a call, or never.
    pub(crate) async fn apply(&self, manifest: &str) -> PipelineStatus {
        let how = Apply { untried: true, ..Apply::default() };
        self.pipelines.apply(&default_tenant(), manifest, how).await.unwrap().status
    }

    pub(crate) fn show(&self, pipeline: &str) -> PipelineStatus {
        self.pipelines.show(&default_tenant(), &name(pipeline)).now_or_never().expect("its log is in memory").unwrap()
    }

    pub(crate) fn state(&self, pipeline: &str) -> State {
        self.show(pipeline).state
    }

    /// Appends so many rows to a partition, with values from a number on.
    pub(crate) async fn feed(&self, to: &str, partition: u32, values: std::ops::Range<usize>) {
        let mut rows = Batch::default();
        values.for_each(|value| rows.push(value as i64, Some(b"k"), Some(value.to_string().as_bytes())));
        self.append(to, partition, &rows).await;
    }

    pub(crate) async fn append(&self, to: &str, partition: u32, rows: &Batch) {
        let at = TopicPartition { topic: topic(to), partition };
        let batches = encode(rows.view(), &EncodeOptions::default());
        self.log.append(&default_tenant(), &at, batches).await.unwrap();
    }

    /// The values in a topic, in order.
    pub(crate) fn values(&self, of: &str) -> Vec<Option<String>> {
        let topics = self.log.topics(&default_tenant()).now_or_never().expect("they are in memory");
        let info = topics.unwrap().remove(&topic(of)).unwrap();
        let mut rows = Batch::default();
        for partition in 0..info.config.partitions {
            let at = TopicPartition { topic: topic(of), partition };
            let fetched = self.log.fetch(&default_tenant(), &at, 0, usize::MAX).now_or_never();
            for batch in fetched.expect("it is in memory").unwrap().batches {
                decode(&batch, 0, false, &mut rows).unwrap();
            }
        }
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut values: Vec<_> = rows.values.iter().map(|value| value.map(text)).collect();
        values.sort_by_key(|value| value.as_ref().and_then(|value| value.parse::<u64>().ok()));
        values
    }

    /// Waits until a pipeline has read all that there is.
    pub(crate) async fn drained(&self, pipeline: &str) {
        until(&format!("`{pipeline}` has read all: {:?}", self.show(pipeline)), || {
            let status = self.show(pipeline);
            assert_ne!(status.state, State::Failed, "{:?}", status.reason);
            let read = |input: &millstream::pipeline::status::InputStatus| input.position == input.end;
            status.state == State::Running && status.inputs.iter().all(read)
        })
        .await;
    }

    /// Asserts that a topic has these numbers, each once.
    pub(crate) fn has_each_once(&self, of: &str, values: std::ops::Range<usize>) {
        let expected: Vec<_> = values.map(|value| Some(value.to_string())).collect();
        assert_eq!(self.values(of), expected);
    }
}

/// What an operation came to.
pub(crate) async fn done(operation: &Operation) -> Result<Done, Arc<Error>> {
    operation.ended(PATIENCE).await;
    operation.outcome().expect("it ends in time").result
}
