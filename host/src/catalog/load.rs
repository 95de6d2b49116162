//! Reading the whole catalog at start. A name in a path must be the name in the file, and whatever is not understood
//! stops the start with its path: a catalog that is half read would quietly run half of the pipelines.

use std::path::{Path, PathBuf};

use super::{Error, Holdings, Known, PluginVersion, StoredPipeline, TenantPaths, file};
use crate::ids::{PluginName, TenantId};

/// Reads everything but the components.
pub(super) fn all(catalog: &Path) -> Result<Known, Error> {
    let next_id = super::next_pipeline_id_file(catalog);
    let tenants = super::tenants_folder(catalog);
    let mut known = Known { next_pipeline_id: 1, ..Known::default() };
    for path in file::entries(catalog)? {
        if path == next_id {
            known.next_pipeline_id = file::read_document(&path)?;
        } else if path != tenants {
            return Err(unexpected(&path));
        }
    }
    for path in file::entries(&tenants)? {
        let tenant: TenantId = name_of(&path)?;
        let holdings = holdings(&TenantPaths::new(catalog, &tenant), &tenant)?;
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

fn holdings(paths: &TenantPaths, tenant: &TenantId) -> Result<Holdings, Error> {
    let mut holdings = Holdings::default();
    for folder in file::entries(&paths.plugins())? {
        let name: PluginName = name_of(&folder)?;
        let versions = versions(paths, &name)?;
        // A crash between making the folder and writing the first version leaves it empty.
        if !versions.is_empty() {
            holdings.plugins.insert(name, versions);
        }
    }
    for path in file::entries(&paths.pipelines())? {
        let pipeline: StoredPipeline = file::read_document(&path)?;
        if path != paths.pipeline(&pipeline.name) || pipeline.tenant != *tenant {
            let reason = format!("it holds pipeline `{}` of tenant `{}`", pipeline.name, pipeline.tenant);
            return Err(Error::corrupt(&path, reason));
        }
        holdings.pipelines.insert(pipeline.name.clone(), pipeline);
    }
    // What a crash left of a component is removed here; whole components are looked at when they are needed.
    file::entries(&paths.components())?;
    Ok(holdings)
}

fn versions(paths: &TenantPaths, name: &PluginName) -> Result<Vec<PluginVersion>, Error> {
    let mut versions: Vec<PluginVersion> = Vec::new();
    for path in file::entries(&paths.plugin(name))? {
        let version: PluginVersion = file::read_document(&path)?;
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
