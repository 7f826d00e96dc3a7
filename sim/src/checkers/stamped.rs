//! No range's time runs ahead of true time by more than clocks may be off: what a wrong clock gave cannot be taken back.

use std::time::Duration;

use holdfast_types::{Moment, RangeId, StoreId, Timestamp, limits};

use crate::clock::EPOCH_MS;

/// Clocks that are right are within half of the bound; one that is compared over a slow way, or with nobody for a while, is a little
/// more off. A clock that is wrong is off by three times the bound at least.
const MOST_AHEAD: Duration = limits::MAX_CLOCK_OFFSET.saturating_mul(2);

/// A replica has applied up to this timestamp.
pub fn check(store: StoreId, range: RangeId, newest: Timestamp, now: Moment) -> Result<(), String> {
    let true_time = Timestamp::from_ms(EPOCH_MS + now.0 / 1_000);
    if newest <= true_time.after(MOST_AHEAD) {
        return Ok(());
    }
    let ahead_ms = newest.ms() - true_time.ms();
    Err(format!("{store} has applied {newest} in {range}, which lies {ahead_ms} ms ahead of the true time"))
}
