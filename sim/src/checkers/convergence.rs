//! Replicas that have applied the same hold the same: versions, and which range they belong to.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_engine::{DataSnapshot, Fault};
use holdfast_replica::RangeState;
use holdfast_types::{RangeDescriptor, StoreId};

use crate::trace::hash_on;

/// Compares all replicas of a range. Those that have not applied as much as the furthest are left out, and counted.
pub fn check(descriptor: &RangeDescriptor, stores: &BTreeMap<StoreId, Arc<dyn DataSnapshot>>) -> Result<usize, String> {
    let mut found = Vec::new();
    for replica in &descriptor.replicas {
        let Some(data) = stores.get(&replica.store) else { continue };
        let seen = look(descriptor, &**data).map_err(|fault| format!("{}: {fault}", replica.store))?;
        found.push((replica.store, seen));
    }
    let furthest = found.iter().filter_map(|(_, seen)| seen.as_ref()).map(|(applied, _)| *applied).max();
    let mut hash = None;
    let mut behind = descriptor.replicas.len() - found.len();
    for (store, seen) in found {
        match seen {
            Some((applied, bytes)) if Some(applied) == furthest => {
                let (first, expected) = *hash.get_or_insert((store, bytes));
                if bytes != expected {
                    return Err(format!("{store} and {first} have applied {} alike and differ", descriptor.range));
                }
            }
            _ => behind += 1,
        }
    }
    Ok(behind)
}

/// The applied index and a hash of everything that was applied.
fn look(descriptor: &RangeDescriptor, data: &dyn DataSnapshot) -> Result<Option<(u64, u64)>, Fault> {
    let Some(state) = data.range_state(descriptor.range)? else { return Ok(None) };
    let mut hash = hash_on(0, &state);
    let Ok(state) = RangeState::decode(state) else { return Ok(None) };
    for (key, timestamp, version) in data.versions(&state.descriptor.bounds, usize::MAX)? {
        hash = hash_on(hash_on(hash, key.raw()), format!("@{timestamp}={version:?}").as_bytes());
    }
    for (client, slot, record) in data.completions(descriptor.range, None, usize::MAX)? {
        hash = hash_on(hash_on(hash, format!("{client}/{slot}").as_bytes()), &record);
    }
    Ok(Some((state.applied.0, hash)))
}
