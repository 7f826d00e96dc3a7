//! Gets and scans over a cursor of versions: the same for both twins.

use holdfast_types::{Key, KeyRange, Row, Timestamp, VersionedValue, limits};

use crate::contract::{Fault, ScanOptions, ScanPage, Version};

/// Versions of one key that a forward scan walks over before it seeks instead.
const STEPS_BEFORE_SEEK: u32 = 4;

/// Walks over versions in the order of the disk: by key, newest first.
pub(crate) trait VersionCursor {
    /// To the first version at or after (`key`, `at`): the newest of `key` at or before `at`, else what follows.
    fn seek(&mut self, key: &Key, at: Timestamp) -> Result<(), Fault>;
    /// To the last version of the greatest key before `key`; `None`: the very last one.
    fn seek_before(&mut self, key: Option<&Key>) -> Result<(), Fault>;
    /// To the next version.
    fn next(&mut self) -> Result<(), Fault>;
    /// Where it stands; `None` behind either end.
    fn position(&self) -> Result<Option<(Key, Timestamp)>, Fault>;
    /// The version where it stands. Only after `position` gave `Some`.
    fn version(&self) -> Result<Version, Fault>;
}

/// The value as a reader at `now` sees it.
pub(crate) fn visible(timestamp: Timestamp, version: Version, now: Timestamp) -> Option<VersionedValue> {
    match version {
        Version::Value { expires_at: Some(end), .. } if end <= now => None,
        Version::Value { value, expires_at } => Some(VersionedValue { value, timestamp, expires_at }),
        Version::Tombstone => None,
    }
}

/// The newest version of `key` at or before `at`.
pub(crate) fn newest_version(
    cursor: &mut dyn VersionCursor,
    key: &Key,
    at: Timestamp,
) -> Result<Option<(Timestamp, Version)>, Fault> {
    cursor.seek(key, at)?;
    match cursor.position()? {
        Some((found, timestamp)) if found == *key => Ok(Some((timestamp, cursor.version()?))),
        _ => Ok(None),
    }
}

/// One page of rows.
pub(crate) fn scan(cursor: &mut dyn VersionCursor, options: &ScanOptions) -> Result<ScanPage, Fault> {
    if options.bounds.is_empty() {
        return Ok(ScanPage { rows: Vec::new(), resume: None });
    }
    if options.reverse { scan_reverse(cursor, options) } else { scan_forward(cursor, options) }
}

/// What a page may still take.
struct Budget {
    rows: u32,
    bytes: usize,
    skipped: u32,
}

impl Budget {
    fn new(options: &ScanOptions) -> Self {
        Self { rows: options.max_rows.max(1), bytes: options.max_bytes as usize, skipped: limits::SCAN_MAX_SKIPPED }
    }

    /// Notes what a key gave; true when the page is full.
    fn spend(&mut self, rows: &mut Vec<Row>, key: &Key, value: Option<VersionedValue>) -> bool {
        let Some(value) = value else {
            self.skipped = self.skipped.saturating_sub(1);
            return self.skipped == 0;
        };
        self.rows -= 1;
        self.bytes = self.bytes.saturating_sub(key.raw().len() + value.value.len());
        rows.push(Row { key: key.clone(), value });
        self.rows == 0 || self.bytes == 0
    }
}

fn scan_forward(cursor: &mut dyn VersionCursor, options: &ScanOptions) -> Result<ScanPage, Fault> {
    let (mut rows, mut budget) = (Vec::new(), Budget::new(options));
    cursor.seek(&options.bounds.start, Timestamp::MAX)?;
    while let Some((key, newest)) = cursor.position()? {
        if !options.bounds.is_before_end(&key) {
            break;
        }
        let value = if newest <= options.at {
            visible(newest, cursor.version()?, options.now)
        } else {
            newest_version(cursor, &key, options.at)?.and_then(|(at, version)| visible(at, version, options.now))
        };
        if budget.spend(&mut rows, &key, value) {
            let resume = Some(key.next()).filter(|next| options.bounds.is_before_end(next));
            return Ok(ScanPage { rows, resume });
        }
        leave_key(cursor, &key)?;
    }
    Ok(ScanPage { rows, resume: None })
}

/// Moves a cursor that stands on `key`, or already behind it, to the first version behind it.
fn leave_key(cursor: &mut dyn VersionCursor, key: &Key) -> Result<(), Fault> {
    for _ in 0..STEPS_BEFORE_SEEK {
        if cursor.position()?.is_none_or(|(found, _)| found != *key) {
            return Ok(());
        }
        cursor.next()?;
    }
    cursor.seek(&key.next(), Timestamp::MAX)
}

fn scan_reverse(cursor: &mut dyn VersionCursor, options: &ScanOptions) -> Result<ScanPage, Fault> {
    let (mut rows, mut budget) = (Vec::new(), Budget::new(options));
    cursor.seek_before(options.bounds.end.as_ref())?;
    while let Some((key, _)) = cursor.position()? {
        if key < options.bounds.start {
            break;
        }
        let newest = newest_version(cursor, &key, options.at)?;
        let value = newest.and_then(|(at, version)| visible(at, version, options.now));
        if budget.spend(&mut rows, &key, value) {
            let resume = Some(key).filter(|key| *key > options.bounds.start);
            return Ok(ScanPage { rows, resume });
        }
        cursor.seek_before(Some(&key))?;
    }
    Ok(ScanPage { rows, resume: None })
}

/// All versions within bounds behind `after`, at most `max` and (behind the first one) at most `max_bytes` of values.
pub(crate) fn versions(
    cursor: &mut dyn VersionCursor,
    bounds: &KeyRange,
    after: Option<(&Key, Timestamp)>,
    max: usize,
    max_bytes: usize,
) -> Result<Vec<(Key, Timestamp, Version)>, Fault> {
    let (mut found, mut bytes) = (Vec::new(), 0_usize);
    match after {
        None => cursor.seek(&bounds.start, Timestamp::MAX)?,
        Some((key, Timestamp(0))) => cursor.seek(&key.next(), Timestamp::MAX)?,
        Some((key, timestamp)) => cursor.seek(key, Timestamp(timestamp.0 - 1))?,
    }
    while found.len() < max && bytes < max_bytes.max(1) {
        let Some((key, timestamp)) = cursor.position()? else { break };
        if !bounds.is_before_end(&key) {
            break;
        }
        let version = cursor.version()?;
        bytes += key.raw().len();
        if let Version::Value { value, .. } = &version {
            bytes += value.len();
        }
        found.push((key, timestamp, version));
        cursor.next()?;
    }
    Ok(found)
}

/// How much one version weighs in sizes and in the search for the middle.
pub(crate) fn weight(key: &Key, version: &Version) -> u64 {
    let value = match version {
        Version::Value { value, .. } => value.len(),
        Version::Tombstone => 0,
    };
    (key.raw().len() + value + 8) as u64
}
