//! The core against stores that answer anything, late, twice or never.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{
    ClientId, Key, Located, Moment, Mutation, RangeId, Rejected, Request, RequestId, Response, ScanMode, SiteName,
    StoreId, Term, Timestamp, VersionedValue,
};
use proptest::prelude::*;

use super::fixture::{bounds, hint, key, located};
use super::{Action, AttemptId, CallId, ClientCore, CoreOptions, Event, KnownStore, LocateId, RetryPolicy};
use crate::ClientError;

/// One thing that happens; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Happening {
    Call { kind: u8, at: u8, deadline_ms: u64 },
    Cancel(usize),
    Answer { which: usize, how: u8, keeps: bool },
    Stream { store: u64, up: bool },
    Notice { range: u64, leader: u64, term: u64, bounds: u64 },
    Located(u64),
    Time(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => (0..6_u8, 0..26_u8, 1..3_000_u64)
            .prop_map(|(kind, at, deadline_ms)| Happening::Call { kind, at, deadline_ms }),
        1 => any::<usize>().prop_map(Happening::Cancel),
        6 => (any::<usize>(), 0..13_u8, any::<bool>())
            .prop_map(|(which, how, keeps)| Happening::Answer { which, how, keeps }),
        1 => (1..4_u64, any::<bool>()).prop_map(|(store, up)| Happening::Stream { store, up }),
        1 => (1..3_u64, 1..4_u64, 0..4_u64, 0..4_u64)
            .prop_map(|(range, leader, term, bounds)| Happening::Notice { range, leader, term, bounds }),
        2 => (0..4_u64).prop_map(Happening::Located),
        4 => (1..400_u64).prop_map(Happening::Time),
    ]
}

struct World {
    core: ClientCore,
    now: Moment,
    timer: Option<Moment>,
    /// Attempts that may still be answered, with the number of keys asked for.
    open: Vec<(StoreId, AttemptId, Request)>,
    locates: Vec<LocateId>,
    /// Calls that are not finished, with their deadlines.
    calls: BTreeMap<CallId, Moment>,
    /// The name of each write.
    names: BTreeMap<CallId, RequestId>,
    /// Writes with an attempt that was not refused.
    uncertain: BTreeMap<CallId, Vec<AttemptId>>,
    last: u64,
}

impl World {
    fn new() -> Self {
        let options = CoreOptions { client: ClientId(9), site: SiteName::new("a").ok(), seed: 1 };
        let core = ClientCore::new(options);
        let mut world = World {
            core,
            now: Moment(1),
            timer: None,
            open: vec![],
            locates: vec![],
            calls: BTreeMap::new(),
            names: BTreeMap::new(),
            uncertain: BTreeMap::new(),
            last: 0,
        };
        let stores = [(1, "a"), (2, "b"), (3, "c")]
            .map(|(id, at)| KnownStore { store: StoreId(id), site: SiteName::new(at).unwrap() });
        world.event(Event::FleetLearned { stores: stores.into() });
        world
    }

    fn event(&mut self, event: Event) {
        let mut actions = vec![];
        self.core.handle(event, self.now, &mut actions);
        for action in actions {
            match action {
                Action::Send { store, attempt, request, .. } => {
                    if let Some(write) = request.write {
                        let name = *self.names.entry(attempt.call()).or_insert(write.id);
                        assert_eq!(name, write.id, "all attempts bear one name");
                        self.uncertain.entry(attempt.call()).or_default().push(attempt);
                    }
                    self.open.push((store, attempt, request.request));
                }
                Action::Finish { call, outcome, .. } => {
                    let deadline = self.calls.remove(&call).expect("finished once");
                    if outcome != Err(ClientError::TooManyCalls) && outcome.is_err() && !is_answer(&outcome) {
                        assert!(self.now >= deadline, "{outcome:?} before its deadline");
                    }
                    if let Err(ClientError::Rejected(_) | ClientError::DeadlineExceeded { .. }) = outcome {
                        let open = self.uncertain.get(&call).is_some_and(|open| !open.is_empty());
                        assert!(!open, "{outcome:?} although an attempt may be applied");
                    }
                }
                Action::Locate { locate, .. } => self.locates.push(locate),
                Action::SetTimer { at } => self.timer = Some(at),
                Action::Abandon { .. } => {}
            }
        }
        assert_eq!(self.core.check(), Ok(()));
    }

    fn sleep(&mut self, ms: u64) {
        let until = self.now.after(Duration::from_millis(ms));
        while let Some(at) = self.timer.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.timer = None;
            self.event(Event::Timer);
            let late = self.calls.values().find(|deadline| **deadline < self.now);
            assert_eq!(late, None, "no call outlives its deadline");
        }
        self.now = until;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Call { kind, at, deadline_ms } => {
                self.last += 1;
                let deadline = self.now.after(Duration::from_millis(deadline_ms));
                self.calls.insert(CallId(self.last), deadline);
                self.event(Event::Call {
                    call: CallId(self.last),
                    request: request(kind, at),
                    deadline,
                    retry: RetryPolicy::default(),
                });
            }
            Happening::Cancel(which) => {
                if let Some(call) = pick(&self.calls.keys().copied().collect::<Vec<_>>(), which) {
                    self.calls.remove(&call);
                    self.event(Event::Cancel { call });
                }
            }
            Happening::Answer { which, how, keeps } => {
                let Some((store, attempt, request)) = pick(&self.open, which) else { return };
                if !keeps {
                    self.open.retain(|(_, other, _)| *other != attempt);
                }
                let outcome = answer(&request, how);
                if outcome.as_ref().is_err_and(|rejected| !rejected.is_ambiguous())
                    && let Some(uncertain) = self.uncertain.get_mut(&attempt.call())
                {
                    uncertain.retain(|other| *other != attempt);
                }
                let fleet_now = Timestamp::from_ms(1_000_000 + self.now.0 / 1_000);
                self.event(Event::Answer { store, attempt, outcome, fleet_now });
            }
            Happening::Stream { store, up: true } => self.event(Event::StreamUp { store: StoreId(store) }),
            Happening::Stream { store, up: false } => {
                self.open.retain(|(on, _, _)| on.0 != store);
                self.event(Event::StreamDown { store: StoreId(store) });
            }
            Happening::Notice { range, leader, term, bounds } => {
                self.event(Event::Notice(news(range, leader, term, bounds)))
            }
            Happening::Located(how) => {
                let Some(locate) = self.locates.pop() else { return };
                let fleet_now = Timestamp::from_ms(1_000_000 + self.now.0 / 1_000);
                match how {
                    0 => self.event(Event::LocateFailed { locate }),
                    how => {
                        let found = vec![news(1, how, 1, 1), news(2, how, 1, 1)];
                        self.event(Event::Located { locate, found, fleet_now });
                    }
                }
            }
            Happening::Time(ms) => self.sleep(ms),
        }
    }
}

/// Errors that are answers and so may come before the deadline.
fn is_answer(outcome: &Result<Response, ClientError>) -> bool {
    match outcome {
        Err(ClientError::Rejected(rejected)) => !rejected.may_retry(),
        Err(ClientError::Ambiguous(why)) => !why.contains("deadline"),
        Err(ClientError::Protocol(_)) => true,
        _ => false,
    }
}

fn pick<T: Clone>(from: &[T], which: usize) -> Option<T> {
    from.get(which % from.len().max(1)).cloned()
}

fn letter(at: u8) -> Key {
    key(&char::from(b'a' + at).to_string())
}

fn request(kind: u8, at: u8) -> Request {
    match kind {
        0 => Request::Get { keys: vec![letter(at)], at: None },
        1 => Request::Get { keys: (0..26).step_by(3).map(letter).collect(), at: None },
        2 => {
            let bounds = bounds("a", Some("z"));
            Request::Scan {
                bounds,
                reverse: at.is_multiple_of(2),
                max_rows: 9,
                max_bytes: 9,
                at: None,
                mode: ScanMode::Rows,
            }
        }
        _ => {
            let mutation = Mutation { key: letter(at), value: Some(Bytes::new()), expires_at: None };
            Request::Write { conditions: vec![], mutations: vec![mutation] }
        }
    }
}

/// Two ranges that meet at m, or one over all when its bounds changed less often.
fn news(range: u64, leader: u64, term: u64, bounds: u64) -> Located {
    let (start, end) = match (range, bounds) {
        (1, 0) => ("a", "z"),
        (1, _) => ("a", "m"),
        _ => ("m", "z"),
    };
    Located { term: Term(term), ..located(range, bounds, start, end, Some(leader)) }
}

fn answer(request: &Request, how: u8) -> Result<Response, Rejected> {
    Err(match how {
        0 => Rejected::NotLeader { range: RangeId(1), leader: None },
        1 => Rejected::NotLeader { range: RangeId(1), leader: Some(hint(3)) },
        2 => Rejected::WrongRange { known: vec![news(1, 1, 1, 2).descriptor, news(2, 1, 1, 2).descriptor] },
        3 => Rejected::WrongRange { known: vec![] },
        4 => Rejected::SpansRanges { split_key: key("m") },
        5 => Rejected::Busy { retry_after: Duration::ZERO },
        6 => Rejected::PastLastMoment { now: Timestamp::from_ms(1_000_000) },
        7 => Rejected::Ambiguous("lost".into()),
        8 => Rejected::Unavailable("no quorum".into()),
        9 => Rejected::DeadlineExceeded,
        _ => return Ok(success(request)),
    })
}

fn success(request: &Request) -> Response {
    match request {
        Request::Get { keys, .. } => {
            let value = VersionedValue { value: Bytes::new(), timestamp: Timestamp(1), expires_at: None };
            Response::Got { values: vec![Some(value); keys.len()] }
        }
        Request::Scan { .. } => {
            Response::Scanned { rows: vec![], counted: 0, resume: None, at: Timestamp(1), within: None }
        }
        _ => Response::Written { timestamp: Timestamp(1) },
    }
}

proptest! {
    #[test]
    fn whatever_stores_do_every_call_ends_once_and_in_time(happenings in prop::collection::vec(happening(), 1..60)) {
        let mut world = World::new();
        world.event(Event::Heard { store: StoreId(1), fleet_now: Timestamp::from_ms(1_000_000) });
        happenings.into_iter().for_each(|happening| world.happen(happening));
        // From here on every store is busy, so only what was lost before is uncertain.
        while !world.calls.is_empty() && world.now < Moment::ZERO.after(Duration::from_secs(100)) {
            while !world.open.is_empty() {
                world.happen(Happening::Answer { which: 0, how: 5, keeps: false });
            }
            world.sleep(10);
        }
        prop_assert!(world.calls.is_empty(), "{:?} never ended", world.calls);
        prop_assert_eq!(world.core.calls_open(), 0);
    }
}
