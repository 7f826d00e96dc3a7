//! The address book: where the stores of the fleet are, as far as this one can find out by itself.
//!
//! ```text
//! files, system range, handshakes, announcements ──▶ claims ──▶ places of a store ──▶ one in use ──▶ streams, heartbeats
//!                                                                    ▲                                  │
//!                                                                    └── reached, lost, failed ─────────┘
//! ```
//!
//! An address is a fact of an incarnation: the newest start of a store knows best where it is. But anybody may claim anything, so a
//! claim only says where to look. A store that is reached is reached by the place that its handshake proved, and no claim takes it away
//! from there; when it is lost, its places are tried one after the other, those of the newest claimed incarnation first. No quorum and
//! no system range is needed: stores that all moved at once find each other as soon as one path exists.
//!
//! Not done here: sockets, disks (what is written down is a [`Kept`]), and who belongs to the fleet. A stranger who knows the fleet's
//! secret can make stores try addresses in vain; he cannot make them leave one that works.
//!
//! Invariants:
//! - a store has at least one place, at most [`limits::ADDRESSES_PER_STORE`], no two with the same address for stores
//! - the place in use is one of them; while the store is reached it does not change
//! - no place is older than the newest incarnation that a handshake has proved, but those of unknown age
//! - this store is never in it, and at most [`limits::ADDRESSED_STORES`] others are, of which at most [`limits::UNPROVED_STORES`] are on
//!   no record of the fleet

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_types::{Incarnation, Moment, SiteName, StoreId, limits};

pub use file::{BadFile, Kept};

/// Where somebody says that a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The store.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// The start of the store that is there; 0: not known.
    pub incarnation: Incarnation,
    /// Where clients reach it: `host:port`; empty: not known.
    pub client: String,
    /// Where stores reach it: `host:port`.
    pub store_to_store: String,
}

impl Claim {
    /// True when it can be kept: addresses are short and printable.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let fits = |text: &str| {
            text.len() <= limits::MAX_ADDRESS_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
        };
        self.store != StoreId::NONE
            && !self.store_to_store.is_empty()
            && fits(&self.store_to_store)
            && fits(&self.client)
    }
}

/// A store that is not reached, and what was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreached {
    /// The store.
    pub store: StoreId,
    /// Its site.
    pub site: SiteName,
    /// Since when.
    pub since: Moment,
    /// Its addresses, and why each did not lead to it; empty: not tried yet.
    pub tried: Vec<(String, String)>,
}

impl std::fmt::Display for Unreached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}) is not reached", self.store, self.site)?;
        for (number, (address, why)) in self.tried.iter().enumerate() {
            let why = if why.is_empty() { "not tried yet" } else { why };
            write!(f, "{}{address}: {why}", if number == 0 { ": tried " } else { ", " })?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Place {
    client: String,
    store_to_store: String,
    incarnation: Incarnation,
    /// It was tried in vain in this round.
    is_tried: bool,
    /// Why it did not lead to the store when it was tried last; empty: it was not, or it did.
    failure: String,
}

#[derive(Clone, Debug)]
struct Entry {
    site: SiteName,
    /// The newest claim first; of the same incarnation the one that was heard first.
    places: Vec<Place>,
    /// The address for stores of the place in use.
    used: String,
    /// The newest incarnation that a handshake proved.
    proved: Incarnation,
    is_reached: bool,
    /// Since when it is reached, or not.
    since: Moment,
    /// The next place is tried then at the earliest, and what is waited after a whole round.
    next_at: Moment,
    wait: Duration,
}

/// The address book of one store.
#[derive(Clone, Debug)]
pub struct AddressBook {
    own: StoreId,
    stores: BTreeMap<StoreId, Entry>,
    /// Stores that the fleet has on record.
    on_record: BTreeSet<StoreId>,
    /// Stores whose place in use, or what is known of it, changed since this was asked for.
    changed: BTreeSet<StoreId>,
}

impl AddressBook {
    /// An empty book of the store `own`.
    #[must_use]
    pub fn new(own: StoreId) -> Self {
        Self { own, stores: BTreeMap::new(), on_record: BTreeSet::new(), changed: BTreeSet::new() }
    }

    /// The fleet has a store on record: it is more than a name that somebody made up.
    pub fn vouch(&mut self, store: StoreId) {
        if self.on_record.len() < limits::ADDRESSED_STORES {
            self.on_record.insert(store);
        }
    }

    /// The stores that the fleet has on record, as far as was heard.
    #[must_use]
    pub fn on_record(&self) -> &BTreeSet<StoreId> {
        &self.on_record
    }

    fn has_room_for(&self, newcomer: StoreId) -> bool {
        let unproved = self.stores.keys().filter(|store| !self.on_record.contains(*store)).count();
        self.stores.len() < limits::ADDRESSED_STORES
            && (self.on_record.contains(&newcomer) || unproved < limits::UNPROVED_STORES)
    }

    /// Somebody says where a store is. True when that is news.
    pub fn hear(&mut self, claim: &Claim, now: Moment) -> bool {
        if claim.store == self.own || !claim.is_sound() {
            return false;
        }
        let place = Place {
            client: claim.client.clone(),
            store_to_store: claim.store_to_store.clone(),
            incarnation: claim.incarnation,
            is_tried: false,
            failure: String::new(),
        };
        let Some(entry) = self.stores.get_mut(&claim.store) else {
            if !self.has_room_for(claim.store) {
                return false;
            }
            self.stores.insert(claim.store, Entry::new(claim.site.clone(), place, now));
            self.changed.insert(claim.store);
            return true;
        };
        let is_news = entry.take(place, now);
        if is_news {
            self.changed.insert(claim.store);
        }
        is_news
    }

    /// Somebody was looked for at `address`, and this store lives there. True when that is news. What is said of a store that
    /// nothing is known of is not kept: its site is missing.
    pub fn lives_at(&mut self, store: StoreId, address: &str, now: Moment) -> bool {
        let Some(entry) = self.stores.get(&store).filter(|entry| !entry.is_reached) else { return false };
        // Who answers now is as new as any start of it that is known.
        let newest = entry.places.iter().map(|place| place.incarnation).max().unwrap_or_default();
        let known = entry.places.iter().find(|place| place.store_to_store == address);
        let client = known.map(|place| place.client.clone()).unwrap_or_default();
        let site = entry.site.clone();
        self.hear(&Claim { store, site, incarnation: newest, client, store_to_store: address.to_owned() }, now)
    }

    /// A handshake proved that this start of a store is at `address`.
    pub fn reached(&mut self, store: StoreId, incarnation: Incarnation, address: &str, now: Moment) {
        let Some(entry) = self.stores.get_mut(&store) else { return };
        // A place that was given up meanwhile: what is in use decides, and its own handshake follows.
        let Some(place) = entry.places.iter_mut().find(|place| place.store_to_store == address) else { return };
        place.incarnation = incarnation.max(place.incarnation);
        entry.proved = incarnation.max(entry.proved);
        address.clone_into(&mut entry.used);
        entry.drop_outdated();
        (entry.is_reached, entry.since) = (true, now);
        entry.begin_round();
        entry.wait = limits::ADDRESS_TRY_MIN;
        self.changed.insert(store);
    }

    /// The connection to a store ended.
    pub fn lost(&mut self, store: StoreId, now: Moment) {
        if let Some(entry) = self.stores.get_mut(&store).filter(|entry| entry.is_reached) {
            (entry.is_reached, entry.since) = (false, now);
            // Perhaps only the connection broke: the place gets one more attempt, and when it fails the others have their turn.
            (entry.wait, entry.next_at) = (limits::ADDRESS_TRY_MIN, now);
        }
    }

    /// An attempt at a place did not lead to the store.
    pub fn failed(&mut self, store: StoreId, address: &str, why: &str) {
        if let Some(entry) = self.stores.get_mut(&store).filter(|entry| !entry.is_reached)
            && let Some(place) = entry.places.iter_mut().find(|place| place.store_to_store == address)
        {
            place.is_tried = true;
            why.clone_into(&mut place.failure);
            place.failure.truncate(why.floor_char_boundary(limits::MAX_ADDRESS_BYTES));
        }
    }

    /// Time has come: goes on to the next place of each store whose place in use failed.
    pub fn turn(&mut self, now: Moment) {
        for (store, entry) in &mut self.stores {
            if entry.next(now) {
                self.changed.insert(*store);
            }
        }
    }

    /// The stores of which something changed since the last call, each with its place in use.
    pub fn take_changed(&mut self) -> Vec<Claim> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|store| self.place_of(store)).collect()
    }

    /// Where a store is as far as this one knows: the place in use.
    #[must_use]
    pub fn place_of(&self, store: StoreId) -> Option<Claim> {
        let entry = self.stores.get(&store)?;
        let place = entry.places.iter().find(|place| place.store_to_store == entry.used)?;
        Some(entry.claim(store, place))
    }

    /// What this store tells others and writes down: of each store that is reached its place, of each other one all of its places.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = Vec::new();
        for (store, entry) in &self.stores {
            let told = entry.places.iter().filter(|place| !entry.is_reached || place.store_to_store == entry.used);
            claims.extend(told.map(|place| entry.claim(*store, place)));
        }
        claims
    }

    /// Of [`AddressBook::claims`] what is worth writing down: where stores are that are on record or were reached.
    #[must_use]
    pub fn claims_to_keep(&self) -> Vec<Claim> {
        let was_reached = |store| self.stores.get(&store).is_some_and(|entry| entry.proved != Incarnation::default());
        let mut claims = self.claims();
        claims.retain(|claim| self.on_record.contains(&claim.store) || was_reached(claim.store));
        claims
    }

    /// Where stores of the fleet may be asked what they know: all that are known, those that are reached first.
    #[must_use]
    pub fn to_ask(&self) -> Vec<String> {
        let (reached, others): (Vec<_>, Vec<_>) = self.stores.values().partition(|entry| entry.is_reached);
        let places = |entry: &&Entry| entry.places.clone();
        let clients = reached.iter().chain(&others).flat_map(places).map(|place| place.client);
        let mut seen = BTreeSet::new();
        clients.filter(|client| !client.is_empty() && seen.insert(client.clone())).collect()
    }

    /// The stores that are not reached, and what was tried.
    #[must_use]
    pub fn unreached(&self) -> Vec<Unreached> {
        let unreached = self.stores.iter().filter(|(_, entry)| !entry.is_reached);
        let in_words = |(store, entry): (&StoreId, &Entry)| Unreached {
            store: *store,
            site: entry.site.clone(),
            since: entry.since,
            tried: entry.places.iter().map(|place| (place.store_to_store.clone(), place.failure.clone())).collect(),
        };
        unreached.map(in_words).collect()
    }

    /// Forgets a store that left the fleet.
    pub fn forget(&mut self, store: StoreId) -> bool {
        self.changed.remove(&store);
        self.on_record.remove(&store);
        self.stores.remove(&store).is_some()
    }

    /// Tests the invariants. Panics when one is broken.
    pub fn check(&self) {
        assert!(self.stores.len() <= limits::ADDRESSED_STORES);
        let unproved = self.stores.keys().filter(|store| !self.on_record.contains(*store));
        assert!(unproved.count() <= limits::UNPROVED_STORES);
        assert!(!self.stores.contains_key(&self.own), "this store needs no address of itself");
        for (store, entry) in &self.stores {
            let addresses: BTreeSet<_> = entry.places.iter().map(|place| &place.store_to_store).collect();
            assert_eq!(addresses.len(), entry.places.len(), "{store} has a place twice");
            assert!((1..=limits::ADDRESSES_PER_STORE).contains(&addresses.len()), "{store}: {addresses:?}");
            assert!(addresses.contains(&entry.used), "{store} is looked for where nobody says it is");
            let outdated = |place: &Place| entry.is_outdated(place.incarnation) && place.store_to_store != entry.used;
            assert!(!entry.places.iter().any(outdated), "{store} has a place that it left");
        }
    }
}

impl Entry {
    fn new(site: SiteName, place: Place, now: Moment) -> Self {
        Self {
            site,
            used: place.store_to_store.clone(),
            places: vec![place],
            proved: Incarnation::default(),
            is_reached: false,
            since: now,
            next_at: now,
            wait: limits::ADDRESS_TRY_MIN,
        }
    }

    fn claim(&self, store: StoreId, place: &Place) -> Claim {
        Claim {
            store,
            site: self.site.clone(),
            incarnation: place.incarnation,
            client: place.client.clone(),
            store_to_store: place.store_to_store.clone(),
        }
    }

    fn is_outdated(&self, incarnation: Incarnation) -> bool {
        incarnation != Incarnation::default() && incarnation < self.proved
    }

    fn drop_outdated(&mut self) {
        let (proved, used) = (self.proved, self.used.clone());
        self.places.retain(|place| {
            let outdated = place.incarnation != Incarnation::default() && place.incarnation < proved;
            !outdated || place.store_to_store == used
        });
        self.places.sort_by_key(|place| std::cmp::Reverse(place.incarnation));
    }

    /// Takes a claim in. True when it is news.
    fn take(&mut self, claimed: Place, now: Moment) -> bool {
        if self.is_outdated(claimed.incarnation) {
            return false;
        }
        let newest = self.places.iter().map(|place| place.incarnation).max().unwrap_or_default();
        if let Some(known) = self.places.iter_mut().find(|place| place.store_to_store == claimed.store_to_store) {
            let is_newer = claimed.incarnation > known.incarnation;
            let tells_client =
                !claimed.client.is_empty() && claimed.client != known.client && (is_newer || known.client.is_empty());
            if !is_newer && !tells_client {
                return false;
            }
            if tells_client {
                known.client = claimed.client;
            }
            // Somebody has heard of a newer start there: worth another attempt, though it failed before.
            known.incarnation = claimed.incarnation.max(known.incarnation);
            self.places.sort_by_key(|place| std::cmp::Reverse(place.incarnation));
        } else {
            if !self.has_room_for(&claimed) {
                return false;
            }
            self.places.push(claimed.clone());
            self.places.sort_by_key(|place| std::cmp::Reverse(place.incarnation));
        }
        if !self.is_reached && claimed.incarnation >= newest {
            // Somebody knows of a start that is as new as any: it is worth an attempt, though the place was tried before.
            for place in self.places.iter_mut().filter(|place| place.store_to_store == claimed.store_to_store) {
                place.is_tried = false;
            }
            self.next_at = self.next_at.min(now.after(limits::ADDRESS_TRY_MIN));
            self.wait = limits::ADDRESS_TRY_MIN;
        }
        true
    }

    /// Makes room by dropping the place that is the least likely: never the one in use.
    fn has_room_for(&mut self, claimed: &Place) -> bool {
        if self.places.len() < limits::ADDRESSES_PER_STORE {
            return true;
        }
        let least = self.places.iter().rposition(|place| place.store_to_store != self.used);
        match least {
            Some(at) if self.places[at].incarnation <= claimed.incarnation => {
                self.places.remove(at);
                true
            }
            _ => false,
        }
    }

    fn begin_round(&mut self) {
        for place in &mut self.places {
            place.is_tried = false;
        }
    }

    /// Goes on to another place when the one in use failed, or one of a newer start is known; round and round, the newest start first,
    /// each round slower than the one before. True when the place in use is another one now.
    fn next(&mut self, now: Moment) -> bool {
        if self.is_reached || now < self.next_at || self.places.len() == 1 {
            return false;
        }
        let used = self.places.iter().find(|place| place.store_to_store == self.used);
        let (is_tried, incarnation) = used.map_or((true, Incarnation::default()), |u| (u.is_tried, u.incarnation));
        let is_next = |place: &&Place| place.store_to_store != self.used && !place.is_tried;
        let untried = self.places.iter().find(is_next).cloned();
        let next = match untried {
            Some(next) if is_tried || next.incarnation > incarnation => {
                self.next_at = now.after(limits::ADDRESS_TRY_MIN);
                next
            }
            None if is_tried => {
                self.begin_round();
                self.wait = (self.wait * 2).min(limits::STREAM_RECONNECT_MAX);
                self.next_at = now.after(self.wait);
                let Some(first) = self.places.iter().find(|place| place.store_to_store != self.used) else {
                    return false;
                };
                first.clone()
            }
            _ => return false,
        };
        self.used = next.store_to_store;
        true
    }
}

#[cfg(test)]
#[path = "addresses_tests.rs"]
mod tests;
