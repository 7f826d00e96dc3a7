//! Versions that compactions drop.

use holdfast_engine::Version;
use holdfast_types::{KeyRange, RangeId, Timestamp};

use crate::build::{R, bounds, put, value};
use crate::twin::Twin;

both! {
    only_shadowed_versions_before_the_threshold_go, tombstones_stay_and_hide_what_is_below,
    thresholds_end_at_their_bounds, removed_and_lost_thresholds_drop_nothing, replaced_threshold_covers_its_new_bounds,
}

fn stamps(twin: &dyn Twin) -> Vec<(String, u64)> {
    let all = twin.data().snapshot().versions(&KeyRange::all(), usize::MAX).unwrap();
    all.into_iter().map(|(key, at, _)| (String::from_utf8(key.user_key().to_vec()).unwrap(), at.0)).collect()
}

fn fill(twin: &dyn Twin) {
    for at in [10, 20, 30, 40] {
        twin.data().write(&["a", "m"].map(|name| put(name, at, value("x")))).unwrap();
        twin.data().flush().unwrap();
    }
}

fn set(twin: &dyn Twin, range: RangeId, bounds: KeyRange, threshold: u64) {
    twin.data().set_gc_threshold(range, Some((bounds, Timestamp(threshold))));
}

fn of(name: &str, stamps: &[u64]) -> Vec<(String, u64)> {
    stamps.iter().map(|at| (name.to_owned(), *at)).collect()
}

fn only_shadowed_versions_before_the_threshold_go(twin: &mut dyn Twin) {
    fill(twin);
    set(twin, R, KeyRange::all(), 35);
    twin.compact();
    // 30 is the newest before 35: a read at 35 needs it. What it shadows goes.
    assert_eq!(stamps(twin), [of("a", &[40, 30]), of("m", &[40, 30])].concat());
    twin.compact();
    assert_eq!(stamps(twin).len(), 4);
}

fn tombstones_stay_and_hide_what_is_below(twin: &mut dyn Twin) {
    twin.data().write(&[put("a", 10, value("x"))]).unwrap();
    twin.data().flush().unwrap();
    twin.compact();
    twin.data().write(&[put("a", 20, Version::Tombstone)]).unwrap();
    twin.data().flush().unwrap();
    set(twin, R, KeyRange::all(), 100);
    for _ in 0..3 {
        twin.compact();
        assert_eq!(stamps(twin)[0], ("a".to_owned(), 20));
        let newest = twin.data().snapshot().get(&crate::build::key("a"), Timestamp::MAX, Timestamp(0)).unwrap();
        assert_eq!(newest, None);
    }
    assert_eq!(stamps(twin), of("a", &[20]));
}

fn thresholds_end_at_their_bounds(twin: &mut dyn Twin) {
    fill(twin);
    set(twin, R, bounds("a", "b"), 100);
    set(twin, RangeId(8), bounds("b", "z"), 15);
    twin.compact();
    assert_eq!(stamps(twin), [of("a", &[40]), of("m", &[40, 30, 20, 10])].concat());
}

fn removed_and_lost_thresholds_drop_nothing(twin: &mut dyn Twin) {
    fill(twin);
    set(twin, R, KeyRange::all(), 100);
    twin.data().set_gc_threshold(R, None);
    twin.compact();
    assert_eq!(stamps(twin).len(), 8);
    set(twin, R, KeyRange::all(), 100);
    twin.reopen();
    twin.compact();
    assert_eq!(stamps(twin).len(), 8, "it is set again at start");
}

fn replaced_threshold_covers_its_new_bounds(twin: &mut dyn Twin) {
    fill(twin);
    set(twin, R, KeyRange::all(), 100);
    set(twin, R, bounds("b", "z"), 100);
    twin.compact();
    assert_eq!(stamps(twin), [of("a", &[40, 30, 20, 10]), of("m", &[40])].concat());
}
