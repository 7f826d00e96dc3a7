//! The engine's snapshots as the replica crate wants to read them.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_engine::{DataEngine, DataSnapshot, Fault, ScanOptions, ScanPage, Version};
use holdfast_proto::convert::BadMessage;
use holdfast_replica::reader::{Page, ReadFault, Reader, ScanQuery};
use holdfast_types::{ClientId, Key, RangeId, Slot, Timestamp, VersionedValue};

/// A snapshot as a [`Reader`]; a lazy one is taken at the first read, because most apply tasks read nothing.
pub struct SnapshotReader<'a> {
    data: Option<&'a dyn DataEngine>,
    snapshot: OnceCell<Arc<dyn DataSnapshot>>,
}

impl SnapshotReader<'static> {
    /// Reads from this snapshot.
    #[must_use]
    pub fn of(snapshot: Arc<dyn DataSnapshot>) -> Self {
        Self { data: None, snapshot: OnceCell::from(snapshot) }
    }
}

impl<'a> SnapshotReader<'a> {
    /// Reads from a snapshot that is taken when it is first needed.
    #[must_use]
    pub fn lazy(data: &'a dyn DataEngine) -> Self {
        Self { data: Some(data), snapshot: OnceCell::new() }
    }

    fn view(&self) -> &dyn DataSnapshot {
        let take = || self.data.expect("a reader has a snapshot or an engine").snapshot();
        &**self.snapshot.get_or_init(take)
    }
}

fn fault(fault: Fault) -> ReadFault {
    match fault {
        Fault::Exhausted { .. } => ReadFault::Exhausted(fault.to_string()),
        Fault::UnknownVersion { what, found, known } => ReadFault::UnknownVersion { what, found, known },
        _ => ReadFault::Damaged(fault.to_string()),
    }
}

/// What went wrong with a read, as a fault of the store.
pub fn store_fault(doing: String, fault: ReadFault) -> Fault {
    match fault {
        ReadFault::Damaged(detail) => Fault::Damage { doing, detail },
        ReadFault::Exhausted(detail) => Fault::Exhausted { doing, detail },
        ReadFault::UnknownVersion { what, found, known } => Fault::UnknownVersion { what, found, known },
    }
}

/// What the bytes of a stored message are when they cannot be decoded: damage, or of a newer program.
pub fn undecodable(doing: String, bad: BadMessage) -> Fault {
    match bad {
        BadMessage::UnknownVersion { what, found, known } => Fault::UnknownVersion { what, found, known },
        BadMessage::Malformed(detail) => Fault::Damage { doing, detail },
    }
}

impl Reader for SnapshotReader<'_> {
    fn get(&self, key: &Key, at: Timestamp, now: Timestamp) -> Result<Option<VersionedValue>, ReadFault> {
        self.view().get(key, at, now).map_err(fault)
    }

    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, ReadFault> {
        self.view().newest_version(key, at).map_err(fault)
    }

    fn scan(&self, query: &ScanQuery) -> Result<Page, ReadFault> {
        let options = ScanOptions {
            bounds: query.bounds.clone(),
            reverse: query.reverse,
            max_rows: query.max_rows,
            max_bytes: query.max_bytes,
            at: query.at,
            now: query.now,
            mode: query.mode,
        };
        let ScanPage { rows, counted, counted_until, resume } = self.view().scan(&options).map_err(fault)?;
        Ok(Page { rows, counted, counted_until, resume })
    }

    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, ReadFault> {
        self.view().completion(range, client, slot).map_err(fault)
    }

    fn completions(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
        max: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, ReadFault> {
        self.view().completions(range, after, max).map_err(fault)
    }
}
