//! The stores as one client meets them: which answer, and which to prefer.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_types::{Moment, RangeDescriptor, Rejected, SiteName, StoreId, limits};

use super::event::KnownStore;

/// One store as the client meets it.
#[derive(Clone, Debug, Default)]
struct Store {
    site: Option<SiteName>,
    stream: Stream,
    /// Why it was down last, until it is up.
    why: Option<String>,
    last_heard: Option<Moment>,
    /// It was silent; until then others are preferred.
    suspect_until: Moment,
}

/// How the stream to a store stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stream {
    /// Nothing was heard of it yet.
    #[default]
    Untried,
    Up,
    /// It broke or could not be opened, and is not open again.
    Down,
}

/// Failures are counted by site: a lost site takes all its stores along, so not every call has to find out about each of them.
#[derive(Clone, Debug, Default)]
struct Circuit {
    failures: u32,
    opened: u32,
    open_until: Moment,
}

/// All stores known.
///
/// Invariants:
/// - `down` counts the stores whose stream is down
#[derive(Clone, Debug, Default)]
pub(crate) struct Stores {
    stores: BTreeMap<StoreId, Store>,
    down: usize,
    circuits: BTreeMap<SiteName, Circuit>,
    own_site: Option<SiteName>,
}

/// For whom a store is chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    /// The range, when known.
    pub(crate) range: Option<&'a RangeDescriptor>,
    /// Its leader, when known.
    pub(crate) leader: Option<StoreId>,
    /// The store that failed last.
    pub(crate) avoid: Option<StoreId>,
    /// Spreads equal choices.
    pub(crate) salt: u64,
    /// Now.
    pub(crate) now: Moment,
}

impl Stores {
    pub(crate) fn new(own_site: Option<SiteName>) -> Self {
        Self { own_site, ..Self::default() }
    }

    /// These are all stores of the fleet.
    pub(crate) fn learn(&mut self, known: Vec<KnownStore>) {
        let mut old = std::mem::take(&mut self.stores);
        for KnownStore { store, site } in known {
            let kept = old.remove(&store).unwrap_or_default();
            self.stores.insert(store, Store { site: Some(site), ..kept });
        }
        self.down = self.counted_down();
    }

    fn counted_down(&self) -> usize {
        self.stores.values().filter(|store| store.stream == Stream::Down).count()
    }

    /// A store that a hint names with its address; its site comes with the next list.
    pub(crate) fn learn_one(&mut self, store: StoreId) {
        self.stores.entry(store).or_default();
    }

    pub(crate) fn up(&mut self, store: StoreId) {
        if let Some(known) = self.stores.get_mut(&store) {
            self.down -= usize::from(known.stream == Stream::Down);
            known.stream = Stream::Up;
            known.why = None;
            known.suspect_until = Moment::ZERO;
        }
    }

    /// Why the store is out of reach.
    pub(crate) fn note_why(&mut self, store: StoreId, why: String) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.why = Some(why);
        }
    }

    /// What is said of a store that was not reached.
    pub(crate) fn unreached(&self, store: StoreId) -> Rejected {
        let why = self.stores.get(&store).and_then(|known| known.why.as_ref());
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        Rejected::Unavailable(format!("{store} could not be reached{why}"))
    }

    /// The same of one that is down for a reason that is known, if there is one.
    pub(crate) fn any_unreached(&self) -> Option<Rejected> {
        let down = self.stores.iter().find(|(_, known)| known.stream == Stream::Down && known.why.is_some());
        down.map(|(store, _)| self.unreached(*store))
    }

    pub(crate) fn down(&mut self, store: StoreId, now: Moment) {
        if let Some(known) = self.stores.get_mut(&store) {
            self.down += usize::from(known.stream != Stream::Down);
            known.stream = Stream::Down;
            let site = known.site.clone();
            self.count_failure(site, now);
        }
    }

    /// The store did not answer in time and said nothing else.
    pub(crate) fn suspect(&mut self, store: StoreId, now: Moment) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.suspect_until = now.after(limits::CLIENT_SUSPECT_FOR);
            let site = known.site.clone();
            self.count_failure(site, now);
        }
    }

    pub(crate) fn heard(&mut self, store: StoreId, now: Moment) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.last_heard = Some(now);
            known.suspect_until = Moment::ZERO;
            if let Some(site) = &known.site
                && let Some(circuit) = self.circuits.get_mut(site)
            {
                *circuit = Circuit::default();
            }
        }
    }

    /// True when nothing was heard of the store since `since`.
    pub(crate) fn silent_since(&self, store: StoreId, since: Moment) -> bool {
        self.stores.get(&store).and_then(|known| known.last_heard).is_none_or(|heard| heard < since)
    }

    /// Where to send: to the leader if it is known and in reach; else to a store of the own site, which passes the request on;
    /// else to whichever store is the best of the rest. `None` only when no store is known at all.
    ///
    /// A store without a stream is the last resort, behind the one that failed last: who reaches one store alone goes on asking that one.
    pub(crate) fn choose(&self, choice: Choice<'_>) -> Option<StoreId> {
        if let Some(leader) = choice.leader
            && choice.avoid != Some(leader)
            && self.stores.get(&leader).is_some_and(|store| self.in_reach(store, choice.now))
        {
            return Some(leader);
        }
        // Where one store is out of reach others may be, too: one that is connected is the surer way.
        let is_cut = self.down > 0;
        let rank = |(id, store): &(&StoreId, &Store)| {
            (
                store.stream == Stream::Down,
                choice.avoid == Some(**id),
                !self.in_reach(store, choice.now),
                self.own_site.is_some() && store.site != self.own_site,
                is_cut && store.stream == Stream::Untried,
                choice.range.is_none_or(|range| range.replica_on(**id).is_none()),
                mix(choice.salt ^ id.0),
            )
        };
        self.stores.iter().min_by_key(rank).map(|(id, _)| *id)
    }

    fn in_reach(&self, store: &Store, now: Moment) -> bool {
        let circuit = store.site.as_ref().and_then(|site| self.circuits.get(site));
        store.stream != Stream::Down
            && store.suspect_until <= now
            && circuit.is_none_or(|circuit| circuit.open_until <= now)
    }

    fn count_failure(&mut self, site: Option<SiteName>, now: Moment) {
        let Some(site) = site else { return };
        let circuit = self.circuits.entry(site).or_default();
        circuit.failures += 1;
        if circuit.failures >= limits::CLIENT_CIRCUIT_FAILURES && circuit.open_until <= now {
            circuit.open_until =
                now.after(doubled(limits::CLIENT_CIRCUIT_MIN, circuit.opened, limits::CLIENT_CIRCUIT_MAX));
            circuit.opened += 1;
        }
    }
}

/// `first`, doubled `times` times, at most `most`.
pub(crate) fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(most)
}

/// Spreads a number over 64 bits (the finalizer of SplitMix64).
pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn site(name: &str) -> SiteName {
        SiteName::new(name).unwrap()
    }

    /// Stores 1 and 2 in a, 3 and 4 in b; the client is in a.
    fn stores() -> Stores {
        let mut stores = Stores::new(Some(site("a")));
        let known = [(1, "a"), (2, "a"), (3, "b"), (4, "b")];
        stores.learn(known.map(|(id, at)| KnownStore { store: StoreId(id), site: site(at) }).into());
        stores
    }

    fn choose(stores: &Stores, leader: Option<u64>, avoid: Option<u64>, now: u64) -> u64 {
        let (leader, avoid) = (leader.map(StoreId), avoid.map(StoreId));
        stores.choose(Choice { range: None, leader, avoid, salt: 1, now: Moment(now) }).unwrap().0
    }

    #[test]
    fn the_leader_is_asked_first_and_the_own_site_when_it_is_out_of_reach() {
        let mut stores = stores();
        assert_eq!(choose(&stores, Some(3), None, 0), 3);
        stores.down(StoreId(3), Moment(0));
        assert!([1, 2].contains(&choose(&stores, Some(3), None, 0)));
        assert!([1, 2].contains(&choose(&stores, None, None, 0)));
        assert_eq!(choose(&stores, None, Some(1), 0), 2);
        stores.up(StoreId(3));
        assert_eq!(choose(&stores, Some(3), None, 0), 3);
    }

    #[test]
    fn a_circuit_opens_for_a_whole_site_and_closes_at_a_word_from_it() {
        let mut stores = stores();
        for _ in 0..limits::CLIENT_CIRCUIT_FAILURES {
            stores.suspect(StoreId(3), Moment(0));
        }
        assert!([1, 2].contains(&choose(&stores, Some(4), None, 0)), "4 itself never failed");
        assert_eq!(choose(&stores, Some(4), None, 10_000_000), 4, "after a while one may try");
        stores.heard(StoreId(3), Moment(1));
        assert_eq!(choose(&stores, Some(4), None, 1), 4);
    }

    #[test]
    fn why_a_store_is_out_of_reach_is_said_until_it_is_reached() {
        let mut stores = stores();
        assert_eq!(stores.unreached(StoreId(3)).to_string(), "unavailable: s3 could not be reached");
        assert_eq!(stores.any_unreached(), None);
        stores.note_why(StoreId(3), "its certificate has expired".into());
        stores.down(StoreId(3), Moment(0));
        let said = "unavailable: s3 could not be reached: its certificate has expired";
        assert_eq!(stores.unreached(StoreId(3)).to_string(), said);
        assert_eq!(stores.any_unreached().unwrap().to_string(), said);
        stores.up(StoreId(3));
        assert_eq!(
            (stores.any_unreached(), stores.unreached(StoreId(3)).to_string().contains("expired")),
            (None, false)
        );
    }

    #[test]
    fn the_one_store_that_is_reached_is_asked_whatever_else_is_said_of_it_and_of_its_site() {
        let mut stores = stores();
        stores.up(StoreId(3));
        [1, 2, 4].into_iter().for_each(|id| stores.down(StoreId(id), Moment(0)));
        for _ in 0..limits::CLIENT_CIRCUIT_FAILURES {
            stores.down(StoreId(4), Moment(1));
        }
        assert_eq!(choose(&stores, Some(4), None, 2), 3, "the circuit of its site is open");
        assert_eq!(choose(&stores, Some(3), Some(3), 2), 3, "it failed last, and there is no other");
        stores.suspect(StoreId(3), Moment(2));
        assert_eq!(choose(&stores, None, None, 2), 3);
    }

    #[test]
    fn where_a_store_is_out_of_reach_one_that_is_connected_is_asked_before_one_never_tried() {
        let mut stores = Stores::new(None);
        let known = [(1, "a"), (2, "b"), (3, "c"), (4, "d")];
        stores.learn(known.map(|(id, at)| KnownStore { store: StoreId(id), site: site(at) }).into());
        stores.up(StoreId(1));
        let asked = |stores: &Stores| {
            let choice = |salt| Choice { range: None, leader: None, avoid: None, salt, now: Moment(0) };
            let asked = (0..64).filter_map(|salt| stores.choose(choice(salt))).map(|store| store.0);
            asked.collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(asked(&stores).len(), 4, "with nothing out of reach all are asked alike");
        stores.down(StoreId(2), Moment(0));
        assert_eq!(asked(&stores), [1].into());
    }

    proptest! {
        #[test]
        fn stores_that_are_down_are_counted_whatever_happens_to_them(
            steps in prop::collection::vec((0_u8..4, 1_u64..6, any::<u8>()), 0..60)
        ) {
            let mut stores = stores();
            for (step, id, known) in steps {
                match step {
                    0 => stores.up(StoreId(id)),
                    1 => stores.down(StoreId(id), Moment(0)),
                    2 => stores.learn_one(StoreId(id)),
                    _ => {
                        let known = (1..=5).filter(|id| known & (1_u8 << id) != 0);
                        stores.learn(known.map(|id| KnownStore { store: StoreId(id), site: site("a") }).collect());
                    }
                }
                prop_assert_eq!(stores.down, stores.counted_down());
            }
        }
    }

    #[test]
    fn with_every_store_out_of_reach_one_is_tried_still() {
        let mut stores = stores();
        (1..=4).for_each(|id| stores.down(StoreId(id), Moment(0)));
        assert!([1, 2].contains(&choose(&stores, Some(3), None, 0)));
        assert!(
            Stores::new(None)
                .choose(Choice { range: None, leader: None, avoid: None, salt: 0, now: Moment(0) })
                .is_none()
        );
    }
}
