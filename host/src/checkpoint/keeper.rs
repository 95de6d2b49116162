//! The checkpoints of all pipelines: what there is, reading them, and removing those that need not be kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use super::chunk;
use super::error::Error;
use super::id::CheckpointId;
use super::manifest::{Chunk, Kind, Manifest};
use super::store::Store;
use super::take::to_the_end;
use crate::ids::{Digest, PipelineName, TenantId};

/// The checkpoints in a store, which is one server's. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Checkpoints(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    /// Those of one pipeline are written, read and removed by one at a time: what is removed is not being read, and what
    /// is being written is not taken for what a crash left.
    turns: Mutex<BTreeMap<(TenantId, PipelineName), Lock>>,
}

type Lock = Arc<tokio::sync::Mutex<()>>;

/// A pipeline's checkpoints, while nobody else touches them.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) store: Store,
    tenant: TenantId,
    pipeline: PipelineName,
    guard: Arc<OwnedMutexGuard<()>>,
}

/// A checkpoint that is read.
#[derive(Debug)]
pub struct Reading {
    turn: Turn,
    manifest: Manifest,
    /// The next chunk.
    next: usize,
}

/// A checkpoint in a list.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub id: CheckpointId,
    /// What it is, or why that cannot be read.
    pub manifest: Result<Manifest, Error>,
}

impl Checkpoints {
    /// The checkpoints in this store.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Inner { store, turns: Mutex::default() }))
    }

    pub(super) async fn turn(&self, tenant: &TenantId, pipeline: &PipelineName) -> Turn {
        let lock = {
            let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry((tenant.clone(), pipeline.clone())).or_default())
        };
        let (tenant, pipeline) = (tenant.clone(), pipeline.clone());
        Turn { store: self.0.store.clone(), tenant, pipeline, guard: Arc::new(lock.lock_owned().await) }
    }

    /// All checkpoints of a pipeline, oldest first.
    pub async fn list(&self, tenant: &TenantId, pipeline: &PipelineName) -> Result<Vec<Listed>, Error> {
        let turn = self.turn(tenant, pipeline).await;
        turn.all().await
    }

    /// One checkpoint.
    pub async fn get(&self, tenant: &TenantId, pipeline: &PipelineName, id: CheckpointId) -> Result<Manifest, Error> {
        self.turn(tenant, pipeline).await.manifest(id).await
    }

    /// Begins to read a checkpoint. Nothing of the pipeline's checkpoints is removed meanwhile.
    pub async fn read(&self, tenant: &TenantId, pipeline: &PipelineName, id: CheckpointId) -> Result<Reading, Error> {
        let turn = self.turn(tenant, pipeline).await;
        let manifest = turn.manifest(id).await?;
        Ok(Reading { turn, manifest, next: 0 })
    }

    /// Removes a checkpoint and what only it needed.
    pub async fn delete(&self, tenant: &TenantId, pipeline: &PipelineName, id: CheckpointId) -> Result<(), Error> {
        let (checkpoints, tenant, pipeline) = (self.clone(), tenant.clone(), pipeline.clone());
        to_the_end("remove", async move {
            let turn = checkpoints.turn(&tenant, &pipeline).await;
            if !turn.ids().await?.contains(&id) {
                return Err(Error::NotFound { pipeline, id });
            }
            turn.remove(&[id]).await
        })
        .await
    }

    /// Keeps the newest `keep` checkpoints of each kind but savepoints, of which all stay, and those that somebody needs:
    /// `needed` is asked when nobody else touches the checkpoints any more.
    pub async fn retain(
        &self,
        tenant: &TenantId,
        pipeline: &PipelineName,
        keep: usize,
        needed: impl Fn() -> BTreeSet<CheckpointId> + Send + 'static,
    ) -> Result<(), Error> {
        let (checkpoints, tenant, pipeline) = (self.clone(), tenant.clone(), pipeline.clone());
        to_the_end("remove", async move {
            let turn = checkpoints.turn(&tenant, &pipeline).await;
            turn.retain(keep, &needed()).await
        })
        .await
    }

    /// Removes all checkpoints of a pipeline but its savepoints.
    pub async fn forget(&self, tenant: &TenantId, pipeline: &PipelineName) -> Result<(), Error> {
        self.retain(tenant, pipeline, 0, BTreeSet::new).await
    }
}

impl Turn {
    async fn retain(&self, keep: usize, needed: &BTreeSet<CheckpointId>) -> Result<(), Error> {
        let mut seen: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut superfluous = Vec::new();
        for Listed { id, manifest } in self.all().await?.into_iter().rev() {
            // One that cannot be read is for somebody to look at, and may be a savepoint.
            let Ok(manifest) = manifest else { continue };
            let seen = seen.entry(manifest.kind).or_default();
            *seen += 1;
            if manifest.kind != Kind::Savepoint && *seen > keep && !needed.contains(&id) {
                superfluous.push(id);
            }
        }
        if superfluous.is_empty() { Ok(()) } else { self.remove(&superfluous).await }
    }
}

impl Reading {
    /// What is read.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The blocks of the next chunk with their numbers, in order; nothing after the last. A chunk is verified before any
    /// of its blocks is given.
    pub async fn next(&mut self) -> Result<Option<Vec<(u64, Bytes)>>, Error> {
        let Some(chunk) = self.manifest.chunks.get(self.next) else { return Ok(None) };
        self.next += 1;
        let mut blocks = self.turn.blocks(self.manifest.id, chunk).await?;
        blocks.retain(|&(number, _)| number >= self.manifest.oldest);
        Ok(Some(blocks))
    }
}

impl Turn {
    /// What keeps others away for as long as it is held.
    pub(super) fn guard(&self) -> Arc<OwnedMutexGuard<()>> {
        Arc::clone(&self.guard)
    }

    fn folder(&self, what: &str) -> String {
        format!("{}/{}/{what}", self.tenant, self.pipeline)
    }

    pub(super) fn manifest_folder(&self) -> String {
        self.folder("checkpoints")
    }

    pub(super) fn manifest_name(&self, id: CheckpointId) -> String {
        format!("{}/{id}.json", self.manifest_folder())
    }

    pub(super) fn chunk_folder(&self) -> String {
        self.folder("chunks")
    }

    fn chunk_name(&self, digest: &Digest) -> String {
        format!("{}/{}", self.chunk_folder(), digest.hex())
    }

    /// The names of all checkpoints, oldest first.
    pub(super) async fn ids(&self) -> Result<Vec<CheckpointId>, Error> {
        let objects = self.store.list(&self.manifest_folder()).await?;
        let mut ids: Vec<CheckpointId> =
            objects.iter().filter_map(|(name, _)| name.strip_suffix(".json")?.parse().ok()).collect();
        ids.sort();
        Ok(ids)
    }

    /// The chunks that are there, with their sizes.
    pub(super) async fn chunks(&self) -> Result<BTreeMap<String, u64>, Error> {
        Ok(self.store.list(&self.chunk_folder()).await?.into_iter().collect())
    }

    pub(super) async fn manifest(&self, id: CheckpointId) -> Result<Manifest, Error> {
        let Some(bytes) = self.store.get(&self.manifest_name(id)).await? else {
            return Err(Error::NotFound { pipeline: self.pipeline.clone(), id });
        };
        Manifest::decode(&self.tenant, &self.pipeline, id, &bytes)
    }

    async fn all(&self) -> Result<Vec<Listed>, Error> {
        let mut all = Vec::new();
        for id in self.ids().await? {
            let manifest = match self.manifest(id).await {
                Err(error @ (Error::Store { .. } | Error::NotFound { .. })) => return Err(error),
                manifest => manifest,
            };
            all.push(Listed { id, manifest });
        }
        Ok(all)
    }

    /// The blocks of a chunk, verified.
    pub(super) async fn blocks(&self, id: CheckpointId, chunk: &Chunk) -> Result<Vec<(u64, Bytes)>, Error> {
        let (pipeline, digest) = (self.pipeline.clone(), chunk.digest);
        let Some(bytes) = self.store.get(&self.chunk_name(&digest)).await? else {
            return Err(Error::ChunkMissing { pipeline, id, digest });
        };
        let (found, expected) = (bytes.len() as u64, chunk.bytes);
        if found != expected {
            return Err(Error::ChunkTruncated { pipeline, id, digest, found, expected });
        }
        let of = *chunk;
        let checked = self.store.run_blocking(move || {
            if Digest::of(&bytes) != of.digest {
                return Err("its content does not have the digest that is its name");
            }
            chunk::blocks(&of, bytes)
        });
        let checked = checked.await.unwrap_or(Err("checking it was interrupted"));
        checked.map_err(|reason| Error::ChunkCorrupt { pipeline, id, digest, reason: reason.to_owned() })
    }

    /// Removes checkpoints, and the chunks that none of the others names.
    pub(super) async fn remove(&self, ids: &[CheckpointId]) -> Result<(), Error> {
        for &id in ids {
            self.store.delete(&self.manifest_name(id)).await?;
        }
        let mut named = BTreeSet::new();
        for Listed { id, manifest } in self.all().await? {
            match manifest {
                Ok(manifest) => named.extend(manifest.chunks.iter().map(|chunk| chunk.digest.hex())),
                Err(error) => {
                    // What it needs is not known, so nothing is superfluous.
                    tracing::warn!(checkpoint = %id, %error, "no chunks are removed beside a checkpoint that cannot be read");
                    return Ok(());
                }
            }
        }
        for (name, _) in self.chunks().await?.into_iter().filter(|(name, _)| !named.contains(name)) {
            self.store.delete(&format!("{}/{name}", self.chunk_folder())).await?;
        }
        Ok(())
    }
}
