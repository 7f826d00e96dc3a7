//! Advises splits: ranges that are too large, too busy, or that span keyspaces which are placed differently.

use holdfast_types::{Key, KeyspaceId};

use super::Planner;
use crate::operator::{Reason, SplitPoint, Step};
use crate::policy::{Policies, Policy};
use crate::view::RangeView;

/// Below this a busy range is not split: it would be cut between a handful of keys.
const MIN_SPLIT_BYTES: u64 = 1 << 20;

/// At most so many per plan as the limits say.
pub(super) fn plan(planner: &mut Planner<'_>) {
    let mut left = planner.limits().splits_per_plan;
    for (id, at) in std::mem::take(&mut planner.survey.splits) {
        if left == 0 {
            break;
        }
        planner.looked();
        if !planner.claimed.contains(&id) && planner.propose(id, Reason::Split, vec![Step::Split { at }]) {
            left -= 1;
        }
    }
}

/// Where the range should be split, if it should; `bounds`: [`keyspace_bounds`].
pub(super) fn split_point(policy: &Policy, bounds: &[Key], range: &RangeView) -> Option<SplitPoint> {
    let keys = &range.descriptor.bounds;
    let behind = bounds.partition_point(|key| *key <= keys.start);
    if let Some(key) = bounds.get(behind).filter(|key| keys.is_before_end(key)) {
        return Some(SplitPoint::Key(key.clone()));
    }
    let busy = range.load.requests_millis_per_second > policy.split_requests_millis_per_second;
    let large = range.size_bytes > policy.split_bytes;
    (large || busy && range.size_bytes > MIN_SPLIT_BYTES).then_some(SplitPoint::Middle)
}

/// The bounds between keyspaces with a policy of their own and their neighbours, in order.
pub(super) fn keyspace_bounds(policies: &Policies) -> Vec<Key> {
    let own = std::iter::once(KeyspaceId::SYSTEM).chain(policies.keyspaces.keys().copied());
    let keys = own.flat_map(|ks| [Some(Key::bound(ks, b"")), Key::keyspace_end(ks)]).flatten();
    // `Key::MIN` and the first key of keyspace 0 are one bound.
    let mut keys: Vec<Key> = keys.filter(|key| *key > Key::bound(KeyspaceId::SYSTEM, b"")).collect();
    keys.sort();
    keys
}
