//! Opening the directory of a store: lock, format, and the options of both instances.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use rocksdb::{BlockBasedOptions, Cache, ChecksumType, DBCompressionType, DBRecoveryMode, Options, SliceTransform};

use super::data::RocksData;
use super::files::{io_fault, make_folder, read_whole, write_whole};
use super::gc::GcFactory;
use super::log::RocksLog;
use super::{fault, reserve, wal_check};
use crate::contract::{EngineOptions, Engines, Fault};
use crate::{format, layout};

/// Memory for log writes before they become a file: also bounds the write-ahead log that an opening reads.
const LOG_MEMTABLE_BYTES: usize = 32 << 20;
/// Bits of bloom filter a key: 1 % false positives.
const BLOOM_BITS: f64 = 10.0;
/// Part of a memtable used for its own bloom filter.
const MEMTABLE_BLOOM: f64 = 0.05;
/// Of the open files, the part of the log instance: its files are few, what is old goes.
const LOG_FILES_PART: usize = 4;
/// RocksDB's own text log: a few small files.
const INFO_LOG_BYTES: usize = 4 << 20;
const INFO_LOG_FILES: usize = 4;

/// Both instances with their own types.
pub struct RocksStore {
    /// The log instance.
    pub log: Arc<RocksLog>,
    /// The data instance.
    pub data: Arc<RocksData>,
}

/// Opens the store in `dir`, creating it when there is nothing.
///
/// [`Fault::Identity`] when another process has it open, [`Fault::UnknownVersion`] when another program wrote it,
/// [`Fault::Damage`] when its log is not what was written.
pub fn open(dir: &Path, options: &EngineOptions) -> Result<Engines, Fault> {
    let store = open_store(dir, options)?;
    Ok(Engines { log: store.log, data: store.data })
}

/// As [`open`], for callers that need what only RocksDB offers.
pub fn open_store(dir: &Path, options: &EngineOptions) -> Result<RocksStore, Fault> {
    make_folder(dir)?;
    let lock = Arc::new(lock(dir)?);
    holdfast_files::sweep(dir).map_err(|error| io_fault("removing unfinished files", dir, &error))?;
    let store = match open_instances(dir, options, &lock) {
        Err(Fault::Full(_)) if reserve::give_up(dir)? => open_instances(dir, options, &lock),
        opened => opened,
    }?;
    // Without a reserve it runs all the same.
    let _ = reserve::keep(dir);
    Ok(store)
}

fn open_instances(dir: &Path, options: &EngineOptions, lock: &Arc<File>) -> Result<RocksStore, Fault> {
    check_format(dir)?;
    let cache = Cache::new_lru_cache(options.block_cache_bytes);
    let log_dir = dir.join("log");
    make_folder(&log_dir)?;
    let tail = wal_check::check(&log_dir)?;
    let log = RocksLog::open(&log_dir, &log_options(options, &cache)?, tail, Arc::clone(lock))?;
    let data = RocksData::open(dir, options, &cache, Arc::clone(lock))?;
    Ok(RocksStore { log: Arc::new(log), data: Arc::new(data) })
}

fn lock(dir: &Path) -> Result<File, Fault> {
    let path = dir.join("LOCK");
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let file = options.map_err(|error| io_fault("locking the directory", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let dir = dir.display();
            Err(Fault::Identity(format!("{dir} is open in another process: one store has one process")))
        }
        Err(TryLockError::Error(error)) => Err(io_fault("locking the directory", &path, &error)),
    }
}

fn check_format(dir: &Path) -> Result<(), Fault> {
    let path = dir.join("FORMAT");
    let Some(raw) = read_whole(&path)? else {
        if dir.join("log").exists() || dir.join("data").exists() {
            return Err(format::damaged("it is missing, and the directory is not empty"));
        }
        return write_whole(&path, format::encode().as_bytes());
    };
    format::check(&raw)
}

/// What both instances share. A background error is final: nothing is tried again behind our back.
fn base_options(extra: &str) -> Result<Options, Fault> {
    let strict = format!("max_bgerror_resume_count=0;force_consistency_checks=true;{extra}");
    // The string first: it gives new options that know nothing of what was set on the old ones.
    let options = Options::default().get_options_from_string(strict);
    let mut options = options.map_err(|error| fault("setting options", &error))?;
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    // Few threads write, and mostly in key order: inserting one after the other remembers where the last key went.
    options.set_allow_concurrent_memtable_write(false);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_keep_log_file_num(INFO_LOG_FILES);
    options.set_stats_dump_period_sec(0);
    Ok(options)
}

/// RocksDB takes less than 20 for 20.
fn open_files(files: usize) -> i32 {
    i32::try_from(files).unwrap_or(i32::MAX)
}

fn table_options(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_checksum_type(ChecksumType::XXH3);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table
}

fn log_options(engine: &EngineOptions, cache: &Cache) -> Result<Options, Fault> {
    let mut options = base_options("")?;
    options.set_max_open_files(open_files(engine.open_files / LOG_FILES_PART));
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_recycle_log_file_num(0);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_write_buffer_size(LOG_MEMTABLE_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_block_based_table_factory(&table_options(cache));
    Ok(options)
}

/// Options of the data instance, and of the files that are ingested into it.
pub(super) fn data_options(engine: &EngineOptions, cache: &Cache, gc: Option<GcFactory>) -> Result<Options, Fault> {
    // Closing flushes nothing: what was not flushed comes back from the raft log, whether we crash or not.
    let mut options = base_options("avoid_flush_during_shutdown=true")?;
    options.set_max_open_files(open_files(engine.open_files - engine.open_files / LOG_FILES_PART));
    options.set_write_buffer_size(engine.memtable_bytes);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_prefix_extractor(SliceTransform::create(
        "holdfast.key.1",
        layout::bloom_prefix,
        Some(layout::has_bloom),
    ));
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM);
    let mut table = table_options(cache);
    table.set_bloom_filter(BLOOM_BITS, false);
    table.set_whole_key_filtering(false);
    options.set_block_based_table_factory(&table);
    if let Some(gc) = gc {
        options.set_compaction_filter_factory(gc);
    }
    Ok(options)
}

/// Removes snapshots that were being sent when the process ended: their receivers ask for new ones.
pub(super) fn sweep_built(snapshots: &Path) -> Result<(), Fault> {
    let doing = "removing old snapshots";
    let entries = fs::read_dir(snapshots).map_err(|error| io_fault(doing, snapshots, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| io_fault(doing, snapshots, &error))?;
        if entry.file_name().to_string_lossy().starts_with("built-") {
            fs::remove_dir_all(entry.path()).map_err(|error| io_fault(doing, &entry.path(), &error))?;
        }
    }
    Ok(())
}
