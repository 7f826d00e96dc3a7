//! What the loss of the process leaves.

use holdfast_engine::{Fault, ReadTier};
use holdfast_types::{LogIndex, Timestamp};

use crate::build::{R, append, completion, key, live, put, state, value};
use crate::twin::Twin;

both! {
    unflushed_data_is_lost_as_a_whole, persisted_tier_sees_only_what_was_flushed, torn_tail_is_cut_off,
    bad_record_before_valid_ones_is_refused, unknown_format_is_refused, log_and_data_are_lost_apart,
}

fn unflushed_data_is_lost_as_a_whole(twin: &mut dyn Twin) {
    twin.data().write(&[put("a", 1, value("x")), state(R, "one"), completion(R, 1, 1, "one")]).unwrap();
    twin.data().flush().unwrap();
    for i in 0..50 {
        let ops = [put(&format!("b{i}"), 1, value("x")), state(R, "two"), completion(R, 1, 1, "two")];
        twin.data().write(&ops).unwrap();
    }
    twin.reopen();
    let view = twin.data().snapshot();
    assert_eq!(view.range_state(R).unwrap().unwrap(), "one");
    assert_eq!(view.completions(R, None, 9).unwrap()[0].2, "one");
    assert!(view.get(&key("a"), Timestamp::MAX, Timestamp(0)).unwrap().is_some());
    assert!(view.get(&key("b0"), Timestamp::MAX, Timestamp(0)).unwrap().is_none());
}

fn persisted_tier_sees_only_what_was_flushed(twin: &mut dyn Twin) {
    let data = twin.data();
    let tiers = || [ReadTier::All, ReadTier::Persisted].map(|tier| data.range_state(R, tier).unwrap());
    assert_eq!(tiers(), [None, None]);
    data.write(&[state(R, "one")]).unwrap();
    assert_eq!(tiers(), [Some("one".into()), None]);
    data.flush().unwrap();
    assert_eq!(tiers(), [Some("one".into()), Some("one".into())]);
    data.write(&[state(R, "two")]).unwrap();
    assert_eq!(tiers(), [Some("two".into()), Some("one".into())]);
    data.write(&[holdfast_engine::DataOp::RemoveRangeState { range: R }]).unwrap();
    assert_eq!(tiers(), [None, Some("one".into())]);
    data.flush().unwrap();
    assert_eq!(tiers(), [None, None]);
    drop(data);
    twin.reopen();
    assert_eq!(twin.data().range_state(R, ReadTier::Persisted).unwrap(), None);
}

fn torn_tail_is_cut_off(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1, 1])]).unwrap();
    twin.write_torn(&[append(R, 3, &[1, 1])]);
    twin.reopen();
    assert_eq!(twin.log().load().unwrap()[0].last, LogIndex(2));
    assert_eq!(twin.log().counter().0, 1);
    twin.log().write_synced(&[append(R, 3, &[2])]).unwrap();
    twin.write_torn(&[append(R, 4, &[2])]);
    twin.reopen();
    assert_eq!(twin.log().load().unwrap()[0].last, LogIndex(3), "a second tear is none the worse");
    twin.reopen();
    assert_eq!(twin.log().load().unwrap()[0].last, LogIndex(3));
}

fn bad_record_before_valid_ones_is_refused(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1)]).unwrap();
    for i in 1..20 {
        twin.log().write_synced(&[append(R, i, &[1])]).unwrap();
    }
    twin.damage_log();
    for _ in 0..2 {
        let opened = twin.try_reopen();
        assert!(matches!(opened, Err(Fault::Damage { .. })), "{opened:?}");
    }
}

fn unknown_format_is_refused(twin: &mut dyn Twin) {
    twin.set_format_version(2);
    let opened = twin.try_reopen();
    assert!(matches!(opened, Err(Fault::UnknownVersion { found: 2, known: 1, .. })), "{opened:?}");
}

fn log_and_data_are_lost_apart(twin: &mut dyn Twin) {
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1])]).unwrap();
    twin.data().write(&[state(R, "applied 1")]).unwrap();
    twin.reopen();
    assert_eq!(twin.log().load().unwrap()[0].last, LogIndex(1));
    assert!(twin.data().range_states().unwrap().is_empty(), "it comes back from the log");
}
