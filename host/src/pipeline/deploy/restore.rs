//! Putting a pipeline back to a checkpoint, or making another one from it.
//!
//! The state is put together under a new deployment while the old one runs on, and checked against what is to run. Then
//! the old one is stopped and the catalog names the new one: a crash before that leaves all as it was, a crash after it
//! all as it shall be. The old one is copied so that this too can be undone: most of it before, the rest when the new one
//! runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::install::StagedDeployment;
use super::rewind::StartOffset;
use super::{Done, Entry, Operation, OperationKind, Pipelines, stop};
use crate::catalog::StoredPipeline;
use crate::checkpoint::{Ahead, CheckpointId, Kind, Manifest, Meter};
use crate::clock::now_ms;
use crate::error::Coded;
use crate::fail;
use crate::ids::{PipelineName, TenantId};
use crate::log::Position;
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::{WarmState, migrating};
use crate::pipeline::io::runner::can_take_over;
use crate::pipeline::spec::Spec;

/// What is to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// The pipeline to be made from it; without it the pipeline itself is put back.
    #[serde(default, rename = "as")]
    pub into: Option<PipelineName>,
    /// The manifest that is to run; without it the one that ran.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Where to go on in these partitions, instead of where the checkpoint is.
    #[serde(default, rename = "to-offsets", skip_serializing_if = "Vec::is_empty")]
    pub to_offsets: Vec<StartOffset>,
}

/// What is to run with the state of a checkpoint.
#[derive(Debug)]
pub(super) struct Run {
    /// Under this name.
    pub(super) target: PipelineName,
    /// The manifest.
    pub(super) manifest: String,
    /// Where to go on, where that is not the checkpoint's place.
    pub(super) to_offsets: Vec<StartOffset>,
}

/// A deployment that is to take the place of another.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) stored: StoredPipeline,
    pub(super) plan: Arc<Plan>,
    /// Its state in the log,
    pub(super) staged: StagedDeployment,
    /// and in memory.
    pub(super) live: WarmState,
    /// Where it begins to read.
    pub(super) positions: Vec<(crate::ids::TopicPartition, Position)>,
    /// What the copy of the other one is for.
    pub(super) note: String,
}

impl Pipelines {
    /// Restores a checkpoint.
    pub fn restore(&self, tenant: &TenantId, name: &PipelineName, restore: Restore) -> Result<Arc<Operation>, Error> {
        let fork = restore.into.as_ref().is_some_and(|into| into != name);
        if let Some(into) = restore.into.as_ref().filter(|_| fork)
            && self.entry(tenant, into).is_ok()
        {
            return Err(Error::Exists { name: into.clone() });
        }
        let kind = if fork { OperationKind::Fork } else { OperationKind::Restore };
        let (pipelines, of, from) = (self.clone(), tenant.clone(), name.clone());
        Ok(self.0.operations.begin(tenant, name, kind, async move |meter| {
            let Restore { checkpoint, into, manifest, to_offsets } = restore;
            let taken = pipelines.0.context.checkpoints.get(&of, &from, checkpoint).await?;
            let manifest = match manifest {
                Some(manifest) => manifest,
                None if fork => taken.deployment.manifest_for(into.as_ref().unwrap_or(&from))?,
                None => taken.deployment.manifest.clone(),
            };
            let run = Run { target: into.unwrap_or_else(|| from.clone()), manifest, to_offsets };
            pipelines.bring_back(&of, &from, &taken, run, &meter).await
        }))
    }

    /// Runs a manifest with the state of a checkpoint of `from`.
    pub(super) async fn bring_back(
        &self,
        tenant: &TenantId,
        from: &PipelineName,
        taken: &Manifest,
        run: Run,
        meter: &Arc<Meter>,
    ) -> Result<Done, Error> {
        let context = &self.0.context;
        let Run { target, manifest, to_offsets } = run;
        let spec: Spec = manifest.parse()?;
        if spec.name != target {
            return Err(Error::OtherName { name: spec.name, target });
        }
        if *from != target {
            let before: Spec = taken.deployment.manifest.parse()?;
            if let Some(topic) = spec.targets().intersection(&before.targets()).next() {
                return Err(Error::SharedTarget { topic: topic.clone(), name: target, other: from.clone() });
            }
        }
        let existing = self.entry(tenant, &target).ok();
        let _changing = match &existing {
            Some(entry) => Some(entry.changing.lock().await),
            None => None,
        };
        let before = existing.as_ref().map(|entry| self.current(entry)).transpose()?;
        let _flow = self.claim_flow(tenant, &spec)?;
        let versions = self.versions_of(tenant, &spec, &taken.deployment)?;
        let mut staged = StagedDeployment::new(context, tenant, &target)?;
        let mut stored = StoredPipeline {
            tenant: tenant.clone(),
            name: target,
            id: staged.id,
            manifest,
            paused: before.as_ref().is_some_and(|before| before.paused),
            digests: versions.digests,
            held: versions.held,
            dropped_state: BTreeSet::new(),
            upgraded_from: None,
        };
        let plan = context.plan(&stored, &spec).await?;
        staged.fill(from, taken.id, meter).await?;
        let was: Spec = taken.deployment.manifest.parse()?;
        let carry = Carry::between(&was, &spec, &plan, &[])?;
        let mut live = self.replay(&plan, staged.id, carry.clone()).await?;
        let migrating = migrating(&plan, &carry.wrote(&taken.deployment.digests));
        if carry.rewrites() || !migrating.is_empty() {
            live.migrate(&migrating).await?;
            let mut written = StagedDeployment::new(context, tenant, &stored.name)?;
            written.take(&mut live).await?;
            stored.id = written.id;
            staged = written;
        }
        fail::point("restore-verified");
        context.create_targets(tenant, &plan)?;
        let topics = context.log.topics(tenant)?;
        let kept = taken.positions.iter().filter(|position| carry.keeps_place(&position.topic));
        let mut positions: BTreeMap<_, _> = kept.map(crate::checkpoint::Position::in_log).collect();
        for asked in &to_offsets {
            let (at, position) = asked.place(&topics, &spec)?;
            positions.insert(at, position);
        }
        plan.same_topics(&positions, &topics)?;
        let note = format!("before restoring {}", taken.id);
        let positions = positions.into_iter().collect();
        let next = Next { stored, plan, staged, live, positions, note };
        let pipeline = next.stored.name.clone();
        let (undo, pause_ms) = self.replace(existing.clone(), before, next).await?;
        Ok(Done { pipeline, checkpoint: Some(taken.id), undo, pause_ms, verified: None })
    }

    /// Lets a deployment that has its state take the place of the one that runs, if one does. Answers the checkpoint that
    /// undoes it.
    pub(super) async fn replace(
        &self,
        existing: Option<Arc<Entry>>,
        before: Option<StoredPipeline>,
        next: Next,
    ) -> Result<(Option<CheckpointId>, Option<f64>), Error> {
        let context = &self.0.context;
        let Next { mut stored, plan, mut staged, mut live, positions, note } = next;
        let (Some(entry), Some(before)) = (existing, before) else {
            staged.place(positions, bytes::Bytes::new()).await?;
            fail::point("restore-installed");
            staged.switch(&stored, None)?;
            fail::point("restore-switched");
            staged.settle(None);
            let entry = self.insert(stored);
            let mut task = entry.task.lock().await;
            *task = Some(self.start(&entry));
            return Ok((None, None));
        };
        let mut ahead = self.ahead(&before, Kind::Savepoint, Some(note)).await?;
        let mut task = entry.task.lock().await;
        let ran = stop(&mut task).await;
        let stopped = Instant::now();
        stored.paused = entry.stored().paused;
        let switched = async {
            if let Some(ahead) = &mut ahead {
                ahead.stand_still(now_ms()).await?;
            }
            // What it has used stays used.
            let usage = match context.head(&before.tenant, before.id) {
                Ok(head) => head.usage,
                Err(error) if ahead.is_none() => {
                    tracing::warn!(pipeline = %before.name, %error, "its counters are lost with its state");
                    bytes::Bytes::new()
                }
                Err(error) => return Err(error),
            };
            live.machine.recover_usage(&usage)?;
            live.positions = positions.iter().cloned().collect();
            live.sequence = staged.place(positions, usage).await?;
            fail::point("restore-installed");
            staged.switch(&stored, Some(before.id))?;
            fail::point("restore-switched");
            entry.set_stored(stored);
            Ok(())
        };
        let switched = switched.await;
        // What the catalog names goes on, the new one or the old, with what it has in memory.
        let (plan, live) = match &switched {
            Ok(()) => (Some(plan), Some(Box::new(live))),
            Err(_) => (ran.as_ref().map(|ran| Arc::clone(&ran.machine.plan)), ran),
        };
        let pause_ms = match &switched {
            Err(error) if error.is_unsettled() => {
                entry.stand_still(error);
                None
            }
            _ => self.go_on(&entry, &mut task, plan, live, stopped).await,
        };
        drop(task);
        if let Err(error) = switched {
            // What the copy is of may not run any more after a restart, if it is not known what the catalog names.
            if let Some(ahead) = ahead.filter(|_| !error.is_unsettled()) {
                ahead.abandon().await;
            }
            return Err(error);
        }
        staged.settle(Some(before.id));
        let undo = match ahead {
            Some(ahead) => Some(self.finish(&entry, ahead, false).await?),
            None => None,
        };
        Ok((undo, pause_ms))
    }

    /// Copies what is about to be replaced, most of it while it runs. If what the log has of it is damaged there is nothing
    /// to copy, and to replace it is the way out.
    pub(super) async fn ahead(
        &self,
        before: &StoredPipeline,
        kind: Kind,
        note: Option<String>,
    ) -> Result<Option<Ahead>, Error> {
        let context = &self.0.context;
        let taken = context.checkpoints.take_ahead(&context.log, before.order(kind, note), &Arc::default()).await;
        match taken.map_err(Error::from) {
            Ok(ahead) => Ok(Some(ahead)),
            Err(error) if error.kind() == crate::error::Kind::Corrupt => {
                tracing::warn!(pipeline = %before.name, %error, "replaced without a copy");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Writes what is left of the copy of what was replaced, and remembers it if it is that of an upgrade.
    pub(super) async fn finish(
        &self,
        entry: &Arc<Entry>,
        mut ahead: Ahead,
        upgrade: bool,
    ) -> Result<CheckpointId, Error> {
        let before = ahead.id();
        let finished = async {
            let id = ahead.finish().await?;
            fail::point("upgrade-copied");
            if upgrade && id != before {
                self.remember_way_back(entry, id).await?;
            }
            Ok::<_, Error>(id)
        };
        let finished = finished.await;
        match finished {
            Ok(id) => {
                ahead.keep().await;
                Ok(id)
            }
            Err(source) => Err(Error::SwapNotCopied { name: entry.stored().name, before, source: Box::new(source) }),
        }
    }

    /// Reads state back, off the threads that others need.
    pub(super) async fn can_take_over(
        &self,
        plan: &Arc<Plan>,
        id: crate::ids::PipelineId,
        carry: Carry,
    ) -> Result<(), Error> {
        let (plan, log) = (Arc::clone(plan), Arc::clone(&self.0.context.log));
        let read = tokio::task::spawn_blocking(move || can_take_over(plan, carry, &*log, id.task())).await;
        read.unwrap_or_else(|panic| Err(Error::Interrupted { reason: panic.to_string() }))
    }
}
