//! Whose turn it is to prove who he is: so many handshakes at a time, of one port and of one address.
//!
//! Whoever comes first has the first turn. An address that has all its turns under way waits behind its own, so that somebody who begins
//! handshakes and never ends them keeps himself waiting. Those that have taken long make room where all turns are taken.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Instant;

use holdfast_types::limits;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::budget::stranger;
use crate::connection::{Connection, MADE_ROOM};

/// - At most `limits::HANDSHAKES` turns are taken, and of one address at most `per_address`.
/// - `begun` has an entry for each turn that is taken.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    per_address: usize,
    addresses: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    begun: Mutex<Begun>,
}

#[derive(Default, Debug)]
struct Begun {
    by_number: BTreeMap<u64, Handshake>,
    next: u64,
}

#[derive(Debug)]
struct Handshake {
    at: Instant,
    address: Arc<Semaphore>,
    connection: Weak<Connection>,
}

impl Turns {
    pub(crate) fn new(per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(limits::HANDSHAKES)),
            per_address,
            addresses: Mutex::default(),
            begun: Mutex::default(),
        })
    }

    fn of(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut addresses = self.addresses.lock();
        let known = addresses.entry(address).or_default();
        known.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Semaphore::new(self.per_address));
            *known = Arc::downgrade(&new);
            new
        })
    }

    /// Waits until it is the turn of this connection, which lasts until what is returned is dropped.
    pub(crate) async fn turn(self: &Arc<Self>, connection: &Arc<Connection>) -> Turn {
        let address = self.of(stranger(connection.from.ip()));
        let open = "nobody closes them";
        let permits = [
            Arc::clone(&address).acquire_owned().await.expect(open),
            Arc::clone(&self.all).acquire_owned().await.expect(open),
        ];
        let mut begun = self.begun.lock();
        let number = begun.next;
        begun.next += 1;
        begun
            .by_number
            .insert(number, Handshake { at: Instant::now(), address, connection: Arc::downgrade(connection) });
        Turn { turns: Arc::clone(self), number, _permits: permits }
    }

    /// Where all turns are taken, of the port or of an address, those that have taken long end. Forgets addresses that nobody comes from.
    pub(crate) fn make_room(&self, now: Instant) {
        self.addresses.lock().retain(|_, address| address.strong_count() > 0);
        let is_full = self.all.available_permits() == 0;
        let begun = self.begun.lock();
        let slow = begun.by_number.values().filter(|handshake| {
            let is_long = now.saturating_duration_since(handshake.at) >= limits::HANDSHAKE_BEFORE_MAKING_ROOM;
            is_long && (is_full || handshake.address.available_permits() == 0)
        });
        let slow: Vec<_> = slow.filter_map(|handshake| handshake.connection.upgrade()).collect();
        drop(begun);
        slow.iter().for_each(|connection| connection.end(MADE_ROOM));
    }
}

/// A turn, over when dropped.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    number: u64,
    _permits: [OwnedSemaphorePermit; 2],
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.begun.lock().by_number.remove(&self.number);
    }
}
