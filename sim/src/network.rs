//! Links between stores and clients: ordered streams that delay, lose, repeat, hold back and break.
//!
//! Within one stream (from, to, lane) order is kept, as TCP keeps it; between streams nothing is. A cut is one direction of one
//! pair: what arrives meanwhile is held until the cut heals, or lost, as the cut says. A reset loses what is on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use holdfast_client::core::{AttemptId, LocateId};
use holdfast_kv::ports::Class;
use holdfast_types::{Incarnation, KeyRange, Located, Moment, RangeRequest, Rejected, Response, StoreId, Timestamp};

use crate::rng::Rng;

/// One end of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// A store.
    Store(StoreId),
    /// A client, by its index.
    Client(usize),
}

/// The streams of a link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lane {
    /// Votes, pings, forwards, look-ups.
    Control,
    /// Entries and acknowledgements.
    Log,
    /// Pieces of snapshots.
    Snapshot,
    /// Heartbeats of support.
    Support,
    /// Calls of a client and their answers.
    Client,
}

impl From<Class> for Lane {
    fn from(class: Class) -> Self {
        match class {
            Class::Control => Self::Control,
            Class::Log => Self::Log,
            Class::Snapshot => Self::Snapshot,
        }
    }
}

/// A stream: where from, where to, which.
pub type Stream = (Place, Place, Lane);

/// What travels.
#[derive(Clone, Debug)]
pub enum Parcel {
    /// Between stores, encoded, under the sender's incarnation.
    Message(Incarnation, Bytes),
    /// A heartbeat of support.
    Support(Incarnation, Bytes),
    /// A stream between stores has nothing to send, and says that it lives.
    SignOfLife,
    /// A client opens its `n`-th stream to this store.
    Hello(u64),
    /// A call on a client's stream.
    Call {
        /// Which stream.
        session: u64,
        /// Which attempt.
        attempt: AttemptId,
        /// What is asked.
        request: RangeRequest,
        /// How long the store may take.
        timeout: Duration,
    },
    /// Nobody waits for a call any more.
    Cancel {
        /// Which stream.
        session: u64,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A client asks who holds keys.
    Locate {
        /// Comes back.
        locate: LocateId,
        /// The keys.
        bounds: KeyRange,
        /// The last ones first.
        reverse: bool,
    },
    /// The store accepts a stream, and says what it knows.
    Welcome {
        /// Which stream.
        session: u64,
        /// Fleet time.
        fleet_now: Timestamp,
        /// Ranges with a replica there.
        notices: Vec<Located>,
    },
    /// A stream is refused or has broken.
    Broken(u64),
    /// A client asks whether its stream still stands.
    Ping(u64),
    /// It does.
    Pong(u64),
    /// A look-up is refused: nobody listens.
    NotLocated(LocateId),
    /// An answer to a call.
    Answer {
        /// Which stream.
        session: u64,
        /// Which attempt.
        attempt: AttemptId,
        /// What it says.
        outcome: Result<Response, Rejected>,
        /// Fleet time.
        fleet_now: Timestamp,
    },
    /// The store lives.
    Alive {
        /// Which stream.
        session: u64,
        /// Fleet time.
        fleet_now: Timestamp,
    },
    /// A range looks different now.
    Notice {
        /// Which stream.
        session: u64,
        /// The range.
        located: Located,
    },
    /// The answer to a look-up.
    Located {
        /// Which look-up.
        locate: LocateId,
        /// What is known.
        found: Vec<Located>,
        /// Fleet time.
        fleet_now: Timestamp,
    },
}

/// How the network behaves while nothing is cut.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// The mean way of a message.
    pub delay: Duration,
    /// Messages lost (a queue was full), in a million.
    pub lost: u32,
    /// Messages that arrive twice, in a million.
    pub repeated: u32,
    /// Messages that take ten to a hundred times as long, in a million.
    pub late: u32,
}

impl Weather {
    /// A quiet local network.
    pub const QUIET: Weather = Weather { delay: Duration::from_micros(250), lost: 0, repeated: 0, late: 0 };
}

/// What becomes of messages that meet a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// They are lost.
    Loses,
    /// They arrive after the cut, in order.
    Holds,
}

/// Which streams a cut meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lanes {
    /// Every one.
    All,
    /// All but heartbeats: the port for streams between stores is cut.
    Streams,
    /// Heartbeats alone.
    Heartbeats,
}

impl Lanes {
    fn has(self, lane: Lane) -> bool {
        match self {
            Self::All => true,
            Self::Streams => matches!(lane, Lane::Control | Lane::Log | Lane::Snapshot),
            Self::Heartbeats => lane == Lane::Support,
        }
    }
}

/// What a stream remembers.
#[derive(Clone, Copy, Default, Debug)]
struct Ordered {
    /// Counts resets: what was sent before the last one never arrives.
    epoch: u64,
    /// Nothing sent later arrives before this.
    last: Moment,
}

/// A message as sent: names the connection that carries it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// On which stream.
    pub stream: Stream,
    epoch: u64,
    /// What.
    pub parcel: Parcel,
}

/// Messages held back at cuts, at most; more are lost.
const MAX_HELD: usize = 4_096;

/// All links.
#[derive(Debug)]
pub struct Network {
    /// How it behaves.
    pub weather: Weather,
    rng: Rng,
    ways: BTreeMap<(Place, Place), Duration>,
    streams: BTreeMap<Stream, Ordered>,
    cuts: BTreeMap<(Place, Place), (Cut, Lanes)>,
    held: Vec<Sent>,
}

impl Network {
    /// A network without cuts.
    #[must_use]
    pub fn new(weather: Weather, rng: Rng) -> Self {
        Self { weather, rng, ways: BTreeMap::new(), streams: BTreeMap::new(), cuts: BTreeMap::new(), held: Vec::new() }
    }

    /// Sends; gives the message with its arrivals: mostly one, none when it is lost at once, two when it is repeated.
    pub fn send(&mut self, stream: Stream, parcel: Parcel, now: Moment) -> (Sent, Vec<Moment>) {
        let (from, to, lane) = stream;
        let weather = self.weather;
        let epoch = self.streams.entry(stream).or_default().epoch;
        let sent = Sent { stream, epoch, parcel };
        // A client's stream loses nothing unless it breaks.
        let store_to_store = lane != Lane::Client;
        if store_to_store && self.rng.chance(weather.lost) {
            return (sent, Vec::new());
        }
        let copies = if store_to_store && self.rng.chance(weather.repeated) { 2 } else { 1 };
        let way = self.way(from, to);
        let mut arrivals = Vec::with_capacity(copies);
        for _ in 0..copies {
            let mut wait = self.rng.around(way);
            if self.rng.chance(weather.late) {
                wait *= u32::try_from(self.rng.between(10, 100)).expect("a hundred");
            }
            let ordered = self.streams.get_mut(&stream).expect("just made");
            ordered.last = now.after(wait).max(ordered.last);
            arrivals.push(ordered.last);
        }
        (sent, arrivals)
    }

    /// Whether a message arrives now. One that meets a cut that holds is kept for [`Network::heal`].
    pub fn arrives(&mut self, sent: Sent) -> Option<Sent> {
        let (from, to, lane) = sent.stream;
        if self.streams.get(&sent.stream).is_none_or(|ordered| ordered.epoch != sent.epoch) {
            return None;
        }
        match self.cuts.get(&(from, to)).filter(|(_, lanes)| lanes.has(lane)) {
            None => Some(sent),
            Some((Cut::Loses, _)) => None,
            Some((Cut::Holds, _)) => {
                if self.held.len() < MAX_HELD {
                    self.held.push(sent);
                }
                None
            }
        }
    }

    /// Cuts one direction of these streams.
    pub fn cut(&mut self, from: Place, to: Place, how: Cut, lanes: Lanes) {
        self.cuts.insert((from, to), (how, lanes));
    }

    /// True while that direction is cut.
    #[must_use]
    pub fn is_cut(&self, from: Place, to: Place) -> bool {
        self.cuts.contains_key(&(from, to))
    }

    /// Ends cuts; gives what was held and arrives now, in the order in which it was sent on each stream.
    pub fn heal(&mut self, which: &BTreeSet<(Place, Place)>, now: Moment) -> Vec<(Sent, Moment)> {
        self.cuts.retain(|pair, _| !which.contains(pair));
        let (free, held) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|sent| which.contains(&(sent.stream.0, sent.stream.1)));
        self.held = held;
        let free: Vec<Sent> = free;
        let mut arrivals = Vec::with_capacity(free.len());
        for sent in free {
            let wait = self.rng.around(self.weather.delay);
            let ordered = self.streams.entry(sent.stream).or_default();
            ordered.last = now.after(wait).max(ordered.last);
            arrivals.push((sent, ordered.last));
        }
        arrivals
    }

    /// Every cut there is.
    #[must_use]
    pub fn all_cuts(&self) -> BTreeSet<(Place, Place)> {
        self.cuts.keys().copied().collect()
    }

    /// The connections from `from` to `to` break: what is on its way is lost.
    pub fn reset(&mut self, from: Place, to: Place) {
        self.held.retain(|sent| (sent.stream.0, sent.stream.1) != (from, to));
        for lane in [Lane::Control, Lane::Log, Lane::Snapshot, Lane::Support, Lane::Client] {
            self.streams.entry((from, to, lane)).or_default().epoch += 1;
        }
    }

    /// Everything on its way to a place is lost: its process is gone.
    pub fn reset_to(&mut self, place: Place) {
        self.held.retain(|sent| sent.stream.1 != place);
        for ((_, to, _), ordered) in &mut self.streams {
            if *to == place {
                ordered.epoch += 1;
            }
        }
    }

    fn way(&mut self, from: Place, to: Place) -> Duration {
        let (delay, rng) = (self.weather.delay, &mut self.rng);
        *self.ways.entry((from, to)).or_insert_with(|| rng.wait(delay / 2, delay * 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (Place, Place) {
        (Place::Store(StoreId(1)), Place::Store(StoreId(2)))
    }

    fn parcel(n: u8) -> Parcel {
        Parcel::Message(Incarnation(1), Bytes::copy_from_slice(&[n]))
    }

    fn network() -> Network {
        let weather = Weather { delay: Duration::from_millis(1), lost: 0, repeated: 200_000, late: 200_000 };
        Network::new(weather, Rng::new(9))
    }

    #[test]
    fn streams_keep_their_order() {
        let (from, to) = ends();
        let mut network = network();
        let mut last = Moment::ZERO;
        for n in 0..100 {
            let (_, arrivals) = network.send((from, to, Lane::Log), parcel(n), Moment(u64::from(n)));
            for at in arrivals {
                assert!(at >= last);
                last = at;
            }
        }
    }

    #[test]
    fn cut_that_holds_gives_back_in_order_and_one_that_loses_nothing() {
        let (from, to) = ends();
        let mut network = network();
        for (how, expected) in [(Cut::Holds, 3), (Cut::Loses, 0)] {
            network.cut(from, to, how, Lanes::All);
            for n in 0..3 {
                let (sent, _) = network.send((from, to, Lane::Log), parcel(n), Moment(0));
                assert!(network.arrives(sent).is_none());
            }
            assert_eq!(network.heal(&BTreeSet::from([(from, to)]), Moment(9)).len(), expected);
            let (sent, _) = network.send((to, from, Lane::Log), parcel(0), Moment(0));
            assert!(network.arrives(sent).is_some(), "the other direction was never cut");
        }
    }

    #[test]
    fn reset_loses_what_is_on_its_way() {
        let (from, to) = ends();
        let mut network = network();
        let (sent, _) = network.send((from, to, Lane::Log), parcel(0), Moment(0));
        network.reset(from, to);
        assert!(network.arrives(sent).is_none());
        let (sent, _) = network.send((from, to, Lane::Log), parcel(0), Moment(0));
        assert!(network.arrives(sent).is_some());
    }
}
