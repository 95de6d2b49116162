//! `millstream serve`: the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum, value_parser};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::failure::Failure;
use super::output;
use crate::api::{self, Host};
use crate::catalog::{Catalog, FileCatalog};
use crate::checkpoint::{Checkpoints, Store};
use crate::clock::now_ms;
use crate::environment::System;
use crate::error::Kind;
use crate::files::{self, SystemFiles};
use crate::log::embedded::{EmbeddedConfig, EmbeddedLog};
use crate::log::{self, Durability, Log};
use crate::pipeline::{Pipelines, Thresholds};
use crate::plugin::{Sandbox, SandboxConfig};
use crate::spill::Folder;
use crate::state::{Room, STATE_MEMORY};

/// How often records that need not be kept any more are removed.
const RETENTION_PERIOD: Duration = Duration::from_secs(60);
/// How much longer compaction rests after a piece of its work than it worked: it takes a quarter of a core at most.
const COMPACTION_REST: u32 = 3;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  millstream serve --data ./data\n  millstream serve --data /var/lib/millstream \
                        --listen 127.0.0.1:0 --durability os\n\nStops on SIGINT and SIGTERM, between two commits.")]
pub(super) struct Serve {
    /// Folder for everything that must survive; made if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where checkpoints are stored: a folder, or s3://BUCKET/PREFIX; `checkpoints` in the data folder unless given
    #[arg(long, value_name = "DIR|URL")]
    checkpoints: Option<String>,
    /// Loopback address to listen on; port 0 takes any that is free
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Memory for the state of each pipeline, in MiB; values and tables of keys beyond it go to `spill` in the data folder
    #[arg(long, default_value_t = (STATE_MEMORY >> 20) as u32, value_name = "MIB",
          value_parser = value_parser!(u32).range(1..=1024))]
    state_memory: u32,
    /// What an acknowledged write survives
    #[arg(long, value_enum, default_value_t)]
    durability: Promise,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Promise {
    /// A loss of power
    #[default]
    Fsync,
    /// A crash of the server
    Os,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let started = Instant::now();
        let runtime = Builder::new_multi_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Failure::new("sandbox_unavailable", Kind::Unavailable, error.to_string()))?;
        runtime.block_on(self.serve(started))
    }

    async fn serve(self, started: Instant) -> Result<(), Failure> {
        // Before anything is opened: an address that cannot be had is the cheapest thing to find out.
        let listener = api::listen(self.listen).await?;
        files::make_folder(&SystemFiles, &self.data)
            .map_err(|error| Failure::file("make folder", &self.data, &error))?;
        let durability = match self.durability {
            Promise::Fsync => Durability::Fsync,
            Promise::Os => Durability::Os,
        };
        // The log holds the folder's lock: nothing else may be opened before it.
        let config = EmbeddedConfig { durability, ..EmbeddedConfig::new(self.data.join("log")) };
        let embedded = Arc::new(EmbeddedLog::open(config)?);
        let log: Arc<dyn Log> = Arc::<EmbeddedLog>::clone(&embedded);
        let catalog: Arc<dyn Catalog> = Arc::new(FileCatalog::open(self.data.join("catalog"))?);
        let sandbox = Sandbox::new(SandboxConfig::new(self.data.join("artifacts")))?;
        let default = self.data.join("checkpoints").display().to_string();
        let checkpoints = Checkpoints::new(Store::open(self.checkpoints.as_ref().unwrap_or(&default))?);
        let disks = Folder::open(self.data.join("spill"))?;
        let room = Room { memory: (self.state_memory as usize) << 20, disks: Some(Arc::new(disks)) };
        let pipelines = Pipelines::open(
            Arc::clone(&log),
            Arc::new(sandbox.clone()),
            Arc::clone(&catalog),
            checkpoints,
            room,
            Thresholds::default(),
            Arc::new(System),
        )
        .await?;
        let host = Arc::new(Host {
            log: Arc::clone(&log),
            catalog,
            sandbox,
            pipelines: pipelines.clone(),
            folder: self.data.display().to_string(),
            durability,
            started,
        });

        let (stop, stopped) = watch::channel(false);
        let cleaning = tokio::spawn(clean(embedded));
        let address = listener.local_addr().map_err(|error| Failure::file("look at", &self.data, &error))?;
        let answering = tokio::spawn(api::serve(host, listener, stopped));
        tracing::info!(%address, data = %self.data.display(), start_ms = started.elapsed().as_millis() as u64, "serving");
        output::line(format_args!("listening on http://{address}"))?;

        asked_to_stop().await?;
        tracing::info!("stopping");
        stop.send_replace(true);
        // A disk that does not answer can hold a stop for ever; the end of the process is a stop too.
        tokio::select! {
            () = pipelines.stop() => {}
            asked = asked_to_stop() => {
                asked?;
                tracing::warn!("told to stop again: ending before all pipelines have stopped");
            }
        }
        cleaning.abort();
        if let Err(error) = answering.await {
            tracing::error!(%error, "answering requests ended");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Removes what need not be kept any more, for ever.
async fn clean(log: Arc<EmbeddedLog>) {
    let mut minutes = tokio::time::interval(RETENTION_PERIOD);
    loop {
        minutes.tick().await;
        match off_thread(&log, |log, now_ms| log.enforce_retention(now_ms)).await {
            Some(0) | None => {}
            Some(batches) => tracing::debug!(batches, "removed what need not be kept"),
        }
        compact(&log).await;
    }
}

/// Compacts until nothing is left to do, with rests between.
async fn compact(log: &Arc<EmbeddedLog>) {
    let mut removed = 0;
    loop {
        let started = Instant::now();
        let Some(compacted) = off_thread(log, |log, now_ms| log.compact(now_ms)).await else { return };
        removed += compacted.removed;
        if !compacted.more {
            break;
        }
        tokio::time::sleep(started.elapsed() * COMPACTION_REST).await;
    }
    if removed > 0 {
        tracing::debug!(records = removed, "removed records that newer ones of their keys replace");
    }
}

/// Does what may take long on a thread of its own; what fails is tried again by and by.
async fn off_thread<T: Send + 'static>(
    log: &Arc<EmbeddedLog>,
    work: impl FnOnce(&EmbeddedLog, i64) -> log::Result<T> + Send + 'static,
) -> Option<T> {
    let log = Arc::clone(log);
    let work = tokio::task::spawn_blocking(move || work(&log, now_ms()));
    match work.await {
        Ok(Ok(done)) => Some(done),
        Ok(Err(error)) => {
            tracing::error!(%error, "old records are not removed");
            None
        }
        Err(error) => {
            tracing::error!(%error, "old records are not removed");
            None
        }
    }
}

async fn asked_to_stop() -> Result<(), Failure> {
    let listen = |kind| {
        signal(kind)
            .map_err(|error| Failure::new("sandbox_unavailable", Kind::Unavailable, format!("signals: {error}")))
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
