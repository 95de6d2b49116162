//! The file of a pipeline is lost with the power; its state must not be.

use std::path::Path;

use millstream::ids::{PipelineId, default_tenant};
use millstream::log::CommitLog as _;

use super::{Client, Server};
use crate::disk::Disk;
use crate::log::SimLog;
use crate::oracle::{PIPELINES, stored};
use crate::wanted::Effect;

/// A pipeline whose file was lost.
#[derive(Debug)]
pub(super) struct Lost {
    name: String,
    id: PipelineId,
    manifest: String,
    /// Whether the log has anything of it.
    has_state: bool,
}

impl Client {
    /// Loses the file of a pipeline, or none if there is none. It is remembered what was in it.
    pub fn lose_file(&self, disk: &Disk) {
        let files = disk.below(Path::new(PIPELINES));
        // What a crash left of a file that was being written is nobody's.
        let whole = files.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "json"));
        let lost = whole.filter_map(|(path, bytes)| {
            let name = path.file_stem()?.to_str()?.to_owned();
            let (id, manifest, _) = stored(bytes)?;
            Some((path, Lost { name, id, manifest, has_state: false }))
        });
        let mut lost: Vec<_> = lost.collect();
        if lost.is_empty() {
            return;
        }
        let (path, lost) = lost.swap_remove(self.machine.below(lost.len() as u64) as usize);
        disk.lose(path);
        self.machine.note(|| format!("the file of `{}`, deployment {}, is lost", lost.name, lost.id));
        let mut known = self.known();
        let deleted = known.wanted.lost(&lost.name);
        known.lost = Some(lost).filter(|_| !deleted);
    }

    /// What the log has before the server that is about to start changes it.
    pub fn about_to_start(&self, log: &SimLog) {
        let tasks = log.tasks().unwrap_or_default();
        if let Some(lost) = &mut self.known().lost {
            lost.has_state = tasks.iter().any(|(_, task)| task.pipeline == lost.id);
        }
    }

    /// What is left of a pipeline whose file was lost must be shown, and can be made a pipeline again.
    pub async fn find_lost(&self, server: &Server) {
        let Some(Lost { name, id, manifest, .. }) = self.known().lost.take().filter(|lost| lost.has_state) else {
            return;
        };
        let found = server.pipelines.orphans(&default_tenant());
        let found = found.is_ok_and(|orphans| orphans.items.iter().any(|orphan| orphan.id == id));
        if !found {
            self.machine.violation(format!("the state of `{name}`, deployment {id}, is gone with its file"));
        }
        let tenant = default_tenant();
        let doing = server.pipelines.adopt(&tenant, id, &manifest);
        let adopted = self.change(server, &name, Effect::Runs(manifest.clone()), None, doing).await;
        self.machine.note(|| format!("deployment {id} of `{name}` adopted: {adopted:?}"));
    }
}
