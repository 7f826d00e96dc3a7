//! Reads the audit: the newest entries first, page by page, those that fit.

#![cfg_attr(
    not(test),
    deny(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)
)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_client::core::ScanPager;
use holdfast_kv::core::permit::Authority;
use holdfast_proto::convert::audit::decode_row;
use holdfast_proto::convert::check_count;
use holdfast_proto::convert::status::to_status;
use holdfast_proto::v1::{self, AuditField};
use holdfast_types::audit::AuditKey;
use holdfast_types::{Key, KeyRange, KeyspaceId, RangeRequest, Rejected, StoreId, Timestamp, limits};
use tonic::Status;

use super::entry::{fitting, kind_word, result_word};
use crate::running::Running;
use crate::system;

/// Entries of one answer when the caller names no limit.
const ENTRIES_DEFAULT: u32 = 100;
/// A page is closed after so long, whatever it has by then: callers go on with the next one.
const PAGE_WITHIN: Duration = Duration::from_secs(2);

/// Answers a question about the audit.
pub async fn list(running: &Running, request: v1::ListAuditRequest) -> Result<v1::ListAuditResponse, Status> {
    let question = Question::of(request).map_err(to_status)?;
    let pager = ScanPager::new(question.bounds.clone(), true, None, None);
    let mut pager = pager.with_pages(limits::AUDIT_PAGE, limits::MAX_SCAN_BYTES);
    let (begun, mut looked_at) = (Instant::now(), 0_u64);
    let mut entries = Vec::new();
    while let Some(scan) = pager.next_request() {
        let request = RangeRequest { range: None, write: None, request: scan };
        let page = running.ask(request, Authority::Fleet, system::PATIENCE).await.map_err(to_status)?;
        for row in pager.take(page).map_err(|misfit| to_status(Rejected::Unavailable(misfit.0)))? {
            let entry = read(&row.key, &row.value.value);
            if question.fits(&entry) {
                entries.push(entry);
            }
            looked_at = looked_at.saturating_add(1);
            if entries.len() >= question.limit {
                return Ok(v1::ListAuditResponse { entries, resume: Some(row.key.into()) });
            }
        }
        if looked_at >= limits::AUDIT_LOOKED_AT || begun.elapsed() >= PAGE_WITHIN {
            let resume = pager.rest().and_then(|rest| rest.end.clone()).map(Bytes::from);
            return Ok(v1::ListAuditResponse { entries, resume });
        }
    }
    Ok(v1::ListAuditResponse { entries, resume: None })
}

/// What is asked for, understood.
struct Question {
    bounds: KeyRange,
    limit: usize,
    conditions: Vec<v1::AuditCondition>,
}

impl Question {
    fn of(request: v1::ListAuditRequest) -> Result<Self, Rejected> {
        let v1::ListAuditRequest { limit, since, conditions, resume } = request;
        let limit = if limit == 0 { ENTRIES_DEFAULT } else { limit.min(limits::AUDIT_PAGE) };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let refused = |why: String| Rejected::invalid(why);
        check_count("conditions", conditions.len(), limits::AUDIT_CONDITIONS)
            .map_err(|bad| refused(bad.to_string()))?;
        if let Some(unknown) = conditions.iter().find(|asked| asked.field() == AuditField::Unspecified) {
            return Err(refused(format!("entries have no field {}", unknown.field)));
        }
        let mut bounds = AuditKey::all_since(Timestamp::compared(since));
        if let Some(resume) = resume {
            let key = Key::from_raw(resume)?;
            if key.keyspace() != KeyspaceId::AUDIT {
                return Err(refused("the place to go on from is none of the audit".into()));
            }
            bounds.end = Some(key);
        }
        Ok(Self { bounds, limit, conditions })
    }

    fn fits(&self, entry: &v1::AuditEntry) -> bool {
        self.conditions.iter().all(|asked| {
            let has = field(entry, asked.field());
            let holds = if asked.prefix { has.starts_with(&asked.value) } else { has == asked.value };
            holds != asked.negated
        })
    }
}

fn field(entry: &v1::AuditEntry, field: AuditField) -> String {
    match field {
        AuditField::Kind => kind_word(entry.kind()).to_owned(),
        AuditField::Who => entry.who.clone(),
        AuditField::Origin => entry.origin.clone(),
        AuditField::What => entry.what.clone(),
        AuditField::Result => result_word(entry.result()).to_owned(),
        AuditField::Store => StoreId::bounded(entry.store_id).map(|store| store.to_string()).unwrap_or_default(),
        AuditField::Site => entry.site.clone(),
        AuditField::Unspecified => String::new(),
    }
}

/// An entry that this program cannot read is shown all the same: nothing hides by being odd.
fn read(key: &Key, value: &[u8]) -> v1::AuditEntry {
    decode_row(key, value).unwrap_or_else(|bad| {
        let name = AuditKey::parse(key);
        v1::AuditEntry {
            at: name.map_or(0, |name| name.at.0),
            store_id: name.map_or(0, |name| name.store.0),
            number: name.map_or(0, |name| name.number),
            what: "unreadable".to_owned(),
            why: fitting(bad.to_string()),
            times: 1,
            ..v1::AuditEntry::default()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(field: AuditField, value: &str, prefix: bool, negated: bool) -> v1::AuditCondition {
        v1::AuditCondition { field: field.into(), value: value.to_owned(), prefix, negated }
    }

    #[test]
    fn an_entry_fits_when_all_conditions_hold() {
        let entry = v1::AuditEntry {
            kind: v1::AuditKind::Act.into(),
            store_id: 3,
            who: "spiffe://f/operator/ann".into(),
            what: "split-range".into(),
            result: v1::AuditResult::Done.into(),
            ..v1::AuditEntry::default()
        };
        let fits = |conditions| {
            let request = v1::ListAuditRequest { conditions, ..v1::ListAuditRequest::default() };
            Question::of(request).unwrap().fits(&entry)
        };
        let (act, ann) = (asked(AuditField::Kind, "act", false, false), "spiffe://f/operator/");
        assert!(fits(vec![]));
        assert!(fits(vec![act.clone(), asked(AuditField::Who, ann, true, false)]));
        assert!(!fits(vec![act.clone(), asked(AuditField::Who, ann, false, false)]));
        assert!(!fits(vec![act.clone(), asked(AuditField::Who, ann, true, true)]));
        assert!(fits(vec![
            asked(AuditField::Store, "s3", false, false),
            asked(AuditField::Result, "done", false, false)
        ]));
        assert!(!fits(vec![act, asked(AuditField::What, "init", false, false)]));
    }

    #[test]
    fn questions_that_make_no_sense_are_refused() {
        let of = |request| Question::of(request).map(|_| ());
        let request = v1::ListAuditRequest::default;
        assert_eq!(of(request()), Ok(()));
        let elsewhere = Some(Key::bound(KeyspaceId::SYSTEM, b"store/x").into());
        let many = vec![asked(AuditField::Who, "x", false, false); limits::AUDIT_CONDITIONS + 1];
        for bad in [
            v1::ListAuditRequest { resume: elsewhere, ..request() },
            v1::ListAuditRequest { conditions: many, ..request() },
            v1::ListAuditRequest {
                conditions: vec![v1::AuditCondition { field: 99, ..Default::default() }],
                ..request()
            },
        ] {
            assert!(matches!(of(bad), Err(Rejected::Invalid(_))));
        }
        let large = Question::of(v1::ListAuditRequest { limit: u32::MAX, ..request() }).unwrap();
        assert_eq!(large.limit, limits::AUDIT_PAGE as usize);
    }

    #[test]
    fn what_cannot_be_read_is_shown() {
        let name = AuditKey { at: Timestamp(9 << 16), store: StoreId(3), number: 7 };
        let entry = read(&name.key(), b"\xff\xff");
        assert_eq!((entry.at, entry.store_id, entry.what.as_str()), (9 << 16, 3, "unreadable"));
        assert!(!entry.why.is_empty());
    }
}
