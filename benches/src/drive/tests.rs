//! The open loop on virtual time: nothing sleeps, only the store moves the clock.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};

use super::*;
use crate::work::Preset;

#[derive(Default)]
struct VirtualClock(AtomicU64);

impl VirtualClock {
    fn advance_to(&self, to: Duration) {
        self.0.fetch_max(u64::try_from(to.as_nanos()).unwrap(), Ordering::AcqRel);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Acquire))
    }
}

/// A store that takes a millisecond for each read, and a second for one of them.
struct Stalls {
    clock: Arc<VirtualClock>,
    reads: AtomicU64,
    slow_read: u64,
}

impl Session for Stalls {
    fn get(&self, _: Bytes) -> BoxFuture<'_, anyhow::Result<Option<Bytes>>> {
        let slow = self.reads.fetch_add(1, Ordering::AcqRel) == self.slow_read;
        let takes = if slow { Duration::from_secs(1) } else { Duration::from_millis(1) };
        self.clock.advance_to(self.clock.now() + takes);
        async { Ok(Some(Bytes::new())) }.boxed()
    }

    fn put(&self, _: Bytes, _: Bytes) -> BoxFuture<'_, anyhow::Result<()>> {
        async { bail!("only reads") }.boxed()
    }

    fn scan(&self, _: Bytes, _: Bytes, _: u32) -> BoxFuture<'_, anyhow::Result<usize>> {
        async { bail!("only reads") }.boxed()
    }

    fn replace(&self, _: Bytes, _: Bytes) -> BoxFuture<'_, anyhow::Result<bool>> {
        async { bail!("only reads") }.boxed()
    }
}

/// Three seconds of reads by one client, of which the hundredth takes a second.
async fn three_seconds(rate: Option<f64>) -> Outcome {
    let clock = Arc::new(VirtualClock::default());
    let arrivals = rate.map(|rate| Arc::new(Arrivals::new(rate).unwrap()));
    let population = Arc::new(Population::new(100));
    let shared = Arc::new(Shared {
        recorder: Recorder::default(),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        arrivals: arrivals.clone(),
        stop: AtomicBool::new(false),
        population: Arc::clone(&population),
    });
    shared.recorder.begin();
    let session = Arc::new(Stalls { clock: Arc::clone(&clock), reads: AtomicU64::new(0), slow_read: 99 });
    let operations = Operations::new(Preset::Get.work(), Values::new(1, 1), population, 1);
    let client = tokio::spawn(Arc::clone(&shared).client(0, session, operations));
    while clock.now() < Duration::from_secs(3) {
        if let Some(arrivals) = &arrivals {
            // The client waits for an arrival whenever this runs: time goes on to the next.
            clock.advance_to(arrivals.next_due());
            arrivals.release(clock.now());
        }
        tokio::task::yield_now().await;
    }
    shared.recorder.end();
    shared.finish();
    client.await.unwrap();
    shared.recorder.outcome(Duration::from_secs(3), vec![])
}

const HALF_A_SECOND: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_stall_is_seen_by_every_operation_that_should_have_begun_meanwhile() {
    let outcome = three_seconds(Some(100.0)).await;
    assert!(outcome.all.count() >= 300, "every arrival counts: {}", outcome.all.count());
    // A hundred operations were due during the second; half of them waited for half of it or longer.
    let slow = outcome.all.slower_than(HALF_A_SECOND);
    assert!((45..=60).contains(&slow), "{slow} slow operations");
    assert!(outcome.all.percentile_ms(99.0) > 900.0, "{}", outcome.all.percentile_ms(99.0));
    assert_eq!(outcome.errors, 0);
}

#[tokio::test]
async fn a_closed_loop_sees_the_same_stall_once() {
    let outcome = three_seconds(None).await;
    assert_eq!(outcome.all.slower_than(HALF_A_SECOND), 1);
    assert!(outcome.all.percentile_ms(99.0) < 2.0);
}

#[tokio::test]
async fn operations_that_nobody_came_to_count_as_slow() {
    // One read takes a millisecond: of 2000 arrivals a second, one client serves half.
    let outcome = three_seconds(Some(2_000.0)).await;
    assert!(outcome.unserved > 2_000, "{}", outcome.unserved);
    assert!(outcome.all.max_ms() > 1_000.0);
}
