//! The open loop: operations arrive at a fixed rate, whether the store keeps up or not.
//!
//! Each arrival has an intended start. A client that comes late to it, because the store was slow before, measures from the
//! intended start all the same: so one stall is seen by every operation that would have been asked for meanwhile, and not by
//! the one alone that happened to wait (coordinated omission; Tene, "How NOT to measure latency").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use tokio::sync::Semaphore;

use super::clock::Clock;

/// The shortest sleep of the pacing thread: what is due meanwhile is released together.
const SHORTEST_SLEEP: Duration = Duration::from_micros(100);
/// The longest one, so that it sees soon that the run has ended.
const LONGEST_SLEEP: Duration = Duration::from_millis(10);

/// Arrivals at a fixed rate, taken by any number of clients in order. What waits is bounded by rate and length of the run.
pub struct Arrivals {
    every: Duration,
    released: AtomicU64,
    taken: AtomicU64,
    due: Semaphore,
    ended: AtomicBool,
}

impl Arrivals {
    /// So many a second, the first at once.
    pub fn new(per_second: f64) -> anyhow::Result<Self> {
        ensure!((0.001..=1_000_000.0).contains(&per_second), "a rate is between 0.001 and 1000000 operations a second");
        Ok(Self {
            every: Duration::from_secs_f64(1.0 / per_second),
            released: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            due: Semaphore::new(0),
            ended: AtomicBool::new(false),
        })
    }

    /// Lets clients take everything that is due by now. Called by one thread.
    pub fn release(&self, now: Duration) {
        let due = u64::try_from(now.as_nanos() / self.every.as_nanos().max(1)).unwrap_or(u64::MAX).saturating_add(1);
        let before = self.released.fetch_max(due, Ordering::AcqRel);
        self.due.add_permits(usize::try_from(due.saturating_sub(before)).unwrap_or(0));
    }

    /// When the next one is due that is not released yet.
    pub fn next_due(&self) -> Duration {
        self.start_of(self.released.load(Ordering::Acquire))
    }

    fn start_of(&self, arrival: u64) -> Duration {
        let nanos = self.every.as_nanos().saturating_mul(u128::from(arrival));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Waits for the next arrival and gives its intended start; `None`: the run has ended.
    pub async fn take(&self) -> Option<Duration> {
        self.due.acquire().await.ok()?.forget();
        Some(self.start_of(self.taken.fetch_add(1, Ordering::AcqRel)))
    }

    /// Ends the run: nobody takes anything more. Gives the intended starts of what was due and not taken.
    pub fn end(&self, now: Duration) -> Vec<Duration> {
        self.ended.store(true, Ordering::Release);
        self.due.close();
        let first = self.taken.load(Ordering::Acquire);
        let after = self.released.load(Ordering::Acquire);
        (first..after).map(|arrival| self.start_of(arrival)).filter(|start| *start <= now).collect()
    }
}

/// Starts the thread that releases what is due until the run has ended. Timers of the runtime are too coarse (a millisecond).
pub fn pace(arrivals: Arc<Arrivals>, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let work = move || {
        while !arrivals.ended.load(Ordering::Acquire) {
            arrivals.release(clock.now());
            let wait = arrivals.next_due().saturating_sub(clock.now());
            std::thread::sleep(wait.clamp(SHORTEST_SLEEP, LONGEST_SLEEP));
        }
    };
    std::thread::Builder::new().name("arrivals".to_owned()).spawn(work)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn arrivals_are_taken_in_order_at_their_intended_starts() {
        let arrivals = Arrivals::new(100.0).unwrap();
        arrivals.release(Duration::from_millis(35));
        for start in [0, 10, 20, 30] {
            assert_eq!(arrivals.take().await, Some(Duration::from_millis(start)));
        }
        assert_eq!(arrivals.next_due(), Duration::from_millis(40));
    }

    #[tokio::test]
    async fn what_was_due_and_never_taken_is_known_at_the_end() {
        let arrivals = Arrivals::new(100.0).unwrap();
        arrivals.release(Duration::from_millis(25));
        arrivals.take().await.unwrap();
        let left = arrivals.end(Duration::from_millis(25));
        assert_eq!(left, [10, 20].map(Duration::from_millis));
        assert_eq!(arrivals.take().await, None);
    }

    #[test]
    fn a_rate_that_cannot_be_kept_is_refused() {
        for rate in [0.0, -1.0, f64::NAN, 1e12] {
            assert!(Arrivals::new(rate).is_err(), "{rate}");
        }
    }
}
