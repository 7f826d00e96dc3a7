//! Consistent views of the data instance, and the cursor that reads them.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_types::{ClientId, Key, KeyRange, RangeId, Slot, Timestamp, VersionedValue};
use rocksdb::{DB, DBRawIterator, ReadOptions, Snapshot};
use self_cell::self_cell;

use super::fault;
use super::gc::ViewGuard;
use crate::contract::{DataSnapshot, Fault, ScanOptions, ScanPage, Version};
use crate::layout::{self, DataKey, Span};
use crate::read::{self, Outline, VersionCursor};

type BorrowedSnapshot<'a> = Snapshot<'a>;

self_cell!(
    /// A snapshot together with the database that it borrows.
    struct OwnedSnapshot {
        owner: Arc<DB>,
        #[covariant]
        dependent: BorrowedSnapshot,
    }
);

/// A consistent view of the data instance.
pub(super) struct RocksView {
    snapshot: OwnedSnapshot,
    _guard: ViewGuard,
}

impl RocksView {
    pub(super) fn new(db: Arc<DB>, guard: ViewGuard) -> Self {
        Self { snapshot: OwnedSnapshot::new(db, |db| db.snapshot()), _guard: guard }
    }

    fn read(&self, key: Vec<u8>) -> Result<Option<Bytes>, Fault> {
        let found = self.snapshot.borrow_dependent().get(key);
        found.map(|value| value.map(Bytes::from)).map_err(|error| fault("reading data", &error))
    }

    /// A cursor over all keys of a span.
    pub(super) fn cursor(&self, span: Span) -> RocksCursor<'_> {
        RocksCursor { iterator: self.snapshot.borrow_dependent().raw_iterator_opt(scan_options(span)) }
    }

    /// A cursor over the versions of one key, which may use the bloom filters.
    fn point_cursor(&self) -> RocksCursor<'_> {
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        RocksCursor { iterator: self.snapshot.borrow_dependent().raw_iterator_opt(options) }
    }

    fn bounds_cursor(&self, bounds: &KeyRange) -> RocksCursor<'_> {
        self.cursor(layout::version_span(bounds))
    }
}

/// Reads all keys of a span, whatever their prefixes.
pub(super) fn scan_options((start, end): Span) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_total_order_seek(true);
    options.set_iterate_lower_bound(start);
    options.set_iterate_upper_bound(end);
    options
}

/// A raw iterator whose every step checks for errors: the end of data and a damaged block look the same to it.
pub(super) struct RocksCursor<'a> {
    iterator: DBRawIterator<'a>,
}

impl<'a> RocksCursor<'a> {
    pub(super) fn over(iterator: DBRawIterator<'a>) -> Self {
        Self { iterator }
    }

    fn check(&self) -> Result<(), Fault> {
        if self.iterator.valid() {
            return Ok(());
        }
        self.iterator.status().map_err(|error| fault("reading data", &error))
    }

    pub(super) fn seek_raw(&mut self, key: &[u8]) -> Result<(), Fault> {
        self.iterator.seek(key);
        self.check()
    }

    pub(super) fn next_raw(&mut self) -> Result<(), Fault> {
        self.iterator.next();
        self.check()
    }

    pub(super) fn raw(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.item()
    }

    /// Decodes the key where it stands.
    pub(super) fn key(&self) -> Result<Option<DataKey>, Fault> {
        let Some(raw) = self.iterator.key() else { return Ok(None) };
        layout::decode_key(raw).map(Some).ok_or_else(|| unreadable("key", raw))
    }
}

fn unreadable(what: &str, key: &[u8]) -> Fault {
    let detail = format!("the {what} at {} cannot be read", key.escape_ascii());
    Fault::Damage { doing: "reading data".to_owned(), detail }
}

impl VersionCursor for RocksCursor<'_> {
    fn seek(&mut self, key: &Key, at: Timestamp) -> Result<(), Fault> {
        self.seek_raw(&layout::version_key(key, at))
    }

    fn seek_before(&mut self, key: Option<&Key>) -> Result<(), Fault> {
        // The bound itself is never stored: it lacks the timestamp.
        self.iterator.seek_for_prev(layout::bound_key(key));
        self.check()
    }

    fn next(&mut self) -> Result<(), Fault> {
        if !self.iterator.valid() {
            return Ok(());
        }
        self.next_raw()
    }

    fn position(&self) -> Result<Option<(Key, Timestamp)>, Fault> {
        match self.key()? {
            Some(DataKey::Version(key, timestamp)) => Ok(Some((key, timestamp))),
            Some(_) | None => Ok(None),
        }
    }

    fn version(&self) -> Result<Version, Fault> {
        let Some((key, value)) = self.iterator.item() else { return Err(unreadable("version", b"")) };
        layout::decode_value(value).ok_or_else(|| unreadable("value", key))
    }

    fn outline(&self) -> Result<Option<Outline>, Fault> {
        let Some((key, value)) = self.iterator.item() else { return Err(unreadable("version", b"")) };
        layout::decode_outline(value).ok_or_else(|| unreadable("value", key))
    }
}

impl DataSnapshot for RocksView {
    fn get(&self, key: &Key, at: Timestamp, now: Timestamp) -> Result<Option<VersionedValue>, Fault> {
        let newest = self.newest_version(key, at)?;
        Ok(newest.and_then(|(timestamp, version)| read::visible(timestamp, version, now)))
    }

    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, Fault> {
        read::newest_version(&mut self.point_cursor(), key, at)
    }

    fn scan(&self, options: &ScanOptions) -> Result<ScanPage, Fault> {
        if options.bounds.is_empty() {
            return Ok(ScanPage::default());
        }
        read::scan(&mut self.bounds_cursor(&options.bounds), options)
    }

    fn versions_after(
        &self,
        bounds: &KeyRange,
        after: Option<(&Key, Timestamp)>,
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<(Key, Timestamp, Version)>, Fault> {
        if bounds.is_empty() {
            return Ok(Vec::new());
        }
        read::versions(&mut self.bounds_cursor(bounds), bounds, after, max, max_bytes)
    }

    fn range_state(&self, range: RangeId) -> Result<Option<Bytes>, Fault> {
        self.read(layout::state_key(range))
    }

    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, Fault> {
        self.read(layout::completion_key(range, client, slot))
    }

    fn completions(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
        max: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, Fault> {
        let (mut start, end) = layout::completion_span(range);
        if let Some((client, slot)) = after {
            start = layout::completion_key(range, client, slot);
            start.push(0);
        }
        let mut cursor = self.cursor((start.clone(), end));
        let mut found = Vec::new();
        cursor.seek_raw(&start)?;
        while found.len() < max {
            let Some(key) = cursor.key()? else { break };
            let (DataKey::Completion(_, client, slot), Some((_, record))) = (key, cursor.raw()) else {
                return Err(unreadable("completion record", &start));
            };
            found.push((client, slot, Bytes::copy_from_slice(record)));
            cursor.next_raw()?;
        }
        Ok(found)
    }
}
