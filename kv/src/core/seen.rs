//! What stores have seen of each other, so that a disk that comes back older than it was is noticed.
//!
//! A restored image has forgotten votes and acknowledgements that others rely on: none of its replicas may act again. Whoever
//! has seen more of the store refuses it; the store notes that on its disk and stops; its next start puts all replicas in
//! quarantine, and placement replaces them under new ids.

use std::collections::BTreeMap;

use holdfast_engine::{Fault, LogEngine, LogOp};
use holdfast_proto::v1;
use holdfast_types::{Incarnation, StoreId};
use prost::Message as _;

const VERSION: u32 = 1;
const SEEN: &str = "seen-stores";
const OUTDATED: &str = "outdated";

/// What was seen of another store. Counters are of its log, 0 when they were not told.
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
            || self.counter >= saved.counter + batches
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
    let stores = read_stores(log, SEEN)?.into_iter();
    let seen = |s: &v1::SeenStore| Seen {
        incarnation: Incarnation(s.incarnation),
        started_at: s.started_at,
        counter: s.counter,
    };
    Ok(stores.map(|s| (StoreId(s.store_id), seen(&s))).collect())
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

    /// The note of an earlier life.
    pub fn read(log: &dyn LogEngine) -> Result<Option<Self>, Fault> {
        let noted = read_stores(log, OUTDATED)?.into_iter().next();
        Ok(noted.map(|s| Self {
            seen_by: StoreId(s.store_id),
            incarnation: Incarnation(s.incarnation),
            counter: s.counter,
        }))
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

    #[test]
    fn nothing_that_was_seen_is_unlearned() {
        let mut seen = life(5, 100, 150);
        seen.learn(life(5, 100, 120));
        assert_eq!(seen, life(5, 100, 150), "an older message of the same life");
        seen.learn(life(6, 151, 152));
        assert_eq!(seen, life(6, 151, 152));
    }
}
