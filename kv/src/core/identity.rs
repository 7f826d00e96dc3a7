//! Who a store is: the record in its log instance, with the number of its starts; and the records of its counters.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::ops::RangeInclusive;

use bytes::Bytes;
use holdfast_engine::{Fault, LogEngine, LogOp};
use holdfast_proto::v1;
use holdfast_types::bounds::at_most;
use holdfast_types::{FleetId, Incarnation, LogCounter, OutOfBounds, SiteName, StoreId, limits};
use prost::Message as _;

/// Version 1 knew no proof of the site. An older program must not write the record anew without it.
const VERSION: u32 = 2;
const COUNTER_VERSION: u32 = 1;
const IDENTITY: &str = "identity";

/// The names of the workers' counters: each worker writes its own, so that their order in the log does not matter.
const COUNTERS: [&str; limits::MAX_WORKERS as usize] = [
    "range-counter-00",
    "range-counter-01",
    "range-counter-02",
    "range-counter-03",
    "range-counter-04",
    "range-counter-05",
    "range-counter-06",
    "range-counter-07",
    "range-counter-08",
    "range-counter-09",
    "range-counter-10",
    "range-counter-11",
    "range-counter-12",
    "range-counter-13",
    "range-counter-14",
    "range-counter-15",
];

/// Who a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its fleet.
    pub fleet: FleetId,
    /// The store.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// The proof of its site that it joined with, or that the fleet accepted since; `None` without one, and until an old record is filled.
    pub site_identity: Option<String>,
    /// Counts its starts; 0 before the first.
    pub incarnation: Incarnation,
    /// Added to the counter of its log when that is told to others.
    pub counter_offset: u64,
}

impl Identity {
    /// The operation that writes it.
    #[must_use]
    pub fn op(&self) -> LogOp {
        let record = v1::StoreIdentity {
            version: VERSION,
            fleet_id: Some(self.fleet.into()),
            store_id: self.store.0,
            incarnation: self.incarnation.0,
            site: self.site.to_string(),
            counter_offset: self.counter_offset,
            site_identity: self.site_identity.clone().unwrap_or_default(),
        };
        LogOp::SetStoreRecord { name: IDENTITY, value: record.encode_to_vec().into() }
    }

    /// Reads it; `None` on a store that belongs to no fleet yet.
    pub fn read(log: &dyn LogEngine) -> Result<Option<Self>, Fault> {
        let Some(bytes) = log.store_record(IDENTITY)? else { return Ok(None) };
        let record = v1::StoreIdentity::decode(bytes).map_err(|bad| damage(bad.to_string()))?;
        known("identity of a store", record.version, 1..=VERSION)?;
        let fleet = record.fleet_id.ok_or_else(|| damage("it names no fleet".into()))?;
        if record.store_id == StoreId::NONE.0 {
            // The ranges that it makes would be those that every fleet begins with.
            return Err(damage(
                "it names no store; start the store with an empty data directory, and it joins anew".into(),
            ));
        }
        Ok(Some(Self {
            fleet: fleet.into(),
            store: StoreId::bounded(record.store_id).map_err(impossible)?,
            site: SiteName::new(&record.site).map_err(damage)?,
            incarnation: Incarnation::bounded(record.incarnation).map_err(impossible)?,
            counter_offset: LogCounter::bounded(record.counter_offset).map_err(impossible)?.0,
            site_identity: (!record.site_identity.is_empty()).then_some(record.site_identity),
        }))
    }

    /// How a proof stands to the one that is kept.
    #[must_use]
    pub fn proof(&self, given: Option<&str>) -> Proof {
        match (&self.site_identity, given) {
            (None, None) => Proof::Same,
            (None, Some(_)) => Proof::First,
            (Some(kept), given) if given == Some(kept) => Proof::Same,
            (Some(kept), given) => Proof::Other { kept: kept.clone(), given: given.map(ToOwned::to_owned) },
        }
    }

    /// Keeps another proof of the site, synced.
    pub fn prove(&self, log: &dyn LogEngine, proof: &str) -> Result<(), Fault> {
        let proved = Self { site_identity: Some(proof.to_owned()), ..self.clone() };
        log.write_synced(&[proved.op()]).map(drop)
    }
}

/// How the proof that a store is started with stands to the one that it keeps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// As it joined.
    Same,
    /// None is kept: an older program joined, or there was none.
    First,
    /// Its disk is somewhere else, or its site is.
    Other {
        /// The one that it keeps.
        kept: String,
        /// The one that it is started with.
        given: Option<String>,
    },
}

/// The record in which a worker keeps the end of its reserved numbers.
#[must_use]
pub fn counter_name(worker: u16) -> &'static str {
    COUNTERS.get(usize::from(worker)).expect("a store has no more workers than there are counters")
}

/// Encodes the end of a worker's reserved numbers.
#[must_use]
pub fn encode_counter(reserved: u64) -> Bytes {
    v1::StoreCounter { version: COUNTER_VERSION, reserved }.encode_to_vec().into()
}

/// The highest number that any worker of this store has ever reserved.
pub fn read_counters(log: &dyn LogEngine) -> Result<u64, Fault> {
    let mut highest = 0;
    for name in COUNTERS {
        if let Some(bytes) = log.store_record(name)? {
            let record = v1::StoreCounter::decode(bytes).map_err(|bad| damage(bad.to_string()))?;
            known("counter of a store", record.version, 1..=COUNTER_VERSION)?;
            let reserved = at_most("the number of ranges made", record.reserved, limits::MAX_RANGES_MADE);
            highest = highest.max(reserved.map_err(impossible)?);
        }
    }
    Ok(highest)
}

fn known(what: &'static str, found: u32, versions: RangeInclusive<u32>) -> Result<(), Fault> {
    let known = *versions.end();
    if versions.contains(&found) { Ok(()) } else { Err(Fault::UnknownVersion { what, found, known }) }
}

fn impossible(bad: OutOfBounds) -> Fault {
    damage(format!("{bad}; start the store with an empty data directory, and it joins anew"))
}

fn damage(detail: String) -> Fault {
    Fault::Damage { doing: "reading who this store is".into(), detail }
}

#[cfg(test)]
mod tests {
    use holdfast_engine::memory::MemoryDisk;

    use super::*;

    fn identity(site_identity: Option<&str>) -> Identity {
        Identity {
            fleet: FleetId(5),
            store: StoreId(3),
            site: SiteName::new("east").unwrap(),
            incarnation: Incarnation(7),
            counter_offset: 2,
            site_identity: site_identity.map(ToOwned::to_owned),
        }
    }

    fn written(version: u32, site_identity: &str) -> Result<Option<Identity>, Fault> {
        let log = MemoryDisk::new().open().unwrap().log;
        let record = v1::StoreIdentity {
            version,
            fleet_id: Some(FleetId(5).into()),
            store_id: 3,
            incarnation: 7,
            site: "east".into(),
            counter_offset: 2,
            site_identity: site_identity.into(),
        };
        let op = LogOp::SetStoreRecord { name: IDENTITY, value: record.encode_to_vec().into() };
        log.write_synced(&[op]).unwrap();
        Identity::read(&*log)
    }

    #[test]
    fn proof_is_kept_and_a_record_of_an_older_program_has_none() {
        let log = MemoryDisk::new().open().unwrap().log;
        identity(None).prove(&*log, "uid-1").unwrap();
        assert_eq!(Identity::read(&*log).unwrap(), Some(identity(Some("uid-1"))));
        assert_eq!(written(1, "").unwrap(), Some(identity(None)));
        assert_eq!(written(2, "uid-1").unwrap(), Some(identity(Some("uid-1"))));
        for unknown in [0, 3] {
            assert!(matches!(written(unknown, "uid-1"), Err(Fault::UnknownVersion { known: 2, .. })), "{unknown}");
        }
    }

    #[test]
    fn nobody_is_no_store() {
        let log = MemoryDisk::new().open().unwrap().log;
        log.write_synced(&[Identity { store: StoreId::NONE, ..identity(None) }.op()]).unwrap();
        assert!(matches!(Identity::read(&*log), Err(Fault::Damage { .. })));
    }

    #[test]
    fn other_proof_and_a_missing_one_are_told_from_the_same_and_the_first() {
        let other = |given: Option<&str>| Proof::Other { kept: "uid-1".into(), given: given.map(ToOwned::to_owned) };
        for (kept, given, stands) in [
            (None, None, Proof::Same),
            (None, Some("uid-1"), Proof::First),
            (Some("uid-1"), Some("uid-1"), Proof::Same),
            (Some("uid-1"), Some("uid-2"), other(Some("uid-2"))),
            (Some("uid-1"), None, other(None)),
        ] {
            assert_eq!(identity(kept).proof(given), stands, "{kept:?} {given:?}");
        }
    }
}
