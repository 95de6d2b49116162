//! The RocksDB log: the common suite, and what only a log on a disk can suffer.

use std::time::{Duration, Instant};

use super::*;
use crate::log::conformance::{Cleaning, Subject};
use crate::log::{Log, RecordLog as _, TopicAdmin as _};

mod compaction;
mod crash;
mod faults;
mod folders;
mod full_disk;
mod model;
mod on_disk;
mod power;
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
        Self::open(|folder| EmbeddedConfig { tail_bytes, durability, ..EmbeddedConfig::new(folder) })
    }

    /// One that does not sync, for thousands of writes.
    fn compacting(tail_bytes: usize, compaction: CompactionLimits) -> Self {
        let durability = Durability::Os;
        Self::open(|folder| EmbeddedConfig { tail_bytes, durability, compaction, ..EmbeddedConfig::new(folder) })
    }

    fn open(config: impl FnOnce(PathBuf) -> EmbeddedConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path().join("log"));
        let log = Some(EmbeddedLog::open(config.clone()).unwrap());
        Self { config, log, _folder: folder }
    }
}

impl Cleaning for EmbeddedLog {
    fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
        self.enforce_retention(now_ms)
    }

    fn compact(&self, now_ms: i64) -> Result<Compacted> {
        self.compact(now_ms)
    }
}

impl Cleaning for Reopening {
    fn enforce_retention(&self, now_ms: i64) -> Result<u64> {
        self.log.as_ref().unwrap().enforce_retention(now_ms)
    }

    fn compact(&self, now_ms: i64) -> Result<Compacted> {
        self.log.as_ref().unwrap().compact(now_ms)
    }
}

impl Subject for Reopening {
    fn log(&self) -> &dyn Log {
        self.log.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        drop(self.log.take());
        let deadline = Instant::now() + Duration::from_secs(60);
        self.log = loop {
            match EmbeddedLog::open(self.config.clone()) {
                // A process that another test starts holds the lock with us until it runs its own program.
                Err(Error::FolderInUse { .. }) if Instant::now() < deadline => std::thread::yield_now(),
                opened => break Some(opened.unwrap()),
            }
        };
    }
}
