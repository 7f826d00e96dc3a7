//! The audit of a made-up fleet: each range that was split was split by somebody.

use holdfast_client::admin::{
    AuditCondition, AuditEntry, AuditField, AuditKind, AuditPage, AuditQuery, AuditResult, EventKind,
};
use holdfast_types::{Key, KeyspaceId, RangeId, StoreId, Timestamp};

/// What happened at such a fleet: when, what, to which range, in words.
type Happened = (u64, EventKind, RangeId, String);

/// Where an entry of this number lies.
fn key(number: u64) -> Key {
    Key::bound(KeyspaceId::AUDIT, &number.to_be_bytes())
}

pub(super) fn page(events: &[Happened], query: &AuditQuery) -> AuditPage {
    let acts = events.iter().filter(|(_, kind, ..)| *kind == EventKind::RangeSplit);
    let entries = acts.zip(1..).map(|((at_ms, _, range, _), number)| entry(*at_ms, *range, number));
    let is_before = |entry: &AuditEntry| query.resume.as_ref().is_none_or(|resume| key(entry.number) < *resume);
    let is_wanted = |entry: &AuditEntry| query.since.is_none_or(|since| entry.at >= since) && is_before(entry);
    let mut entries: Vec<_> =
        entries.filter(|entry| is_wanted(entry) && query.conditions.iter().all(|asked| holds(asked, entry))).collect();
    entries.reverse();
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let resume = entries.last().filter(|_| more).map(|entry| key(entry.number));
    AuditPage { entries, resume }
}

fn entry(at_ms: u64, range: RangeId, number: u64) -> AuditEntry {
    AuditEntry {
        kind: AuditKind::Act,
        at: Timestamp::from_ms(at_ms),
        store: StoreId(1),
        site: "site-a".into(),
        number,
        who: Some("spiffe://fleet/operator/ann".into()),
        origin: Some("192.0.2.1:50000".into()),
        what: "split-range".into(),
        arguments: vec![("range_id".into(), range.0.to_string())],
        result: AuditResult::Done,
        why: None,
        times: 1,
    }
}

fn holds(asked: &AuditCondition, entry: &AuditEntry) -> bool {
    let has = match asked.field {
        AuditField::Kind => entry.kind.as_str().to_owned(),
        AuditField::Who => entry.who.clone().unwrap_or_default(),
        AuditField::Origin => entry.origin.clone().unwrap_or_default(),
        AuditField::What => entry.what.clone(),
        AuditField::Result => entry.result.as_str().to_owned(),
        AuditField::Store => entry.store.to_string(),
        AuditField::Site => entry.site.clone(),
    };
    let is_so = if asked.prefix { has.starts_with(&asked.value) } else { has == asked.value };
    is_so != asked.negated
}
