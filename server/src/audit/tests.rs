//! The whole way of an entry, with a range of the audit that is a map.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_proto::convert::audit::decode_row;
use holdfast_proto::v1::{AuditKind, AuditResult};
use holdfast_types::{Condition, Expected, Key, Mutation, Response, VersionedValue};

use super::writer::Rows;
use super::*;

/// A range of the audit.
#[derive(Default)]
struct Range {
    rows: Mutex<BTreeMap<Key, Bytes>>,
    /// What the next writes meet, the next one last.
    fate: Mutex<Vec<Fate>>,
    /// Where it was split.
    split_key: Mutex<Option<Key>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It is not done.
    Lost,
    /// It is done, and nobody hears of it.
    Unheard,
}

#[async_trait]
impl Rows for Range {
    async fn write(&self, conditions: Vec<Condition>, mutations: Vec<Mutation>) -> Result<Response, Rejected> {
        assert_eq!(conditions.len(), mutations.len());
        let fate = self.fate.lock().pop();
        if fate == Some(Fate::Lost) {
            return Err(Rejected::Unavailable("no quorum".into()));
        }
        if let Some(split_key) = self.split_key.lock().clone() {
            let left = mutations.iter().filter(|mutation| mutation.key < split_key).count();
            if left != 0 && left != mutations.len() {
                return Err(Rejected::SpansRanges { split_key });
            }
        }
        let mut rows = self.rows.lock();
        for (index, condition) in conditions.iter().enumerate() {
            assert_eq!(condition.expected, Expected::Absent);
            if let Some(value) = rows.get(&condition.key).cloned() {
                let actual = Some(VersionedValue { value, timestamp: Timestamp(1), expires_at: None });
                return Ok(Response::ConditionFailed { index: u32::try_from(index).unwrap(), actual });
            }
        }
        for mutation in mutations {
            assert!(mutation.expires_at.is_some());
            rows.insert(mutation.key, mutation.value.unwrap());
        }
        if fate == Some(Fate::Unheard) {
            return Err(Rejected::Ambiguous("the connection broke".into()));
        }
        Ok(Response::Written { timestamp: Timestamp(1) })
    }
}

impl Range {
    fn entries(&self) -> Vec<v1::AuditEntry> {
        self.rows.lock().iter().map(|(key, value)| decode_row(key, value).unwrap()).collect()
    }
}

const KEPT: Duration = limits::AUDIT_RETENTION;

/// A store whose clock stands still.
fn store() -> Arc<Audit> {
    let audit = Audit::new();
    audit.belong_to(StoreId(3), SiteName::new("a").unwrap(), || Timestamp::from_ms(1_000));
    audit
}

fn distrust(number: usize) -> Change {
    Change { what: "distrust", arguments: vec![("number", number.to_string())], refused: None }
}

async fn write(audit: &Audit, range: &Range) {
    while !audit.state.lock().waiting.is_empty() {
        let _ = audit.write_batch(range, KEPT).await;
    }
}

fn numbers(entries: &[v1::AuditEntry]) -> Vec<usize> {
    entries.iter().map(|entry| entry.arguments[0].value.parse().unwrap()).collect()
}

#[tokio::test]
async fn entries_are_written_once_each_in_order_whatever_becomes_of_the_writes() {
    let (audit, range) = (store(), Range::default());
    *range.fate.lock() = vec![Fate::Unheard, Fate::Lost, Fate::Unheard, Fate::Unheard, Fate::Lost];
    (0..200).for_each(|number| audit.changed(distrust(number)));
    write(&audit, &range).await;
    let entries = range.entries();
    assert_eq!(numbers(&entries), (0..200).collect::<Vec<_>>());
    assert!(entries.iter().all(|entry| entry.store_id == 3 && entry.site == "a" && entry.kind() == AuditKind::Trust));
    assert_eq!(audit.counters(), Counters { written: 200, ..Counters::default() });
}

#[tokio::test]
async fn a_batch_over_two_ranges_is_written_to_both() {
    let (audit, range) = (store(), Range::default());
    (0..9).for_each(|number| audit.changed(distrust(number)));
    let middle = audit.state.lock().waiting.all().0[4].clone();
    let middle = v1::AuditEntry { store_id: 3, ..middle };
    *range.split_key.lock() = Some(holdfast_proto::convert::audit::name_of(&middle).unwrap().key());
    write(&audit, &range).await;
    assert_eq!(numbers(&range.entries()), (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_clock_that_was_put_back_costs_no_entry_of_an_earlier_start() {
    let range = Range::default();
    for start in 0..3 {
        let audit = store();
        audit.changed(distrust(start));
        write(&audit, &range).await;
    }
    let mut found = numbers(&range.entries());
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2]);
}

#[tokio::test]
async fn what_could_not_be_written_is_written_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let range = Range::default();
    let first = store();
    first.keep_in(dir.path());
    (0..3).for_each(|number| first.changed(distrust(number)));
    // Its last write was done, and it died before it heard of it.
    *range.fate.lock() = vec![Fate::Unheard];
    assert!(first.write_batch(&range, KEPT).await.is_err());
    first.changed(distrust(3));
    stop(&first, None, KEPT).await;
    let second = store();
    second.keep_in(dir.path());
    second.changed(distrust(4));
    write(&second, &range).await;
    assert_eq!(numbers(&range.entries()), [0, 1, 2, 3, 4]);
    stop(&second, None, KEPT).await;
    assert!(!dir.path().join("audit.bin").exists(), "nothing waits any more");
}

#[test]
fn a_damaged_file_is_put_aside_and_does_not_keep_a_store_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.bin");
    std::fs::write(&path, b"\xff\xff").unwrap();
    let audit = store();
    audit.keep_in(dir.path());
    assert!(!path.exists() && dir.path().join("audit.damaged").exists());
    assert_eq!(audit.counters().waiting, 0);
}

fn split(key: &'static [u8]) -> Request<v1::SplitRangeRequest> {
    Request::new(v1::SplitRangeRequest { key: Bytes::from_static(key), expected_epoch: None })
}

#[tokio::test]
async fn an_act_is_on_record_with_its_result_also_when_its_caller_went_away() {
    let (audit, range) = (store(), Range::default());
    let (done, _) = audit.begin(split(b"\0\0\0\x01m")).await.unwrap();
    let (refused, _) = audit.begin(split(b"x")).await.unwrap();
    let (left, _) = audit.begin(split(b"\0\0\0\x01z")).await.unwrap();
    assert_eq!(audit.counters().waiting, 0, "it goes on record when it has ended");
    done.end(Ok(())).unwrap();
    assert!(refused.end::<()>(Err(Status::invalid_argument("no such key"))).is_err());
    drop(left);
    write(&audit, &range).await;
    let entries = range.entries();
    let results: Vec<_> = entries.iter().map(v1::AuditEntry::result).collect();
    assert_eq!(results, [AuditResult::Done, AuditResult::Refused, AuditResult::Unknown]);
    assert_eq!(entries[0].arguments[0].value, "/1/m");
    assert_eq!(entries[1].why, "no such key");
}

#[tokio::test(start_paused = true)]
async fn an_act_that_finds_no_place_waits_and_is_refused_before_anything_is_done() {
    let (audit, range) = (store(), Range::default());
    let mut open = Vec::new();
    for _ in 0..limits::AUDIT_ACTS {
        let seat = Arc::clone(&audit.seats).try_acquire_owned().unwrap();
        open.push(Acting::new(Arc::clone(&audit), v1::AuditEntry::default(), seat));
    }
    assert!(audit.begin(split(b"x")).await.is_err(), "it has waited, and was not done");
    open.clear();
    assert!(audit.begin(split(b"x")).await.is_err(), "they have ended, and are not on record yet");
    write(&audit, &range).await;
    assert!(audit.begin(split(b"x")).await.is_ok());
}

#[tokio::test]
async fn a_flood_of_refusals_leaves_room_for_acts_and_is_told_with_its_number() {
    let (audit, range) = (store(), Range::default());
    let caller = Caller { principal: None, from: Some("192.0.2.1:999".parse().unwrap()) };
    (0..10_000).for_each(|_| audit.refused(Refusal::new("handshake", caller.clone(), "no certificate")));
    let (act, _) = audit.begin(split(b"x")).await.unwrap();
    act.end(Ok(())).unwrap();
    audit.tell_sums(Instant::now(), true);
    write(&audit, &range).await;
    let entries = range.entries();
    assert!(entries.len() < 10, "{}", entries.len());
    let times: u64 = entries.iter().filter(|entry| entry.what == "handshake").map(|entry| entry.times).sum();
    assert_eq!(times, 10_000);
    assert!(entries.iter().any(|entry| entry.what == "split-range"));
}

/// Takes lines of the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_of_the_log_has_the_fields_that_are_promised_and_no_token() {
    let (lines, secret) = (Lines::default(), "7d1f-no-line-has-this");
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let join = v1::JoinRequest {
        fleet_token: secret.into(),
        join_token: secret.into(),
        site: "b".into(),
        ..v1::JoinRequest::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let (acting, _) = store().begin(Request::new(join)).await.unwrap();
            acting.end(Ok(())).unwrap();
        });
    });
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert!(!text.contains(secret), "{text}");
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((line["target"].as_str(), line["fields"]["what"].as_str()), (Some(TARGET), Some("join")));
    let fields: Vec<_> = line["fields"].as_object().unwrap().keys().map(String::as_str).collect();
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/audit.md")).unwrap();
    for field in &fields {
        assert!(*field == "message" || guide.contains(&format!("`{field}`")), "docs/audit.md does not tell of {field}");
    }
    assert_eq!(fields.len(), 13, "{fields:?}");
    let arguments: serde_json::Value = serde_json::from_str(line["fields"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments["site"], "b");
}
