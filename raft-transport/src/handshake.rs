//! Who connects to whom: the first frames of every stream and of every support connection. Raw integers of the wire stop in `wire`.
//!
//! Anybody who knows the fleet's id can say a hello under any name. A store that a record of the fleet or this store's own disk names is
//! *proved*; of all others a few are remembered ([`limits::UNPROVED_STORES`]), and no word of theirs ends this store.
//!
//! With TLS nobody says a hello for another site than that of his certificate, nor under the name of a store that is on record as another
//! site's: whoever has the keys of one site speaks for the stores of that site, and for no others.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

mod wire;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_trust::Party;
use holdfast_types::{FleetId, Incarnation, OutOfBounds, SiteName, StoreId, limits};
use parking_lot::Mutex;

pub(crate) use wire::{hello, refused, welcome};

/// The version of handshake and framing that this program speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// How a refusal names the version of handshake and framing, among the formats.
const PROTOCOL_FORMAT: &str = "transport";

/// A format of payloads, and the versions of it that this program can read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// Its name, the same in every store.
    pub name: String,
    /// The oldest version that can be read.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

/// Who this store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Its fleet.
    pub fleet: FleetId,
    /// Its id.
    pub store: StoreId,
    /// This start of it; synced before the first contact.
    pub incarnation: Incarnation,
    /// Which process that is. A copy of a disk may repeat an incarnation.
    pub process: Process,
    /// Its site.
    pub site: SiteName,
    /// Where it says that it can be reached, told in every handshake.
    pub addresses: Addresses,
    /// What its payloads are written in. Of a format that both stores name, the versions must overlap.
    pub formats: Vec<Format>,
}

/// One process that runs as a store, among all that ever did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Process {
    /// Random bits, drawn at its start; 0: it does not say.
    pub number: u64,
    /// The counter of its log when it started; 0: it does not say.
    pub started_at: u64,
}

impl Process {
    fn is_another(self, than: Process) -> bool {
        // A caller that does not say who it is takes nobody's place.
        self.number != than.number && than.number != 0
    }
}

/// Where a store says that it can be reached: `host:port`, empty when it does not say.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Addresses {
    /// For clients.
    pub client: String,
    /// For other stores.
    pub store_to_store: String,
}

/// What a store said of itself as it called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introduction {
    /// Who it is.
    pub store: StoreId,
    /// This start of it.
    pub incarnation: Incarnation,
    /// Its site.
    pub site: SiteName,
    /// Where it can be reached.
    pub addresses: Addresses,
}

/// Why a connection was not taken by the other store.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The store there belongs to another fleet.
    #[error("the store there belongs to fleet {fleet}: correct the address or the fleet")]
    WrongFleet {
        /// That fleet.
        fleet: FleetId,
    },
    /// Another store lives at the address.
    #[error("store {store} lives at this address now: wait for its new address")]
    WrongStore {
        /// Who lives there.
        store: StoreId,
    },
    /// No version that both know.
    #[error("{} is known there in versions {} to {}: upgrade the older store first", known.name, known.oldest, known.newest)]
    UnknownVersion {
        /// What is known there.
        known: Format,
    },
    /// A later start of the connecting store was heard of: two processes run as one store, or an old disk came back.
    #[error("incarnation {newest} has been seen, which is later: stop the other process that runs as this store")]
    OldIncarnation {
        /// The newest one seen.
        newest: Incarnation,
    },
    /// The store is connected as another process, which was here first: the newcomer runs on a copy of its disk.
    #[error(
        "this store runs as another process already, as incarnation {alive}, and that one is left in peace: stop this one, and never \
             start a copy of a disk beside its original"
    )]
    RunsElsewhere {
        /// The incarnation of that process.
        alive: Incarnation,
    },
    /// More was seen of the store than its disk knows: an old image of it was restored, or a copy of it was started.
    #[error(
        "incarnation {newest} has been seen with log counter {counter}, of which this disk knows nothing: it was put back in time"
    )]
    PutBack {
        /// The newest incarnation seen.
        newest: Incarnation,
        /// The highest counter of its log.
        counter: u64,
    },
    /// An operator had the fleet forget the connecting store.
    #[error(
        "this store was forgotten by the fleet: its identity is over; start it with an empty data directory to join as a new store"
    )]
    Forgotten,
    /// The certificate is of another site than the one that the connecting store says, or that the fleet has it on record with.
    #[error(
        "the certificate is of site {certificate}, and the store is one of site {said}: start it with a certificate of its own site"
    )]
    NotItsSite {
        /// Whose the certificate is.
        certificate: SiteName,
        /// Where the store says that it is, or the fleet.
        said: SiteName,
    },
    /// What was said is no proper handshake.
    #[error("no proper handshake: {0}")]
    Malformed(String),
}

impl Refusal {
    /// What was said is no proper handshake, for this reason, of which the beginning is told.
    pub(crate) fn malformed(why: impl AsRef<str>) -> Self {
        Self::Malformed(wire::short(why.as_ref()))
    }
}

impl From<OutOfBounds> for Refusal {
    fn from(bad: OutOfBounds) -> Self {
        Self::malformed(bad.to_string())
    }
}

/// A store that has said a proper hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    pub(crate) store: StoreId,
    pub(crate) incarnation: Incarnation,
    pub(crate) process: Process,
    pub(crate) site: SiteName,
    pub(crate) class: v1::LinkClass,
    /// Whose certificate stands behind it; `None` on a plain connection.
    pub(crate) party: Option<Party>,
}

/// What is known of one store, of its newest process that was taken.
#[derive(Clone, Copy, Default, Debug)]
struct Life {
    incarnation: Incarnation,
    process: Process,
    /// The highest counter of its log that was heard of.
    counter: u64,
    /// Streams that this process has open to this store.
    streams: u32,
    /// When its support was heard last.
    heard_at: Option<Instant>,
    /// When the last stream of this process ended.
    left_at: Option<Instant>,
}

impl Life {
    /// True while the process has a stream open, and is heard if it was ever.
    fn is_alive(&self, now: Instant) -> bool {
        self.streams > 0
            && self.heard_at.is_none_or(|at| now.duration_since(at) < limits::SUPPORT_INTERVAL.saturating_mul(2))
    }

    /// True when anything of the process was heard within this time.
    fn is_heard(&self, within: Duration, now: Instant) -> bool {
        let lately = |at: Option<Instant>| at.is_some_and(|at| now.duration_since(at) < within);
        self.streams > 0 || lately(self.heard_at) || lately(self.left_at)
    }
}

/// The newest incarnation of each store that a handshake showed, and whether it lives. Shared by streams and support link of one store.
///
/// - An incarnation goes on in one process only; the first that was taken is the store itself.
/// - While that process is alive no other one is taken for the store, whatever incarnation it says.
/// - A process that started before the end of what was seen of the store is never taken.
/// - Nothing is taken for a store that was forgotten.
/// - At most [`limits::UNPROVED_STORES`] stores are remembered that nothing proves; those with open streams stay, of the others the one that
///   was silent for longest goes first.
#[derive(Clone, Default, Debug)]
pub struct Incarnations {
    newest: Arc<Mutex<BTreeMap<StoreId, Life>>>,
    /// Who refused this store, and the later life of it that was seen there.
    refused: Arc<Mutex<Option<SeenElsewhere>>>,
    forgotten: Arc<Mutex<BTreeSet<StoreId>>>,
    /// Those that are on record, with the site that they are on record with.
    proved: Arc<Mutex<BTreeMap<StoreId, Option<SiteName>>>>,
}

/// Another store has seen more of this one than it knows itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeenElsewhere {
    /// Who.
    pub by: StoreId,
    /// The highest incarnation.
    pub incarnation: Incarnation,
    /// The highest counter of its log; 0: not told.
    pub counter: u64,
}

/// A stream that is open: as long as this is kept, its store counts as alive.
#[derive(Debug)]
pub(crate) struct Presence {
    newest: Arc<Mutex<BTreeMap<StoreId, Life>>>,
    store: StoreId,
    process: Process,
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(life) = self.newest.lock().get_mut(&self.store).filter(|life| life.process == self.process) {
            life.streams = life.streams.saturating_sub(1);
            if life.streams == 0 {
                life.left_at = Some(Instant::now());
            }
        }
    }
}

impl Incarnations {
    /// What was seen of a store in an earlier life of this one.
    pub fn remember(&self, store: StoreId, incarnation: Incarnation, counter: u64) {
        self.prove(store);
        let mut newest = self.newest.lock();
        let life = newest.entry(store).or_default();
        life.incarnation = incarnation.max(life.incarnation);
        life.counter = counter.max(life.counter);
    }

    /// A record of the fleet, or this store's own disk, names a store: it is more than its own word.
    pub fn prove(&self, store: StoreId) {
        self.proved.lock().entry(store).or_default();
    }

    /// The same of a record that says of which site the store is: with TLS nobody with a certificate of another site is taken for it.
    pub fn prove_of(&self, store: StoreId, site: &SiteName) {
        self.proved.lock().insert(store, Some(site.clone()));
    }

    /// Of which site a store is on record.
    fn site_of(&self, store: StoreId) -> Option<SiteName> {
        self.proved.lock().get(&store).cloned().flatten()
    }

    /// Stores remembered.
    pub(crate) fn len(&self) -> usize {
        self.newest.lock().len()
    }

    /// True for a store that is on record.
    #[must_use]
    pub fn is_proved(&self, store: StoreId) -> bool {
        self.proved.lock().contains_key(&store)
    }

    /// Sees to it that one more store can be remembered.
    fn make_room(&self, newest: &mut BTreeMap<StoreId, Life>, newcomer: StoreId) -> Result<(), Refusal> {
        if newest.contains_key(&newcomer) || self.is_proved(newcomer) {
            return Ok(());
        }
        let proved = self.proved.lock();
        let unproved = newest.iter().filter(|(store, _)| !proved.contains_key(*store));
        if unproved.clone().count() < limits::UNPROVED_STORES {
            return Ok(());
        }
        let silent =
            unproved.filter(|(_, life)| life.streams == 0).min_by_key(|(_, life)| life.heard_at.max(life.left_at));
        let Some(store) = silent.map(|(store, _)| *store) else {
            return Err(Refusal::malformed(format!(
                "nothing on record names {newcomer}, and {} others that nothing names are connected",
                limits::UNPROVED_STORES
            )));
        };
        newest.remove(&store);
        Ok(())
    }

    /// The fleet has forgotten a store: from here on every handshake with it fails, and what was seen of it does not count.
    pub fn forget(&self, store: StoreId) {
        self.forgotten.lock().insert(store);
        self.proved.lock().remove(&store);
        self.newest.lock().remove(&store);
    }

    /// True for a store that the fleet has forgotten.
    #[must_use]
    pub fn is_forgotten(&self, store: StoreId) -> bool {
        self.forgotten.lock().contains(&store)
    }

    /// The stores that the fleet has forgotten.
    #[must_use]
    pub fn forgotten(&self) -> BTreeSet<StoreId> {
        self.forgotten.lock().clone()
    }

    /// True when a store has a stream open to this one, or was heard within this time.
    #[must_use]
    pub fn hears(&self, store: StoreId, within: Duration) -> bool {
        self.newest.lock().get(&store).is_some_and(|life| life.is_heard(within, Instant::now()))
    }

    /// Notes what was heard of a store in its support: its log has come so far.
    pub fn note(&self, store: StoreId, incarnation: Incarnation, counter: u64) {
        let mut newest = self.newest.lock();
        let Some(life) = newest.get_mut(&store) else { return };
        life.counter = counter.max(life.counter);
        if incarnation == life.incarnation {
            life.heard_at = Some(Instant::now());
        }
    }

    /// More was seen of this store by another one than it knows: an old disk came back, or a copy of it.
    #[must_use]
    pub fn refused(&self) -> Option<SeenElsewhere> {
        *self.refused.lock()
    }

    fn admit(&self, store: StoreId, incarnation: Incarnation, process: Process) -> Result<(), Refusal> {
        if self.is_forgotten(store) {
            return Err(Refusal::Forgotten);
        }
        let mut newest = self.newest.lock();
        self.make_room(&mut newest, store)?;
        let life = newest.entry(store).or_default();
        if incarnation == life.incarnation && !process.is_another(life.process) {
            if life.process == Process::default() {
                life.process = process;
            }
            return Ok(());
        }
        if process.is_another(life.process) && life.is_alive(Instant::now()) {
            return Err(Refusal::RunsElsewhere { alive: life.incarnation });
        }
        let seen = Refusal::PutBack { newest: life.incarnation, counter: life.counter };
        match incarnation.cmp(&life.incarnation) {
            Ordering::Less => Err(Refusal::OldIncarnation { newest: life.incarnation }),
            Ordering::Equal => Err(seen),
            Ordering::Greater if process.started_at != 0 && process.started_at < life.counter => Err(seen),
            Ordering::Greater => {
                *life = Life { incarnation, process, counter: life.counter, ..Life::default() };
                Ok(())
            }
        }
    }

    /// A stream of a store that was taken is open from now on.
    pub(crate) fn presence(&self, store: StoreId, process: Process) -> Presence {
        if let Some(life) = self.newest.lock().get_mut(&store).filter(|life| life.process == process) {
            life.streams = life.streams.saturating_add(1);
        }
        Presence { newest: Arc::clone(&self.newest), store, process }
    }
}

/// Who a first frame says that it comes from.
pub(crate) fn caller_of(first: &v1::LinkFrame) -> StoreId {
    let Some(Body::Hello(hello)) = &first.body else { return StoreId::NONE };
    StoreId::bounded(hello.from_store_id).unwrap_or_default()
}

/// A hello fits the certificate that it comes with, if there is one.
fn check_site(
    incarnations: &Incarnations,
    store: StoreId,
    said: &SiteName,
    party: Option<&Party>,
) -> Result<(), Refusal> {
    let Some(party) = party else { return Ok(()) };
    // Nobody else gets so far: the port lets in stores alone.
    let Some(certificate) = party.principal.site() else {
        return Err(Refusal::malformed(format!("the certificate of {}, who is no store", party.principal)));
    };
    let recorded = incarnations.site_of(store);
    match [Some(said), recorded.as_ref()].into_iter().flatten().find(|site| *site != certificate) {
        Some(site) => Err(Refusal::NotItsSite { certificate: certificate.clone(), said: site.clone() }),
        None => Ok(()),
    }
}

/// What a hello of this fleet says of the store that calls, whether it is taken or not; `None`: nothing that can be used. `party`: whose
/// certificate came with it.
pub(crate) fn introduction(
    identity: &Identity,
    incarnations: &Incarnations,
    first: &v1::LinkFrame,
    party: Option<&Party>,
) -> Option<Introduction> {
    let Some(Body::Hello(hello)) = &first.body else { return None };
    if wire::calls_from(hello).1 != Some(identity.fleet) {
        return None;
    }
    let wire::Hello { from: store, life, site, addresses, .. } = wire::hello_of(hello).ok()?;
    if store == identity.store || store == StoreId::NONE || addresses.store_to_store.is_empty() {
        return None;
    }
    check_site(incarnations, store, &site, party).ok()?;
    Some(Introduction { store, incarnation: life.incarnation, site, addresses })
}

/// The accepting side: judges the first frame. `party`: whose certificate came with it; `None` on a plain connection.
pub(crate) fn judge_hello(
    identity: &Identity,
    incarnations: &Incarnations,
    first: v1::LinkFrame,
    party: Option<&Party>,
) -> Result<Caller, Refusal> {
    let Some(Body::Hello(hello)) = first.body else {
        return Err(Refusal::malformed("the first frame is no hello"));
    };
    let (version, fleet) = wire::calls_from(&hello);
    if version != PROTOCOL_VERSION {
        let name = PROTOCOL_FORMAT.to_owned();
        let known = Format { name, oldest: PROTOCOL_VERSION, newest: PROTOCOL_VERSION };
        return Err(Refusal::UnknownVersion { known });
    }
    if fleet != Some(identity.fleet) {
        return Err(Refusal::WrongFleet { fleet: identity.fleet });
    }
    let wire::Hello { from: store, to, life, site, class, .. } = wire::hello_of(&hello)?;
    if to != identity.store {
        return Err(Refusal::WrongStore { store: identity.store });
    }
    check_site(incarnations, store, &site, party)?;
    if store == StoreId::NONE || store == identity.store {
        return Err(Refusal::malformed(format!("a hello from {store} to {}", identity.store)));
    }
    if class == v1::LinkClass::Unspecified {
        return Err(Refusal::malformed("a hello for a class of streams that is not known here"));
    }
    check_formats(&identity.formats, &life.formats)?;
    let wire::Life { incarnation, process, .. } = life;
    incarnations.admit(store, incarnation, process)?;
    Ok(Caller { store, incarnation, process, site, class, party: party.cloned() })
}

/// The connecting side: judges the answer of the store that it meant to reach.
pub(crate) fn judge_answer(
    identity: &Identity,
    incarnations: &Incarnations,
    expected: StoreId,
    answer: v1::LinkFrame,
) -> Result<Incarnation, Refusal> {
    match answer.body {
        Some(Body::Welcome(welcome)) => {
            let (store, life) = wire::welcome_of(&welcome)?;
            if store != expected {
                return Err(Refusal::WrongStore { store });
            }
            check_formats(&identity.formats, &life.formats)?;
            let wire::Life { incarnation, process, .. } = life;
            incarnations.admit(store, incarnation, process).map(|()| incarnation).map_err(|refusal| match refusal {
                // A refusal in an answer is a word about this store, and this one would end by it.
                Refusal::Forgotten => forgotten_there(store),
                other => other,
            })
        }
        Some(Body::Refused(refused)) => {
            let refusal = wire::refusal_of(refused)?;
            if refusal == Refusal::Forgotten && incarnations.is_forgotten(expected) {
                return Err(forgotten_there(expected));
            }
            let seen = match refusal {
                Refusal::OldIncarnation { newest } if newest > identity.incarnation => Some((newest, 0)),
                Refusal::PutBack { newest, counter } => Some((newest, counter)),
                _ => None,
            };
            // By either word this store ends. Nobody has it who is known by his own word alone.
            if (seen.is_some() || refusal == Refusal::Forgotten) && !incarnations.is_proved(expected) {
                return Err(Refusal::malformed(format!("{expected}, which nothing proves, says: {refusal}")));
            }
            if let Some((incarnation, counter)) = seen {
                *incarnations.refused.lock() = Some(SeenElsewhere { by: expected, incarnation, counter });
            }
            Err(refusal)
        }
        _ => Err(Refusal::malformed("the answer is neither a welcome nor a refusal")),
    }
}

/// This store has no business with one that the fleet has forgotten, whatever that one says.
fn forgotten_there(store: StoreId) -> Refusal {
    Refusal::malformed(format!("{store} was forgotten by the fleet, and answers all the same"))
}

fn check_formats(ours: &[Format], theirs: &[Format]) -> Result<(), Refusal> {
    for their in theirs {
        let our = ours.iter().find(|our| our.name == their.name);
        if let Some(known) = our.filter(|our| our.newest < their.oldest || their.newest < our.oldest) {
            return Err(Refusal::UnknownVersion { known: known.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
