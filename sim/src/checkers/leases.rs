//! Leases never overlap: at no instant two stores may read the same range by lease.

use std::collections::BTreeMap;

use holdfast_replica::ReplicaStatus;
use holdfast_types::{RangeId, StoreId};

/// Looks at all replicas of all stores at one instant.
pub fn check(all: impl Iterator<Item = (StoreId, RangeId, ReplicaStatus)>) -> Result<(), String> {
    let mut holders: BTreeMap<RangeId, (StoreId, ReplicaStatus)> = BTreeMap::new();
    for (store, range, status) in all.filter(|(_, _, status)| status.lease) {
        if let Some((other, theirs)) = holders.get(&range) {
            return Err(format!("two leases of {range}: {other} ({theirs}) and {store} ({status})"));
        }
        holders.insert(range, (store, status));
    }
    Ok(())
}
