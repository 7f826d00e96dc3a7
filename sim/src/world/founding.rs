//! How a fleet comes to be: one store founds it, the others join, placement spreads the ranges.

use std::sync::Arc;
use std::time::Duration;

use holdfast_client::core::KnownStore;
use holdfast_engine::{DataOp, Fault, Version};
use holdfast_kv::core::records::{encode_next_id, encode_store};
use holdfast_kv::core::recovery::{Founding, init, join};
use holdfast_placement::{SiteRecord, StateKey, StoreAddresses, StoreRecord};
use holdfast_replica::AdminRequest;
use holdfast_types::{FleetId, RangeId, StoreId, Timestamp};

use super::World;
use crate::clock::EPOCH_MS;

/// The fleet of every simulated world.
const FLEET: FleetId = FleetId(0x51);
/// A new fleet has spread its ranges after this time at the latest.
const PLACED_WITHIN: Duration = Duration::from_secs(60);

impl World {
    /// Founds the fleet, starts it, waits until every range has its voters, and splits as the options say. The error says what
    /// did not happen.
    pub fn boot(&mut self) -> Result<(), String> {
        self.found().map_err(|fault| fault.to_string())?;
        let stores: Vec<StoreId> = self.stores.keys().copied().collect();
        stores.iter().for_each(|store| self.start_store(*store));
        self.learn_first_ranges();
        let known: Vec<_> =
            self.stores.values().map(|store| KnownStore { store: store.id, site: store.site.clone() }).collect();
        for client in &mut self.clients {
            client.learn_stores(known.clone(), &mut self.hub);
        }
        self.wait("every range has its voters and a leader", PLACED_WITHIN, |world| {
            world.is_placed() && world.is_led()
        })?;
        for n in 1..=self.options.splits {
            let of = u64::try_from(self.keys.len()).expect("few keys");
            let at = self.keys[usize::try_from(n * of / (self.options.splits + 1)).expect("below")].clone();
            let Some(range) = self.range_of(&at).map(|descriptor| descriptor.range) else { continue };
            let right = RangeId(0);
            let request = self.ask_leader(range, AdminRequest::Split { at: at.clone(), right });
            self.wait("a split is answered", PLACED_WITHIN, |world| world.is_answered(request))?;
        }
        self.wait("every range is led after the splits", PLACED_WITHIN, |world| world.is_placed() && world.is_led())
    }

    /// Lets time pass until something is so; the error names it.
    pub fn wait(&mut self, what: &str, within: Duration, is_so: impl FnMut(&World) -> bool) -> Result<(), String> {
        if self.run_until(within, is_so) {
            return Ok(());
        }
        match self.hub.checks.violations().first() {
            Some((_, violation)) => Err(violation.clone()),
            None => Err(format!("it is not so within {within:?} that {what}:\n{}", self.describe())),
        }
    }

    /// Writes what a founding store and its joiners would: the join requests themselves are the server's.
    fn found(&mut self) -> Result<(), Fault> {
        let at = Timestamp::from_ms(EPOCH_MS);
        let record = |store: StoreId, site| StoreRecord {
            addresses: StoreAddresses {
                client: format!("{store}:1"),
                store_to_store: format!("{store}:2"),
                http: format!("{store}:3"),
            },
            joined_at: at,
            ..StoreRecord::new(store, site)
        };
        let records: Vec<_> = self.stores.values().map(|store| record(store.id, store.site.clone())).collect();
        for record in &records {
            let Some(store) = self.stores.get(&record.store) else { continue };
            let engines = store.disk.contents.open()?;
            if record.store == StoreId(1) {
                let site = SiteRecord::new(record.site.clone(), None);
                init(&engines, &Founding { fleet: FLEET, store: record.clone(), site })?;
                engines.data.write(&joined(&records, at))?;
                engines.data.flush()?;
            } else {
                join(&engines, FLEET, record)?;
            }
        }
        self.directory = Arc::new(records);
        Ok(())
    }

    fn learn_first_ranges(&mut self) {
        let Some(map) = self.stores.get(&StoreId(1)).and_then(|store| store.map()) else { return };
        let found = map.all();
        for range in &found {
            self.hub.checks.tiling.learn(&range.descriptor);
        }
        if let Err(what) = self.hub.checks.tiling.check() {
            self.hub.violate(what);
        }
    }
}

fn joined(records: &[StoreRecord], at: Timestamp) -> Vec<DataOp> {
    let put = |name: StateKey, value| DataOp::PutVersion {
        key: name.key(),
        timestamp: at,
        version: Version::Value { value, expires_at: None },
    };
    let next = records.iter().map(|record| record.store.0 + 1).max().unwrap_or(1);
    let mut ops: Vec<_> =
        records.iter().map(|record| put(StateKey::Store(record.store), encode_store(record))).collect();
    let sites = records.iter().map(|record| SiteRecord::new(record.site.clone(), None));
    ops.extend(
        sites.map(|site| put(StateKey::Site(site.label.clone()), holdfast_kv::core::records::encode_site(&site))),
    );
    ops.push(put(StateKey::NextStore, encode_next_id(next)));
    ops
}
