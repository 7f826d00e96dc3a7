//! Failures that only the in-memory twin can be asked for.

use holdfast_engine::memory::{Crash, LogTail, MemoryDisk};
use holdfast_engine::{DataEngine, DiskSpace, Fault, LogEngine, ReadTier};
use holdfast_types::LogIndex;

use crate::build::{R, append, live, state};

#[test]
fn failed_sync_fails_every_later_write_until_reopened() {
    let disk = MemoryDisk::new();
    let log = disk.open_log().unwrap();
    log.write_synced(&[live(R, 1)]).unwrap();
    disk.fail_next_sync();
    assert!(matches!(log.write_synced(&[append(R, 1, &[1])]), Err(Fault::Io { .. })));
    assert!(log.write_synced(&[append(R, 2, &[1])]).is_err());
    assert_eq!(log.counter().0, 1);
    disk.crash(&Crash::default());
    let log = disk.open_log().unwrap();
    assert_eq!(log.load().unwrap()[0].last, LogIndex(0));
    log.write_synced(&[append(R, 1, &[1])]).unwrap();
}

#[test]
fn batch_of_a_failed_sync_may_be_there_after_all() {
    let disk = MemoryDisk::new();
    let log = disk.open_log().unwrap();
    log.write_synced(&[live(R, 1)]).unwrap();
    disk.fail_next_sync();
    assert!(log.write_synced(&[append(R, 1, &[1])]).is_err());
    disk.crash(&Crash { log_batches_kept: 1, ..Crash::default() });
    assert_eq!(disk.open_log().unwrap().load().unwrap()[0].last, LogIndex(1));
}

#[test]
fn lying_sync_loses_acknowledged_batches_and_the_counter_shows_it() {
    let disk = MemoryDisk::new();
    let log = disk.open_log().unwrap();
    log.write_synced(&[live(R, 1), append(R, 1, &[1])]).unwrap();
    disk.set_lying_syncs(true);
    assert_eq!(log.write_synced(&[append(R, 2, &[1])]).unwrap().0, 2);
    disk.crash(&Crash::default());
    let log = disk.open_log().unwrap();
    assert_eq!((log.counter().0, log.load().unwrap()[0].last), (1, LogIndex(1)));
}

#[test]
fn crash_keeps_a_prefix_of_unsynced_batches() {
    for kept in 0..=3 {
        let disk = MemoryDisk::new();
        let log = disk.open_log().unwrap();
        log.write_synced(&[live(R, 1)]).unwrap();
        let tokens: Vec<_> = (1..=3).map(|i| log.write_unsynced(&[append(R, i, &[1])]).unwrap()).collect();
        assert_eq!(log.entries(R, LogIndex(1), LogIndex(3), usize::MAX).unwrap().len(), 3, "written is readable");
        assert_eq!((disk.unsynced_log_batches(), log.counter().0), (3, 1));
        disk.crash(&Crash { log_batches_kept: kept, log_tail: LogTail::Torn, ..Crash::default() });
        assert!(log.sync(tokens[0]).is_err(), "the handle died with its process");
        assert_eq!(disk.open_log().unwrap().load().unwrap()[0].last.0, kept as u64);
    }
}

#[test]
fn sync_makes_a_batch_and_all_before_it_safe() {
    let disk = MemoryDisk::new();
    let log = disk.open_log().unwrap();
    log.write_unsynced(&[live(R, 1)]).unwrap();
    let second = log.write_unsynced(&[append(R, 1, &[1])]).unwrap();
    log.write_unsynced(&[append(R, 2, &[1])]).unwrap();
    assert_eq!(log.sync(second).unwrap(), second.counter());
    disk.crash(&Crash::default());
    assert_eq!(disk.open_log().unwrap().load().unwrap()[0].last, LogIndex(1));
}

#[test]
fn begun_flush_is_kept_or_lost_as_a_whole() {
    for kept in [false, true] {
        let disk = MemoryDisk::new();
        let data = disk.open_data().unwrap();
        data.write(&[state(R, "one")]).unwrap();
        data.flush().unwrap();
        data.write(&[state(R, "two")]).unwrap();
        let token = data.begin_flush().unwrap();
        data.write(&[state(R, "three")]).unwrap();
        assert_eq!(data.range_state(R, ReadTier::Persisted).unwrap().unwrap(), "one");
        disk.crash(&Crash { flush_kept: kept.then_some(token), ..Crash::default() });
        let found = disk.open_data().unwrap().range_state(R, ReadTier::All).unwrap().unwrap();
        assert_eq!(found, if kept { "two" } else { "one" });
    }
}

#[test]
fn overtaken_flush_does_not_go_back() {
    let disk = MemoryDisk::new();
    let data = disk.open_data().unwrap();
    data.write(&[state(R, "one")]).unwrap();
    let first = data.begin_flush().unwrap();
    data.write(&[state(R, "two")]).unwrap();
    data.flush().unwrap();
    data.finish_flush(first).unwrap();
    assert_eq!(data.range_state(R, ReadTier::Persisted).unwrap().unwrap(), "two");
}

#[test]
fn full_disk_fails_log_and_flush_until_reopened() {
    let disk = MemoryDisk::new();
    let engines = disk.open().unwrap();
    disk.set_full(true);
    assert!(matches!(engines.log.write_synced(&[live(R, 1)]), Err(Fault::Full(_))));
    engines.data.write(&[state(R, "one")]).unwrap();
    assert!(matches!(engines.data.flush(), Err(Fault::Full(_))));
    assert_eq!(engines.data.disk_space().unwrap().free_bytes, 0);
    disk.set_full(false);
    assert!(engines.log.write_synced(&[live(R, 1)]).is_err() && engines.data.write(&[state(R, "one")]).is_err());
    disk.kill();
    let engines = disk.open().unwrap();
    engines.log.write_synced(&[live(R, 1)]).unwrap();
    let space = DiskSpace { total_bytes: 10, free_bytes: 3 };
    disk.set_disk_space(space);
    assert_eq!(engines.data.disk_space().unwrap(), space);
}

#[test]
fn failed_flush_is_final() {
    let disk = MemoryDisk::new();
    let data = disk.open_data().unwrap();
    data.write(&[state(R, "one")]).unwrap();
    disk.fail_next_flush();
    assert!(data.flush().is_err() && data.flush().is_err());
}

#[test]
fn hole_in_a_log_is_damage() {
    let disk = MemoryDisk::new();
    let log = disk.open_log().unwrap();
    log.write_synced(&[live(R, 1), append(R, 1, &[1, 1, 1])]).unwrap();
    assert!(disk.make_log_hole(R, LogIndex(2)) && !disk.make_log_hole(R, LogIndex(2)));
    assert!(matches!(log.entries(R, LogIndex(1), LogIndex(3), usize::MAX), Err(Fault::Damage { .. })));
    assert!(matches!(log.load(), Err(Fault::Damage { .. })));
}

#[test]
fn image_returns_to_an_older_state() {
    let disk = MemoryDisk::new();
    let log = disk.open_log().unwrap();
    log.write_synced(&[live(R, 1)]).unwrap();
    let image = disk.image();
    log.write_synced(&[append(R, 1, &[1])]).unwrap();
    assert_eq!(image.open_log().unwrap().counter().0, 1);
    assert_eq!(log.counter().0, 2, "the original goes on");
}

#[test]
fn stall_is_a_mark_that_ends_with_the_process() {
    let disk = MemoryDisk::new();
    disk.set_stalled(true);
    assert!(disk.is_stalled());
    disk.kill();
    assert!(!disk.is_stalled());
}
