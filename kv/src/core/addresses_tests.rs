use std::time::Duration;

use super::*;

const A: StoreId = StoreId(1);
const B: StoreId = StoreId(2);
const C: StoreId = StoreId(3);

fn at(ms: u64) -> Moment {
    Moment::ZERO.after(Duration::from_millis(ms))
}

fn claim(store: StoreId, incarnation: u64, place: &str) -> Claim {
    Claim {
        store,
        site: SiteName::new("a").unwrap(),
        incarnation: Incarnation(incarnation),
        client: format!("{place}:1"),
        store_to_store: format!("{place}:2"),
    }
}

fn used(book: &AddressBook, store: StoreId) -> String {
    book.place_of(store).unwrap().store_to_store
}

/// A book of `A` that reaches `B` at `old` as its fifth start.
fn reaching() -> AddressBook {
    let mut book = AddressBook::new(A);
    assert!(book.hear(&claim(B, 5, "old"), at(0)));
    book.reached(B, Incarnation(5), "old:2", at(10));
    book.take_changed();
    book.check();
    book
}

/// Fails every attempt but those at `right`, until the store is reached; gives what was tried, and when.
fn look_for(book: &mut AddressBook, store: StoreId, right: &str, from_ms: u64) -> (Vec<String>, u64) {
    let mut tried: Vec<String> = Vec::new();
    for ms in from_ms..from_ms + 20_000 {
        let place = used(book, store);
        if tried.last() != Some(&place) {
            tried.push(place.clone());
        }
        if place == right {
            book.reached(store, Incarnation(9), &place, at(ms));
            book.check();
            return (tried, ms - from_ms);
        }
        book.failed(store, &place, "nobody listens");
        book.turn(at(ms));
        book.check();
    }
    panic!("never found; tried {tried:?}");
}

#[test]
fn store_that_is_reached_is_not_led_astray_by_what_somebody_claims() {
    let mut book = reaching();
    assert!(book.hear(&claim(B, u64::MAX, "elsewhere"), at(20)), "it is noted");
    book.turn(at(10_000));
    assert_eq!(used(&book, B), "old:2");
    assert!(book.take_changed().iter().all(|claim| claim.store_to_store == "old:2"));
    assert_eq!(book.claims().len(), 1, "and it is not told on as long as it is not needed");
    book.check();
}

#[test]
fn newest_start_that_is_claimed_is_looked_at_first_once_the_store_is_lost() {
    let mut book = reaching();
    book.hear(&claim(B, 6, "newer"), at(20));
    book.hear(&claim(B, 7, "newest"), at(20));
    book.lost(B, at(100));
    let (tried, took_ms) = look_for(&mut book, B, "newest:2", 100);
    assert_eq!(tried, ["old:2", "newest:2"]);
    assert!(took_ms < 500, "{took_ms} ms");
}

#[test]
fn false_claims_cost_attempts_and_no_more() {
    let mut book = reaching();
    book.lost(B, at(100));
    for liar in 0..100 {
        book.hear(&claim(B, u64::MAX, &format!("false-{liar}")), at(100));
    }
    let (_, took_ms) = look_for(&mut book, B, "old:2", 101);
    assert!(took_ms < 5_000, "{took_ms} ms");
}

#[test]
fn place_of_a_start_that_is_over_is_not_looked_at_again() {
    let mut book = reaching();
    assert!(!book.hear(&claim(B, 4, "older"), at(20)), "a later start was proved");
    assert!(book.hear(&claim(B, 0, "some"), at(20)), "of unknown age: kept");
    book.hear(&claim(B, 6, "new"), at(30));
    book.lost(B, at(40));
    look_for(&mut book, B, "new:2", 40);
    let told: Vec<_> = book.claims().into_iter().map(|claim| claim.store_to_store).collect();
    assert_eq!(told, ["new:2"]);
    book.lost(B, at(30_000));
    assert!(book.claims().iter().all(|claim| claim.store_to_store != "old:2"));
}

#[test]
fn who_else_lives_at_an_address_is_looked_for_there() {
    let mut book = AddressBook::new(A);
    book.hear(&claim(B, 3, "one"), at(0));
    book.hear(&claim(C, 3, "two"), at(0));
    // B and C have changed places.
    book.failed(B, "one:2", "s3 lives there");
    assert!(book.lives_at(C, "one:2", at(5)));
    book.failed(C, "two:2", "s2 lives there");
    assert!(book.lives_at(B, "two:2", at(5)));
    book.turn(at(200));
    assert_eq!((used(&book, B), used(&book, C)), ("two:2".to_owned(), "one:2".to_owned()));
    assert!(!book.lives_at(StoreId(9), "one:2", at(5)), "of that one nothing is known");
    book.check();
}

#[test]
fn newer_start_is_looked_for_before_an_attempt_that_hangs_is_over() {
    let mut book = AddressBook::new(A);
    book.hear(&claim(B, 3, "hangs"), at(0));
    book.hear(&claim(B, 4, "moved"), at(50));
    book.turn(at(60));
    book.turn(at(200));
    assert_eq!(used(&book, B), "moved:2");
}

#[test]
fn attempts_in_vain_become_rare_and_news_ends_that() {
    let mut book = AddressBook::new(A);
    book.hear(&claim(B, 3, "one"), at(0));
    book.hear(&claim(B, 3, "two"), at(0));
    let mut changes = 0;
    for ms in 0..60_000 {
        let place = used(&book, B);
        book.failed(B, &place, "nobody listens");
        book.turn(at(ms));
        changes += book.take_changed().len();
    }
    assert!((20..200).contains(&changes), "{changes} attempts in a minute");
    book.hear(&claim(B, 4, "three"), at(60_000));
    let (_, took_ms) = look_for(&mut book, B, "three:2", 60_000);
    assert!(took_ms <= 200, "{took_ms} ms");
}

#[test]
fn what_is_not_reached_is_told_with_all_that_was_tried() {
    let mut book = AddressBook::new(A);
    book.hear(&claim(B, 3, "one"), at(0));
    book.failed(B, "one:2", "connection refused");
    book.hear(&claim(B, 4, "two"), at(5));
    let said = book.unreached()[0].to_string();
    assert_eq!(said, "s2 (a) is not reached: tried two:2: not tried yet, one:2: connection refused");
    book.turn(at(1_000));
    book.reached(B, Incarnation(4), "two:2", at(1_000));
    assert!(book.unreached().is_empty());
}

#[test]
fn book_is_bounded_and_never_holds_this_store_or_what_is_no_address() {
    let mut book = AddressBook::new(A);
    assert!(!book.hear(&claim(A, 99, "here"), at(0)));
    assert!(!book.hear(&claim(StoreId::NONE, 1, "x"), at(0)));
    assert!(!book.hear(&claim(B, 1, &"x".repeat(400)), at(0)));
    assert!(!book.hear(&claim(B, 1, "a b"), at(0)));
    book.vouch(B);
    for store in 0..5_000 {
        book.hear(&claim(StoreId(10_000 + store), 1, "some"), at(0));
    }
    book.check();
    assert_eq!(book.stores.len(), limits::UNPROVED_STORES, "names that somebody made up");
    assert!(book.hear(&claim(B, 1, "here"), at(0)), "one that is on record has its place all the same");
    assert!(book.claims_to_keep().iter().all(|kept| kept.store == B), "nothing that was made up is written down");
    for store in 0..5_000 {
        book.vouch(StoreId(store));
        book.hear(&claim(StoreId(store), 1, "some"), at(0));
        book.hear(&claim(StoreId(7), store, &format!("place-{store}")), at(0));
    }
    book.check();
    assert_eq!(book.stores.len(), limits::ADDRESSED_STORES);
    assert!(book.forget(B) && book.place_of(B).is_none());
}

/// Whole fleets: every store has a book, stores answer at their own addresses only and tell what they know. Every way of moving any of
/// them ends with all of them reached, as long as each knows one right address, or is known by it to somebody who answers.
#[test]
fn stores_that_moved_in_any_way_find_each_other_by_hearsay() {
    const STORES: u64 = 5;
    for moved in 0..1_u64 << STORES {
        for rotation in 0..STORES {
            let old = |store: u64| format!("p{store}");
            let new = |store: u64| {
                if moved & (1 << store) == 0 { old((store + rotation) % STORES) } else { format!("q{store}") }
            };
            let mut books: Vec<_> = (0..STORES).map(|own| AddressBook::new(StoreId(own + 1))).collect();
            for (own, book) in books.iter_mut().enumerate() {
                (0..STORES).filter(|other| *other != own as u64).for_each(|other| {
                    book.hear(&claim(StoreId(other + 1), 1, &old(other)), at(0));
                });
            }
            // A seed, as `--join` is one: each tells the first store where it is.
            for own in 1..STORES {
                books[0].hear(&claim(StoreId(own + 1), 2, &new(own)), at(0));
            }
            let found = (1..200).find(|round| {
                let now = at(round * 100);
                meet(&mut books, &new, now);
                books.iter().all(|book| book.unreached().is_empty())
            });
            assert!(found.is_some_and(|rounds| rounds < 40), "moved {moved:b}, rotated by {rotation}: {found:?}");
        }
    }
}

/// One round: every store tries the place in use of each other one, and hears what those that it reaches know.
fn meet(books: &mut [AddressBook], place: &dyn Fn(u64) -> String, now: Moment) {
    let count = books.len() as u64;
    for own in 0..books.len() {
        for other in (0..count).filter(|other| *other != own as u64) {
            let store = StoreId(other + 1);
            let Some(address) = books[own].place_of(store).map(|claim| claim.store_to_store) else { continue };
            match (0..count).find(|at| format!("{}:2", place(*at)) == address) {
                Some(lives) if lives == other => {
                    books[own].reached(store, Incarnation(2), &address, now);
                    // The handshake tells both who and where they are.
                    let caller = claim(StoreId(own as u64 + 1), 2, &place(own as u64));
                    let there = usize::try_from(lives).unwrap();
                    let said = books[there].claims();
                    books[there].hear(&caller, now);
                    for claim in &said {
                        books[own].hear(claim, now);
                    }
                }
                Some(lives) => {
                    books[own].failed(store, &address, "another lives there");
                    books[own].lives_at(StoreId(lives + 1), &address, now);
                }
                None => books[own].failed(store, &address, "nobody listens"),
            }
        }
        books[own].turn(now);
        books[own].check();
    }
}
