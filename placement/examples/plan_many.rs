//! How long one plan takes for fleets of many ranges: `cargo run --release -p holdfast-placement --example plan_many [RANGES...]`.
//!
//! One line a fleet and situation, with the processor's time, which other programs on the machine change less than the wall's. What it
//! costs is for people to read: no test asserts a time.

#![allow(clippy::unwrap_used, reason = "a program for developers")]

use std::time::Duration;

use holdfast_placement::{FleetView, Policies, RangeLoad, StoreView, explain};
use holdfast_types::{Key, KeyRange, KeyspaceId, Moment, RangeId, SiteName, StoreId};

/// Plans of which the fastest counts: what else runs on the machine only ever adds.
const RUNS: usize = 3;
/// A plan that takes longer is made once.
const SLOW: Duration = Duration::from_secs(2);

/// So many sites with so many stores each.
#[derive(Clone, Copy)]
struct Shape {
    sites: u64,
    stores: u64,
}

impl Shape {
    fn store(self, site: u64, nth: u64) -> StoreId {
        StoreId(1 + site % self.sites * self.stores + nth % self.stores)
    }

    /// Three voters in three sites, shared out evenly, led by each of them in turn.
    fn voters(self, range: u64) -> Vec<StoreId> {
        let first = range % self.sites;
        let nth = range / self.sites;
        (0..3.min(self.sites)).map(|i| self.store(first + i, nth)).collect()
    }

    fn balanced(self, ranges: u64) -> FleetView {
        let mut view = FleetView::new(Moment::ZERO.after(Duration::from_secs(3_600)));
        for store in 0..self.sites * self.stores {
            let site = SiteName::new(&format!("site-{}", store / self.stores)).unwrap();
            view.stores.insert(StoreId(store + 1), StoreView::alive_at(site));
        }
        let bound = |n: u64| Key::bound(KeyspaceId::DEFAULT, format!("user/{n:012}").as_bytes());
        for range in 0..ranges {
            let bounds = KeyRange { start: bound(range), end: (range + 1 < ranges).then(|| bound(range + 1)) };
            view = view.with_range(RangeId(range + 10), bounds, &self.voters(range));
            let seen = view.ranges.get_mut(&RangeId(range + 10)).unwrap();
            seen.size_bytes = 1 << 16;
            seen.load = RangeLoad { requests_millis_per_second: 2_000, write_bytes_per_second: 100 };
        }
        view
    }
}

/// What happens to a balanced fleet, and its name.
type Situation = (&'static str, fn(&mut FleetView));

const SITUATIONS: [Situation; 6] = [
    ("balanced", |_| {}),
    ("a new store", |view| {
        let site = view.stores[&StoreId(1)].site.clone();
        let id = StoreId(view.stores.len() as u64 + 1);
        view.stores.insert(id, StoreView::alive_at(site));
    }),
    ("a lost store", |view| {
        let store = view.stores.get_mut(&StoreId(1)).unwrap();
        (store.alive, store.silent_since) = (false, Some(Moment::ZERO));
        for range in view.ranges.values_mut().filter(|range| range.leader == Some(StoreId(1))) {
            range.leader = range.descriptor.voters().map(|r| r.store).find(|store| *store != StoreId(1));
        }
    }),
    ("a store drains", |view| view.stores.get_mut(&StoreId(1)).unwrap().draining = true),
    ("one store leads all it can", |view| {
        for range in view.ranges.values_mut() {
            if range.descriptor.replica_on(StoreId(1)).is_some() {
                range.leader = Some(StoreId(1));
            }
        }
    }),
    ("the same, and nobody may lead yet", |view| {
        let site = view.stores[&StoreId(1)].site.clone();
        let id = StoreId(view.stores.len() as u64 + 1);
        view.stores.insert(id, StoreView::alive_at(site));
        for range in view.ranges.values_mut() {
            if range.descriptor.replica_on(StoreId(1)).is_some() {
                range.leader = Some(StoreId(1));
            }
        }
        for id in 2..id.0 {
            view.stores.get_mut(&StoreId(id)).unwrap().alive_since = Some(view.now);
        }
    }),
];

fn main() {
    let mut asked: Vec<u64> = std::env::args().skip(1).map(|n| n.parse().expect("a number of ranges")).collect();
    if asked.is_empty() {
        asked = vec![100_000, 1_000_000];
    }
    for ranges in asked {
        let shapes = [Shape { sites: 3, stores: 3 }, Shape { sites: 5, stores: 20 }];
        let fleets = shapes.map(|shape| (shape, shape.balanced(ranges)));
        for (name, happens) in SITUATIONS {
            for (shape, balanced) in &fleets {
                measure(*shape, ranges, name, balanced, happens);
            }
        }
    }
}

/// What this thread has used of the processor.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this measures on Linux");
    let nanos = stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("the first figure"))
}

fn measure(shape: Shape, ranges: u64, name: &str, balanced: &FleetView, happens: fn(&mut FleetView)) {
    let mut view = balanced.clone();
    happens(&mut view);
    let policies = Policies::default();
    let mut took = Vec::new();
    let mut said = String::new();
    for _ in 0..RUNS {
        let start = used();
        let plan = explain(&view, &policies);
        took.push(used() - start);
        said = format!("{} operators, {} held", plan.operators.len(), plan.held.len());
        if took[0] > SLOW {
            break;
        }
    }
    let fastest = took.iter().min().expect("it ran");
    // Whoever ends the reader has seen enough.
    let _ = holdfast_output::outln!(
        "{ranges:>9} ranges, {} x {:>2} stores, {name:<30} {:>9.1} ms  {said}",
        shape.sites,
        shape.stores,
        fastest.as_secs_f64() * 1_000.0,
    );
}
