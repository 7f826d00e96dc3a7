//! Where a request can go: to a replica here, to the store that leads its range, or, where that one is not known or not reached,
//! by way of a store that knows or reaches it.
//!
//! A store asks a third one only after it has waited for as long as an election takes, and at once where that third one was the
//! way a moment ago. A request is passed on at most [`limits::MAX_HOPS`] times and never back, so it cannot run in circles; the
//! store that took it in tries one store after the other until it has been at it for [`limits::WAIT_FOR_LEADER`].

use holdfast_replica::Ticket;
use holdfast_types::{RangeDescriptor, RangeId, StoreId, Term, limits};

use super::{Cx, Held, Worker};
use crate::core::desk::{Open, Origin, Place, To, Wait};
use crate::core::routing::Found;

/// Where a request can go.
pub(super) enum Way {
    Here(RangeId),
    Wait(RangeId),
    Away(To),
    Nowhere(RangeId),
    Unknown,
}

impl Worker {
    pub(super) fn way_of(&self, open: &Open) -> Way {
        let named = open.asked.range().and_then(|range| self.map.get(range));
        let found = named.or_else(|| open.asked.key().and_then(|key| self.map.lookup(key)));
        let Some(found) = found else {
            return match (open.asked.key(), open.asked.range()) {
                (None, Some(range)) => Way::Nowhere(range),
                _ => Way::Unknown,
            };
        };
        let range = found.descriptor.range;
        match self.held.get(&range) {
            Some(held) => self.way_from_replica(open, held, found),
            // Another worker of this store has it.
            None if found.own => {
                Way::Away(To { store: self.config.store, range: Some(range), leads: Some(found.term) })
            }
            None => self.way_from_outside(open, found),
        }
    }

    fn way_from_replica(&self, open: &Open, held: &Held, found: &Found) -> Way {
        let standing = &held.standing;
        let range = standing.descriptor.range;
        let own_word = standing.leader.map(|(_, store)| (store, standing.term));
        if own_word.is_some_and(|(store, _)| store == self.config.store) {
            return Way::Here(range);
        }
        // Of a leader that the replica here does not hear others may have told.
        let hearsay = found.leader.filter(|_| found.term > standing.term).map(|store| (store, found.term));
        for (store, term) in hearsay.into_iter().chain(own_word) {
            if self.may_ask(open, store) {
                return self.away(open, range, store, Some(term));
            }
        }
        if self.is_passed_on(open) {
            // Who comes next is decided here as well as anywhere; whoever sent it waits with us, or looks elsewhere.
            return if open.hops >= limits::MAX_HOPS { Way::Nowhere(range) } else { Way::Wait(range) };
        }
        let others = standing.descriptor.voters().any(|r| r.store != self.config.store);
        // Of a range that only this store can lead nobody knows more.
        match self.relay(open, &standing.descriptor).filter(|_| others) {
            Some(store) => self.away(open, range, store, None),
            None => Way::Wait(range),
        }
    }

    /// Of a range that has no replica here: its leader, else a replica that lives, in our site first, else by whom we reach.
    fn way_from_outside(&self, open: &Open, found: &Found) -> Way {
        let range = found.descriptor.range;
        if let Some(leader) = found.leader.filter(|leader| self.may_ask(open, *leader)) {
            return self.away(open, range, leader, Some(found.term));
        }
        let replicas = found.descriptor.voters().filter(|r| self.may_ask(open, r.store));
        let replica = replicas.min_by_key(|r| (r.site != self.config.site, r.store)).map(|r| r.store);
        let replica = self.known_relay(open, range).or(replica);
        match replica.or_else(|| self.relay(open, &found.descriptor)) {
            Some(store) => self.away(open, range, store, None),
            None if self.is_passed_on(open) => Way::Nowhere(range),
            None => Way::Wait(range),
        }
    }

    /// Who may know, or reach, the leader that this store does not.
    fn relay(&self, open: &Open, descriptor: &RangeDescriptor) -> Option<StoreId> {
        if self.is_passed_on(open) {
            return None;
        }
        let known = self.known_relay(open, descriptor.range);
        if known.is_some() || !open.search.may_relay {
            return known;
        }
        let near = |store: StoreId| {
            let record = self.directory.iter().find(|record| record.store == store);
            record.is_some_and(|record| record.site == self.config.site)
        };
        let holds = |store: StoreId| descriptor.replica_on(store).is_some();
        let heard = |store: &StoreId| self.support.view.supports(*store) || self.heard.contains_key(store);
        let known = self.directory.iter().map(|record| record.store).chain(self.support.view.given.keys().copied());
        let living = known.filter(|store| heard(store) && self.may_ask(open, *store));
        living.min_by_key(|store| (!holds(*store), !near(*store), *store))
    }

    /// Through whom the leader was reached a moment ago.
    fn known_relay(&self, open: &Open, range: RangeId) -> Option<StoreId> {
        self.relays.get(&range).copied().filter(|store| self.may_ask(open, *store))
    }

    /// As far as this store can tell, the other one would answer, and was not asked in vain a moment ago.
    fn may_ask(&self, open: &Open, store: StoreId) -> bool {
        store != self.config.store && self.is_reached(store) && !open.search.tried.contains(&store)
    }

    fn is_reached(&self, store: StoreId) -> bool {
        !self.support.lost.contains_key(&store) && !self.silent.contains_key(&store)
    }

    pub(super) fn is_passed_on(&self, open: &Open) -> bool {
        matches!(open.origin, Origin::Store { store, .. } if store != self.config.store)
    }

    fn away(&self, open: &Open, range: RangeId, store: StoreId, leads: Option<Term>) -> Way {
        let back = matches!(open.origin, Origin::Store { store: from, .. } if from == store);
        if open.hops >= limits::MAX_HOPS || back {
            Way::Nowhere(range)
        } else {
            Way::Away(To { store, range: Some(range), leads })
        }
    }

    /// Waits for as long as an election takes; then others are asked.
    pub(super) fn wait_for_leader(&mut self, ticket: Ticket, range: RangeId, cx: &Cx<'_>) {
        if let Some(search) = self.desk.search(ticket) {
            search.since.get_or_insert(cx.now);
        }
        self.wait(ticket, Place::Leader(range), limits::RELAY_AFTER, cx);
    }

    /// Nobody came to lead the range while a request waited for that, as far as is known here.
    pub(super) fn look_elsewhere(&mut self, ticket: Ticket, range: RangeId, cx: &Cx<'_>) {
        let passed_on = self.desk.get(ticket).is_some_and(|open| self.is_passed_on(open));
        let Some(search) = self.desk.search(ticket) else { return };
        let since = *search.since.get_or_insert(cx.now);
        if passed_on || cx.now.since(since) >= limits::WAIT_FOR_LEADER {
            return self.not_leader(ticket, range, cx);
        }
        search.tried.clear();
        search.may_relay = true;
        self.route(ticket, cx);
    }

    /// A store was asked in vain, and nothing was done there: the request goes on, unless that has gone on for long enough.
    pub(super) fn goes_on(&mut self, ticket: Ticket, asked: StoreId, cx: &Cx<'_>) -> bool {
        // Another worker of this store has looked everywhere.
        if asked == self.config.store || self.desk.get(ticket).is_none_or(|open| open.origin == Origin::Upkeep) {
            return false;
        }
        let Some(search) = self.desk.search(ticket) else { return false };
        let since = *search.since.get_or_insert(cx.now);
        if cx.now.since(since) >= limits::WAIT_FOR_LEADER {
            return false;
        }
        if !search.tried.contains(&asked) {
            search.tried.push(asked);
        }
        self.route(ticket, cx);
        true
    }

    /// True when the leadership that a request was sent to is known to be over; and of a read that was sent to somebody who may
    /// know more, when more is known here.
    pub(super) fn is_over(&self, open: &Open, to: &To) -> bool {
        let Some(found) = to.range.and_then(|range| self.map.get(range)) else { return false };
        if to.store == self.config.store {
            return false;
        }
        match to.leads {
            Some(term) => found.term > term && found.leader.is_some_and(|leader| leader != to.store),
            None if open.asked.changes() => false,
            None => match self.way_of(open) {
                Way::Here(_) => true,
                Way::Away(other) => other.leads.is_some() && other.store != to.store,
                Way::Wait(_) | Way::Nowhere(_) | Way::Unknown => false,
            },
        }
    }

    /// How asking a store that was not believed to lead turned out.
    pub(super) fn note_relay(&mut self, to: To, is_way: bool) {
        let Some(range) = to.range.filter(|_| to.leads.is_none()) else { return };
        if is_way {
            self.relays.insert(range, to.store);
        } else {
            self.forget_relay(range, to.store);
        }
    }

    pub(super) fn forget_relay(&mut self, range: RangeId, store: StoreId) {
        if self.relays.get(&range) == Some(&store) {
            self.relays.remove(&range);
        }
    }

    /// Something was heard of ranges elsewhere: requests that wait for their leaders go on.
    pub(super) fn wake_for_leaders(&mut self, ranges: &[RangeId], cx: &Cx<'_>) {
        if self.desk.waiting() == 0 {
            return;
        }
        for range in ranges {
            for ticket in self.desk.waiting_for(Wait::Leader(*range)) {
                let goes_on = self.desk.get(ticket).is_some_and(|open| matches!(self.way_of(open), Way::Away(_)));
                if goes_on {
                    self.route(ticket, cx);
                }
            }
        }
    }

    /// Asks stores that were silent whether they are back, and forgets ways around links that are whole again.
    pub(super) fn probe_silent(&mut self, cx: &Cx<'_>) {
        self.silent.retain(|_, since| cx.now.since(*since) < limits::MAX_DEADLINE);
        if self.silent.is_empty() && self.support.lost.is_empty() {
            self.relays.clear();
        }
        let silent: Vec<_> = self.silent.keys().copied().collect();
        for store in silent {
            // Any question will do: it is the answer that counts.
            let id = crate::core::message::CallId::new(self.config.worker, 0);
            self.send(store, crate::core::message::StoreMessage::Locate { id, key: holdfast_types::Key::MIN });
        }
    }
}
