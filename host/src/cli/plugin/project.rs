//! A plugin project: a folder with a Cargo.toml, and the component that was built of it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::failure::Failure;
use crate::error::Kind;

#[derive(Debug, Deserialize)]
struct Manifest {
    package: Package,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
}

/// The name of the package in a folder.
pub(super) fn package(dir: &Path) -> Result<String, Failure> {
    let file = dir.join("Cargo.toml");
    let refuse = |reason: &str| {
        let detail =
            format!("`{}` is not a plugin project: {reason}; `millstream plugin new` makes one", dir.display());
        Failure::new("no_project", Kind::NotFound, detail)
    };
    let text = std::fs::read_to_string(&file).map_err(|error| refuse(&format!("its Cargo.toml: {error}")))?;
    let manifest: Result<Manifest, _> = toml::from_str(&text);
    Ok(manifest.map_err(|error| refuse(&format!("its Cargo.toml: {}", error.message())))?.package.name)
}

/// Where the component of a project is put.
pub(super) fn component_of(dir: &Path, package: &str) -> PathBuf {
    dir.join(format!("{package}.wasm"))
}

/// The component that is meant: a file, or what a project was built into.
pub(super) fn component(path: &Path) -> Result<PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let file = component_of(path, &package(path)?);
    if file.is_file() {
        return Ok(file);
    }
    let detail = format!("`{}` is not built: run `millstream plugin build {}` first", file.display(), path.display());
    Err(Failure::new("not_built", Kind::NotFound, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_stands_for_its_component_once_it_is_built() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(component(folder.path()).expect_err("no project").code(), "no_project");
        std::fs::write(folder.path().join("Cargo.toml"), "[package]\nname = \"my-filter\"\n").expect("written");
        assert_eq!(component(folder.path()).expect_err("not built").code(), "not_built");
        let file = folder.path().join("my-filter.wasm");
        std::fs::write(&file, b"").expect("written");
        assert_eq!(component(folder.path()), Ok(file.clone()));
        assert_eq!(component(&file), Ok(file));
    }
}
