//! When something last came in on the streams of other stores: support follows the path of the data.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_types::{Moment, StoreId};
use parking_lot::RwLock;

use crate::ports::Class;

/// The streams without which nothing is replicated; snapshots have one that is opened when there is something to send.
const WATCHED: [Class; 2] = [Class::Control, Class::Log];
/// Stores remembered; a fleet has far fewer. Of more, which somebody made up, the one that was silent for longest goes.
const MAX_STORES: usize = 4_096;

/// When each watched stream of each store was last heard.
#[derive(Debug, Default)]
pub struct StreamsHeard {
    stores: RwLock<BTreeMap<StoreId, [AtomicU64; WATCHED.len()]>>,
}

impl StreamsHeard {
    /// Something came in, if only a sign of life.
    pub fn note(&self, from: StoreId, class: Class, now: Moment) {
        let Some(index) = WATCHED.iter().position(|watched| *watched == class) else { return };
        if let Some(times) = self.stores.read().get(&from) {
            times[index].store(now.0, Ordering::Relaxed);
            return;
        }
        let mut stores = self.stores.write();
        if stores.len() >= MAX_STORES && !stores.contains_key(&from) {
            let newest = |times: &[AtomicU64]| times.iter().map(|at| at.load(Ordering::Relaxed)).max();
            let silent = stores.iter().min_by_key(|(_, times)| newest(&times[..])).map(|(store, _)| *store);
            silent.map(|store| stores.remove(&store));
        }
        stores.entry(from).or_default()[index].store(now.0, Ordering::Relaxed);
    }

    /// When the stream that has been silent for longest was heard; `None`: one never was.
    #[must_use]
    pub fn all_heard_at(&self, from: StoreId) -> Option<Moment> {
        let stores = self.stores.read();
        let oldest = stores.get(&from)?.iter().map(|at| at.load(Ordering::Relaxed)).min()?;
        (oldest > 0).then_some(Moment(oldest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_silent_stream_counts() {
        let heard = StreamsHeard::default();
        heard.note(StoreId(1), Class::Log, Moment(5));
        assert_eq!(heard.all_heard_at(StoreId(1)), None, "the other one was never heard");
        heard.note(StoreId(1), Class::Control, Moment(7));
        heard.note(StoreId(1), Class::Snapshot, Moment(3));
        assert_eq!(heard.all_heard_at(StoreId(1)), Some(Moment(5)));
        heard.note(StoreId(1), Class::Log, Moment(9));
        assert_eq!(heard.all_heard_at(StoreId(1)), Some(Moment(7)));
    }

    #[test]
    fn stores_remembered_are_bounded() {
        let heard = StreamsHeard::default();
        for store in 0..10_000 {
            heard.note(StoreId(store), Class::Log, Moment(1 + store));
            heard.note(StoreId(0), Class::Log, Moment(1 + store));
            heard.note(StoreId(0), Class::Control, Moment(1 + store));
        }
        assert_eq!(heard.all_heard_at(StoreId(0)), Some(Moment(10_000)), "whoever speaks is not driven out");
        assert_eq!(heard.stores.read().len(), MAX_STORES);
    }
}
