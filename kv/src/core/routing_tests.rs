use holdfast_types::{KeyspaceId, ReplicaDescriptor, ReplicaId, Role, SiteName};

use super::*;

fn key(user: &[u8]) -> Key {
    Key::bound(KeyspaceId(1), user)
}

fn hint(range: u64, start: &[u8], end: &[u8], epoch: (u64, u64), term: u64, leader: u64) -> RangeHint {
    let replica = |id: u64| ReplicaDescriptor {
        replica: ReplicaId(id),
        store: StoreId(id),
        site: SiteName::new("a").unwrap(),
        role: Role::Voter,
    };
    let descriptor = RangeDescriptor {
        range: RangeId(range),
        bounds: KeyRange { start: key(start), end: Some(key(end)) },
        epoch: RangeEpoch { membership: epoch.0, bounds: epoch.1 },
        replicas: (1..4).map(replica).collect(),
        next_replica: ReplicaId(4),
    };
    RangeHint { descriptor, term: Term(term), leader: (leader != 0).then_some(StoreId(leader)) }
}

fn found(map: &RangeMap, user: &[u8]) -> Option<u64> {
    map.lookup(&key(user)).map(|k| k.descriptor.range.0)
}

#[test]
fn newer_epoch_wins_and_removes_what_it_overlaps() {
    let mut map = RangeMap::new();
    assert!(map.learn(hint(1, b"a", b"z", (1, 1), 5, 1)));
    assert!(map.learn(hint(2, b"m", b"z", (1, 2), 6, 2)), "the right side of a split");
    assert_eq!(found(&map, b"n"), Some(2));
    assert_eq!(found(&map, b"b"), None, "the left side of it is not known any more");
    assert!(!map.learn(hint(1, b"a", b"z", (1, 1), 5, 1)), "older than what is known of its right part");
    assert!(map.learn(hint(1, b"a", b"m", (1, 2), 6, 1)));
    assert_eq!((found(&map, b"b"), found(&map, b"n")), (Some(1), Some(2)));
    assert!(!map.learn(hint(1, b"a", b"z", (1, 1), 9, 0)));
    assert_eq!(found(&map, b"n"), Some(2));
}

#[test]
fn leader_hint_goes_only_to_newer_terms() {
    let mut map = RangeMap::new();
    map.learn(hint(1, b"a", b"z", (1, 1), 5, 1));
    assert!(!map.learn(hint(1, b"a", b"z", (1, 1), 4, 2)));
    assert_eq!(map.get(RangeId(1)).unwrap().leader, Some(StoreId(1)));
    assert!(map.learn(hint(1, b"a", b"z", (1, 1), 6, 3)));
    assert_eq!(map.get(RangeId(1)).unwrap().leader, Some(StoreId(3)));
    map.forget_leader(RangeId(1), StoreId(3));
    assert_eq!(map.get(RangeId(1)).unwrap().leader, None);
    assert!(map.learn(hint(1, b"a", b"z", (1, 1), 6, 2)));
    assert_eq!(map.get(RangeId(1)).unwrap().leader, Some(StoreId(2)));
}

#[test]
fn own_ranges_yield_only_to_themselves() {
    let mut map = RangeMap::new();
    map.learn_own(hint(1, b"a", b"m", (1, 1), 5, 1));
    assert!(!map.learn(hint(9, b"a", b"z", (7, 7), 9, 2)), "hearsay does not push out an own range");
    assert!(map.get(RangeId(1)).unwrap().own);
    map.gone(RangeId(1));
    assert!(map.learn(hint(9, b"a", b"z", (7, 7), 9, 2)));
    assert_eq!(found(&map, b"b"), Some(9));
}

#[test]
fn bounds_find_all_ranges_in_order() {
    let mut map = RangeMap::new();
    map.learn(hint(1, b"a", b"f", (1, 1), 5, 1));
    map.learn(hint(2, b"f", b"m", (1, 1), 5, 1));
    map.learn(hint(3, b"p", b"z", (1, 1), 5, 1));
    let within = |start: &[u8], end: &[u8]| {
        let bounds = KeyRange { start: key(start), end: Some(key(end)) };
        map.within(&bounds, 10).map(|k| k.descriptor.range.0).collect::<Vec<_>>()
    };
    assert_eq!(within(b"b", b"q"), [1, 2, 3]);
    assert_eq!(within(b"f", b"p"), [2]);
    assert_eq!(within(b"m", b"p"), [0u64; 0]);
}

#[test]
fn every_thread_agrees_on_the_worker_of_a_range() {
    assert_eq!(worker_of(RangeId(7), 4), 3);
    assert_eq!(worker_of(RangeId(7), 1), 0);
    assert_eq!(RangeMap::new().worker_of_key(&key(b"x"), 4), 0);
}

/// A store that gave its leadership up, and knows of nobody else, does not take itself for the leader on: it would wait for its own
/// hand-over.
#[test]
fn own_word_that_nobody_leads_ends_what_was_known_of_a_leader() {
    let mut map = RangeMap::new();
    let of = |term, leader: u64| Standing {
        descriptor: hint(1, b"a", b"z", (1, 1), 0, 0).descriptor,
        term: Term(term),
        leader: (leader != 0).then_some((ReplicaId(leader), StoreId(leader))),
        leads: leader == 1,
    };
    map.standing(&of(5, 1));
    map.standing(&of(5, 0));
    assert_eq!(map.get(RangeId(1)).unwrap().leader, None);
    // Others know of a newer one: the replica here has not heard of it.
    assert!(map.learn(hint(1, b"a", b"z", (1, 1), 7, 3)));
    map.standing(&of(6, 0));
    assert_eq!(map.get(RangeId(1)).unwrap().leader, Some(StoreId(3)));
}

fn pages(map: &RangeMap, bounds: &KeyRange, page: Page) -> Vec<Vec<u64>> {
    let mut bounds = bounds.clone();
    let mut pages = Vec::new();
    loop {
        let (found, next) = map.page(&bounds, page, |_| true);
        pages.push(found.iter().map(|found| found.descriptor.range.0).collect());
        match next {
            None => return pages,
            Some(next) if page.reverse => bounds.end = Some(next),
            Some(next) => bounds.start = next,
        }
    }
}

#[test]
fn pages_are_bounded_by_number_and_bytes_and_together_say_all() {
    let mut map = RangeMap::new();
    for n in 0..10_u8 {
        map.learn(hint(n.into(), &[n], &[n + 1], (1, 1), 5, 1));
    }
    let (all, some) = (KeyRange::all(), KeyRange { start: key(&[2, 7]), end: Some(key(&[6])) });
    let page = |reverse, limit, max_bytes| Page { reverse, limit, max_bytes };
    assert_eq!(pages(&map, &all, page(false, 4, 1 << 20)), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    assert_eq!(pages(&map, &all, page(true, 4, 1 << 20)), [vec![9, 8, 7, 6], vec![5, 4, 3, 2], vec![1, 0]]);
    assert_eq!(pages(&map, &some, page(false, 9, 1 << 20)), [vec![2, 3, 4, 5]]);
    assert_eq!(pages(&map, &some, page(true, 2, 1 << 20)), [vec![5, 4], vec![3, 2]]);
    let three = 3 * map.all()[0].told_bytes();
    assert_eq!(pages(&map, &some, page(false, 9, three)), [vec![2, 3, 4], vec![5]]);
    assert_eq!(pages(&map, &some, page(false, 9, 1)).len(), 4, "one range always fits");
    assert_eq!(map.page(&all, page(false, 9, 1 << 20), |found| found.own), (Vec::new(), None));
    map.learn_own(hint(3, &[3], &[4], (1, 1), 6, 7));
    map.learn_own(hint(4, &[4], &[5], (1, 1), 6, 2));
    assert_eq!(map.page(&all, page(false, 9, 1 << 20), |found| found.own).0.len(), 2);
    assert_eq!(map.counts(StoreId(7)), Counts { own: 2, led: 1, leaderless: 0 });
    let (mut all, mut next, mut pages) = (Counts::default(), Some(RangeId(0)), 0);
    while let Some(first) = next {
        let (some, then) = map.counts_from(StoreId(7), first, 1);
        all += some;
        (next, pages) = (then, pages + 1);
    }
    assert_eq!((all, pages), (map.counts(StoreId(7)), map.iter().count()), "counted one by one");
}
