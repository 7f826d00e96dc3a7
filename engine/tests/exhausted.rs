//! A store that runs out of descriptors. Alone in its process: the limit is the process's.
#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used)]

use std::os::fd::AsRawFd;
use std::path::Path;

use bytes::Bytes;
use holdfast_engine::rocks::open;
use holdfast_engine::{DataOp, EngineOptions, Engines, Fault, LogEntry, LogOp, ReadTier, ReplicaRecord, Version};
use holdfast_types::storage::{HardState, LogStart};
use holdfast_types::{Key, KeyspaceId, LogIndex, RangeId, ReplicaId, Term, Timestamp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const RANGE: RangeId = RangeId(7);

/// No file can be opened any more: the limit is the lowest number that is free.
fn no_more_files() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
    setrlimit(Resource::Nofile, Rlimit { current: Some(u64::try_from(free).unwrap()), ..before }).unwrap();
    assert!(std::fs::File::open("/dev/null").is_err(), "there are no more files");
    before
}

fn put(engines: &Engines, applied: u64) -> Result<(), Fault> {
    let key = Key::bound(KeyspaceId::DEFAULT, format!("k{applied:05}").as_bytes());
    let version = Version::Value { value: Bytes::from(vec![7; 1_000]), expires_at: None };
    engines.data.write(&[
        DataOp::PutVersion { key, timestamp: Timestamp(applied), version },
        DataOp::SetRangeState { range: RANGE, state: Bytes::from(applied.to_string()) },
    ])
}

fn append(engines: &Engines, index: u64, size_bytes: usize) -> Result<(), Fault> {
    let entry = LogEntry { index: LogIndex(index), term: Term(1), data: Bytes::from(vec![3; size_bytes]) };
    engines.log.write_synced(&[LogOp::Append { range: RANGE, entries: vec![entry] }]).map(|_| ())
}

fn state(engines: &Engines, tier: ReadTier) -> u64 {
    let state = engines.data.range_state(RANGE, tier).unwrap().unwrap();
    std::str::from_utf8(&state).unwrap().parse().unwrap()
}

#[test]
fn running_out_of_descriptors_loses_nothing_and_damages_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = EngineOptions { memtable_bytes: 1 << 20, ..EngineOptions::default() };
    let engines = open(folder.path(), &options).unwrap();
    let set = |record| LogOp::SetReplica { range: RANGE, record };
    engines
        .log
        .write_synced(&[
            set(ReplicaRecord::Live { replica: ReplicaId(1) }),
            LogOp::SetStart { range: RANGE, start: LogStart { index: LogIndex(5), term: Term(1) } },
            LogOp::SetHardState {
                range: RANGE,
                state: HardState { term: Term(1), vote: ReplicaId(1), commit: LogIndex(5) },
            },
        ])
        .unwrap();
    for index in 6..=100 {
        append(&engines, index, 1_000).unwrap();
        put(&engines, index).unwrap();
    }
    engines.data.flush().unwrap();
    for index in 101..=200 {
        append(&engines, index, 1_000).unwrap();
        put(&engines, index).unwrap();
    }
    let counter = engines.log.counter();
    let before = no_more_files();
    let failed = engines.data.flush().unwrap_err();
    println!("flush: {failed}");
    assert!(matches!(failed, Fault::Exhausted { .. }), "{failed:?}");
    assert_eq!(state(&engines, ReadTier::Persisted), 100, "what was not flushed counts as such");
    // Memtables fill, and nothing can be flushed: what is refused is refused for want of files.
    let mut refused = None;
    for index in 201..=50_000 {
        if let Err(fault) = put(&engines, index) {
            refused = Some(fault);
            break;
        }
    }
    println!("write: {refused:?}");
    assert!(matches!(refused, Some(Fault::Exhausted { .. })), "{refused:?}");
    assert_eq!(state(&engines, ReadTier::Persisted), 100);
    let logged = (0..400).map(|index| append(&engines, 201 + index, 256 << 10)).find_map(Result::err);
    println!("log: {logged:?}, counter {counter:?} -> {:?}", engines.log.counter());
    let (appended, last) = (engines.log.counter(), engines.log.load().unwrap()[0].last);
    drop(engines);
    setrlimit(Resource::Nofile, before).unwrap();
    let engines = open(folder.path(), &options).unwrap();
    assert_eq!(state(&engines, ReadTier::All), 100);
    let log = engines.log.load().unwrap();
    assert_eq!((engines.log.counter(), log[0].last), (appended, last), "what was synced is there");
    let entries = engines.log.entries(RANGE, LogIndex(101), last, usize::MAX).unwrap();
    assert_eq!(entries.last().unwrap().index, last);
    put(&engines, 101).unwrap();
    engines.data.flush().unwrap();
    assert_eq!(state(&engines, ReadTier::Persisted), 101);
    drop(engines);
    starts_with_too_few_files_refuse_to_start(folder.path(), &options);
}

/// However many files a start gets, it finds what is there, or ends for want of files: never damage, and never less than there is.
fn starts_with_too_few_files_refuse_to_start(folder: &Path, options: &EngineOptions) {
    let mut started = 0;
    for files in (0..48).step_by(2) {
        let before = getrlimit(Resource::Nofile);
        let free = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        setrlimit(Resource::Nofile, Rlimit { current: Some(u64::try_from(free + files).unwrap()), ..before }).unwrap();
        let found = open(folder, options).and_then(|engines| {
            let state = engines.data.range_state(RANGE, ReadTier::All)?;
            let log = engines.log.load()?;
            let entries = engines.log.entries(RANGE, LogIndex(101), log[0].last, usize::MAX)?;
            Ok((state, entries.len()))
        });
        setrlimit(Resource::Nofile, before).unwrap();
        match found {
            Ok((state, entries)) => {
                assert_eq!((state, entries > 100), (Some(Bytes::from_static(b"101")), true), "with {files} files");
                started += 1;
            }
            Err(fault) => assert!(matches!(fault, Fault::Exhausted { .. }), "with {files} files: {fault}"),
        }
    }
    assert!(started > 0, "it starts with enough files");
}
