//! Look-ups under way; calls that wait for the same one share it.

use std::collections::BTreeMap;

use holdfast_types::{Moment, StoreId, limits};

use super::event::LocateId;
use super::ranges::Point;

/// A look-up under way.
#[derive(Clone, Debug)]
struct Locate {
    point: Point,
    via: StoreId,
    gives_up_at: Moment,
}

/// Look-ups under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locates {
    open: BTreeMap<LocateId, Locate>,
    last: u64,
}

impl Locates {
    /// Begins a look-up, unless it is under way already or too many are.
    pub(crate) fn begin(&mut self, point: &Point, via: StoreId, now: Moment) -> Option<LocateId> {
        let full = self.open.len() >= limits::CLIENT_MAX_LOCATES;
        if full || self.open.values().any(|open| open.point == *point) {
            return None;
        }
        self.last += 1;
        let gives_up_at = now.after(limits::ATTEMPT_TIMEOUT);
        self.open.insert(LocateId(self.last), Locate { point: point.clone(), via, gives_up_at });
        Some(LocateId(self.last))
    }

    /// What a look-up that is under way looks for.
    pub(crate) fn point(&self, locate: LocateId) -> Option<&Point> {
        self.open.get(&locate).map(|open| &open.point)
    }

    /// A look-up is over. Returns whom it asked.
    pub(crate) fn end(&mut self, locate: LocateId) -> Option<StoreId> {
        self.open.remove(&locate).map(|open| open.via)
    }

    /// When the first one is given up.
    pub(crate) fn first_wake(&self) -> Option<Moment> {
        self.open.values().map(|open| open.gives_up_at).min()
    }

    /// Gives up what is late. Returns whom was asked.
    pub(crate) fn expire(&mut self, now: Moment) -> Vec<StoreId> {
        let late: Vec<LocateId> =
            self.open.iter().filter(|(_, open)| open.gives_up_at <= now).map(|(id, _)| *id).collect();
        late.into_iter().filter_map(|id| self.end(id)).collect()
    }
}
