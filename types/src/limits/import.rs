//! Bounds of `holdfast import`.

use std::time::Duration;

/// Rows that are sent and arrive together: what an import that was broken off may have to load again is a few of these.
pub const IMPORT_CHUNK_ROWS: usize = 8_192;
/// Bytes of those rows.
pub const IMPORT_CHUNK_BYTES: usize = 2 << 20;
/// Chunks under way: enough that stores always have work while the next one is read.
pub const IMPORT_CHUNKS_IN_FLIGHT: usize = 4;
/// Rows of one write: a store checks and latches each of its keys.
pub const IMPORT_BATCH_ROWS: usize = 1_024;
/// Bytes of one write, as many as a leader puts into one entry of the log. A row that is larger goes alone.
pub const IMPORT_BATCH_BYTES: usize = super::ENTRY_TARGET_BYTES;
/// Bytes of rows that are read and not yet sent.
pub const IMPORT_QUEUE_BYTES: usize = 8 << 20;
/// Counted for each of those rows beyond its bytes, so that many small ones are bounded too.
pub const IMPORT_ROW_OVERHEAD_BYTES: usize = 128;
/// How long an import waits for more rows to send together, once there are some.
pub const IMPORT_LINGER: Duration = Duration::from_millis(5);
/// A rate is kept within parts of a second, so that an import that is to be slow is so evenly.
pub const IMPORT_RATE_PARTS: u64 = 10;
/// Places where ranges are known to meet; beyond it they are found out again and again.
pub const IMPORT_KNOWN_BOUNDS: usize = 65_536;
/// How often the progress of an import is kept: each time costs the sync of a small file.
pub const IMPORT_KEPT_EVERY: Duration = Duration::from_secs(1);
/// A file in which an import keeps how far it got is at most this large: names of columns, options and a few numbers.
pub const IMPORT_PROGRESS_BYTES: usize = 1 << 20;
/// Other imports of the same file that are named when one begins.
pub const IMPORT_OTHERS_SHOWN: usize = 3;
/// Rejected rows that are shown one by one; more are only counted.
pub const IMPORT_REJECTED_SHOWN: u64 = 20;
/// Keys whose fingerprints are sorted in memory while keys that are there twice are looked for; beyond it they go to a temporary file.
pub const IMPORT_SORTED_KEYS: usize = 1 << 20;
/// Bytes of that file which are held at a time while its parts are merged.
pub const IMPORT_MERGE_BYTES: usize = 32 << 20;
/// Of one part of it at least so many, whatever their number.
pub const IMPORT_MERGE_PART_BYTES: usize = 4 << 10;
/// Records that are read a second time are compared with what the first pass read a block at a time, before any of them is sent: so many of them.
pub const IMPORT_BLOCK_RECORDS: u64 = 1_024;
/// Bytes of such a block, the last of its records not counted.
pub const IMPORT_BLOCK_BYTES: usize = 1 << 20;
/// Digests of those blocks that are held in memory; beyond it they go to a temporary file.
pub const IMPORT_MARKS_BYTES: usize = 1 << 20;
