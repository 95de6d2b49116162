//! The RocksDB log: the common suite, and what only a log on a disk can suffer.

use super::*;
use crate::log::conformance::Subject;

mod crash;
mod faults;
mod full_disk;
mod model;
mod on_disk;
mod space;
mod with_tail;

/// A log in a folder of its own.
struct Reopening {
    config: EmbeddedConfig,
    log: Option<EmbeddedLog>,
    _folder: tempfile::TempDir,
}

impl Reopening {
    fn with_tail(tail_bytes: usize) -> Self {
        Self::new(tail_bytes, Durability::Fsync)
    }

    fn new(tail_bytes: usize, durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = EmbeddedConfig { tail_bytes, durability, ..EmbeddedConfig::new(folder.path().join("log")) };
        let log = Some(EmbeddedLog::open(config.clone()).unwrap());
        Self { config, log, _folder: folder }
    }
}

impl Subject for Reopening {
    fn log(&self) -> &dyn Log {
        self.log.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        drop(self.log.take());
        self.log = Some(EmbeddedLog::open(self.config.clone()).unwrap());
    }
}
