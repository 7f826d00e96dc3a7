//! The ways to each store: the address that it advertises, and the addresses given to the client at the start where it answered.
//!
//! What stores advertise is meant for those who are on their network. Whoever comes by a forwarded port, a tunnel or a load balancer
//! reaches none of it, and still has an address at which some store answers; that one is enough, because any store takes any request.
//!
//! - The advertised address comes first. The others are tried when it cannot be reached, and before it once a store could not be reached
//!   while no other was: then it is most likely the network that is another.
//! - Each way is tried once a round, and only between rounds there is a wait. A way that worked is tried again first.
//! - Who answers at an address that a store does not advertise is known only when it has said so: a load balancer leads to one store now
//!   and to another one next time. The last to answer there counts.
//!
//! What this does not do: open anything, or keep time. It is told what became of each try.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_types::StoreId;

/// Where to try to reach a store next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) address: &'a str,
    /// The store advertises it; else whoever answers there has to say who it is.
    pub(crate) is_own: bool,
    /// Rounds in which the store was reached at none of its addresses, since it last was.
    pub(crate) rounds: u32,
    /// Every way failed, and they are tried again from the first one on: after a wait.
    pub(crate) is_after_round: bool,
}

/// What is known of one store.
#[derive(Clone, Debug, Default)]
struct Known {
    advertised: String,
    /// The store was not reached at `advertised` when that was tried last.
    is_missed: bool,
    /// Where it was not reached in this round.
    failed: BTreeSet<String>,
    rounds: u32,
}

/// An address that the client was given.
#[derive(Clone, Debug)]
struct Seed {
    address: String,
    /// The last store to answer there.
    store: Option<StoreId>,
}

/// The ways to all stores.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ways {
    stores: BTreeMap<StoreId, Known>,
    seeds: Vec<Seed>,
    /// Nothing was reached where it advertises itself: seeds come first, until something is.
    seeds_first: bool,
}

impl Ways {
    pub(crate) fn new(seeds: Vec<String>) -> Self {
        let seeds = seeds.into_iter().map(|address| Seed { address, store: None }).collect();
        Self { stores: BTreeMap::new(), seeds, seeds_first: false }
    }

    // ---- what is learnt

    /// These are all stores, with what they advertise.
    pub(crate) fn advertise(&mut self, addresses: BTreeMap<StoreId, String>) {
        self.stores.retain(|store, _| addresses.contains_key(store));
        for (store, address) in addresses {
            self.advertise_one(store, &address);
        }
    }

    /// One store advertises this. True when that is news.
    pub(crate) fn advertise_one(&mut self, store: StoreId, address: &str) -> bool {
        if self.own(store) == Some(address) {
            return false;
        }
        self.stores.insert(store, Known { advertised: address.to_owned(), ..Known::default() });
        true
    }

    /// A store answered at this address. Nothing changes unless it is one that the client was given.
    pub(crate) fn answered(&mut self, address: &str, store: StoreId) {
        let Some(seed) = self.seeds.iter_mut().find(|seed| seed.address == address) else { return };
        seed.store = Some(store);
        // It need not wait: there is a way that works.
        if let Some(known) = self.stores.get_mut(&store)
            && known.advertised != address
        {
            known.failed.remove(address);
            known.rounds = 0;
        }
    }

    /// A connection to the store stands at this address.
    pub(crate) fn opened(&mut self, store: StoreId, address: &str) {
        if let Some(known) = self.stores.get_mut(&store)
            && known.advertised == address
        {
            known.is_missed = false;
            self.seeds_first = false;
        }
    }

    /// A connection that was of use has ended: what failed before it says nothing any more.
    pub(crate) fn worked(&mut self, store: StoreId) {
        if let Some(known) = self.stores.get_mut(&store) {
            known.failed.clear();
            known.rounds = 0;
        }
    }

    /// The store was not reached at this address.
    pub(crate) fn failed(&mut self, store: StoreId, address: &str) {
        self.missed(store, address);
        let Some(known) = self.stores.get_mut(&store) else { return };
        known.failed.insert(address.to_owned());
        let rounds = known.rounds.saturating_add(1);
        let has_failed = |address: &str| self.stores.get(&store).is_some_and(|known| known.failed.contains(address));
        if self.of(store).all(|(address, _)| has_failed(address))
            && let Some(known) = self.stores.get_mut(&store)
        {
            known.failed.clear();
            known.rounds = rounds;
        }
    }

    /// The same, while the store is reached elsewhere: a matter of that address alone.
    pub(crate) fn missed(&mut self, store: StoreId, address: &str) {
        if let Some(known) = self.stores.get_mut(&store)
            && known.advertised == address
        {
            known.is_missed = true;
        }
    }

    /// A store could not be reached, and no other one is.
    pub(crate) fn prefer_seeds(&mut self) {
        self.seeds_first = true;
    }

    // ---- what follows

    /// Whether seeds come first, because nothing was reached where it advertises itself.
    pub(crate) fn prefers_seeds(&self) -> bool {
        self.seeds_first
    }

    /// True when the store is one of the fleet.
    pub(crate) fn knows(&self, store: StoreId) -> bool {
        self.stores.contains_key(&store)
    }

    /// What the store advertises.
    pub(crate) fn own(&self, store: StoreId) -> Option<&str> {
        self.stores.get(&store).map(|known| known.advertised.as_str())
    }

    /// The same, unless the store was not reached there when that was tried last.
    pub(crate) fn own_unless_missed(&self, store: StoreId) -> Option<&str> {
        self.stores.get(&store).filter(|known| !known.is_missed).map(|known| known.advertised.as_str())
    }

    /// True when this address leads to the store, as far as is known.
    pub(crate) fn leads(&self, store: StoreId, address: &str) -> bool {
        self.of(store).any(|(way, _)| way == address)
    }

    /// How many ways lead to a store.
    pub(crate) fn count(&self, store: StoreId) -> usize {
        self.of(store).count()
    }

    /// Where to try next. `None` for a store that is not known.
    pub(crate) fn next(&self, store: StoreId) -> Option<Way<'_>> {
        let known = self.stores.get(&store)?;
        let untried = self.of(store).find(|(address, _)| !known.failed.contains(*address));
        // A seed that leads elsewhere by now may have been the last way of its round.
        let (address, is_own) = untried.or_else(|| self.of(store).next())?;
        let begins = known.failed.is_empty() || untried.is_none();
        let rounds = known.rounds.saturating_add(u32::from(untried.is_none()));
        Some(Way { address, is_own, rounds, is_after_round: begins && rounds > 0 })
    }

    /// The stores that answered at seeds which they do not advertise.
    pub(crate) fn at_seeds(&self) -> Vec<StoreId> {
        let detours = self.seeds.iter().filter_map(|seed| {
            let store = seed.store.filter(|store| self.knows(*store))?;
            (self.own(store) != Some(seed.address.as_str())).then_some(store)
        });
        detours.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Where to ask about the fleet: what stores advertise, `first` of all from this one on; and the seeds.
    pub(crate) fn to_ask(&self, first: usize) -> Vec<String> {
        let own = || self.stores.values().map(|known| &known.advertised);
        let in_turn = own().skip(first).chain(own().take(first));
        let seeds = self.seeds.iter().map(|seed| &seed.address);
        match self.seeds_first {
            true => seeds.chain(in_turn).cloned().collect(),
            false => in_turn.chain(seeds).cloned().collect(),
        }
    }

    /// How many stores are known.
    pub(crate) fn len(&self) -> usize {
        self.stores.len()
    }

    /// The addresses that lead to a store, the preferred one first, each with whether the store advertises it.
    fn of(&self, store: StoreId) -> impl Iterator<Item = (&str, bool)> {
        let own = self.own(store);
        let (before, behind) = if self.seeds_first { (None, own) } else { (own, None) };
        let seeds = self.seeds.iter().filter(move |seed| own.is_some() && seed.store == Some(store));
        let seeds = seeds.map(|seed| seed.address.as_str()).filter(move |address| Some(*address) != own);
        let (before, behind) = (before.into_iter(), behind.into_iter());
        before.map(|own| (own, true)).chain(seeds.map(|seed| (seed, false))).chain(behind.map(|own| (own, true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: StoreId = StoreId(1);
    const TWO: StoreId = StoreId(2);

    fn pods() -> BTreeMap<StoreId, String> {
        BTreeMap::from([(ONE, "10.0.0.1:7300".to_owned()), (TWO, "10.0.0.2:7300".to_owned())])
    }

    /// Two stores; 1 answered at the first of two forwarded ports.
    fn forwarded() -> Ways {
        let mut ways = Ways::new(vec!["localhost:1".to_owned(), "localhost:2".to_owned()]);
        ways.answered("localhost:1", ONE);
        ways.advertise(pods());
        ways
    }

    #[track_caller]
    fn goes(ways: &Ways, store: StoreId, address: &str, waits: bool) {
        let way = ways.next(store).unwrap();
        assert_eq!((way.address, way.is_after_round), (address, waits), "{way:?}");
        assert_eq!(way.is_own, ways.own(store) == Some(address));
    }

    #[test]
    fn the_advertised_address_comes_first_and_the_seed_where_the_store_answered_next() {
        let mut ways = forwarded();
        goes(&ways, ONE, "10.0.0.1:7300", false);
        ways.failed(ONE, "10.0.0.1:7300");
        goes(&ways, ONE, "localhost:1", false);
        ways.failed(ONE, "localhost:1");
        goes(&ways, ONE, "10.0.0.1:7300", true);
        assert_eq!(ways.next(ONE).unwrap().rounds, 1);
        assert!(!ways.leads(TWO, "localhost:1"), "the other store never answered there");
        ways.failed(TWO, "10.0.0.2:7300");
        goes(&ways, TWO, "10.0.0.2:7300", true);
    }

    #[test]
    fn with_nothing_reached_seeds_come_first_until_something_is_reached_where_it_advertises_itself() {
        let mut ways = forwarded();
        ways.failed(TWO, "10.0.0.2:7300");
        ways.prefer_seeds();
        goes(&ways, ONE, "localhost:1", false);
        assert_eq!(ways.at_seeds(), [ONE]);
        assert_eq!(ways.to_ask(1)[..2], ["localhost:1", "localhost:2"]);
        ways.opened(ONE, "localhost:1");
        assert!(ways.prefers_seeds());
        ways.failed(ONE, "localhost:1");
        goes(&ways, ONE, "10.0.0.1:7300", false);
        ways.opened(ONE, "10.0.0.1:7300");
        assert_eq!(ways.to_ask(1), ["10.0.0.2:7300", "10.0.0.1:7300", "localhost:1", "localhost:2"]);
    }

    #[test]
    fn what_worked_is_tried_again_before_the_others() {
        let mut ways = forwarded();
        ways.failed(ONE, "10.0.0.1:7300");
        ways.opened(ONE, "localhost:1");
        ways.worked(ONE);
        // The link itself tries its way again; only when that fails, this is asked.
        ways.failed(ONE, "localhost:1");
        goes(&ways, ONE, "10.0.0.1:7300", false);
        ways.failed(ONE, "10.0.0.1:7300");
        goes(&ways, ONE, "10.0.0.1:7300", true);
    }

    #[test]
    fn a_seed_counts_for_the_last_store_to_answer_there() {
        let mut ways = forwarded();
        ways.failed(ONE, "10.0.0.1:7300");
        ways.answered("localhost:1", TWO);
        goes(&ways, ONE, "10.0.0.1:7300", true);
        ways.failed(ONE, "10.0.0.1:7300");
        assert_eq!(ways.next(ONE).unwrap().rounds, 1, "there was no other way in this round");
        ways.failed(TWO, "10.0.0.2:7300");
        goes(&ways, TWO, "localhost:1", false);
        ways.failed(TWO, "localhost:1");
        ways.answered("localhost:2", TWO);
        goes(&ways, TWO, "10.0.0.2:7300", false);
        ways.answered("10.9.9.9:7300", ONE);
        assert_eq!(ways.count(ONE), 1, "only what the client was given is a seed");
    }

    #[test]
    fn a_new_address_is_tried_anew_and_an_old_one_keeps_what_is_known_of_it() {
        let mut ways = forwarded();
        ways.failed(ONE, "10.0.0.1:7300");
        assert_eq!(ways.own_unless_missed(ONE), None);
        ways.advertise(pods());
        goes(&ways, ONE, "localhost:1", false);
        assert!(ways.advertise_one(ONE, "10.0.0.7:7300") && !ways.advertise_one(ONE, "10.0.0.7:7300"));
        goes(&ways, ONE, "10.0.0.7:7300", false);
        assert_eq!(ways.own_unless_missed(ONE), Some("10.0.0.7:7300"));
        assert!(ways.leads(ONE, "localhost:1") && !ways.leads(ONE, "10.0.0.1:7300"));
        ways.advertise(BTreeMap::from([(TWO, "10.0.0.2:7300".to_owned())]));
        assert!(ways.next(ONE).is_none() && !ways.knows(ONE) && ways.at_seeds().is_empty());
    }

    #[test]
    fn a_seed_that_the_store_advertises_is_one_way_and_no_detour() {
        let mut ways = Ways::new(vec!["10.0.0.1:7300".to_owned()]);
        ways.answered("10.0.0.1:7300", ONE);
        ways.advertise(pods());
        assert_eq!((ways.count(ONE), ways.at_seeds()), (1, vec![]));
        ways.failed(ONE, "10.0.0.1:7300");
        goes(&ways, ONE, "10.0.0.1:7300", true);
    }
}
