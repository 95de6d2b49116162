//! What may not be: seen as it happens, and found by comparing what came out with what a plain computation gives.
//!
//! The oracle sees what is durable, at the place where it becomes so: commits and records in the log's journal, and which
//! deployment the catalog names for a pipeline. From these it knows the *line* of each deployment: the commits whose state
//! it goes on with, back to where a state began empty. What the commits of a line gave must be what
//! [`naive`](crate::naive) makes of the records that they read. Where a line begins is justified by what was asked for:
//! creating, restoring, rewinding and so on.

mod line;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use millstream::checkpoint::CheckpointId;
use millstream::ids::{Offset, PipelineId, TopicId, TopicName, TopicPartition};
use millstream::log::{Commit, TopicConfig};
use millstream::pipeline::spec::Spec;

use self::seen::{STILL_MAX, Seen, SeenRow, rows_of};
use crate::machine::Machine;

/// Where the catalog of the simulation keeps its pipelines.
pub const PIPELINES: &str = "/data/catalog/tenants/default/pipelines";

/// An oracle. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Oracle {
    machine: Machine,
    state: Arc<Mutex<State>>,
}

/// What was asked for of a pipeline, that can be why a deployment of it begins as it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It was applied: made, or taken over with migrated state.
    Applied,
    /// A checkpoint was restored or forked.
    Restored(CheckpointId),
    /// It was put back to before an upgrade.
    RolledBack,
    /// It was let begin anew at these places, and elsewhere where it was.
    RewoundTo(Vec<(TopicPartition, Offset)>),
    /// It was let begin anew at a time.
    RewoundToTime {
        /// The time.
        time: i64,
        /// How many records and commits there had been when that was asked for.
        asked: u64,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => write!(f, "applied"),
            Self::Restored(checkpoint) => write!(f, "restored {checkpoint}"),
            Self::RolledBack => write!(f, "rolled back"),
            Self::RewoundTo(places) => {
                write!(f, "rewound to")?;
                places.iter().try_for_each(|(at, offset)| write!(f, " {at}:{offset}"))
            }
            Self::RewoundToTime { time, .. } => write!(f, "rewound to time {time}"),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Whether a server runs: what is rebuilt from the journal is not seen to happen.
    live: bool,
    /// Counts what is written to the log.
    order: u64,
    /// The topics that take no records without a key.
    compacted: BTreeSet<TopicName>,
    /// The topic that has each name now,
    ids: BTreeMap<TopicName, TopicId>,
    /// and the names that more than one had.
    remade: BTreeSet<TopicName>,
    records: BTreeMap<TopicPartition, Vec<SeenRow>>,
    deployments: BTreeMap<PipelineId, Vec<Seen>>,
    /// What the catalog has said of a deployment.
    named: BTreeMap<PipelineId, Deployed>,
    current: BTreeMap<String, PipelineId>,
    /// Those that were told to stop, and that have answered.
    quiet: BTreeSet<PipelineId>,
    causes: BTreeMap<String, Vec<Cause>>,
    /// What was reported, so that it is reported once.
    reported: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Deployed {
    name: String,
    spec: Arc<Spec>,
    /// The deployment whose place it took.
    before: Option<PipelineId>,
    /// How much had been asked for of the pipeline when it was first named.
    asked: usize,
}

impl Oracle {
    /// An oracle that has seen nothing.
    pub fn new(machine: Machine) -> Self {
        Self { machine, state: Arc::default() }
    }

    /// A server starts: the log is about to be rebuilt.
    pub fn restart(&self) {
        let mut state = self.state();
        (state.live, state.order) = (false, 0);
        state.compacted.clear();
        state.ids.clear();
        state.remade.clear();
        state.records.clear();
        state.deployments.clear();
        state.quiet.clear();
    }

    /// The log is rebuilt, and the catalog has these files.
    pub fn restarted(&self, files: &[(std::path::PathBuf, Vec<u8>)]) {
        self.state().current.clear();
        for (path, bytes) in files {
            self.file_changed(path, Some(bytes));
        }
        let mut state = self.state();
        let State { named, current, live, .. } = &mut *state;
        // A change that was seen but not durable has not been made, and what it named never runs.
        named.retain(|id, named| current.get(&named.name).is_none_or(|current| id <= current));
        *live = true;
    }

    /// A topic was made.
    pub fn topic_made(&self, topic: &TopicName, id: TopicId, config: &TopicConfig) {
        let mut state = self.state();
        if config.cleanup.compacts() {
            state.compacted.insert(topic.clone());
        }
        if state.ids.insert(topic.clone(), id).is_some() {
            state.remade.insert(topic.clone());
        }
        for partition in 0..config.partitions {
            let at = TopicPartition { topic: topic.clone(), partition };
            state.records.insert(at, Vec::new());
        }
    }

    /// Records were appended by a producer.
    pub fn appended(&self, at: &TopicPartition, base: Offset, batches: &Bytes) {
        let mut state = self.state();
        let rows = rows_of(batches);
        state.order += 1;
        let order = state.order;
        let records = state.records.entry(at.clone()).or_default();
        if records.len() as u64 == base {
            records.extend(rows.into_iter().map(|row| SeenRow { row, order }));
        }
    }

    /// A commit was written.
    pub fn committed(&self, commit: &Commit) {
        let (seen, still, outlived) = {
            let mut state = self.state();
            state.order += 1;
            let commits = state.deployments.entry(commit.task.pipeline).or_default();
            let seen = Seen::new(commit, commits.last());
            let still = seen.says_nothing_after(commits);
            let outlived = commits.last().and_then(|before| before.outlived(&seen));
            commits.push(seen.clone());
            (seen, still, outlived)
        };
        let id = commit.task.pipeline;
        if !self.state().live {
            return;
        }
        self.machine.note(|| format!("commit {id}-{} {seen}", commit.sequence));
        let wrong = {
            let state = self.state();
            let named = state.named.get(&id);
            named.and_then(|named| match state.current.get(&named.name) {
                _ if state.quiet.contains(&id) => Some(format!(
                    "deployment {id} of `{}` commits after it was told to stop and that was answered",
                    named.name
                )),
                Some(current) if *current == id => None,
                Some(current) => {
                    Some(format!("deployment {id} of `{}` commits though {current} has taken its place", named.name))
                }
                None => Some(format!("deployment {id} of `{}` commits though the pipeline was deleted", named.name)),
            })
        };
        let outlived = outlived.map(|place| {
            format!("deployment {id} goes on behind {place}, which is in a topic that was deleted and made again")
        });
        let still = still.then(|| format!("deployment {id} has made {STILL_MAX} commits that say nothing"));
        if let Some(wrong) = wrong.or(outlived).or(still) {
            self.report(wrong);
        }
    }

    /// A file of the disk has another content or is gone.
    pub fn file_changed(&self, path: &Path, bytes: Option<&[u8]>) {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let (true, Some(name)) = (is_json && path.parent() == Some(Path::new(PIPELINES)), path.file_stem()) else {
            return;
        };
        let name = name.to_string_lossy().into_owned();
        let Some((id, manifest, paused)) = bytes.and_then(stored) else {
            self.state().current.remove(&name);
            return;
        };
        let Ok(spec) = manifest.parse::<Spec>() else { return };
        let mut state = self.state();
        if paused && !state.live {
            state.quiet.insert(id);
        }
        let before = state.current.insert(name.clone(), id).filter(|before| *before != id);
        let known = state.named.get(&id);
        let before = before.or(known.and_then(|known| known.before));
        let asked = known.map_or_else(|| state.causes.get(&name).map_or(0, Vec::len), |known| known.asked);
        state.named.insert(id, Deployed { name, spec: Arc::new(spec), before, asked });
    }

    /// Something is about to be asked of a pipeline; what was told to stop may go on.
    pub fn asked(&self, name: &str, cause: Option<Cause>) {
        let mut state = self.state();
        let State { quiet, named, causes, .. } = &mut *state;
        quiet.retain(|id| named.get(id).is_none_or(|named| named.name != name));
        if let Some(cause) = cause {
            causes.entry(name.to_owned()).or_default().push(cause);
        }
    }

    /// A pipeline was told to stop, and has answered.
    pub fn stopped(&self, name: &str) {
        let mut state = self.state();
        if let Some(id) = state.current.get(name).copied() {
            state.quiet.insert(id);
        }
    }

    /// How much was written to the log.
    pub fn order(&self) -> u64 {
        self.state().order
    }

    /// The sources of a pipeline that were deleted and made again.
    pub fn remade(&self, name: &str) -> Vec<TopicPartition> {
        let state = self.state();
        let id = state.current.get(name);
        let Some(named) = id.and_then(|id| state.named.get(id)) else { return Vec::new() };
        let remade = |at: &&TopicPartition| named.spec.sources.contains(&at.topic) && state.remade.contains(&at.topic);
        state.records.keys().filter(remade).cloned().collect()
    }

    /// How many commits pipelines have made.
    pub fn commits(&self) -> usize {
        self.state().deployments.values().map(Vec::len).sum()
    }

    /// How many records a partition has been given.
    pub fn end(&self, at: &TopicPartition) -> Offset {
        self.state().records.get(at).map_or(0, |records| records.len() as u64)
    }

    /// Compares all that came out with what must come out.
    pub fn compare(&self, at_rest: bool) {
        let wrong = line::compare(&self.state(), at_rest);
        wrong.into_iter().for_each(|wrong| self.report(wrong));
    }

    fn report(&self, wrong: String) {
        if self.state().reported.insert(wrong.clone()) {
            self.machine.violation(wrong);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The deployment and the manifest that a file of the catalog names, and whether it is paused.
pub(crate) fn stored(bytes: &[u8]) -> Option<(PipelineId, String, bool)> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let content = document.get("content")?;
    let id = PipelineId(content.get("id")?.as_u64()?);
    Some((id, content.get("manifest")?.as_str()?.to_owned(), content.get("paused")?.as_bool()?))
}
