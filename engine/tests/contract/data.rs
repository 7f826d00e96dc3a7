//! The data instance: versions, states, completion records.

use holdfast_engine::{DataOp, Fault, ReadTier, Version};
use holdfast_types::{ClientId, KeyRange, RangeId, Slot, Timestamp};

use crate::build::{R, bounds, completion, expiring, key, put, remove, state, value};
use crate::twin::Twin;

both! {
    reads_see_the_newest_version_at_their_timestamp, expired_values_are_gone_for_readers_only,
    views_do_not_move, clearing_keys_spares_their_neighbours, completion_records_are_paged_in_order,
    removing_a_range_state_takes_its_records, range_states_are_listed_past_their_records,
    versions_are_walked_through_the_middle_of_a_key, batches_apply_in_their_order,
    middle_key_halves_the_bytes, sizes_grow_with_data, damaged_value_is_a_fault_and_never_empty,
    keys_that_are_prefixes_of_each_other_do_not_mix, space_is_reported,
}

fn got(twin: &dyn Twin, name: &str, at: u64, now: u64) -> Option<(String, u64)> {
    let found = twin.data().snapshot().get(&key(name), Timestamp(at), Timestamp(now)).unwrap();
    found.map(|found| (String::from_utf8(found.value.to_vec()).unwrap(), found.timestamp.0))
}

fn reads_see_the_newest_version_at_their_timestamp(twin: &mut dyn Twin) {
    let ops = [put("a", 10, value("one")), put("a", 30, value("three")), put("a", 20, Version::Tombstone)];
    twin.data().write(&ops).unwrap();
    for _ in 0..2 {
        for (at, expected) in [(9, None), (10, Some("one")), (19, Some("one")), (20, None), (30, Some("three"))] {
            assert_eq!(got(twin, "a", at, 0).map(|(text, _)| text).as_deref(), expected, "at {at}");
        }
        assert_eq!(got(twin, "a", u64::MAX, 0), Some(("three".to_owned(), 30)));
        let view = twin.data().snapshot();
        let newest = view.newest_version(&key("a"), Timestamp(25)).unwrap();
        assert_eq!(newest, Some((Timestamp(20), Version::Tombstone)));
        assert_eq!(view.newest_version(&key("b"), Timestamp::MAX).unwrap(), None);
        twin.data().flush().unwrap();
    }
}

fn expired_values_are_gone_for_readers_only(twin: &mut dyn Twin) {
    twin.data().write(&[put("a", 10, value("old")), put("a", 20, expiring("short", 50))]).unwrap();
    assert_eq!(got(twin, "a", 100, 49), Some(("short".to_owned(), 20)));
    assert_eq!(got(twin, "a", 100, 50), None, "an expired value hides older ones too");
    assert_eq!(got(twin, "a", 19, 50), Some(("old".to_owned(), 10)));
    let newest = twin.data().snapshot().newest_version(&key("a"), Timestamp::MAX).unwrap();
    assert_eq!(newest, Some((Timestamp(20), expiring("short", 50))));
}

fn views_do_not_move(twin: &mut dyn Twin) {
    twin.data().write(&[put("a", 10, value("old")), state(R, "old")]).unwrap();
    let view = twin.data().snapshot();
    twin.data().write(&[put("a", 20, value("new")), state(R, "new")]).unwrap();
    twin.data().write(&[DataOp::ClearKeys { bounds: KeyRange::all() }]).unwrap();
    twin.data().flush().unwrap();
    assert_eq!(view.get(&key("a"), Timestamp::MAX, Timestamp(0)).unwrap().unwrap().value, "old");
    assert_eq!(view.range_state(R).unwrap().unwrap(), "old");
    assert_eq!(twin.data().snapshot().get(&key("a"), Timestamp::MAX, Timestamp(0)).unwrap(), None);
}

fn clearing_keys_spares_their_neighbours(twin: &mut dyn Twin) {
    let ops = ["a", "b", "b\0", "c"].map(|name| put(name, 10, value(name)));
    twin.data().write(&ops).unwrap();
    twin.data().write(&[DataOp::ClearKeys { bounds: bounds("b", "c") }, state(R, "s")]).unwrap();
    for _ in 0..2 {
        let kept = ["a", "b", "b\0", "c"].map(|name| got(twin, name, 99, 0).is_some());
        assert_eq!(kept, [true, false, false, true]);
        assert!(twin.data().range_state(R, ReadTier::All).unwrap().is_some());
        twin.data().flush().unwrap();
        twin.compact();
    }
    twin.data().write(&[DataOp::ClearKeys { bounds: bounds("b", "b") }]).unwrap();
    assert!(got(twin, "a", 99, 0).is_some());
}

fn completion_records_are_paged_in_order(twin: &mut dyn Twin) {
    let ops = [
        completion(R, 2, 0, "2/0"),
        completion(R, 1, 9, "1/9"),
        completion(R, 1, 3, "1/3"),
        completion(RangeId(6), 1, 1, "other"),
        completion(RangeId(8), 1, 1, "other"),
    ];
    twin.data().write(&ops).unwrap();
    let view = twin.data().snapshot();
    let page = |after, max| {
        let records = view.completions(R, after, max).unwrap();
        records.into_iter().map(|(_, _, record)| String::from_utf8(record.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 9), ["1/3", "1/9", "2/0"]);
    assert_eq!(page(None, 1), ["1/3"]);
    assert_eq!(page(Some((ClientId(1), Slot(3))), 9), ["1/9", "2/0"]);
    assert_eq!(page(Some((ClientId(2), Slot(0))), 9), Vec::<String>::new());
    assert_eq!(view.completion(R, ClientId(1), Slot(9)).unwrap().unwrap(), "1/9");
    assert_eq!(view.completion(R, ClientId(1), Slot(8)).unwrap(), None);
    twin.data().write(&[DataOp::RemoveCompletion { range: R, client: ClientId(1), slot: Slot(9) }]).unwrap();
    assert_eq!(twin.data().snapshot().completion(R, ClientId(1), Slot(9)).unwrap(), None);
}

fn removing_a_range_state_takes_its_records(twin: &mut dyn Twin) {
    let other = RangeId(8);
    let ops = [state(R, "s"), completion(R, 1, 1, "x"), state(other, "o"), completion(other, 1, 1, "y")];
    twin.data().write(&ops).unwrap();
    twin.data().flush().unwrap();
    twin.data().write(&[DataOp::RemoveRangeState { range: R }]).unwrap();
    let view = twin.data().snapshot();
    assert_eq!(view.range_state(R).unwrap(), None);
    assert!(view.completions(R, None, 9).unwrap().is_empty());
    assert_eq!(view.completions(other, None, 9).unwrap().len(), 1);
    assert!(view.range_state(other).unwrap().is_some());
}

fn range_states_are_listed_past_their_records(twin: &mut dyn Twin) {
    assert!(twin.data().range_states().unwrap().is_empty());
    let mut ops = vec![put("a", 1, value("v"))];
    for r in [3, 1, RangeId::MAX.0] {
        ops.extend([state(RangeId(r), "s"), completion(RangeId(r), 1, 1, "x"), completion(RangeId(r), 2, 1, "x")]);
    }
    ops.push(completion(RangeId(2), 1, 1, "record without a state"));
    twin.data().write(&ops).unwrap();
    let listed: Vec<_> = twin.data().range_states().unwrap().into_iter().map(|(range, _)| range.0).collect();
    assert_eq!(listed, [1, 3, RangeId::MAX.0]);
}

fn versions_are_walked_through_the_middle_of_a_key(twin: &mut dyn Twin) {
    let ops: Vec<_> = ["a", "b", "c"].iter().flat_map(|n| (0..5).map(|t| put(n, t, value("x")))).collect();
    twin.data().write(&ops).unwrap();
    let view = twin.data().snapshot();
    let all = view.versions(&bounds("a", "c"), usize::MAX).unwrap();
    let shape: Vec<_> = all.iter().map(|(key, at, _)| (key.clone(), at.0)).collect();
    let expected: Vec<_> = ["a", "b"].iter().flat_map(|n| (0..5).rev().map(|t| (key(n), t))).collect();
    assert_eq!(shape, expected);
    for (max, max_bytes) in [(1, usize::MAX), (3, usize::MAX), (99, 1), (99, 30)] {
        let mut walked = Vec::new();
        loop {
            let after = walked.last().map(|(key, at, _): &(_, Timestamp, Version)| (key, *at));
            let page = view.versions_after(&bounds("a", "c"), after, max, max_bytes).unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= max);
            walked.extend(page);
        }
        assert_eq!(walked, all, "pages of {max} versions, {max_bytes} B");
    }
}

fn batches_apply_in_their_order(twin: &mut dyn Twin) {
    let clear = DataOp::ClearKeys { bounds: bounds("a", "z") };
    let ops = [put("a", 1, value("x")), clear, put("b", 1, value("y")), put("c", 1, value("z")), remove("c", 1)];
    twin.data().write(&ops).unwrap();
    assert_eq!(["a", "b", "c"].map(|n| got(twin, n, 9, 0).is_some()), [false, true, false]);
    let ops = [state(R, "old"), DataOp::RemoveRangeState { range: R }, completion(R, 1, 1, "x"), state(R, "new")];
    twin.data().write(&ops).unwrap();
    let view = twin.data().snapshot();
    assert_eq!(view.range_state(R).unwrap().unwrap(), "new");
    assert!(view.completion(R, ClientId(1), Slot(1)).unwrap().is_some());
}

fn middle_key_halves_the_bytes(twin: &mut dyn Twin) {
    let middle = |twin: &dyn Twin| twin.data().middle_key(&bounds("a", "z")).unwrap();
    assert_eq!(middle(twin), None);
    twin.data().write(&[put("a", 1, value("only one"))]).unwrap();
    assert_eq!(middle(twin), None, "nothing lies strictly inside");
    let ops: Vec<_> = (0..5_000).map(|i| put(&format!("k{i:04}"), 1, value("0123456789"))).collect();
    twin.data().write(&ops).unwrap();
    let found = middle(twin).unwrap();
    assert!(key("k2400") < found && found < key("k2600"), "{found}");
    twin.data().write(&[put("k0001", 2, value(&"x".repeat(1 << 20)))]).unwrap();
    let found = middle(twin).unwrap();
    assert!(found <= key("k0002"), "one key has most of the bytes: {found}");
}

fn sizes_grow_with_data(twin: &mut dyn Twin) {
    let ops: Vec<_> = (0..500_u64)
        .map(|i| {
            // Bytes that do not compress.
            let noise: String =
                (0..64_u64).map(|j| format!("{:x}", (i * 64 + j).wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
            put(&format!("k{i:04}"), 1, value(&noise))
        })
        .collect();
    twin.data().write(&ops).unwrap();
    twin.data().flush().unwrap();
    let size = |start, end| twin.data().approximate_size(&bounds(start, end)).unwrap();
    assert_eq!(size("x", "z"), 0);
    let (half, whole) = (size("k0000", "k0250"), size("k0000", "l"));
    assert!(whole > 100_000 && half > whole / 4 && half < whole * 3 / 4, "{half} of {whole}");
}

fn damaged_value_is_a_fault_and_never_empty(twin: &mut dyn Twin) {
    twin.data().write(&[put("a", 1, value("x"))]).unwrap();
    twin.data().flush().unwrap();
    twin.corrupt_key(&key("a"));
    let view = twin.data().snapshot();
    assert!(matches!(view.get(&key("a"), Timestamp::MAX, Timestamp(0)), Err(Fault::Damage { .. })));
    assert!(matches!(view.scan(&crate::build::all_of(bounds("a", "z"))), Err(Fault::Damage { .. })));
    assert!(matches!(view.versions(&bounds("a", "z"), 9), Err(Fault::Damage { .. })));
}

fn keys_that_are_prefixes_of_each_other_do_not_mix(twin: &mut dyn Twin) {
    let names = ["a", "a\0", "a\0\x01", "a\0\u{ff}", "a\x01", "aa"];
    let ops: Vec<_> = names.iter().enumerate().map(|(i, name)| put(name, i as u64 + 1, value(name))).collect();
    twin.data().write(&ops).unwrap();
    for _ in 0..2 {
        for (i, name) in names.iter().enumerate() {
            assert_eq!(got(twin, name, 99, 0), Some(((*name).to_owned(), i as u64 + 1)));
            assert_eq!(got(twin, name, i as u64, 0), None);
        }
        twin.data().flush().unwrap();
    }
}

fn space_is_reported(twin: &mut dyn Twin) {
    let space = twin.data().disk_space().unwrap();
    assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes);
}
