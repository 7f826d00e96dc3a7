//! Scans over whole stores.

#![allow(clippy::unwrap_used, reason = "tests")]

mod fleet;

use fleet::{Fleet, key, put, spread, store};
use holdfast_types::{Key, KeyRange, RangeRequest, Request, Response, Timestamp, limits};

fn page(fleet: &mut Fleet, from: Key, at: Option<Timestamp>) -> (Vec<String>, Option<Key>, Timestamp) {
    let bounds = KeyRange { start: from, end: Some(key("z")) };
    let request = Request::Scan { bounds, reverse: false, max_rows: 1, max_bytes: limits::MAX_SCAN_BYTES, at };
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
