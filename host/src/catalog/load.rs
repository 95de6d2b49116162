//! Reading the whole catalog at start. A name in a path must be the name in the file, and whatever is not understood
//! stops the start with its path: a catalog that is half read would quietly run half of the pipelines.
//!
//! A damaged file of one pipeline does not stop the others: it is put aside and named, at this start and at every later
//! one until somebody has taken it away.

use std::path::{Path, PathBuf};

use super::folder::{self, Holdings, Known, TenantPaths};
use super::{Error, Intent, PluginVersion, StoredPipeline, file};
use crate::files::Files;
use crate::ids::{PluginName, TenantId};

/// A file that could not be read, and was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Whose it is.
    pub tenant: TenantId,
    /// Where it is now.
    pub file: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Reads everything but the components.
pub(super) fn all(files: &dyn Files, catalog: &Path) -> Result<Known, Error> {
    let next_id = folder::next_pipeline_id_file(catalog);
    let tenants = folder::tenants_folder(catalog);
    let mut known = Known { next_pipeline_id: 1, ..Known::default() };
    for path in file::entries(files, catalog)? {
        if path == next_id {
            known.next_pipeline_id = file::read_document(files, &path)?;
        } else if path != tenants {
            return Err(unexpected(&path));
        }
    }
    for path in file::entries(files, &tenants)? {
        let tenant: TenantId = name_of(&path)?;
        let paths = TenantPaths::new(catalog, &tenant);
        let holdings = holdings(files, &paths, &tenant)?;
        known.damaged.extend(damaged(files, &paths, &tenant)?);
        let newest = holdings.pipelines.values().map(|pipeline| pipeline.id.0).max().unwrap_or(0);
        if newest >= known.next_pipeline_id {
            let reason =
                format!("the next pipeline would be {}, and there is a pipeline {newest}", known.next_pipeline_id);
            return Err(Error::corrupt(&next_id, reason));
        }
        known.tenants.insert(tenant, holdings);
    }
    Ok(known)
}

fn holdings(files: &dyn Files, paths: &TenantPaths, tenant: &TenantId) -> Result<Holdings, Error> {
    let mut holdings = Holdings::default();
    for folder in file::entries(files, &paths.plugins())? {
        let name: PluginName = name_of(&folder)?;
        let versions = versions(files, paths, &name)?;
        // A crash between making the folder and writing the first version leaves it empty.
        if !versions.is_empty() {
            holdings.plugins.insert(name, versions);
        }
    }
    for path in file::entries(files, &paths.pipelines())? {
        if let Some(pipeline) = sound(files, pipeline(files, &path, paths, tenant), &path, paths)? {
            holdings.pipelines.insert(pipeline.name.clone(), pipeline);
        }
    }
    for path in file::entries(files, &paths.intents())? {
        if let Some(intent) = sound(files, file::read_document::<Intent>(files, &path), &path, paths)? {
            holdings.intents.insert(intent.id, intent);
        }
    }
    // What a crash left of a component is removed here; whole components are looked at when they are needed.
    file::entries(files, &paths.components())?;
    Ok(holdings)
}

fn pipeline(files: &dyn Files, path: &Path, paths: &TenantPaths, tenant: &TenantId) -> Result<StoredPipeline, Error> {
    let pipeline: StoredPipeline = file::read_document(files, path)?;
    if path != paths.pipeline(&pipeline.name) || pipeline.tenant != *tenant {
        let reason = format!("it holds pipeline `{}` of tenant `{}`", pipeline.name, pipeline.tenant);
        return Err(Error::corrupt(path, reason));
    }
    Ok(pipeline)
}

/// What was read; nothing, if the file is damaged, which puts it aside. That it cannot be read now, or has a format
/// of another version, is no damage.
fn sound<T>(files: &dyn Files, read: Result<T, Error>, path: &Path, paths: &TenantPaths) -> Result<Option<T>, Error> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error @ Error::Corrupt { .. }) => {
            let to = file::move_into(files, path, &paths.damaged())?;
            tracing::error!(%error, "put aside as `{}`", to.display());
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What lies aside.
fn damaged(files: &dyn Files, paths: &TenantPaths, tenant: &TenantId) -> Result<Vec<Damaged>, Error> {
    let damaged = |file: PathBuf| {
        let reason = match read_any(files, &file) {
            Ok(()) => "it is not where it belongs".to_owned(),
            Err(error) => error.to_string(),
        };
        Damaged { tenant: tenant.clone(), file, reason }
    };
    Ok(file::entries(files, &paths.damaged())?.into_iter().map(damaged).collect())
}

fn read_any(files: &dyn Files, file: &Path) -> Result<(), Error> {
    file::read_document::<serde_json::Value>(files, file).map(drop)
}

fn versions(files: &dyn Files, paths: &TenantPaths, name: &PluginName) -> Result<Vec<PluginVersion>, Error> {
    let mut versions: Vec<PluginVersion> = Vec::new();
    for path in file::entries(files, &paths.plugin(name))? {
        let version: PluginVersion = file::read_document(files, &path)?;
        if path != paths.version(name, version.version) || version.name != *name {
            let reason = format!("it holds version {} of plugin `{}`", version.version, version.name);
            return Err(Error::corrupt(&path, reason));
        }
        versions.push(version);
    }
    versions.sort_by_key(|version| version.version);
    Ok(versions)
}

fn name_of<T: std::str::FromStr>(path: &Path) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| unexpected(path))?;
    name.parse().map_err(|error: T::Err| Error::corrupt(path, error.to_string()))
}

fn unexpected(path: &Path) -> Error {
    Error::corrupt(&PathBuf::from(path), "it does not belong here")
}
