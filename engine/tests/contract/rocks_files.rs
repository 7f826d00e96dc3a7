//! What only files can show.

use std::fs;

use holdfast_engine::rocks::open;
use holdfast_engine::{DataEngine, Fault};
use holdfast_types::{KeyRange, LogIndex, Timestamp};

use crate::build::{R, append, key, live, put, start, state, value};
use crate::rocks_twin::{RocksTwin, files, options};
use crate::twin::Twin;

#[test]
fn second_process_is_refused() {
    let twin = RocksTwin::new();
    let second = open(twin.folder.path(), &options());
    assert!(matches!(second.err(), Some(Fault::Identity(_))));
}

#[test]
fn folder_without_its_format_is_refused() {
    let mut twin = RocksTwin::new();
    twin.store = None;
    fs::remove_file(twin.folder.path().join("FORMAT")).unwrap();
    assert!(matches!(twin.try_reopen(), Err(Fault::Damage { .. })));
    fs::write(twin.folder.path().join("FORMAT"), "something else").unwrap();
    assert!(matches!(twin.try_reopen(), Err(Fault::Damage { .. })));
}

/// Every byte of the write-ahead log in turn: the store opens with a prefix of what was written only when the bad record was
/// the last one.
#[test]
fn flipped_byte_anywhere_but_in_the_last_record_is_refused() {
    let mut twin = RocksTwin::new();
    twin.log().write_synced(&[live(R, 1)]).unwrap();
    for i in 1..=4 {
        twin.log().write_synced(&[append(R, i, &[1])]).unwrap();
    }
    let before_last = fs::metadata(twin.wal()).unwrap().len() as usize;
    twin.log().write_synced(&[append(R, 5, &[1])]).unwrap();
    twin.store = None;
    let wal = twin.wal();
    let good = fs::read(&wal).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for at in (0..good.len()).step_by(7) {
        let folder = copy.path().join(at.to_string());
        copy_folder(twin.folder.path(), &folder);
        let mut bad = good.clone();
        bad[at] ^= 0x04;
        fs::write(folder.join("log").join(wal.file_name().unwrap()), bad).unwrap();
        match open(&folder, &options()) {
            Ok(engines) => {
                assert!(at >= before_last, "byte {at} was flipped, and the store opened");
                assert_eq!(engines.log.load().unwrap()[0].last, LogIndex(4));
            }
            Err(fault) => {
                assert!(matches!(fault, Fault::Damage { .. }), "{fault}");
                assert!(at < before_last, "byte {at} of the last record is a torn write: {fault}");
            }
        }
    }
}

fn copy_folder(source: &std::path::Path, target: &std::path::Path) {
    fs::create_dir_all(target).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let target = target.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn damage_behind_a_table_is_refused() {
    let mut twin = RocksTwin::new();
    twin.log().write_synced(&[live(R, 1), append(R, 1, &[1])]).unwrap();
    twin.reopen();
    twin.log().write_synced(&[append(R, 2, &[1])]).unwrap();
    twin.log().write_synced(&[append(R, 3, &[1])]).unwrap();
    twin.store = None;
    let mut bytes = fs::read(twin.wal()).unwrap();
    bytes[20] ^= 1;
    fs::write(twin.wal(), bytes).unwrap();
    assert!(matches!(twin.try_reopen(), Err(Fault::Damage { .. })));
}

#[test]
fn batches_of_many_blocks_are_read_back() {
    let mut twin = RocksTwin::new();
    twin.log().write_synced(&[live(R, 1)]).unwrap();
    for i in 0..20 {
        twin.log().write_synced(&[append(R, i * 3_000 + 1, &vec![1; 3_000])]).unwrap();
    }
    twin.log().write_synced(&[start(R, 30_000, 1)]).unwrap();
    twin.reopen();
    let loaded = &twin.log().load().unwrap()[0];
    assert_eq!((loaded.start.index, loaded.last), (LogIndex(30_000), LogIndex(60_000)));
    assert_eq!(twin.log().counter().0, 22);
}

#[test]
fn copy_of_a_running_store_opens_with_everything_synced() {
    let twin = RocksTwin::new();
    for i in 1..=50 {
        twin.log().write_synced(&[live(R, 1), append(R, i, &[1])]).unwrap();
        twin.data().write(&[put("a", i, value("x")), state(R, &i.to_string())]).unwrap();
        if i == 30 {
            twin.data().flush().unwrap();
        }
    }
    let copy = tempfile::tempdir().unwrap();
    copy_folder(twin.folder.path(), copy.path());
    let engines = open(copy.path(), &options()).unwrap();
    assert_eq!(engines.log.load().unwrap()[0].last, LogIndex(50));
    let view = engines.data.snapshot();
    assert_eq!(view.range_state(R).unwrap().unwrap(), "30");
    assert_eq!(view.newest_version(&key("a"), Timestamp::MAX).unwrap().unwrap().0, Timestamp(30));
}

#[test]
fn open_view_keeps_a_newer_threshold_at_rest() {
    let twin = RocksTwin::new();
    let data = &twin.store().data;
    data.write(&[put("a", 10, value("old"))]).unwrap();
    let view = data.snapshot();
    data.write(&[put("a", 20, value("new"))]).unwrap();
    data.set_gc_threshold(R, Some((KeyRange::all(), Timestamp(100))));
    data.flush().unwrap();
    data.compact().unwrap();
    let seen = view.get(&key("a"), Timestamp::MAX, Timestamp(0)).unwrap();
    assert_eq!(seen.unwrap().value, "old", "its newest version was not taken from under it");
    drop(view);
    data.compact().unwrap();
    assert_eq!(data.snapshot().versions(&KeyRange::all(), 9).unwrap().len(), 1);
}

#[test]
fn snapshots_being_sent_end_with_the_process() {
    let mut twin = RocksTwin::new();
    twin.data().write(&[state(R, "s")]).unwrap();
    twin.data().flush().unwrap();
    let id = holdfast_engine::SnapshotId(1);
    let data = twin.data();
    data.build_snapshot(&*data.snapshot(), id, R, &KeyRange::all()).unwrap();
    drop(data);
    twin.reopen();
    assert!(twin.data().read_snapshot(id, 0, 0, 1).is_err());
    assert!(files(&twin.folder.path().join("snapshots"), "").is_empty());
}
