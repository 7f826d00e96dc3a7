//! Many seeds, each a fleet with faults of its own. `HOLDFAST_SIM_SEEDS` says how many, `HOLDFAST_SIM_FIRST_SEED` the first.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the harness reads its environment and uses both cores"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_sim::{Options, Report, run};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 200;
/// More failures than these say nothing new.
const ENOUGH_FAILURES: usize = 20;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number of seeds"))
}

/// A panic is a failure like any other.
fn try_seed(seed: u64) -> Result<Report, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &Options::default())));
    match outcome {
        Ok(Report { failure: None, .. }) => Ok(outcome.unwrap()),
        Ok(report) => Err(report.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            Err(format!("seed {seed}: PANIC: {text}"))
        }
    }
}

#[derive(Default)]
struct Sums {
    time: Duration,
    steps: u64,
    operations: u64,
    ambiguous: u64,
    faults: u64,
    starts: u64,
    leaderships: u64,
    failures: Vec<(u64, String)>,
}

impl Sums {
    fn add(&mut self, seed: u64, outcome: Result<Report, String>) {
        match outcome {
            Ok(report) => {
                self.time += report.time;
                self.steps += report.counts.steps;
                self.operations += report.counts.operations;
                self.ambiguous += report.counts.ambiguous;
                self.faults += report.counts.faults;
                self.starts += report.counts.starts;
                self.leaderships += report.counts.leaderships;
            }
            Err(what) => {
                println!("{what}\nagain: cargo run --release -p holdfast-sim --bin sim -- --seed {seed} --trace\n");
                self.failures.push((seed, what));
            }
        }
    }
}

#[test]
fn fleets_keep_their_promises_under_faults() {
    let (first, count) = (number("HOLDFAST_SIM_FIRST_SEED", 0), number("HOLDFAST_SIM_SEEDS", SEEDS));
    let next = AtomicU64::new(first);
    let sums = Mutex::new(Sums::default());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || sums.lock().unwrap().failures.len() >= ENOUGH_FAILURES {
                        return;
                    }
                    let outcome = try_seed(seed);
                    sums.lock().unwrap().add(seed, outcome);
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap();
    println!(
        "{count} seeds from {first}: {:.2} virtual hours, {} steps, {} operations ({} open), {} faults, {} starts, {} leaderships",
        sums.time.as_secs_f64() / 3_600.0,
        sums.steps,
        sums.operations,
        sums.ambiguous,
        sums.faults,
        sums.starts,
        sums.leaderships
    );
    let failed: Vec<u64> = sums.failures.iter().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "broken seeds: {failed:?}");
    assert!(sums.operations > 50 * count, "clients hardly got through: {} operations", sums.operations);
}

#[test]
fn equal_seeds_give_equal_traces_and_others_do_not() {
    let options = Options { safety: Duration::from_secs(4), ..Options::default() };
    let trace = |seed| run(seed, &options).trace;
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}
