//! A development binary: put and get throughput of a fleet on this machine, beside the disk's own sync time in the same run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use holdfast_benches::fleet::{FleetOptions, LocalFleet, binary_beside, scratch};
use holdfast_benches::latency::Latencies;
use holdfast_client::{Client, Options, SiteName};
use serde_json::json;
use tokio::task::JoinSet;

/// Measures a fleet of real processes on loopback.
#[derive(Parser, Debug)]
struct Args {
    /// What to measure
    #[arg(value_enum, default_value_t = Operation::Put)]
    operation: Operation,
    /// Clients, each with one operation at a time
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    clients: Vec<usize>,
    /// How long each run lasts
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Bytes of a value
    #[arg(long, default_value_t = 128)]
    value_bytes: usize,
    /// Ranges that the keys are spread over
    #[arg(long, default_value_t = 6)]
    ranges: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Operation {
    /// Writes of distinct keys
    Put,
    /// Reads of keys written before
    Get,
}

/// Keys that are written and read.
const KEYS: u64 = 100_000;

fn key(number: u64) -> Bytes {
    Bytes::from(format!("bench/{:06}", number % KEYS))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let folder = scratch("holdfast-bench-")?;
    let sync_ms = sync_time_ms(folder.path())?;
    let mut fleet = LocalFleet::new(FleetOptions {
        binary: binary_beside(&std::env::current_exe()?)?,
        dir: folder.path().to_owned(),
        sites: 3,
        stores_per_site: 1,
        extra_args: Vec::new(),
    })?;
    fleet.start().await?;
    let cuts: Vec<_> = (1..args.ranges as u64).map(|cut| key(cut * KEYS / args.ranges as u64)).collect();
    fleet.split_at(&cuts).await?;
    fleet.wait_spread(Duration::from_secs(60)).await?;
    fleet.wait_leaders_balanced(Duration::from_secs(30)).await?;
    for clients in &args.clients {
        let mut runs = Vec::new();
        for _ in 0..args.runs {
            runs.push(measure(&fleet, &args, *clients).await?);
        }
        runs.sort_by(|left, right| left.0.total_cmp(&right.0));
        let (per_second, latencies) = &runs[runs.len() / 2];
        let rounded = per_second.round();
        if args.json {
            let operation = format!("{:?}", args.operation).to_lowercase();
            let (p50, p99) = (latencies.percentile_ms(50.0), latencies.percentile_ms(99.0));
            println!(
                "{}",
                json!({ "operation": operation, "clients": clients, "per_second": rounded, "p50_ms": p50, "p99_ms": p99,
                        "fdatasync_ms": sync_ms })
            );
        } else {
            println!(
                "{:?} {clients:>4} clients: {rounded}/s (p50 {:.2} ms, p99 {:.2} ms), median of {}; fdatasync {sync_ms:.3} ms",
                args.operation,
                latencies.percentile_ms(50.0),
                latencies.percentile_ms(99.0),
                args.runs,
            );
        }
    }
    Ok(())
}

/// Operations a second, and how long they took.
async fn measure(fleet: &LocalFleet, args: &Args, clients: usize) -> anyhow::Result<(f64, Latencies)> {
    let mut connections = Vec::new();
    for site in fleet.stores() {
        let site = SiteName::new(&site.site).map_err(anyhow::Error::msg)?;
        connections.push(Client::connect(fleet.addresses(), Options { site: Some(site), ..Options::default() }).await?);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let value = Bytes::from(vec![b'v'; args.value_bytes]);
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for number in 0..clients {
        let (client, stop, value) = (connections[number % connections.len()].clone(), Arc::clone(&stop), value.clone());
        let operation = args.operation;
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            let mut next = number as u64 * 7_919;
            while !stop.load(Ordering::Acquire) {
                let one = Instant::now();
                match operation {
                    Operation::Put => drop(client.put(key(next), value.clone()).await?),
                    Operation::Get => drop(client.get(key(next)).await?),
                }
                latencies.record(one.elapsed());
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            }
            anyhow::Ok(latencies)
        });
    }
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    stop.store(true, Ordering::Release);
    let mut all = Latencies::default();
    while let Some(ended) = tasks.join_next().await {
        all.add(&ended??);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let per_second = all.count() as f64 / begun.elapsed().as_secs_f64();
    Ok((per_second, all))
}

/// The median time that the disk takes to sync one 4 KiB write.
fn sync_time_ms(dir: &Path) -> anyhow::Result<f64> {
    use std::io::Write as _;
    let mut file = std::fs::File::create(dir.join("sync-time"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
