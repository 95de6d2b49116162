//! A store in a local folder: an object is a file under its name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::error::Error;
use crate::environment::{Environment, run_blocking};
use crate::files::{self, Files};

/// A folder. Names come from this crate and are made of letters, digits, `-`, `.` and `/`, so none leaves it.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    files: Arc<dyn Files>,
    environment: Arc<dyn Environment>,
    path: Arc<PathBuf>,
}

impl Folder {
    /// The folder at this path, which is made if it is not there.
    pub(super) fn open(files: Arc<dyn Files>, environment: Arc<dyn Environment>, path: &Path) -> Result<Self, Error> {
        files::make_folder(&*files, path)
            .map_err(|error| Error::InvalidStore { location: path.display().to_string(), reason: error.to_string() })?;
        Ok(Self { files, environment, path: Arc::new(path.to_owned()) })
    }

    /// Runs work that waits for the disk on a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        name: &str,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let folder = self.clone();
        let done = run_blocking(&*self.environment, move || work(&folder)).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| failed(action, name, &error))
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.path.join(name);
        if let Some(folder) = file.parent() {
            files::make_folder(&*self.files, folder)?;
        }
        files::write(&*self.files, &file, bytes)
    }

    pub(super) fn get(&self, name: &str) -> io::Result<Option<Bytes>> {
        Ok(files::read(&*self.files, &self.path.join(name))?.map(Bytes::from))
    }

    pub(super) fn list(&self, name: &str) -> io::Result<Vec<(String, u64)>> {
        let mut objects = Vec::new();
        for path in files::entries(&*self.files, &self.path.join(name))? {
            let name = path.file_name().and_then(|name| name.to_str());
            if let (Some(size), Some(name)) = (self.files.size(&path)?, name) {
                objects.push((name.to_owned(), size));
            }
        }
        Ok(objects)
    }

    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        files::remove(&*self.files, &self.path.join(name))
    }
}

/// What the file system reported of an object.
pub(super) fn failed(action: &'static str, name: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::StorageFull { object: name.to_owned() },
        _ => Error::Store { action, object: name.to_owned(), reason: error.to_string() },
    }
}
