//! The open requests of one worker: who asked, what, and where the request is now. Every one is answered exactly once.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_replica::{AdminRequest, Ticket};
use holdfast_types::{Incarnation, Key, Moment, RangeId, StoreId, Term, Timestamp};

use super::event::RequestTicket;
use super::message::CallId;
use super::permit::Permitted;

/// Who asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A client of this store.
    Client(RequestTicket),
    /// An administrator at this store.
    Administrator(RequestTicket),
    /// Another store, for somebody there.
    Store {
        /// Which store.
        store: StoreId,
        /// Its name for the question.
        id: CallId,
    },
    /// The placement loop of this worker.
    Placement(u64),
    /// The worker itself, which tries again some time if it is refused.
    Upkeep,
}

/// What was asked.
#[derive(Clone, PartialEq, Debug)]
pub enum Asked {
    /// By a client.
    Data(Permitted),
    /// By an administrator.
    Admin(RangeId, AdminRequest),
}

impl Asked {
    /// The range named.
    #[must_use]
    pub fn range(&self) -> Option<RangeId> {
        match self {
            Self::Data(asked) => asked.request().range.map(|(range, _)| range),
            Self::Admin(range, _) => Some(*range),
        }
    }

    /// The key by which it finds its range.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Data(asked) => asked.request().request.routing_key(),
            Self::Admin(..) => None,
        }
    }

    /// True for a client's write.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self, Self::Data(asked) if asked.request().request.is_write())
    }

    /// True when, once sent, it may have been done though nothing was heard.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Data(asked) => asked.request().request.is_write(),
            Self::Admin(..) => true,
        }
    }
}

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Just arrived.
    New,
    /// A replica here has it, or a read for it is out.
    Replica(RangeId),
    /// Sent to another store.
    Sent(Sent),
    /// Waits for a leader of a range with a replica here.
    Leader(RangeId),
    /// Waits to hear who holds its key.
    Located,
    /// Waits for the id or the key of a split.
    Prepared(RangeId),
}

/// Where a request is sent, and why there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct To {
    /// The store.
    pub store: StoreId,
    /// The range that it is for, as far as that is known.
    pub range: Option<RangeId>,
    /// The term in which that store is believed to lead the range; `None`: it is asked because it may know, or reach, who does.
    pub leads: Option<Term>,
}

/// A request that another store has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Where it was sent.
    pub to: To,
    /// When.
    pub at: Moment,
    /// Since when it is known that the leadership that it went to is over.
    pub over: Option<Moment>,
}

/// The search for who leads, of a request that did not find it at once.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Search {
    /// When it began.
    pub since: Option<Moment>,
    /// Stores that were asked in vain since the request last waited: at most one entry for each store.
    pub tried: Vec<StoreId>,
    /// It has waited for an election: stores may be asked that reach a leader whom this one does not.
    pub may_relay: bool,
}

/// One open request.
#[derive(Clone, PartialEq, Debug)]
pub struct Open {
    /// Who asked.
    pub origin: Origin,
    /// What.
    pub asked: Asked,
    /// When nobody waits for the answer any more.
    pub deadline: Moment,
    /// How often it was passed on before it came here.
    pub hops: u32,
    /// Given back to admission with the answer.
    pub size_bytes: usize,
    /// Where it is.
    pub place: Place,
    /// How often it was routed anew after a replica here refused it.
    pub rerouted: u8,
    /// Of a read that waits, or has waited, for the range's time: the time by which it is decided what has expired.
    pub decided_at: Option<Timestamp>,
    /// What was tried to find its leader.
    pub search: Search,
}

/// The open requests of one worker.
///
/// Invariants:
/// - `timers` has one entry for each request that waits or was sent, none for others
/// - `waits` has one entry for each request whose place is one to wait at
/// - `clients` names exactly the open requests of clients
#[derive(Default, Debug)]
pub struct Desk {
    next: u64,
    open: BTreeMap<Ticket, Open>,
    clients: BTreeMap<RequestTicket, Ticket>,
    timers: BTreeSet<(Moment, Ticket)>,
    alarms: BTreeMap<Ticket, Moment>,
    waits: BTreeSet<(Wait, Ticket)>,
}

/// What a request waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wait {
    /// The answer of a store.
    Store(StoreId),
    /// A leader of a range.
    Leader(RangeId),
    /// To hear who holds a key.
    Located,
}

impl Wait {
    fn range(self) -> Option<RangeId> {
        match self {
            Self::Leader(range) => Some(range),
            Self::Store(_) | Self::Located => None,
        }
    }
}

impl Place {
    fn wait(self) -> Option<Wait> {
        match self {
            Self::Sent(sent) => Some(Wait::Store(sent.to.store)),
            Self::Leader(range) => Some(Wait::Leader(range)),
            Self::Located => Some(Wait::Located),
            Self::New | Self::Replica(_) | Self::Prepared(_) => None,
        }
    }
}

impl Desk {
    /// A desk whose tickets no earlier start of the store has used: they name questions to other stores, and an answer to a
    /// question of an earlier start may still be on its way.
    #[must_use]
    pub fn of(incarnation: Incarnation) -> Self {
        Self { next: (incarnation.0 & 0xffff) << 32, ..Self::default() }
    }

    /// Takes a request in.
    pub fn take_in(&mut self, open: Open) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        if let Origin::Client(client) = open.origin {
            self.clients.insert(client, ticket);
        }
        self.open.insert(ticket, open);
        ticket
    }

    /// The request of a ticket.
    #[must_use]
    pub fn get(&self, ticket: Ticket) -> Option<&Open> {
        self.open.get(&ticket)
    }

    /// The ticket of a client's request.
    #[must_use]
    pub fn of_client(&self, client: RequestTicket) -> Option<Ticket> {
        self.clients.get(&client).copied()
    }

    /// Moves a request; `wake` is when somebody must look at it again.
    pub fn put(&mut self, ticket: Ticket, place: Place, wake: Option<Moment>) {
        self.silence(ticket);
        let Some(open) = self.open.get_mut(&ticket) else { return };
        if let Some(wait) = open.place.wait() {
            self.waits.remove(&(wait, ticket));
        }
        if let Some(wait) = place.wait() {
            self.waits.insert((wait, ticket));
        }
        open.place = place;
        if let Some(wake) = wake {
            self.timers.insert((wake, ticket));
            self.alarms.insert(ticket, wake);
        }
    }

    /// Changes what is asked (the id or the key of a split has been found).
    pub fn amend(&mut self, ticket: Ticket, asked: Asked) {
        if let Some(open) = self.open.get_mut(&ticket) {
            open.asked = asked;
        }
    }

    /// Notes by which time it is decided what has expired for a read; gives where the read is.
    pub fn decide_at(&mut self, ticket: Ticket, time: Timestamp) -> Option<Place> {
        let open = self.open.get_mut(&ticket)?;
        open.decided_at = Some(time);
        Some(open.place)
    }

    /// The search of a request, to be changed.
    pub fn search(&mut self, ticket: Ticket) -> Option<&mut Search> {
        self.open.get_mut(&ticket).map(|open| &mut open.search)
    }

    /// Counts that a replica refused it; false when it was refused too often to be routed again.
    pub fn may_reroute(&mut self, ticket: Ticket) -> bool {
        /// Leadership that moves twice while a request waits is answered to its caller, who knows how long it wants to try.
        const REROUTES: u8 = 2;
        self.open.get_mut(&ticket).is_some_and(|open| {
            open.rerouted += 1;
            open.rerouted <= REROUTES
        })
    }

    /// The request is answered: takes it out.
    pub fn close(&mut self, ticket: Ticket) -> Option<Open> {
        self.silence(ticket);
        let open = self.open.remove(&ticket)?;
        if let Some(wait) = open.place.wait() {
            self.waits.remove(&(wait, ticket));
        }
        if let Origin::Client(client) = open.origin {
            self.clients.remove(&client);
        }
        Some(open)
    }

    /// Requests whose alarm lies at or before `now`; their alarms are off then.
    pub fn due(&mut self, now: Moment) -> Vec<Ticket> {
        let mut due = Vec::new();
        while let Some(&(at, ticket)) = self.timers.first()
            && at <= now
        {
            self.silence(ticket);
            due.push(ticket);
        }
        due
    }

    /// When the next alarm goes off.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Requests that wait for something, in order of arrival.
    #[must_use]
    pub fn waiting_for(&self, wait: Wait) -> Vec<Ticket> {
        self.waits.range((wait, Ticket(0))..=(wait, Ticket(u64::MAX))).map(|(_, ticket)| *ticket).collect()
    }

    /// Ranges whose leader is waited for.
    #[must_use]
    pub fn ranges_waited_for(&self) -> Vec<RangeId> {
        let waits = self.waits.range((Wait::Leader(RangeId(0)), Ticket(0))..);
        let mut ranges: Vec<_> = waits.map_while(|(wait, _)| wait.range()).collect();
        ranges.dedup();
        ranges
    }

    /// Requests that a replica here has, in order of arrival. Looks at all: for a replica that died.
    #[must_use]
    pub fn with_replica(&self, range: RangeId) -> Vec<Ticket> {
        let here = [Place::Replica(range), Place::Prepared(range)];
        self.open.iter().filter(|(_, open)| here.contains(&open.place)).map(|(ticket, _)| *ticket).collect()
    }

    /// Requests that wait, for bounds: those with an alarm.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.timers.len()
    }

    /// Open requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True when nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn silence(&mut self, ticket: Ticket) {
        if let Some(at) = self.alarms.remove(&ticket) {
            self.timers.remove(&(at, ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::{KeyspaceId, RangeRequest, Request};

    use super::*;
    use crate::core::rights::Asker;

    fn open(client: u64) -> Open {
        let keys = vec![Key::bound(KeyspaceId(1), b"k")];
        let request = RangeRequest { range: None, write: None, request: Request::Get { keys, at: None } };
        Open {
            origin: Origin::Client(RequestTicket(client)),
            asked: Asked::Data(Permitted::check(request, &Asker::fleet()).unwrap()),
            deadline: Moment(100),
            hops: 0,
            size_bytes: 1,
            place: Place::New,
            rerouted: 0,
            decided_at: None,
            search: Search::default(),
        }
    }

    #[test]
    fn tickets_of_two_starts_never_meet() {
        let open = Open {
            origin: Origin::Placement(0),
            asked: Asked::Admin(RangeId(1), AdminRequest::Transfer { to: holdfast_types::ReplicaId(1) }),
            deadline: Moment(1),
            hops: 0,
            size_bytes: 0,
            place: Place::New,
            rerouted: 0,
            decided_at: None,
            search: Search::default(),
        };
        let first = |incarnation| Desk::of(Incarnation(incarnation)).take_in(open.clone());
        assert_ne!(first(1), first(2));
        assert!(first(2).0 < 1 << 48, "it fits into a question's name");
    }

    #[test]
    fn alarm_goes_off_once_and_only_while_the_request_waits() {
        let mut desk = Desk::default();
        let (first, second) = (desk.take_in(open(1)), desk.take_in(open(2)));
        desk.put(first, Place::Leader(RangeId(1)), Some(Moment(10)));
        desk.put(second, Place::Leader(RangeId(1)), Some(Moment(20)));
        desk.put(second, Place::Replica(RangeId(1)), None);
        assert_eq!(desk.next_wake(), Some(Moment(10)));
        assert_eq!(desk.due(Moment(30)), [first]);
        assert!(desk.due(Moment(30)).is_empty());
        assert_eq!(desk.with_replica(RangeId(1)), [second]);
        assert_eq!(desk.waiting_for(Wait::Leader(RangeId(1))), [first]);
    }

    #[test]
    fn closed_request_is_gone_for_its_client_too() {
        let mut desk = Desk::default();
        let ticket = desk.take_in(open(1));
        assert_eq!(desk.of_client(RequestTicket(1)), Some(ticket));
        assert!(desk.close(ticket).is_some());
        assert!(desk.close(ticket).is_none());
        assert_eq!(desk.of_client(RequestTicket(1)), None);
        assert!(desk.is_empty());
    }
}
