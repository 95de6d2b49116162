//! Putting a pipeline back to a checkpoint, or making another one from it.
//!
//! The state is put together under a new deployment while the old one runs on, and checked against what is to run. Then
//! the old one is stopped and the catalog names the new one: a crash before that leaves the old one, a crash after it
//! the new one. The old one is copied so that this too can be undone: most of it before, the rest when the new one
//! runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::install::StagedDeployment;
use super::rewind::{StartOffset, present};
use super::{Done, Entry, Operation, OperationKind, Pipelines};
use crate::catalog::StoredPipeline;
use crate::checkpoint::{Ahead, CheckpointId, Kind, Manifest, Meter};
use crate::error::Coded;
use crate::fail;
use crate::ids::{PipelineName, TenantId, TopicPartition};
use crate::log::{Head, Position};
use crate::pipeline::Error;
use crate::pipeline::engine::carry::Carry;
use crate::pipeline::engine::plan::Plan;
use crate::pipeline::engine::warm_state::{WarmState, migrating};
use crate::pipeline::spec::Spec;

/// What is to be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
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
    pub(super) begin: Begin,
    /// What the copy of the other one is for.
    pub(super) note: String,
}

/// Where a deployment begins to read that takes the place of another.
#[derive(Debug)]
pub(super) enum Begin {
    /// Where a checkpoint says.
    Restored(Vec<(TopicPartition, Position)>),
    /// At these places, and in all other partitions where the other one has come to when it stands still. It begins without
    /// state but for the reference tables, which it takes over as they are then.
    Rewound(Vec<(TopicPartition, Position)>),
}

impl Pipelines {
    /// Restores a checkpoint.
    pub fn restore(&self, tenant: &TenantId, name: &PipelineName, restore: Restore) -> Result<Arc<Operation>, Error> {
        let fork = restore.into.as_ref().is_some_and(|into| into != name);
        if let Some(into) = restore.into.as_ref().filter(|_| fork) {
            self.refuse_existing(tenant, into)?;
        }
        let kind = if fork { OperationKind::Fork } else { OperationKind::Restore };
        let (pipelines, of, from) = (self.clone(), tenant.clone(), name.clone());
        Ok(self.0.operations.begin(tenant, name, kind, async move |meter| {
            let Restore { checkpoint, into, manifest, to_offsets } = restore;
            let target = into.unwrap_or_else(|| from.clone());
            let _reserved = pipelines.0.names.reserve(&of, &target).await;
            if fork {
                // The name may have been taken meanwhile.
                pipelines.refuse_existing(&of, &target)?;
            }
            let taken = pipelines.0.context.checkpoints.get(&of, &from, checkpoint).await?;
            let manifest = match manifest {
                Some(manifest) => manifest,
                None if fork => taken.deployment.manifest_for(&target)?,
                None => taken.deployment.manifest.clone(),
            };
            let run = Run { target, manifest, to_offsets };
            pipelines.bring_back(&of, &from, &taken, run, &meter).await
        }))
    }

    fn refuse_existing(&self, tenant: &TenantId, name: &PipelineName) -> Result<(), Error> {
        match self.entry(tenant, name) {
            Ok(_) => Err(Error::Exists { name: name.clone() }),
            Err(_) => Ok(()),
        }
    }

    /// Runs a manifest with the state of a checkpoint of `from`, under a name that the caller has reserved.
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
            // What the pipeline writes now, and what it wrote when the checkpoint was taken and may write again.
            let runs = self.entry(tenant, from).ok().and_then(|entry| entry.stored().manifest.parse::<Spec>().ok());
            let then: Spec = taken.deployment.manifest.parse()?;
            for other in runs.iter().chain([&then]) {
                if let Some(topic) = spec.targets().intersection(&other.targets()).next() {
                    return Err(Error::SharedTarget { topic: topic.clone(), name: target, other: from.clone() });
                }
            }
        }
        let _needs = context.topics.need(tenant, &spec).await;
        let existing = self.entry(tenant, &target).ok();
        let before = existing.as_ref().map(|entry| entry.stored());
        let _flow = self.claim_flow(tenant, &spec)?;
        let versions = self.versions_of(tenant, &spec, &taken.deployment)?;
        let mut staged = StagedDeployment::new(context, tenant, &target).await?;
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
        let mut plan = context.plan(&stored, &spec).await?;
        staged.fill(from, taken.id, meter).await?;
        let was: Spec = taken.deployment.manifest.parse()?;
        let mut carry = Carry::between(&was, &spec, &plan, &[])?;
        let topics = context.log.topics(tenant).await?;
        let mut asked_places = Vec::new();
        for asked in &to_offsets {
            match asked.of_table(&topics, &spec)? {
                Some(table) => carry.begin_table(table, &asked.topic),
                None => asked_places.push(asked.place(&topics, &spec)?),
            }
        }
        let kept: Vec<_> = taken.positions.iter().filter(|position| carry.keeps_place(&position.topic)).collect();
        let mut live = context.replay(&plan, staged.id, carry.clone()).await?;
        let migrating = migrating(&plan, &carry.wrote(&taken.deployment.digests));
        if carry.rewrites() || !migrating.is_empty() {
            live.migrate(&migrating).await?;
            let mut written = StagedDeployment::new(context, tenant, &stored.name).await?;
            written.take(&mut live).await?;
            stored.id = written.id;
            staged = written;
            // What is written now is of this manifest.
            carry = Carry::default();
        }
        fail::point("restore-verified");
        while !context.create_targets(tenant, &plan).await? {
            plan = context.plan(&stored, &spec).await?;
            live = match live.rebind(&plan) {
                Some(live) => live,
                None => context.replay(&plan, staged.id, carry.clone()).await?,
            };
        }
        live.positions = kept.into_iter().map(crate::checkpoint::Position::in_log).chain(asked_places).collect();
        live.begin_inputs(&plan, spec.start, &context.log.topics(tenant).await?)?;
        let begin = Begin::Restored(live.positions.clone().into_iter().collect());
        let note = format!("before restoring {}", taken.id);
        let next = Next { stored, plan, staged, live, begin, note };
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
        let Next { mut stored, plan, mut staged, mut live, begin, note } = next;
        let (Some(entry), Some(before)) = (existing, before) else {
            // There is nothing to rewind where nothing runs.
            let (Begin::Restored(positions) | Begin::Rewound(positions)) = begin;
            staged.place(positions, bytes::Bytes::new()).await?;
            fail::point("restore-installed");
            staged.switch(&stored, None).await?;
            fail::point("restore-switched");
            staged.settle(None).await;
            self.launch(stored).await;
            return Ok((None, None));
        };
        let mut ahead = self.ahead(&before, Kind::Savepoint, Some(note)).await?;
        let mut task = entry.task.lock().await;
        let (mut ran, halted) = match self.halt(&entry, &mut task).await {
            Ok(ran) => (ran, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let stopped = Instant::now();
        stored.paused = entry.stored().paused;
        let switched = async {
            halted?;
            if let Some(ahead) = &mut ahead {
                ahead.stand_still(context.environment.now_ms()).await?;
            }
            let head = match context.head(&before.tenant, before.id) {
                Ok(head) => head,
                Err(error) if ahead.is_none() => {
                    tracing::warn!(pipeline = %before.name, %error, "its counters are lost with its state");
                    Head::empty(before.id.task())
                }
                Err(error) => return Err(error),
            };
            // Counters are not reset.
            live.machine.recover_usage(&head.usage)?;
            match begin {
                Begin::Restored(positions) => {
                    live.positions = positions.iter().cloned().collect();
                    live.sequence = staged.place(positions, head.usage).await?;
                }
                Begin::Rewound(places) => {
                    let topics = context.log.topics(&before.tenant).await?;
                    let stood = head.positions.into_iter();
                    live.positions = stood.filter_map(|(at, stood)| present(&topics, at, stood)).collect();
                    let tables = self.bring_tables(&before, &plan, &mut ran).await;
                    match tables {
                        Ok(()) => {}
                        // State that cannot be read back may be what the rewind is for.
                        Err(error) if !error.kind().retry() => {
                            tracing::warn!(pipeline = %before.name, %error, "its tables are read anew");
                            plan.references.clear();
                            live.positions.retain(|at, _| !plan.is_of_table(at));
                        }
                        Err(error) => return Err(error),
                    }
                    live.positions.extend(places);
                    staged.take(&mut live).await?;
                }
            }
            fail::point("restore-installed");
            staged.switch(&stored, Some(before.id)).await?;
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
        staged.settle(Some(before.id)).await;
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
        let taken = context
            .checkpoints
            .take_ahead(&context.log, before.order(kind, note, context.environment.now_ms()), &Arc::default())
            .await;
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
}
