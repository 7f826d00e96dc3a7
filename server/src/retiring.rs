//! Handing leaders over before a stop: what `holdfast drain --local` and SIGTERM have in common.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_kv::core::routing::Found;
use holdfast_types::RangeId;

use crate::running::Running;

/// How long a store that handed its leaders over waits to hear who leads them now.
pub const SUCCEED_WITHIN: Duration = Duration::from_millis(500);
/// How often it looks.
const RETIRE_POLL: Duration = Duration::from_millis(10);

/// Waits until something is so, but no longer than `within`.
pub async fn until(within: Duration, is_so: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + within;
    while !is_so() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(RETIRE_POLL).await;
    }
}

/// The ranges that a stopping store leads, and that others could.
pub struct LeadersOf<'a> {
    running: &'a Running,
    /// Which.
    pub led: BTreeSet<RangeId>,
}

impl<'a> LeadersOf<'a> {
    /// Those that it leads now.
    pub fn of(running: &'a Running) -> Self {
        let me = running.store_id;
        let here = |found: &Found| found.own && found.leader == Some(me) && found.descriptor.voters().count() > 1;
        let led = running.store.ranges().into_iter().filter(here).map(|found| found.descriptor.range).collect();
        Self { running, led }
    }

    /// True while this store leads a range.
    pub fn any_left(&self) -> bool {
        self.count() > 0
    }

    /// Ranges that this store leads.
    pub fn count(&self) -> usize {
        let here = |found: &&Found| found.own && found.leader == Some(self.running.store_id);
        self.running.store.ranges().iter().filter(here).count()
    }

    /// How many of them nobody else is known to lead.
    pub fn without_successor(&self) -> usize {
        let me = self.running.store_id;
        let has_none =
            |found: &&Found| self.led.contains(&found.descriptor.range) && found.leader.is_none_or(|s| s == me);
        self.running.store.ranges().iter().filter(has_none).count()
    }
}
