//! What readers and the writer of one log share, and the one lock under which the log changes.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use rocksdb::WriteBatch;

use super::EmbeddedConfig;
use super::commits::Tasks;
use super::format::{self, Sealer};
use super::keys::{Family, NEXT_EPOCH};
use super::mark::Mark;
use super::producers::Producers;
use super::store::{Store, corrupt};
use super::tail::Tail;
use super::topics::Topics;
use crate::files::{self, SystemFiles};
use crate::ids::TopicId;
use crate::log::{Error, Result};

/// The log without its writer thread.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) topics: Topics,
    writing: Mutex<Writing>,
    /// Why there are no more writes.
    failed: OnceLock<Error>,
    /// Last, so that the folder is free only when the database is closed.
    _lock: File,
}

/// What only the one who writes may touch.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) tail: Tail,
    pub(super) producers: Producers,
    pub(super) tasks: Tasks,
    pub(super) next_topic: TopicId,
    pub(super) next_epoch: u64,
    pub(super) sealer: Sealer,
    mark: Mark,
}

/// How long to wait for the folder. A process that is being started from a server holds the server's files for a moment,
/// also when the server has just ended: that is nobody who uses the folder.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How often to look meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(5);

impl Shared {
    /// Opens the folder, which no one else may have open.
    pub(super) fn open(config: &EmbeddedConfig) -> Result<Self> {
        let unreadable = |error: std::io::Error| Error::Storage {
            reason: format!("data folder `{}` cannot be opened: {error}", config.folder.display()),
        };
        files::make_folder(&SystemFiles, &config.folder).map_err(unreadable)?;
        let lock = lock(&config.folder).map_err(|error| match error {
            TryLockError::WouldBlock => Error::FolderInUse { folder: config.folder.display().to_string() },
            TryLockError::Error(error) => unreadable(error),
        })?;
        let (mark, required) = Mark::open(&config.folder.join("mark"), config.durability).map_err(unreadable)?;
        // RocksDB syncs what is in its folder, but not that the folder is there.
        let database = config.folder.join("rocksdb");
        files::make_folder(&SystemFiles, &database).map_err(unreadable)?;
        let store = Store::open(&database, config.durability, config.cache_bytes)?;
        let present = store.sequence();
        if let Some(required) = required.filter(|&required| required > present) {
            let what = format!("the write-ahead log of `{}`", config.folder.display());
            let reason = format!("it ends at change {present}, but changes up to {required} were acknowledged");
            return Err(corrupt(what, reason));
        }
        let (topics, next_topic) = Topics::load(&store)?;
        let what = "the next epoch";
        let next_epoch = match store.get_raw(Family::Meta, NEXT_EPOCH, &what)? {
            Some(value) => format::decode_number(&value).map_err(|error| corrupt(what, error))?,
            None => 1,
        };
        let writing = Writing {
            tail: Tail::new(config.tail_bytes),
            producers: Producers::default(),
            tasks: Tasks::default(),
            next_topic,
            next_epoch,
            sealer: Sealer::default(),
            mark,
        };
        Ok(Self { store, topics, writing: Mutex::new(writing), failed: OnceLock::new(), _lock: lock })
    }

    /// Waits for the turn to write; an error if there are no more writes.
    pub(super) fn writing(&self) -> Result<MutexGuard<'_, Writing>> {
        let interrupted = || Error::Storage { reason: "a write was interrupted by a panic".to_owned() };
        let writing = self.writing.lock().map_err(|_| self.fail(interrupted()))?;
        match self.failed.get() {
            Some(error) => Err(error.clone()),
            None => Ok(writing),
        }
    }

    /// Ends all writing for this reason, or the one before it, which is answered.
    pub(super) fn fail(&self, error: Error) -> Error {
        self.failed.get_or_init(|| error).clone()
    }

    /// Writes a batch durably. After an error nobody knows what the files hold, so there are no more writes: a sync that
    /// failed once may succeed the next time without having written anything.
    pub(super) fn write(&self, writing: &Writing, batch: WriteBatch) -> Result<()> {
        self.store.write(batch).map_err(|error| self.fail(error))?;
        if let Err(error) = writing.mark.set(self.store.sequence()) {
            // What was written is safe, but what comes could no longer be vouched for.
            self.fail(Error::Storage { reason: format!("the log's mark cannot be written: {error}") });
        }
        Ok(())
    }

    /// Writes a batch that may be lost in a crash; the same holds after an error.
    pub(super) fn write_lazily(&self, batch: WriteBatch) -> Result<()> {
        self.store.write_lazily(batch).map_err(|error| self.fail(error))
    }
}

/// Takes the folder for this process; the system gives it back when the process ends, however it does.
fn lock(folder: &Path) -> std::result::Result<File, TryLockError> {
    let options = File::options().write(true).create(true).truncate(false).open(folder.join("lock"));
    let file = options.map_err(TryLockError::Error)?;
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < patience => std::thread::sleep(LOCK_POLL),
            other => return other.map(|()| file),
        }
    }
}
