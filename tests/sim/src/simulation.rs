//! A simulation: servers that live one after the other on one machine, until all has been done that the seed wants.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millstream::catalog::{Catalog, FileCatalog};
use millstream::checkpoint::{Checkpoints, Store};
use millstream::files;
use millstream::ids::{Digest, PluginName, TopicName, TopicPartition, default_tenant};
use millstream::log::batch::{EncodeOptions, encode};
use millstream::log::{Log, RecordLog as _, TopicAdmin as _, TopicConfig, partition_of};
use millstream::pipeline::{Pipelines, Thresholds};
use millstream::record::Batch;
use millstream::state::Room;
use tokio::runtime::Builder;

use crate::client::{Client, Server};
use crate::disk::Disk;
use crate::guests::COMPONENTS;
use crate::loader::Loader;
use crate::log::{Journal, SimLog};
use crate::machine::{Machine, Syncs};
use crate::manifest::{KEYS, NAMES, SOURCES, compacted};
use crate::naive::name_of;
use crate::operation::{Operation, Range};
use crate::oracle::{Oracle, PIPELINES};

/// Little data takes every way through the engine.
pub(crate) const SMALL: Thresholds = Thresholds {
    closing_groups: 8,
    backlog: 4,
    window_operations: 32,
    kept_bytes: 512,
    rewrite_bytes: 64,
    sample_rows: 6,
};

/// Partitions of the table's topic.
const NAMES_PARTITIONS: u32 = 2;

/// A simulation to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What everything is drawn from.
    pub seed: u64,
    /// How much is done.
    pub operations: u64,
    /// What is done.
    pub range: Range,
    /// Whether the power goes.
    pub crashes: bool,
    /// What the disk promises.
    pub syncs: Syncs,
}

impl Settings {
    /// The usual simulation of a seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed, operations: 60, range: Range::ALL, crashes: true, syncs: Syncs::KEPT }
    }
}

/// What a simulation came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What is not as it must be.
    pub violations: Vec<String>,
    /// What happened.
    pub trace: Vec<String>,
    /// The digest of what happened.
    pub digest: Digest,
    /// How many servers lived.
    pub lives: u64,
    /// How many commits are in the log.
    pub commits: usize,
}

/// What outlives a server.
#[derive(Debug, Clone)]
struct World {
    settings: Settings,
    machine: Machine,
    disk: Disk,
    journal: Journal,
    oracle: Oracle,
    client: Client,
}

/// Runs a simulation.
pub fn run(settings: Settings) -> Outcome {
    let machine = Machine::new(settings.seed, settings.syncs);
    let oracle = Oracle::new(machine.clone());
    let disk = Disk::new(machine.clone(), oracle.clone());
    let names: Vec<String> = (0..1 + machine.below(3)).map(|place| format!("p{place}")).collect();
    let client = Client::new(&machine, &oracle, &names);
    for shape in client.shapes() {
        machine.note(|| format!("{shape:?}"));
    }
    let world = World { settings, machine, disk, journal: Journal::default(), oracle, client };
    let (mut left, mut lives) = (settings.operations, 0);
    while !world.live(&mut left, lives == 0) && world.machine.violations().is_empty() {
        lives += 1;
    }
    let World { machine, oracle, .. } = world;
    Outcome {
        violations: machine.violations(),
        trace: machine.trace(),
        digest: machine.digest(),
        lives: lives + 1,
        commits: oracle.commits(),
    }
}

impl World {
    /// Lets a server live. Whether all is done.
    fn live(&self, left: &mut u64, first: bool) -> bool {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let done = runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.machine.gone() => false,
                done = self.serve(left, first) => done,
            }
        });
        self.machine.power_off();
        // All that still ran is dropped where it stood.
        drop(runtime);
        if !done {
            self.machine.note(|| "the power is gone".to_owned());
            self.disk.lose_power();
            if self.settings.range.losses && self.machine.one_in(8) {
                self.client.lose_file(&self.disk);
            }
        }
        done
    }

    async fn serve(&self, left: &mut u64, first: bool) -> bool {
        self.machine.power_on();
        let server = match self.start(first, *left).await {
            Ok(server) => server,
            Err(error) => {
                if self.machine.is_on() {
                    self.machine.violation(format!("the server does not start: {error}"));
                    return true;
                }
                return std::future::pending().await;
            }
        };
        self.client.started(&*server.catalog);
        self.oracle.compare(false);
        self.client.find_lost(&server).await;
        if first {
            self.may_lose_power(*left);
        }
        while *left > 0 {
            *left -= 1;
            self.next(&server, left).await;
        }
        self.machine.lose_power_after(None);
        self.client.come_to_rest(&server).await;
        server.pipelines.stop().await;
        self.oracle.compare(true);
        true
    }

    fn may_lose_power(&self, left: u64) {
        if self.settings.crashes && left > 0 && !self.machine.one_in(4) {
            self.machine.lose_power_after(Some(20 + self.machine.below(1500)));
        }
    }

    /// Does the next one or two operations.
    async fn next(&self, server: &Server, left: &mut u64) {
        let names = self.client.names();
        let draw = || Operation::draw(&self.machine, self.settings.range, &names);
        let one = draw();
        if !self.settings.range.concurrent || !self.machine.one_in(4) {
            return self.client.perform(server, one).await;
        }
        *left = left.saturating_sub(1);
        let mut other = draw();
        if self.machine.one_in(2)
            && let Some(name) = one.name()
        {
            // Two of the same name are what disturbs most.
            while other.name() != Some(name) {
                other = draw();
            }
        }
        let both = [one, other].map(|operation| {
            let (client, server) = (self.client.clone(), server.clone());
            tokio::spawn(async move { client.perform(&server, operation).await })
        });
        for performed in both {
            if let Err(error) = performed.await {
                self.machine.violation(format!("an operation panicked: {error}"));
            }
        }
    }

    /// Starts a server on what the disk has.
    async fn start(&self, first: bool, left: u64) -> Result<Server, String> {
        let log = Arc::new(SimLog::open(&self.machine, &self.disk, &self.journal, &self.oracle));
        self.oracle.restarted(&self.disk.below(Path::new(PIPELINES)));
        if !first {
            self.may_lose_power(left);
        }
        let environment = Arc::new(self.machine.clone());
        let disk = Arc::new(self.disk.clone());
        files::make_folder(&self.disk, Path::new("/data")).map_err(|error| error.to_string())?;
        let catalog = FileCatalog::open_on(Arc::clone(&disk) as _, Arc::clone(&environment) as _, "/data/catalog")
            .map_err(|error| error.to_string())?;
        let store = Store::open_on(disk, Arc::clone(&environment) as _, Path::new("/data/checkpoints"))
            .map_err(|error| error.to_string())?;
        let catalog: Arc<dyn Catalog> = Arc::new(catalog);
        self.prepare(&log, &*catalog).await?;
        let loader = Arc::new(Loader(self.machine.clone()));
        let checkpoints = Checkpoints::new(store);
        self.client.about_to_start(&log);
        let of_pipelines: Arc<dyn Log> = Arc::clone(&log) as _;
        let pipelines = Pipelines::open(
            of_pipelines,
            loader,
            Arc::clone(&catalog),
            checkpoints,
            Room::default(),
            SMALL,
            environment,
        );
        let pipelines = pipelines.await.map_err(|error| error.to_string())?;
        Ok(Server { log, catalog, pipelines })
    }

    /// Makes topics, the table and the plugins, where they are not there.
    async fn prepare(&self, log: &SimLog, catalog: &dyn Catalog) -> Result<(), String> {
        let tenant = default_tenant();
        let name = |text: &str| text.parse::<TopicName>().expect("a name");
        let failed = |error: millstream::log::Error| error.to_string();
        let known = log.topics(&tenant).await.map_err(failed)?;
        let late = self.client.shapes().into_iter().filter(|shape| shape.late_compacted);
        let topics = SOURCES.iter().map(|(topic, partitions)| (name(topic), TopicConfig::with_partitions(*partitions)));
        let topics = topics.chain([(name(NAMES), compacted(NAMES_PARTITIONS))]);
        let topics = topics.chain(late.map(|shape| (name(&shape.late()), compacted(1))));
        for (topic, config) in topics.filter(|(topic, _)| !known.contains_key(topic)) {
            log.create_topic(&tenant, &topic, config).await.map_err(failed)?;
        }
        for component in COMPONENTS {
            let plugin: PluginName = component.split('-').next().unwrap_or_default().parse().expect("a name");
            let bytes = Bytes::from_static(component.as_bytes());
            let pushed = catalog.push_plugin(&tenant, &plugin, Loader::certify(component), bytes).await;
            pushed.map_err(|error| error.to_string())?;
        }
        if known.contains_key(&name(NAMES)) {
            return Ok(());
        }
        for key in 0..KEYS {
            let key = format!("k{key}");
            let partition = partition_of(key.as_bytes(), NAMES_PARTITIONS);
            let at = TopicPartition { topic: name(NAMES), partition };
            let mut row = Batch::default();
            row.push(0, Some(key.as_bytes()), Some(name_of(&key).as_bytes()));
            log.append(&tenant, &at, encode(row.view(), &EncodeOptions::default())).await.map_err(failed)?;
        }
        Ok(())
    }
}
