//! Disks for keyed state: one RocksDB in a folder of its own for each step that needs one, thrown away with the step.
//!
//! Nothing is logged or synced: what is here is a copy of what the log's blocks say, and is made again from them. So a
//! folder that is found at the start is what a crash left, and is removed.

mod table;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, io};

use self::table::Table;
use crate::state::{Disks, Spill, SpillError};

/// A folder for the disks of all steps of a server.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    next: AtomicU64,
}

impl Folder {
    /// Takes a folder, which is made when it is needed first. What is in it is removed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, SpillError> {
        let path = path.into();
        remove(&path).map_err(|error| failed("removing what a crash left", &path, &error))?;
        Ok(Self { path, next: AtomicU64::new(0) })
    }
}

impl Disks for Folder {
    fn provide(&self) -> Result<Box<dyn Spill>, SpillError> {
        let own = self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir_all(&own).map_err(|error| failed("making its folder", &own, &error))?;
        Ok(Box::new(Table::open(own)?))
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(doing: &'static str, path: &Path, error: &io::Error) -> SpillError {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    SpillError { doing, reason: format!("`{}`: {error}", path.display()), full }
}

#[cfg(test)]
mod tests;
