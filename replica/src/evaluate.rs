//! Evaluation: reads what a request depends on, on a snapshot, and says what it comes to. Runs off the worker when it may
//! read from disk; everything it needs is in it.

use holdfast_types::validate::check_got;
use holdfast_types::{
    Condition, Expected, Key, KeyRange, Mutation, RangeId, Rejected, Request, Response, ScanMode, Timestamp,
    VersionedValue, limits,
};

use crate::command::{Completion, WriteOutcome};
use crate::reader::{ReadFault, Reader, ScanQuery};
use crate::slots::{CompletionRecord, Verdict, judge};

/// Names an evaluation; never used twice by one replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EvaluationToken(pub u64);

/// A write to evaluate on a snapshot taken after it was handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evaluation {
    /// Comes back.
    pub token: EvaluationToken,
    /// The range, for its completion records.
    pub range: RangeId,
    /// Its bounds: a delete range concerns the part within.
    pub bounds: KeyRange,
    /// Fleet time, for expiry.
    pub now: Timestamp,
    /// The range's time, as applied: what had expired by then has expired for everybody.
    pub settled: Timestamp,
    /// The slot to look up first, when the leader does not know its record.
    pub lookup: Option<Completion>,
    /// What to answer when the record does not decide: the request can only be the duplicate of one that was written.
    pub refused: Option<Rejected>,
    /// What is asked: a write.
    pub request: Request,
}

/// What an evaluation found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evaluated {
    /// Of which evaluation.
    pub token: EvaluationToken,
    /// What was found; a fault quarantines the replica.
    pub found: Result<Found, ReadFault>,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The slot's record, when it was looked up.
    pub record: Option<Option<CompletionRecord>>,
    /// What the request comes to.
    pub what: FoundWhat,
}

/// What the request comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FoundWhat {
    /// The record decides.
    Known(Result<Response, Rejected>),
    /// It was evaluated.
    Draft(Draft),
}

/// An evaluated write that has no timestamp yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// What to write.
    pub mutations: Vec<Mutation>,
    /// What to answer.
    pub outcome: WriteOutcome,
    /// The time decided: a value counts as expired from then on. Nobody may hear of it before an entry with a later timestamp is
    /// applied, even where nothing is written.
    pub decided_at: Option<Timestamp>,
}

impl Draft {
    /// What a write without conditions comes to.
    #[must_use]
    pub fn blind(mutations: Vec<Mutation>) -> Self {
        Self { mutations, outcome: WriteOutcome::Written, decided_at: None }
    }

    /// Roughly what it takes of an entry.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        const OVERHEAD_BYTES: usize = 128;
        let outcome = match &self.outcome {
            WriteOutcome::Written => 0,
            WriteOutcome::ConditionFailed { actual, .. } => actual.as_ref().map_or(0, |actual| actual.value.len()),
            WriteOutcome::RangeDeleted { resume, .. } => resume.as_ref().map_or(0, |resume| resume.raw().len()),
        };
        let bytes = |m: &Mutation| m.key.raw().len() + m.value.as_ref().map_or(0, bytes::Bytes::len) + 16;
        OVERHEAD_BYTES + outcome + self.mutations.iter().map(bytes).sum::<usize>()
    }
}

/// Evaluates on `reader`, a snapshot taken after `evaluation` was handed out.
#[must_use]
pub fn run(evaluation: Evaluation, reader: &dyn Reader) -> Evaluated {
    let token = evaluation.token;
    Evaluated { token, found: find(evaluation, reader) }
}

fn find(evaluation: Evaluation, reader: &dyn Reader) -> Result<Found, ReadFault> {
    let mut record = None;
    if let Some(completion) = &evaluation.lookup {
        let found = look_up(evaluation.range, completion, reader)?;
        if let Verdict::Known(outcome) = judge(found.as_ref(), completion) {
            return Ok(Found { record: Some(found), what: FoundWhat::Known(outcome) });
        }
        record = Some(found);
    }
    let Evaluation { bounds, now, settled, request, refused, .. } = evaluation;
    if let Some(rejected) = refused {
        return Ok(Found { record, what: FoundWhat::Known(Err(rejected)) });
    }
    let time = Time { settled, now };
    let draft = match request {
        Request::Write { conditions, mutations } => check_conditions(&conditions, mutations, time, reader)?,
        Request::DeleteRange { bounds: asked, max_keys } => delete_page(&asked, &bounds, max_keys, time, reader)?,
        Request::Get { .. } | Request::Scan { .. } => {
            let outcome = Err(Rejected::invalid("a read has nothing to evaluate: ask for it as a read"));
            return Ok(Found { record, what: FoundWhat::Known(outcome) });
        }
    };
    Ok(Found { record, what: FoundWhat::Draft(draft) })
}

fn look_up(
    range: RangeId,
    completion: &Completion,
    reader: &dyn Reader,
) -> Result<Option<CompletionRecord>, ReadFault> {
    let stored = reader.completion(range, completion.client, completion.slot)?;
    stored.map(CompletionRecord::decode).transpose().map_err(|bad| {
        let Completion { client, slot, .. } = completion;
        ReadFault::unreadable(format_args!("completion record of {client} {slot} in {range}"), bad)
    })
}

/// The times by which a write is evaluated.
#[derive(Clone, Copy)]
struct Time {
    settled: Timestamp,
    now: Timestamp,
}

impl Time {
    /// True for a value that lives at the range's time and has expired by now.
    fn ends(self, value: &VersionedValue) -> bool {
        value.expires_at.is_some_and(|end| end <= self.now)
    }

    fn decided(self, by_time: bool) -> Option<Timestamp> {
        by_time.then_some(self.now)
    }
}

fn check_conditions(
    conditions: &[Condition],
    mutations: Vec<Mutation>,
    time: Time,
    reader: &dyn Reader,
) -> Result<Draft, ReadFault> {
    let mut by_time = false;
    for (index, condition) in conditions.iter().enumerate() {
        let living = reader.get(&condition.key, Timestamp::MAX, time.settled)?;
        by_time |= living.as_ref().is_some_and(|value| time.ends(value));
        let actual = living.filter(|value| !time.ends(value));
        if !holds(&condition.expected, actual.as_ref()) {
            let index = u32::try_from(index).expect("a batch has few conditions");
            let outcome = WriteOutcome::ConditionFailed { index, actual };
            return Ok(Draft { mutations: Vec::new(), outcome, decided_at: time.decided(by_time) });
        }
    }
    Ok(Draft { mutations, outcome: WriteOutcome::Written, decided_at: time.decided(by_time) })
}

fn holds(expected: &Expected, actual: Option<&VersionedValue>) -> bool {
    match (expected, actual) {
        (Expected::Absent, actual) => actual.is_none(),
        (Expected::Value(value), Some(actual)) => *value == actual.value,
        (Expected::Version(version), Some(actual)) => *version == actual.timestamp,
        (Expected::Value(_) | Expected::Version(_), None) => false,
    }
}

/// Tombstones for the keys that exist on the first page of `asked`, as far as it lies within the range.
fn delete_page(
    asked: &KeyRange,
    range: &KeyRange,
    max_keys: u32,
    time: Time,
    reader: &dyn Reader,
) -> Result<Draft, ReadFault> {
    let within = clip(asked, range);
    if within.is_empty() {
        let outcome = WriteOutcome::RangeDeleted { deleted: 0, resume: None };
        return Ok(Draft { mutations: Vec::new(), outcome, decided_at: None });
    }
    let query = ScanQuery {
        bounds: within.clone(),
        reverse: false,
        max_rows: max_keys.clamp(1, limits::DELETE_RANGE_PAGE_KEYS),
        max_bytes: limits::MAX_SCAN_BYTES,
        at: Timestamp::MAX,
        now: time.settled,
        mode: ScanMode::Rows,
    };
    let page = reader.scan(&query)?;
    let (ended, living): (Vec<_>, Vec<_>) = page.rows.into_iter().partition(|row| time.ends(&row.value));
    let deleted = u32::try_from(living.len()).expect("a page has at most 1,000 keys");
    let mutations = living.into_iter().map(|row| Mutation { key: row.key, value: None, expires_at: None }).collect();
    let resume = page.resume.or_else(|| next_range_forward(asked, &within));
    let outcome = WriteOutcome::RangeDeleted { deleted, resume };
    Ok(Draft { mutations, outcome, decided_at: time.decided(!ended.is_empty()) })
}

/// Why a read was not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unserved {
    /// Answer this.
    Refused(Rejected),
    /// It met a value that expired between the range's time and this one: let the range's time pass so far (`Input::PassTime`),
    /// then read again.
    TimeMustPass {
        /// How far.
        to: Timestamp,
    },
}

/// Serves a get or a scan on `reader`. `at` is what the verdict of [`crate::Replica::may_read`] says: the newest applied timestamp when
/// the request names none. All reads of one replica use the same rule, or a later one could see less than an earlier one. So it is with
/// expiry: it is decided at `at`, never by a clock. A read that meets a value that lives at `at` and has expired `now` is not
/// served: the range's time must pass first.
///
/// What the request asks for beyond the range's `bounds` is left to the next range (see `resume`).
pub fn serve_read(
    request: &Request,
    bounds: &KeyRange,
    reader: &dyn Reader,
    at: Timestamp,
    now: Timestamp,
) -> Result<Result<Response, Unserved>, ReadFault> {
    let ends = |value: &VersionedValue| value.expires_at.is_some_and(|end| end <= now);
    let must_pass = Ok(Err(Unserved::TimeMustPass { to: now }));
    match request {
        Request::Get { keys, .. } => {
            let mut values = Vec::with_capacity(keys.len());
            let mut bytes = 0;
            for key in keys {
                let value = reader.get(key, at, at)?;
                if value.as_ref().is_some_and(ends) {
                    return must_pass;
                }
                bytes += value.as_ref().map_or(0, |found| found.value.len());
                if let Err(rejected) = check_got(bytes) {
                    return Ok(Err(Unserved::Refused(rejected)));
                }
                values.push(value);
            }
            Ok(Ok(Response::Got { values }))
        }
        Request::Scan { bounds: asked, reverse, max_rows, max_bytes, mode, .. } => {
            let within = clip(asked, bounds);
            if within.is_empty() {
                return Ok(Ok(Response::Scanned {
                    rows: Vec::new(),
                    counted: 0,
                    resume: None,
                    at,
                    within: Some(Box::new(within)),
                }));
            }
            let page = reader.scan(&ScanQuery {
                bounds: within.clone(),
                reverse: *reverse,
                max_rows: (*max_rows).clamp(1, limits::MAX_SCAN_ROWS),
                max_bytes: (*max_bytes).clamp(1, limits::MAX_SCAN_BYTES),
                at,
                now: at,
                mode: *mode,
            })?;
            if page.rows.iter().any(|row| ends(&row.value)) || page.counted_until.is_some_and(|end| end <= now) {
                return must_pass;
            }
            let beyond = || match reverse {
                false => next_range_forward(asked, &within),
                true => (asked.start < within.start).then(|| within.start.clone()),
            };
            let resume = page.resume.or_else(beyond);
            let (rows, counted) = (page.rows, page.counted);
            Ok(Ok(Response::Scanned { rows, counted, resume, at, within: Some(Box::new(within)) }))
        }
        Request::Write { .. } | Request::DeleteRange { .. } => {
            Ok(Err(Unserved::Refused(Rejected::invalid("a write cannot be served as a read"))))
        }
    }
}

/// The part of `asked` that lies within `range`.
#[must_use]
pub fn clip(asked: &KeyRange, range: &KeyRange) -> KeyRange {
    let start = asked.start.clone().max(range.start.clone());
    let end = match (&asked.end, &range.end) {
        (Some(asked), Some(range)) => Some(asked.min(range).clone()),
        (end, None) | (None, end) => end.clone(),
    };
    KeyRange { start, end }
}

/// Where the next range begins, when more was asked for than this one holds.
fn next_range_forward(asked: &KeyRange, within: &KeyRange) -> Option<Key> {
    (asked.end != within.end).then(|| within.end.clone()).flatten()
}
