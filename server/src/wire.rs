//! Adapters between the store's ports and the transport. Each is a few lines; decisions live elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_edge::bucket::Bucket;
use holdfast_kv::core::addresses::Claim;
use holdfast_kv::core::effect::TrafficCause;
use holdfast_kv::core::seen::Outdated;
use holdfast_kv::driver::Store;
use holdfast_kv::ports::{self, RaftSender};
use holdfast_raft_transport::{Cause, Class, Inbound, Intake, Introduction, Refusal, SupportLink, Transport};
use holdfast_types::{Incarnation, StoreId, limits};
use parking_lot::Mutex;

use crate::audit::{Audit, witness};
use crate::directory::Directory;

/// Ranges that one alarm names.
const NAMED_RANGES: usize = 20;
/// How often it is looked whether a stranger is one still.
const STRANGER_POLL: Duration = Duration::from_millis(100);
/// How often a congested store is looked at again.
const CONGESTION_POLL: Duration = Duration::from_millis(2);

/// Sends by the streams between stores.
pub struct StreamSender {
    /// The streams.
    pub transport: Arc<Transport>,
}

impl RaftSender for StreamSender {
    fn send(&self, to: StoreId, class: ports::Class, cause: TrafficCause, payload: Bytes) {
        // What cannot be queued is counted by the transport; every protocol above sends again.
        let _ = self.transport.send(to, stream_class(class), stream_cause(cause), payload);
    }
}

fn stream_class(class: ports::Class) -> Class {
    match class {
        ports::Class::Control => Class::Control,
        ports::Class::Log => Class::Log,
        ports::Class::Snapshot => Class::Snapshot,
    }
}

fn port_class(class: Class) -> ports::Class {
    match class {
        Class::Control => ports::Class::Control,
        Class::Log => ports::Class::Log,
        Class::Snapshot => ports::Class::Snapshot,
    }
}

fn stream_cause(cause: TrafficCause) -> Cause {
    match cause {
        TrafficCause::Append => Cause::Append,
        TrafficCause::Heartbeat => Cause::Heartbeat,
        TrafficCause::Election => Cause::Election,
        TrafficCause::Forward => Cause::Forward,
        TrafficCause::Snapshot => Cause::Snapshot,
        TrafficCause::Placement => Cause::Placement,
    }
}

/// Support heartbeats over sockets of their own.
pub struct HeartbeatLink(pub SupportLink);

impl ports::SupportLink for HeartbeatLink {
    fn send(&mut self, to: StoreId, payload: Bytes) {
        self.0.send(to, payload);
    }

    fn poll(&mut self, wait: Duration) -> Vec<(StoreId, Incarnation, Bytes)> {
        self.0.poll(wait)
    }

    fn refused(&self) -> Option<Outdated> {
        let seen = self.0.config().incarnations.refused()?;
        Some(Outdated { seen_by: seen.by, incarnation: seen.incarnation, counter: seen.counter })
    }

    fn forgotten(&self) -> BTreeSet<StoreId> {
        self.0.config().incarnations.forgotten()
    }

    fn note(&mut self, store: StoreId, incarnation: Incarnation, counter: u64) {
        self.0.config().incarnations.note(store, incarnation, counter);
    }
}

/// Hands what other stores send to the store. Until the store runs, messages are dropped: they are sent again.
pub struct Incoming {
    store: Arc<OnceLock<Arc<Store>>>,
    directory: Arc<Directory>,
    reachable: Mutex<BTreeSet<StoreId>>,
    refusals: Mutex<BTreeMap<StoreId, Refusal>>,
    alarm: OnceLock<Alarm>,
    audit: OnceLock<Arc<Audit>>,
    /// By the store that the callers said they were; all that are no members share one.
    turned_away: Mutex<BTreeMap<StoreId, TurnedAway>>,
    /// Of what stores send that are on no record.
    strangers: Arc<Strangers>,
}

/// How many alarms were raised about callers that were turned away. What they claim cannot be proved, so it must not fill what is kept of events.
struct TurnedAway {
    allowance: Bucket,
    held_back: u64,
}

impl TurnedAway {
    fn new(now: Instant) -> Self {
        Self { allowance: Bucket::new(now), held_back: 0 }
    }

    /// What is to be told now, if anything.
    fn tell(&mut self, what: String, now: Instant) -> Option<String> {
        if !self.allowance.admits(limits::TURNED_AWAY_BURST, limits::TURNED_AWAY_EVERY, now) {
            self.held_back += 1;
            return None;
        }
        match std::mem::take(&mut self.held_back) {
            0 => Some(what),
            more => Some(format!("{what} (and {more} more callers were turned away before)")),
        }
    }
}

/// Waits until the store can take more. It is this store that keeps the stream waiting, so the stream lives.
async fn until_uncongested(store: &Store, from: StoreId, class: ports::Class) {
    while store.is_congested() {
        store.stream_lives(from, class);
        tokio::time::sleep(CONGESTION_POLL).await;
    }
}

/// What stores send that are on no record is looked at, and mostly dropped. That must not keep those who look from what others say, so it is
/// handed over at a rate that all strangers share: message by message, since a batch of theirs may have thousands.
struct Strangers(Mutex<Bucket>);

impl Strangers {
    fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket::new(now)))
    }

    /// How long a message of theirs waits before anybody looks at it.
    fn pause_before(&self, payload: &Bytes, now: Instant) -> Duration {
        let least = limits::STRANGERS_MESSAGE_BYTES;
        let parts = u32::try_from(payload.len().div_ceil(least)).unwrap_or(u32::MAX).max(1);
        let burst = u32::try_from(limits::STRANGERS_BURST_BYTES / least).unwrap_or(u32::MAX);
        let per_second = u32::try_from(limits::STRANGERS_BYTES_PER_SECOND / least).unwrap_or(u32::MAX);
        self.0.lock().owe(parts, burst, Duration::from_secs(1) / per_second, now)
    }
}

/// Takes what an operator must know.
type Alarm = Box<dyn Fn(String) + Send + Sync>;

impl Incoming {
    /// Nothing is reached yet; where stores are found goes to `directory`.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self {
            store: Arc::default(),
            directory,
            reachable: Mutex::default(),
            refusals: Mutex::default(),
            alarm: OnceLock::new(),
            audit: OnceLock::new(),
            turned_away: Mutex::default(),
            strangers: Arc::new(Strangers::new(Instant::now())),
        }
    }

    /// True for a store whose word counts: a store may have lost what it knew of the fleet, or not have heard of it yet, and those with which it
    /// shares ranges count all the same.
    fn counts(directory: &Directory, store: &Store, from: StoreId) -> bool {
        directory.is_on_record(from) || store.is_neighbour(from)
    }

    /// True while the control stream to a store is open: as far as this store knows it lives.
    pub fn reaches(&self, store: StoreId) -> bool {
        self.reachable.lock().contains(&store)
    }

    /// From here on callers that are turned away are on record.
    pub fn keep_record(&self, audit: Arc<Audit>) {
        // A process has one.
        let _ = self.audit.set(audit);
    }

    /// The store runs. `alarm` takes what an operator must know.
    pub fn open(&self, store: Arc<Store>, alarm: Alarm) {
        assert!(self.store.set(store).is_ok() && self.alarm.set(alarm).is_ok(), "a process runs one store");
    }

    /// The ranges of which both this store and another one have a replica, and the terms known here.
    fn shared_ranges(&self, other: StoreId) -> String {
        let Some(store) = self.store.get() else { return String::new() };
        let ranges =
            store.ranges().into_iter().filter(|found| found.own && found.descriptor.replica_on(other).is_some());
        let ranges: Vec<_> = ranges.map(|found| format!("{} (term {})", found.descriptor.range, found.term)).collect();
        let more = ranges.len().saturating_sub(NAMED_RANGES);
        let named = ranges[..ranges.len() - more].join(", ");
        if more == 0 { named } else { format!("{named} and {more} more") }
    }
}

impl Inbound for Incoming {
    fn receive(&self, from: StoreId, incarnation: Incarnation, class: Class, payloads: Vec<Bytes>) -> Intake {
        let Some(store) = self.store.get() else { return Intake::Ready };
        let class = port_class(class);
        store.stream_lives(from, class);
        if Self::counts(&self.directory, store, from) {
            for payload in &payloads {
                store.receive(from, incarnation, payload);
            }
            if !store.is_congested() {
                return Intake::Ready;
            }
            let store = Arc::clone(store);
            return Intake::Wait(Box::pin(async move { until_uncongested(&store, from, class).await }));
        }
        let (store, directory, strangers) =
            (Arc::clone(store), Arc::clone(&self.directory), Arc::clone(&self.strangers));
        Intake::Wait(Box::pin(async move {
            for payload in &payloads {
                let until = tokio::time::Instant::now() + strangers.pause_before(payload, Instant::now());
                while tokio::time::Instant::now() < until && !Self::counts(&directory, &store, from) {
                    tokio::time::sleep_until(until.min(tokio::time::Instant::now() + STRANGER_POLL)).await;
                }
                store.receive(from, incarnation, payload);
            }
            until_uncongested(&store, from, class).await;
        }))
    }

    fn called(&self, introduction: &Introduction) {
        self.directory.hear(&[Claim {
            store: introduction.store,
            site: introduction.site.clone(),
            incarnation: introduction.incarnation,
            client: introduction.addresses.client.clone(),
            store_to_store: introduction.addresses.store_to_store.clone(),
        }]);
    }

    fn turned_away(&self, store: StoreId, from: Option<IpAddr>, refusal: &Refusal) {
        if let Some(audit) = self.audit.get() {
            witness::stream(audit, store, from, refusal.to_string());
        }
        let from = from.map_or_else(|| "somewhere".to_owned(), |from| from.to_string());
        let what = match refusal {
            Refusal::RunsElsewhere { alive } => format!(
                "a second process at {from} runs as {store}, which is alive as incarnation {alive}: a copy of its disk was started, and is \
                 refused; stop it"
            ),
            Refusal::PutBack { .. } | Refusal::OldIncarnation { .. } => format!(
                "the disk of {store} at {from} was put back in time: {refusal}. What it acknowledged since is forgotten there. If others \
                 took it for the store meanwhile, writes may have been overwritten in the ranges that it shares with this store: {}",
                self.shared_ranges(store)
            ),
            Refusal::NotItsSite { certificate, said } => format!(
                "somebody at {from} has a certificate of site {certificate} and says that he is {store}, of site {said}: he is refused. Either a store \
                 of {said} was given the wrong certificate, or a key of site {certificate} is in wrong hands (`holdfast trust revoke site {certificate}`)"
            ),
            _ => return,
        };
        let (now, known) = (Instant::now(), self.directory.all().contains_key(&store));
        let mut turned_away = self.turned_away.lock();
        let told = turned_away.entry(if known { store } else { StoreId::NONE }).or_insert_with(|| TurnedAway::new(now));
        let Some(what) = told.tell(what, now) else { return };
        drop(turned_away);
        tracing::error!("{what}");
        if let Some(alarm) = self.alarm.get() {
            alarm(what);
        }
    }

    fn lives(&self, from: StoreId, class: Class) {
        if let Some(store) = self.store.get() {
            store.stream_lives(from, port_class(class));
        }
    }

    fn connected(&self, store: StoreId, incarnation: Incarnation, class: Class, address: &str) {
        tracing::debug!(%store, ?class, "stream connected");
        self.refusals.lock().remove(&store);
        if class == Class::Control {
            self.reachable.lock().insert(store);
            self.directory.reached(store, incarnation, address);
        }
    }

    fn disconnected(&self, store: StoreId, class: Class) {
        tracing::debug!(%store, ?class, "stream disconnected");
        if class == Class::Control {
            self.reachable.lock().remove(&store);
            self.directory.lost(store);
        }
    }

    fn unreached(&self, store: StoreId, class: Class, address: &str, reason: &str) {
        if class == Class::Control {
            self.directory.failed(store, address, reason, None);
        }
    }

    fn refused(&self, store: StoreId, class: Class, address: &str, refusal: &Refusal) {
        if *refusal == Refusal::Forgotten {
            self.directory.learn_own_end();
        }
        if class == Class::Control {
            let lives_there = if let Refusal::WrongStore { store } = refusal { Some(*store) } else { None };
            self.directory.failed(store, address, &refusal.to_string(), lives_there);
        }
        let known = self.refusals.lock().insert(store, refusal.clone());
        if known.as_ref() != Some(refusal) {
            tracing::warn!(%store, %refusal, "a store refuses this one");
        }
    }
}

/// Where a store listens for support: the port after its store-to-store one.
pub fn support_address(store_to_store: &str) -> Option<String> {
    let (host, port) = store_to_store.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    Some(format!("{host}:{}", port.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_that_are_turned_away_cannot_fill_the_events() {
        let start = Instant::now();
        let mut turned_away = TurnedAway::new(start);
        let told = (0..10_000).filter_map(|n| turned_away.tell(format!("caller {n}"), start)).count();
        assert_eq!(told, limits::TURNED_AWAY_BURST as usize);
        let next = turned_away.tell("the next".into(), start + limits::TURNED_AWAY_EVERY).unwrap();
        assert_eq!(next, "the next (and 9992 more callers were turned away before)");
    }

    #[test]
    fn what_strangers_send_is_looked_at_at_a_rate_that_they_share() {
        let start = Instant::now();
        let strangers = Strangers::new(start);
        let large = Bytes::from(vec![0; limits::STRANGERS_BURST_BYTES]);
        assert_eq!(strangers.pause_before(&large, start), Duration::ZERO);
        let pause = strangers.pause_before(&large, start);
        assert!(pause > Duration::from_millis(900) && pause < Duration::from_millis(1_100), "{pause:?}");
        let small = Bytes::from_static(b"x");
        let pauses: Vec<_> = (0..1_024).map(|_| strangers.pause_before(&small, start)).collect();
        assert!(pauses.is_sorted(), "each waits for those before it");
        let longer = pauses.last().unwrap().saturating_sub(pause);
        assert!(longer > Duration::from_millis(900), "small ones cost something too: {longer:?}");
    }

    #[test]
    fn heartbeats_use_the_next_port() {
        assert_eq!(support_address("a.b:7400").as_deref(), Some("a.b:7401"));
        assert_eq!(support_address("[::1]:7400").as_deref(), Some("[::1]:7401"));
        assert_eq!(support_address("a.b"), None);
        assert_eq!(support_address("a.b:65535"), None);
    }
}
