//! Who a store is: the record in its log instance, with the number of its starts; and the records of its counters.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use bytes::Bytes;
use holdfast_engine::{Fault, LogEngine, LogOp};
use holdfast_proto::v1;
use holdfast_types::bounds::at_most;
use holdfast_types::{FleetId, Incarnation, LogCounter, OutOfBounds, SiteName, StoreId, limits};
use prost::Message as _;

const VERSION: u32 = 1;
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
        };
        LogOp::SetStoreRecord { name: IDENTITY, value: record.encode_to_vec().into() }
    }

    /// Reads it; `None` on a store that belongs to no fleet yet.
    pub fn read(log: &dyn LogEngine) -> Result<Option<Self>, Fault> {
        let Some(bytes) = log.store_record(IDENTITY)? else { return Ok(None) };
        let record = v1::StoreIdentity::decode(bytes).map_err(|bad| damage(bad.to_string()))?;
        known("identity of a store", record.version)?;
        let fleet = record.fleet_id.ok_or_else(|| damage("it names no fleet".into()))?;
        Ok(Some(Self {
            fleet: fleet.into(),
            store: StoreId::bounded(record.store_id).map_err(impossible)?,
            site: SiteName::new(&record.site).map_err(damage)?,
            incarnation: Incarnation::bounded(record.incarnation).map_err(impossible)?,
            counter_offset: LogCounter::bounded(record.counter_offset).map_err(impossible)?.0,
        }))
    }
}

/// The record in which a worker keeps the end of its reserved numbers.
#[must_use]
pub fn counter_name(worker: u16) -> &'static str {
    COUNTERS[usize::from(worker)]
}

/// Encodes the end of a worker's reserved numbers.
#[must_use]
pub fn encode_counter(reserved: u64) -> Bytes {
    v1::StoreCounter { version: VERSION, reserved }.encode_to_vec().into()
}

/// The highest number that any worker of this store has ever reserved.
pub fn read_counters(log: &dyn LogEngine) -> Result<u64, Fault> {
    let mut highest = 0;
    for name in COUNTERS {
        if let Some(bytes) = log.store_record(name)? {
            let record = v1::StoreCounter::decode(bytes).map_err(|bad| damage(bad.to_string()))?;
            known("counter of a store", record.version)?;
            let reserved = at_most("the number of ranges made", record.reserved, limits::MAX_RANGES_MADE);
            highest = highest.max(reserved.map_err(impossible)?);
        }
    }
    Ok(highest)
}

fn known(what: &'static str, version: u32) -> Result<(), Fault> {
    if version == VERSION { Ok(()) } else { Err(Fault::UnknownVersion { what, found: version, known: VERSION }) }
}

fn impossible(bad: OutOfBounds) -> Fault {
    damage(format!("{bad}; start the store with an empty data directory, and it joins anew"))
}

fn damage(detail: String) -> Fault {
    Fault::Damage { doing: "reading who this store is".into(), detail }
}
