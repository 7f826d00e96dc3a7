//! A store's two instances as the scripts need them: what is synced or flushed survives a crash, the rest does not.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_replica::LoadedParts;
use holdfast_replica::range_state::RangeState;
use holdfast_replica::reader::{Page, ReadFault, Reader, ScanQuery};
use holdfast_types::storage::{DataOp, HardState, LogEntry, LogOp, LogStart, ReplicaRecord, Version};
use holdfast_types::{ClientId, Key, LogIndex, LogSizes, RangeId, Slot, Term, Timestamp, VersionedValue};

#[derive(Clone, Default, Debug)]
pub struct LogImage {
    pub record: Option<ReplicaRecord>,
    pub hard_state: HardState,
    pub start: LogStart,
    pub entries: BTreeMap<LogIndex, LogEntry>,
}

impl LogImage {
    pub fn last(&self) -> LogIndex {
        self.entries.last_key_value().map_or(self.start.index, |(index, _)| *index)
    }

    pub fn terms(&self) -> Vec<(LogIndex, Term)> {
        let mut terms: Vec<(LogIndex, Term)> = Vec::new();
        for entry in self.entries.values() {
            if terms.last().is_none_or(|(_, term)| *term != entry.term) {
                terms.push((entry.index, entry.term));
            }
        }
        terms
    }

    pub fn parts(&self) -> LoadedParts {
        let mut sizes = LogSizes::default();
        self.entries.values().for_each(|entry| sizes.push(entry.index, entry.data.len()));
        LoadedParts { hard_state: self.hard_state, start: self.start, terms: self.terms(), last: self.last(), sizes }
    }

    fn set_start(&mut self, start: LogStart) {
        let keeps =
            start.index == self.start.index || self.entries.get(&start.index).is_some_and(|e| e.term == start.term);
        self.entries = if keeps { self.entries.split_off(&start.index.next()) } else { BTreeMap::new() };
        self.start = start;
    }
}

#[derive(Clone, Default, Debug)]
pub struct Log {
    pub ranges: BTreeMap<RangeId, LogImage>,
}

impl Log {
    pub fn write(&mut self, ops: &[LogOp]) {
        for op in ops {
            match op {
                LogOp::Append { range, entries } => {
                    let log = self.ranges.entry(*range).or_default();
                    assert!(entries[0].index <= log.last().next(), "a hole in the log of {range}");
                    log.entries.split_off(&entries[0].index);
                    log.entries.extend(entries.iter().map(|e| (e.index, e.clone())));
                }
                LogOp::SetHardState { range, state } => {
                    let log = self.ranges.entry(*range).or_default();
                    log.hard_state = *state;
                    assert!(state.commit <= log.last(), "{range}: {state:?} ahead of the log");
                }
                LogOp::SetStart { range, start } => self.ranges.entry(*range).or_default().set_start(*start),
                LogOp::SetReplica { range, record } => {
                    let log = self.ranges.entry(*range).or_default();
                    if let ReplicaRecord::Tombstone { .. } = record {
                        *log = LogImage::default();
                    }
                    log.record = Some(*record);
                }
                LogOp::Forget { range } => {
                    self.ranges.remove(range);
                }
                LogOp::SetStoreRecord { .. } => {}
            }
        }
    }
}

type Versions = BTreeMap<Timestamp, Version>;

#[derive(Clone, Default, Debug)]
pub struct Data {
    pub states: BTreeMap<RangeId, Bytes>,
    versions: BTreeMap<Key, Versions>,
    completions: BTreeMap<(RangeId, ClientId, Slot), Bytes>,
}

impl Data {
    pub fn write(&mut self, ops: &[DataOp]) {
        for op in ops {
            match op {
                DataOp::PutVersion { key, timestamp, version } => {
                    self.versions.entry(key.clone()).or_default().insert(*timestamp, version.clone());
                }
                DataOp::SetRangeState { range, state } => {
                    self.states.insert(*range, state.clone());
                }
                DataOp::PutCompletion { range, client, slot, record } => {
                    self.completions.insert((*range, *client, *slot), record.clone());
                }
                other => unreachable!("not used by scripts: {other:?}"),
            }
        }
    }

    /// All of one range's data, as a snapshot carries it.
    pub fn install(&mut self, from: &Data, range: RangeId) {
        let state = from.states[&range].clone();
        let bounds = RangeState::decode(state.clone()).unwrap().descriptor.bounds;
        self.states.insert(range, state);
        self.versions.retain(|key, _| !bounds.contains(key));
        let inside = from.versions.iter().filter(|(key, _)| bounds.contains(key));
        self.versions.extend(inside.map(|(key, versions)| (key.clone(), versions.clone())));
    }
}

impl Reader for Data {
    fn get(&self, key: &Key, at: Timestamp, _: Timestamp) -> Result<Option<VersionedValue>, ReadFault> {
        Ok(self.newest_version(key, at)?.and_then(|(timestamp, version)| match version {
            Version::Value { value, expires_at } => Some(VersionedValue { value, timestamp, expires_at }),
            Version::Tombstone => None,
        }))
    }

    fn newest_version(&self, key: &Key, at: Timestamp) -> Result<Option<(Timestamp, Version)>, ReadFault> {
        let newest = self.versions.get(key).and_then(|v| v.range(..=at).next_back());
        Ok(newest.map(|(timestamp, version)| (*timestamp, version.clone())))
    }

    fn scan(&self, _: &ScanQuery) -> Result<Page, ReadFault> {
        Err(ReadFault::Damaged("scripts do not scan".into()))
    }

    fn completion(&self, range: RangeId, client: ClientId, slot: Slot) -> Result<Option<Bytes>, ReadFault> {
        Ok(self.completions.get(&(range, client, slot)).cloned())
    }

    fn completions(
        &self,
        _: RangeId,
        _: Option<(ClientId, Slot)>,
        _: usize,
    ) -> Result<Vec<(ClientId, Slot, Bytes)>, ReadFault> {
        Ok(Vec::new())
    }
}
