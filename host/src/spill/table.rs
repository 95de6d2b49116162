//! One disk: a RocksDB without a log of its own writes.

use std::ops::ControlFlow;
use std::path::PathBuf;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ChecksumType, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, DataBlockIndexType, LogLevel, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::remove;
use crate::record::ColumnRef;
use crate::state::{Each, Spill, SpillError, Stretch};

const MIB: usize = 1 << 20;

/// The one column family: reading many keys at once wants a name for it.
const FAMILY: &str = "state";

/// What is written is collected here, sorted, and written out at once.
const BUFFER_BYTES: usize = 32 * MIB;
/// One is written, one is flushed.
const BUFFERS: i32 = 2;
/// Indexes, filters and what was read last. The system's own cache keeps more.
const CACHE_BYTES: usize = 32 * MIB;
/// A lookup reads one block and checks its sum, which costs more than the search: so blocks are small, and their index,
/// which is larger for it, is cut into blocks too.
const BLOCK_BYTES: usize = 1 << 10;
/// One key in a hundred that is not there costs a read.
const FILTER_BITS: f64 = 10.0;
/// The part of a buffer that its filter takes.
const BUFFER_FILTER: f64 = 0.05;
/// Open files: each costs memory for its index.
const FILES_MAX: i32 = 256;

/// A disk.
pub(super) struct Table {
    /// Closed before its folder is removed.
    db: Option<DB>,
    path: PathBuf,
    writing: WriteOptions,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("path", &self.path).finish_non_exhaustive()
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_open_files(FILES_MAX);
    // The system's cache is the cache: nothing is copied out of it but what is asked for.
    options.set_allow_mmap_reads(true);
    // One flushes, one compacts; the cores are for plugins.
    options.set_max_background_jobs(2);
    // There is one writer.
    options.set_allow_concurrent_memtable_write(false);
    // No timers: an idle step costs no CPU.
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Error);
    options.set_keep_log_file_num(1);
    options
}

fn family_options() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    table.set_block_size(BLOCK_BYTES);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_bloom_filter(FILTER_BITS, false);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_checksum_type(ChecksumType::XXH3);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(BUFFER_BYTES);
    options.set_max_write_buffer_number(BUFFERS);
    // Most keys that are asked for are further down.
    options.set_memtable_whole_key_filtering(true);
    options.set_memtable_prefix_bloom_ratio(BUFFER_FILTER);
    options
}

impl Table {
    pub(super) fn open(path: PathBuf) -> Result<Self, SpillError> {
        let family = ColumnFamilyDescriptor::new(FAMILY, family_options());
        let db = DB::open_cf_descriptors(&database_options(), &path, [family]);
        let db = db.map_err(|error| failed("opening it", error))?;
        let mut writing = WriteOptions::default();
        writing.disable_wal(true);
        Ok(Self { db: Some(db), path, writing })
    }

    fn db(&self) -> &DB {
        self.db.as_ref().expect("it is open until it is dropped")
    }

    fn family(&self) -> &ColumnFamily {
        self.db().cf_handle(FAMILY).expect("it is opened with the database")
    }
}

impl Spill for Table {
    fn get(&self, keys: ColumnRef<'_>, found: &mut dyn FnMut(usize, &[u8])) -> Result<(), SpillError> {
        let wanted: Vec<&[u8]> = keys.iter().map(Option::unwrap_or_default).collect();
        for (place, value) in self.db().batched_multi_get_cf(self.family(), &wanted, true).into_iter().enumerate() {
            if let Some(value) = value.map_err(|error| failed("reading it", error))? {
                found(place, &value);
            }
        }
        Ok(())
    }

    fn write(&self, keys: ColumnRef<'_>, values: ColumnRef<'_>) -> Result<(), SpillError> {
        let mut changes: Vec<_> = keys.iter().map(Option::unwrap_or_default).zip(values.iter()).collect();
        // Neighbours are inserted faster one after the other. Equal keys keep their order: the last one counts.
        changes.sort_by_key(|(key, _)| *key);
        let (mut batch, family) = (WriteBatch::default(), self.family());
        for (key, value) in changes {
            match value {
                Some(value) => batch.put_cf(family, key, value),
                None => batch.delete_cf(family, key),
            }
        }
        self.db().write_opt(batch, &self.writing).map_err(|error| failed("writing to it", error))
    }

    fn scan(&self, range: Stretch<'_>, each: Each<'_>) -> Result<(), SpillError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(range.from);
        options.set_iterate_upper_bound(range.to);
        let mut iterator = self.db().raw_iterator_cf_opt(self.family(), options);
        if range.backwards {
            iterator.seek_to_last()
        } else {
            iterator.seek_to_first()
        }
        while let Some((key, value)) = iterator.item() {
            if each(key, value) == ControlFlow::Break(()) {
                return Ok(());
            }
            if range.backwards { iterator.prev() } else { iterator.next() }
        }
        iterator.status().map_err(|error| failed("reading it", error))
    }

    fn bytes(&self) -> u64 {
        let figure = |name| self.db().property_int_value_cf(self.family(), name).ok().flatten().unwrap_or_default();
        figure("rocksdb.total-sst-files-size") + figure("rocksdb.cur-size-all-mem-tables")
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Some(db) = self.db.take() {
            db.cancel_all_background_work(true);
        }
        if let Err(error) = remove(&self.path) {
            // The next start removes it.
            tracing::warn!(folder = %self.path.display(), %error, "state that is not needed could not be removed");
        }
    }
}

/// An error of RocksDB. That the system has no room is only in the text, in the words of `strerror`.
fn failed(doing: &'static str, error: rocksdb::Error) -> SpillError {
    let reason = error.into_string();
    let full = ["No space left on device", "Disk quota exceeded", "File too large"];
    SpillError { doing, full: full.iter().any(|text| reason.contains(text)), reason }
}
