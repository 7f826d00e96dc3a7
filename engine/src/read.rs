//! Gets and scans over a cursor of versions: the same for both twins.

use bytes::Bytes;
use holdfast_types::{Key, KeyRange, Row, ScanMode, Timestamp, VersionedValue, limits};

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
    /// What there is to know of that version without its value; `None`: it is a tombstone.
    fn outline(&self) -> Result<Option<Outline>, Fault>;
}

/// A stored value, without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outline {
    /// From this point of fleet time on it is gone; `None`: never.
    pub(crate) expires_at: Option<Timestamp>,
    /// How long it is.
    pub(crate) bytes: usize,
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
    seek_newest(cursor, key, at)?.map(|timestamp| Ok((timestamp, cursor.version()?))).transpose()
}

/// To the newest version of `key` at or before `at`, of which it returns the timestamp; `None`: there is none.
fn seek_newest(cursor: &mut dyn VersionCursor, key: &Key, at: Timestamp) -> Result<Option<Timestamp>, Fault> {
    cursor.seek(key, at)?;
    Ok(cursor.position()?.filter(|(found, _)| found == key).map(|(_, timestamp)| timestamp))
}

/// One page of rows.
pub(crate) fn scan(cursor: &mut dyn VersionCursor, options: &ScanOptions) -> Result<ScanPage, Fault> {
    if options.bounds.is_empty() {
        return Ok(ScanPage::default());
    }
    let mut page = ScanPage::default();
    page.resume = if options.reverse {
        scan_reverse(cursor, options, &mut page)
    } else {
        scan_forward(cursor, options, &mut page)
    }?;
    Ok(page)
}

/// A row as a scan brings it, and the bytes of its value.
struct Taken {
    value: VersionedValue,
    bytes: usize,
}

/// The row whose newest version the cursor stands on; `None`: a reader does not see it. Values that are not brought are not copied.
fn take(cursor: &dyn VersionCursor, timestamp: Timestamp, options: &ScanOptions) -> Result<Option<Taken>, Fault> {
    if options.mode == ScanMode::Rows {
        let value = visible(timestamp, cursor.version()?, options.now);
        return Ok(value.map(|value| Taken { bytes: value.value.len(), value }));
    }
    let living = cursor.outline()?.filter(|outline| outline.expires_at.is_none_or(|end| end > options.now));
    Ok(living.map(|Outline { expires_at, bytes }| Taken {
        value: VersionedValue { value: Bytes::new(), timestamp, expires_at },
        bytes,
    }))
}

/// What a page may still take.
struct Budget {
    rows: u32,
    /// Of what is brought.
    bytes: usize,
    /// Of what is walked over.
    read: usize,
    skipped: u32,
    mode: ScanMode,
}

impl Budget {
    fn new(options: &ScanOptions) -> Self {
        let bytes = options.max_bytes as usize;
        Self {
            rows: options.max_rows.max(1),
            bytes,
            read: limits::SCAN_MAX_READ_BYTES.max(bytes),
            skipped: limits::SCAN_MAX_SKIPPED,
            mode: options.mode,
        }
    }

    /// Notes what a key gave; true when the page is full.
    fn spend(&mut self, page: &mut ScanPage, key: &Key, taken: Option<Taken>) -> bool {
        let Some(Taken { value, bytes }) = taken else {
            self.skipped = self.skipped.saturating_sub(1);
            return self.skipped == 0;
        };
        self.rows -= 1;
        self.read = self.read.saturating_sub(key.raw().len() + bytes);
        if self.mode == ScanMode::Count {
            page.counted += 1;
            page.counted_until = page.counted_until.into_iter().chain(value.expires_at).min();
            return self.rows == 0 || self.read == 0;
        }
        self.bytes = self.bytes.saturating_sub(key.raw().len() + value.value.len());
        page.rows.push(Row { key: key.clone(), value });
        self.rows == 0 || self.bytes == 0 || self.read == 0
    }
}

/// Fills a page, and returns where to go on.
fn scan_forward(
    cursor: &mut dyn VersionCursor,
    options: &ScanOptions,
    page: &mut ScanPage,
) -> Result<Option<Key>, Fault> {
    let mut budget = Budget::new(options);
    cursor.seek(&options.bounds.start, Timestamp::MAX)?;
    while let Some((key, newest)) = cursor.position()? {
        if !options.bounds.is_before_end(&key) {
            break;
        }
        let seen = if newest <= options.at { Some(newest) } else { seek_newest(cursor, &key, options.at)? };
        let taken = match seen {
            Some(timestamp) => take(cursor, timestamp, options)?,
            None => None,
        };
        if budget.spend(page, &key, taken) {
            return Ok(Some(key.next()).filter(|next| options.bounds.is_before_end(next)));
        }
        leave_key(cursor, &key)?;
    }
    Ok(None)
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

/// Fills a page, and returns where to go on.
fn scan_reverse(
    cursor: &mut dyn VersionCursor,
    options: &ScanOptions,
    page: &mut ScanPage,
) -> Result<Option<Key>, Fault> {
    let mut budget = Budget::new(options);
    cursor.seek_before(options.bounds.end.as_ref())?;
    while let Some((key, _)) = cursor.position()? {
        if key < options.bounds.start {
            break;
        }
        let taken = match seek_newest(cursor, &key, options.at)? {
            Some(timestamp) => take(cursor, timestamp, options)?,
            None => None,
        };
        if budget.spend(page, &key, taken) {
            return Ok(Some(key).filter(|key| *key > options.bounds.start));
        }
        cursor.seek_before(Some(&key))?;
    }
    Ok(None)
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
