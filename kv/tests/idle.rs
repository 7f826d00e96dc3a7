//! A range that is not used costs no messages, no ticks and little memory.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests; a skip asks the environment whether it is allowed"
)]

mod fleet;

use fleet::{REST, key, put, spread, store};
use holdfast_replica::AdminRequest;
use holdfast_types::RangeId;

const RANGES: usize = 2_000;
/// Of one replica with its share of the store's maps, in memory, with the tests' disk: it keeps the log and the range state too.
const REPLICA_MAX_BYTES: usize = 32 << 10;

/// What this process has in memory; `None` on a machine that does not tell.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[test]
fn thousands_of_idle_ranges_send_nothing_and_want_no_tick() {
    let mut fleet = spread(3, 1);
    // Placement would pass leaders round for a while: it is not what is looked at here.
    for id in 1..=3 {
        fleet.damage(store(id), RangeId::SYSTEM);
    }
    fleet.is_checked = false;
    fleet.must(store(1), put("a", "1"));
    fleet.run(2_000);
    let before = resident_bytes();
    let leader = fleet.leader(REST).unwrap();
    for n in 0..RANGES {
        let at = key(&format!("k{n:05}"));
        let range = fleet.stores[&leader].range_of(&at);
        fleet.admin(leader, range, AdminRequest::Split { at, right: RangeId(0) }).unwrap();
    }
    fleet.run(4_000);
    let grown = before.zip(resident_bytes()).map(|(before, after)| after.saturating_sub(before));

    fleet.raft_messages = 0;
    fleet.ticks = 0;
    fleet.run(10_000);
    assert_eq!(fleet.raft_messages, 0, "idle ranges talk");
    assert_eq!(fleet.ticks, 0, "idle ranges have timers");
    let last = format!("k{:05}", RANGES - 1);
    fleet.must(store(2), put(&last, "awake"));
    assert!(fleet.raft_messages > 0);
    assert_eq!(fleet.value(store(3), &last).as_deref(), Some("awake"));

    // All ranges have other leaders within a second of the loss of a store, though nobody was awake.
    fleet.run(2_000);
    fleet.crash(leader);
    fleet.run_until(1_500, "every range is led", |f| f.stores[&store(leader.0 % 3 + 1)].knows_all_leaders(leader));

    match grown {
        Some(grown) => {
            println!("{} bytes a replica", grown / RANGES / 3);
            assert!(grown / RANGES / 3 < REPLICA_MAX_BYTES, "{} bytes a replica", grown / RANGES / 3);
        }
        None => {
            println!("SKIPPED: this machine does not tell how much memory a process has");
            assert!(std::env::var("CI").as_deref() != Ok("true"));
        }
    }
}
