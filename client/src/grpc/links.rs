//! All links of a client: to each store that is sent to one that carries its calls, over the first of the ways that works.
//!
//! A store is tried at the address that it advertises, and at those given to the client where it answered; [`Ways`] knows the order, and this opens what
//! comes next when a stream could not be opened. Then, so that one address at which one store answers is enough:
//!
//! - While no link at all is open, the stores that answered at given addresses are tried there, whether anybody has asked for them or not.
//! - At an address that is not its own a store says who it is before anything is asked of it. When it is another one than was expected, as behind a load
//!   balancer, the link is to that one from then on.
//! - A link that goes by such an address is on a detour. From time to time its store is tried where it advertises itself, beside that link, and takes
//!   over when it answers there. The same happens when a store advertises a new address: the link that works is kept until another one does. What it has
//!   under way is answered before it ends.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_proto::v1;
use holdfast_types::{StoreId, limits};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::channel::Dialer;
use super::driver::{Inbound, unsent};
use super::link::{Link, LinkId, Stage, Task, backoff};
use super::why::Why;
use crate::core::{Event, Ways};

/// All links of a client.
pub(super) struct Links {
    ways: Ways,
    /// What carries the calls of each store.
    current: BTreeMap<StoreId, Link>,
    /// Beside an open link on a detour: its store, tried at the address that it advertises.
    probes: BTreeMap<StoreId, Link>,
    /// Links that others took over from, and since when: they end when their calls are answered.
    leaving: Vec<(Instant, Link)>,
    last: u64,
    dialer: Dialer,
    hello: v1::StreamHello,
    seed: u64,
    inbound: mpsc::Sender<Inbound>,
}

impl Links {
    /// None yet. `seeds` are the addresses that the client was given.
    pub(super) fn new(
        seeds: Vec<String>,
        dialer: Dialer,
        hello: v1::StreamHello,
        seed: u64,
        inbound: mpsc::Sender<Inbound>,
    ) -> Self {
        let (current, probes, leaving) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { ways: Ways::new(seeds), current, probes, leaving, last: 0, dialer, hello, seed, inbound }
    }

    /// The link to a store, if there is one.
    pub(super) fn get(&self, store: StoreId) -> Option<&Link> {
        self.current.get(&store)
    }

    /// The link to a store, opened if need be.
    pub(super) fn to(&mut self, store: StoreId) -> Result<&Link, Why> {
        if !self.current.contains_key(&store) {
            let link = self.dial(store, Stage::Opening)?;
            self.current.insert(store, link);
        }
        self.current.get(&store).ok_or_else(|| Why::other("just opened"))
    }

    /// Makes channels as links have them.
    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Where to ask about the fleet, in this order.
    pub(super) fn to_ask(&self) -> Vec<String> {
        // Not every client asks the same store.
        let first = self.seed.checked_rem(self.ways.len() as u64).unwrap_or_default();
        self.ways.to_ask(usize::try_from(first).unwrap_or_default())
    }

    /// True when a store could not be reached where it advertises itself, and no other one is.
    pub(super) fn is_cut_off(&self) -> bool {
        self.ways.prefers_seeds() && !self.current.values().any(Link::is_open)
    }

    // ---- news of addresses

    /// These are all stores, with what they advertise; `store` said so at `asked_at`.
    pub(super) fn advertised(
        &mut self,
        addresses: BTreeMap<StoreId, String>,
        (asked_at, store): (&str, StoreId),
        events: &mut Vec<Event>,
    ) {
        self.ways.answered(asked_at, store);
        self.ways.advertise(addresses);
        self.settle(events);
    }

    /// One store advertises this.
    pub(super) fn advertised_one(&mut self, store: StoreId, address: &str, events: &mut Vec<Event>) {
        if self.ways.advertise_one(store, address) {
            self.settle(events);
        }
    }

    /// Brings links in line with the addresses known. Links to stores that are gone end; one to a store that has moved goes on while it works.
    fn settle(&mut self, events: &mut Vec<Event>) {
        let ways = &self.ways;
        self.probes.retain(|store, link| ways.own(*store) == Some(link.address.as_str()));
        for (store, link) in self.current.extract_if(.., |store, _| !ways.knows(*store)) {
            lose(store, &link, events);
        }
        let elsewhere = self.current.iter().filter(|(store, link)| !ways.leads(**store, &link.address));
        let moved: Vec<StoreId> = elsewhere.filter(|(_, link)| !link.is_open()).map(|(store, _)| *store).collect();
        for store in moved {
            self.dial_again(store, events);
        }
        let open = self.current.iter().filter(|(_, link)| link.is_open());
        let untried = open.filter(|(store, link)| differs(self.ways.own_unless_missed(**store), &link.address));
        let untried: Vec<StoreId> = untried.map(|(store, _)| *store).collect();
        untried.into_iter().for_each(|store| self.probe(store));
    }

    // ---- news of links

    /// A stream is open, and `store` is at its other end. True when no other one to that store was.
    pub(super) fn up(&mut self, id: LinkId, store: StoreId, events: &mut Vec<Event>) -> bool {
        if let Some((wanted, link)) = take(&mut self.probes, id) {
            return self.take_over(wanted, store, link, events);
        }
        let Some((wanted, mut link)) = take(&mut self.current, id) else { return false };
        self.ways.answered(&link.address, store);
        let serves = wanted == store || (self.ways.knows(store) && !self.get(store).is_some_and(Link::is_open));
        if serves {
            link.stage = Stage::Open;
            self.ways.opened(store, &link.address);
            let is_untried = differs(self.ways.own_unless_missed(store), &link.address);
            if let Some(old) = self.current.insert(store, link) {
                lose(store, &old, events);
            }
            events.push(Event::StreamUp { store });
            if is_untried {
                self.probe(store);
            }
        }
        if wanted != store
            && let Ok(link) = self.dial(wanted, Stage::Closed)
        {
            self.current.insert(wanted, link);
        }
        serves
    }

    /// The store of a probe answered where it advertises itself. True when it was not reached elsewhere any more.
    fn take_over(&mut self, wanted: StoreId, store: StoreId, mut link: Link, events: &mut Vec<Event>) -> bool {
        if store != wanted || self.ways.own(store) != Some(link.address.as_str()) {
            self.ways.missed(wanted, &link.address);
            return false;
        }
        link.stage = Stage::Open;
        self.ways.opened(store, &link.address);
        let old = self.current.insert(store, link);
        match old {
            Some(old) if old.is_open() => {
                old.outbox.finish();
                self.leaving.push((Instant::now(), old));
                return false;
            }
            Some(old) => lose(store, &old, events),
            None => {}
        }
        events.push(Event::StreamUp { store });
        true
    }

    /// A stream ended or could not be opened. Returns what was queued there since, if it carried the calls of a store.
    pub(super) fn down(&mut self, id: LinkId, worked: bool) -> Option<Vec<u64>> {
        self.leaving.retain(|(_, link)| link.id != id);
        if let Some((store, link)) = take(&mut self.probes, id) {
            self.ways.missed(store, &link.address);
            return None;
        }
        let (store, link) = self.current.iter_mut().find(|(_, link)| link.id == id)?;
        link.stage = Stage::Closed;
        if worked {
            // The link opens another one by itself, which takes what is queued.
            self.ways.worked(*store);
            return Some(Vec::new());
        }
        self.ways.failed(*store, &link.address);
        Some(link.outbox.take_unsent())
    }

    /// A stream to this store could not be opened: tries the next way.
    pub(super) fn go_on(&mut self, store: StoreId, events: &mut Vec<Event>) {
        if !self.current.values().any(Link::is_open) {
            self.ways.prefer_seeds();
        }
        self.dial_again(store, events);
        self.fall_back(events);
    }

    /// While nothing is reached, tries the stores that answered at given addresses there.
    pub(super) fn fall_back(&mut self, events: &mut Vec<Event>) {
        if !self.is_cut_off() {
            return;
        }
        for store in self.ways.at_seeds() {
            let is_there = |link: &Link| self.ways.next(store).is_some_and(|way| way.address == link.address);
            match self.current.get(&store).map(is_there) {
                Some(true) => {}
                Some(false) => self.dial_again(store, events),
                None => {
                    self.dial_again(store, events);
                    events.push(Event::StreamDown { store });
                }
            }
        }
    }

    /// What is to be done from time to time.
    pub(super) fn tick(&mut self) {
        self.leaving.retain(|(since, _)| since.elapsed() < limits::MAX_DEADLINE);
        let open = self.current.iter().filter(|(_, link)| link.is_open());
        let open: Vec<StoreId> = open.map(|(store, _)| *store).collect();
        open.into_iter().for_each(|store| self.probe(store));
    }

    // ---- opening

    /// Puts another link in the place of one that has no stream, on the way that comes next. Where no way is an address the old one stays, as it is.
    fn dial_again(&mut self, store: StoreId, events: &mut Vec<Event>) {
        if let Ok(link) = self.dial(store, Stage::Closed)
            && let Some(old) = self.current.insert(store, link)
        {
            lose(store, &old, events);
        }
    }

    /// Tries a store where it advertises itself, beside a link that goes elsewhere.
    fn probe(&mut self, store: StoreId) {
        let Some(link) = self.current.get(&store) else { return };
        let own = self.ways.own(store).filter(|own| *own != link.address);
        let Some(own) = own.map(str::to_owned).filter(|_| !self.probes.contains_key(&store)) else { return };
        let task = Task { asks_who: true, is_repeated: true, ..self.task(store) };
        match Link::open(&own, &self.dialer, Stage::Closed, task) {
            Ok(probe) => {
                self.probes.insert(store, probe);
            }
            Err(_) => self.ways.missed(store, &own),
        }
    }

    /// A link on the way that comes next. What is no address is passed over.
    fn dial(&mut self, store: StoreId, stage: Stage) -> Result<Link, Why> {
        let mut bad = Why::other("its address is not known");
        for _ in 0..self.ways.count(store) {
            let task = self.task(store);
            let Some(way) = self.ways.next(store) else { break };
            let address = way.address.to_owned();
            let wait = match way.is_after_round {
                true => backoff(self.seed ^ store.0, way.rounds.saturating_sub(1)),
                false => Duration::ZERO,
            };
            let task = Task { asks_who: !way.is_own, wait, is_repeated: way.rounds > 0, ..task };
            // Where others may answer, nothing is queued before it is known who did.
            let stage = if way.is_own { stage } else { Stage::Closed };
            match Link::open(&address, &self.dialer, stage, task) {
                Ok(link) => return Ok(link),
                Err(why) => bad = why,
            }
            self.ways.failed(store, &address);
        }
        Err(bad)
    }

    fn task(&mut self, store: StoreId) -> Task {
        self.last = self.last.saturating_add(1);
        Task {
            id: LinkId(self.last),
            store,
            asks_who: false,
            wait: Duration::ZERO,
            is_repeated: false,
            hello: self.hello.clone(),
            seed: self.seed,
            inbound: self.inbound.clone(),
        }
    }
}

/// True when a store advertises an address, and another one is in use.
fn differs(own: Option<&str>, in_use: &str) -> bool {
    own.is_some_and(|own| own != in_use)
}

fn take(links: &mut BTreeMap<StoreId, Link>, id: LinkId) -> Option<(StoreId, Link)> {
    let store = links.iter().find(|(_, link)| link.id == id).map(|(store, _)| *store)?;
    links.remove_entry(&store)
}

/// A link is given up: what is queued was not sent, and what was sent is not answered any more.
fn lose(store: StoreId, link: &Link, events: &mut Vec<Event>) {
    unsent(store, link.outbox.take_unsent(), events);
    if link.takes_calls() {
        events.push(Event::StreamDown { store });
    }
}
