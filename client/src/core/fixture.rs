//! Small keys, ranges and rows for the tests of the core.

use bytes::Bytes;
use holdfast_types::{
    Key, KeyRange, KeyspaceId, LeaderHint, Located, RangeDescriptor, RangeEpoch, RangeId, ReplicaDescriptor, ReplicaId,
    Role, Row, SiteName, StoreId, Term, Timestamp, VersionedValue,
};

pub(crate) fn key(user: &str) -> Key {
    Key::bound(KeyspaceId::DEFAULT, user.as_bytes())
}

pub(crate) fn bounds(start: &str, end: Option<&str>) -> KeyRange {
    KeyRange { start: key(start), end: end.map(key) }
}

pub(crate) fn hint(store: u64) -> LeaderHint {
    LeaderHint { store: StoreId(store), address: None }
}

/// A range with voters on stores 1, 2 and 3 in sites a, b and c.
pub(crate) fn located(range: u64, bounds_epoch: u64, start: &str, end: &str, leader: Option<u64>) -> Located {
    let replica = |id: u64, site: &str| ReplicaDescriptor {
        replica: ReplicaId(id),
        store: StoreId(id),
        site: SiteName::new(site).unwrap(),
        role: Role::Voter,
    };
    let descriptor = RangeDescriptor {
        range: RangeId(range),
        bounds: bounds(start, Some(end)),
        epoch: RangeEpoch { membership: 1, bounds: bounds_epoch },
        replicas: vec![replica(1, "a"), replica(2, "b"), replica(3, "c")],
        next_replica: ReplicaId(4),
    };
    Located { descriptor, leader: leader.map(hint), term: Term(1) }
}

pub(crate) fn value(text: &str) -> VersionedValue {
    VersionedValue { value: Bytes::copy_from_slice(text.as_bytes()), timestamp: Timestamp(7), expires_at: None }
}

pub(crate) fn row(user: &str) -> Row {
    Row { key: key(user), value: value(user) }
}
