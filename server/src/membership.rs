//! How a store becomes a member: what the fleet keeps of it in the system range. Runs on any store; the requests find the
//! system range by themselves.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod tickets;

use holdfast_kv::core::records;
use holdfast_placement::{
    SiteRecord, SiteRefusal, SiteTrust, StateKey, StoreAddresses, StoreRecord, admit_store, check_identity,
};
use holdfast_proto::v1;
use holdfast_types::address::check_address;
use holdfast_types::{Condition, Expected, Mutation, Rejected, SiteName, StoreId, limits};

use self::tickets::Ticket;
pub use self::tickets::{digest_of, put as put_token};
use crate::config;
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

/// What was said of the sites that were distrusted once.
pub fn doubted(sites: &[SiteRecord]) -> Vec<SiteTrust> {
    sites.iter().map(SiteRecord::trust).filter(|said| !said.is_untouched()).collect()
}

/// A store of the site is let in when the site is trusted again: it may ask until then.
fn is_distrusted(site: &SiteName) -> Rejected {
    Rejected::Unavailable(format!(
        "site {site} is distrusted, and none of its stores is let in until it is trusted again (docs/runbooks/distrust-site.md)"
    ))
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
    /// Names its application, so that a new store that asks twice is let in once.
    pub application: Option<u128>,
    /// True: it is a member that has started and says so itself, by the streams that prove who it is. A request alone proves nothing.
    pub has_started: bool,
}

impl Applicant {
    /// Who asks: which store, if it is one already, and of which site. Whether it may is judged by this, before anything else that it says.
    pub fn named_in(request: &v1::JoinRequest) -> Result<(StoreId, SiteName), Rejected> {
        let store = StoreId::bounded(request.store_id).map_err(|bad| Rejected::invalid(bad.to_string()))?;
        Ok((store, SiteName::new(&request.site).map_err(Rejected::invalid)?))
    }

    /// Takes a request apart, and refuses what no store says of itself. What is kept of a store is told to everybody, and must be short.
    pub fn of(request: &v1::JoinRequest) -> Result<Self, Rejected> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let (store, site) = Self::named_in(request)?;
        let applicant = Self {
            store,
            site,
            site_identity: some(&request.site_identity),
            addresses: StoreAddresses {
                client: request.client_address.clone(),
                store_to_store: request.store_address.clone(),
                http: String::new(),
            },
            zone: some(&request.zone),
            application: request.application.map(Into::into),
            has_started: false,
        };
        check_text("version", &request.version, limits::MAX_VERSION_BYTES)?;
        applicant.check()?;
        Ok(applicant)
    }

    fn check(&self) -> Result<(), Rejected> {
        let StoreAddresses { client, store_to_store, http } = &self.addresses;
        let optional = Some(http).filter(|address| !address.is_empty());
        for address in [client, store_to_store].into_iter().chain(optional) {
            check_address(address).map_err(Rejected::invalid)?;
        }
        if store_to_store.ends_with(":65535") {
            return Err(Rejected::invalid(format!(
                "{store_to_store:?} leaves no port for heartbeats, which use the one after it: listen for stores at a lower one"
            )));
        }
        self.site_identity.as_deref().map_or(Ok(()), check_identity)?;
        self.zone.as_deref().map_or(Ok(()), config::check_zone).map_err(|why| Rejected::invalid(why.to_string()))
    }
}

fn check_text(what: &str, text: &str, most: usize) -> Result<(), Rejected> {
    if text.len() > most || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let bytes = text.len();
        return Err(Rejected::invalid(format!(
            "the {what} has {bytes} bytes, or some that are not printable: use at most {most} letters, digits and signs"
        )));
    }
    Ok(())
}

/// Whether a new store is let in: the record that its application made before, or `None` for another one. A fleet has a bound on members,
/// and on those that were let in and never came: who makes up stores fills that bound, and nothing else.
fn judge(stores: &[StoreRecord], applicant: &Applicant) -> Result<Option<StoreRecord>, Rejected> {
    let is_same = |known: &&StoreRecord| known.application.is_some() && known.application == applicant.application;
    if let Some(known) = stores.iter().find(is_same) {
        if known.is_forgotten() {
            return Err(Rejected::invalid(is_over(known.store)));
        }
        if known.site != applicant.site {
            return Err(Rejected::invalid(format!(
                "this application was for site {}, not {}: ask with another one",
                known.site, applicant.site
            )));
        }
        return Ok(Some(known.clone()));
    }
    let members = stores.iter().filter(|known| !known.is_forgotten());
    let awaited: Vec<_> = members.clone().filter(|known| known.is_awaited).map(|known| known.store).collect();
    let full = |what: String| Err(Rejected::Unavailable(format!("no store is let in: {what}")));
    if let Some(first) = awaited.first().filter(|_| awaited.len() >= limits::MAX_AWAITED_STORES) {
        return full(format!(
            "{} were let in and have not started, {first} first; start them, or have them forgotten (`holdfast forget {first}`)",
            awaited.len()
        ));
    }
    if members.count() >= limits::MAX_MEMBERS {
        let most = limits::MAX_MEMBERS;
        return full(format!(
            "the fleet has {most} stores, the most that it may: have dead ones forgotten (`holdfast forget`)"
        ));
    }
    if stores.len() >= limits::MAX_STORE_RECORDS {
        let most = limits::MAX_STORE_RECORDS;
        return full(format!("the fleet has given away {most} ids of stores, the most that it may"));
    }
    Ok(None)
}

/// Why a store is not let in, or cannot be told yet.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The proof of its site is not the site's.
    #[error(transparent)]
    Site(#[from] SiteRefusal),
    /// Anything else.
    #[error(transparent)]
    Rejected(#[from] Rejected),
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Site(refusal) => refusal.into(),
            Refusal::Rejected(rejected) => rejected,
        }
    }
}

/// Makes a store a member, or takes in where a member can be reached now. Gives all stores of the fleet. `token`: the one-time token by which a
/// new store asks, if by any.
pub async fn join(
    running: &Running,
    applicant: &Applicant,
    token: Option<&str>,
) -> Result<(StoreId, Vec<StoreRecord>), Refusal> {
    applicant.check()?;
    for _ in 0..MAX_TRIES {
        // Before anything else: who comes with a bad one learns nothing of the fleet, not even by how long it takes.
        let ticket = match token {
            Some(token) => Some(tickets::look(running, token, applicant).await?),
            None => None,
        };
        let stores = all(running, StateKey::all_stores(), system::PATIENCE, records::decode_store).await?;
        let asked_at = running.directory.moment();
        let mut sites = all(running, StateKey::all_sites(), system::PATIENCE, records::decode_site).await?;
        running.directory.learn_sites(&doubted(&sites), asked_at);
        let found = get(running, &StateKey::Site(applicant.site.clone()).key()).await?;
        sites.retain(|site| site.label != applicant.site);
        let own = found.as_ref().map(|found| records::decode_site(&found.value).map_err(damaged)).transpose()?;
        sites.extend(own.clone());
        // Whoever was forgotten is so from here on, the applicant too.
        running.directory.learn(&stores.iter().filter(|known| known.is_forgotten()).cloned().collect::<Vec<_>>());
        if let Some(known) = stores.iter().find(|known| known.store == applicant.store && known.is_forgotten()) {
            return Err(Rejected::invalid(is_over(known.store)).into());
        }
        if own.as_ref().is_some_and(SiteRecord::is_distrusted) {
            return Err(is_distrusted(&applicant.site).into());
        }
        let site = admit_store(&sites, &applicant.site, applicant.site_identity.as_deref())?;
        // Whoever moves the site meanwhile is not overruled.
        let expected = found.map_or(Expected::Absent, |found| Expected::Version(found.timestamp));
        let binding = Binding { is_new: own.as_ref() != Some(&site), site, expected };
        let attempt = if applicant.store == StoreId::NONE {
            match judge(&stores, applicant)? {
                Some(known) => tickets::spend(running, ticket.as_ref(), &known).await?.then_some(known),
                None => admit(running, applicant, &binding, ticket.as_ref()).await?,
            }
        } else {
            renew(running, applicant, &stores, &binding).await?
        };
        if let Some(record) = attempt {
            let others = stores.into_iter().filter(|known| known.store != record.store && !known.is_forgotten());
            let mut all: Vec<_> = others.collect();
            all.push(record.clone());
            running.directory.learn(&all);
            return Ok((record.store, all));
        }
    }
    Err(Rejected::Busy { retry_after: limits::BUSY_RETRY_AFTER }.into())
}

/// The record of a site as a store that joins leaves it.
struct Binding {
    site: SiteRecord,
    is_new: bool,
    /// As it was looked at.
    expected: Expected,
}

impl Binding {
    fn condition(&self) -> Condition {
        Condition { key: StateKey::Site(self.site.label.clone()).key(), expected: self.expected.clone() }
    }

    fn mutation(&self) -> Option<Mutation> {
        let key = || StateKey::Site(self.site.label.clone()).key();
        self.is_new.then(|| put(key(), records::encode_site(&self.site)))
    }
}

/// A new store gets the next id. `None`: another one came first.
async fn admit(
    running: &Running,
    applicant: &Applicant,
    binding: &Binding,
    ticket: Option<&Ticket>,
) -> Result<Option<StoreRecord>, Rejected> {
    let next_key = StateKey::NextStore.key();
    let found = get(running, &next_key).await?;
    let next = match &found {
        None => return Err(Rejected::Unavailable("the system range is not set up yet".into())),
        Some(found) => records::decode_next_id(&found.value).map_err(damaged)?,
    };
    let store = StoreId::bounded(next).map_err(|bad| damaged(bad.into()))?;
    let record = StoreRecord { is_awaited: true, ..record_of(store, applicant, running.fleet_now()) };
    let expected = found.map_or(Expected::Absent, |found| Expected::Version(found.timestamp));
    let mut conditions = vec![Condition { key: next_key.clone(), expected }, binding.condition()];
    let mut mutations = vec![
        put(next_key, records::encode_next_id(next.saturating_add(1))),
        put(StateKey::Store(record.store).key(), records::encode_store(&record)),
    ];
    mutations.extend(binding.mutation());
    // In the same write: one token is one store, whatever is lost on the way.
    if let Some(ticket) = ticket.filter(|ticket| !ticket.is_spent()) {
        conditions.push(ticket.condition());
        mutations.push(ticket.spent_on(&record, running.fleet_now()));
    }
    Ok(write(running, conditions, mutations).await?.then_some(record))
}

/// A member that started again may have moved. `None`: its record changed meanwhile.
async fn renew(
    running: &Running,
    applicant: &Applicant,
    stores: &[StoreRecord],
    binding: &Binding,
) -> Result<Option<StoreRecord>, Rejected> {
    let store = applicant.store;
    let Some(known) = stores.iter().find(|known| known.store == store) else {
        return Err(Rejected::invalid(format!(
            "{store} is not a member of this fleet: its data belongs elsewhere, or it was removed; start it with an empty data directory"
        )));
    };
    if known.site != applicant.site {
        return Err(Rejected::invalid(format!(
            "{store} is a store of site {}, not {}: a store keeps its site for life; start it with --site {}",
            known.site, applicant.site, known.site
        )));
    }
    let record = renewed(known, applicant, running.fleet_now());
    if record == *known && !binding.is_new {
        return Ok(Some(record));
    }
    let key = StateKey::Store(store).key();
    let condition = Condition { key: key.clone(), expected: Expected::Value(records::encode_store(known)) };
    let mut mutations = vec![put(key, records::encode_store(&record))];
    mutations.extend(binding.mutation());
    Ok(write(running, vec![condition, binding.condition()], mutations).await?.then_some(record))
}

/// The record of a member by what it says now. It is awaited until it has started, whoever names it in a request before.
fn renewed(known: &StoreRecord, applicant: &Applicant, now: holdfast_types::Timestamp) -> StoreRecord {
    let said = record_of(known.store, applicant, now);
    StoreRecord { is_awaited: known.is_awaited && !applicant.has_started, ..known.renewed(said) }
}

fn record_of(store: StoreId, applicant: &Applicant, joined_at: holdfast_types::Timestamp) -> StoreRecord {
    StoreRecord {
        site_identity: applicant.site_identity.clone(),
        addresses: applicant.addresses.clone(),
        joined_at,
        zone: applicant.zone.clone(),
        application: applicant.application,
        ..StoreRecord::new(store, applicant.site.clone())
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::Timestamp;

    use super::*;

    fn request() -> v1::JoinRequest {
        v1::JoinRequest {
            site: "site-a".into(),
            client_address: "h:1".into(),
            store_address: "h:2".into(),
            application: Some(7_u128.into()),
            ..v1::JoinRequest::default()
        }
    }

    fn applicant(application: u128) -> Applicant {
        Applicant::of(&v1::JoinRequest { application: Some(application.into()), ..request() }).unwrap()
    }

    fn member(store: u64, application: u128) -> StoreRecord {
        record_of(StoreId(store), &applicant(application), Timestamp(1))
    }

    #[test]
    fn nothing_is_kept_of_a_store_that_is_not_short_and_printable() {
        assert!(Applicant::of(&request()).is_ok());
        let long = "x".repeat(1 << 20);
        let default = request;
        for bad in [
            v1::JoinRequest { client_address: format!("{long}:1"), ..default() },
            v1::JoinRequest { store_address: format!("{long}:1"), ..default() },
            v1::JoinRequest { store_address: String::new(), ..default() },
            v1::JoinRequest { client_address: "h\u{1b}[2J:1".into(), ..default() },
            v1::JoinRequest { store_address: "h:65535".into(), ..default() },
            v1::JoinRequest { site: long.clone(), ..default() },
            v1::JoinRequest { site: "Site A".into(), ..default() },
            v1::JoinRequest { site_identity: long.clone(), ..default() },
            v1::JoinRequest { site_identity: "a\nb".into(), ..default() },
            v1::JoinRequest { zone: long.clone(), ..default() },
            v1::JoinRequest { version: long.clone(), ..default() },
        ] {
            let Err(Rejected::Invalid(why)) = Applicant::of(&bad) else { panic!("it was taken") };
            assert!(why.len() < 4_000, "{} bytes", why.len());
        }
    }

    #[test]
    fn a_request_proves_no_start() {
        let awaited = StoreRecord { is_awaited: true, ..member(2, 7) };
        assert!(renewed(&awaited, &applicant(7), Timestamp(5)).is_awaited);
        let started = Applicant { has_started: true, ..applicant(7) };
        assert!(!renewed(&awaited, &started, Timestamp(5)).is_awaited);
        assert!(!renewed(&member(2, 7), &applicant(7), Timestamp(5)).is_awaited, "nor does it take one back");
    }

    #[test]
    fn who_asks_twice_is_let_in_once() {
        let known = [member(1, 5), StoreRecord { is_awaited: true, ..member(2, 7) }];
        assert_eq!(judge(&known, &applicant(7)), Ok(Some(known[1].clone())));
        assert_eq!(judge(&known, &applicant(8)), Ok(None));
        let nameless = Applicant { application: None, ..applicant(7) };
        let of_before = [StoreRecord { application: None, ..member(3, 7) }];
        assert_eq!(judge(&of_before, &nameless), Ok(None), "two that name no application are two");
        let elsewhere = Applicant { site: SiteName::new("b").unwrap(), ..applicant(7) };
        assert!(matches!(judge(&known, &elsewhere), Err(Rejected::Invalid(_))));
        let forgotten = [StoreRecord { forgotten_at: Some(Timestamp(9)), ..member(2, 7) }];
        assert!(matches!(judge(&forgotten, &applicant(7)), Err(Rejected::Invalid(_))));
    }

    #[test]
    fn stores_that_never_start_are_bounded_and_so_are_members() {
        let fleet = |awaited: usize, running: usize, forgotten: usize| -> Vec<StoreRecord> {
            let ids = 1..=u64::try_from(awaited + running + forgotten).unwrap();
            let record = |id: u64| {
                let (member, n) = (member(id, id.into()), usize::try_from(id).unwrap());
                StoreRecord {
                    is_awaited: n <= awaited,
                    forgotten_at: (n > awaited + running).then_some(Timestamp(9)),
                    ..member
                }
            };
            ids.map(record).collect()
        };
        let new = applicant(u128::MAX);
        let (awaited, members) = (limits::MAX_AWAITED_STORES, limits::MAX_MEMBERS);
        assert_eq!(judge(&fleet(awaited - 1, members - awaited, 9_000), &new), Ok(None));
        let refused = |fleet: Vec<StoreRecord>| match judge(&fleet, &new) {
            Err(Rejected::Unavailable(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(refused(fleet(awaited, 1, 0)).contains("holdfast forget s1`"));
        assert!(refused(fleet(0, members, 0)).contains("1024 stores"));
        assert!(refused(fleet(0, 1, limits::MAX_STORE_RECORDS)).contains("ids of stores"));
        assert_eq!(judge(&fleet(awaited, members, 0), &applicant(1)), Ok(Some(fleet(awaited, 1, 0)[0].clone())));
    }
}
