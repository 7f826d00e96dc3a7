//! What a client's application asks, and what it writes down about the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdfast_client::ClientError;
use holdfast_client::core::{Misfit, ScanPager};
use holdfast_types::{
    Condition, Expected, Key, KeyRange, Mutation, Request, Response, Row, Timestamp, VersionedValue, limits,
};

use crate::checkers::history::{Answered, Input};
use crate::hub::Hub;
use crate::linearizability::OperationId;
use crate::linearizability::versions::{Expectation, VersionedInput, VersionedOutput};
use crate::rng::Rng;

/// A call that is open, and where it is written down.
#[derive(Debug)]
pub(super) struct Open {
    /// One operation for each key.
    operations: Vec<(Key, OperationId)>,
    kind: Kind,
    /// It must succeed.
    probe: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Read,
    Write,
    Scan(Box<Reading>),
}

/// A scan under way.
#[derive(Clone, Debug)]
struct Reading {
    pager: ScanPager,
    reverse: bool,
    /// What the range of the last page held of the scan when that was begun, and the timestamp that all of it must be read at.
    part: Option<(KeyRange, Timestamp)>,
}

impl Reading {
    /// Takes a page: the bounds that it covers, and the timestamp at which they must have been read.
    fn take(&mut self, response: Response) -> Result<(KeyRange, Vec<Row>, Timestamp), Misfit> {
        let asked = self.pager.rest().cloned().ok_or_else(|| Misfit("nothing was asked for".into()))?;
        let Response::Scanned { at, within, .. } = &response else { return Err(Misfit("a page was expected".into())) };
        let begins_in = |part: &KeyRange| match (self.reverse, &asked.end) {
            (false, _) => part.contains(&asked.start),
            (true, Some(end)) => part.start < *end && part.end.as_ref().is_none_or(|mine| end <= mine),
            (true, None) => part.end.is_none(),
        };
        if !self.part.as_ref().is_some_and(|(part, _)| begins_in(part)) {
            self.part = within.clone().map(|within| (*within, *at));
        }
        let at = self.part.as_ref().map_or(*at, |(_, at)| *at);
        let rows = self.pager.take(response)?;
        let read = match (self.pager.rest(), self.reverse) {
            (None, _) => asked,
            (Some(rest), false) => KeyRange { start: asked.start, end: Some(rest.start.clone()) },
            (Some(rest), true) => KeyRange { start: rest.end.clone().unwrap_or(Key::MIN), end: asked.end },
        };
        Ok((read, rows, at))
    }
}

/// What a client's application does.
pub(super) struct Workload {
    client: u64,
    keys: Vec<Key>,
    think: Duration,
    rng: Rng,
    written: u64,
    /// What it saw last of each key: what a compare-and-set is likely to find.
    seen: BTreeMap<Key, Option<(Timestamp, String)>>,
}

fn text(value: &VersionedValue) -> String {
    String::from_utf8_lossy(&value.value).into_owned()
}

fn saw(value: Option<&VersionedValue>) -> Answered {
    VersionedOutput::Saw(value.map(|value| (value.timestamp, text(value))))
}

impl Open {
    /// Nobody waits any more: reads are as if they had not been, writes may have happened.
    pub(super) fn give_up(self, hub: &mut Hub) {
        if !matches!(self.kind, Kind::Write) {
            self.take_back(hub);
        } else {
            hub.counts.ambiguous += 1;
        }
    }

    fn take_back(self, hub: &mut Hub) {
        for (_, operation) in self.operations {
            hub.checks.history.take_back(operation);
        }
    }
}

impl Workload {
    pub(super) fn new(client: usize, keys: Vec<Key>, think: Duration, rng: Rng) -> Self {
        Self { client: client as u64, keys, think, rng, written: 0, seen: BTreeMap::new() }
    }

    pub(super) fn think(&mut self) -> Duration {
        self.rng.around(self.think)
    }

    /// The next request: what, its record, its time, and after what time the application gives it up, if ever.
    pub(super) fn next(&mut self, hub: &mut Hub) -> (Request, Open, Duration, Option<Duration>) {
        let (request, open) = match self.rng.below(100) {
            0..25 => self.get(1, hub),
            25..30 => {
                let count = 2 + self.rng.index(4);
                self.get(count, hub)
            }
            30..55 => self.write(1, hub),
            55..63 => {
                let count = 2 + self.rng.index(2);
                self.write(count, hub)
            }
            63..70 => self.delete(hub),
            70..90 => self.compare_and_set(hub),
            _ => self.scan(hub),
        };
        let within = match self.rng.below(10) {
            0 => Duration::from_millis(self.rng.between(50, 800)),
            1 | 2 => Duration::from_secs(2),
            _ => limits::DEFAULT_DEADLINE,
        };
        let patience = self.rng.chance(20_000).then(|| Duration::from_millis(self.rng.between(0, 500)));
        (request, open, within, patience)
    }

    /// A put and a get of one key, which must succeed.
    pub(super) fn probe(&mut self, key: &Key, hub: &mut Hub) -> [(Request, Open); 2] {
        let (get, mut read) = self.get_of(vec![key.clone()], hub);
        let (put, mut written) = self.write_of(vec![key.clone()], hub);
        (read.probe, written.probe) = (true, true);
        [(put, written), (get, read)]
    }

    fn keys(&mut self, count: usize) -> Vec<Key> {
        let first = self.rng.index(self.keys.len());
        self.keys.iter().cycle().skip(first).take(count.min(self.keys.len())).cloned().collect()
    }

    fn value(&mut self) -> String {
        self.written += 1;
        format!("c{}.{}", self.client, self.written)
    }

    fn ask(&mut self, key: &Key, input: Input, hub: &mut Hub) -> (Key, OperationId) {
        (key.clone(), hub.checks.history.invoke(self.client, key, input, hub.now))
    }

    fn get(&mut self, count: usize, hub: &mut Hub) -> (Request, Open) {
        let keys = self.keys(count);
        self.get_of(keys, hub)
    }

    fn get_of(&mut self, keys: Vec<Key>, hub: &mut Hub) -> (Request, Open) {
        let operations = keys.iter().map(|key| self.ask(key, VersionedInput::Get, hub)).collect();
        (Request::Get { keys, at: None }, Open { operations, kind: Kind::Read, probe: false })
    }

    fn write(&mut self, count: usize, hub: &mut Hub) -> (Request, Open) {
        let keys = self.keys(count);
        self.write_of(keys, hub)
    }

    fn write_of(&mut self, keys: Vec<Key>, hub: &mut Hub) -> (Request, Open) {
        let value = self.value();
        let put = |key: &Key| Mutation {
            key: key.clone(),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            expires_at: None,
        };
        let mutations = keys.iter().map(put).collect();
        let input = VersionedInput::Write(Some(value.clone()));
        let operations = keys.iter().map(|key| self.ask(key, input.clone(), hub)).collect();
        if keys.len() > 1 {
            hub.checks.history.batch(value, keys);
        }
        (Request::Write { conditions: Vec::new(), mutations }, Open { operations, kind: Kind::Write, probe: false })
    }

    fn delete(&mut self, hub: &mut Hub) -> (Request, Open) {
        let key = self.keys(1).remove(0);
        let operations = vec![self.ask(&key, VersionedInput::Write(None), hub)];
        let mutations = vec![Mutation { key, value: None, expires_at: None }];
        (Request::Write { conditions: Vec::new(), mutations }, Open { operations, kind: Kind::Write, probe: false })
    }

    fn compare_and_set(&mut self, hub: &mut Hub) -> (Request, Open) {
        let key = self.keys(1).remove(0);
        let seen = self.seen.get(&key).cloned().flatten();
        let (expected, expectation) = match seen {
            Some((timestamp, _)) if self.rng.below(3) == 0 => {
                (Expected::Version(timestamp), Expectation::Version(timestamp))
            }
            Some((_, value)) => (Expected::Value(Bytes::from(value.clone())), Expectation::Value(value)),
            None => (Expected::Absent, Expectation::Absent),
        };
        let new = (self.rng.below(8) != 0).then(|| self.value());
        let input = VersionedInput::CompareAndSet { expected: expectation, new: new.clone() };
        let operations = vec![self.ask(&key, input, hub)];
        let conditions = vec![Condition { key: key.clone(), expected }];
        let mutations = vec![Mutation { key, value: new.map(Bytes::from), expires_at: None }];
        (Request::Write { conditions, mutations }, Open { operations, kind: Kind::Write, probe: false })
    }

    fn scan(&mut self, hub: &mut Hub) -> (Request, Open) {
        let mut ends = [self.rng.index(self.keys.len()), self.rng.index(self.keys.len())];
        ends.sort_unstable();
        let bounds = KeyRange { start: self.keys[ends[0]].clone(), end: Some(self.keys[ends[1]].next()) };
        let reverse = self.rng.coin();
        let covered: Vec<Key> = self.keys.iter().filter(|key| bounds.contains(key)).cloned().collect();
        let operations = covered.iter().map(|key| self.ask(key, VersionedInput::Get, hub)).collect();
        let max_rows = u32::try_from(self.rng.between(1, 6)).expect("a small number");
        let pager = ScanPager::new(bounds, reverse, None, None).with_pages(max_rows, limits::MAX_SCAN_BYTES);
        let request = pager.next_request().expect("a key lies within");
        let kind = Kind::Scan(Box::new(Reading { pager, reverse, part: None }));
        (request, Open { operations, kind, probe: false })
    }

    /// A call has ended. Gives the next page of a scan that goes on.
    pub(super) fn finish(
        &mut self,
        open: Open,
        outcome: Result<Response, ClientError>,
        hub: &mut Hub,
    ) -> Option<(Request, Open)> {
        match outcome {
            Ok(response) => {
                hub.counts.operations += 1;
                return self.answered(open, response, hub);
            }
            Err(error) => {
                if open.probe {
                    let keys: Vec<_> = open.operations.iter().map(|(key, _)| key).collect();
                    hub.violate(format!("{keys:?} is not served though nothing is wrong any more: {error}"));
                }
                if error.is_ambiguous() && matches!(open.kind, Kind::Write) {
                    hub.counts.ambiguous += 1;
                } else {
                    open.take_back(hub);
                }
            }
        }
        None
    }

    fn answered(&mut self, open: Open, response: Response, hub: &mut Hub) -> Option<(Request, Open)> {
        let misfit = format!("{:?} was answered {response:?}", open.kind);
        match (&open.kind, response) {
            (Kind::Scan(reading), response) => return self.page(reading.clone(), open.operations, response, hub),
            (Kind::Read, Response::Got { values }) if values.len() == open.operations.len() => {
                for ((key, operation), value) in open.operations.into_iter().zip(&values) {
                    self.complete(key, operation, saw(value.as_ref()), hub);
                }
            }
            (Kind::Write, Response::Written { timestamp }) => {
                for (key, operation) in open.operations {
                    self.complete(key, operation, VersionedOutput::Wrote(timestamp), hub);
                }
            }
            (Kind::Write, Response::ConditionFailed { actual, .. }) => {
                for (key, operation) in open.operations {
                    self.complete(key, operation, saw(actual.as_ref()), hub);
                }
            }
            _ => hub.violate(misfit),
        }
        None
    }

    /// A page of a scan: what it covers is answered, the rest is asked for with the next page.
    fn page(
        &mut self,
        mut reading: Box<Reading>,
        operations: Vec<(Key, OperationId)>,
        response: Response,
        hub: &mut Hub,
    ) -> Option<(Request, Open)> {
        let (read, rows, at) = match reading.take(response) {
            Ok(taken) => taken,
            Err(misfit) => {
                hub.violate(misfit.to_string());
                return None;
            }
        };
        let (covered, left): (Vec<_>, Vec<_>) = operations.into_iter().partition(|(key, _)| read.contains(key));
        for (key, operation) in covered {
            let row = rows.iter().find(|row| row.key == key).map(|row| &row.value);
            hub.checks.history.seen_as_of(at, &key, row.map(|row| row.timestamp));
            self.complete(key, operation, saw(row), hub);
        }
        let Some(request) = reading.pager.next_request() else {
            Open { operations: left, kind: Kind::Read, probe: false }.take_back(hub);
            return None;
        };
        Some((request, Open { operations: left, kind: Kind::Scan(reading), probe: false }))
    }

    fn complete(&mut self, key: Key, operation: OperationId, answer: Answered, hub: &mut Hub) {
        match &answer {
            VersionedOutput::Saw(found) => {
                self.seen.insert(key, found.clone());
            }
            VersionedOutput::Wrote(_) => {
                self.seen.remove(&key);
            }
        }
        hub.checks.history.complete(operation, answer, hub.now);
    }
}
