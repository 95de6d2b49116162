//! Taking a checkpoint: while the pipeline goes on, from a snapshot of its commits.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use super::chunk::Filling;
use super::error::Error;
use super::id::CheckpointId;
use super::keeper::{Checkpoints, Turn};
use super::manifest::{Chunk, Deployment, Kind, Manifest, Position};
use super::store::Store;
use crate::fail;
use crate::log::{Head, Log};

/// Chunks under this size at the end of a checkpoint are small: what few commits changed.
const SMALL_CHUNK_BYTES: u64 = 256 << 10;
/// When this many small chunks have come together they are written anew as one, so that a checkpoint a minute does not
/// leave a thousand objects a day. Each time that costs at most the size of a small chunk.
const SMALL_CHUNKS_MAX: usize = 16;

/// A checkpoint to be taken.
#[derive(Debug, Clone)]
pub struct Order {
    /// What runs.
    pub deployment: Deployment,
    /// Why.
    pub kind: Kind,
    /// What for, in words.
    pub note: Option<String>,
    /// What time it is, in milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// How far a copy has come, for whoever waits.
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

impl Meter {
    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts bytes.
    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Checkpoints {
    /// Takes a checkpoint of what the pipeline has committed. One by the clock is not taken again of what has not changed:
    /// then the one that there is is answered.
    /// If nobody waits for it any more, it ends without a checkpoint.
    pub async fn take(&self, log: &Arc<dyn Log>, order: Order, meter: &Arc<Meter>) -> Result<Manifest, Error> {
        let (checkpoints, log, meter) = (self.clone(), Arc::clone(log), Arc::clone(meter));
        let awaited = Awaited::default();
        let wanted = Wanted(Arc::clone(&awaited.0));
        to_the_end("take", async move {
            let turn = checkpoints.turn(&order.deployment.tenant, &order.deployment.pipeline).await;
            turn.take(&log, order, &meter, &wanted).await
        })
        .await
    }
}

/// Does work on a pipeline's checkpoints to its end, also if nobody waits for it any more: a write or removal that was begun
/// goes on in any case, and must not do so when somebody else has the turn.
pub(super) async fn to_the_end<T: Send + 'static>(
    action: &'static str,
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let interrupted = |error: tokio::task::JoinError| Error::Store {
        action,
        object: "checkpoint".to_owned(),
        reason: error.to_string(),
    };
    tokio::spawn(work).await.map_err(interrupted)?
}

/// Held by whoever waits for a checkpoint.
#[derive(Debug, Default)]
struct Awaited(Arc<AtomicBool>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether somebody still waits for what is done.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Turn {
    /// See [`Checkpoints::take`].
    pub(super) async fn take(
        &self,
        log: &Arc<dyn Log>,
        order: Order,
        meter: &Arc<Meter>,
        wanted: &Wanted,
    ) -> Result<Manifest, Error> {
        let ids = self.ids().await?;
        let before = newest(self, &ids, &order.deployment).await?;
        let reused = match &before {
            Some(before) => reusable(&before.chunks, &self.chunks().await?),
            None => &[],
        };
        let copying = self.copy(log, &order.deployment, reused.last(), meter, None);
        let (head, written) = self.copied(copying).await?;
        // Who stopped waiting may have forgotten the deployment before it was looked at.
        if wanted.is_over() {
            let reason = "nobody waits for it any more".to_owned();
            return Err(Error::Store { action: "take", object: self.manifest_folder(), reason });
        }
        if let Some(same) = before.as_ref().filter(|before| {
            order.kind == Kind::Interval && before.id.commit == head.sequence && before.deployment == order.deployment
        }) {
            return Ok(same.clone());
        }
        self.write(&ids, order, head, reused, &written).await
    }

    /// Writes the manifest, which makes a checkpoint of chunks that are in the store.
    pub(super) async fn write(
        &self,
        ids: &[CheckpointId],
        order: Order,
        head: Head,
        reused: &[Chunk],
        written: &[Chunk],
    ) -> Result<Manifest, Error> {
        let Order { deployment, kind, note, now_ms } = order;
        let copies = ids.iter().filter(|id| (id.deployment, id.commit) == (deployment.id, head.sequence));
        let id = CheckpointId {
            deployment: deployment.id,
            commit: head.sequence,
            copy: copies.map(|id| id.copy).max().unwrap_or(0) + 1,
        };
        let needed = reused.iter().filter(|chunk| chunk.last >= head.oldest);
        let manifest = Manifest {
            id,
            kind,
            note,
            created_at_ms: now_ms,
            deployment,
            task: head.task.number,
            epoch: head.epoch,
            positions: head.positions.into_iter().map(Position::of).collect(),
            usage: head.usage,
            oldest: head.oldest,
            last_block: head.last_block,
            written_bytes: written.iter().map(|chunk| chunk.bytes).sum(),
            chunks: needed.chain(written).copied().collect(),
        };
        fail::point("checkpoint-manifest");
        self.store.put(&self.manifest_name(id), manifest.encode().into()).await?;
        fail::point("checkpoint-written");
        Ok(manifest)
    }

    /// Begins to copy the blocks after `last` into the store, from a snapshot of the log; `begun` is dropped when
    /// that is taken. Memory is bounded by a chunk and a block.
    pub(super) fn copy(
        &self,
        log: &Arc<dyn Log>,
        deployment: &Deployment,
        last: Option<&Chunk>,
        meter: &Arc<Meter>,
        mut begun: Option<oneshot::Sender<()>>,
    ) -> Copying {
        let after = last.map_or(0, |chunk| chunk.last);
        let (tenant, task) = (deployment.tenant.clone(), deployment.id.task());
        let (log, meter) = (Arc::clone(log), Arc::clone(meter));
        let folder = self.chunk_folder();
        let of = folder.clone();
        let store = self.store.clone();
        let runtime = Handle::current();
        // Nobody else has the turn while it writes, whatever becomes of who waits for it.
        let guard = self.guard();
        // Reading waits for the disk, and must not leave the snapshot while a chunk is written.
        let copied = self.store.run_blocking(move || {
            let _guard = guard;
            let mut copy = Copy { store, folder, runtime, meter, filling: Filling::default(), written: Vec::new() };
            let mut failure = None;
            let head = log.replay(&tenant, task, after, &mut |number, block| {
                drop(begun.take());
                match copy.add(number, &block) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        failure = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            drop(begun);
            match failure {
                Some(error) => Err(error),
                None => copy.end().map(|written| (head, written)),
            }
        });
        // It goes on whether somebody waits for it or not.
        tokio::spawn(async move { copied.await.unwrap_or_else(|error| Err(interrupted(&of, &error))) })
    }

    /// Waits for the end of a copy.
    pub(super) async fn copied(&self, copying: Copying) -> Result<(Head, Vec<Chunk>), Error> {
        copying.await.unwrap_or_else(|error| Err(interrupted(&self.chunk_folder(), &error)))
    }
}

/// Blocks that are being copied: where the log stood, and the chunks that were written.
pub(super) type Copying = JoinHandle<Result<(Head, Vec<Chunk>), Error>>;

/// The error of a copy that was interrupted.
fn interrupted(folder: &str, error: &JoinError) -> Error {
    Error::Store { action: "write", object: folder.to_owned(), reason: error.to_string() }
}

/// A copy that is being made.
struct Copy {
    store: Store,
    folder: String,
    runtime: Handle,
    meter: Arc<Meter>,
    filling: Filling,
    written: Vec<Chunk>,
}

impl Copy {
    fn add(&mut self, number: u64, block: &[u8]) -> Result<(), Error> {
        self.filling.push(number, block);
        if self.filling.is_full() { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Error> {
        let Some((chunk, bytes)): Option<(Chunk, Bytes)> = self.filling.close() else { return Ok(()) };
        self.store.put_blocking(&self.runtime, &format!("{}/{}", self.folder, chunk.digest.hex()), &bytes)?;
        fail::point("checkpoint-chunk");
        self.meter.add(chunk.bytes);
        self.written.push(chunk);
        Ok(())
    }

    fn end(mut self) -> Result<Vec<Chunk>, Error> {
        self.write()?;
        Ok(self.written)
    }
}

/// The newest checkpoint of this deployment that can be read: the one that has most of what there is.
async fn newest(turn: &Turn, ids: &[CheckpointId], of: &Deployment) -> Result<Option<Manifest>, Error> {
    for &id in ids.iter().rev().filter(|id| id.deployment == of.id) {
        match turn.manifest(id).await {
            Ok(manifest) => return Ok(Some(manifest)),
            Err(error @ Error::Store { .. }) => return Err(error),
            Err(error) => tracing::warn!(checkpoint = %id, %error, "a checkpoint cannot be read"),
        }
    }
    Ok(None)
}

/// The chunks from the first on that are in the store and need not be written again.
fn reusable<'a>(chunks: &'a [Chunk], present: &BTreeMap<String, u64>) -> &'a [Chunk] {
    let whole = |chunk: &&Chunk| present.get(&chunk.digest.hex()) == Some(&chunk.bytes);
    let chunks = &chunks[..chunks.iter().take_while(whole).count()];
    let small = chunks.iter().rev().take_while(|chunk| chunk.bytes < SMALL_CHUNK_BYTES).count();
    if small < SMALL_CHUNKS_MAX { chunks } else { &chunks[..chunks.len() - small] }
}

#[cfg(test)]
mod tests;
