//! Scans, forward and reverse.

use holdfast_engine::{DataOp, ScanOptions, Version};
use holdfast_types::{KeyRange, ScanMode, Timestamp, limits};

use crate::build::{all_of, bounds, expiring, key, put, value};
use crate::twin::Twin;

both! {
    scans_give_live_rows_in_order, pages_of_any_size_add_up, scans_read_at_their_timestamp,
    deleted_stretch_gives_an_empty_page_that_resumes, byte_bound_stops_after_the_row_that_reaches_it,
    empty_bounds_give_nothing, scans_stay_within_all_bounds, keys_come_without_values, rows_are_counted_page_by_page,
    a_page_without_values_walks_over_so_many_bytes,
}

fn names(twin: &dyn Twin, options: &ScanOptions) -> Vec<String> {
    let page = twin.data().snapshot().scan(options).unwrap();
    page.rows.iter().map(|row| String::from_utf8(row.key.user_key().to_vec()).unwrap()).collect()
}

/// Follows the resume keys to the end.
fn all_pages(twin: &dyn Twin, options: &ScanOptions) -> Vec<String> {
    let mut options = options.clone();
    let mut found = Vec::new();
    loop {
        let page = twin.data().snapshot().scan(&options).unwrap();
        assert!(page.rows.len() <= options.max_rows as usize);
        found.extend(page.rows.iter().map(|row| String::from_utf8(row.key.user_key().to_vec()).unwrap()));
        match page.resume {
            None => return found,
            Some(next) if options.reverse => options.bounds.end = Some(next),
            Some(next) => options.bounds.start = next,
        }
    }
}

fn fill(twin: &dyn Twin) {
    let ops = [
        put("a", 10, value("a")),
        put("b", 10, value("b")),
        put("b", 20, Version::Tombstone),
        put("c", 10, value("c")),
        put("c", 20, value("c2")),
        put("d", 10, expiring("d", 30)),
        put("e", 40, value("e")),
        put("f", 10, value("f")),
    ];
    twin.data().write(&ops).unwrap();
}

fn scans_give_live_rows_in_order(twin: &mut dyn Twin) {
    fill(twin);
    let forward = ScanOptions { now: Timestamp(30), ..all_of(bounds("a", "f")) };
    let reverse = ScanOptions { reverse: true, ..forward.clone() };
    for _ in 0..2 {
        assert_eq!(names(twin, &forward), ["a", "c", "e"]);
        assert_eq!(names(twin, &reverse), ["e", "c", "a"]);
        twin.data().flush().unwrap();
        twin.compact();
    }
    let page = twin.data().snapshot().scan(&forward).unwrap();
    assert_eq!((page.rows[1].value.value.as_ref(), page.rows[1].value.timestamp.0), (b"c2".as_slice(), 20));
    assert_eq!(page.resume, None);
}

fn pages_of_any_size_add_up(twin: &mut dyn Twin) {
    let mut expected = Vec::new();
    for i in 0..60 {
        let name = format!("k{i:02}");
        let mut ops: Vec<_> = (1..=i % 9 + 1).map(|t| put(&name, t, value("x"))).collect();
        if i % 5 == 0 {
            ops.push(put(&name, 50, Version::Tombstone));
        } else {
            expected.push(name);
        }
        twin.data().write(&ops).unwrap();
        if i == 30 {
            twin.data().flush().unwrap();
        }
    }
    for max_rows in [1, 2, 7, 48, 1_000] {
        let forward = ScanOptions { max_rows, ..all_of(KeyRange::all()) };
        assert_eq!(all_pages(twin, &forward), expected);
        let reversed: Vec<_> = expected.iter().rev().cloned().collect();
        assert_eq!(all_pages(twin, &ScanOptions { reverse: true, ..forward }), reversed);
    }
}

fn scans_read_at_their_timestamp(twin: &mut dyn Twin) {
    fill(twin);
    for (at, expected) in [(9, vec![]), (10, vec!["a", "b", "c", "d", "f"]), (20, vec!["a", "c", "d", "f"])] {
        let options = ScanOptions { at: Timestamp(at), ..all_of(KeyRange::all()) };
        assert_eq!(names(twin, &options), expected, "at {at}");
        let mut reversed = names(twin, &ScanOptions { reverse: true, ..options });
        reversed.reverse();
        assert_eq!(reversed, expected, "reverse at {at}");
    }
}

fn deleted_stretch_gives_an_empty_page_that_resumes(twin: &mut dyn Twin) {
    let ops: Vec<_> = (0..25_000).map(|i| put(&format!("k{i:05}"), 1, Version::Tombstone)).collect();
    twin.data().write(&ops).unwrap();
    twin.data().write(&[put("a", 1, value("x")), put("z", 1, value("x"))]).unwrap();
    let forward = ScanOptions { max_rows: 1, ..all_of(bounds("b", "zz")) };
    let page = twin.data().snapshot().scan(&forward).unwrap();
    assert!(page.rows.is_empty() && page.resume.is_some());
    assert_eq!(all_pages(twin, &forward), ["z"]);
    let reverse = ScanOptions { bounds: bounds("a", "y"), reverse: true, ..forward };
    assert_eq!(all_pages(twin, &reverse), ["a"]);
}

fn byte_bound_stops_after_the_row_that_reaches_it(twin: &mut dyn Twin) {
    let ops = ["a", "b", "c"].map(|name| put(name, 1, value("0123456789")));
    twin.data().write(&ops).unwrap();
    for (max_bytes, expected) in [(0, 1), (1, 1), (15, 1), (16, 2), (30, 2), (31, 3)] {
        let options = ScanOptions { max_bytes, ..all_of(bounds("a", "z")) };
        let page = twin.data().snapshot().scan(&options).unwrap();
        assert_eq!(page.rows.len(), expected, "{max_bytes} B");
    }
    let page = twin.data().snapshot().scan(&ScanOptions { max_bytes: 1, ..all_of(bounds("a", "z")) }).unwrap();
    assert_eq!(page.resume, Some(key("a").next()));
}

fn keys_come_without_values(twin: &mut dyn Twin) {
    fill(twin);
    for reverse in [false, true] {
        // The older version of c, too.
        for at in [10, 40] {
            let whole = ScanOptions { reverse, at: Timestamp(at), now: Timestamp(25), ..all_of(bounds("a", "g")) };
            let view = twin.data().snapshot();
            let mut expected = view.scan(&whole).unwrap();
            let found = view.scan(&ScanOptions { mode: ScanMode::Keys, ..whole }).unwrap();
            assert!(expected.rows.iter().any(|row| row.value.expires_at == Some(Timestamp(30))));
            expected.rows.iter_mut().for_each(|row| row.value.value.clear());
            assert_eq!(found, expected, "keys, versions, expiries, reverse: {reverse}");
        }
    }
    let page = twin.data().snapshot().scan(&ScanOptions { mode: ScanMode::Keys, ..all_of(bounds("a", "z")) }).unwrap();
    assert!(page.rows.iter().all(|row| row.value.value.is_empty()));
}

fn rows_are_counted_page_by_page(twin: &mut dyn Twin) {
    fill(twin);
    for (now, reverse, max_rows) in [(25, false, 1), (25, true, 2), (30, false, 1_000), (30, true, 3)] {
        let mut options = ScanOptions { now: Timestamp(now), reverse, ..all_of(bounds("a", "g")) };
        let expected = names(twin, &options).len();
        assert_eq!(expected, if now == 25 { 5 } else { 4 });
        (options.mode, options.max_rows) = (ScanMode::Count, max_rows);
        let (mut counted, mut ends) = (0, None);
        loop {
            let page = twin.data().snapshot().scan(&options).unwrap();
            assert!(page.rows.is_empty() && page.counted <= max_rows);
            counted += page.counted as usize;
            ends = ends.or(page.counted_until);
            match page.resume {
                None => break,
                Some(next) if reverse => options.bounds.end = Some(next),
                Some(next) => options.bounds.start = next,
            }
        }
        assert_eq!(counted, expected);
        assert_eq!(ends, (now == 25).then_some(Timestamp(30)), "one of them expires");
    }
}

/// Values that are not brought do not count against the bytes of a page, but somebody reads them.
fn a_page_without_values_walks_over_so_many_bytes(twin: &mut dyn Twin) {
    let large = "x".repeat(limits::SCAN_MAX_READ_BYTES / 4);
    for name in ["a", "b", "c", "d", "e", "f"] {
        twin.data().write(&[put(name, 1, value(&large))]).unwrap();
    }
    for mode in [ScanMode::Keys, ScanMode::Count] {
        let page = twin.data().snapshot().scan(&ScanOptions { mode, ..all_of(bounds("a", "z")) }).unwrap();
        assert_eq!(page.rows.len() + page.counted as usize, 4, "{mode:?}");
        assert_eq!(page.resume, Some(key("d").next()));
    }
}

fn empty_bounds_give_nothing(twin: &mut dyn Twin) {
    fill(twin);
    for reverse in [false, true] {
        for empty in [bounds("c", "c"), bounds("d", "b")] {
            let page = twin.data().snapshot().scan(&ScanOptions { reverse, ..all_of(empty) }).unwrap();
            assert!(page.rows.is_empty() && page.resume.is_none());
        }
    }
}

fn scans_stay_within_all_bounds(twin: &mut dyn Twin) {
    fill(twin);
    twin.data()
        .write(&[crate::build::state(crate::build::R, "s"), crate::build::completion(crate::build::R, 1, 1, "x")])
        .unwrap();
    for reverse in [false, true] {
        let options = ScanOptions { reverse, ..all_of(KeyRange::all()) };
        assert_eq!(names(twin, &options).len(), 5);
    }
    twin.data().write(&[DataOp::ClearKeys { bounds: KeyRange::all() }]).unwrap();
    assert!(names(twin, &all_of(KeyRange::all())).is_empty());
    assert!(twin.data().snapshot().range_state(crate::build::R).unwrap().is_some());
}
