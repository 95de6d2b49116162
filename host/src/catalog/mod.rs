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
//! ```
//!
//! Opening reads and checks everything but the components, which are checked whenever they are read. What is wrong is
//! named with its file; nothing is skipped or repaired in silence.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::now_ms;
use crate::ids::{Digest, PipelineId, PipelineName, PluginName, PluginRef, StepName, TenantId};
use crate::names::nearest;

use crate::plugin::{Certificate, Description, World};

mod error;
mod file;
mod load;

pub use error::Error;

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
    /// The checkpoint of before its last upgrade, if it had one since it was made or restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgraded_from: Option<String>,
}

/// What the control plane remembers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
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
}

/// What a tenant has.
#[derive(Debug, Default)]
struct Holdings {
    /// The versions of each plugin, oldest first, never empty.
    plugins: BTreeMap<PluginName, Vec<PluginVersion>>,
    pipelines: BTreeMap<PipelineName, StoredPipeline>,
}

impl Catalog {
    /// Reads the catalog in a folder; makes an empty one where there is none.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, Error> {
        let folder = folder.into();
        file::make_folder(&folder)?;
        let known = load::all(&folder)?;
        Ok(Self(Arc::new(Inner { folder, changing: Mutex::new(()), known: RwLock::new(known) })))
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
            uploaded_at_ms: now_ms(),
        };
        // The component first: a version never names bytes that are not there.
        let paths = self.paths(tenant);
        file::make_folder(&paths.components())?;
        file::write(&paths.component(&version.digest), component)?;
        file::make_folder(&paths.plugin(name))?;
        file::write_document(&paths.version(name, version.version), &version)?;
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
        let bytes = file::read(&path)?.ok_or_else(|| Error::corrupt(&path, "it is missing"))?;
        if Digest::of(&bytes) != *digest {
            return Err(Error::corrupt(&path, "its content does not have the digest that is its name"));
        }
        Ok(bytes.into())
    }

    /// The pipelines of all tenants.
    pub fn pipelines(&self) -> Vec<StoredPipeline> {
        self.read(|known| known.tenants.values().flat_map(|has| has.pipelines.values()).cloned().collect())
    }

    /// Remembers a pipeline, in place of the one of the same name if there is one.
    pub fn put_pipeline(&self, pipeline: &StoredPipeline) -> Result<(), Error> {
        let paths = self.paths(&pipeline.tenant);
        let _changing = self.changing();
        file::make_folder(&paths.pipelines())?;
        file::write_document(&paths.pipeline(&pipeline.name), pipeline)?;
        self.write(|known| {
            let holdings = known.tenants.entry(pipeline.tenant.clone()).or_default();
            holdings.pipelines.insert(pipeline.name.clone(), pipeline.clone());
        });
        Ok(())
    }

    /// Forgets a pipeline. Forgetting what is not there changes nothing.
    pub fn remove_pipeline(&self, tenant: &TenantId, name: &PipelineName) -> Result<(), Error> {
        let _changing = self.changing();
        file::remove(&self.paths(tenant).pipeline(name))?;
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
        file::write_document(&next_pipeline_id_file(&self.0.folder), &(id + 1))?;
        self.write(|known| known.next_pipeline_id = id + 1);
        Ok(PipelineId(id))
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
}

fn tenants_folder(catalog: &Path) -> PathBuf {
    catalog.join("tenants")
}

fn next_pipeline_id_file(catalog: &Path) -> PathBuf {
    catalog.join("next-pipeline-id.json")
}

#[cfg(test)]
mod tests;
