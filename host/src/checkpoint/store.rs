//! Where checkpoints lie: a local folder, or an object store of S3's kind. Objects have names with `/` between the parts,
//! are written whole or not at all, and are small enough to be held.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Handle;
use tokio::task::JoinError;

use super::error::Error;
use super::folder::Folder;
use super::s3;
use crate::environment::{Environment, System, run_blocking};
use crate::files::{Files, SystemFiles};

/// A store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Backend,
    environment: Arc<dyn Environment>,
}

#[derive(Debug, Clone)]
enum Backend {
    Folder(Folder),
    Remote {
        objects: Arc<dyn ObjectStore>,
        /// What the names of all objects begin with.
        prefix: ObjectPath,
    },
}

impl Store {
    /// The store at a location: `s3://BUCKET` or `s3://BUCKET/PREFIX`, or the path of a folder, which is made if it is not
    /// there. Credentials of S3 are those of the environment (`AWS_ACCESS_KEY_ID` and so on).
    pub fn open(location: &str) -> Result<Self, Error> {
        match location.split_once("://") {
            Some(("s3", place)) => s3::open(location, place).map(|(objects, prefix)| Self::remote(objects, prefix)),
            Some((scheme, _)) => Err(Error::InvalidStore {
                location: location.to_owned(),
                reason: format!("`{scheme}` is no kind of store: give a folder, or s3://BUCKET/PREFIX"),
            }),
            None => Self::open_on(Arc::new(SystemFiles), Arc::new(System), location.as_ref()),
        }
    }

    /// The store in a folder of these files, on this machine.
    pub fn open_on(files: Arc<dyn Files>, environment: Arc<dyn Environment>, folder: &Path) -> Result<Self, Error> {
        let folder = Folder::open(files, Arc::clone(&environment), folder)?;
        Ok(Self { backend: Backend::Folder(folder), environment })
    }

    /// Objects of an object store whose names begin so.
    pub(super) fn remote(objects: Arc<dyn ObjectStore>, prefix: ObjectPath) -> Self {
        Self { backend: Backend::Remote { objects, prefix }, environment: Arc::new(System) }
    }

    /// Writes an object, durably, in place of one that has the name.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        match &self.backend {
            Backend::Folder(folder) => {
                let object = name.to_owned();
                folder.run("write", name, move |folder| folder.put(&object, &bytes)).await
            }
            Backend::Remote { objects, prefix } => {
                let put = objects.put(&under(prefix, name), bytes.into()).await;
                put.map(drop).map_err(|error| failed("write", name, &error))
            }
        }
    }

    /// The same from a thread that may wait, such as [`run_blocking`](Self::run_blocking) gives.
    pub(super) fn put_blocking(&self, runtime: &Handle, name: &str, bytes: &Bytes) -> Result<(), Error> {
        match &self.backend {
            Backend::Folder(folder) => {
                folder.put(name, bytes).map_err(|error| super::folder::failed("write", name, &error))
            }
            Backend::Remote { .. } => runtime.block_on(self.put(name, bytes.clone())),
        }
    }

    /// Runs work on a thread that may block.
    pub(super) fn run_blocking<T, W>(&self, work: W) -> impl Future<Output = Result<T, JoinError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        run_blocking(&*self.environment, work)
    }

    /// Reads an object, if it is there.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Bytes>, Error> {
        match &self.backend {
            Backend::Folder(folder) => {
                let object = name.to_owned();
                folder.run("read", name, move |folder| folder.get(&object)).await
            }
            Backend::Remote { objects, prefix } => {
                let read = async { objects.get(&under(prefix, name)).await?.bytes().await };
                match read.await {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(failed("read", name, &error)),
                }
            }
        }
    }

    /// The last parts of the names of all objects directly below this name, and their sizes.
    pub(super) async fn list(&self, name: &str) -> Result<Vec<(String, u64)>, Error> {
        match &self.backend {
            Backend::Folder(folder) => {
                let object = name.to_owned();
                folder.run("list", name, move |folder| folder.list(&object)).await
            }
            Backend::Remote { objects, prefix } => {
                let below = under(prefix, name);
                let all: Vec<_> =
                    objects.list(Some(&below)).try_collect().await.map_err(|error| failed("list", name, &error))?;
                let direct = all.into_iter().filter_map(|object| {
                    let mut parts = object.location.prefix_match(&below)?;
                    let last = parts.next()?.as_ref().to_owned();
                    parts.next().is_none().then_some((last, object.size))
                });
                Ok(direct.collect())
            }
        }
    }

    /// Removes an object. Removing what is not there changes nothing.
    pub(super) async fn delete(&self, name: &str) -> Result<(), Error> {
        match &self.backend {
            Backend::Folder(folder) => {
                let object = name.to_owned();
                folder.run("remove", name, move |folder| folder.delete(&object)).await
            }
            Backend::Remote { objects, prefix } => match objects.delete(&under(prefix, name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failed("remove", name, &error)),
            },
        }
    }
}

fn under(prefix: &ObjectPath, name: &str) -> ObjectPath {
    ObjectPath::from_iter(prefix.parts().chain(ObjectPath::from(name).parts()))
}

fn failed(action: &'static str, name: &str, error: &object_store::Error) -> Error {
    // The cause is what tells an operator something; the outermost text only repeats what was asked.
    let mut reason = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if !reason.contains(&inner.to_string()) {
            reason = format!("{reason}: {inner}");
        }
        cause = inner.source();
    }
    Error::Store { action, object: name.to_owned(), reason }
}
