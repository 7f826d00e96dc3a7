//! Advises splits: ranges that are too large, too busy, or that span keyspaces which are placed differently.

use holdfast_types::{Key, KeyspaceId};

use super::Planner;
use crate::operator::{Reason, SplitPoint, Step};
use crate::policy::Policies;
use crate::view::RangeView;

/// Below this a busy range is not split: it would be cut between a handful of keys.
const MIN_SPLIT_BYTES: u64 = 1 << 20;

/// At most so many per plan as the limits say.
pub(super) fn plan(planner: &mut Planner<'_>) {
    let mut left = planner.limits().splits_per_plan;
    for (id, range) in planner.free_ranges() {
        if left == 0 {
            break;
        }
        let Some(at) = split_point(planner, range) else { continue };
        if planner.propose(id, Reason::Split, vec![Step::Split { at }]) {
            left -= 1;
        }
    }
}

fn split_point(planner: &Planner<'_>, range: &RangeView) -> Option<SplitPoint> {
    if let Some(key) = keyspace_bound(planner.policies, range) {
        return Some(SplitPoint::Key(key));
    }
    let policy = planner.policy(range);
    let busy = range.load.requests_millis_per_second > policy.split_requests_millis_per_second;
    let large = range.size_bytes > policy.split_bytes;
    (large || busy && range.size_bytes > MIN_SPLIT_BYTES).then_some(SplitPoint::Middle)
}

/// The first bound inside the range between a keyspace with a policy of its own and its neighbours.
fn keyspace_bound(policies: &Policies, range: &RangeView) -> Option<Key> {
    let bounds = &range.descriptor.bounds;
    let own = std::iter::once(KeyspaceId::SYSTEM).chain(policies.keyspaces.keys().copied());
    let keys = own.flat_map(|ks| [Some(Key::bound(ks, b"")), Key::keyspace_end(ks)]).flatten();
    // `Key::MIN` and the first key of keyspace 0 are one bound.
    keys.filter(|key| *key > Key::bound(KeyspaceId::SYSTEM, b"") && *key > bounds.start && bounds.is_before_end(key))
        .min()
}
