//! What the control plane remembers: plugins with their versions, and the pipelines that are deployed.
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

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, System};
use crate::files::{Files, SystemFiles};
use crate::ids::{Digest, PipelineId, PipelineName, PluginName, PluginRef, StepName, TenantId};
use crate::names::nearest;

use crate::plugin::{Certificate, Description, World};

mod error;
mod file;
mod intent;
mod load;

pub use error::Error;
pub use intent::{Intent, Purpose};
pub use load::Damaged;

/// An immutable version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginVersion {
    /// The plugin.
    pub name: PluginName,
    /// Counted from 1 for each name.
    pub version: u32,
    /// The digest of its component: what identifies it.
    pub digest: Digest,
    /// What it can do.
    pub world: World,
    /// What it says that it takes and gives.
    pub description: Description,
    /// Size of its component.
    pub bytes: u64,
    /// Whether `init` runs once, at deploy; if not, it runs before every call.
    pub snapshot: bool,
    /// What it imports of the host.
    pub imports: Vec<String>,
    /// When it was pushed, in milliseconds since the Unix epoch.
    pub uploaded_at_ms: i64,
}

/// A pipeline as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredPipeline {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name, as the manifest says it.
    pub name: PipelineName,
    /// This deployment of the name.
    pub id: PipelineId,
    /// The manifest it was made from.
    pub manifest: String,
    /// Whether it was paused on request.
    pub paused: bool,
    /// The version that each step runs.
    pub digests: BTreeMap<StepName, Digest>,
    /// Steps that stay at their version, to which a restore or rollback put them back, until the manifest names another or
    /// an upgrade is asked for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<StepName>,
    /// Steps whose state this deployment left behind when it took over.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped_state: BTreeSet<StepName>,
    /// The checkpoint of before its last upgrade, if it had one since it was made or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgraded_from: Option<String>,
}

/// What the control plane remembers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Arc<dyn Files>,
    environment: Arc<dyn Environment>,
    folder: PathBuf,
    /// Held over a whole change, file and memory, so that changes follow one another; readers do not wait for it.
    changing: Mutex<()>,
    known: RwLock<Known>,
}

/// What is in memory of it.
#[derive(Debug, Default)]
struct Known {
    next_pipeline_id: u64,
    tenants: BTreeMap<TenantId, Holdings>,
    /// Files that could not be read.
    damaged: Vec<Damaged>,
}

/// What a tenant has.
#[derive(Debug, Default)]
struct Holdings {
    /// The versions of each plugin, oldest first, never empty.
    plugins: BTreeMap<PluginName, Vec<PluginVersion>>,
    pipelines: BTreeMap<PipelineName, StoredPipeline>,
    intents: BTreeMap<PipelineId, Intent>,
}

impl Catalog {
    /// Reads the catalog in a folder; makes an empty one where there is none.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::open_on(Arc::new(SystemFiles), Arc::new(System), folder)
    }

    /// The same in a folder of other files, on another machine.
    pub fn open_on(
        files: Arc<dyn Files>,
        environment: Arc<dyn Environment>,
        folder: impl Into<PathBuf>,
    ) -> Result<Self, Error> {
        let folder = folder.into();
        file::make_folder(&*files, &folder)?;
        let known = RwLock::new(load::all(&*files, &folder)?);
        Ok(Self(Arc::new(Inner { files, environment, folder, changing: Mutex::new(()), known })))
    }

    /// Remembers a certified component as the newest version of a plugin. A component that is a version already is not
    /// stored again: its version is answered.
    pub fn push_plugin(
        &self,
        tenant: &TenantId,
        name: &PluginName,
        certificate: &Certificate,
        component: &[u8],
    ) -> Result<PluginVersion, Error> {
        let _changing = self.changing();
        let versions = self.read(|known| known.holdings(tenant).and_then(|has| has.plugins.get(name)).cloned());
        let versions = versions.unwrap_or_default();
        if let Some(same) = versions.iter().find(|version| version.digest == certificate.digest) {
            return Ok(same.clone());
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
            uploaded_at_ms: self.0.environment.now_ms(),
        };
        // The component first: a version never names bytes that are not there.
        let paths = self.paths(tenant);
        file::make_folder(&*self.0.files, &paths.components())?;
        file::write(&*self.0.files, &paths.component(&version.digest), component)?;
        file::make_folder(&*self.0.files, &paths.plugin(name))?;
        file::write_document(&*self.0.files, &paths.version(name, version.version), &version)?;
        self.write(|known| {
            let holdings = known.tenants.entry(tenant.clone()).or_default();
            holdings.plugins.entry(name.clone()).or_default().push(version.clone());
        });
        Ok(version)
    }

    /// All versions of all plugins of a tenant, by name and then oldest first.
    pub fn plugins(&self, tenant: &TenantId) -> Vec<PluginVersion> {
        self.read(|known| match known.holdings(tenant) {
            Some(holdings) => holdings.plugins.values().flatten().cloned().collect(),
            None => Vec::new(),
        })
    }

    /// The version that is meant: the newest, where no digest is given.
    pub fn plugin(&self, tenant: &TenantId, plugin: &PluginRef) -> Result<PluginVersion, Error> {
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

    /// The bytes of a component, checked against its digest.
    pub fn component(&self, tenant: &TenantId, digest: &Digest) -> Result<Bytes, Error> {
        let known = self.read(|known| {
            let holdings = known.holdings(tenant).into_iter();
            holdings.flat_map(|holdings| holdings.plugins.values().flatten()).any(|version| version.digest == *digest)
        });
        if !known {
            return Err(Error::ComponentNotFound { digest: *digest });
        }
        let path = self.paths(tenant).component(digest);
        let bytes = file::read(&*self.0.files, &path)?.ok_or_else(|| Error::corrupt(&path, "it is missing"))?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::corrupt(&path, "its content does not have the digest that is its name"));
        }
        Ok(bytes.into())
    }

    /// The pipelines of all tenants.
    pub fn pipelines(&self) -> Vec<StoredPipeline> {
        self.read(|known| known.tenants.values().flat_map(|has| has.pipelines.values()).cloned().collect())
    }

    /// The damaged files that were put aside when the catalog was opened, or before.
    pub fn damaged(&self, tenant: &TenantId) -> Vec<Damaged> {
        self.read(|known| known.damaged.iter().filter(|damaged| damaged.tenant == *tenant).cloned().collect())
    }

    /// Remembers a pipeline, in place of the one of the same name if there is one. After an error what was there is there, unless it is
    /// [`Error::Unsettled`]: then either may be.
    pub fn put_pipeline(&self, pipeline: &StoredPipeline) -> Result<(), Error> {
        let paths = self.paths(&pipeline.tenant);
        let path = paths.pipeline(&pipeline.name);
        let _changing = self.changing();
        let files = &*self.0.files;
        file::make_folder(files, &paths.pipelines())?;
        let before = self.known_pipeline(&pipeline.tenant, &pipeline.name);
        file::write_document(files, &path, pipeline).map_err(|error| settle(files, &path, before.as_ref(), error))?;
        self.write(|known| {
            let holdings = known.tenants.entry(pipeline.tenant.clone()).or_default();
            holdings.pipelines.insert(pipeline.name.clone(), pipeline.clone());
        });
        Ok(())
    }

    /// Forgets a pipeline. Forgetting what is not there changes nothing. Errors are as those of [`Catalog::put_pipeline`].
    pub fn remove_pipeline(&self, tenant: &TenantId, name: &PipelineName) -> Result<(), Error> {
        let path = self.paths(tenant).pipeline(name);
        let _changing = self.changing();
        let files = &*self.0.files;
        let before = self.known_pipeline(tenant, name);
        file::remove(files, &path).map_err(|error| settle(files, &path, before.as_ref(), error))?;
        self.write(|known| {
            if let Some(holdings) = known.tenants.get_mut(tenant) {
                holdings.pipelines.remove(name);
            }
        });
        Ok(())
    }

    /// A number that no pipeline had before or gets after, also after a crash.
    pub fn next_pipeline_id(&self) -> Result<PipelineId, Error> {
        let _changing = self.changing();
        let id = self.read(|known| known.next_pipeline_id);
        file::write_document(&*self.0.files, &next_pipeline_id_file(&self.0.folder), &(id + 1))?;
        self.write(|known| known.next_pipeline_id = id + 1);
        Ok(PipelineId(id))
    }

    /// Gives no number up to this one any more: somebody knows it already.
    pub fn skip_pipeline_id(&self, used: PipelineId) -> Result<(), Error> {
        let _changing = self.changing();
        if self.read(|known| known.next_pipeline_id) > used.0 {
            return Ok(());
        }
        file::write_document(&*self.0.files, &next_pipeline_id_file(&self.0.folder), &(used.0 + 1))?;
        self.write(|known| known.next_pipeline_id = used.0 + 1);
        Ok(())
    }

    fn known_pipeline(&self, tenant: &TenantId, name: &PipelineName) -> Option<StoredPipeline> {
        self.read(|known| known.holdings(tenant).and_then(|has| has.pipelines.get(name)).cloned())
    }

    fn paths(&self, tenant: &TenantId) -> TenantPaths {
        TenantPaths::new(&self.0.folder, tenant)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.0.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.known.write().unwrap_or_else(PoisonError::into_inner));
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
struct TenantPaths(PathBuf);

impl TenantPaths {
    fn new(catalog: &Path, tenant: &TenantId) -> Self {
        Self(tenants_folder(catalog).join(tenant.as_str()))
    }

    fn plugins(&self) -> PathBuf {
        self.0.join("plugins")
    }

    fn plugin(&self, name: &PluginName) -> PathBuf {
        self.plugins().join(name.as_str())
    }

    fn version(&self, name: &PluginName, version: u32) -> PathBuf {
        self.plugin(name).join(format!("{version:08}.json"))
    }

    fn components(&self) -> PathBuf {
        self.0.join("components")
    }

    fn component(&self, digest: &Digest) -> PathBuf {
        self.components().join(format!("{}.wasm", digest.hex()))
    }

    fn pipelines(&self) -> PathBuf {
        self.0.join("pipelines")
    }

    fn pipeline(&self, name: &PipelineName) -> PathBuf {
        self.pipelines().join(format!("{name}.json"))
    }

    fn intents(&self) -> PathBuf {
        self.0.join("intents")
    }

    fn intent(&self, id: PipelineId) -> PathBuf {
        self.intents().join(format!("{:020}.json", id.0))
    }

    fn damaged(&self) -> PathBuf {
        self.0.join("damaged")
    }
}

fn tenants_folder(catalog: &Path) -> PathBuf {
    catalog.join("tenants")
}

fn next_pipeline_id_file(catalog: &Path) -> PathBuf {
    catalog.join("next-pipeline-id.json")
}

#[cfg(test)]
mod tests;
