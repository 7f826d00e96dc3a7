//! What the process is doing: its time on processors.

use std::time::Duration;

use holdfast_types::Moment;
use rustix::time::{ClockId, clock_gettime};

/// Measures how many cores this process uses.
#[derive(Debug)]
pub struct ProcessLoad {
    measured_at: Moment,
    on_cpu: Duration,
    millicores: u64,
}

impl ProcessLoad {
    /// Measures from now on.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        Self { measured_at: now, on_cpu: on_cpu(), millicores: 0 }
    }

    /// Thousandths of a core used since the last call, smoothed.
    pub fn used_millicores(&mut self, now: Moment) -> u64 {
        self.measure(now, on_cpu())
    }

    fn measure(&mut self, now: Moment, on_cpu: Duration) -> u64 {
        let wall_us = u64::try_from(now.since(self.measured_at).as_micros()).unwrap_or(u64::MAX);
        let used_us = u64::try_from(on_cpu.saturating_sub(self.on_cpu).as_micros()).unwrap_or(u64::MAX);
        if let Some(millicores) = used_us.saturating_mul(1_000).checked_div(wall_us) {
            // Half of it is what was measured before: one busy second moves no leaders.
            self.millicores = self.millicores.midpoint(millicores);
            (self.measured_at, self.on_cpu) = (now, on_cpu);
        }
        self.millicores
    }
}

fn on_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("time on processors is not negative");
    let nanos = u32::try_from(time.tv_nsec).expect("nanoseconds are below a second");
    Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_use_is_measured_in_thousandths_of_a_core() {
        let start = Moment(1_000_000);
        let mut load = ProcessLoad { measured_at: start, on_cpu: Duration::from_secs(7), millicores: 0 };
        let mut used = 0;
        for second in 1..=20 {
            let now = start.after(Duration::from_secs(second));
            used = load.measure(now, Duration::from_secs(7) + Duration::from_millis(1_500 * second));
        }
        assert!((1_490..=1_500).contains(&used), "{used}");
        assert_eq!(load.measure(start.after(Duration::from_secs(20)), Duration::from_secs(99)), used, "no time passed");
    }

    #[test]
    fn work_takes_time_on_processors() {
        let before = on_cpu();
        assert!((0..2_000_000_u64).fold(0_u64, |sum, n| std::hint::black_box(sum ^ n)) < u64::MAX);
        assert!(on_cpu() > before);
    }
}
