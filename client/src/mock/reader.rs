//! The engine's snapshots as the evaluation of requests wants to read them.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_engine::{DataSnapshot, Fault, ScanOptions, ScanPage, Version};
use holdfast_replica::reader::{Page, ReadFault, Reader, ScanQuery};
use holdfast_types::{ClientId, Key, RangeId, Slot, Timestamp, VersionedValue};

/// A view of all data.
pub(super) struct View(pub(super) Arc<dyn DataSnapshot>);

fn fault(fault: Fault) -> ReadFault {
    ReadFault::Damaged(fault.to_string())
}

impl Reader for View {
    fn get(&self, key: &Key, at: Timestamp, now: Timestamp) -> Result<Option<VersionedValue>, ReadFault> {
        self.0.get(key, at, now).map_err(fault)
    }

    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, ReadFault> {
        self.0.newest_version(key, at).map_err(fault)
    }

    fn scan(&self, query: &ScanQuery) -> Result<Page, ReadFault> {
        let ScanQuery { bounds, reverse, max_rows, max_bytes, at, now, mode } = query.clone();
        let options = ScanOptions { bounds, reverse, max_rows, max_bytes, at, now, mode };
        let ScanPage { rows, counted, counted_until, resume } = self.0.scan(&options).map_err(fault)?;
        Ok(Page { rows, counted, counted_until, resume })
    }

    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, ReadFault> {
        self.0.completion(range, client, slot).map_err(fault)
    }

    fn completions(
        &self,
        range: RangeId,
        after: Option<(ClientId, Slot)>,
        max: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, ReadFault> {
        self.0.completions(range, after, max).map_err(fault)
    }
}
