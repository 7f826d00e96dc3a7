//! The core against scripted stores: each test is one promise of the client.

use std::time::Duration;

use bytes::Bytes;
use holdfast_types::{
    ClientId, Condition, Expected, KeyRange, Located, Moment, Mutation, RangeRequest, Rejected, Request, Response,
    SiteName, StoreId, Term, Timestamp, limits,
};

use super::fixture::{bounds, hint, key, located, row, value};
use super::{Action, AttemptId, CallId, ClientCore, CoreOptions, Effort, Event, KnownStore, RetryPolicy, ScanPager};
use crate::ClientError;

/// An attempt as a store sees it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) store: u64,
    attempt: AttemptId,
    pub(super) request: RangeRequest,
}

pub(super) struct Script {
    core: ClientCore,
    pub(super) retry: RetryPolicy,
    pub(super) effort: Effort,
    now: Moment,
    timer: Option<Moment>,
    pub(super) sent: Vec<Sent>,
    located: usize,
    abandoned: Vec<AttemptId>,
    pub(super) finished: Vec<(u64, Result<Response, ClientError>)>,
    last_call: u64,
    locates: Vec<(super::LocateId, KeyRange, bool)>,
}

impl Script {
    /// A client in site a of three sites, which knows stores and time, but no range.
    fn blank() -> Self {
        let site = |name: &str| SiteName::new(name).unwrap();
        let core = ClientCore::new(CoreOptions { client: ClientId(9), site: Some(site("a")), seed: 1 });
        let mut script = Script {
            core,
            retry: RetryPolicy::default(),
            effort: Effort::default(),
            now: Moment(1_000_000),
            timer: None,
            sent: vec![],
            located: 0,
            abandoned: vec![],
            finished: vec![],
            last_call: 0,
            locates: vec![],
        };
        let stores = [(1, "a"), (2, "b"), (3, "c")];
        let stores = stores.map(|(id, at)| KnownStore { store: StoreId(id), site: site(at) }).into();
        script.event(Event::FleetLearned { stores });
        script.event(Event::Heard { store: StoreId(1), fleet_now: Timestamp::from_ms(1_000_000) });
        script
    }

    /// The same, and it knows range 1 over everything that tests use, led by store 2.
    pub(super) fn new() -> Self {
        let mut script = Self::blank();
        script.event(Event::Notice(located(1, 1, "a", "z", Some(2))));
        script
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut actions = vec![];
        self.core.handle(event, self.now, &mut actions);
        for action in actions {
            match action {
                Action::Send { store, attempt, request, .. } => {
                    self.sent.push(Sent { store: store.0, attempt, request });
                }
                Action::Abandon { attempt, .. } => self.abandoned.push(attempt),
                Action::Locate { locate, bounds, reverse, .. } => self.locates.push((locate, bounds, reverse)),
                Action::Finish { call, outcome, effort } => {
                    self.effort = effort;
                    self.finished.push((call.0, outcome));
                }
                Action::SetTimer { at } => self.timer = Some(at),
            }
        }
    }

    pub(super) fn call(&mut self, request: Request, deadline_ms: u64) -> u64 {
        self.last_call += 1;
        let deadline = self.now.after(Duration::from_millis(deadline_ms));
        self.event(Event::Call { call: CallId(self.last_call), request, deadline, retry: self.retry });
        self.last_call
    }

    /// Virtual time passes; timers fire when they should.
    pub(super) fn sleep(&mut self, ms: u64) {
        let until = self.now.after(Duration::from_millis(ms));
        while let Some(at) = self.timer.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.timer = None;
            self.event(Event::Timer);
        }
        self.now = until;
    }

    pub(super) fn answer(&mut self, sent: &Sent, outcome: Result<Response, Rejected>) {
        let store = StoreId(sent.store);
        self.event(Event::Answer { store, attempt: sent.attempt, outcome, fleet_now: Timestamp::ZERO });
    }

    /// The attempts sent since the last look; there must be one.
    #[track_caller]
    pub(super) fn one(&mut self) -> Sent {
        let mut sent = std::mem::take(&mut self.sent);
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    #[track_caller]
    pub(super) fn outcome(&mut self) -> Result<Response, ClientError> {
        assert_eq!(self.finished.len(), 1, "{:?}", self.finished);
        self.finished.remove(0).1
    }

    fn locate_answered(&mut self, found: Vec<Located>) {
        self.located += 1;
        let locate = self.locates.remove(0).0;
        self.event(Event::Located { locate, found, fleet_now: Timestamp::ZERO });
    }
}

pub(super) fn put(user: &str) -> Request {
    let value = Some(Bytes::from_static(b"v"));
    Request::Write { conditions: vec![], mutations: vec![Mutation { key: key(user), value, expires_at: None }] }
}

fn put_if_absent(user: &str) -> Request {
    let Request::Write { mutations, .. } = put(user) else { unreachable!() };
    Request::Write { conditions: vec![Condition { key: key(user), expected: Expected::Absent }], mutations }
}

pub(super) fn get(keys: &[&str]) -> Request {
    Request::Get { keys: keys.iter().map(|k| key(k)).collect(), at: None }
}

pub(super) fn got(values: &[&str]) -> Response {
    Response::Got { values: values.iter().map(|v| Some(value(v))).collect() }
}

pub(super) fn written() -> Response {
    Response::Written { timestamp: Timestamp(5) }
}

pub(super) fn not_leader(leader: Option<u64>) -> Rejected {
    Rejected::NotLeader { range: holdfast_types::RangeId(1), leader: leader.map(hint) }
}

pub(super) fn busy() -> Rejected {
    Rejected::Busy { retry_after: Duration::from_millis(25) }
}

#[test]
fn a_hint_is_followed_at_once_under_the_same_request_id() {
    let mut script = Script::new();
    script.call(put("k"), 1_000);
    let first = script.one();
    assert_eq!(first.store, 2);
    script.answer(&first, Err(not_leader(Some(3))));
    let second = script.one();
    assert_eq!(second.store, 3);
    let (first, again) = (first.request.write.unwrap(), second.request.write.unwrap());
    assert_eq!((first.id, first.attempt, again.attempt), (again.id, 1, 2));
    assert_eq!(first.last_moment, again.last_moment);
    script.answer(&second, Ok(written()));
    assert_eq!(script.outcome(), Ok(written()));
    script.call(put("k"), 1_000);
    let next = script.one();
    assert_eq!(next.store, 3, "the hint is remembered");
    assert!(next.request.write.unwrap().id.sequence > first.id.sequence);
}

#[test]
fn a_lost_attempt_makes_the_write_ambiguous_at_its_deadline() {
    let mut script = Script::new();
    script.call(put("k"), 1_000);
    let lost = script.one();
    script.event(Event::StreamDown { store: StoreId(lost.store) });
    let second = script.one();
    assert_eq!(second.store, 1, "own site");
    script.answer(&second, Err(Rejected::Unavailable("no quorum".into())));
    script.sleep(999);
    for attempt in std::mem::take(&mut script.sent) {
        script.answer(&attempt, Err(busy()));
    }
    assert!(script.finished.is_empty());
    script.sleep(2);
    assert!(matches!(script.outcome(), Err(ClientError::Ambiguous(_))));
}

#[test]
fn an_attempt_that_a_store_cannot_judge_makes_the_write_ambiguous_at_its_deadline() {
    let mut script = Script::new();
    script.call(put("k"), 300);
    let first = script.one();
    script.answer(&first, Err(Rejected::Ambiguous("passed on in vain".into())));
    while script.finished.is_empty() {
        for sent in std::mem::take(&mut script.sent) {
            script.answer(&sent, Err(busy()));
        }
        script.sleep(5);
    }
    assert!(matches!(script.outcome(), Err(ClientError::Ambiguous(_))));
}

#[test]
fn busy_is_final_only_when_all_attempts_were_refused() {
    let mut script = Script::new();
    script.call(put("k"), 300);
    let mut attempts = 0;
    while script.finished.is_empty() {
        for sent in std::mem::take(&mut script.sent) {
            attempts += 1;
            script.answer(&sent, Err(busy()));
        }
        script.sleep(5);
    }
    assert_eq!(script.outcome(), Err(ClientError::Rejected(busy())));
    assert!((3..20).contains(&attempts), "{attempts}");
}

#[test]
fn a_read_is_never_ambiguous() {
    let mut script = Script::new();
    script.call(get(&["k"]), 200);
    let lost = script.one();
    script.event(Event::StreamDown { store: StoreId(lost.store) });
    script.sleep(201);
    assert!(matches!(script.outcome(), Err(ClientError::DeadlineExceeded { .. })));
}

#[test]
fn waiting_calls_are_sent_again_when_a_new_leader_is_heard_of() {
    let mut script = Script::new();
    script.call(put("k"), 5_000);
    let first = script.one();
    script.answer(&first, Err(not_leader(None)));
    assert!(script.sent.is_empty(), "nobody to ask yet");
    script.sleep(10);
    script.event(Event::Notice(Located { term: Term(2), ..located(1, 1, "a", "z", Some(3)) }));
    assert_eq!(script.one().store, 3);
}

/// The answer of a store that did not know yet comes after the notice of the new leader.
#[test]
fn a_refusal_from_before_the_news_of_a_new_leader_neither_undoes_it_nor_waits() {
    let refusals = [not_leader(None), not_leader(Some(2)), Rejected::Unavailable("its leader is lost".into())];
    for refusal in refusals {
        let mut script = Script::new();
        script.call(put("k"), 10_000);
        script.event(Event::StreamDown { store: StoreId(2) });
        let sent = script.sent.pop().unwrap();
        assert_eq!(sent.store, 1, "the own site");
        script.now = script.now.after(Duration::from_millis(600));
        script.event(Event::Notice(Located { term: Term(9), ..located(1, 1, "a", "z", Some(3)) }));
        script.sent.clear();
        script.answer(&sent, Err(refusal.clone()));
        assert_eq!(script.one().store, 3, "at once, after {refusal}");
        script.call(get(&["k"]), 10_000);
        assert_eq!(script.one().store, 3, "the next call too");
    }
}

#[test]
fn without_notices_a_waiting_call_asks_its_own_site_now_and_then() {
    let mut script = Script::new();
    script.call(get(&["k"]), 2_000);
    let first = script.one();
    script.answer(&first, Err(not_leader(None)));
    let mut stores = vec![];
    for _ in 0..1_900 {
        script.sleep(1);
        for sent in std::mem::take(&mut script.sent) {
            stores.push(sent.store);
            script.answer(&sent, Err(not_leader(None)));
        }
    }
    assert!(stores.contains(&1));
    assert!((4..=12).contains(&stores.len()), "slowly: {stores:?}");
}

#[test]
fn a_silent_store_is_given_up_and_its_late_answer_still_counts() {
    let mut script = Script::new();
    script.call(put("k"), 5_000);
    let first = script.one();
    script.sleep(299);
    assert!(script.sent.is_empty());
    script.sleep(2);
    let second = script.one();
    assert_eq!((first.store, second.store), (2, 1));
    script.answer(&first, Ok(written()));
    assert_eq!(script.outcome(), Ok(written()));
    assert_eq!(script.abandoned, [second.attempt]);
}

#[test]
fn a_living_store_is_given_more_time() {
    let mut script = Script::new();
    script.call(put("k"), 5_000);
    let first = script.one();
    for _ in 0..10 {
        script.sleep(100);
        script.event(Event::Heard { store: StoreId(first.store), fleet_now: Timestamp::ZERO });
    }
    assert!(script.sent.is_empty());
    for _ in 0..3 {
        script.sleep(100);
        script.event(Event::Heard { store: StoreId(first.store), fleet_now: Timestamp::ZERO });
    }
    assert_eq!(script.one().store, 1, "perhaps it was passed on to a store that died");
}

#[test]
fn a_failed_condition_of_the_first_attempt_does_not_count_while_a_later_one_may_write() {
    let mut script = Script::new();
    script.call(put_if_absent("k"), 5_000);
    let first = script.one();
    script.sleep(301);
    let second = script.one();
    script.answer(&first, Ok(Response::ConditionFailed { index: 0, actual: None }));
    assert!(script.finished.is_empty());
    script.answer(&second, Ok(written()));
    assert_eq!(script.outcome(), Ok(written()));
}

#[test]
fn a_cancelled_writes_slot_is_used_again_under_a_higher_sequence() {
    let mut script = Script::new();
    let call = script.call(put("k"), 5_000);
    let cancelled = script.one();
    script.event(Event::Cancel { call: CallId(call) });
    assert_eq!(script.abandoned, [cancelled.attempt]);
    script.call(put("k"), 5_000);
    let next = script.one();
    let (old, new) = (cancelled.request.write.unwrap().id, next.request.write.unwrap().id);
    assert_eq!(old.slot, new.slot);
    assert!(new.sequence > old.sequence);
    script.answer(&cancelled, Ok(written()));
    assert!(script.finished.is_empty(), "a late answer belongs to nobody");
    script.answer(&next, Ok(written()));
    assert_eq!(script.outcome(), Ok(written()));
}

#[test]
fn more_writes_than_slots_wait_for_one() {
    let mut script = Script::new();
    let slots = usize::from(limits::MAX_SLOTS);
    for _ in 0..=slots {
        script.call(put("k"), 5_000);
    }
    let sent = std::mem::take(&mut script.sent);
    assert_eq!(sent.len(), slots);
    script.answer(&sent[7], Ok(written()));
    let last = script.one().request.write.unwrap().id;
    assert_eq!(last.slot, sent[7].request.write.unwrap().id.slot);
}

#[test]
fn calls_are_bounded() {
    let mut script = Script::new();
    for _ in 0..=limits::CLIENT_MAX_CALLS {
        script.call(get(&["k"]), 5_000);
    }
    assert_eq!(script.outcome(), Err(ClientError::TooManyCalls));
}

#[test]
fn a_split_seen_sends_the_call_to_the_right_part() {
    let mut script = Script::new();
    script.call(put("q"), 1_000);
    let first = script.one();
    let known = [located(1, 2, "a", "m", None), located(2, 2, "m", "z", None)].map(|l| l.descriptor);
    script.answer(&first, Err(Rejected::WrongRange { known: known.to_vec() }));
    let second = script.one();
    assert_eq!(second.request.range, Some((known[1].range, known[1].epoch)));
    assert_eq!(second.request.write.unwrap().id, first.request.write.unwrap().id);
}

#[test]
fn a_refuted_range_without_news_is_looked_up() {
    let mut script = Script::new();
    script.call(put("q"), 1_000);
    let first = script.one();
    script.answer(&first, Err(Rejected::WrongRange { known: vec![] }));
    assert!(script.sent.is_empty());
    script.locate_answered(vec![located(2, 2, "m", "z", Some(3))]);
    assert_eq!(script.one().store, 3);
}

#[test]
fn atomic_batches_over_two_ranges_are_the_callers_affair() {
    let mut script = Script::new();
    script.call(put("k"), 1_000);
    let sent = script.one();
    let spans = Rejected::SpansRanges { split_key: key("m") };
    script.answer(&sent, Err(spans.clone()));
    assert_eq!(script.outcome(), Err(ClientError::Rejected(spans)));
}

#[test]
fn gets_over_ranges_are_cut_and_put_together() {
    let mut script = Script::blank();
    for (range, (start, end)) in [(1, ("a", "g")), (2, ("g", "p")), (3, ("p", "z"))] {
        script.event(Event::Notice(located(range, 1, start, end, Some(range))));
    }
    script.call(get(&["q", "a", "h", "b"]), 1_000);
    let sent = std::mem::take(&mut script.sent);
    let keys = |sent: &Sent| match &sent.request.request {
        Request::Get { keys, .. } => keys.iter().map(|k| k.user_key()[0] as char).collect::<String>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        sent.iter().map(|s| (s.store, keys(s))).collect::<Vec<_>>(),
        [(1, "ab".into()), (2, "h".into()), (3, "q".to_owned())]
    );
    script.answer(&sent[2], Ok(got(&["Q"])));
    script.answer(&sent[0], Err(Rejected::SpansRanges { split_key: key("b") }));
    let halves = std::mem::take(&mut script.sent);
    assert!(halves.is_empty(), "what was remembered of the range is wrong: look it up");
    script.answer(&sent[1], Ok(got(&["H"])));
    script.locate_answered(vec![located(1, 2, "a", "b", Some(1)), located(4, 2, "b", "g", Some(2))]);
    let halves = std::mem::take(&mut script.sent);
    assert_eq!(halves.iter().map(|s| (s.store, keys(s))).collect::<Vec<_>>(), [(1, "a".into()), (2, "b".to_owned())]);
    script.answer(&halves[1], Ok(got(&["B"])));
    script.answer(&halves[0], Ok(got(&["A"])));
    assert_eq!(script.outcome(), Ok(got(&["Q", "A", "H", "B"])));
    assert_eq!(script.core.calls_open(), 0);
}

#[test]
fn one_failed_part_fails_the_whole_once() {
    let mut script = Script::blank();
    script.event(Event::Notice(located(1, 1, "a", "m", Some(1))));
    script.event(Event::Notice(located(2, 1, "m", "z", Some(2))));
    script.call(get(&["b", "q"]), 1_000);
    let sent = std::mem::take(&mut script.sent);
    let gone = Rejected::BelowGcThreshold { threshold: Timestamp(9) };
    script.answer(&sent[0], Err(gone.clone()));
    assert_eq!(script.outcome(), Err(ClientError::Rejected(gone)));
    assert_eq!(script.abandoned, [sent[1].attempt]);
    script.answer(&sent[1], Ok(got(&["Q"])));
    assert!(script.finished.is_empty());
}

#[test]
fn a_client_that_knows_nothing_asks_first() {
    let site = SiteName::new("a").unwrap();
    let mut script = Script::blank();
    script.core = ClientCore::new(CoreOptions { client: ClientId(9), site: Some(site.clone()), seed: 1 });
    script.timer = None;
    script.call(put("k"), 5_000);
    script.event(Event::FleetLearned { stores: vec![KnownStore { store: StoreId(1), site }] });
    assert!(script.sent.is_empty(), "a write needs fleet time");
    assert_eq!(script.locates.len(), 1);
    let locate = script.locates[0].0;
    let fleet_now = Timestamp::from_ms(77_000);
    script.event(Event::Located { locate, found: vec![located(1, 1, "a", "z", Some(1))], fleet_now });
    let write = script.one().request.write.unwrap();
    assert_eq!(write.last_moment, Timestamp::from_ms(77_000 + 5_000 + 500));
}

#[test]
fn a_look_up_that_is_not_answered_sends_the_call_to_a_store_that_looks_itself() {
    let mut script = Script::blank();
    script.call(get(&["k"]), 1_000);
    assert_eq!((script.locates.len(), script.sent.len()), (1, 0));
    script.sleep(100);
    let blind = script.one();
    assert_eq!((blind.store, blind.request.range), (1, None));
}

#[test]
fn an_attempt_past_its_last_moment_is_repeated_only_when_no_other_is_lost() {
    let past = || Rejected::PastLastMoment { now: Timestamp::from_ms(9_000_000) };
    let mut script = Script::new();
    script.call(put("k"), 5_000);
    let first = script.one();
    script.event(Event::Heard { store: StoreId(2), fleet_now: Timestamp::from_ms(9_000_000) });
    script.answer(&first, Err(past()));
    let second = script.one();
    assert!(second.request.write.unwrap().last_moment > Timestamp::from_ms(9_000_000));
    script.event(Event::StreamDown { store: StoreId(second.store) });
    let third = script.one();
    script.answer(&third, Err(past()));
    assert!(matches!(script.outcome(), Err(ClientError::Ambiguous(_))));
}

#[test]
fn a_client_that_reaches_one_store_alone_has_everything_passed_on_by_that_one() {
    let mut script = Script::new();
    script.event(Event::StreamUp { store: StoreId(1) });
    for unreached in [2, 3] {
        script.event(Event::StreamDown { store: StoreId(unreached) });
    }
    script.call(put("k"), 5_000);
    let first = script.one();
    assert_eq!(first.store, 1, "the leader is out of reach");
    script.answer(&first, Err(Rejected::Unavailable("nobody leads".into())));
    script.sleep(100);
    let second = script.one();
    assert_eq!(second.store, 1, "there is no other to ask");
    script.answer(&second, Err(not_leader(None)));
    script.sleep(200);
    let third = script.one();
    assert_eq!(third.store, 1);
    script.answer(&third, Ok(written()));
    assert_eq!(script.outcome(), Ok(written()));
    script.event(Event::Notice(Located { term: Term(2), ..located(1, 1, "a", "z", Some(2)) }));
    script.call(get(&["k"]), 1_000);
    assert_eq!(script.one().store, 1);
    script.event(Event::StreamUp { store: StoreId(2) });
    script.call(get(&["k"]), 1_000);
    assert_eq!(script.one().store, 2, "the leader, once it is reached");
}

#[test]
fn wrong_requests_are_refused_without_a_round_trip() {
    let mut script = Script::new();
    script.call(get(&[]), 1_000);
    assert!(matches!(script.outcome(), Err(ClientError::Rejected(Rejected::Invalid(_)))));
    assert!(script.sent.is_empty());
}

#[test]
fn a_scan_asks_each_range_in_turn_in_both_directions() {
    let ranges = [("a", "g"), ("g", "p"), ("p", "z")];
    for reverse in [false, true] {
        let mut script = Script::blank();
        for (id, (start, end)) in (1..).zip(ranges) {
            script.event(Event::Notice(located(id, 1, start, end, Some(id))));
        }
        let mut pager = ScanPager::new(bounds("b", Some("y")), reverse, None, None);
        let mut asked = vec![];
        while let Some(request) = pager.next_request() {
            script.call(request, 1_000);
            let sent = script.one();
            asked.push(sent.request.range.unwrap().0.0);
            let (start, end) = ranges[usize::try_from(sent.store - 1).unwrap()];
            let resume = match reverse {
                false => Some(key(end)).filter(|end| *end < key("y")),
                true => Some(key(start)).filter(|start| *start > key("b")),
            };
            script.answer(
                &sent,
                Ok(Response::Scanned { rows: vec![row(start)], counted: 0, resume, at: Timestamp(1), within: None }),
            );
            let answer = script.outcome().unwrap();
            assert_eq!(pager.take(answer).unwrap().len(), 1);
        }
        assert_eq!(asked, if reverse { [3, 2, 1] } else { [1, 2, 3] });
    }
}

#[test]
fn a_reverse_scan_of_unknown_ranges_is_looked_up_from_its_end() {
    let mut script = Script::blank();
    let request = ScanPager::new(bounds("b", Some("y")), true, None, None).next_request().unwrap();
    script.call(request, 1_000);
    assert_eq!((script.locates[0].1.end.clone(), script.locates[0].2), (Some(key("y")), true));
    script.locate_answered(vec![located(1, 1, "a", "z", Some(3))]);
    assert_eq!(script.one().store, 3);
}

#[test]
fn a_reverse_scan_that_begins_where_we_may_not_read_is_refused_as_a_forward_one_is() {
    let mut script = Script::blank();
    let scan = |reverse| ScanPager::new(bounds("b", Some("y")), reverse, None, None).next_request().unwrap();
    script.call(scan(true), 1_000);
    let locate = script.locates[0].0;
    script.event(Event::Hidden { locate, why: "client x may not read there".into() });
    let refused = script.outcome();
    assert!(
        matches!(&refused, Err(ClientError::Rejected(Rejected::Forbidden(why))) if why == "client x may not read there"),
        "{refused:?}"
    );
    script.locate_answered(vec![located(1, 1, "a", "c", Some(3))]);
    assert!(script.sent.is_empty(), "nothing is left of it");
    // Whoever begins at a key asks all the same, and hears it from who refuses him.
    let mut script = Script::blank();
    script.call(scan(false), 1_000);
    let locate = script.locates[0].0;
    script.event(Event::Hidden { locate, why: "hidden".into() });
    assert!(script.finished.is_empty(), "{:?}", script.finished);
    script.locate_answered(vec![]);
    assert_eq!(script.one().request.range, None);
}

#[test]
fn fleet_time_never_goes_back_and_writes_go_on_in_another_session() {
    let mut script = Script::new();
    let hear = |script: &mut Script, store, ms| {
        script.event(Event::Heard { store: StoreId(store), fleet_now: Timestamp::from_ms(ms) });
    };
    let write = |script: &mut Script| {
        script.call(put("k"), 1_000);
        let sent = script.one();
        script.answer(&sent, Ok(written()));
        sent.request.write.unwrap()
    };
    let first = write(&mut script);
    hear(&mut script, 3, 1_600_000);
    let ahead = write(&mut script);
    assert_eq!(ahead.id.client, first.id.client);
    let told = script.core.fleet_now(script.now);
    hear(&mut script, 1, 1_000_000);
    assert_eq!(script.core.fleet_now(script.now), told, "the clock of store 3 was wrong, and what was told stands");
    let after = write(&mut script);
    assert_eq!(after.last_moment, first.last_moment, "what stores take");
    assert_ne!(after.id.client, first.id.client, "no record of the other session was kept for it");
    script.sleep(5_000);
    assert!(script.core.fleet_now(script.now) >= told);
    assert_eq!(write(&mut script).id.client, after.id.client);
}
