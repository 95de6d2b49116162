//! A catalog in a folder.
//!
//! All of it is small but the components, so it is held in memory and every change is a file, written before the change
//! is seen (`file`). The folder is one server's: the log, which is opened first, holds the lock.
//!
//! ```text
//! catalog/next-pipeline-id.json
//! catalog/tenants/TENANT/plugins/PLUGIN/00000001.json     a version: its number, digest, description
//! catalog/tenants/TENANT/components/HEX.wasm              the bytes of versions, by digest
//! catalog/tenants/TENANT/pipelines/PIPELINE.json          manifest, pinned versions, whether paused
//! catalog/tenants/TENANT/intents/DEPLOYMENT.json          what is about to become of a deployment (`intent`)
//! catalog/tenants/TENANT/damaged/..                       files of pipelines that could not be read
//! ```
//!
//! Opening reads and checks everything but the components, which are checked whenever they are read. What is wrong is
//! named with its file; nothing is skipped or repaired in silence. The damaged file of a pipeline is put aside and named,
//! so that the others run; what the log has of it stays until somebody decides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use super::{Damaged, Error, Intent, PluginVersion, Pushed, StoredPipeline, file, load};
use crate::environment::Environment;
use crate::files::Files;
use crate::ids::{Digest, PipelineId, PipelineName, PluginName, PluginRef, TenantId};
use crate::names::nearest;
use crate::plugin::Certificate;

/// The folder of a catalog, and what is in memory of it. Its functions wait for the disk.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) files: Arc<dyn Files>,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) path: PathBuf,
    /// Held over a whole change, file and memory, so that changes follow one another; readers do not wait for it.
    changing: Mutex<()>,
    known: RwLock<Known>,
}

/// What is in memory of it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) next_pipeline_id: u64,
    pub(super) tenants: BTreeMap<TenantId, Holdings>,
    /// Files that could not be read.
    pub(super) damaged: Vec<Damaged>,
}

/// What a tenant has.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// The versions of each plugin, oldest first, never empty.
    pub(super) plugins: BTreeMap<PluginName, Vec<PluginVersion>>,
    pub(super) pipelines: BTreeMap<PipelineName, StoredPipeline>,
    pub(super) intents: BTreeMap<PipelineId, Intent>,
}

impl Folder {
    /// Reads a folder; makes an empty one where there is none.
    pub(super) fn open(files: Arc<dyn Files>, environment: Arc<dyn Environment>, path: PathBuf) -> Result<Self, Error> {
        file::make_folder(&*files, &path)?;
        let known = RwLock::new(load::all(&*files, &path)?);
        Ok(Self { files, environment, path, changing: Mutex::new(()), known })
    }

    pub(super) fn push_plugin(
        &self,
        tenant: &TenantId,
        name: &PluginName,
        certificate: &Certificate,
        component: &[u8],
    ) -> Result<Pushed, Error> {
        let _changing = self.changing();
        let versions = self.read(|known| known.holdings(tenant).and_then(|has| has.plugins.get(name)).cloned());
        let versions = versions.unwrap_or_default();
        if let Some(same) = versions.iter().find(|version| version.digest == certificate.digest) {
            return Ok(Pushed { created: false, version: same.clone() });
        }
        let version = PluginVersion {
            name: name.clone(),
            version: versions.last().map_or(1, |newest| newest.version + 1),
            digest: certificate.digest,
            world: certificate.world,
            description: certificate.description.clone(),
            bytes: component.len() as u64,
            snapshot: certificate.snapshot,
            imports: certificate.imports.clone(),
            uploaded_at_ms: self.environment.now_ms(),
        };
        // The component first: a version never names bytes that are not there.
        let paths = self.paths(tenant);
        file::make_folder(&*self.files, &paths.components())?;
        file::write(&*self.files, &paths.component(&version.digest), component)?;
        file::make_folder(&*self.files, &paths.plugin(name))?;
        file::write_document(&*self.files, &paths.version(name, version.version), &version)?;
        self.write(|known| {
            let holdings = known.tenants.entry(tenant.clone()).or_default();
            holdings.plugins.entry(name.clone()).or_default().push(version.clone());
        });
        Ok(Pushed { created: true, version })
    }

    pub(super) fn plugins(&self, tenant: &TenantId) -> Vec<PluginVersion> {
        self.read(|known| match known.holdings(tenant) {
            Some(holdings) => holdings.plugins.values().flatten().cloned().collect(),
            None => Vec::new(),
        })
    }

    pub(super) fn plugin(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<PluginVersion, Error> {
        let name = &plugin.name;
        self.read(|known| {
            let plugins = known.holdings(tenant).map(|holdings| &holdings.plugins);
            let versions = plugins.and_then(|plugins| plugins.get(name)).ok_or_else(|| {
                let names = plugins.into_iter().flatten().map(|(name, _)| name.as_str());
                Error::PluginNotFound { name: name.clone(), nearest: nearest(name.as_str(), names).map(str::to_owned) }
            })?;
            let found = match plugin.digest {
                Some(digest) => versions.iter().find(|version| version.digest == digest).ok_or(digest),
                None => Ok(versions.last().expect("a plugin is made with its first version")),
            };
            found.cloned().map_err(|digest| Error::VersionNotFound { name: name.clone(), digest })
        })
    }

    pub(super) fn component(&self, tenant: &TenantId, digest: &Digest) -> Result<Bytes, Error> {
        let known = self.read(|known| {
            let holdings = known.holdings(tenant).into_iter();
            holdings.flat_map(|holdings| holdings.plugins.values().flatten()).any(|version| version.digest == *digest)
        });
        if !known {
            return Err(Error::ComponentNotFound { digest: *digest });
        }
        let path = self.paths(tenant).component(digest);
        let bytes = file::read(&*self.files, &path)?.ok_or_else(|| Error::corrupt(&path, "it is missing"))?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::corrupt(&path, "its content does not have the digest that is its name"));
        }
        Ok(bytes.into())
    }

    pub(super) fn pipelines(&self) -> Vec<StoredPipeline> {
        self.read(|known| known.tenants.values().flat_map(|has| has.pipelines.values()).cloned().collect())
    }

    pub(super) fn damaged(&self, tenant: &TenantId) -> Vec<Damaged> {
        self.read(|known| known.damaged.iter().filter(|damaged| damaged.tenant == *tenant).cloned().collect())
    }

    pub(super) fn put_pipeline(&self, pipeline: &StoredPipeline) -> Result<(), Error> {
        let paths = self.paths(&pipeline.tenant);
        let path = paths.pipeline(&pipeline.name);
        let _changing = self.changing();
        let files = &*self.files;
        file::make_folder(files, &paths.pipelines())?;
        let before = self.known_pipeline(&pipeline.tenant, &pipeline.name);
        file::write_document(files, &path, pipeline).map_err(|error| settle(files, &path, before.as_ref(), error))?;
        self.write(|known| {
            let holdings = known.tenants.entry(pipeline.tenant.clone()).or_default();
            holdings.pipelines.insert(pipeline.name.clone(), pipeline.clone());
        });
        Ok(())
    }

    pub(super) fn remove_pipeline(&self, tenant: &TenantId, name: &PipelineName) -> Result<(), Error> {
        let path = self.paths(tenant).pipeline(name);
        let _changing = self.changing();
        let files = &*self.files;
        let before = self.known_pipeline(tenant, name);
        file::remove(files, &path).map_err(|error| settle(files, &path, before.as_ref(), error))?;
        self.write(|known| {
            if let Some(holdings) = known.tenants.get_mut(tenant) {
                holdings.pipelines.remove(name);
            }
        });
        Ok(())
    }

    pub(super) fn next_pipeline_id(&self) -> Result<PipelineId, Error> {
        let _changing = self.changing();
        let id = self.read(|known| known.next_pipeline_id);
        file::write_document(&*self.files, &next_pipeline_id_file(&self.path), &(id + 1))?;
        self.write(|known| known.next_pipeline_id = id + 1);
        Ok(PipelineId(id))
    }

    pub(super) fn skip_pipeline_id(&self, used: PipelineId) -> Result<(), Error> {
        let _changing = self.changing();
        if self.read(|known| known.next_pipeline_id) > used.0 {
            return Ok(());
        }
        file::write_document(&*self.files, &next_pipeline_id_file(&self.path), &(used.0 + 1))?;
        self.write(|known| known.next_pipeline_id = used.0 + 1);
        Ok(())
    }

    fn known_pipeline(&self, tenant: &TenantId, name: &PipelineName) -> Option<StoredPipeline> {
        self.read(|known| known.holdings(tenant).and_then(|has| has.pipelines.get(name)).cloned())
    }

    pub(super) fn paths(&self, tenant: &TenantId) -> TenantPaths {
        TenantPaths::new(&self.path, tenant)
    }

    pub(super) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn write(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Sees to it that after a failed change the file of a pipeline has what it had before. A write or removal may fail when
/// it can be seen already, but would not survive a loss of power.
fn settle(files: &dyn Files, path: &Path, before: Option<&StoredPipeline>, error: Error) -> Error {
    let settled = match before {
        Some(before) if file::read_document::<StoredPipeline>(files, path).is_ok_and(|now| now == *before) => Ok(()),
        Some(before) => file::write_document(files, path, before),
        None => match file::read(files, path) {
            Ok(None) => Ok(()),
            _ => file::remove(files, path),
        },
    };
    match settled {
        Ok(()) => error,
        Err(_) => Error::Unsettled { file: path.to_owned(), source: Box::new(error) },
    }
}

impl Known {
    fn holdings(&self, tenant: &TenantId) -> Option<&Holdings> {
        self.tenants.get(tenant)
    }
}

/// Where what a tenant has is stored. Names are safe in paths: they are made of letters, digits and `-`.
#[derive(Debug)]
pub(super) struct TenantPaths(PathBuf);

impl TenantPaths {
    pub(super) fn new(catalog: &Path, tenant: &TenantId) -> Self {
        Self(tenants_folder(catalog).join(tenant.as_str()))
    }

    pub(super) fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }

    pub(super) fn plugin(&self, name: &PluginName) -> PathBuf {
        self.plugins().join(name.as_str())
    }

    pub(super) fn version(&self, name: &PluginName, version: u32) -> PathBuf {
        self.plugin(name).join(format!("{version:08}.json"))
    }

    pub(super) fn components(&self) -> PathBuf {
        self.0.join("components")
    }

    pub(super) fn component(&self, digest: &Digest) -> PathBuf {
        self.components().join(format!("{}.wasm", digest.hex()))
    }

    pub(super) fn pipelines(&self) -> PathBuf {
        self.0.join("pipelines")
    }

    pub(super) fn pipeline(&self, name: &PipelineName) -> PathBuf {
        self.pipelines().join(format!("{name}.json"))
    }

    pub(super) fn intents(&self) -> PathBuf {
        self.0.join("intents")
    }

    pub(super) fn intent(&self, id: PipelineId) -> PathBuf {
        self.intents().join(format!("{:020}.json", id.0))
    }

    pub(super) fn damaged(&self) -> PathBuf {
        self.0.join("damaged")
    }
}

pub(super) fn tenants_folder(catalog: &Path) -> PathBuf {
    catalog.join("tenants")
}

pub(super) fn next_pipeline_id_file(catalog: &Path) -> PathBuf {
    catalog.join("next-pipeline-id.json")
}
