//! The way in: certifies uploads, and makes or finds the images of steps.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::call::{Image, Pool};
use super::code::Code;
use super::engine::{self, ENGINE_ID};
use super::error::Error;
use super::limits::Limits;
use super::lines::{Lines, Owner};
use super::ticker::Ticker;
use super::wire::{Made, Reply, Request, Work};
use super::worker::Workers;
use super::{Description, Grant, Grants, Guest, World};
use crate::ids::Digest;

/// Calls at once. Each slot reserves 4 GiB of address space for each memory and keeps up to 2 MiB resident; two cores run
/// two guests, the others have yielded.
const CALLS: u32 = 32;

/// What a sandbox needs.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Where artifacts are kept. Whoever writes there runs code in the server.
    pub folder: PathBuf,
    /// The binary that has the hidden command [`WORKER_COMMAND`](super::WORKER_COMMAND); none: the running one.
    pub worker: Option<PathBuf>,
    /// How many calls run at once; others wait.
    pub calls: u32,
    pub limits: Limits,
}

impl SandboxConfig {
    /// The default configuration, with artifacts in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), worker: None, calls: CALLS, limits: Limits::default() }
    }
}

/// What is known of a component that may be deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The component's digest.
    pub digest: Digest,
    /// The world that it is made for.
    pub world: World,
    /// What it says of itself.
    pub description: Description,
    /// Whether calls can start from a snapshot taken after `init`; if not, `init` runs in every call.
    pub snapshot: bool,
    /// Why not, if not.
    pub no_snapshot: Option<String>,
    /// What it imports.
    pub imports: Vec<String>,
    /// Its size in bytes.
    pub bytes: u64,
}

impl Certificate {
    /// What a step must grant the plugin.
    pub fn needs(&self) -> Vec<Grant> {
        self.imports.iter().filter_map(|import| Grant::of(import)).collect()
    }
}

/// Runs plugins. One for a process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Arc<Pool>,
    workers: Workers,
    cache: Cache,
    limits: Limits,
    loaded: Mutex<Loaded>,
}

/// Code that is in memory, by identity.
#[derive(Debug, Default)]
struct Loaded {
    codes: HashMap<Digest, Arc<CodeSlot>>,
    /// The number of places at which those whose code is gone are removed.
    prune_at: usize,
}

/// The place of one code. Who holds the lock makes it; the others wait and share it.
#[derive(Debug, Default)]
struct CodeSlot(tokio::sync::Mutex<Weak<Code>>);

/// Makes the guests of steps: the [`Sandbox`] of components, a simulation of code that is compiled in.
pub trait GuestLoader: Send + Sync + fmt::Debug {
    /// The guest of a step: its component with its configuration. Refused if the plugin imports what `grants` lacks.
    fn load<'a>(
        &'a self,
        component: &'a [u8],
        config: &'a serde_json::Value,
        owner: Owner,
        grants: Grants,
    ) -> Loading<'a>;
}

/// A guest that is being made.
pub type Loading<'a> = Pin<Box<dyn Future<Output = Result<Guest, Error>> + Send + 'a>>;

impl GuestLoader for Sandbox {
    fn load<'a>(
        &'a self,
        component: &'a [u8],
        config: &'a serde_json::Value,
        owner: Owner,
        grants: Grants,
    ) -> Loading<'a> {
        Box::pin(async move { Ok(self.image(component, config, owner, grants).await?.guest()) })
    }
}

impl Sandbox {
    /// Sets up the engine, the pool and the folder of artifacts.
    pub fn new(config: SandboxConfig) -> Result<Self, Error> {
        let calls = config.calls.max(1);
        let engine = engine::server(&config.limits, calls).map_err(|error| Error::host("make the engine", error))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| Error::host("start the epoch ticker", error))?;
        let program = match config.worker {
            Some(program) => program,
            None => std::env::current_exe().map_err(|error| Error::host("find the server's binary", error))?,
        };
        let folder = config.folder;
        let cache = Cache::open(&folder)
            .map_err(|error| Error::host(&format!("open the artifact folder `{}`", folder.display()), error))?;
        let pool = Pool { engine, ticker, slots: Semaphore::new(calls as usize) };
        let limits = config.limits;
        let loaded = Mutex::default();
        Ok(Self(Arc::new(Inner { pool: Arc::new(pool), workers: Workers::new(program), cache, limits, loaded })))
    }

    /// Says what an upload is, or why it cannot be a plugin.
    pub async fn certify(&self, component: &[u8]) -> Result<Certificate, Error> {
        match self.serve(Work::Certify, component).await? {
            (Reply::Certified(certified), _) => Ok(Certificate {
                digest: Digest::of(component),
                world: certified.description.world,
                description: certified.description,
                snapshot: certified.no_snapshot.is_none(),
                no_snapshot: certified.no_snapshot,
                imports: certified.imports,
                bytes: component.len() as u64,
            }),
            (Reply::Made(_), _) => Err(Error::host("certify", "the compiling process answered another question")),
        }
    }

    /// The image of a step: its component with its configuration. Made once for each pair and kept in the folder; steps
    /// with the same pair share the code. Refused if the plugin imports what `grants` lacks.
    pub async fn image(
        &self,
        component: &[u8],
        config: &serde_json::Value,
        owner: Owner,
        grants: Grants,
    ) -> Result<Arc<Image>, Error> {
        let (code, lines) = self.code(component, config).await?;
        grants.cover(&code.needs)?;
        let image = Image::new(code, self.0.pool.clone(), owner, grants);
        image.log(&lines);
        Ok(Arc::new(image))
    }

    /// Runs `init` with a configuration, to learn whether the plugin takes it. Needs no grants: `init` has none.
    pub async fn initialize(&self, component: &[u8], config: &serde_json::Value) -> Result<(), Error> {
        self.code(component, config).await.map(drop)
    }

    /// The code of a pair, with the lines that `init` wrote if it ran now.
    async fn code(&self, component: &[u8], config: &serde_json::Value) -> Result<(Arc<Code>, Lines), Error> {
        let config = config.to_string();
        let limit = self.0.limits.compile.config_bytes;
        if config.len() > limit {
            return Err(Error::ConfigTooLarge { use_: config.len() as u64, limit: limit as u64 });
        }
        let id = self.identity(component, &config)?;
        let place = self.place(id);
        let mut code = place.0.lock().await;
        if let Some(code) = code.upgrade() {
            return Ok((code, Lines::default()));
        }
        let (loaded, lines) = match self.find(id, &config).await {
            Some(loaded) => (loaded, Lines::default()),
            None => self.make(id, component, config).await?,
        };
        let loaded = Arc::new(loaded);
        *code = Arc::downgrade(&loaded);
        Ok((loaded, lines))
    }

    /// An artifact depends on all of these.
    fn identity(&self, component: &[u8], config: &str) -> Result<Digest, Error> {
        let limits = serde_json::to_vec(&self.0.limits).map_err(|error| Error::host("name the artifact", error))?;
        let digests = [Digest::of(ENGINE_ID.as_bytes()), Digest::of(&limits), Digest::of(component)];
        let mut parts: Vec<u8> = digests.iter().flat_map(|digest| *digest.as_bytes()).collect();
        parts.extend_from_slice(config.as_bytes());
        Ok(Digest::of(&parts))
    }

    fn place(&self, id: Digest) -> Arc<CodeSlot> {
        let mut loaded = self.0.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.codes.len() >= loaded.prune_at {
            let in_use = |place: &Arc<CodeSlot>| {
                Arc::strong_count(place) > 1 || place.0.try_lock().is_ok_and(|code| code.strong_count() > 0)
            };
            loaded.codes.retain(|_, place| in_use(place));
            loaded.prune_at = (loaded.codes.len() * 2).max(64);
        }
        loaded.codes.entry(id).or_default().clone()
    }

    /// Loads an artifact from the folder. One that does not load was made by another engine: it is made again.
    async fn find(&self, id: Digest, config: &str) -> Option<Code> {
        let (inner, config) = (self.0.clone(), config.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let (made, artifact) = inner.cache.get(&id)?;
            match Code::load(&inner.pool.engine, made, &artifact, config, &inner.limits) {
                Ok(code) => Some(code),
                Err(error) => {
                    tracing::warn!(%error, "artifact does not load and is made anew");
                    None
                }
            }
        });
        found.await.unwrap_or_default()
    }

    async fn make(&self, id: Digest, component: &[u8], config: String) -> Result<(Code, Lines), Error> {
        let (reply, artifact) = self.serve(Work::Image { config: config.clone() }, component).await?;
        let Reply::Made(made) = reply else {
            return Err(Error::host("make an image", "the compiling process answered another question"));
        };
        let inner = self.0.clone();
        let load = tokio::task::spawn_blocking(move || {
            let (lines, made) = (made.lines.clone(), Made { lines: Lines::default(), ..made });
            if let Err(error) = inner.cache.put(&id, &made, &artifact) {
                // The server can do without: it compiles again after a restart.
                tracing::warn!(%error, "artifact cannot be stored");
            }
            Code::load(&inner.pool.engine, made, &artifact, config, &inner.limits).map(|code| (code, lines))
        });
        load.await.map_err(|error| Error::host("load the artifact", error))?
    }

    async fn serve(&self, work: Work, component: &[u8]) -> Result<(Reply, Vec<u8>), Error> {
        let limit = self.0.limits.component.bytes;
        if component.len() > limit {
            // Not even sent.
            let check = super::error::Check::ComponentBytes;
            return Err(Error::Limit { check, use_: component.len() as u64, limit: limit as u64 });
        }
        let request = Request { work, limits: self.0.limits.clone() };
        self.0.workers.serve(&request, component).await
    }
}
