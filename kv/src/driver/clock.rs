//! The real clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_types::Moment;
use rustix::time::{ClockId, clock_gettime};

use crate::ports::Clock;

/// CLOCK_BOOTTIME (it runs through a suspend, so that a promise runs out while the machine sleeps) and the wall clock.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).expect("boot time is not negative");
        let nanos = u64::try_from(time.tv_nsec).expect("nanoseconds are not negative");
        Moment(seconds * 1_000_000 + nanos / 1_000)
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
