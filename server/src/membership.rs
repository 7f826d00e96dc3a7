//! How a store becomes a member: what the fleet keeps of it in the system range. Runs on any store; the requests find the
//! system range by themselves.

use holdfast_kv::core::records;
use holdfast_placement::{SiteRecord, StateKey, StoreAddresses, StoreRecord, admit_store};
use holdfast_types::{Condition, Expected, Rejected, SiteName, StoreId, limits};

use crate::running::Running;
use crate::system::{self, all, damaged, get, put, write};

/// How often a join is begun again when another one came first.
const MAX_TRIES: usize = 16;

/// What is to be said of, and to, a store that was forgotten.
pub fn is_over(store: StoreId) -> String {
    format!(
        "{store} was forgotten by the fleet (`holdfast forget {store}`), and its identity is over: wipe its volume (in Kubernetes delete its \
         PersistentVolumeClaim, elsewhere start it with an empty data directory) to join as a new store"
    )
}

/// What a store says of itself.
#[derive(Clone, Debug)]
pub struct Applicant {
    /// Its id; [`StoreId::NONE`]: it is new.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// The site's proof.
    pub site_identity: Option<String>,
    /// Where it can be reached.
    pub addresses: StoreAddresses,
    /// Where in its site it is, if it was told.
    pub zone: Option<String>,
}

/// Makes a store a member, or takes in where a member can be reached now. Gives all stores of the fleet.
pub async fn join(running: &Running, applicant: &Applicant) -> Result<(StoreId, Vec<StoreRecord>), Rejected> {
    for _ in 0..MAX_TRIES {
        let stores = all(running, StateKey::all_stores(), system::PATIENCE, records::decode_store).await?;
        let sites = all(running, StateKey::all_sites(), system::PATIENCE, records::decode_site).await?;
        // Whoever was forgotten is so from here on, the applicant too.
        running.directory.learn(&stores.iter().filter(|known| known.is_forgotten()).cloned().collect::<Vec<_>>());
        let site = admit_store(&sites, &applicant.site, applicant.site_identity.as_deref())?;
        let attempt = if applicant.store == StoreId::NONE {
            admit(running, applicant, &site).await?
        } else {
            renew(running, applicant, &stores, &site).await?
        };
        if let Some(record) = attempt {
            let others = stores.into_iter().filter(|known| known.store != record.store && !known.is_forgotten());
            let mut all: Vec<_> = others.collect();
            all.push(record.clone());
            running.directory.learn(&all);
            return Ok((record.store, all));
        }
    }
    Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER })
}

/// A new store gets the next id. `None`: another one came first.
async fn admit(running: &Running, applicant: &Applicant, site: &SiteRecord) -> Result<Option<StoreRecord>, Rejected> {
    let next_key = StateKey::NextStore.key();
    let found = get(running, &next_key).await?;
    let next = match &found {
        None => return Err(Rejected::Unavailable("the system range is not set up yet".into())),
        Some(found) => records::decode_next_id(&found.value).map_err(damaged)?,
    };
    let store = StoreId::bounded(next).map_err(|bad| damaged(bad.into()))?;
    let record = record_of(store, applicant, running.fleet_now());
    let expected = found.map_or(Expected::Absent, |found| Expected::Version(found.timestamp));
    let written = write(
        running,
        vec![Condition { key: next_key.clone(), expected }],
        vec![
            put(next_key, records::encode_next_id(next + 1)),
            put(StateKey::Store(record.store).key(), records::encode_store(&record)),
            put(StateKey::Site(site.label.clone()).key(), records::encode_site(site)),
        ],
    );
    Ok(written.await?.then_some(record))
}

/// A member that started again may have moved. `None`: its record changed meanwhile.
async fn renew(
    running: &Running,
    applicant: &Applicant,
    stores: &[StoreRecord],
    site: &SiteRecord,
) -> Result<Option<StoreRecord>, Rejected> {
    let store = applicant.store;
    let Some(known) = stores.iter().find(|known| known.store == store) else {
        return Err(Rejected::invalid(format!(
            "{store} is not a member of this fleet: its data belongs elsewhere, or it was removed; start it with an empty data directory"
        )));
    };
    if known.is_forgotten() {
        return Err(Rejected::invalid(is_over(store)));
    }
    if known.site != applicant.site {
        return Err(Rejected::invalid(format!(
            "{store} is a store of site {}, not {}: a store keeps its site for life; start it with --site {}",
            known.site, applicant.site, known.site
        )));
    }
    let record = known.renewed(record_of(store, applicant, running.fleet_now()));
    if record == *known {
        return Ok(Some(record));
    }
    let key = StateKey::Store(store).key();
    let condition = Condition { key: key.clone(), expected: Expected::Value(records::encode_store(known)) };
    let mutations = vec![
        put(key, records::encode_store(&record)),
        put(StateKey::Site(site.label.clone()).key(), records::encode_site(site)),
    ];
    Ok(write(running, vec![condition], mutations).await?.then_some(record))
}

fn record_of(store: StoreId, applicant: &Applicant, joined_at: holdfast_types::Timestamp) -> StoreRecord {
    StoreRecord {
        site_identity: applicant.site_identity.clone(),
        addresses: applicant.addresses.clone(),
        joined_at,
        zone: applicant.zone.clone(),
        ..StoreRecord::new(store, applicant.site.clone())
    }
}
