//! Files of a catalog that cannot be written, or whose folder cannot be synced, as a disk that is full or dies.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use millstream::files::{Files, SystemFiles};

/// Files of the operating system, of which some fail.
#[derive(Debug, Default)]
pub(crate) struct FailingFiles {
    /// No file is written in a folder of this name,
    unwritten: Mutex<Option<&'static str>>,
    /// and folders of this name are not synced.
    unsynced: Mutex<Option<&'static str>>,
}

impl FailingFiles {
    /// Lets no file of folders of this name be written from now on, or all.
    pub(crate) fn fail_writes(&self, folder: Option<&'static str>) {
        *self.unwritten.lock().unwrap() = folder;
    }

    /// Lets no folder of this name be synced from now on, or all.
    pub(crate) fn fail_syncs(&self, folder: Option<&'static str>) {
        *self.unsynced.lock().unwrap() = folder;
    }
}

fn fail_if(failing: &Mutex<Option<&'static str>>, folder: Option<&Path>) -> io::Result<()> {
    let name = folder.and_then(Path::file_name);
    match *failing.lock().unwrap() {
        Some(failing) if name.is_some_and(|name| name == failing) => Err(io::Error::other("the disk does not answer")),
        _ => Ok(()),
    }
}

impl Files for FailingFiles {
    fn write(&self, file: &Path, bytes: &[u8]) -> io::Result<()> {
        fail_if(&self.unwritten, file.parent())?;
        SystemFiles.write(file, bytes)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        SystemFiles.read(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemFiles.rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        SystemFiles.remove(file)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        SystemFiles.make_folder(folder)
    }

    fn is_folder(&self, path: &Path) -> bool {
        SystemFiles.is_folder(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        SystemFiles.list(folder)
    }

    fn size(&self, file: &Path) -> io::Result<Option<u64>> {
        SystemFiles.size(file)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fail_if(&self.unsynced, Some(folder))?;
        SystemFiles.sync_folder(folder)
    }
}
