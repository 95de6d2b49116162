//! RocksDB as the log uses it: column families, options with their reasons, and errors in the log's words.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRawIterator,
    DBRecoveryMode, ErrorKind, LogLevel, Options, ReadOptions, Snapshot, WriteBatch, WriteOptions,
};

use super::format::Malformed;
use super::keys::{Family, Key, Range};
use crate::log::{Durability, Error, Result};

const META: &str = "meta";
const BATCHES: &str = "batches";
const BLOCKS: &str = "blocks";

const MIB: usize = 1 << 20;

/// A record batch is copied from its memtable to a blob file once and never again; 32 MiB make files worth their number.
const BATCHES_BUFFER_BYTES: usize = 32 * MIB;
const BLOCKS_BUFFER_BYTES: usize = 16 * MIB;
const META_BUFFER_BYTES: usize = 4 * MIB;
/// One is written, one is flushed, one is in reserve for a slow disk.
const BUFFERS_MAX: i32 = 3;
/// All memtables together, however the load is spread.
const BUFFERS_BYTES_MAX: usize = 128 * MIB;
/// What a start after a crash reads at most: well below a second.
const WAL_BYTES_MAX: u64 = 128 << 20;
/// From here on a value lies in a blob file, which compaction does not copy.
const BLOB_BYTES_MIN: u64 = 1 << 10;
/// What retention gives back to the disk at once. A file goes when nothing in it lives, so as much as this may stay beside
/// one batch that does.
const BLOB_FILE_BYTES: u64 = 64 << 20;
/// Open files: some hundred are enough for the recent ones, and each costs memory for its index.
const FILES_MAX: i32 = 512;
/// RocksDB's own log, which only matters when it warns.
const INFO_LOG_BYTES: usize = MIB;

/// The database and its ways of writing.
pub(super) struct Store {
    db: DB,
    durable: WriteOptions,
    lazy: WriteOptions,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn write at the end is what a crash leaves; that nothing else is missing is seen by the mark.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_db_write_buffer_size(BUFFERS_BYTES_MAX);
    options.set_max_open_files(FILES_MAX);
    // One flushes, one compacts; the cores are for plugins.
    options.set_max_background_jobs(2);
    // No timers: an idle log costs no CPU.
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_keep_log_file_num(2);
    options
}

fn family_options(cache: &Cache, buffer_bytes: usize) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Within the cache's bound instead of beside it.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // Most producers and pipelines that are asked for once are not there.
    table.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(buffer_bytes);
    options.set_max_write_buffer_number(BUFFERS_MAX);
    // Batches come compressed or are not to be; the rest is small.
    options.set_compression_type(DBCompressionType::None);
    options
}

fn with_blobs(mut options: Options) -> Options {
    options.set_enable_blob_files(true);
    options.set_min_blob_size(BLOB_BYTES_MIN);
    options.set_blob_file_size(BLOB_FILE_BYTES);
    options.set_blob_compression_type(DBCompressionType::None);
    options.set_enable_blob_gc(true);
    options
}

impl Store {
    pub(super) fn open(path: &Path, durability: Durability, cache_bytes: usize) -> Result<Self> {
        let cache = Cache::new_lru_cache(cache_bytes);
        let families = [
            ColumnFamilyDescriptor::new(META, family_options(&cache, META_BUFFER_BYTES)),
            ColumnFamilyDescriptor::new(BATCHES, with_blobs(family_options(&cache, BATCHES_BUFFER_BYTES))),
            ColumnFamilyDescriptor::new(BLOCKS, with_blobs(family_options(&cache, BLOCKS_BUFFER_BYTES))),
        ];
        let db = DB::open_cf_descriptors(&database_options(), path, families)
            .map_err(|error| failed("the log's files", error))?;
        let mut durable = WriteOptions::default();
        durable.set_sync(durability == Durability::Fsync);
        Ok(Self { db, durable, lazy: WriteOptions::default() })
    }

    pub(super) fn handle(&self, family: Family) -> &ColumnFamily {
        let name = match family {
            Family::Meta => META,
            Family::Batches => BATCHES,
            Family::Blocks => BLOCKS,
        };
        self.db.cf_handle(name).expect("all families are opened with the database")
    }

    /// Writes a batch as durably as the log promises.
    pub(super) fn write(&self, batch: WriteBatch) -> Result<()> {
        self.db.write_opt(batch, &self.durable).map_err(|error| failed("the log's files", error))
    }

    /// Writes a batch that may be lost, and never before what is written after it.
    pub(super) fn write_lazily(&self, batch: WriteBatch) -> Result<()> {
        self.db.write_opt(batch, &self.lazy).map_err(|error| failed("the log's files", error))
    }

    /// The number of the last change.
    pub(super) fn sequence(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Reads the log's own value or a sealed one.
    pub(super) fn get_raw(&self, family: Family, key: &[u8], what: &dyn std::fmt::Display) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(self.handle(family), key).map_err(|error| failed(what, error))
    }

    /// Reads the value of a key.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.get_raw(key.entry.family(), &key.bytes(), key)
    }

    /// What the database holds now, whatever is written meanwhile.
    pub(super) fn view(&self) -> View<'_> {
        View { store: self, snapshot: self.db.snapshot() }
    }

    /// Gives the space of removed keys back, now.
    pub(super) fn compact(&self, range: &Range) {
        self.db.compact_range_cf(self.handle(range.family), Some(&range.from), Some(&range.to));
    }

    /// Puts a value into a batch.
    pub(super) fn put(&self, batch: &mut WriteBatch, key: &Key, value: &[u8]) {
        batch.put_cf(self.handle(key.entry.family()), key.bytes(), value);
    }

    /// Removes a key in a batch.
    pub(super) fn delete(&self, batch: &mut WriteBatch, key: &Key) {
        batch.delete_cf(self.handle(key.entry.family()), key.bytes());
    }

    /// Removes a range in a batch.
    pub(super) fn delete_range(&self, batch: &mut WriteBatch, range: &Range) {
        batch.delete_range_cf(self.handle(range.family), &range.from, &range.to);
    }

    #[cfg(test)]
    pub(super) fn database(&self) -> &DB {
        &self.db
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // A long compaction must not hold up the end of the server; it goes on at the next start.
        self.db.cancel_all_background_work(true);
    }
}

/// A consistent view of the database.
pub(super) struct View<'a> {
    store: &'a Store,
    snapshot: Snapshot<'a>,
}

impl View<'_> {
    /// What it is a view of.
    pub(super) fn store(&self) -> &Store {
        self.store
    }

    /// Reads the value of a key.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.snapshot.get_cf(self.store.handle(key.entry.family()), key.bytes()).map_err(|error| failed(key, error))
    }

    /// Calls `each` with the keys and values of a range, in order, while it answers true.
    pub(super) fn scan(&self, range: &Range, each: impl FnMut(&Key, &[u8]) -> Result<bool>) -> Result<()> {
        self.walk(range, |iterator| iterator.seek(&range.from), each)
    }

    /// The same from the last key on that is not after `first`, or the first if there is none.
    pub(super) fn scan_from(
        &self,
        range: &Range,
        first: &Key,
        each: impl FnMut(&Key, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let seek = |iterator: &mut DBRawIterator<'_>| {
            iterator.seek_for_prev(first.bytes());
            if !iterator.valid() {
                iterator.seek(&range.from);
            }
        };
        self.walk(range, seek, each)
    }

    fn walk(
        &self,
        range: &Range,
        seek: impl FnOnce(&mut DBRawIterator<'_>),
        mut each: impl FnMut(&Key, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.from.as_slice());
        options.set_iterate_upper_bound(range.to.as_slice());
        let mut iterator = self.snapshot.raw_iterator_cf_opt(self.store.handle(range.family), options);
        seek(&mut iterator);
        while let Some((key, value)) = iterator.item() {
            let key = Key::parse(key).ok_or_else(|| unknown_key(key))?;
            if !each(&key, value)? {
                return Ok(());
            }
            iterator.next();
        }
        iterator.status().map_err(|error| failed(range, error))
    }

    /// Calls `each` with all keys and values of the small family, the log's own keys left out.
    pub(super) fn scan_meta(&self, mut each: impl FnMut(Key, &[u8]) -> Result<()>) -> Result<()> {
        let mut iterator = self.snapshot.raw_iterator_cf(self.store.handle(Family::Meta));
        // No tenant's name begins with a control character.
        iterator.seek([1]);
        while let Some((key, value)) = iterator.item() {
            each(Key::parse(key).ok_or_else(|| unknown_key(key))?, value)?;
            iterator.next();
        }
        iterator.status().map_err(|error| failed("the log's topics", error))
    }
}

fn unknown_key(key: &[u8]) -> Error {
    corrupt(format_args!("key `{}`", key.escape_ascii()), "it is no key of this server's version")
}

/// A value that is not what was written.
pub(super) fn corrupt(what: impl std::fmt::Display, reason: impl std::fmt::Display) -> Error {
    Error::Corrupt { what: what.to_string(), reason: reason.to_string() }
}

/// An error of RocksDB, which it gives as a kind and a text. That the system has no room is only in the text, in the
/// words of `strerror`: no space, a quota, a limit of the file's size.
fn failed(what: impl std::fmt::Display, error: rocksdb::Error) -> Error {
    let kind = error.kind();
    let reason = error.into_string();
    let full = ["No space left on device", "Disk quota exceeded", "File too large"];
    match kind {
        ErrorKind::Corruption => corrupt(what, reason),
        _ if full.iter().any(|text| reason.contains(text)) => Error::StorageFull { reason },
        _ => Error::Storage { reason },
    }
}

impl Malformed {
    /// The error of a value that was read.
    pub(super) fn at(self, key: &Key) -> Error {
        corrupt(key, self)
    }
}
