//! Random data against a map: writes, clears, flushes, views, installs, losses of the process.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_engine::{DataOp, DataSnapshot, ReadTier, ScanOptions, SnapshotId, Version};
use holdfast_types::{ClientId, Key, KeyRange, KeyspaceId, RangeId, ScanMode, Slot, Timestamp};
use proptest::prelude::*;

use crate::twin::{MemoryTwin, Twin};

/// Names with zeros and prefixes of each other.
const NAMES: [&[u8]; 8] = [b"", b"\0", b"\0\xff", b"a", b"a\0", b"a\0b", b"b", b"\xff"];
const LAST: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<DataOp>),
    Flush,
    Compact,
    View,
    Reopen,
    /// Sends a range to a new store with other data in it, and goes on there.
    Move {
        range: RangeId,
        bounds: KeyRange,
    },
}

fn key() -> impl Strategy<Value = Key> {
    (0..NAMES.len(), 0_u32..2).prop_map(|(name, keyspace)| Key::bound(KeyspaceId(keyspace), NAMES[name]))
}

fn bounds() -> impl Strategy<Value = KeyRange> {
    (key(), proptest::option::of(key())).prop_map(|(start, end)| match end {
        Some(end) if end < start => KeyRange { start: end, end: Some(start) },
        end => KeyRange { start, end },
    })
}

fn range() -> impl Strategy<Value = RangeId> {
    (1_u64..3).prop_map(RangeId)
}

fn version() -> impl Strategy<Value = Version> {
    let value = |text: u8, end: Option<u64>| Version::Value {
        value: Bytes::from(vec![text; 3]),
        expires_at: end.map(Timestamp),
    };
    prop_oneof![
        3 => (any::<u8>(), proptest::option::of(0..=LAST)).prop_map(move |(text, end)| value(text, end)),
        1 => Just(Version::Tombstone),
    ]
}

fn op() -> impl Strategy<Value = DataOp> {
    let at = || (0..=LAST).prop_map(Timestamp);
    let record = || (range(), 0_u128..3, 0_u16..3);
    prop_oneof![
        12 => (key(), at(), version()).prop_map(|(key, timestamp, version)| DataOp::PutVersion { key, timestamp, version }),
        2 => (key(), at()).prop_map(|(key, timestamp)| DataOp::RemoveVersion { key, timestamp }),
        2 => (range(), any::<u8>()).prop_map(|(range, text)| DataOp::SetRangeState { range, state: Bytes::from(vec![text]) }),
        1 => range().prop_map(|range| DataOp::RemoveRangeState { range }),
        3 => (record(), any::<u8>()).prop_map(|((range, client, slot), text)| DataOp::PutCompletion {
            range, client: ClientId(client), slot: Slot(slot), record: Bytes::from(vec![text]),
        }),
        1 => record().prop_map(|(range, client, slot)| DataOp::RemoveCompletion {
            range, client: ClientId(client), slot: Slot(slot),
        }),
        1 => bounds().prop_map(|bounds| DataOp::ClearKeys { bounds }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(op(), 1..6).prop_map(Step::Write),
        2 => Just(Step::Flush),
        1 => Just(Step::Compact),
        1 => Just(Step::View),
        1 => Just(Step::Reopen),
        1 => (range(), bounds()).prop_map(|(range, bounds)| Step::Move { range, bounds }),
    ]
}

#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    versions: BTreeMap<(Key, Reverse<Timestamp>), Version>,
    states: BTreeMap<RangeId, Bytes>,
    completions: BTreeMap<(RangeId, ClientId, Slot), Bytes>,
}

impl Model {
    fn apply(&mut self, op: &DataOp) {
        match op.clone() {
            DataOp::PutVersion { key, timestamp, version } => {
                self.versions.insert((key, Reverse(timestamp)), version);
            }
            DataOp::RemoveVersion { key, timestamp } => {
                self.versions.remove(&(key, Reverse(timestamp)));
            }
            DataOp::SetRangeState { range, state } => {
                self.states.insert(range, state);
            }
            DataOp::RemoveRangeState { range } => {
                self.states.remove(&range);
                self.completions.retain(|(of, _, _), _| *of != range);
            }
            DataOp::PutCompletion { range, client, slot, record } => {
                self.completions.insert((range, client, slot), record);
            }
            DataOp::RemoveCompletion { range, client, slot } => {
                self.completions.remove(&(range, client, slot));
            }
            DataOp::ClearKeys { bounds } => self.versions.retain(|(key, _), _| !bounds.contains(key)),
        }
    }

    /// What a snapshot of a range holds, installed over `old`.
    fn installed_over(&self, old: &Model, range: RangeId, bounds: &KeyRange) -> Model {
        let mut new = old.clone();
        new.apply(&DataOp::ClearKeys { bounds: bounds.clone() });
        new.apply(&DataOp::RemoveRangeState { range });
        new.states.extend(self.states.get(&range).map(|state| (range, state.clone())));
        let versions = self.versions.iter().filter(|((key, _), _)| bounds.contains(key));
        new.versions.extend(versions.map(|(key, version)| (key.clone(), version.clone())));
        let records = self.completions.iter().filter(|((of, _, _), _)| *of == range);
        new.completions.extend(records.map(|(key, record)| (*key, record.clone())));
        new
    }

    fn rows(&self, options: &ScanOptions) -> Vec<(Key, Bytes, Timestamp)> {
        let mut newest = BTreeMap::new();
        for ((key, Reverse(at)), version) in &self.versions {
            if *at <= options.at && options.bounds.contains(key) {
                newest.entry(key.clone()).or_insert((*at, version));
            }
        }
        let alive = |(key, (at, version)): (Key, (Timestamp, &Version))| match version {
            Version::Value { expires_at: Some(end), .. } if *end <= options.now => None,
            Version::Value { value, .. } => Some((key, value.clone(), at)),
            Version::Tombstone => None,
        };
        let mut rows: Vec<_> = newest.into_iter().filter_map(alive).collect();
        if options.reverse {
            rows.reverse();
        }
        rows
    }
}

fn check(view: &dyn DataSnapshot, model: &Model) {
    let versions = view.versions(&KeyRange::all(), usize::MAX).unwrap();
    let expected: Vec<_> = model.versions.iter().map(|((key, Reverse(at)), v)| (key.clone(), *at, v.clone())).collect();
    assert_eq!(versions, expected);
    for range in [1, 2].map(RangeId) {
        assert_eq!(view.range_state(range).unwrap(), model.states.get(&range).cloned());
        let records = view.completions(range, None, 99).unwrap();
        let expected: Vec<_> = model.completions.iter().filter(|((of, _, _), _)| *of == range).collect();
        assert_eq!(records.len(), expected.len());
        for ((client, slot, record), ((_, c, s), r)) in records.iter().zip(expected) {
            assert_eq!((client, slot, record), (c, s, r));
            assert_eq!(view.completion(range, *client, *slot).unwrap().as_ref(), Some(r));
        }
    }
    for at in [0, 3, LAST].map(Timestamp) {
        for reverse in [false, true] {
            let now = Timestamp(at.0 / 2 + 1);
            let bounds =
                KeyRange { start: Key::bound(KeyspaceId(0), b"\0\xff"), end: Some(Key::bound(KeyspaceId(1), b"b")) };
            let mode = ScanMode::Rows;
            let mut options = ScanOptions { bounds, reverse, max_rows: 2, max_bytes: 1_000, at, now, mode };
            let expected = model.rows(&options);
            for (key, value, timestamp) in &expected {
                let got = view.get(key, at, now).unwrap().unwrap();
                assert_eq!((&got.value, got.timestamp), (value, *timestamp));
            }
            let mut found = Vec::new();
            loop {
                let page = view.scan(&options).unwrap();
                found.extend(page.rows.into_iter().map(|row| (row.key, row.value.value, row.value.timestamp)));
                match page.resume {
                    None => break,
                    Some(next) if reverse => options.bounds.end = Some(next),
                    Some(next) => options.bounds.start = next,
                }
            }
            assert_eq!(found, expected);
        }
    }
}

/// One store and what it should hold.
struct Run {
    twin: Box<dyn Twin>,
    now: Model,
    persisted: Model,
    views: Vec<(Arc<dyn DataSnapshot>, Model)>,
}

impl Run {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(ops) => {
                self.twin.data().write(ops).unwrap();
                ops.iter().for_each(|op| self.now.apply(op));
            }
            Step::Flush => self.flush(),
            Step::Compact => self.twin.compact(),
            Step::View => self.views.push((self.twin.data().snapshot(), self.now.clone())),
            Step::Reopen => {
                self.views.clear();
                self.twin.reopen();
                self.now = self.persisted.clone();
            }
            Step::Move { range, bounds } => self.send(*range, bounds),
        }
    }

    /// A manual compaction flushes on RocksDB, so what is persisted is only known here.
    fn flush(&mut self) {
        self.twin.data().flush().unwrap();
        self.persisted = self.now.clone();
    }

    fn send(&mut self, range: RangeId, bounds: &KeyRange) {
        if !self.now.states.contains_key(&range) {
            return;
        }
        let (target, id) = (self.twin.another(), SnapshotId(9));
        let mut old = Model::default();
        let ops: Vec<_> = self
            .now
            .versions
            .keys()
            .map(|(key, _)| DataOp::PutVersion {
                key: key.clone(),
                timestamp: Timestamp(LAST),
                version: Version::Tombstone,
            })
            .collect();
        ops.iter().for_each(|op| old.apply(op));
        target.data().write(&ops).unwrap();
        let data = self.twin.data();
        let manifest = data.build_snapshot(&*data.snapshot(), id, range, bounds).unwrap();
        target.data().begin_install(&manifest).unwrap();
        for file in 0..manifest.files.len() {
            let bytes = data.read_snapshot(id, file, 0, usize::MAX).unwrap();
            target.data().receive(id, file, 0, &bytes).unwrap();
        }
        target.data().verify_install(id).unwrap();
        target.data().install(id).unwrap();
        let state = target.data().range_state(range, ReadTier::Persisted).unwrap();
        assert_eq!(state, self.now.states.get(&range).cloned());
        drop(data);
        self.now = self.now.installed_over(&old, range, bounds);
        self.views.clear();
        self.twin = target;
        self.flush();
    }
}

fn run(twin: Box<dyn Twin>, steps: &[Step]) {
    let mut run = Run { twin, now: Model::default(), persisted: Model::default(), views: Vec::new() };
    for step in steps {
        run.step(step);
        if let Step::Compact = step {
            run.flush();
        }
        check(&*run.twin.data().snapshot(), &run.now);
    }
    for (view, model) in &run.views {
        check(&**view, model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_data_is_like_the_model(steps in proptest::collection::vec(step(), 1..30)) {
        run(Box::new(MemoryTwin::new()), &steps);
    }
}

#[cfg(feature = "rocksdb")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rocks_data_is_like_the_model(steps in proptest::collection::vec(step(), 1..25)) {
        run(Box::new(crate::rocks_twin::RocksTwin::new()), &steps);
    }
}
