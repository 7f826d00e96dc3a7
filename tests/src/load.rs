//! A load in the background, and what must hold when it ends.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_benches::record::{Record, Verdict};
use holdfast_benches::workload::{Load, LoadOptions, Meter, RunningLoad};

use crate::scene::Scene;
use crate::wait;

/// Rows that a load works on.
const ROWS: usize = 1_200;
/// Clients of a load: enough to keep every range busy, few enough for a machine with two cores.
const CLIENTS: usize = 12;
/// Operations after which a load has touched every range many times.
const PROGRESS: u64 = 1_500;

/// Clients at work on rows of their own.
pub struct Background {
    load: Load,
    meter: Arc<Meter>,
    running: RunningLoad,
}

/// The rows of a load, in order: keys `row/00000` and so on.
#[must_use]
pub fn rows() -> Vec<(Bytes, Bytes)> {
    (0..ROWS).map(|i| (Bytes::from(row_key(i)), Bytes::from(format!("row {i} as it was loaded")))).collect()
}

/// The key of a row.
#[must_use]
pub fn row_key(row: usize) -> String {
    format!("row/{row:05}")
}

/// Keys that cut the rows into so many parts.
#[must_use]
pub fn cuts(parts: usize) -> Vec<String> {
    (1..parts).map(|cut| row_key(ROWS * cut / parts)).collect()
}

impl Background {
    /// Cuts the rows into ranges, loads them and starts the clients, some in every site.
    ///
    /// # Panics
    /// When the fleet refuses that.
    pub async fn start(scene: &mut Scene, ranges: usize) -> Self {
        scene.split_at(&cuts(ranges)).await;
        Self::start_uncut(scene).await
    }

    /// Loads the rows and starts the clients on ranges as they are.
    ///
    /// # Panics
    /// When the fleet refuses that.
    pub async fn start_uncut(scene: &Scene) -> Self {
        let mut sites: Vec<_> = scene.fleet.stores().iter().map(|store| store.site.clone()).collect();
        sites.sort_unstable();
        sites.dedup();
        Self::start_from(scene, scene.fleet.addresses(), sites).await
    }

    /// The same for programs in these sites that know these stores.
    ///
    /// # Panics
    /// When the fleet refuses that.
    pub async fn start_from(scene: &Scene, addresses: Vec<String>, sites: Vec<String>) -> Self {
        let meter = Arc::new(Meter::new(sites.len()));
        let options = LoadOptions {
            addresses,
            security: scene.fleet.security().clone(),
            sites,
            clients: CLIENTS,
            prefix: String::new(),
            rows: rows(),
        };
        let load = Load::connect(options, Arc::clone(&meter)).await.expect("the fleet answers");
        load.import(|_, _| ()).await.expect("rows can be loaded while all is well");
        let running = load.start().expect("clients connect");
        let background = Self { load, meter, running };
        background.progress().await;
        background
    }

    /// Waits until the clients have ended many more operations, over all ranges.
    pub async fn progress(&self) {
        let enough = self.meter.latencies().count() + PROGRESS;
        wait::until_true("the load goes on", || self.meter.latencies().count() >= enough).await;
    }

    /// Ends the load and reads everything back: nothing lost, nothing done twice, nothing stale. Gives how many operations
    /// ended in an error.
    ///
    /// # Panics
    /// When an acknowledged write is lost or applied twice, or a read was stale.
    pub async fn finish(self) -> u64 {
        let record: Record = self.running.finish().await.expect("no client panics");
        let verdict = self.load.verify(&record, |_, _| ()).await.expect("everything can be read back");
        assert_eq!(verdict, Verdict::default(), "of {} acknowledged writes", record.acknowledged());
        assert_eq!(self.meter.stale_reads(), 0);
        assert!(record.acknowledged() > u64::try_from(ROWS).expect("few rows"), "the load wrote nothing");
        self.meter.errors()
    }
}
