//! The catalog of one server, in a folder that is its own: the log, which is opened first, holds the lock.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::folder::Folder;
use super::{Catalog, Damaged, Error, Intent, Pending, PluginVersion, Pushed, StoredPipeline};
use crate::environment::{Environment, System, run_blocking};
use crate::files::{Files, SystemFiles};
use crate::ids::{Digest, PipelineId, PipelineName, PluginName, PluginRef, TenantId};
use crate::plugin::Certificate;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FileCatalog(Arc<Folder>);

impl FileCatalog {
    /// Reads the catalog in a folder; makes an empty one where there is none. Waits for the disk.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_on(Arc::new(SystemFiles), Arc::new(System), folder)
    }

    /// The same in a folder of other files, on another machine.
    pub fn open_on(
        files: Arc<dyn Files>,
        environment: Arc<dyn Environment>,
        folder: impl Into<PathBuf>,
    ) -> Result<Self, Error> {
        Ok(Self(Arc::new(Folder::open(files, environment, folder.into())?)))
    }

    /// Does what waits for the disk on a thread that may, to its end also if nobody waits for it any more.
    fn pending<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let folder = Arc::clone(&self.0);
        Box::pin(async move {
            let (environment, path) = (Arc::clone(&folder.environment), folder.path.clone());
            let done = run_blocking(&*environment, move || work(&folder)).await;
            done.unwrap_or_else(|panic| Err(Error::Storage { action: "change", file: path, reason: panic.to_string() }))
        })
    }
}

impl Catalog for FileCatalog {
    fn plugins(&self, tenant: &TenantId) -> Vec<PluginVersion> {
        self.0.plugins(tenant)
    }

    fn plugin(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<PluginVersion, Error> {
        self.0.plugin(tenant, plugin)
    }

    fn component(&self, tenant: &TenantId, digest: &Digest) -> Pending<Bytes> {
        let (tenant, digest) = (tenant.clone(), *digest);
        self.pending(move |folder| folder.component(&tenant, &digest))
    }

    fn push_plugin(
        &self,
        tenant: &TenantId,
        name: &PluginName,
        certificate: Certificate,
        component: Bytes,
    ) -> Pending<Pushed> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.pending(move |folder| folder.push_plugin(&tenant, &name, &certificate, &component))
    }

    fn pipelines(&self) -> Vec<StoredPipeline> {
        self.0.pipelines()
    }

    fn damaged(&self, tenant: &TenantId) -> Vec<Damaged> {
        self.0.damaged(tenant)
    }

    fn put_pipeline(&self, pipeline: &StoredPipeline) -> Pending<()> {
        let pipeline = pipeline.clone();
        self.pending(move |folder| folder.put_pipeline(&pipeline))
    }

    fn remove_pipeline(&self, tenant: &TenantId, name: &PipelineName) -> Pending<()> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.pending(move |folder| folder.remove_pipeline(&tenant, &name))
    }

    fn next_pipeline_id(&self) -> Pending<PipelineId> {
        self.pending(Folder::next_pipeline_id)
    }

    fn skip_pipeline_id(&self, used: PipelineId) -> Pending<()> {
        self.pending(move |folder| folder.skip_pipeline_id(used))
    }

    fn intents(&self) -> Vec<(TenantId, Intent)> {
        self.0.intents()
    }

    fn put_intent(&self, tenant: &TenantId, intent: &Intent) -> Pending<()> {
        let (tenant, intent) = (tenant.clone(), intent.clone());
        self.pending(move |folder| folder.put_intent(&tenant, &intent))
    }

    fn remove_intent(&self, tenant: &TenantId, id: PipelineId) -> Pending<()> {
        let tenant = tenant.clone();
        self.pending(move |folder| folder.remove_intent(&tenant, id))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;
    use crate::catalog::Purpose;
    use crate::environment::busy::Busy;
    use crate::ids::default_tenant;

    fn intent(id: u64) -> Intent {
        Intent { id: PipelineId(id), pipeline: "views".parse().expect("a name"), purpose: Purpose::Stage }
    }

    #[tokio::test]
    async fn a_change_waits_on_another_thread_and_is_made_also_if_nobody_waits_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let busy = Arc::new(Busy::free());
        let environment = Arc::clone(&busy) as Arc<dyn Environment>;
        let catalog = FileCatalog::open_on(Arc::new(SystemFiles), environment, folder.path()).expect("opened");
        busy.set(true);
        let (mut waited, mut dropped) =
            (catalog.put_intent(&default_tenant(), &intent(1)), catalog.put_intent(&default_tenant(), &intent(2)));
        assert!(poll!(&mut waited).is_pending() && poll!(&mut dropped).is_pending(), "the disk is busy");
        drop(dropped);
        drop(catalog.put_intent(&default_tenant(), &intent(3)));
        assert!(catalog.intents().is_empty(), "what is not written is not seen");
        busy.set(false);
        waited.await.expect("written");
        // Behind all that was begun before.
        catalog.skip_pipeline_id(PipelineId(9)).await.expect("written");
        let known: Vec<_> = catalog.intents().into_iter().map(|(_, intent)| intent.id.0).collect();
        assert_eq!(known, [1, 2], "what nobody asked for is not done");
        let again = FileCatalog::open(folder.path()).expect("opened again");
        assert_eq!(again.intents(), catalog.intents());
    }
}
