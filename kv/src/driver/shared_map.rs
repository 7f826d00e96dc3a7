//! The range map that request handlers look into to choose a worker.

use holdfast_replica::Standing;
use holdfast_types::{Key, KeyRange, RangeId, StoreId};
use parking_lot::RwLock;

use crate::core::message::RangeHint;
use crate::core::routing::{Counts, Found, Page, RangeMap, worker_of};

/// Ranges that are counted while the map is locked.
const COUNTED_AT_A_TIME: usize = 4_096;

/// A [`RangeMap`] behind a lock: written when a range changes, read by every request.
pub struct SharedMap {
    map: RwLock<RangeMap>,
    workers: u16,
}

impl SharedMap {
    /// A map for a store with so many workers.
    #[must_use]
    pub fn new(map: RangeMap, workers: u16) -> Self {
        Self { map: RwLock::new(map), workers }
    }

    /// The worker that a range belongs to.
    #[must_use]
    pub fn worker_of(&self, range: RangeId) -> usize {
        worker_of(range, self.workers).into()
    }

    /// The worker that serves or forwards a request for `key`; worker 0 when nothing is known.
    #[must_use]
    pub fn worker_for(&self, key: &Key) -> usize {
        self.map.read().worker_of_key(key, self.workers).into()
    }

    /// What is known of the range that holds `key`.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Found> {
        self.map.read().find(key)
    }

    /// What is known of all ranges, in the order of their keys.
    #[must_use]
    pub fn all(&self) -> Vec<Found> {
        self.map.read().all()
    }

    /// What is known of one range.
    #[must_use]
    pub fn get(&self, range: RangeId) -> Option<Found> {
        self.map.read().get(range).cloned()
    }

    /// See [`RangeMap::page`].
    #[must_use]
    pub fn page(&self, bounds: &KeyRange, page: Page, wanted: impl Fn(&Found) -> bool) -> (Vec<Found>, Option<Key>) {
        self.map.read().page(bounds, page, wanted)
    }

    /// See [`RangeMap::counts`]. Workers need not wait until all are counted: a range that changes meanwhile counts as before or as after.
    #[must_use]
    pub fn counts(&self, store: StoreId) -> Counts {
        let (mut counts, mut next) = (Counts::default(), Some(RangeId(0)));
        while let Some(first) = next {
            let (more, then) = self.map.read().counts_from(store, first, COUNTED_AT_A_TIME);
            counts += more;
            next = then;
        }
        counts
    }

    /// A range looks different.
    pub fn standing(&self, standing: &Standing) {
        self.map.write().standing(standing);
    }

    /// What was heard of ranges elsewhere.
    pub fn learned(&self, hints: Vec<RangeHint>) {
        let mut map = self.map.write();
        for hint in hints {
            map.learn(hint);
        }
    }

    /// A range is no longer here.
    pub fn gone(&self, range: RangeId) {
        self.map.write().gone(range);
    }
}
