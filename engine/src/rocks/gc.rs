//! The compaction filter: drops versions that a newer one, itself older than the range's threshold, shadows within the same
//! compaction. Tombstones and newest versions stay: a filter that dropped a tombstone would revive what lies in a lower level.
//!
//! Compactions give a filter the keys in order, so the versions of one key newest first; a filter lives for one compaction.
//! RocksDB does not keep for its snapshots what a filter drops. A view that is older than a threshold may not have the version
//! that shadows, so a threshold rests while such a view exists. (Every version older than a threshold was applied before the
//! threshold was: timestamps of a range grow with its log.)

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;

use holdfast_types::{KeyRange, RangeId, Timestamp};
use parking_lot::Mutex;
use rocksdb::CompactionDecision;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};

use crate::layout;

#[derive(Clone)]
struct Threshold {
    /// Of the keys in bounds, as they lie on disk.
    span: layout::Span,
    threshold: Timestamp,
    /// The number that the next view had when it was set.
    set_at: u64,
}

#[derive(Default)]
struct State {
    thresholds: BTreeMap<RangeId, Threshold>,
    /// Open views, by their number: how many share it.
    views: BTreeMap<u64, usize>,
    next_view: u64,
}

/// Thresholds and open views of one data instance.
#[derive(Clone, Default)]
pub(super) struct GcState {
    state: Arc<Mutex<State>>,
}

/// Keeps thresholds that are set from now on at rest, until dropped.
pub(super) struct ViewGuard {
    gc: GcState,
    view: u64,
}

impl Drop for ViewGuard {
    fn drop(&mut self) {
        let mut state = self.gc.state.lock();
        if let Some(count) = state.views.get_mut(&self.view) {
            *count -= 1;
            if *count == 0 {
                state.views.remove(&self.view);
            }
        }
    }
}

impl GcState {
    pub(super) fn set(&self, range: RangeId, threshold: Option<(KeyRange, Timestamp)>) {
        let mut state = self.state.lock();
        let Some((bounds, threshold)) = threshold else {
            state.thresholds.remove(&range);
            return;
        };
        state.next_view += 1;
        let (span, set_at) = (layout::version_span(&bounds), state.next_view);
        state.thresholds.insert(range, Threshold { span, threshold, set_at });
    }

    /// To be called before the view is taken.
    pub(super) fn guard(&self) -> ViewGuard {
        let mut state = self.state.lock();
        let view = state.next_view;
        *state.views.entry(view).or_default() += 1;
        ViewGuard { gc: self.clone(), view }
    }

    /// What a compaction that begins now may use, in the order of the keys.
    fn usable(&self) -> Vec<Threshold> {
        let state = self.state.lock();
        let oldest = state.views.keys().next().copied().unwrap_or(u64::MAX);
        let mut usable: Vec<_> = state.thresholds.values().filter(|t| t.set_at <= oldest).cloned().collect();
        usable.sort_by(|a, b| a.span.cmp(&b.span));
        usable
    }
}

/// Makes a filter for every compaction.
pub(super) struct GcFactory(pub(super) GcState);

impl CompactionFilterFactory for GcFactory {
    type Filter = GcFilter;

    fn create(&mut self, _context: CompactionFilterContext) -> GcFilter {
        GcFilter { thresholds: self.0.usable(), next: 0, shadowed: Vec::new() }
    }

    fn name(&self) -> &CStr {
        c"holdfast.gc.1"
    }
}

/// The filter of one compaction.
pub(super) struct GcFilter {
    thresholds: Vec<Threshold>,
    /// The first threshold whose span does not end before the keys seen.
    next: usize,
    /// The key (without timestamp) whose further versions are shadowed; empty: none.
    shadowed: Vec<u8>,
}

impl GcFilter {
    fn threshold_for(&mut self, raw: &[u8]) -> Option<Timestamp> {
        while self.thresholds.get(self.next).is_some_and(|t| t.span.1.as_slice() <= raw) {
            self.next += 1;
        }
        let candidate = self.thresholds.get(self.next)?;
        (candidate.span.0.as_slice() <= raw).then_some(candidate.threshold)
    }
}

impl CompactionFilter for GcFilter {
    fn filter(&mut self, _level: u32, raw: &[u8], _value: &[u8]) -> CompactionDecision {
        let Some((prefix, timestamp)) = layout::split_version(raw) else { return CompactionDecision::Keep };
        let Some(threshold) = self.threshold_for(raw) else { return CompactionDecision::Keep };
        if !self.shadowed.is_empty() && self.shadowed == prefix {
            return CompactionDecision::Remove;
        }
        self.shadowed.clear();
        if timestamp < threshold {
            self.shadowed.extend_from_slice(prefix);
        }
        CompactionDecision::Keep
    }

    fn name(&self) -> &CStr {
        c"holdfast.gc.1"
    }
}
