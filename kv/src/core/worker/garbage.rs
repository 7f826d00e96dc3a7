//! Old versions: the leader of a range raises the threshold below which they may go, every replica tells its data instance.

use std::collections::BTreeMap;
use std::ops::Bound;

use holdfast_replica::{AdminRequest, RangeState};
use holdfast_types::{KeyRange, RangeId, Timestamp, limits};

use super::{Cx, Held, Worker};
use crate::core::desk::{Asked, Origin};
use crate::core::effect::Effect;

/// A threshold is raised when it could go up by this part of the retention: each raise is a log entry.
const STEP_PARTS: u32 = 10;
/// Ranges whose threshold is raised per look: spreads the entries after a start over some time.
const RAISES_PER_LOOK: usize = 16;
/// Ranges whose threshold is looked at per look, one after the other in turn.
const LOOKS: usize = 1_024;

/// What of a range's state concerns old versions.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    /// Readers below it are refused.
    pub(super) threshold: Timestamp,
    /// The newest version or completion record.
    pub(super) newest: Timestamp,
    bounds: Option<KeyRange>,
}

impl Versions {
    pub(super) fn of(state: &RangeState) -> Self {
        let bounds = Some(state.descriptor.bounds.clone());
        Self { threshold: state.gc_threshold, newest: state.last_timestamp, bounds }
    }
}

/// Replicas in turn, at most so many: those behind `last` first, then from the beginning up to it.
pub(super) fn in_turn(
    held: &BTreeMap<RangeId, Held>,
    last: RangeId,
    most: usize,
) -> impl Iterator<Item = (RangeId, &Held)> {
    let behind = held.range((Bound::Excluded(last), Bound::Unbounded));
    behind.chain(held.range(..=last)).take(most).map(|(range, held)| (*range, held))
}

impl Worker {
    /// The state of a range after an apply task: its threshold and bounds go to the data instance when they changed.
    pub(super) fn note_versions(&mut self, range: RangeId, state: &RangeState) {
        let Some(held) = self.held.get_mut(&range) else { return };
        held.versions.newest = state.last_timestamp;
        let bounds = &state.descriptor.bounds;
        if held.versions.threshold != state.gc_threshold || held.versions.bounds.as_ref() != Some(bounds) {
            held.versions = Versions::of(state);
            let threshold = Some((bounds.clone(), state.gc_threshold));
            self.out.push(Effect::SetGcThreshold { range, threshold });
        }
    }

    /// Raises the thresholds of ranges led here that were written since, or where a value has expired: a range at rest costs
    /// nothing.
    pub(super) fn raise_thresholds(&mut self, cx: &Cx<'_>) {
        let ms = |wait: std::time::Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let wanted = Timestamp::from_ms(cx.fleet_now.ms().saturating_sub(ms(limits::GC_RETENTION)));
        let step = ms(limits::GC_RETENTION / STEP_PARTS);
        let mut due = Vec::new();
        let mut looked_at = self.thresholds_up_to;
        for (range, held) in in_turn(&self.held, self.thresholds_up_to, LOOKS) {
            if due.len() >= RAISES_PER_LOOK {
                break;
            }
            looked_at = range;
            self.round.looks += 1;
            let versions = &held.versions;
            let stirs = versions.newest > versions.threshold || held.swept.expires.is_some_and(|end| end <= wanted);
            if held.standing.leads && stirs && wanted.ms() > versions.threshold.ms() + step {
                due.push(range);
            }
        }
        self.thresholds_up_to = looked_at;
        for range in due {
            if self.shared.admission.admit(0).is_err() {
                return;
            }
            let asked = Asked::Admin(range, AdminRequest::RaiseGcThreshold { threshold: wanted });
            let deadline = cx.now.after(limits::DEFAULT_DEADLINE);
            self.open_and_route(Origin::Upkeep, asked, deadline, 0, 0, cx);
        }
    }
}
