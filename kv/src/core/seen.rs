//! What stores have seen of each other, so that a disk that comes back older than it was is noticed.
//!
//! A restored image has forgotten votes and acknowledgements that others rely on: none of its replicas may act again. Whoever
//! has seen more of the store refuses it; the store notes that on its disk and stops; its next start puts all replicas in
//! quarantine, and placement replaces them under new ids.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;

use holdfast_engine::{Fault, LogEngine, LogOp};
use holdfast_proto::v1;
use holdfast_types::{Incarnation, LogCounter, OutOfBounds, StoreId};
use prost::Message as _;

const VERSION: u32 = 1;
const SEEN: &str = "seen-stores";
const OUTDATED: &str = "outdated";

/// What was seen of another store. Counters are of its log, 0 when they were not told; each is below [`LogCounter::MAX`], as whoever
/// fills this in has to see to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Its highest incarnation.
    pub incarnation: Incarnation,
    /// The counter when that began.
    pub started_at: u64,
    /// The highest counter.
    pub counter: u64,
}

impl Seen {
    /// True when a store that says this of itself has lost what was seen of it before: an incarnation is repeated, or begins
    /// before the end of the one that was seen.
    #[must_use]
    pub fn is_behind(&self, seen: &Self) -> bool {
        match self.incarnation.cmp(&seen.incarnation) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => {
                self.started_at != 0 && seen.started_at != 0 && self.started_at != seen.started_at
            }
            std::cmp::Ordering::Greater => self.started_at != 0 && self.started_at < seen.counter,
        }
    }

    /// Takes in what a store that is not behind says of itself.
    pub fn learn(&mut self, said: Self) {
        let begins = said.incarnation > self.incarnation;
        let started_at = if begins { said.started_at } else { self.started_at.max(said.started_at) };
        *self = Self { incarnation: said.incarnation, started_at, counter: self.counter.max(said.counter) };
    }

    /// True when it says more than what was saved: another life, or at least `batches` more in the log.
    #[must_use]
    pub fn is_news(&self, saved: &Self, batches: u64) -> bool {
        (self.incarnation, self.started_at) != (saved.incarnation, saved.started_at)
            || self.counter >= saved.counter.saturating_add(batches)
    }
}

/// Another store has seen more of this one than its disk knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outdated {
    /// Who.
    pub seen_by: StoreId,
    /// The highest incarnation seen.
    pub incarnation: Incarnation,
    /// The highest counter seen.
    pub counter: u64,
}

/// The operation that saves what was seen of other stores.
#[must_use]
pub fn save(seen: &BTreeMap<StoreId, Seen>) -> LogOp {
    let stores = seen.iter().map(|(store, seen)| stored(*store, *seen)).collect();
    let value = v1::SeenStores { version: VERSION, stores }.encode_to_vec().into();
    LogOp::SetStoreRecord { name: SEEN, value }
}

/// Reads what [`save`] wrote.
pub fn read(log: &dyn LogEngine) -> Result<BTreeMap<StoreId, Seen>, Fault> {
    let mut stores = BTreeMap::new();
    for stored in read_stores(log, SEEN)? {
        match seen_of(&stored) {
            Ok((store, seen)) => {
                stores.insert(store, seen);
            }
            Err(bad) => {
                tracing::warn!(store = stored.store_id, %bad, "what was seen of a store cannot be; it is forgotten")
            }
        }
    }
    Ok(stores)
}

fn seen_of(stored: &v1::SeenStore) -> Result<(StoreId, Seen), OutOfBounds> {
    let seen = Seen {
        incarnation: Incarnation::bounded(stored.incarnation)?,
        started_at: LogCounter::bounded(stored.started_at)?.0,
        counter: LogCounter::bounded(stored.counter)?.0,
    };
    Ok((StoreId::bounded(stored.store_id)?, seen))
}

impl Outdated {
    /// The operation that notes it for the next start.
    #[must_use]
    pub fn op(&self) -> LogOp {
        let seen = Seen { incarnation: self.incarnation, started_at: 0, counter: self.counter };
        let stores = vec![stored(self.seen_by, seen)];
        LogOp::SetStoreRecord {
            name: OUTDATED,
            value: v1::SeenStores { version: VERSION, stores }.encode_to_vec().into(),
        }
    }

    /// The operation that takes the note away, when every replica is in quarantine.
    #[must_use]
    pub fn settled() -> LogOp {
        let value = v1::SeenStores { version: VERSION, stores: Vec::new() }.encode_to_vec().into();
        LogOp::SetStoreRecord { name: OUTDATED, value }
    }

    /// What another store says that it has seen of this one.
    pub fn told(seen_by: StoreId, incarnation: u64, counter: u64) -> Result<Self, OutOfBounds> {
        let incarnation = Incarnation::hearsay(incarnation)?;
        Ok(Self { seen_by, incarnation, counter: LogCounter::hearsay(counter)?.0 })
    }

    /// The note of an earlier life. One that nobody can have meant is no reason to throw the replicas away, and none to fail at each
    /// start: an earlier version noted whatever it was told.
    pub fn read(log: &dyn LogEngine) -> Result<Option<Self>, Fault> {
        let Some(noted) = read_stores(log, OUTDATED)?.into_iter().next() else { return Ok(None) };
        let told =
            |noted: &v1::SeenStore| Self::told(StoreId::bounded(noted.store_id)?, noted.incarnation, noted.counter);
        let told = told(&noted);
        if let Err(bad) = &told {
            tracing::warn!(by = noted.store_id, %bad, "what another store claimed to have seen of this one cannot be; it is forgotten");
        }
        Ok(told.ok())
    }
}

impl std::fmt::Display for Outdated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} has seen incarnation {} of this store with log counter {}, which this disk does not know: an older image of it \
             was restored, or a copy of it runs. Start it again to have all of its replicas rebuilt from the others",
            self.seen_by, self.incarnation, self.counter
        )
    }
}

fn stored(store: StoreId, seen: Seen) -> v1::SeenStore {
    let Seen { incarnation, started_at, counter } = seen;
    v1::SeenStore { store_id: store.0, incarnation: incarnation.0, started_at, counter }
}

fn read_stores(log: &dyn LogEngine, name: &'static str) -> Result<Vec<v1::SeenStore>, Fault> {
    let Some(bytes) = log.store_record(name)? else { return Ok(Vec::new()) };
    let damage = |detail: String| Fault::Damage { doing: format!("reading the record {name}"), detail };
    let record = v1::SeenStores::decode(bytes).map_err(|bad| damage(bad.to_string()))?;
    if record.version != VERSION {
        return Err(Fault::UnknownVersion { what: name, found: record.version, known: VERSION });
    }
    Ok(record.stores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(incarnation: u64, started_at: u64, counter: u64) -> Seen {
        Seen { incarnation: Incarnation(incarnation), started_at, counter }
    }

    #[test]
    fn disk_that_lost_what_was_seen_of_it_is_behind() {
        let seen = life(5, 100, 150);
        for (said, behind) in [
            (life(5, 100, 120), false),
            (life(6, 151, 151), false),
            (life(4, 90, 99), true),
            (life(5, 95, 200), true),
            (life(6, 140, 140), true),
            (life(6, 0, 0), false),
        ] {
            assert_eq!(said.is_behind(&seen), behind, "{said:?}");
        }
    }

    /// A log on which an earlier version wrote what strangers told it.
    fn log_with(name: &'static str, stores: &[(u64, u64, u64)]) -> std::sync::Arc<dyn LogEngine> {
        let stores = stores.iter().map(|(store_id, incarnation, counter)| v1::SeenStore {
            store_id: *store_id,
            incarnation: *incarnation,
            started_at: 0,
            counter: *counter,
        });
        let value = v1::SeenStores { version: VERSION, stores: stores.collect() }.encode_to_vec().into();
        let log = holdfast_engine::memory::MemoryDisk::new().open().unwrap().log;
        log.write_synced(&[LogOp::SetStoreRecord { name, value }]).unwrap();
        log
    }

    #[test]
    fn what_an_earlier_version_wrote_down_and_cannot_be_is_forgotten() {
        let log = log_with(SEEN, &[(2, 5, 150), (3, u64::MAX, 1), (4, 1, u64::MAX), (u64::MAX, 1, 1)]);
        let kept = read(&*log).unwrap();
        assert_eq!(kept, BTreeMap::from([(StoreId(2), life(5, 0, 150))]));
        for (incarnation, counter) in [(u64::MAX, 0), (1, u64::MAX), (u64::MAX - 1, u64::MAX - 1)] {
            assert_eq!(Outdated::read(&*log_with(OUTDATED, &[(2, incarnation, counter)])).unwrap(), None);
        }
        let noted = Outdated::read(&*log_with(OUTDATED, &[(2, 9, 8)])).unwrap();
        assert_eq!(noted, Some(Outdated { seen_by: StoreId(2), incarnation: Incarnation(9), counter: 8 }));
    }

    #[test]
    fn what_is_taken_in_can_be_compared_with_what_was_saved() {
        let most = life(Incarnation::MAX.0, LogCounter::MAX.0, LogCounter::MAX.0);
        let mut seen = Seen::default();
        seen.learn(most);
        assert!(!seen.is_news(&seen, 100), "the counter that was saved, and a hundred more");
    }

    #[test]
    fn nothing_that_was_seen_is_unlearned() {
        let mut seen = life(5, 100, 150);
        seen.learn(life(5, 100, 120));
        assert_eq!(seen, life(5, 100, 150), "an older message of the same life");
        seen.learn(life(6, 151, 152));
        assert_eq!(seen, life(6, 151, 152));
    }
}
