//! What stores may do to the audit: append to it. Nobody changes or deletes an entry, the fleet itself no more than anybody else; entries
//! expire, and not before they had time to be read.

use holdfast_proto::convert::BadMessage;
use holdfast_proto::convert::audit::decode_row;
use holdfast_types::audit::AuditKey;
use holdfast_types::{Condition, Expected, KeyspaceId, Mutation, Rejected, limits};

/// Refuses a mutation of the audit that is no appending of an entry.
pub(super) fn check_appended(mutation: &Mutation, conditions: &[Condition]) -> Result<(), Rejected> {
    debug_assert_eq!(mutation.key.keyspace(), KeyspaceId::AUDIT);
    let forbidden = |why: &str| Rejected::Forbidden(format!("{:?} of the audit: {why}", mutation.key));
    let Some(name) = AuditKey::parse(&mutation.key) else { return Err(forbidden("no entry has that name")) };
    let Some(value) = &mutation.value else { return Err(forbidden("entries are not deleted")) };
    if !conditions.contains(&Condition { key: mutation.key.clone(), expected: Expected::Absent }) {
        return Err(forbidden("an entry is written on the condition that there is none of its name"));
    }
    let is_kept = |ends| ends >= name.at.after(limits::AUDIT_RETENTION_MIN);
    if !mutation.expires_at.is_some_and(is_kept) {
        return Err(forbidden("entries expire, a day after what they tell of at the earliest"));
    }
    match decode_row(&mutation.key, value) {
        Ok(_) => Ok(()),
        // A newer program may write what this one cannot read.
        Err(BadMessage::UnknownVersion { found, known, .. }) if found > known => Ok(()),
        Err(bad) => Err(forbidden(&bad.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_proto::convert::audit::encode_entry;
    use holdfast_proto::v1;
    use holdfast_types::{Key, KeyRange, RangeRequest, Request, StoreId, Timestamp};
    use prost::Message as _;

    use super::super::{Authority, Permitted};
    use super::*;
    use crate::core::rights::{Asker, Rights};

    const NAME: AuditKey = AuditKey { at: Timestamp(7 << 16), store: StoreId(3), number: 1 };

    fn value(store: u64) -> Bytes {
        let named = v1::AuditEntry { at: NAME.at.0, store_id: store, number: NAME.number, ..Default::default() };
        encode_entry(&v1::AuditEntry { site: "a".into(), what: "init".into(), times: 1, ..named })
    }

    fn row() -> Mutation {
        let ends = NAME.at.after(limits::AUDIT_RETENTION_MIN);
        Mutation { key: NAME.key(), value: Some(value(3)), expires_at: Some(ends) }
    }

    fn ask(authority: Authority, expected: Expected, mutation: Mutation) -> Result<(), Rejected> {
        let conditions = vec![Condition { key: NAME.key(), expected }];
        let request = Request::Write { conditions, mutations: vec![mutation] };
        let asker = Asker::of(authority, &Rights::insecure());
        Permitted::check(RangeRequest { range: None, write: None, request }, &asker).map(|_| ())
    }

    #[test]
    fn the_fleet_appends_to_the_audit_and_does_nothing_else_to_it() {
        let fleet = |expected, mutation| ask(Authority::Fleet, expected, mutation);
        assert_eq!(fleet(Expected::Absent, row()), Ok(()));
        let newer = v1::AuditEntry { version: 2, ..Default::default() }.encode_to_vec();
        assert_eq!(fleet(Expected::Absent, Mutation { value: Some(newer.into()), ..row() }), Ok(()));
        let early = NAME.at.after(limits::AUDIT_RETENTION_MIN / 2);
        for bad in [
            Mutation { value: None, expires_at: None, ..row() },
            Mutation { value: Some(value(4)), ..row() },
            Mutation { value: Some(Bytes::from_static(b"nonsense")), ..row() },
            Mutation { expires_at: None, ..row() },
            Mutation { expires_at: Some(early), ..row() },
            Mutation { key: Key::bound(KeyspaceId::AUDIT, b"x"), ..row() },
            Mutation { key: AuditKey { number: 2, ..NAME }.key(), ..row() },
        ] {
            assert!(matches!(fleet(Expected::Absent, bad.clone()), Err(Rejected::Forbidden(_))), "{bad:?}");
        }
        for other in [Expected::Value(value(3)), Expected::Version(Timestamp(9))] {
            assert!(matches!(fleet(other, row()), Err(Rejected::Forbidden(_))), "an entry is never changed");
        }
    }

    #[test]
    fn nobody_else_writes_the_audit_and_nobody_at_all_deletes_of_it() {
        assert!(matches!(ask(Authority::Client, Expected::Absent, row()), Err(Rejected::Forbidden(_))));
        let rows = KeyRange { start: NAME.key(), end: Some(NAME.key().next()) };
        for bounds in [AuditKey::all_since(Timestamp::ZERO), rows, KeyRange::all()] {
            for authority in [Authority::Client, Authority::Fleet] {
                let request = Request::DeleteRange { bounds: bounds.clone(), max_keys: 1 };
                let asked = RangeRequest { range: None, write: None, request };
                let asker = Asker::of(authority, &Rights::insecure());
                assert!(matches!(Permitted::check(asked, &asker), Err(Rejected::Forbidden(_))), "{bounds:?}");
            }
        }
    }
}
