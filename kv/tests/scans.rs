//! Scans over whole stores.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use std::collections::BTreeMap;
use std::time::Duration;

use fleet::{Fleet, get, key, put, spread, store};
use holdfast_kv::core::event::RequestTicket;
use holdfast_replica::AdminRequest;
use holdfast_types::{
    Key, KeyRange, Moment, RangeEpoch, RangeId, RangeRequest, Rejected, Request, Response, ScanMode, StoreId,
    Timestamp, limits,
};

fn page(fleet: &mut Fleet, from: Key, at: Option<Timestamp>) -> (Vec<String>, Option<Key>, Timestamp) {
    let bounds = KeyRange { start: from, end: Some(key("z")) };
    let mode = ScanMode::Rows;
    let request = Request::Scan { bounds, reverse: false, max_rows: 1, max_bytes: limits::MAX_SCAN_BYTES, at, mode };
    let answer = fleet.must(store(1), RangeRequest { range: None, write: None, request });
    let Response::Scanned { rows, resume, at, .. } = answer else { panic!("a scan is answered by rows") };
    (rows.iter().map(|row| String::from_utf8(row.value.value.to_vec()).unwrap()).collect(), resume, at)
}

/// The newest timestamp of such a range lies where versions are about to go.
#[test]
fn a_scan_of_a_range_that_was_not_written_for_long_goes_on_though_it_is_written_meanwhile() {
    const MINUTE_MS: i64 = 60_000;
    let mut fleet = spread(3, 1);
    for name in ["a", "b"] {
        fleet.must(store(1), put(name, "old"));
    }
    let later = |fleet: &mut Fleet, minutes: i64| {
        for id in (1..=3).map(store) {
            fleet.clock_ahead_ms.insert(id, minutes * MINUTE_MS);
        }
        fleet.run(3_000);
    };
    later(&mut fleet, 120);
    let (rows, resume, at) = page(&mut fleet, key("a"), None);
    assert_eq!(rows, ["old"]);
    for name in ["a", "b"] {
        fleet.must(store(1), put(name, "new"));
    }
    later(&mut fleet, 130);
    let (rows, ..) = page(&mut fleet, resume.unwrap(), Some(at));
    assert_eq!(rows, ["old"], "as of the first page");
}

/// How long a store waits before it asks again for a thin client.
const AGAIN_AFTER: Duration = Duration::from_millis(25);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Get,
    Forward,
    Reverse,
}

/// What a store asks for a thin client.
fn asked(fleet: &Fleet, at: StoreId, kind: Kind, user: &str) -> RangeRequest {
    let bounds = KeyRange { start: key(user), end: Some(key(&format!("{user}~"))) };
    let scan = |reverse| {
        let (max_rows, max_bytes) = (limits::MAX_SCAN_ROWS, limits::MAX_SCAN_BYTES);
        Request::Scan { bounds: bounds.clone(), reverse, max_rows, max_bytes, at: None, mode: ScanMode::Rows }
    };
    match kind {
        Kind::Get => get(user),
        Kind::Forward => RangeRequest { range: None, write: None, request: scan(false) },
        Kind::Reverse => {
            let range = fleet.stores[&at].range_of(&key(user));
            RangeRequest { range: Some((range, RangeEpoch::default())), write: None, request: scan(true) }
        }
    }
}

/// When a store answered what, after which refusals; in milliseconds.
type Answered = BTreeMap<(StoreId, Kind), (u64, Vec<(u64, Rejected)>)>;

struct Asking {
    ticket: Option<RequestTicket>,
    again_at: Moment,
    refusals: Vec<(u64, Rejected)>,
}

/// Asks every store for everything, again after each refusal; gives when each was answered, in milliseconds.
fn answered_after(fleet: &mut Fleet, user: &str, within_ms: u64) -> Answered {
    let began = fleet.now;
    let stores: Vec<StoreId> = fleet.stores.keys().copied().collect();
    let mut open: BTreeMap<(StoreId, Kind), Asking> = BTreeMap::new();
    for at in stores {
        for kind in [Kind::Get, Kind::Forward, Kind::Reverse] {
            open.insert((at, kind), Asking { ticket: None, again_at: began, refusals: Vec::new() });
        }
    }
    let mut done = BTreeMap::new();
    for ms in 0..within_ms {
        for ((at, kind), asking) in &mut open {
            match asking.ticket.and_then(|ticket| fleet.answer(ticket)) {
                Some(Ok(_)) => {
                    done.insert((*at, *kind), (ms, std::mem::take(&mut asking.refusals)));
                }
                Some(Err(rejected)) => {
                    asking.refusals.push((ms, rejected));
                    (asking.ticket, asking.again_at) = (None, fleet.now.after(AGAIN_AFTER));
                }
                None => {}
            }
        }
        open.retain(|which, _| !done.contains_key(which));
        for ((at, kind), asking) in &mut open {
            if asking.ticket.is_none() && asking.again_at <= fleet.now {
                let request = asked(fleet, *at, *kind, user);
                asking.ticket = Some(fleet.ask(*at, request));
            }
        }
        fleet.run(1);
    }
    done.extend(open.into_iter().map(|(which, asking)| (which, (within_ms, asking.refusals))));
    done
}

/// Two of the stores hold no replica of the range and share none with its leader: nobody tells them that it is gone. They hear it last
/// when they have just sent their questions.
#[test]
fn gets_and_scans_are_answered_within_a_second_of_a_crash_whichever_store_is_asked() {
    let mut fleet = Fleet::in_sites(&["a", "a", "b", "b", "c", "c"], 2);
    for (name, at) in [("b", "c"), ("d", "e"), ("f", "g"), ("h", "i")] {
        fleet.must(store(1), put(name, "1"));
        let range = fleet.stores[&store(1)].range_of(&key(at));
        fleet.admin(store(1), range, AdminRequest::Split { at: key(at), right: RangeId(0) }).unwrap();
    }
    fleet.run(40_000);
    // Everybody has asked for everything once.
    for at in 1..=6 {
        for name in ["b", "d", "f", "h"] {
            fleet.value(store(at), name);
        }
    }
    let range = fleet.stores[&store(1)].range_of(&key("f"));
    let leader = fleet.leader(range).unwrap();
    fleet.crash(leader);
    let answered = answered_after(&mut fleet, "f", 4_000);
    let slow: Vec<_> = answered.iter().filter(|(_, (ms, _))| *ms > 1_000).collect();
    assert!(slow.is_empty(), "{slow:?}");
}
