//! Who connects to whom: the first frames of every stream and of every support connection. Raw integers of the wire stop here.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_proto::v1;
use holdfast_proto::v1::link_frame::Body;
use holdfast_types::{FleetId, Incarnation, SiteName, StoreId, limits};
use parking_lot::Mutex;

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
        self.number != than.number && self.number != 0 && than.number != 0
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

/// How connections are protected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Security {
    /// Not at all: the network between the stores must be trusted. The handshake keeps honest stores from mistakes, it does not
    /// keep out a liar. Certificates will be a second variant; `LinkHello.identity_proof` is kept for them.
    #[default]
    Plain,
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
    /// What was said is no proper handshake.
    #[error("no proper handshake: {0}")]
    Malformed(String),
}

/// A store that has said a proper hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    pub(crate) store: StoreId,
    pub(crate) incarnation: Incarnation,
    pub(crate) process: Process,
    pub(crate) site: SiteName,
    pub(crate) class: v1::LinkClass,
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
        self.streams > 0 && self.heard_at.is_none_or(|at| now.duration_since(at) < 2 * limits::SUPPORT_INTERVAL)
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
#[derive(Clone, Default, Debug)]
pub struct Incarnations {
    newest: Arc<Mutex<BTreeMap<StoreId, Life>>>,
    /// Who refused this store, and the later life of it that was seen there.
    refused: Arc<Mutex<Option<SeenElsewhere>>>,
    forgotten: Arc<Mutex<BTreeSet<StoreId>>>,
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
        let mut newest = self.newest.lock();
        let life = newest.entry(store).or_default();
        life.incarnation = incarnation.max(life.incarnation);
        life.counter = counter.max(life.counter);
    }

    /// The fleet has forgotten a store: from here on every handshake with it fails, and what was seen of it does not count.
    pub fn forget(&self, store: StoreId) {
        self.forgotten.lock().insert(store);
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
        if self.is_forgotten(store) {
            return;
        }
        let mut newest = self.newest.lock();
        let life = newest.entry(store).or_default();
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
            life.streams += 1;
        }
        Presence { newest: Arc::clone(&self.newest), store, process }
    }
}

/// The first frame of a connection.
pub(crate) fn hello(identity: &Identity, to: StoreId, class: v1::LinkClass) -> v1::LinkFrame {
    frame(Body::Hello(v1::LinkHello {
        protocol_version: PROTOCOL_VERSION,
        fleet_id: Some(identity.fleet.into()),
        from_store_id: identity.store.0,
        to_store_id: to.0,
        incarnation: identity.incarnation.0,
        class: class.into(),
        site: identity.site.as_str().to_owned(),
        formats: formats_to_wire(&identity.formats),
        identity_proof: bytes::Bytes::new(),
        process: identity.process.number,
        started_at: identity.process.started_at,
        client_address: identity.addresses.client.clone(),
        store_address: identity.addresses.store_to_store.clone(),
    }))
}

/// What a hello of this fleet says of the store that calls, whether it is taken or not; `None`: nothing that can be used.
pub(crate) fn introduction(identity: &Identity, first: &v1::LinkFrame) -> Option<Introduction> {
    let Some(Body::Hello(hello)) = &first.body else { return None };
    let store = StoreId(hello.from_store_id);
    let is_ours = hello.fleet_id.map(FleetId::from) == Some(identity.fleet) && store != identity.store;
    let addresses = [&hello.client_address, &hello.store_address];
    let is_short = addresses.iter().all(|address| address.len() <= limits::MAX_ADDRESS_BYTES);
    if !is_ours || !is_short || store == StoreId::NONE || hello.store_address.is_empty() {
        return None;
    }
    Some(Introduction {
        store,
        incarnation: Incarnation(hello.incarnation),
        site: SiteName::new(&hello.site).ok()?,
        addresses: Addresses { client: hello.client_address.clone(), store_to_store: hello.store_address.clone() },
    })
}

/// The accepting side: judges the first frame.
pub(crate) fn judge_hello(
    identity: &Identity,
    incarnations: &Incarnations,
    first: v1::LinkFrame,
) -> Result<Caller, Refusal> {
    let Some(Body::Hello(hello)) = first.body else {
        return Err(Refusal::Malformed("the first frame is no hello".to_owned()));
    };
    if hello.protocol_version != PROTOCOL_VERSION {
        let name = PROTOCOL_FORMAT.to_owned();
        let known = Format { name, oldest: PROTOCOL_VERSION, newest: PROTOCOL_VERSION };
        return Err(Refusal::UnknownVersion { known });
    }
    if hello.fleet_id.map(FleetId::from) != Some(identity.fleet) {
        return Err(Refusal::WrongFleet { fleet: identity.fleet });
    }
    if StoreId(hello.to_store_id) != identity.store {
        return Err(Refusal::WrongStore { store: identity.store });
    }
    let store = StoreId(hello.from_store_id);
    if store == StoreId::NONE || store == identity.store {
        return Err(Refusal::Malformed(format!("a hello from {store} to {}", identity.store)));
    }
    let site = SiteName::new(&hello.site).map_err(Refusal::Malformed)?;
    let class = match hello.class() {
        v1::LinkClass::Unspecified => return Err(Refusal::Malformed(format!("class {}", hello.class))),
        class => class,
    };
    check_formats(&identity.formats, &hello.formats)?;
    let incarnation = Incarnation(hello.incarnation);
    let process = Process { number: hello.process, started_at: hello.started_at };
    incarnations.admit(store, incarnation, process)?;
    Ok(Caller { store, incarnation, process, site, class })
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
            let store = StoreId(welcome.store_id);
            if store != expected {
                return Err(Refusal::WrongStore { store });
            }
            check_formats(&identity.formats, &welcome.formats)?;
            let incarnation = Incarnation(welcome.incarnation);
            let process = Process { number: welcome.process, started_at: welcome.started_at };
            incarnations.admit(store, incarnation, process).map(|()| incarnation).map_err(|refusal| match refusal {
                // A refusal in an answer is a word about this store, and this one would end by it.
                Refusal::Forgotten => forgotten_there(store),
                other => other,
            })
        }
        Some(Body::Refused(refused)) => {
            let refusal = refusal_from_wire(refused);
            if refusal == Refusal::Forgotten && incarnations.is_forgotten(expected) {
                return Err(forgotten_there(expected));
            }
            let seen = match refusal {
                Refusal::OldIncarnation { newest } if newest > identity.incarnation => Some((newest, 0)),
                Refusal::PutBack { newest, counter } => Some((newest, counter)),
                _ => None,
            };
            if let Some((incarnation, counter)) = seen {
                *incarnations.refused.lock() = Some(SeenElsewhere { by: expected, incarnation, counter });
            }
            Err(refusal)
        }
        _ => Err(Refusal::Malformed("the answer is neither a welcome nor a refusal".to_owned())),
    }
}

/// This store has no business with one that the fleet has forgotten, whatever that one says.
fn forgotten_there(store: StoreId) -> Refusal {
    Refusal::Malformed(format!("{store} was forgotten by the fleet, and answers all the same"))
}

/// The answer that takes a connection.
pub(crate) fn welcome(identity: &Identity) -> v1::LinkFrame {
    frame(Body::Welcome(v1::LinkWelcome {
        protocol_version: PROTOCOL_VERSION,
        store_id: identity.store.0,
        incarnation: identity.incarnation.0,
        formats: formats_to_wire(&identity.formats),
        process: identity.process.number,
        started_at: identity.process.started_at,
    }))
}

/// The answer that does not.
pub(crate) fn refused(refusal: &Refusal) -> v1::LinkFrame {
    let mut refused = v1::LinkRefused { detail: refusal.to_string(), ..Default::default() };
    let reason = match refusal {
        Refusal::WrongFleet { fleet } => {
            refused.fleet_id = Some((*fleet).into());
            v1::LinkRefusal::WrongFleet
        }
        Refusal::WrongStore { store } => {
            refused.store_id = store.0;
            v1::LinkRefusal::WrongStore
        }
        Refusal::UnknownVersion { known } => {
            refused.known = Some(format_to_wire(known));
            v1::LinkRefusal::UnknownVersion
        }
        Refusal::OldIncarnation { newest } => {
            refused.incarnation = newest.0;
            v1::LinkRefusal::OldIncarnation
        }
        Refusal::RunsElsewhere { alive } => {
            refused.incarnation = alive.0;
            v1::LinkRefusal::RunsElsewhere
        }
        Refusal::PutBack { newest, counter } => {
            (refused.incarnation, refused.counter) = (newest.0, *counter);
            v1::LinkRefusal::PutBack
        }
        Refusal::Forgotten => v1::LinkRefusal::Forgotten,
        Refusal::Malformed(detail) => {
            refused.detail.clone_from(detail);
            v1::LinkRefusal::Malformed
        }
    };
    refused.reason = reason.into();
    frame(Body::Refused(refused))
}

fn refusal_from_wire(refused: v1::LinkRefused) -> Refusal {
    match refused.reason() {
        v1::LinkRefusal::WrongFleet => {
            Refusal::WrongFleet { fleet: refused.fleet_id.map(FleetId::from).unwrap_or_default() }
        }
        v1::LinkRefusal::WrongStore => Refusal::WrongStore { store: StoreId(refused.store_id) },
        v1::LinkRefusal::UnknownVersion => {
            let known = refused.known.unwrap_or_default();
            Refusal::UnknownVersion { known: Format { name: known.name, oldest: known.oldest, newest: known.newest } }
        }
        v1::LinkRefusal::OldIncarnation => Refusal::OldIncarnation { newest: Incarnation(refused.incarnation) },
        v1::LinkRefusal::RunsElsewhere => Refusal::RunsElsewhere { alive: Incarnation(refused.incarnation) },
        v1::LinkRefusal::PutBack => {
            Refusal::PutBack { newest: Incarnation(refused.incarnation), counter: refused.counter }
        }
        v1::LinkRefusal::Forgotten => Refusal::Forgotten,
        v1::LinkRefusal::Malformed | v1::LinkRefusal::Unspecified => Refusal::Malformed(refused.detail),
    }
}

fn frame(body: Body) -> v1::LinkFrame {
    v1::LinkFrame { body: Some(body) }
}

fn format_to_wire(format: &Format) -> v1::LinkFormat {
    v1::LinkFormat { name: format.name.clone(), oldest: format.oldest, newest: format.newest }
}

fn formats_to_wire(formats: &[Format]) -> Vec<v1::LinkFormat> {
    formats.iter().map(format_to_wire).collect()
}

fn check_formats(ours: &[Format], theirs: &[v1::LinkFormat]) -> Result<(), Refusal> {
    if theirs.len() > limits::MAX_STREAM_FORMATS {
        return Err(Refusal::Malformed(format!("{} formats", theirs.len())));
    }
    for their in theirs {
        let our = ours.iter().find(|our| our.name == their.name);
        if let Some(known) = our.filter(|our| our.newest < their.oldest || their.newest < our.oldest) {
            return Err(Refusal::UnknownVersion { known: known.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(store: u64) -> Identity {
        Identity {
            fleet: FleetId(7),
            store: StoreId(store),
            incarnation: Incarnation(3),
            process: Process::default(),
            site: SiteName::new("a").unwrap(),
            addresses: Addresses { client: "h:1".into(), store_to_store: "h:2".into() },
            formats: vec![Format { name: "messages".into(), oldest: 1, newest: 2 }],
        }
    }

    fn judge(caller: &Identity) -> Result<Caller, Refusal> {
        judge_hello(&identity(2), &Incarnations::default(), hello(caller, StoreId(2), v1::LinkClass::Log))
    }

    #[test]
    fn formats_must_overlap_where_both_know_them() {
        let mut caller = identity(1);
        assert!(judge(&caller).is_ok());
        caller.formats = vec![Format { name: "messages".into(), oldest: 3, newest: 4 }];
        assert_eq!(judge(&caller), Err(Refusal::UnknownVersion { known: identity(2).formats[0].clone() }));
        caller.formats = vec![Format { name: "new".into(), oldest: 9, newest: 9 }];
        assert!(judge(&caller).is_ok());
    }

    #[test]
    fn an_older_start_of_a_store_is_refused() {
        let seen = Incarnations::default();
        let mut caller = identity(1);
        let judge = |caller: &Identity| {
            judge_hello(&identity(2), &seen, hello(caller, StoreId(2), v1::LinkClass::Log))
                .map(|caller| caller.incarnation)
        };
        assert_eq!(judge(&caller), Ok(Incarnation(3)));
        caller.incarnation = Incarnation(2);
        assert_eq!(judge(&caller), Err(Refusal::OldIncarnation { newest: Incarnation(3) }));
        caller.incarnation = Incarnation(4);
        assert_eq!(judge(&caller), Ok(Incarnation(4)));
    }

    #[test]
    fn who_calls_says_where_it_lives_even_when_it_meant_another() {
        let first = |caller: &Identity, to| hello(caller, StoreId(to), v1::LinkClass::Log);
        let of = |first: &v1::LinkFrame| introduction(&identity(2), first);
        let said = of(&first(&identity(1), 5)).unwrap();
        assert_eq!((said.store, said.incarnation, said.addresses), (StoreId(1), Incarnation(3), identity(1).addresses));
        let mut stranger = identity(1);
        stranger.fleet = FleetId(8);
        assert_eq!(of(&first(&stranger, 2)), None, "another fleet");
        let mut long = identity(1);
        long.addresses.client = "x".repeat(10_000);
        assert_eq!(of(&first(&long, 2)), None, "no address is so long");
        assert_eq!(of(&first(&identity(2), 2)), None, "itself");
    }

    #[test]
    fn a_refused_hello_does_not_count_as_seen() {
        let seen = Incarnations::default();
        let mut liar = identity(1);
        liar.incarnation = Incarnation(99);
        liar.fleet = FleetId(8);
        let hello_of = |caller: &Identity| hello(caller, StoreId(2), v1::LinkClass::Log);
        assert!(judge_hello(&identity(2), &seen, hello_of(&liar)).is_err());
        assert!(judge_hello(&identity(2), &seen, hello_of(&identity(1))).is_ok());
    }

    #[test]
    fn store_that_was_refused_for_its_incarnation_knows_by_whom() {
        let known = Incarnations::default();
        let refuse = |newest| refused(&Refusal::OldIncarnation { newest: Incarnation(newest) });
        assert!(judge_answer(&identity(1), &known, StoreId(2), refuse(2)).is_err());
        assert_eq!(known.refused(), None, "an answer to an earlier start of this store");
        assert!(judge_answer(&identity(1), &known, StoreId(2), refuse(9)).is_err());
        let seen = SeenElsewhere { by: StoreId(2), incarnation: Incarnation(9), counter: 0 };
        assert_eq!(known.refused(), Some(seen));
        let refusal = refused(&Refusal::PutBack { newest: Incarnation(3), counter: 77 });
        assert!(judge_answer(&identity(1), &known, StoreId(2), refusal).is_err());
        assert_eq!(known.refused().unwrap().counter, 77, "an incarnation was repeated");
    }

    fn as_process(incarnation: u64, number: u64, started_at: u64) -> Identity {
        Identity { incarnation: Incarnation(incarnation), process: Process { number, started_at }, ..identity(1) }
    }

    fn taken(seen: &Incarnations, caller: &Identity) -> Result<Presence, Refusal> {
        let judged = judge_hello(&identity(2), seen, hello(caller, StoreId(2), v1::LinkClass::Log))?;
        Ok(seen.presence(judged.store, judged.process))
    }

    #[test]
    fn copy_beside_its_living_original_is_refused_and_the_original_is_left_in_peace() {
        let seen = Incarnations::default();
        let original = as_process(5, 77, 100);
        let streams = [taken(&seen, &original).unwrap(), taken(&seen, &original).unwrap()];
        let alive = Refusal::RunsElsewhere { alive: Incarnation(5) };
        assert_eq!(taken(&seen, &as_process(6, 88, 100)).unwrap_err(), alive, "started later from a copy");
        assert_eq!(
            taken(&seen, &as_process(5, 88, 90)).unwrap_err(),
            alive,
            "from an older image: the number is repeated"
        );
        assert_eq!(taken(&seen, &as_process(4, 88, 80)).unwrap_err(), alive);
        drop(taken(&seen, &original).unwrap());
        drop(streams);
        assert!(taken(&seen, &as_process(6, 99, 120)).is_ok(), "started again, when it was gone");
        let refusal = taken(&seen, &original).unwrap_err();
        assert_eq!(refusal, Refusal::OldIncarnation { newest: Incarnation(6) });
    }

    #[test]
    fn a_disk_that_was_put_back_is_refused_whatever_incarnation_it_says() {
        let seen = Incarnations::default();
        drop(taken(&seen, &as_process(5, 77, 100)).unwrap());
        seen.note(StoreId(1), Incarnation(5), 150);
        let put_back = Refusal::PutBack { newest: Incarnation(5), counter: 150 };
        assert_eq!(taken(&seen, &as_process(5, 88, 100)).unwrap_err(), put_back, "the number is repeated");
        assert_eq!(taken(&seen, &as_process(6, 88, 140)).unwrap_err(), put_back, "batches 140 to 150 are forgotten");
        assert!(taken(&seen, &as_process(6, 88, 150)).is_ok());
    }

    #[test]
    fn process_whose_support_has_ended_does_not_keep_its_next_start_out() {
        let seen = Incarnations::default();
        let _stream = taken(&seen, &as_process(5, 77, 100)).unwrap();
        seen.note(StoreId(1), Incarnation(5), 100);
        assert!(taken(&seen, &as_process(6, 88, 101)).is_err());
        let long_ago = Instant::now().checked_sub(3 * limits::SUPPORT_INTERVAL).expect("the machine runs that long");
        seen.newest.lock().get_mut(&StoreId(1)).unwrap().heard_at = Some(long_ago);
        assert!(
            taken(&seen, &as_process(6, 88, 101)).is_ok(),
            "the machine vanished: its connections are only not known to be dead"
        );
    }

    #[test]
    fn a_forgotten_store_is_refused_whatever_it_says_and_told_so() {
        let seen = Incarnations::default();
        let _stream = taken(&seen, &as_process(5, 77, 100)).unwrap();
        assert!(seen.hears(StoreId(1), Duration::ZERO), "it has a stream open");
        seen.forget(StoreId(1));
        seen.note(StoreId(1), Incarnation(5), 150);
        assert!(!seen.hears(StoreId(1), Duration::from_secs(60)), "what comes late does not bring it back");
        for caller in [as_process(5, 77, 100), as_process(6, 88, 200)] {
            let refusal = taken(&seen, &caller).unwrap_err();
            assert_eq!(refusal, Refusal::Forgotten);
            let told = judge_answer(&caller, &Incarnations::default(), StoreId(2), refused(&refusal));
            assert_eq!(told, Err(Refusal::Forgotten));
        }
        assert!(judge_hello(&identity(2), &seen, hello(&identity(3), StoreId(2), v1::LinkClass::Log)).is_ok());
    }

    #[test]
    fn whoever_calls_a_forgotten_store_does_not_take_itself_for_forgotten() {
        let seen = Incarnations::default();
        seen.forget(StoreId(2));
        for answer in [welcome(&identity(2)), refused(&Refusal::Forgotten)] {
            let judged = judge_answer(&identity(1), &seen, StoreId(2), answer);
            assert!(matches!(judged, Err(Refusal::Malformed(_))), "{judged:?}");
        }
    }

    #[test]
    fn a_store_is_heard_for_a_while_after_its_last_stream_has_ended() {
        let seen = Incarnations::default();
        let hears = |within| seen.hears(StoreId(1), Duration::from_secs(within));
        assert!(!hears(60), "never heard of");
        seen.remember(StoreId(1), Incarnation(4), 90);
        assert!(!hears(60), "what an earlier life of this store has seen");
        let streams = [taken(&seen, &as_process(5, 77, 100)).unwrap(), taken(&seen, &as_process(5, 77, 100)).unwrap()];
        assert!(hears(0));
        drop(streams);
        assert!(hears(60) && !hears(0));
        let long_ago = Instant::now().checked_sub(Duration::from_secs(61)).expect("the machine runs that long");
        seen.newest.lock().get_mut(&StoreId(1)).unwrap().left_at = Some(long_ago);
        assert!(!hears(60));
        seen.note(StoreId(1), Incarnation(5), 150);
        assert!(hears(60), "its heartbeats arrive");
    }

    #[test]
    fn every_refusal_survives_the_wire() {
        let refusals = [
            Refusal::WrongFleet { fleet: FleetId(1 << 100 | 5) },
            Refusal::WrongStore { store: StoreId(4) },
            Refusal::UnknownVersion { known: Format { name: "x".into(), oldest: 1, newest: 2 } },
            Refusal::OldIncarnation { newest: Incarnation(4) },
            Refusal::RunsElsewhere { alive: Incarnation(5) },
            Refusal::PutBack { newest: Incarnation(6), counter: 7 },
            Refusal::Forgotten,
            Refusal::Malformed("no".into()),
        ];
        for refusal in refusals {
            let judged = judge_answer(&identity(1), &Incarnations::default(), StoreId(2), refused(&refusal));
            assert_eq!(judged, Err(refusal));
        }
    }

    #[test]
    fn a_welcome_from_another_store_is_not_taken() {
        let answer = welcome(&identity(3));
        let judged = judge_answer(&identity(1), &Incarnations::default(), StoreId(2), answer);
        assert_eq!(judged, Err(Refusal::WrongStore { store: StoreId(3) }));
    }
}
